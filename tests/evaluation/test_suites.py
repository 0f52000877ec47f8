"""Suites load what they say, refuse what is something else, and judge answers by value."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges.mathematics import plain_number
from minizero.evaluation.judges.programs import same_output
from minizero.evaluation.problems import Problem, Suite
from minizero.evaluation.scoring import Submission, score
from minizero.evaluation.suites import named, suite
from minizero.evaluation.suites.cruxeval import self_play_tasks
from minizero.evaluation.suites.livecodebench import generation
from minizero.types import EvaluationError, TaskType
from sandbox import Sandbox


def judged(box: Sandbox, chosen: Suite, problem: Problem, answer: str) -> str:
    (verdict,) = score(chosen, [problem], [Submission(problem.id, answer)], box)
    return verdict[chosen.name]


def test_an_unknown_suite_is_told_what_is_near() -> None:
    with pytest.raises(EvaluationError, match="Did you mean humaneval"):
        named("humanevla+")


def test_a_group_stands_for_its_suites_and_each_is_taken_once() -> None:
    assert [s.name for s in named("cruxeval-o,cruxeval,mbpp+")] == ["cruxeval-o", "cruxeval-i", "mbpp+"]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("humaneval+", 164), ("mbpp+", 378), ("cruxeval-i", 800), ("gsm8k", 1319), ("math500", 500)],
)
def test_a_benchmark_has_all_its_problems(data: Path, name: str, rows: int) -> None:
    problems = suite(name).load(data)
    assert len({problem.id for problem in problems}) == rows


def test_a_wrong_hash_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cruxeval.jsonl"
    path.write_text('{"id": "sample_0"}\n')
    with pytest.raises(EvaluationError, match="another version of cruxeval"):
        suite("cruxeval-i").load(path)


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(EvaluationError, match="1 rows, expected 2"):
        read_rows(DataFile(("made.jsonl",), 2, ""), tmp_path)


def test_a_torn_gzip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "made.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 100)[:-9])
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_rows(DataFile(("made.jsonl",), 100, ""), tmp_path)


def test_a_file_that_is_nowhere_names_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MINIZERO_DATA", "MBPP_OVERRIDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EvaluationError, match=r"not found in .*--data"):
        suite("mbpp").load(tmp_path)


def test_evalplus_override_is_honoured(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", "/nowhere/HumanEvalPlus.jsonl")
    monkeypatch.delenv("MINIZERO_DATA", raising=False)
    with pytest.raises(EvaluationError, match="HUMANEVAL_OVERRIDE_PATH"):
        suite("humaneval").load(None)


def test_mbpp_inputs_get_back_the_types_that_json_lost(data: Path) -> None:
    problems = {p.id: p for p in suite("mbpp+").load(data)}
    assert problems["Mbpp/2"].data["tests"]["mbpp"][0] == [(3, 4, 5, 6), (5, 7, 4, 10)]
    assert isinstance(problems["Mbpp/252"].data["tests"]["mbpp"][0][0], complex)


@pytest.mark.parametrize(
    ("answer", "status"),
    [("[(4, 1), (4, 1), (4, 1), (4, 1), (2, 3), (2, 3)]", "pass"), ("[(4, 1)]", "wrong"), ("nums", "unparsable"),
     ("", "unparsable")],
)  # fmt: skip
def test_cruxeval_outputs_are_compared_by_value(box: Sandbox, data: Path, answer: str, status: str) -> None:
    chosen = suite("cruxeval-o")
    assert judged(box, chosen, chosen.load(data)[0], answer) == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [("[1, 1, 3, 1, 3, 1]", "pass"), ("[3, 3, 1, 1, 1, 1]", "pass"), ("[1]", "wrong"),
     ("99) or (True", "unparsable"), ("__import__('os')", "unparsable")],
)  # fmt: skip
def test_cruxeval_inputs_are_tried_and_never_pasted(box: Sandbox, data: Path, answer: str, status: str) -> None:
    chosen = suite("cruxeval-i")
    assert judged(box, chosen, chosen.load(data)[0], answer) == status


@pytest.mark.slow
def test_every_seventeenth_gold_answer_of_cruxeval_is_right(box: Sandbox, data: Path) -> None:
    for name in ("cruxeval-i", "cruxeval-o"):
        chosen = suite(name)
        problems = chosen.load(data)[::17]
        found = score(chosen, problems, [Submission(p.id, p.solution) for p in problems], box)
        assert [v[name] for v in found] == ["pass"] * 48


def test_the_subset_for_validation_is_fixed_and_half_of_each_kind(data: Path) -> None:
    one, two = self_play_tasks(20, data), self_play_tasks(20, data)
    assert [task.id for task in one] == [task.id for task in two]
    assert [task.type for task in one] == [TaskType.DEDUCTION] * 10 + [TaskType.ABDUCTION] * 10
    assert len({task.program for task in one}) == 20


def test_the_halves_of_cruxeval_share_no_function_and_are_chosen_by_hash(data: Path) -> None:
    parts = {half: suite(f"cruxeval-o-{half}").load(data) for half in ("validation", "heldout")}
    assert {half: len(problems) for half, problems in parts.items()} == {"validation": 400, "heldout": 400}
    digests = {
        half: [hashlib.sha256(p.data["program"].encode()).hexdigest() for p in problems]
        for half, problems in parts.items()
    }
    assert max(digests["validation"]) < min(digests["heldout"])
    assert [p.id for p in suite("cruxeval-i-heldout").load(data)] == [p.id for p in parts["heldout"]]
    played = self_play_tasks(800, data, "heldout")
    assert len(played) == 800
    assert {task.program for task in played} == {p.data["program"] for p in parts["heldout"]}
    assert [s.name for s in named("cruxeval-heldout")] == ["cruxeval-i-heldout", "cruxeval-o-heldout"]


@pytest.mark.parametrize(
    ("answer", "status"), [("18", "pass"), ("$18.00", "pass"), ("17", "wrong"), ("", "unparsable")]
)
def test_gsm8k_answers_are_numbers(box: Sandbox, data: Path, answer: str, status: str) -> None:
    chosen = suite("gsm8k")
    assert judged(box, chosen, chosen.load(data)[0], answer) == status


def test_math500_answers_that_are_equal_as_formulas_pass(box: Sandbox, data: Path) -> None:
    pytest.importorskip("math_verify", reason="math-verify is not installed: pip install math-verify")
    chosen = suite("math500")
    problems = {problem.solution: problem for problem in chosen.load(data)}
    pairs = [
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)", "(3, \\pi)"),
        ("\\frac{14}{3}", "4\\frac{2}{3}", "\\frac{3}{14}"),
        ("p - q", "-q+p", "q - p"),
    ]
    for solution, right, wrong in pairs:
        assert judged(box, chosen, problems[solution], right) == "pass", solution
        assert judged(box, chosen, problems[solution], wrong) == "wrong", solution
        assert judged(box, chosen, problems[solution], "\\frac{1") == "wrong", solution


def test_plain_numbers_are_read_with_their_decorations() -> None:
    assert plain_number("1,234") == 1234
    assert plain_number("50\\%") == 50
    assert plain_number("\\frac12") is None
    assert plain_number("nan") is None


STDIN = {
    "question_id": "made_a", "question_content": "Print the sum.", "starter_code": "", "private_test_cases": "",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]), "metadata": "{}",
}  # fmt: skip
CALL = {
    "question_id": "made_b", "question_content": "Add.", "starter_code": "class Solution:",
    "private_test_cases": json.dumps([{"input": "[1]\n\"a\"", "output": "true", "testtype": "functional"}]),
    "public_test_cases": "[]", "metadata": json.dumps({"func_name": "check"}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)\n", "pass"),
        ("import sys\nprint(sum(map(int, sys.stdin.read().split())), '')\n", "pass"),
        ("print(3.0)\n", "pass"),
        ("print(4)\n", "wrong"),
        ("print(input() + 1)\n", "error"),
        ("", "unparsable"),
    ],
)
def test_programs_read_standard_input(box: Sandbox, program: str, status: str) -> None:
    assert judged(box, suite("lcb-generation"), generation(STDIN), program) == status


def test_methods_of_a_class_solution_are_called(box: Sandbox) -> None:
    chosen, problem = suite("lcb-generation"), generation(CALL)
    program = "class Solution:\n    def check(self, x, y):\n        return x == [1] and y == 'a'\n"
    assert judged(box, chosen, problem, program) == "pass"
    assert judged(box, chosen, problem, "def check(x, y):\n    return False\n") == "wrong"


def test_private_tests_in_a_pickle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lcb_generation.jsonl"
    path.write_text(json.dumps(STDIN | {"private_test_cases": "eJxrYEAAAgAB"}) + "\n")
    with pytest.raises(EvaluationError, match="pickle"):
        suite("lcb-generation").load(tmp_path)


def test_execution_asks_for_the_value_of_a_call(box: Sandbox, tmp_path: Path) -> None:
    row = {
        "id": "x",
        "code": "def countSeniors(a):\n    return len(a)\n",
        "input": "countSeniors([1, 2])",
        "output": "2",
    }
    (tmp_path / "lcb_execution.jsonl").write_text(json.dumps(row) + "\n")
    chosen = suite("lcb-execution")
    (problem,) = chosen.load(tmp_path)
    assert problem.data["input"] == "[1, 2]"
    assert judged(box, chosen, problem, "2") == "pass"
    assert judged(box, chosen, problem, "3") == "wrong"


def test_test_output_is_predicted_from_the_description(box: Sandbox, tmp_path: Path) -> None:
    test = json.dumps([{"input": "[1, 2]\n3", "output": "[3]", "testtype": "functional"}])
    row = {"question_id": 7, "test_id": 1, "question_content": "Add.", "starter_code": "", "test": test}
    (tmp_path / "lcb_test_output.jsonl").write_text(json.dumps(row) + "\n")
    chosen = suite("lcb-test-output")
    (problem,) = chosen.load(tmp_path)
    assert judged(box, chosen, problem, "[3]") == "pass"


def test_standard_output_is_compared_without_trailing_blanks_and_as_numbers() -> None:
    assert same_output("1 2 \n3\n\n", "1 2\n3")
    assert same_output("1.50", "1.5")
    assert not same_output("1\n2", "1 2")
