"""report.html of a set: the verdict in words, then held-out skill, the proposer, curves, what each variant is.

Reading order: to_page; then one function per section. Built from the parts of minizero/report: no script, nothing
fetched, every text escaped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minizero.ablate.compare import ALL, Cell, Comparison, Row
from minizero.ablate.sets import CONTROLS, DEFAULT
from minizero.ablate.summary import CURVES
from minizero.formatting import percent
from minizero.metrics import metric_for
from minizero.report.ablation_markdown import INTERVALS, PROPOSER, made_with
from minizero.report.ablation_words import direction, in_points, in_words, metric_change, seed_by_seed
from minizero.report.charts import Series, change_bar, line_chart
from minizero.report.frame import page
from minizero.report.tags import Html, Section, details, join, section, table, tag
from minizero.types import TaskType

if TYPE_CHECKING:
    from minizero.ablate.jobs import Failure

LINES = 7  # variants in one chart; more colours could not be told apart
NO_WRAP = ".numbers td, .numbers th { white-space: nowrap; }\n"  # the table scrolls sideways by itself
SHARES = ("frac", "correct_frac", "solve_rate")


def to_page(found: Comparison, name: str, command: str, failures: Sequence[Failure] = ()) -> str:
    """The whole page."""
    sections = [
        _held_out(found),
        _by_type(found),
        _proposer(found),
        _curves(found),
        _variants(found),
        _repeat(found, command),
    ]
    return page(f"ablation {name} · minizero", _header(found, name, failures), sections, css=NO_WRAP)


def _header(found: Comparison, name: str, failures: Sequence[Failure]) -> Html:
    words = in_words(found)
    over = f"ablation {name} · {len(found.rows)} rows · {made_with(found)}"
    parts = [tag("p", over, class_="over"), tag("h1", words.headline)]
    parts.append(tag("div", *(tag("p", sentence) for sentence in words.sentences), class_="lead"))
    warnings = [*found.cautions, *(f"{f.name} crashed: {f.reason} (log: {f.log})" for f in failures)]
    if warnings:
        parts.append(tag("div", tag("ul", *(tag("li", text) for text in warnings)), class_="warn"))
    return tag("header", *parts)


def _held_out(found: Comparison) -> Section:
    """Every row with its difference to the default as a picture; the default's picture is its own change."""
    shown = [(row, row.cells[ALL], row.cells[ALL].against_default or row.cells[ALL].change) for row in found.rows]
    reach = max([1.0, *(100 * max(abs(i.low), abs(i.high)) for _, _, i in shown)]) * 1.05
    rows = []
    for row, cell, interval in shown:
        ends = [100 * x for x in (interval.low, interval.value, interval.high)]
        bar = change_bar(ends[0], ends[1], ends[2], reach, direction(interval))
        rows.append(
            [
                _name(row), str(row.seeds), percent(cell.before), percent(cell.after), in_points(cell.change),
                in_points(cell.against_default), tag("span", bar, class_="meter-cell"),
                in_points(row.greedy.against_default), seed_by_seed(cell),
            ]
        )  # fmt: skip
    head = ("variant", "seeds", "before", "after", "change", "against the default", "", "greedy, against it", "by seed")
    bars = "The bars show the difference to the default, the default's own bar its change."
    return section(
        "held-out", "Held-out tasks", tag("p", f"{INTERVALS} {bars}", class_="note"), table(head, rows, "numbers")
    )


def _by_type(found: Comparison) -> Section:
    kinds = [kind.value for kind in TaskType if any(kind.value in row.cells for row in found.rows)]

    def cell(value: Cell | None) -> Html:
        if value is None:
            return Html("–")
        against = tag("span", in_points(value.against_default), class_=_colour(value))
        shown = [tag("div", f"{percent(value.before)} → {percent(value.after)}"), tag("div", in_points(value.change))]
        return join([*shown, *([tag("div", against)] if value.against_default else [])])

    rows = [[_name(row), *(cell(row.cells.get(kind)) for kind in kinds)] for row in found.rows]
    lead = "Before and after; the change; the difference to the default."
    return section("types", "By task type", tag("p", lead, class_="note"), table(("variant", *kinds), rows, "numbers"))


