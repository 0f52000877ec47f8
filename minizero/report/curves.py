"""The curves: every metric of the run in one of its groups, each with its sentence, unit, last value and alarms.

Reading order: GROUPS (what is shown at once; the rest folds away), curve_sections, then _figure for one metric with all
its suffixes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minizero.formatting import number, percent
from minizero.metrics import METRICS, Metric, metric_for
from minizero.report.charts import MOST_POINTS, Band, Point, Series, bin_name, bins, line_chart, stacked_chart, window
from minizero.report.pages import Section
from minizero.selfplay.run_files import JsonRow
from minizero.types import TaskType


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics of one section: those that begin with a prefix (the first group that fits), `first` shown at once."""

    title: str
    prefixes: tuple[str, ...]
    first: tuple[str, ...]


_AS_IN_THE_PAPER = ("eval/solve_rate", "eval/greedy", "solve/answer_tokens", "propose/program_lines")
GROUPS = (
    Group("Overview of skill, answer length and program length", _AS_IN_THE_PAPER, _AS_IN_THE_PAPER),
    Group("Held-out skill", ("eval/",), ("eval/change", "eval/answer_tokens", "eval/reasoned_frac", "eval/entropy")),
    Group("Proposals", ("propose/", "reward/propose", "buffer/"),
          ("propose/admitted_frac", "propose/rejected", "propose/learnable_frac", "propose/solve_rate",
           "propose/unique_frac", "propose/duplicate_frac")),
    Group("Solving", ("solve/", "reward/solve"),
          ("solve/correct_frac", "solve/verdict", "reward/solve", "solve/reasoned_frac")),
    Group("Policy", ("advantage/", "policy/"),
          ("policy/entropy", "policy/grad_norm", "policy/kl_base", "advantage/zero_frac")),
    Group("Speed", ("time/", "rollout/", "sandbox/", "memory/"),
          ("time/step_s", "rollout/completion_tokens", "memory/peak_gib")),
    Group("Other", ("",), ()),
)  # fmt: skip
BY_TERM = ", by term"
RIGHT_FIRST = ("c2", "c1", "c3", "c5", "c4", "c0", "c6", "c7")
STACKED = ("propose/rejected", "solve/verdict")
TYPES = [kind.value for kind in TaskType]
_SHARES = ("_frac", "solve_rate", "greedy", "rejected", "verdict")
Keys = list[tuple[str, str]]  # of a legend: (style, label)


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's chart and what stands around it; `keys` are lines or, of stacked bars, colours."""

    title: str
    metric: Metric
    last: str
    how: str  # says so where the curve is not the plain values
    chart: Markup
    keys: Keys
    is_lines: bool
    alarm: str


def curve_sections(rows: Sequence[JsonRow]) -> list[Section]:
    """One section for each group that has values."""
    by_figure: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                by_figure.setdefault(_figure_of(name), {})[name] = None
    sections = []
    for group in GROUPS:
        mine = [figure for figure in by_figure if group_of(figure) is group]
        if not mine:
            continue
        shown = [figure for figure in group.first if figure in mine] or mine
        parts = shown, sorted(set(mine) - set(shown))
        drawn = [name for figure in shown if figure not in STACKED for name in by_figure[figure]]
        kinds = [kind for kind in TYPES if any(name.endswith(f"/{kind}") for name in drawn)]
        first, rest = ([_figure(one, list(by_figure[one]), rows, kinds) for one in part] for part in parts)
        keys = [(kind, kind) for kind in ("all", *kinds)] if kinds else []
        numbers = [_numbers(name, rows) for part in parts for one in part for name in by_figure[one]]
        data = {"name": group.title, "keys": keys, "shown": first, "rest": rest, "numbers": numbers}
        sections.append(Section(group.title.split()[0].lower(), group.title, "curves", data))
    return sections


def _figure_of(name: str) -> str:
    """Which figure a value belongs to: that of its metric; the terms of a reward have one of their own."""
    base = _base(name)
    is_term = base.startswith("reward/") and name != base and name.rpartition("/")[2] not in TYPES
    return f"{base}{BY_TERM}" if is_term else base


def show_as(name: str, digits: int = 1) -> Callable[[float], str]:
    """How values of a metric are written: shares in per cent, on an axis without decimals (digits 0)."""
    return (lambda value: percent(value, 0 if value in (0, 1) else digits)) if is_share(name) else number


def chart_of(name: str, lines: Sequence[Series]) -> Markup:
    """Lines of one metric, on its own axis."""
    return line_chart(lines, show=show_as(name, 0), is_fraction=is_share(name))


