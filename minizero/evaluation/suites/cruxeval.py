"""CRUXEval (arXiv 2401.03065): 800 short functions; what a call gives (-o), and which call gives a value (-i).

Seven of the 800 gold inputs are more than constants and arithmetic, two of them a lambda. Answers are values, so five
of these can still be answered and two cannot (sample_344, sample_364): code in an answer could forge the result that
the prompt shows. Nor can sample_135, whose call has no arguments: an empty answer is no answer.
Settings are chosen on one half of the functions and reported on the other.

Reading order: SUITES; the halves; self_play_tasks, the fixed subset that validates a run (eval.tasks = "cruxeval").
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges import values
from minizero.evaluation.problems import Problem, Suite
from minizero.types import Task, TaskType

FILE = DataFile(
    ("cruxeval.jsonl",),
    800,
    "8368b81047dc5014e4caf5a2f97604eff7644e0ecd7415e3ceeb184bbc2e0c96",
    home="github.com/facebookresearch/cruxeval, data/cruxeval.jsonl",
)
SUBSET_SEED = 2_401_03065


Half = Literal["validation", "heldout"]


def _load(kind: str, where: Path | None, half: Half | None = None) -> list[Problem]:
    problems = [_problem(row, kind) for row in read_rows(FILE, where)]
    if half is None:
        return problems
    chosen = _half(problems, half)
    return [problem for problem in problems if problem.id in chosen]


def _problem(row: dict[str, Any], kind: str) -> Problem:
    data = {"program": row["code"], "input": row["input"], "output": row["output"]}
    return Problem(row["id"], row["code"], row[kind], "f", data)


def _half(problems: Sequence[Problem], half: Half) -> frozenset[str]:
    """The ids of the 400 functions whose text has the smallest SHA-256 (validation), or of the others."""
    by_hash = sorted(problems, key=lambda problem: hashlib.sha256(problem.data["program"].encode()).digest())
    middle = len(problems) // 2
    return frozenset(problem.id for problem in (by_hash[:middle] if half == "validation" else by_hash[middle:]))


def self_play_tasks(limit: int, where: Path | None = None, half: Half = "validation") -> list[Task]:
    """`limit` tasks of a half, as many deductions as abductions, of functions in an order drawn once and for all.

    Up to 400 they come from different functions, so that one answer says nothing about the other question.
    """
    problems = _load("output", where, half)
    random.Random(SUBSET_SEED).shuffle(problems)
    size = len(problems)
    kinds = ((TaskType.DEDUCTION, -(-limit // 2), 0), (TaskType.ABDUCTION, limit // 2, size // 2))
    return [
        values.as_task(problems[(start + place) % size], kind)
        for kind, count, start in kinds
        for place in range(min(count, size))
    ]


def programs(where: Path | None = None) -> list[str]:
    """All functions of both halves."""
    return [problem.data["program"] for problem in _load("output", where)]


def _suite(name: str, title: str, kind: str, task_type: TaskType, half: Half | None = None) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        return _load(kind, where, half)

    return Suite(name, title, (name,), kind, load, cast(Any, values.make(task_type, name)))


_QUESTIONS = (("i", "input", TaskType.ABDUCTION), ("o", "output", TaskType.DEDUCTION))
_HALVES: tuple[Half | None, ...] = (None, "validation", "heldout")
SUITES = {
    name: _suite(name, f"CRUXEval-{letter.upper()}{f', {half} half' if half else ''}", kind, task_type, half)
    for letter, kind, task_type in _QUESTIONS
    for half in _HALVES
    for name in [f"cruxeval-{letter}" + (f"-{half}" if half else "")]
}
