"""The tiny model's held-out tasks as a benchmark: 1,569 questions of its own world, whose files the package has.

Reading order: SUITES. The tasks are deductions, abductions and inductions in turn, asked as in self-play; a program is
right for an induction when it gives every hidden output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from minizero.evaluation.judges import values
from minizero.evaluation.problems import Problem, Suite
from minizero.types import Task, TaskType

LIMIT_TOKENS = 224  # of an answer with its reasoning, as in configs/tiny.toml


def _load(where: Path | None) -> list[Problem]:
    """The tasks; `where` has no say, since they come with the package."""
    from minizero import tiny

    return [_problem(task) for task in tiny.load("heldout")]


def _problem(task: Task) -> Problem:
    pairs = "\n".join(f"f({pair.input}) == {pair.output}" for pair in task.pairs[: task.shown])
    prompt = f"{task.message}\n{pairs}" if task.type is TaskType.INDUCTION else task.program
    return Problem(f"{task.type}/{task.id}", prompt, task.own_answer, "f", {"task": task})


SUITES = {
    "tiny": Suite(
        "tiny", "The tiny model's held-out tasks", ("tiny",), "task", _load, cast(Any, values.make(None, "tiny")),
        max_tokens=LIMIT_TOKENS,
    )
}  # fmt: skip