def _proposer(found: Comparison) -> Section:
    rows = []
    for row in found.rows:
        collapsed = row.collapsed()
        told = tag("span", f"{collapsed} of {row.seeds}", class_="alarm" if collapsed else None)
        changes = [metric_change(row, metric, is_share=share) for _, metric, share in PROPOSER]
        rows.append([_name(row), *changes, told, f"{row.minutes():.1f}"])
    lead = (
        "First and last tenth of the steps, mean over seeds. Admitted: proposals that became tasks; different: "
        "programs of one step that differ from each other; collapsed: runs of which a quarter of the steps or more "
        "raised an alarm of collapse. Minutes a run, beside whatever else the machine did."
    )
    head = ("variant", *(column for column, _, _ in PROPOSER), "collapsed", "minutes")
    return section(
        "proposer", "The proposer, and the cost", tag("p", lead, class_="note"), table(head, rows, "numbers")
    )


def _curves(found: Comparison) -> Section:
    """Each curve with the default drawn thick and up to seven others in colour; more rows make another chart."""
    default = found.row(DEFAULT)
    others = [row for row in found.rows if row.variant != DEFAULT]
    chunks = [others[i : i + LINES] for i in range(0, len(others), LINES)] or [[]]
    parts: list[Html] = []
    for chunk in chunks:
        cards = [card for metric in CURVES if (card := _card(metric, default, chunk))]
        parts.append(tag("ul", *(_key(i, row) for i, row in enumerate(chunk)), class_="legend"))
        parts.append(tag("div", *cards, class_="cards"))
    lead = "Mean over seeds. The dark line is the default."
    return section("curves", "Curves", tag("p", lead, class_="note"), *parts)


def _card(metric: str, default: Row | None, chunk: Sequence[Row]) -> Html | None:
    series = [Series("default", "all", default.curve(metric))] if default else []
    series += [Series(row.variant, f"c{i}", row.curve(metric)) for i, row in enumerate(chunk)]
    series = [one for one in series if one.points]
    if not series:
        return None
    share = metric.endswith(SHARES)
    chart = line_chart(series, show=(lambda v: percent(v, 0)), is_fraction=True) if share else line_chart(series)
    title = tag("div", tag("code", metric), class_="top")
    return tag("figure", title, tag("figcaption", metric_for(metric).sentence), chart)


def _key(place: int, row: Row) -> Html:
    line = tag("line", class_=f"line c{place}", x1="0", x2="20", y1="5", y2="5")
    return tag("li", tag("svg", line, viewBox="0 0 20 10", class_="key"), row.variant)


def _variants(found: Comparison) -> Section:
    """What each row is, and every setting in which it differs from the default row."""
    default = found.row(DEFAULT)
    base = default.runs[0].settings if default else {}
    rows = []
    for row in found.rows:
        mine = row.runs[0].settings
        names = [n for n in {**base, **mine} if base.get(n) != mine.get(n) and n != "run.rng_seed"]
        lines = [tag("div", tag("code", f"{n} = {_shown(mine, n)}")) for n in names]
        rows.append([_name(row), row.about, join(lines)])
    shared = [tag("div", tag("code", f"{name} = {_shown(base, name)}")) for name in base]
    folded = [details("settings that all rows share, where they differ from minizero's defaults", *shared)]
    return section("variants", "Variants", table(("variant", "", "settings"), rows), *(folded if shared else []))


def _repeat(found: Comparison, command: str) -> Section:
    commits = sorted({run.commit for row in found.rows for run in row.runs})
    lead = f"{made_with(found)}; code {', '.join(commits)}. The command runs only what is missing."
    return section("repeat", "To repeat it", tag("p", lead, class_="note"), tag("pre", command))


def _name(row: Row) -> Html:
    kind = "control" if row.variant in CONTROLS else ""
    return join([tag("b" if row.variant == DEFAULT else "span", row.variant), tag("div", kind, class_="unit")])


def _colour(cell: Cell) -> str | None:
    return {"better": "right", "worse": "wrong", "unclear": None}[direction(cell.against_default)]


def _shown(settings: object, name: str) -> str:
    held = settings if isinstance(settings, dict) else {}
    return json.dumps(held[name], ensure_ascii=False) if name in held else "(default)"
