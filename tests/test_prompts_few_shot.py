"""The prompt style few-shot: what is asked, and what is read from answers, sound ones and hostile ones."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from minizero import prompts
from minizero.config import load_config
from minizero.config.tasks import AdmissionConfig, PromptConfig
from minizero.prompts import few_shot
from minizero.prompts.chat import ERROR_EXAMPLE, FORM_EXAMPLE, INDUCTION_EXAMPLE
from minizero.tasks import tags
from minizero.tasks.admission import check
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import format_ok, parse_answer, parse_proposal
from minizero.types import Answer, ConfigError, Pair, ParseError, Proposal, Role, StyleError, Task, TaskType
from sandbox import Sandbox
from tests.test_selfplay import game

STYLE = "few-shot"
PROGRAM = "def f(x):\n    return x + '=='"
DEDUCTION = Task(TaskType.DEDUCTION, PROGRAM, (Pair("'a == 1'", "'a == 1=='"),))
ABDUCTION = Task(TaskType.ABDUCTION, PROGRAM, (Pair("'a == 1'", "'a == 1=='"),))
ERROR = Task(TaskType.ERROR, "def f(x):\n    return x / 0", (Pair("1", "ZeroDivisionError"),))
INDUCTION = Task(
    TaskType.INDUCTION, "def f(x):\n    return x * 2", tuple(Pair(str(i), str(2 * i)) for i in range(4)), "It grows.", 2
)
TASKS = (DEDUCTION, ABDUCTION, INDUCTION, ERROR)


def propose(task_type: TaskType, *examples: Task, **more: Any) -> str:
    prompt = prompts.propose(
        STYLE, task_type, examples, settings=PromptConfig(induction_inputs=4, induction_shown=2), **more
    )
    assert not prompt.chat
    return prompt.messages[0].content + prompt.prefill


def solve(task: Task, think: str) -> str:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(think=think))  # type: ignore[arg-type]
    return prompt.messages[0].content + prompt.prefill


def read(task: Task, text: str, think: str = "off") -> Answer | ParseError:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(think=think))  # type: ignore[arg-type]
    return parse_answer(task.type, prompt.prefill + text, style=STYLE)


def read_proposal(task_type: TaskType, text: str, **more: Any) -> Proposal | ParseError:
    return parse_proposal(task_type, text, style=STYLE, settings=AdmissionConfig(), **more)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.type.value)
@pytest.mark.parametrize("think", ["on", "off"])
def test_a_question_shows_worked_examples_and_hides_what_is_asked_for(task: Task, think: str) -> None:
    text = solve(task, think)
    question = text.rpartition("[/ANSWER]")[2]
    assert text.count("[/THOUGHT]") == (2 if think == "on" else 0) * (0.5 if task is INDUCTION else 1) + (
        1 if think == "on" else 0
    )  # one or two examples, and the instructions
    hidden = {TaskType.DEDUCTION: "'a == 1=='", TaskType.ABDUCTION: "'a == 1'", TaskType.INDUCTION: "x * 2"}
    assert hidden.get(task.type, "ZeroDivisionError") not in question
    begun = {
        TaskType.DEDUCTION: "assert f('a == 1') ==", TaskType.ABDUCTION: "assert f", TaskType.INDUCTION: "def f",
        TaskType.ERROR: "",
    }  # fmt: skip
    assert text.endswith("[THOUGHT]\n" if think == "on" else f"[ANSWER]\n{begun[task.type]}")


def test_the_worked_examples_are_right() -> None:
    answers = [
        (Task(TaskType.DEDUCTION, e.program, (Pair(e.input, e.output),)), e.output) for e in few_shot._EXAMPLES
    ] + [(task, task.output) for task, _ in few_shot._ERRORS]
    answers += [(Task(TaskType.ABDUCTION, e.program, (Pair(e.input, e.output),)), e.input) for e in few_shot._EXAMPLES]
    induction = few_shot._PROGRAM_TASK
    hidden = Task(TaskType.INDUCTION, induction.program, induction.pairs, induction.message, 0)
    with Sandbox(workers=1) as box:
        checks = [check(task, Answer(task.type, text), box, AdmissionConfig()) for task, text in answers]
        # Outputs and names of exceptions are compared without a run, so the programs run as abductions and below.
        assert all(verdict.correct for verdict in run_all(checks))
        assert run_all([check(hidden, Answer(TaskType.INDUCTION, induction.program), box, AdmissionConfig())])[
            0
        ].correct
        ran = [box.run(task.program, task.input) for task, _ in few_shot._ERRORS] if hasattr(box, "run") else []
    assert not ran or [result.error_type for result in ran] == ["ValueError", ""]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" 'a == 1=='\n[/ANSWER]", "'a == 1=='"),
        (" 'a == 1=='", "'a == 1=='"),  # cut, or without the closing tag
        (" 5\n\nassert f(2) == 7", "5"),  # it went on
        (" {1: 'x'}\n[/ANSWER] and so on", "{1: 'x'}"),
    ],
)
def test_an_output_is_what_stands_after_the_call(text: str, value: str) -> None:
    assert read(DEDUCTION, text) == Answer(TaskType.DEDUCTION, value)


def test_an_answer_after_a_thought_may_be_the_value_alone() -> None:
    for said in ("assert f('a == 1') == 'a == 1=='", "'a == 1=='"):
        text = f"x gets two signs.\n[/THOUGHT]\n[ANSWER]\n{said}\n[/ANSWER]"
        assert read(DEDUCTION, text, "on") == Answer(TaskType.DEDUCTION, "'a == 1=='")
    assert read(DEDUCTION, "it is 5, I think", "on") == ParseError("no_answer")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("('a == 1') == 'a == 1=='\n[/ANSWER]", "'a == 1'"),
        ("([1, 2], k=3) == 5", "[1, 2], k=3"),
        ("('a == 1')\n[/ANSWER]", "'a == 1'"),
        ("(x + 1) == 2\n[/ANSWER]", "x + 1"),  # no constants: a wrong answer, and not an unread one
    ],
)
def test_an_input_is_what_stands_between_the_parentheses(text: str, arguments: str) -> None:
    assert read(ABDUCTION, text) == Answer(TaskType.ABDUCTION, arguments)


def test_without_a_call_there_is_no_input() -> None:
    assert read(ABDUCTION, "oo == 3\n[/ANSWER]") == ParseError("no_answer")


def test_programs_and_names_of_exceptions_are_the_answer_as_it_stands() -> None:
    assert read(INDUCTION, "(x):\n    return x * 2\n[/ANSWER]") == Answer(
        TaskType.INDUCTION, "def f(x):\n    return x * 2"
    )
    assert read(ERROR, "ZeroDivisionError\n[/ANSWER]") == Answer(TaskType.ERROR, "ZeroDivisionError")


@pytest.mark.parametrize("task_type", [TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.ERROR])
def test_a_proposal_is_a_program_that_ends_in_its_call(task_type: TaskType) -> None:
    asked = propose(task_type, DEDUCTION)
    assert asked.endswith("\n\n[PYTHON]\n")
    assert asked.count("[/PYTHON]") == 2  # a form example, then the task that was given
    assert f"{PROGRAM}\n\nf('a == 1')\n[/PYTHON]" in asked
    text = "[PYTHON]\ndef f(a, b):\n    return a * b\n\nf(2, 3)\n[/PYTHON]"
    proposal = read_proposal(task_type, text)
    assert isinstance(proposal, Proposal)
    assert (proposal.program, proposal.inputs) == ("def f(a, b):\n    return a * b", ("2, 3",))
    assert format_ok(Role.PROPOSE, task_type, text, style=STYLE)
    assert not format_ok(Role.PROPOSE, task_type, text.removesuffix("[/PYTHON]"), style=STYLE)


def test_lines_and_composites_are_asked_for() -> None:
    assert "Its f has exactly 3 lines below the def." in propose(TaskType.DEDUCTION, DEDUCTION, lines=3)
    given = propose(TaskType.DEDUCTION, DEDUCTION, composites=("def g_0(x):\n    return x",))
    assert "It has to call every one of g_0" in given
    assert "def g_0(x)" in given


def test_an_induction_proposal_is_numbered_calls_and_a_hint() -> None:
    asked = propose(TaskType.INDUCTION, DEDUCTION)
    assert asked.endswith(
        f"[PYTHON]\n{PROGRAM}\n[/PYTHON]\n\n\n[CALLS]\n1. f".replace("\n\n\n", "\n")
    ) or asked.endswith("[CALLS]\n1. f")
    text = "[CALLS]\n1. f('a')\n2. f('b c')\n3. f('')\n4. f('d')\n[/CALLS]\n[HINT]\nIt adds two signs.\n[/HINT]"
    proposal = read_proposal(TaskType.INDUCTION, text, program=PROGRAM, inputs=4)
    assert isinstance(proposal, Proposal)
    assert proposal.inputs == ("'a'", "'b c'", "''", "'d'")
    assert proposal.message == "It adds two signs."
    assert format_ok(Role.PROPOSE, TaskType.INDUCTION, text, style=STYLE)
    assert read_proposal(TaskType.INDUCTION, text.partition("[HINT]")[0], program=PROGRAM, inputs=4) == ParseError(
        "no_message"
    )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.type.value)
def test_an_answer_keeps_the_form_when_it_is_closed(task: Task) -> None:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(think="off"))
    said = {TaskType.ABDUCTION: "(1) == 2", TaskType.INDUCTION: "(x):\n    return x"}.get(task.type, " 5")
    whole = f"{prompt.prefill}{said}\n[/ANSWER]"
    assert format_ok(Role.SOLVE, task.type, whole, style=STYLE)
    assert not format_ok(Role.SOLVE, task.type, whole.removesuffix("[/ANSWER]"), style=STYLE)
    assert not format_ok(Role.SOLVE, task.type, f"[THOUGHT]\nso\n{whole}", style=STYLE)
    assert format_ok(Role.SOLVE, task.type, f"[THOUGHT]\nso\n[/THOUGHT]\n{whole}", style=STYLE)


@pytest.mark.parametrize("task_type", list(TaskType))
@pytest.mark.parametrize(
    "text",
    ["[ANSWER]" * 40_000, "[ANSWER]\nassert f(" + "==" * 150_000, "[ANSWER]\n" + "(" * 300_000, "[PYTHON]\n" * 40_000,
     "[ANSWER]\nf(1)==" * 25_000, "[ANSWER]\nassert f(" + "1,) == (" * 40_000],
    ids=["tags", "signs", "depth", "openings", "answers", "calls"],
)  # fmt: skip
def test_hostile_text_is_read_in_linear_time(task_type: TaskType, text: str) -> None:
    started = time.perf_counter()
    parse_answer(task_type, text, style=STYLE)
    read_proposal(task_type, text, program=PROGRAM)
    format_ok(Role.SOLVE, task_type, text, style=STYLE)
    format_ok(Role.PROPOSE, task_type, text, style=STYLE)
    assert time.perf_counter() - started < 10


def test_a_step_is_played_in_this_style(box: Sandbox) -> None:
    def scripted(request: Any, index: int) -> str:
        role, kind, name, *_ = request.id.split("/")
        if role == "propose" and kind == "induction":
            return "('a')\n2. f('b')\n3. f('c')\n4. f('d')\n[/CALLS]\n[HINT]\nsay it back\n[/HINT]"
        if role == "propose":
            return f"def f(x):\n    return x + {int(name) + request.seed % 997}\n\nf(1)\n[/PYTHON]"
        if kind == "induction":
            return "(a):\n    return a\n[/ANSWER]"
        return " 'Hello world'\n[/ANSWER]" if kind == "deduction" else "('Hello world') == 'Hello world'\n[/ANSWER]"

    play = game(box, scripted, "prompt.style=few-shot")
    play.style = STYLE
    metrics = play.step(1).metrics
    assert metrics["propose/admitted_frac"] > 0.6
    assert metrics["solve/correct_frac/deduction"] == metrics["solve/correct_frac/abduction"] == 1
    assert metrics["solve/malformed_frac"] == 0


def test_each_proposal_begins_with_one_of_the_parameter_lists_that_are_asked_for(box: Sandbox) -> None:
    seen: Counter[str] = Counter()

    def scripted(request: Any, index: int) -> str:
        if request.id.startswith("propose"):
            begun = request.prompt.prefill
            seen[begun] += 1
            number = request.seed % 9973
            return f"    return {number}, word\n\nf('a')\n" if "word" in begun else f"    return n\n\nf({number})\n"
        return " None"

    asked = ["prompt.style=direct", "selfplay.task_types=['deduction', 'abduction']", "selfplay.proposals=12"]
    play = game(box, scripted, *asked, "selfplay.request_parameters=['word: str', 'n: int']")
    play.style = "direct"
    metrics = play.step(1).metrics
    assert set(seen) == {"[PYTHON]\ndef f(word: str):\n", "[PYTHON]\ndef f(n: int):\n"}
    assert min(seen.values()) >= 5
    assert metrics["propose/admitted_frac"] > 0.9


def test_a_given_parameter_list_is_not_asked_of_an_induction_nor_of_other_styles() -> None:
    asked = propose(TaskType.INDUCTION, DEDUCTION, parameters="n: int")
    assert asked == propose(TaskType.INDUCTION, DEDUCTION)
    with pytest.raises(StyleError, match="style chat does not begin programs"):
        prompts.propose("chat", TaskType.DEDUCTION, [], settings=PromptConfig(), parameters="n: int")
    with pytest.raises(ConfigError, match="only few-shot and direct begin the program"):
        load_config(overrides=["prompt.style=chat", "selfplay.request_parameters=['n: int']"])


@pytest.mark.parametrize("text", ["", "n:", "n): pass  # ", "n\n", "n, n=", "1", "*", "n: int\x00"])
def test_what_is_no_parameter_list_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no list of parameters\. Write it as text: str, n: int"):
        load_config([{"prompt": {"style": "direct"}, "selfplay": {"request_parameters": ["n: int, a=1", text]}}])


def test_the_style_is_a_setting_and_thinks_unless_told_not_to() -> None:
    config = load_config(overrides=["prompt.style=few-shot"])
    assert solve_with(config.prompt).endswith("[THOUGHT]\n")
    assert solve_with(load_config(overrides=["prompt.style=few-shot", "prompt.think=off"]).prompt).endswith(" ==")


def solve_with(settings: PromptConfig) -> str:
    prompt = prompts.solve(STYLE, DEDUCTION, settings=settings)
    return prompt.prefill


def test_shared_examples_have_the_parts_that_are_shown() -> None:
    assert ERROR_EXAMPLE.output == "ValueError"
    assert FORM_EXAMPLE.input
    assert len(INDUCTION_EXAMPLE.pairs) >= 10
    assert tags.as_blocks("no tags") == "no tags"
