"""Others' scorers agree with ours, sample by sample: EvalPlus's development head, and CRUXEval's published scores.

The checkouts are read where EVALPLUS_CHECKOUT, QWEN_CODER_CHECKOUT and CRUXEVAL_CHECKOUT say, EvalPlus's code runs in
EVALPLUS_PYTHON, an interpreter with its dependencies. All samples: benchmarks/agreement.py without --every.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minizero.evaluation.problems import Problem

pytestmark = pytest.mark.full
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "agreement.py"


@pytest.fixture(scope="module")
def agreement() -> Any:
    spec = importlib.util.spec_from_file_location("agreement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agreement"] = module
    spec.loader.exec_module(module)
    return module


def test_mutants_are_programs_that_are_the_same_each_time(agreement: Any, mini: dict[str, Problem]) -> None:
    found = [s for p in mini.values() for s in agreement.mutants("humaneval", p, 2)]
    assert found == [s for p in mini.values() for s in agreement.mutants("humaneval", p, 2)]
    assert len(found) == 328
    unchanged = sum(ast.unparse(ast.parse(mini[s.task].solution)) == ast.unparse(ast.parse(s.text)) for s in found)
    assert unchanged < 33


def test_an_answer_of_cruxeval_is_bared(agreement: Any) -> None:
    assert agreement.bare("input", "f([1], g(2))") == "[1], g(2)"
    assert agreement.bare("input", "f(1") == ""
    assert agreement.bare("output", "f(1)") == "f(1)"


def agrees(data: Path, part: str, *arguments: str) -> None:
    command = [sys.executable, str(SCRIPT), part, "--data", str(data), "--workers", "2", *arguments]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| differ |" in done.stdout


def checkout(name: str) -> str:
    if not (found := os.environ.get(name)):
        pytest.skip(f"set {name} to a checkout: see benchmarks/agreement.py")
    return found


@pytest.mark.slow
def test_evalpluss_head_agrees_on_mutants_and_published_answers(data: Path) -> None:
    arguments = ["--checkout", checkout("EVALPLUS_CHECKOUT"), "--python", checkout("EVALPLUS_PYTHON"), "--every", "20"]
    if published := os.environ.get("QWEN_CODER_CHECKOUT"):
        arguments += ["--published", published]
    agrees(data, "evalplus", *arguments)


@pytest.mark.slow
def test_cruxevals_published_scores_agree(data: Path) -> None:
    agrees(data, "cruxeval", "--checkout", checkout("CRUXEVAL_CHECKOUT"), "--every", "20")
