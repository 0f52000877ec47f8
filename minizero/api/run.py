"""A run directory, read from Python: what `train` and `resume` return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minizero.api.settings import StrPath
from minizero.config import Config
from minizero.selfplay.buffer import read_entries
from minizero.selfplay.run_data import RunData, newest_checkpoint, read_run
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.validation import Validation
from minizero.types import RunError, Task


class Run:
    """A run directory, read: finished, stopped or still going on. Every access reads what is there now.

    Raises RunError when there is none.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        RunDirectory.open(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        data = self._data
        return f"Run({str(self.path)!r}, {data.done} of {data.total or '?'} steps)"

    @property
    def _data(self) -> RunData:
        return read_run(self.path)

    @property
    def config(self) -> Config:
        """The settings that it ran with. Raises RunError when they belong to another version."""
        data = self._data
        if data.config is None:
            raise RunError("; ".join(data.problems))
        return data.config

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, commit, command, seeds, machine, sandbox layers."""
        return self._data.manifest

    @property
    def done(self) -> int:
        """Steps that are finished."""
        return self._data.done

    @property
    def is_finished(self) -> bool:
        """Whether all steps are."""
        return self._data.is_finished

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A dict for each step, ascending: "step" and the metrics that minizero/metrics.py explains. Step 0 holds the
        validation of the untrained model. `pandas.DataFrame(run.metrics)` is a frame."""
        return list(self._data.rows)

    @property
    def tasks(self) -> list[Task]:
        """Every task that entered the buffer, in order of arrival; seed tasks come first and have `step` 0."""
        return [task for task, _ in read_entries(self.path / "tasks.jsonl")]

    @property
    def solve_rates(self) -> dict[str, float]:
        """Task id -> the rate at which attempts solved it when it was proposed. Seed tasks have none."""
        entries = read_entries(self.path / "tasks.jsonl")
        return {task.id: rate for task, rate in entries if rate is not None}

    def rollouts(self, step: int) -> list[dict[str, Any]]:
        """Every completion of a step: "role", "type", "text", what became of it, "reward" with its rule and terms.

        Raises RunError for a step without rollouts, with those that there are."""
        return RunDirectory(self.path).rollouts(step)

    @property
    def validation(self) -> list[Validation]:
        """The validations on held-out tasks, ascending by step: `.metrics()` of each, and `.rows` task by task."""
        return list(self._data.validations)

    @property
    def adapter(self) -> Path:
        """The newest checkpoint: a plain PEFT adapter, or a model directory where all parameters were trained. Of
        several adapters (adapter.roles) the solver's that was validated; the others stand beside it, in adapters/.

        Raises RunError before the first."""
        return newest_checkpoint(self.path)

    @property
    def verdict(self) -> str:
        """In words, whether the model got better at tasks that it never trained on."""
        from minizero.report.verdict import closing_words

        return closing_words(self.path)

    def report(self) -> Path:
        """Write report.html anew, of what there is by now; its path."""
        from minizero.report.run_page import write_report

        return write_report(self.path)
