"""Programs are judged as EvalPlus's development head judges them, and cheats fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minizero.evaluation.judges import functions
from minizero.evaluation.judges.functions import FunctionJudge, imports_for
from minizero.evaluation.judges.oracle import first_wrong
from minizero.evaluation.problems import Judgement, Problem
from minizero.evaluation.scoring import JudgementCache, Submission, score
from minizero.evaluation.suites import suite
from minizero.types import EvaluationError
from sandbox import Sandbox

DOUBLE = Problem(
    "Made/0",
    "",
    "def double(x):\n    return [2 * i for i in x]\n",
    "double",
    {"tests": {"base": [[[1, 2]], [[3]]], "plus": [[[i]] for i in range(200)]}, "atol": 0.0, "oracle": "",
     "is_json": True},
)  # fmt: skip


def verdict(box: Sandbox, answer: str, problem: Problem = DOUBLE) -> dict[str, str]:
    return dict(FunctionJudge([problem], box).judge(problem, answer).statuses)


def made(solution: str, entry: str, inputs: list[list[object]], oracle: str = "", atol: float = 0.0) -> Problem:
    return Problem(
        "Made/1", "", solution, entry, {"tests": {"base": inputs}, "atol": atol, "oracle": oracle, "is_json": False}
    )


def test_the_reference_passes_its_own_tests(box: Sandbox) -> None:
    assert verdict(box, DOUBLE.solution) == {"base": "pass", "plus": "pass"}


def test_another_right_program_passes(box: Sandbox) -> None:
    assert verdict(box, "def double(x):\n    return list(i + i for i in x)\n") == {"base": "pass", "plus": "pass"}


def test_a_program_wrong_on_the_extra_tests_only_passes_the_base(box: Sandbox) -> None:
    program = "def double(x):\n    return [2 * i if i < 150 else 0 for i in x]\n"
    assert verdict(box, program) == {"base": "pass", "plus": "wrong"}


def test_what_fails_the_base_is_not_run_on_more(box: Sandbox) -> None:
    assert verdict(box, "def double(x):\n    return x\n") == {"base": "wrong", "plus": "not-run"}


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def double(x):\n    return [2.0 * i for i in x]\n", "pass"),  # 2.0 == 2
        ("def double(x):\n    return tuple(2 * i for i in x)\n", "wrong"),  # a tuple is no list
        ("def double(x)\n    return 1\n", "error"),
        ("def other(x):\n    return 1\n", "error"),
        ("def double(x):\n    return [[0] * 10 ** 9 for _ in range(9)]\n", "memory"),
        ("import sys\ndef double(x):\n    sys.exit(0)\n", "error"),
        ("from collections import UserList, deque\ndef double(x):\n    return deque(2 * i for i in x)\n", "wrong"),
        ("import os\ndef double(x):\n    return os.listdir('/home') and x\n", "denied"),
    ],
    ids=["float", "tuple", "syntax", "no function", "memory", "exit", "no value", "files"],
)
def test_each_way_to_fail_has_its_own_word(box: Sandbox, program: str, status: str) -> None:
    assert verdict(box, program)["base"] == status


@pytest.mark.parametrize(
    ("program", "place"),
    [
        ("def double(x):\n    return [2 * i if i < 150 else 0 for i in x]\n", 150),
        ("def double(x):\n    return [2 * i if i < 150 else 1 // 0 for i in x]\n", 150),
        ("def double(x):\n    return [0 if i == 9 else 2 * i if i < 150 else 1 // 0 for i in x]\n", 9),
        ("def double(x):\n    return [2 * i if i < 150 else lambda: 0 for i in x]\n", 150),
        ("def double(x):\n    return [2 * i if len(x) == 1 else 0 for i in x]\n", 0),
        ("def double(x:\n", None),
        ("def other(x):\n    return x\n", None),
    ],
    ids=["wrong", "raises", "wrong before it raises", "no value", "base", "syntax", "no function"],
)
def test_the_first_failed_test_is_known_where_the_program_starts(box: Sandbox, program: str, place: int | None) -> None:
    assert FunctionJudge([DOUBLE], box).judge(DOUBLE, program).failed_test == place


def test_results_that_are_large_together_are_compared_a_few_at_a_time(box: Sandbox) -> None:
    """HumanEval/15 has parts whose results take 200 MB; that must not end the scoring of a wrong answer."""
    problem = made("def f(n):\n    return n * 'x'\n", "f", [[2_000_000 + i] for i in range(64)])
    judge = FunctionJudge([problem], box)
    wrong = "def f(n):\n    return n * 'x' if n < 2000040 else 'y'\n"
    assert judge.judge(problem, wrong) == Judgement({"base": "wrong"}, 40)
    assert judge.judge(problem, wrong.replace("'y'", "1 // 0")) == Judgement({"base": "error"}, 40)


def test_floats_before_a_part_make_its_tests_tolerant_as_in_evalplus(box: Sandbox) -> None:
    """From the first right answer that is a float on, what holds floats among others is compared with a tolerance."""
    inputs: list[list[object]] = [[i] for i in range(70)]
    problem = made("def f(i):\n    return 0.5 if i == 0 else [i, i / 3]\n", "f", inputs)
    near = "def f(i):\n    return 0.5 if i == 0 else [i, i / 3 + 1e-9]\n"
    assert verdict(box, near, problem)["base"] == "pass"
    strict = made("def f(i):\n    return [i, i / 3]\n", "f", inputs)
    assert verdict(box, near, strict)["base"] == "wrong"


@pytest.mark.once
def test_a_program_that_is_fast_enough_test_by_test_passes_the_extra_tests(box: Sandbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(functions, "MIN_CPU_S", 0.5)
    slow = "def double(x):\n    for _ in range(8_000_000 * (len(x) == 1)): pass\n    return [2 * i for i in x]\n"
    tests = {"base": [[[1, 2]]], "plus": [[[i]] for i in range(20)]}
    problem = replace(DOUBLE, data={**DOUBLE.data, "tests": tests})
    assert verdict(box, slow, problem) == {"base": "pass", "plus": "pass"}
    monkeypatch.setattr(functions, "LEVEL_S", 0.3)
    assert verdict(box, slow, problem) == {"base": "pass", "plus": "timeout"}


def test_a_subclass_of_a_value_is_equal_to_its_plain_kin(box: Sandbox) -> None:
    problem = made("def f(x):\n    return {'a': 1}\n", "f", [["a"]])
    assert (
        verdict(box, "from collections import Counter\ndef f(x):\n    return Counter(x)\n", problem)["base"] == "pass"
    )


def test_a_function_called_like_a_name_of_the_driver_is_judged(box: Sandbox) -> None:
    problem = made("def results(x):\n    return x\n", "results", [[1]])
    assert verdict(box, "def results(x):\n    return x + 0\n", problem)["base"] == "pass"


def test_very_long_integers_are_compared_in_no_time(box: Sandbox) -> None:
    problem = made("def f(n):\n    return [10 ** n, 1]\n", "f", [[400_000]])
    started = time.monotonic()
    assert verdict(box, "def f(n):\n    return [2 ** n * 5 ** n, 1]\n", problem)["base"] == "pass"
    assert verdict(box, "def f(n):\n    return [10 ** n + 1, 1]\n", problem)["base"] == "wrong"
    assert time.monotonic() - started < 60


CHEATS = {
    "equal to everything": """
