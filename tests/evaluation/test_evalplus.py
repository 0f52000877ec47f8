"""EvalPlus's files are read and written as it does; where it is installed, its own scorer agrees."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from minizero.evaluation import formats
from minizero.evaluation.evalplus_files import (
    read_eval_results,
    read_samples,
    run_evalplus,
    write_eval_results,
    write_samples,
)
from minizero.evaluation.external import md5_of
from minizero.evaluation.problems import Judgement, Problem
from minizero.evaluation.scoring import Submission, score
from minizero.evaluation.suites import suite
from minizero.types import EvaluationError
from sandbox import Sandbox

ONE = Problem("HumanEval/0", "def f():\n", "def f():\n    return 1\n", "f")
SUITE = suite("humaneval+")


def test_a_completion_follows_the_prompt_and_a_solution_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [{"task_id": ONE.id, "completion": "    return 1"}, {"task_id": ONE.id, "solution": "x"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [answer.text for answer in read_samples(path, [ONE])] == ["def f():\n    return 1", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"task_id": "Foreign/0", "solution": ""}', "line 1: task_id = 'Foreign/0' is no task"),
        ('{"task_id": "HumanEval/0"}', "line 1: neither solution nor completion, only task_id"),
        ('{"task_id": "Huma', "line 1: not JSON"),
        ('{"task_id": "HumanEval/0", "solution": ["a", "b"]}', "line 1: solution is a list, not a text"),
        ('\n[1]\n{"task_id": 3, "solution": ""}', "line 2: a list, not an object\nline 3: task_id = 3 is no task"),
        ("7\n" * 9, "line 5: a int, not an object\nand 4 more lines"),
        ("\xff", "expected lines"),
        ("", "1 of 1 tasks have no sample"),
    ],
)
def test_a_samples_file_that_is_not_whole_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=words):
        read_samples(path, [ONE])


def test_results_are_written_and_read_in_its_format(tmp_path: Path) -> None:
    problem = replace(ONE, data={"tests": {"humaneval": [[1], [{2}]], "humaneval+": [[3], [4j]]}})
    answers = [Submission(ONE.id, text) for text in "abcd"]
    found = [("pass", "pass", None), ("pass", "wrong", 1), ("timeout", "not-run", None), ("error", "not-run", 1)]
    verdicts = [Judgement({"humaneval": a, "humaneval+": b}, place) for a, b, place in found]
    path = tmp_path / "eval_results.json"
    write_eval_results(path, SUITE, [problem], answers, verdicts, md5="abc")
    assert read_eval_results(path) == {ONE.id: [(True, True), (True, False), (False, False), (False, False)]}
    written = json.loads(path.read_text())
    assert written["hash"] == "abc"
    assert written["pass_at_k"] == {"base": {"pass@1": pytest.approx(1 / 2)}, "plus": {"pass@1": pytest.approx(1 / 4)}}
    rows = written["eval"][ONE.id]
    assert [row["base_status"] for row in rows] == ["pass", "pass", "timeout", "fail"]
    assert [row["base_fail_tests"] for row in rows] == [[], [], [], [[[2]]]]
    assert [row["plus_fail_tests"] for row in rows] == [[], [["4j"]], [], []]


def test_the_hash_is_evalpluss_own(data: Path) -> None:
    assert md5_of(SUITE, data).startswith("fe585eb4")  # of the unzipped HumanEvalPlus-v0.1.10
    assert md5_of(suite("lcb-generation"), data) == ""


def test_a_file_of_another_kind_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(EvaluationError, match="no results in EvalPlus's format"):
        read_eval_results(path)


def test_direct_completion_ends_where_the_next_definition_begins() -> None:
    assert formats.read(SUITE, ONE, "direct", "    return 1\n\ndef g():\n    pass\n").rstrip().endswith("return 1")


def test_a_chat_reply_is_the_code_up_to_the_fence() -> None:
    prompt = formats.ask(SUITE, ONE, "chat")
    assert prompt.prefill.endswith("```python\n")
    assert (
        formats.read(SUITE, ONE, "chat", "def f():\n    return 1\n```\nIt works.").rstrip() == "def f():\n    return 1"
    )


def test_a_thinking_reply_is_read_from_its_answer() -> None:
    text = "hm ```python\nx\n```</think> <answer>```python\ndef f():\n    return 1\n```</answer>"
    assert formats.read(SUITE, ONE, "azr", text).rstrip() == "def f():\n    return 1"


def test_boxed_expressions_keep_their_braces() -> None:
    assert formats.boxed("so \\boxed{1} or \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert formats.boxed("\\boxed{1") == ""


def test_the_compact_format_is_for_values_only() -> None:
    with pytest.raises(EvaluationError, match="compact"):
        formats.ask(SUITE, ONE, "compact")


MIXED = {
    "HumanEval/0": "    return True\n",
    "HumanEval/2": "    return number % 1.0 + 1e-9\n",
    "HumanEval/4": "    return float(sum(abs(x - sum(numbers) / len(numbers)) for x in numbers) / len(numbers))\n",
    "HumanEval/11": "    raise ValueError\n",
    "HumanEval/12": "    while True: pass\n",
    "HumanEval/23": "    return strlen.__name__\n",
    "HumanEval/34": "    return list(set(l))\n",
}


@pytest.mark.slow
def test_evalplus_gives_the_same_verdicts(data: Path, mini: dict[str, Problem], tmp_path: Path) -> None:
    """Canonical solutions and some that are wrong in different ways. HumanEval/32 always fails in EvalPlus 0.3.1."""
    python = os.environ.get("EVALPLUS_PYTHON", "")
    if not python:
        pytest.importorskip("evalplus", reason="set EVALPLUS_PYTHON, or pip install evalplus==0.3.1")
    chosen = suite("humaneval-mini")
    answers = [Submission(p.id, p.prompt + MIXED[p.id] if p.id in MIXED else p.solution) for p in mini.values()]
    write_samples(tmp_path / "samples.jsonl", answers)
    with Sandbox(workers=2) as box:
        verdicts = score(chosen, list(mini.values()), answers, box)
    theirs = read_eval_results(
        run_evalplus(
            "humaneval", tmp_path / "samples.jsonl", data / "HumanEvalPlus-Mini.jsonl.gz", parallel=2, python=python
        )
    )
    ours = {
        a.task: [(v["humaneval"] == "pass", v["humaneval-mini"] == "pass")]
        for a, v in zip(answers, verdicts, strict=True)
    }
    odd = {task for task in ours if ours[task] != theirs[task]}
    assert "HumanEval/32" in odd
    assert not odd & MIXED.keys()
    # On a busy machine EvalPlus's wall-clock limits fail canonical solutions (seen: 130 at load 20). We may not.
    assert all(found == [(True, True)] for task, found in ours.items() if task not in MIXED)
