"""Tasks as rows of JSON: what a run writes and reads again, and AZR's own format.

Reading order: task_to_json, task_from_json; tasks_of (a row of either format), TaskLine and read_task_lines (a file).

AZR's rows (docs/algorithm.md 1): {"snippet", "input", "output", ...} is a deduction and an abduction task, {"snippet",
"inputs", "outputs", "message", ...} an induction task; ours (minizero seed) also name a task_type, without which no row
is an error task. The lines of a run's tasks.jsonl are read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.types import Pair, Task, TaskType
from sandbox.values import parse_value, render

EXPECTED = (
    "Expected a JSON object with snippet, input, output, or with snippet, inputs, outputs, message; or a line of "
    "tasks.jsonl."
)


def task_to_json(task: Task, solve_rate: float | None = None) -> dict[str, Any]:
    """A task as a JSON object; `task_from_json` reads it back."""
    row: dict[str, Any] = {
        "type": task.type.value,
        "program": task.program,
        "pairs": [[pair.input, pair.output] for pair in task.pairs],
        "step": task.step,
    }
    if task.type is TaskType.INDUCTION:
        row |= {"message": task.message, "shown": task.shown}
    if task.composites:
        row["composites"] = list(task.composites)
    return row if solve_rate is None else row | {"solve_rate": solve_rate}


def task_from_json(row: Mapping[str, Any]) -> Task:
    """Raises KeyError, TypeError or ValueError for an object that is no task."""
    pairs = tuple(Pair(str(given), str(answer)) for given, answer in row["pairs"])
    return Task(
        TaskType(row["type"]),
        str(row["program"]),
        pairs,
        str(row.get("message", "")),
        int(row.get("shown", 0)),
        int(row["step"]),
        tuple(map(str, row.get("composites", ()))),
    )


def tasks_of(row: Mapping[str, Any]) -> list[Task]:
    """The tasks of one row, in AZR's format or ours, all of step 0. Raises KeyError, TypeError or ValueError for what
    is no row, of which InvalidValue for an output that is no value."""
    if "type" in row:
        return [task_from_json({**row, "step": 0})]
    program = str(row["snippet"])
    imports = [line for line in row.get("imports") or [] if line not in program]
    program = "\n".join([*imports, program])
    if "inputs" in row:
        if len(row["inputs"]) != len(row["outputs"]) or len(row["inputs"]) < 2:
            raise ValueError(
                f"{len(row['inputs'])} inputs, {len(row['outputs'])} outputs; expected the same number, at least 2"
            )
        pairs = tuple(
            Pair(str(i), render(parse_value(str(o)))) for i, o in zip(row["inputs"], row["outputs"], strict=True)
        )
        return [Task(TaskType.INDUCTION, program, pairs, str(row["message"]), len(pairs) // 2)]
    if row.get("task_type") == TaskType.ERROR:  # the output is a name
        return [Task(TaskType.ERROR, program, (Pair(str(row["input"]), str(row["output"])),))]
    pair = Pair(str(row["input"]), render(parse_value(str(row["output"]))))
    kinds = [TaskType(row["task_type"])] if "task_type" in row else [TaskType.DEDUCTION, TaskType.ABDUCTION]
    return [Task(kind, program, (pair,)) for kind in kinds]


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One line of a file of tasks, counted from 1: its tasks, or the error that reading it raised. A blank one has
    neither."""

    number: int
    tasks: tuple[Task, ...] = ()
    error: Exception | None = None

    @property
    def problem(self) -> str:
        """The error in words; "" where there is none."""
        return f"{type(self.error).__name__}: {self.error}" if self.error else ""


def read_task_lines(path: Path) -> list[TaskLine]:
    """Every line of a JSON Lines file of tasks; what a line lacks is its reader's to judge. Raises OSError or
    UnicodeDecodeError where the file cannot be read."""
    return [_line(number, text) for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)]


def _line(number: int, text: str) -> TaskLine:
    try:
        return TaskLine(number, tuple(tasks_of(json.loads(text))) if text.strip() else ())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return TaskLine(number, error=error)
