"""How often held-out tasks were asked, so that a reader knows how much was chosen by them.

Reading order: Asked, asked_so_far. Every validation of every run is a look at the same tasks; whoever picks the best of
what was seen (a setting, a step, a run) picks luck too. Counted is what lies beside the run: deleted runs and those in
other folders are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minizero.formatting import times
from minizero.selfplay.run_data import RunData


@dataclass(frozen=True, slots=True)
class Asked:
    """Looks at a set of held-out tasks: `own` validations of this run, `validations` of all `runs` in its folder."""

    tasks: int
    own: int
    runs: int
    validations: int

    @property
    def words(self) -> str:
        """Two sentences for reports and cards."""
        counted = f"These {self.tasks} tasks were asked {times(self.own)} in this run"
        if self.runs > 1:
            counted += f" and {times(self.validations)} by the {self.runs} runs in its folder, this one among them"
        return (
            f"{counted}. Whatever was chosen by them (a setting, a step, a run) owes some of its score to the choice; "
            "a result to report comes from tasks by which nothing was chosen."
        )


def asked_so_far(run: RunData) -> Asked | None:
    """The count for a run's held-out tasks; None where it asked none. Of each other run one file is read: all its
    validations ask the same tasks."""
    if not run.validations:
        return None
    tasks, own = [str(row["id"]) for row in run.validations[0].rows], len(run.validations)
    here = run.path.resolve()
    others = [len(files) for files in _others(here) if _tasks_of(files[0]) == tasks]
    return Asked(len(tasks), own, 1 + len(others), own + sum(others))


def _others(here: Path) -> Iterator[list[Path]]:
    """The validation files of every other run in the folder."""
    for folder in sorted(here.parent.iterdir()):
        if folder != here and (folder / "config.toml").is_file():
            files = sorted((folder / "eval").glob("step-*.json"))
            if files:
                yield files


def _tasks_of(file: Path) -> list[str]:
    """The ids of the tasks that a validation asked; [] for a file that is none."""
    try:
        return [str(row["id"]) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