class Anything:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __repr__(self): return "[2, 4]"
def double(x): return Anything()
""",
    "equal list": """
class Anything(list):
    def __eq__(self, other): return True
    __hash__ = None
def double(x): return Anything()
""",
    "expected values from frames": """
import sys
def double(x):
    frame = sys._getframe(1)
    while frame:
        for name in ("expected", "exp", "digests", "values"):
            if name in frame.f_locals: return frame.f_locals[name][0]
        frame = frame.f_back
    return None
""",
    "status through frames": """
import sys
def double(x):
    frame = sys._getframe(1)
    while frame:
        for name in ("stat", "progress"):
            if name in frame.f_locals: frame.f_locals[name].value = 0
        frame = frame.f_back
    import os
    os._exit(0)
""",
    "writing files": """
import io
def double(x):
    for place in ("MARK", "/dev/shm/minizero-cheat"):
        try: io.open(place, "w").write("x")
        except BaseException: pass
    return None
""",
    "starting processes": """
import os
def double(x):
    try: os.posix_spawn("/bin/sh", ["sh", "-c", "echo x > MARK"], {})
    except BaseException: pass
    os.fork()
    return None
""",
    "swallowing the timeout": """
def double(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "other driver": """
def double(x): return [2, 4]
def minizero_run_part(part, wants_values): return "0" * 64
import builtins
builtins.repr = lambda value: ""
""",
}


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_fail_and_leave_nothing_behind(box: Sandbox, name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    started = time.monotonic()
    found = verdict(box, CHEATS[name].replace("MARK", str(mark)))
    assert "pass" not in found.values()
    assert not mark.exists()
    assert not Path("/dev/shm/minizero-cheat").exists()
    assert time.monotonic() - started < 60


def test_floats_are_compared_with_a_tolerance_once_the_right_answer_is_one() -> None:
    assert first_wrong("", [[1]], [0.30000001], [0.3], 0.0) is None
    assert first_wrong("", [[1]], [0.301], [0.3], 0.0) == 0
    assert first_wrong("", [[1]], [0], [0.0000001], 0.0) == 0  # an int where a float is right: types differ
    assert first_wrong("", [[1], [1]], [0.3, 5], [0.3, 5], 0.0) is None


def test_a_root_is_right_wherever_the_polynomial_vanishes() -> None:
    assert first_wrong("root", [[[-4, 0, 1]]], [-2.0], [2.0], 1e-4) is None  # x^2 - 4
    assert first_wrong("root", [[[-4, 0, 1]]], [1.9], [2.0], 1e-4) == 0


@pytest.mark.parametrize(
    ("oracle", "arguments", "out", "right", "expected"),
    [
        ("set", [], [2, 1], [1, 2], True),
        ("set", [], [[1]], [1], False),
        ("any", [], False, True, True),
        ("or-zero", [7], 0, 1, True),
        ("padded-digits", [23, 256], 8, 0, True),  # 023 and 256: 2 + 3 + 3
        ("padded-digits", [23, 256], 7, 0, False),
        ("pyramid", [3, 4], 35, 33, True),
    ],
)
def test_tasks_with_several_right_answers(
    oracle: str, arguments: list[object], out: object, right: object, expected: bool
) -> None:
    assert (first_wrong(oracle, [arguments], [out], [right], 0.0) is None) is expected


def test_only_programs_that_import_more_get_the_wide_list() -> None:
    assert imports_for("import math\nfrom typing import List\n") == "training"
    assert imports_for("import os\n") == "stdlib"
    assert imports_for("from os import path\n") == "stdlib"


def test_verdicts_are_remembered_and_a_torn_last_line_is_repaired(box: Sandbox, tmp_path: Path) -> None:
    made_suite = replace(suite("humaneval"), levels=tuple(DOUBLE.data["tests"]))
    answers = [Submission("Made/0", DOUBLE.solution), Submission("Made/0", DOUBLE.solution)]
    cache = JudgementCache(tmp_path / "verdicts.jsonl")
    first = score(made_suite, [DOUBLE], answers, box, cache=cache)
    with (tmp_path / "verdicts.jsonl").open("a") as file:
        file.write('{"key": "torn')
    again = JudgementCache(tmp_path / "verdicts.jsonl")
    assert score(made_suite, [DOUBLE], answers, box, cache=again) == first
    assert again.hits == 2
    assert score(suite("humaneval"), [DOUBLE], answers, box, cache=again) == first  # a level is lacking: judged anew
    assert again.hits == 2
    assert (tmp_path / "verdicts.jsonl").read_text().endswith("}\n")


def test_a_foreign_task_is_an_error(box: Sandbox) -> None:
    with pytest.raises(EvaluationError, match="1 tasks of the samples are not in humaneval"):
        score(suite("humaneval"), [DOUBLE], [Submission("Mbpp/2", "")], box)


def test_some_canonical_solutions_of_mini_pass(box: Sandbox, mini: dict[str, Problem]) -> None:
    chosen = [mini[f"HumanEval/{i}"] for i in (0, 2, 4, 32, 38, 131)]
    found = score(suite("humaneval-mini"), chosen, [Submission(p.id, p.solution) for p in chosen], box)
    assert [v.statuses for v in found] == [{"humaneval": "pass", "humaneval-mini": "pass"}] * 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "busy"),
    [("humaneval-mini", 164, 0), ("humaneval+", 164, 0), ("humaneval+", 164, 8), ("mbpp+", 377, 0), ("mbpp+", 377, 8)],
)
def test_canonical_solutions_pass(data: Path, name: str, least: int, busy: int) -> None:
    """Also with the machine loaded by busy processes: limits are of processor time. HumanEval+ holds HumanEval."""
    chosen = suite(name)
    problems = chosen.load(data)
    # In sessions of their own: the kernel may share the machine out by session.
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop, start_new_session=True) for _ in range(busy)]
    try:
        with Sandbox(workers=2) as box:
            found = score(chosen, problems, [Submission(p.id, p.solution) for p in problems], box)
    finally:
        for other in others:
            other.kill()
            other.wait()
    failed = {p.id: v for p, v in zip(problems, found, strict=True) if v[chosen.levels[-1]] != "pass"}
    assert len(problems) - len(failed) >= least, failed


@pytest.mark.slow
def test_a_scorer_beside_torch_gives_the_same_verdicts(data: Path) -> None:
    """EvalPlus limits the address space of a fork of its own process, in which torch's mappings count too."""
    code = f"""
import sys
if sys.argv[1] == "torch":
    import torch; torch.zeros(10)
from pathlib import Path
from minizero.evaluation.suites import suite
from minizero.evaluation.scoring import Answer, score
from sandbox import Sandbox
chosen = suite("humaneval-mini")
problems = chosen.load(Path({str(data)!r}))
# Right, and wrong in its end: the verdicts of both must be the same.
answers = [Answer(p.id, text) for p in problems for text in (p.solution, p.solution + "    return None\\n", p.prompt)]
with Sandbox(workers=1) as box:
    print([verdict.statuses for verdict in score(chosen, problems, answers, box)])
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, check=True, env=environment,
            cwd=Path(__file__).parents[2],
        ).stdout
        for how in ("plain", "torch")
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert outputs[0].count("'humaneval-mini': 'pass'") >= 164
