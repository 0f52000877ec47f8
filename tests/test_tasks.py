"""Proposals become tasks or named rejections; answers become verdicts. All programs run in a real sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import minizero
from minizero.config import config_from
from minizero.config.tasks import AdmissionConfig
from minizero.selfplay.build import sandbox_settings
from minizero.tasks.admission import REASONS, VERDICTS, admit, check, duplicate_key, result_bytes
from minizero.tasks.answers import read_answer
from minizero.tasks.event_loop import EventLoop, run_all
from minizero.tasks.programs import program_key, statement_lines
from minizero.tasks.seed_check import run_seeds
from minizero.types import Answer, Pair, ParseError, Proposal, Rejection, Task, TaskType, Verdict
from sandbox import Job, Limits, Sandbox
from sandbox.values import InvalidValue, render
from tests.azr_departures import VERDICTS as DEPARTING_VERDICTS
from tests.azr_vectors import azr_records

DEDUCTION, ABDUCTION, INDUCTION = TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION
SETTINGS = AdmissionConfig()
TEN = tuple(str(number) for number in range(10))


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(workers=1, limits=Limits(cpu_s=0.5, wall_s=4.0, memory_mib=256)) as opened:
        yield opened


def admitted(box: Sandbox, proposal: Proposal, rules: AdmissionConfig = SETTINGS, **options: Any) -> Task | Rejection:
    return run_all([admit(proposal, box, rules, step=3, **options)])[0]


def reason(box: Sandbox, program: str, text: str = "3", settings: AdmissionConfig = SETTINGS, **options: Any) -> str:
    found = admitted(box, Proposal(DEDUCTION, program, (text,)), settings, **options)
    return found.reason if isinstance(found, Rejection) else "admitted"


def verdict(box: Sandbox, task: Task, text: str) -> Verdict:
    return run_all([check(task, Answer(task.type, text), box, SETTINGS)])[0]


def test_a_proposal_that_runs_becomes_a_task_with_its_output(box: Sandbox) -> None:
    found = admitted(box, Proposal(DEDUCTION, "def f(xs, k=1):\n    return {x * k for x in xs}", ("[3,1],  k=2",)))
    assert found == Task(
        DEDUCTION, "def f(xs, k=1):\n    return {x * k for x in xs}", (Pair("[3, 1], k=2", "{2, 6}"),), step=3
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x) return x", "syntax"),
        ("g = lambda x: x", "no_function"),
        ("def f(x):\n    return 1 // (x - 3)", "error"),
        ("def f(x, y):\n    return x", "error"),
        ("def f(x):\n    while True:\n        pass", "timeout"),
        ("def f(x):\n    return [0] * 10**9", "memory"),
        ("def f(x):\n    return f", "no_value"),
        ("def f(x):\n    return 'a' * 500", "output_too_long"),
        ("def f(x):\n    return '\\0' * 300_000", "output_too_long"),  # in text, four times as long
        ("def f(x):\n    return list({str(i) for i in range(50)})[:5]", "not_deterministic"),
        ("def f(x):\n    return x" + "  # long" * 1000, "program_too_long"),
        ("import random\ndef f(x):\n    return x", "forbidden"),
        ("def f(x):\n    from os import path\n    return x", "forbidden"),
        ("def f(x):\n    return eval('x')", "forbidden"),
        ("open = 1\ndef f(x):\n    return open", "forbidden"),
        ("def f(x):\n    return ().__class__.__base__.__subclasses__()", "forbidden"),
        ("import numpy\ndef f(x):\n    return numpy.random.rand()", "forbidden"),
        ("import no_such_module\ndef f(x):\n    return x", "denied"),
        ("def f(input, id=2):\n    hash = input\n    return hash * id", "admitted"),
        ("def f(x):\n    print('hello')\n    return x", "admitted"),
        ("def f(x):\n    pass", "admitted"),
        ("import math, re\nfrom collections import Counter\ndef f(x):\n    return math.sqrt(x)", "admitted"),
        ("def g(x):\n    f = 2\n    return x * f\nf = g", "admitted"),
    ],
)
def test_each_defect_of_a_program_has_its_reason(box: Sandbox, program: str, expected: str) -> None:
    assert reason(box, program) == expected
    assert expected in REASONS or expected == "admitted"


def test_each_defect_of_an_input_has_its_reason(box: Sandbox) -> None:
    program = "def f(x):\n    return 1"
    assert reason(box, program, "range(3)") == "bad_input"
    assert reason(box, program, "1) or (1") == "bad_input"
    assert reason(box, program, repr("a" * 1001)) == "input_too_long"


def test_the_parentheses_of_a_call_are_no_tuple_where_one_argument_cannot_do(box: Sandbox) -> None:
    found = admitted(box, Proposal(DEDUCTION, "def f(x, y, z=1):\n    return y", ("(3, 4)",)))
    assert isinstance(found, Task)
    assert found.pairs == (Pair("3, 4", "4"),)
    found = admitted(box, Proposal(DEDUCTION, "def f(x, y=1):\n    return x", ("(3, 4)",)))
    assert isinstance(found, Task)
    assert found.pairs == (Pair("(3, 4)", "(3, 4)"),)


def test_the_exception_is_named_in_the_detail(box: Sandbox) -> None:
    found = admitted(box, Proposal(ABDUCTION, "def f(x):\n    return {}[x]", ("3",)))
    assert found == Rejection("error", "KeyError: 3")


def test_none_as_output_is_a_setting(box: Sandbox) -> None:
    assert reason(box, "def f(x):\n    pass", settings=AdmissionConfig(accept_none=False)) == "none"


def test_a_known_task_is_a_duplicate_and_a_held_out_program_is_never_admitted(box: Sandbox) -> None:
    program = "def f(x):\n    return x + 1"
    assert reason(box, program, known=lambda proposal: proposal.inputs == ("3",)) == "duplicate"
    assert reason(box, "def f(x):  # the same\n    return (x+1)", held_out={program_key(program)}) == "held_out"


def test_the_requested_number_of_lines_is_a_rule_only_where_the_setting_says_so(box: Sandbox) -> None:
    program = "def f(x):\n    y = x\n    return y"
    assert reason(box, program, lines=3) == "admitted"
    assert reason(box, program, settings=AdmissionConfig(exact_lines=True), lines=3) == "wrong_length"
    assert reason(box, program, settings=AdmissionConfig(exact_lines=True), lines=2) == "admitted"


def test_an_induction_proposal_keeps_the_last_different_inputs_and_hides_the_later_ones(box: Sandbox) -> None:
    proposal = Proposal(INDUCTION, "def f(x):\n    return x % 3", ("7", "7", *TEN), "think of 3")
    task = admitted(box, proposal, inputs=4, shown=2)
    assert task == Task(
        INDUCTION,
        "def f(x):\n    return x % 3",
        (Pair("5", "2"), Pair("6", "0"), Pair("8", "2"), Pair("9", "0")),
        message="think of 3",
        shown=2,
        step=3,
    )


def test_each_defect_of_an_induction_proposal_has_its_reason(box: Sandbox) -> None:
    def why(program: str, inputs: tuple[str, ...], settings: AdmissionConfig = SETTINGS) -> str:
        found = admitted(box, Proposal(INDUCTION, program, inputs, "m"), settings)
        return found.reason if isinstance(found, Rejection) else "admitted"

    assert why("def f(x):\n    return x", ("1",) * 10) == "few_inputs"
    as_azr = AdmissionConfig(distinct_inputs=False, vary_outputs=False)
    assert why("def f(x):\n    return x", ("1",) * 10, as_azr) == "admitted"
    assert why("def f(x):\n    return 7", TEN) == "constant"
    assert why("def f(x):\n    return 7", TEN, AdmissionConfig(vary_outputs=False)) == "admitted"
    assert why("def f(x):\n    return 1 // x", TEN, AdmissionConfig(min_inputs=10)) == "error"
    assert why("def f(x):\n    return 1 // (x > 5)", TEN) == "error"
    assert why("def f(x):\n    while x == 9: pass\n    return x", TEN) == "timeout"
    found = admitted(box, Proposal(INDUCTION, "def f(x):\n    return x", TEN, "m" * 1001))
    assert found == Rejection("message_too_long", "1001 characters")


def test_inputs_that_fail_are_dropped_as_long_as_enough_remain(box: Sandbox) -> None:
    proposal = Proposal(INDUCTION, "def f(x):\n    return x // (x > 3)", TEN, "m")
    task = admitted(box, proposal)
    assert isinstance(task, Task)
    assert [pair.input for pair in task.pairs] == ["4", "5", "6", "7", "8", "9"]
    assert task.shown == 3
    unreadable = admitted(box, replace(proposal, inputs=("eval('1')", *TEN)))
    assert isinstance(unreadable, Task)
    assert unreadable.pairs == task.pairs
    known = duplicate_key(task, "program_and_input")
    again = admitted(box, proposal, known=lambda found: duplicate_key(found, "program_and_input") == known)
    assert again == Rejection("duplicate")
    as_azr = admitted(box, proposal, AdmissionConfig(min_inputs=10))
    assert isinstance(as_azr, Rejection)
    assert as_azr.reason == "error"


def test_admission_does_not_wait(box: Sandbox) -> None:
    proposal = Proposal(DEDUCTION, "def f(x):\n    while x: pass", ("1",))
    loop = EventLoop()
    promises = [loop.start(admit(proposal, box, SETTINGS, step=1)) for _ in range(2)]
    assert not any(promise.done() for promise in promises)
    loop.run()
    found = [promise.result() for promise in promises]
    assert [isinstance(one, Rejection) and one.reason for one in found] == ["timeout", "timeout"]


def test_a_deduction_answer_is_compared_by_value(box: Sandbox) -> None:
    task = Task(DEDUCTION, "def f(x):\n    return x", (Pair("0", "{'a': [5, {1, 2}]}"),))
    assert verdict(box, task, "{'a': [5.0, {2, 1}]}") == Verdict(True, 1.0, "correct")
    assert verdict(box, task, "{'a': [5]}") == Verdict(False, 0.0, "wrong")
    assert verdict(box, task, "eval('1')").reason == "unparsable"


def test_any_input_that_gives_the_output_is_right(box: Sandbox) -> None:
    task = Task(ABDUCTION, "def f(x):\n    return x * x", (Pair("3", "9"),))
    assert verdict(box, task, "-3") == Verdict(True, 1.0, "correct")
    assert verdict(box, task, "2") == Verdict(False, 0.0, "wrong")
    assert verdict(box, task, "'a'").reason == "error"
    assert verdict(box, task, "a").reason == "unparsable"


def test_an_induction_answer_scores_the_fraction_of_hidden_pairs_it_gets_right(box: Sandbox) -> None:
    pairs = tuple(Pair(str(number), str(abs(number))) for number in (1, 2, 3, -1, 4, 5))
    task = Task(INDUCTION, "def f(x):\n    return abs(x)", pairs, "m", shown=2)
    assert verdict(box, task, "def f(x):\n    return abs(x)") == Verdict(True, 1.0, "correct")
    assert verdict(box, task, "def f(x):\n    return x") == Verdict(False, 0.75, "wrong")
    assert verdict(box, task, "def f(x):\n    return x if x < 4 else 1 // 0").score == 0.25
    assert verdict(box, task, "def f(x):\n    while x > 3: pass\n    return abs(x)").reason == "timeout"
    assert verdict(box, task, "def g(x):\n    return x").reason == "unparsable"


def test_a_completion_without_an_answer_has_a_verdict_too(box: Sandbox) -> None:
    task = Task(DEDUCTION, "def f(x):\n    return x", (Pair("0", "0"),))
    found = run_all([check(task, ParseError("no_answer"), box, SETTINGS)])[0]
    assert found == Verdict(False, 0.0, "unparsable", "no_answer")
    assert "unparsable" in VERDICTS


@pytest.mark.parametrize(
    ("text", "answer", "form", "reason"),
    [
        ("```output\n3\n```", Answer(TaskType.DEDUCTION, "3"), True, "correct"),
        ("It is\n```output\n4\n```", Answer(TaskType.DEDUCTION, "4"), True, "wrong"),
        ("", None, False, "unparsable"),
    ],
)
def test_an_answer_is_parsed_checked_and_its_form_looked_at(
    box: Sandbox, text: str, answer: Answer | None, form: bool, reason: str
) -> None:
    task = Task(TaskType.DEDUCTION, "def f(x):\n    return x + 1", (Pair("2", "3"),))
    judge = partial(check, box=box, settings=AdmissionConfig())
    (outcome,) = run_all([read_answer(task, text, judge, style="chat", cut=True)])
    assert (outcome.answer, outcome.format_ok, outcome.verdict.reason) == (answer, form, reason)
    assert (outcome.task, outcome.text, outcome.cut) == (task, text, True)


def test_the_expected_value_never_enters_the_sandbox(box: Sandbox) -> None:
    seen: list[Any] = []

    class Spy:
        def submit(self, job: Any) -> Any:
            seen.append(job)
            return box.submit(job)

        def submit_many(self, program: str, inputs: Any) -> Any:
            seen.append((program, inputs))
            return box.submit_many(program, inputs)

        def submit_deterministic_many(self, program: str, inputs: Any) -> Any:
            raise AssertionError("checking needs no second run")

    secret = "'the gold'"
    task = Task(ABDUCTION, "def f(x):\n    return x", (Pair("1", secret),))
    assert not run_all([check(task, Answer(ABDUCTION, "2"), Spy(), SETTINGS)])[0].correct
    task = Task(INDUCTION, "def f(x):\n    return x", (Pair("1", secret), Pair("2", secret)), shown=1)
    assert not run_all([check(task, Answer(INDUCTION, "def f(x): return x"), Spy(), SETTINGS)])[0].correct
    assert len(seen) == 2
    assert "gold" not in repr(seen)


def test_official_verdicts_are_reproduced_but_for_the_listed_departures(box: Sandbox) -> None:
    differing = {}
    for record in azr_records("solver_correctness.json"):
        given = record["input"]
        task_type = DEDUCTION if "agent_output" in given else ABDUCTION
        task = Task(task_type, given["code"], (Pair("", given["gold_output"]),))
        answer = given["agent_output"] if task_type is DEDUCTION else given["agent_input"]
        try:
            score: float | None = verdict(box, task, answer).score
        except InvalidValue:
            score = None
        if score != record["output"]["accuracy"]:
            differing[record["label"]] = score
    assert differing == {label: score for label, (score, _) in DEPARTING_VERDICTS.items()}


def test_official_induction_scores_are_reproduced(box: Sandbox) -> None:
    found = 0
    for record in azr_records("rewards_end_to_end.json"):
        given = record["input"]
        if not record["label"].startswith("train/pred_code_f/accuracy") or "no_code_block" in record["label"]:
            continue
        info = given["extra_info"]
        shown = [Pair(i, o) for i, o in zip(info["given_inputs"], info["given_outputs"], strict=True)]
        hidden = [Pair(i, o) for i, o in zip(info["hidden_inputs"], info["hidden_outputs"], strict=True)]
        task = Task(INDUCTION, given["program"], (*shown, *hidden), info.get("message", ""), shown=len(shown))
        text = given["response_after_<think>"].partition("```python\n")[2].partition("```")[0]
        assert verdict(box, task, text).score == record["output"]["accuracy"][0]
        found += 1
    assert found == 3


def test_duplicates_are_blind_to_formatting_and_to_what_the_setting_names() -> None:
    def key(program: str, text: str, by: str, task_type: TaskType = DEDUCTION) -> str:
        return duplicate_key(Proposal(task_type, program, (text,)), by)

    one, same = "def f(x):\n    return x + 1", "def f(x):\n    '''doc'''\n    return (x  +  1)  # more\n"
    assert key(one, "1", "program") == key(same, "2", "program") != key("def f(y):\n    return y + 1", "1", "program")
    assert key(one, "[1,2]", "program_and_input") == key(same, "[1, 2]", "program_and_input")
    assert key(one, "1", "program_and_input") != key(one, "2", "program_and_input")
    assert key(one, "1", "modulo_constants") == key("def f(x):\n    return x + -7", "2", "modulo_constants")
    assert key(one, "1", "modulo_constants") != key("def f(x):\n    return x + 1.5", "1", "modulo_constants")
    assert key(one, "1", "program", INDUCTION) != key(one, "2", "program", INDUCTION)


def test_a_task_and_the_proposal_it_came_from_share_their_key() -> None:
    proposal = Proposal(INDUCTION, "def f(x):\n    return x", ("1", "[1,2]"), "m")
    task = Task(INDUCTION, "def f(x):\n    return x", (Pair("[1, 2]", "[1, 2]"), Pair("1", "1")), "m", shown=1)
    for by in ("program", "program_and_input", "modulo_constants"):
        assert duplicate_key(proposal, by) == duplicate_key(task, by)


def test_statement_lines_count_the_body_of_f_alone() -> None:
    assert statement_lines("def g(x):\n    return x\ndef f(x):\n    return g(x)") == 1
    body = "    'doc'\n    # why\n    if x: x = 1\n    else:\n        x = [1,\n 2]\n    return x"
    assert statement_lines("def f(x):\n" + body) == 3
    assert statement_lines("def f(x") == 0


def test_the_shipped_seeds_give_the_outputs_they_state(box: Sandbox) -> None:
    path = Path(minizero.__file__).parent / "selfplay" / "data" / "seeds.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len([row for row in rows if kind in row]) for kind in ("input", "inputs")] == [13, 6]
    for row in rows:
        if "input" in row:
            task = admitted(box, Proposal(DEDUCTION, row["snippet"], (row["input"],)))
            stated = (Pair(row["input"], row["output"]),)
        else:
            task = admitted(box, Proposal(INDUCTION, row["snippet"], tuple(row["inputs"]), row["message"]))
            stated = tuple(map(Pair, row["inputs"], row["outputs"]))
        assert isinstance(task, Task)
        assert task.pairs == stated


def test_the_sandbox_takes_results_of_the_size_that_admission_accepts(box: Sandbox) -> None:
    # 0-20 objects of the kinds that weigh most for their text; their texts stay below 400 characters.
    limits = Limits(cpu_s=3, wall_s=30, result_bytes=result_bytes(AdmissionConfig()))
    for text in ("[" + "{0}, " * 79 + "]", "[" + "{}, " * 99 + "]", "'" + "é" * 390 + "'", "[" * 90 + "]" * 90):
        result = box.run(Job(f"def f(x): return {text}", args="1", limits=limits))
        assert result.ok, result
        assert len(render(result.value)) <= 400


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("import operator\ndef f(x): return str(operator.attrgetter('__globals__')(f))", "denied"),
        ("def f(x): return '{0.__globals__}'.format(f)", "denied"),
        ("def f(x):\n    match f:\n        case object(__globals__=g): return str(g)", "forbidden"),
        ("class C:\n    __match_args__ = ('__globals__',)\ndef f(x): return x", "forbidden"),
        ("def f(x): return 'a.__globals__' + '{0.real}'.format(x)", "admitted"),
    ],
)
def test_names_in_strings_are_refused_where_they_act(box: Sandbox, program: str, outcome: str) -> None:
    assert reason(box, program) == outcome


def test_a_package_is_there_for_programs_when_the_setting_names_it(box: Sandbox) -> None:
    pytest.importorskip("numpy", reason="pip install numpy")
    program = "import numpy as np\ndef f(x): return np.cumsum([x, 1]).tolist()"
    assert reason(box, program) == "denied"
    config = config_from({"sandbox": {"packages": ["numpy"], "workers": 1, "wall_s": 60, "memory_mib": 1024}})
    with Sandbox(**sandbox_settings(config)) as with_numpy:
        found = admitted(with_numpy, Proposal(DEDUCTION, program, ("3",)))
        assert isinstance(found, Task)
        assert found.output == "[3, 4]"
        assert reason(with_numpy, program.replace(".tolist()", "")) == "no_value"
        assert reason(with_numpy, program.replace("np.cumsum([x, 1])", "np.random.rand(1)")) == "forbidden"


ADD = "def f(a):\n    return a + 1"


def test_seeds_are_run_and_wrong_ones_are_named_by_their_line(box: Sandbox) -> None:
    right = Task(DEDUCTION, ADD, (Pair("3", "4"),))
    induction = Task(INDUCTION, ADD, (Pair("1", "2"), Pair("2", "4.0")), "m", 1)
    rows = [
        (1, right),
        (2, Task(DEDUCTION, ADD, (Pair("3", "99"),))),
        (2, Task(ABDUCTION, ADD, (Pair("3", "99"),))),
        (4, Task(ABDUCTION, ADD, (Pair("0.5 + 0.5", "2.0"),))),
        (5, induction),
        (6, Task(TaskType.ERROR, ADD, (Pair("'x'", "TypeError"),))),
        (7, Task(TaskType.ERROR, ADD, (Pair("'x'", "NoError"),))),
        (8, Task(DEDUCTION, "import random\ndef f(a):\n    return random.random()", (Pair("3", "0.5"),))),
        (9, Task(DEDUCTION, ADD, (Pair("'x'", "'x1'"),))),
        (10, Task(DEDUCTION, ADD, (Pair("3", "four"),))),
    ]
    tasks, wrong = run_seeds(rows, box, SETTINGS)
    assert [task.pairs[0] for task in tasks] == [Pair("3", "4"), Pair("0.5 + 0.5", "2.0"), Pair("'x'", "TypeError")]
    lines = [str(each) for each in wrong]
    assert lines[0] == "line 2: f(3) gives 4, the file says 99"
    assert lines[1] == "line 5: f(2) gives 3, the file says 4.0"
    assert lines[2] == "line 7: f('x') raises TypeError, the file says NoError"
    assert lines[3].startswith("line 8: f(3): not_deterministic (value: ")
    assert lines[4].startswith("line 9: f('x'): error (TypeError: ")
    assert lines[5].startswith("line 10: the output four is no value")
