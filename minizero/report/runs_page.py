"""Several runs over each other on one page: their verdicts, the settings in which they differ, and every curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from minizero.config import difference as difference_of
from minizero.metrics import METRICS
from minizero.report.charts import Series
from minizero.report.claims import reach
from minizero.report.curves import GROUPS, Figure, chart_of, group_of, points_of
from minizero.report.pages import Section, page
from minizero.report.verdict import judge
from minizero.selfplay.run_data import read_run
from minizero.selfplay.run_files import JsonRow
from minizero.types import RunError

MOST = 8  # colours that can be told apart
TITLE = "runs · minizero"


def write_runs(paths: Sequence[Path], out: Path, *, notice: Callable[[str], None] = lambda text: None) -> Path:
    """Write the page of two to eight runs; returns its path. What cannot be read of a run is told to `notice`. Raises
    RunError where one is no run."""
    if not 2 <= len(paths) <= MOST:
        raise RunError(f"{len(paths)} runs on one page: expected 2 to {MOST}.")
    if out.exists() and TITLE not in out.read_text(encoding="utf-8", errors="replace"):
        raise RunError(f"{out} is there already and is no such page. Give another place with --out.")
    runs = [read_run(path) for path in paths]
    for problem in (problem for run in runs for problem in run.problems):
        notice(problem)
    names, verdicts = told_apart(paths), [judge(run) for run in runs]
    keys = [(f"c{i}", name) for i, name in enumerate(names)]
    main = [(verdict.solve_rate or verdict.greedy)[:1] for verdict in verdicts]
    end = reach(change.difference for first in main for change in first)
    data: dict[str, object] = {"rows": list(zip(keys, verdicts, main, strict=True)), "reach": end}
    sections = [Section("verdicts", "Held-out tasks", "verdicts", data)]
    changed = [difference_of(run.config) if run.config else {} for run in runs]
    settings = {name: [own.get(name, ("", None))[1] for own in changed] for own in changed for name in own}
    rows = [(name, values) for name, values in settings.items() if any(value != values[0] for value in values)]
    sections.append(Section("settings", "What differs", "differences", {"names": names, "rows": rows}))
    drawn = {name: figure for name in METRICS if (figure := _overlaid(name, [run.rows for run in runs], keys))}
    for group in GROUPS:
        mine = [name for name in drawn if group_of(name) is group]
        if mine:
            shown, rest = ([drawn[n] for n in mine if (n in group.first) == is_first] for is_first in (True, False))
            data = {"keys": keys, "shown": shown, "rest": rest}
            sections.append(Section(group.title.split()[0].lower(), group.title, "overlaid", data))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page("runs", TITLE, sections, paths=[str(path) for path in paths]), encoding="utf-8")
    return out


def told_apart(paths: Sequence[Path]) -> list[str]:
    """As much of the end of each path as tells it from the others."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _overlaid(name: str, runs: Sequence[Sequence[JsonRow]], keys: Sequence[tuple[str, str]]) -> Figure | None:
    """One metric of all runs; None where none has two values of it."""
    series = [Series(label, style, points_of(name, rows)) for (style, label), rows in zip(keys, runs, strict=True)]
    has_curve = any(len(s.points) > 1 for s in series)
    return Figure(name, METRICS[name], "", "", chart_of(name, series), [], True, "") if has_curve else None