def points_of(name: str, rows: Sequence[JsonRow]) -> tuple[Point, ...]:
    """A metric over the steps that have it."""
    return tuple((float(row["step"]), float(row[name])) for row in rows if name in row)


def is_share(name: str) -> bool:
    """Whether a metric lies between 0 and 1."""
    return _base(name).endswith(_SHARES)


def _base(name: str) -> str:
    try:
        return metric_for(name).name
    except KeyError:
        return name


def group_of(base: str) -> Group:
    return next(group for group in GROUPS if base.startswith(group.prefixes))


def _figure(title: str, names: list[str], rows: Sequence[JsonRow], known: Sequence[str]) -> Figure:
    """One metric with everything that has its name and a suffix. `known`: task types in the section's legend."""
    base = title.removesuffix(BY_TERM)
    metric = METRICS.get(base) or Metric(base, "", "neither", "")
    order = {base: 0, **{f"{base}/{kind}": 1 + place for place, kind in enumerate(TYPES)}}  # then the rest by name
    names = sorted(names, key=lambda name: (order.get(name, 9), name))
    last = next((float(row[title]) for row in reversed(rows) if title in row), None)
    alarm = metric.alarm(last) if last is not None else ""
    shown = show_as(base)(last) if last is not None else ""
    if base in STACKED:
        chart, keys = _stacked(base, names, rows)
        return Figure(title, metric, "", "", chart, keys, False, alarm)
    series = [_series(base, name, i, rows) for i, name in enumerate(names)]
    if max(len(s.points) for s in series) == 1:
        chart = Markup('<p class="empty">One value, at step {:.0f}.</p>').format(series[0].points[0][0])
        return Figure(title, metric, shown, "", chart, [], True, alarm)
    is_plain = all(s.style in ("all", *known) for s in series)
    keys = [] if is_plain else [(s.style, s.label) for s in series]
    return Figure(title, metric, shown, _how_drawn(base, rows), chart_of(base, series), keys, True, alarm)


def _how_drawn(base: str, rows: Sequence[JsonRow]) -> str:
    count = sum(any(name.startswith(base) for name in row) for row in rows)
    steps = -(-count // MOST_POINTS) * window(min(count, MOST_POINTS))
    return f"Drawn as a mean over {steps} steps." if steps > 1 else ""


def _series(base: str, name: str, place: int, rows: Sequence[JsonRow]) -> Series:
    suffix = name.removeprefix(base).strip("/")
    style = suffix if suffix in TYPES else f"c{(place - (name != base)) % 8}" if suffix else "all"
    return Series(suffix or "all", style, points_of(name, rows))


def _stacked(base: str, names: list[str], rows: Sequence[JsonRow]) -> tuple[Markup, Keys]:
    """Shares by reason as stacked bars, each bar the mean of its steps; the rarest reasons share the last colour."""
    has_any = base.rpartition("/")[0] + "/"
    used = [row for row in rows if any(name.startswith(has_any) for name in row)]
    groups = bins(range(len(used)))
    totals = {name: sum(row.get(name, 0.0) for row in used) for name in names}
    ranked = sorted(names, key=lambda name: (not name.endswith("/correct"), -totals[name]))
    # Right answers are green and lie at the bottom whatever their share; the rest by how frequent they are.
    colours = RIGHT_FIRST if ranked[0].endswith("/correct") else tuple(f"c{i}" for i in range(8))
    single, merged = (ranked, []) if len(ranked) <= 8 else (ranked[:7], ranked[7:])

    def mean(of: Sequence[str], group: Sequence[int]) -> float:
        return float(sum(used[i].get(name, 0.0) for i in group for name in of)) / len(group)

    bands = [
        Band(name.removeprefix(f"{base}/"), style, tuple(mean([name], group) for group in groups))
        for name, style in zip(single, colours, strict=False)
    ]
    if merged:
        bands.append(Band(f"{len(merged)} rarer ones", "c7", tuple(mean(merged, group) for group in groups)))
    columns = [bin_name([int(used[i]["step"]) for i in group]) for group in groups]
    return stacked_chart(columns, bands, show=show_as(base, 0)), [(band.style, band.label) for band in bands]


def _numbers(name: str, rows: Sequence[JsonRow]) -> tuple[str, ...]:
    """Name, count, first, lowest, highest and last value, unit of one metric."""
    values = [float(row[name]) for row in rows if name in row]
    finite = [value for value in values if math.isfinite(value)]
    told = (values[0], min(finite), max(finite), values[-1]) if finite else ()
    shown = map(show_as(name), told) if told else ("–",) * 4
    return name, str(len(values)), *shown, METRICS[_base(name)].unit if _base(name) in METRICS else ""
