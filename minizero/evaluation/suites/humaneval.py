"""HumanEval (arXiv 2107.03374) with EvalPlus's tests (arXiv 2305.01210): 164 functions to complete.

Reading order: SUITES. The base tests and the extra ones come from EvalPlus's file, so both scores are of one sampling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges.functions import FunctionJudge
from minizero.evaluation.problems import Problem, Suite

HOME = "the releases of github.com/evalplus/humanevalplus_release (v0.1.10)"
FULL = DataFile(
    ("HumanEvalPlus.jsonl", "HumanEvalPlus-v0.1.10.jsonl"),
    164,
    "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
    override="HUMANEVAL_OVERRIDE_PATH",
    home=HOME,
)
MINI = DataFile(
    ("HumanEvalPlus-Mini.jsonl", "HumanEvalPlus-Mini-v0.1.10.jsonl"),
    164,
    "78fbba8865b20c5a979cda6e02fd72538e1762e65980af7d1a6e93c3e87e93af",
    home=HOME,
)
# Where a direct completion has gone on to something else (EvalPlus, provider/utility.py).
STOPS = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")


def problem(row: dict[str, Any], levels: dict[str, str]) -> Problem:
    """`levels`: name of a score -> name of the row's inputs."""
    # find_zero has many right answers: any point where the polynomial is nearly 0.
    oracle = "root" if row["entry_point"] == "find_zero" else ""
    tests = {level: row[field] for level, field in levels.items()}
    data = {"tests": tests, "atol": float(row["atol"]), "oracle": oracle, "is_json": True}
    return Problem(row["task_id"], row["prompt"], row["prompt"] + row["canonical_solution"], row["entry_point"], data)


def _suite(name: str, title: str, file: DataFile, levels: dict[str, str]) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        return [problem(row, levels) for row in read_rows(file, where)]

    return Suite(name, title, tuple(levels), "program", load, FunctionJudge, STOPS)


SUITES = {
    "humaneval": _suite("humaneval", "HumanEval", FULL, {"humaneval": "base_input"}),
    "humaneval+": _suite("humaneval+", "HumanEval+", FULL, {"humaneval": "base_input", "humaneval+": "plus_input"}),
    "humaneval-mini": _suite(
        "humaneval-mini", "HumanEval+ Mini", MINI, {"humaneval": "base_input", "humaneval-mini": "plus_input"}
    ),
}
