"""The curves: every metric of the run in one of five groups, each with its sentence, unit, last value and alarms.

Reading order: GROUPS (what is shown at once; the rest folds away), curve_sections, then _figure for one metric with all
its suffixes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from minizero.formatting import number, percent
from minizero.metrics import METRICS, Metric, metric_for
from minizero.report.charts import MOST_POINTS, Band, Series, bin_name, bins, line_chart, stacked_chart, window
from minizero.report.tags import Html, Section, details, section, table, tag
from minizero.selfplay.run_data import Row
from minizero.types import TaskType

# title, lead, prefixes that belong here, metrics shown at once; the first prefix that fits decides
GROUPS: Sequence[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = (
    (
        "Held-out skill",
        "Tasks that the run never trained on, the same ones each time: the only evidence here.",
        ("eval/",),
        ("eval/solve_rate", "eval/greedy", "eval/change"),
    ),
    (
        "Proposals",
        "What the proposer writes. It can look good here by making its tasks easy, so watch variety and length too.",
        ("propose/", "reward/propose", "buffer/"),
        (
            "propose/admitted_frac",
            "propose/rejected",
            "propose/learnable_frac",
            "propose/solve_rate",
            "propose/unique_frac",
            "propose/program_lines",
        ),
    ),
    (
        "Solving",
        "Answers to tasks from the buffer. They say how hard the model's own tasks are for it, not how skilled it is.",
        ("solve/", "reward/solve"),
        ("solve/correct_frac", "solve/verdict", "reward/solve"),
    ),
    (
        "Policy",
        "Is learning under way, and is it healthy?",
        ("advantage/", "policy/"),
        ("policy/entropy", "policy/grad_norm", "advantage/zero_frac"),
    ),
    (
        "Speed",
        "Time, tokens and memory, step by step.",
        ("time/", "rollout/", "sandbox/", "memory/"),
        ("time/step_s", "rollout/completion_tokens", "memory/peak_gib"),
    ),
    ("Other", "Measured by this run and defined nowhere in this version.", ("",), ()),
)
BY_TERM = ", by term"
RIGHT_FIRST = ("c2", "c1", "c3", "c5", "c4", "c0", "c6", "c7")
STACKED = ("propose/rejected", "solve/verdict")
_SHARES = ("_frac", "solve_rate", "greedy", "rejected", "verdict")


def curve_sections(rows: Sequence[Row]) -> list[Section]:
    """One section for each group that has values."""
    by_figure: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                by_figure.setdefault(_figure_of(name), {})[name] = None
    sections = []
    for title, lead, _, first in GROUPS:
        mine = [figure for figure in by_figure if _group_of(figure) == title]
        if not mine:
            continue
        shown = [figure for figure in first if figure in mine] or mine
        rest = sorted(set(mine) - set(shown))
        body = [tag("p", lead, class_="note"), *_key_of_types(name for figure in mine for name in by_figure[figure])]
        body.append(tag("div", *(_figure(figure, list(by_figure[figure]), rows) for figure in shown), class_="cards"))
        if rest:
            more = [_figure(figure, list(by_figure[figure]), rows) for figure in rest]
            count = "1 more curve" if len(rest) == 1 else f"{len(rest)} more curves"
            body.append(details(count, tag("div", *more, class_="cards")))
        names = [name for figure in (*shown, *rest) for name in by_figure[figure]]
        body.append(details("the numbers", _numbers(names, rows)))
        sections.append(section(title.split()[0].lower(), title, *body))
    return sections


def _figure_of(name: str) -> str:
    """Which figure a value belongs to: that of its metric; the terms of a reward have one of their own."""
    base = _base(name)
    is_term = base.startswith("reward/") and name != base and name.rpartition("/")[2] not in set(TaskType)
    return f"{base}{BY_TERM}" if is_term else base


def _key_of_types(names: Iterable[str]) -> list[Html]:
    found = {name.rpartition("/")[2] for name in names}
    kinds = [kind.value for kind in TaskType if kind.value in found]
    return [legend([("all", "all"), *((kind, kind) for kind in kinds)], is_line=True)] if kinds else []


def show_as(name: str) -> Callable[[float], str]:
    """How values of a metric are written: shares in per cent."""
    return (lambda value: percent(value, 0 if value in (0, 1) else 1)) if _is_share(name) else number


def _is_share(name: str) -> bool:
    return _base(name).endswith(_SHARES)


def _base(name: str) -> str:
    try:
        return metric_for(name).name
    except KeyError:
        return name


def _group_of(base: str) -> str:
    return next(title for title, _, prefixes, _ in GROUPS if base.startswith(prefixes))


def _figure(title: str, names: list[str], rows: Sequence[Row]) -> Html:
    """One metric with everything that has its name and a suffix."""
    base = title.removesuffix(BY_TERM)
    metric = METRICS.get(base) or Metric(base, "", "neither", "")
    names = sorted(names, key=_order)
    last = next((float(row[title]) for row in reversed(rows) if title in row), None)
    alarm = metric.alarm(last) if last is not None else ""
    if base in STACKED:
        chart, keys, last = *_stacked(base, names, rows), None
    else:
        series = [_series(base, name, i, rows) for i, name in enumerate(names)]
        chart = line_chart(series, show=_short(base), is_fraction=_is_share(base))
        is_plain = all(s.style == "all" or s.style in set(TaskType) for s in series)
        keys = Html() if is_plain else legend([(s.style, s.label) for s in series], is_line=True)
        if max(len(s.points) for s in series) == 1:
            chart, keys = tag("p", f"One value, at step {series[0].points[0][0]:.0f}.", class_="empty"), Html()
    unit = f" {metric.unit}" if metric.unit else ""
    value = tag("b", show_as(base)(last), tag("small", unit)) if last is not None else tag("small", unit)
    better = {"up": "↑ is better", "down": "↓ is better", "neither": ""}[metric.better]
    caption = tag("figcaption", f"{metric.sentence} ", tag("span", better, class_="nowrap"), *_how_drawn(base, rows))
    warning = tag("p", f"! {alarm}", class_="alarm note") if alarm else Html()
    return tag("figure", tag("div", tag("code", title), value, class_="top"), caption, chart, keys, warning)


def _how_drawn(base: str, rows: Sequence[Row]) -> list[str]:
    """Says so where a curve is not the plain values."""
    count = sum(any(name.startswith(base) for name in row) for row in rows)
    steps = -(-count // MOST_POINTS) * window(min(count, MOST_POINTS))
    return [f" Drawn as a mean over {steps} steps."] if steps > 1 and base not in STACKED else []


def _series(base: str, name: str, place: int, rows: Sequence[Row]) -> Series:
    suffix = name.removeprefix(base).strip("/")
    is_type = suffix in set(TaskType)
    style = suffix if is_type else f"c{(place - (name != base)) % 8}" if suffix else "all"
    points = tuple((float(row["step"]), float(row[name])) for row in rows if name in row)
    return Series(suffix or "all", style, points)


def _stacked(base: str, names: list[str], rows: Sequence[Row]) -> tuple[Html, Html]:
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
        label = f"{len(merged)} rarer ones"
        bands.append(Band(label, "c7", tuple(mean(merged, group) for group in groups)))
    columns = [bin_name([int(used[i]["step"]) for i in group]) for group in groups]
    return stacked_chart(columns, bands, show=_short(base)), legend([(b.style, b.label) for b in bands])


def legend(entries: Sequence[tuple[str, str]], is_line: bool = False) -> Html:
    """Keys of (style, label) pairs."""

    def key(style: str) -> Html:
        if is_line:
            shape = tag("line", class_=f"line {style}", x1=0, x2=26, y1=5, y2=5)
        else:
            shape = tag("rect", class_=f"bar {style}", width=26, height=10, rx=2)
        return tag("svg", shape, viewBox="0 0 26 10", class_="key", aria_hidden="true")

    return tag("ul", *(tag("li", key(style), tag("span", label)) for style, label in entries), class_="legend")


def _short(base: str) -> Callable[[float], str]:
    """Axis labels: whole per cents."""
    return (lambda value: percent(value, 0)) if _is_share(base) else number


def _order(name: str) -> tuple[int, str]:
    """The metric itself, then task types in their order, then the rest by name."""
    suffix = name.rpartition("/")[2]
    types = [kind.value for kind in TaskType]
    return (0 if name in METRICS else 1 + types.index(suffix) if suffix in types else 9, name)


def _numbers(names: Sequence[str], rows: Sequence[Row]) -> Html:
    """First, lowest, highest and last value of every metric."""
    lines = []
    for name in names:
        values = [(int(row["step"]), float(row[name])) for row in rows if name in row]
        finite = [value for _, value in values if math.isfinite(value)]
        show = show_as(name)
        cells = [show(values[0][1]), show(min(finite)), show(max(finite)), show(values[-1][1])] if finite else ["–"] * 4
        lines.append([tag("code", name), str(len(values)), *cells, metric_unit(name)])
    return table(["metric", "values", "first", "lowest", "highest", "last", "unit"], lines)


def metric_unit(name: str) -> str:
    try:
        return metric_for(name).unit
    except KeyError:
        return ""
