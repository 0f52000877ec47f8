"""report.html of a run: one self-contained page, the verdict in words first, made from the run directory alone.

Reading order: write_report here; then curves.py, gallery.py and facts.py for the sections, charts.py and tags.py for
what they are made of, frame.py and style.py for what every page has. verdict.py and replay.py use words.py, reading.py.
Nothing on the page is fetched and nothing runs: a content security policy forbids scripts, and every text is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minizero.formatting import percent, points
from minizero.report.charts import change_bar
from minizero.report.curves import curve_sections
from minizero.report.facts import cost_section, manifest_section, settings_section
from minizero.report.frame import page
from minizero.report.gallery import gallery_sections
from minizero.report.tags import Html, details, tag
from minizero.selfplay.run_data import RunData, read_run
from minizero.selfplay.run_directory import RunDirectory

if TYPE_CHECKING:
    from minizero.report.verdict import Change, Findings

ORDER = (
    *("held-out", "difficulty", "tasks", "answers", "proposals", "rejected", "solving", "policy", "speed", "spent"),
    *("settings", "manifest", "other"),
)


def write_report(path: Path) -> Path:
    """Write report.html of a run, finished or not; returns its path. Raises RunError where there is no run."""
    from minizero.report.verdict import judge

    run = read_run(path)
    directory = RunDirectory.open(path)
    found = [
        *curve_sections(run.rows),
        *gallery_sections(directory, run.config),
        settings_section(run),
        cost_section(run),
        manifest_section(run),
    ]
    by_name = {part.name: part for part in found if part}
    sections = [by_name[name] for name in ORDER if name in by_name]
    text = page(f"{path.resolve().name} · minizero", _header(run, judge(run)), sections)
    directory.write_text("report.html", text)
    return path / "report.html"


def _header(run: RunData, found: Findings) -> Html:
    unsafe = tag(
        "p", "unsafe: the programs that the model wrote ran without a real sandbox (sandbox.unsafe).", class_="unsafe"
    )
    model = run.config.model.name if run.config else ""
    steps = f"{run.done} of {run.total} steps" if run.total is not None else f"{run.done} steps"
    over = " · ".join(
        filter(
            None, [run.path.resolve().name, model, steps, str(run.manifest.get("started", ""))[:16].replace("T", " ")]
        )
    )
    parts = [unsafe if run.manifest.get("unsafe") else Html(), tag("p", over, class_="over"), tag("h1", found.headline)]
    parts.append(tag("div", *(tag("p", sentence) for sentence in found.sentences), class_="lead"))
    if found.solve_rate or found.greedy:
        parts += _changes(run, found)
    warnings = [*found.cautions, *(str(alarm) for alarm in found.alarms if alarm.is_often)]
    if warnings:
        parts.append(tag("div", tag("ul", *(tag("li", text) for text in warnings)), class_="warn"))
    rare = [str(alarm) for alarm in found.alarms if not alarm.is_often]
    if rare:
        count = f"{len(rare)} alarm{'s' if len(rare) > 1 else ''} raised now and then"
        parts.append(details(count, tag("ul", *(tag("li", text) for text in rare))))
    parts.append(tag("p", found.suggestion.words, class_="note"))
    parts.append(tag("pre", found.suggestion.command))
    return tag("header", *parts)


def _changes(run: RunData, found: Findings) -> list[Html]:
    """Before, after and the paired change, as a table with its picture."""
    every = [*found.solve_rate, *found.greedy]
    reach = max(1.0, max(max(abs(change.low), abs(change.high)) for change in every)) * 1.05
    names = ("held-out tasks", "before", "after", "change, 95 % interval", "")
    classes = ("", "num", "num", "num interval", "bar-cell")
    cells = [tag("span", name, class_=kind) for name, kind in zip(names, classes, strict=True)]
    rows = [tag("div", *cells, class_="row head")]
    for title, changes in (
        (f"solved at temperature 1, mean of {found.samples} samples", found.solve_rate),
        ("solved greedily, by the single most likely answer", found.greedy),
    ):
        if changes:
            rows.append(tag("span", title, class_="span"))
            rows += [_change_row(change, reach) for change in changes]
    split = run.config.eval.split if run.config and run.config.eval.tasks == "tiny" else ""
    note = (
        "Intervals: paired bootstrap over tasks. They cover the luck of which tasks were asked, not that of the run: "
        "another rng_seed may give another change."
    )
    if split == "validation":
        note += " These are validation tasks: settings may be chosen on them, claims belong on eval.split = heldout."
    return [tag("div", *rows, class_="changes"), tag("p", note, class_="note")]


def _change_row(change: Change, reach: float) -> Html:
    name = tag("span", f"{change.label} ({change.tasks})", class_="first" if change.label == "all" else None)
    words = f"{points(change.points)} ({points(change.low)} to {points(change.high)})"
    return tag(
        "div",
        name,
        tag("span", percent(change.before), class_="num"),
        tag("span", percent(change.after), class_="num"),
        tag("span", words, class_="num interval"),
        tag("span", change_bar(change.low, change.points, change.high, reach, change.kind), class_="bar-cell"),
        class_="row",
    )


__all__ = ["write_report"]
