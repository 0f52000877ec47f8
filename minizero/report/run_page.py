"""report.html of a run: one self-contained page, the verdict in words first, made from the run directory alone.

Reading order: write_report; then verdict.py (what the numbers allow to say), curves.py, gallery.py and facts.py (the
sections' data), charts.py (drawings), pages.py and templates/run.html (how it looks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minizero.report.asked import asked_so_far
from minizero.report.claims import reach
from minizero.report.curves import curve_sections
from minizero.report.facts import cost_section, manifest_section, settings_section
from minizero.report.gallery import gallery_sections
from minizero.report.pages import page
from minizero.report.verdict import Findings, judge
from minizero.selfplay.run_data import RunData, read_run
from minizero.selfplay.run_directory import RunDirectory

ORDER = (
    *("overview", "held-out", "difficulty", "tasks", "answers", "proposals", "rejected", "rollouts", "solving"),
    *("policy", "speed", "spent", "settings", "manifest", "other"),
)


def write_report(path: Path, *, notice: Callable[[str], None] = lambda text: None) -> Path:
    """Write report.html of a run, finished or not; returns its path. What cannot be read of the run is told on the page
    and to `notice`. Raises RunError where there is no run."""
    run, directory = read_run(path), RunDirectory.open(path)
    name = path.resolve().name
    gallery, damaged = gallery_sections(directory)
    run = replace(run, problems=(*run.problems, *damaged))
    for problem in run.problems:
        notice(problem)
    made = [
        *curve_sections(run.rows),
        *gallery,
        settings_section(run),
        cost_section(run),
        manifest_section(run),
    ]
    by_name = {section.name: section for section in made if section}
    sections = [by_name.get(name) for name in ORDER]
    text = page("run", f"{name} · minizero", sections, **_header(run, name, judge(run)))
    directory.write_text("report.html", text)
    return path / "report.html"


def _header(run: RunData, name: str, verdict: Findings) -> dict[str, object]:
    steps = f"{run.done} of {run.total} steps" if run.total is not None else f"{run.done} steps"
    started = str(run.manifest.get("started", ""))[:16].replace("T", " ")
    return {
        "over": [part for part in (name, run.config.model.name if run.config else "", steps, started) if part],
        "run": run,
        "verdict": verdict,
        "reach": reach(change.difference for change in (*verdict.solve_rate, *verdict.greedy)),
        "asked": asked_so_far(run),
    }
