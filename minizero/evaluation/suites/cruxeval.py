"""CRUXEval (arXiv 2401.03065): 800 short functions; what a call gives (-o), and which call gives a value (-i).

Seven of the 800 gold inputs are more than constants and arithmetic, two of them a lambda. Answers are values, so five
of these can still be answered and two cannot (sample_344, sample_364): code in an answer could forge the result that
the prompt shows. Nor can sample_135, whose call has no arguments: an empty answer is no answer.
Reading order: SUITES; self_play_tasks, the fixed subset that validates a run (eval.tasks = "cruxeval").
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

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


def _load(kind: str, where: Path | None) -> list[Problem]:
    return [_problem(row, kind) for row in read_rows(FILE, where)]


def _problem(row: dict[str, Any], kind: str) -> Problem:
    data = {"program": row["code"], "input": row["input"], "output": row["output"]}
    return Problem(row["id"], row["code"], row[kind], "f", data)


def self_play_tasks(limit: int, where: Path | None = None) -> list[Task]:
    """`limit` tasks, half deductions and half abductions, of functions drawn once and for all."""
    problems = _load("output", where)
    random.Random(SUBSET_SEED).shuffle(problems)
    kinds = ((TaskType.DEDUCTION, -(-limit // 2), 0), (TaskType.ABDUCTION, limit // 2, len(problems) // 2))
    # The two halves come from different functions, so that one answer says nothing about the other question.
    return [values.as_task(p, kind) for kind, count, start in kinds for p in problems[start : start + count]]


def _suite(name: str, title: str, kind: str, task_type: TaskType) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        return _load(kind, where)

    return Suite(name, title, (name,), kind, load, cast(Any, values.make(task_type, name)))


SUITES = {
    "cruxeval-i": _suite("cruxeval-i", "CRUXEval-I", "input", TaskType.ABDUCTION),
    "cruxeval-o": _suite("cruxeval-o", "CRUXEval-O", "output", TaskType.DEDUCTION),
}
