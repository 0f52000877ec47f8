"""Where the benchmark files are; tests that need one skip and say what would make them run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minizero.evaluation.problems import Problem
from minizero.evaluation.suites import suite

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    found = Path(os.environ.get("MINIZERO_DATA", SHARED))
    if not (found / "HumanEvalPlus.jsonl.gz").is_file():
        pytest.skip(
            "no benchmark files: set MINIZERO_DATA to a directory with HumanEvalPlus.jsonl.gz, cruxeval.jsonl, ..."
        )
    return found


@pytest.fixture(scope="session")
def mini(data: Path) -> dict[str, Problem]:
    """HumanEval+ Mini by id."""
    return {problem.id: problem for problem in suite("humaneval-mini").load(data)}
