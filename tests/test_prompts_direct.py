"""The prompt style direct: Python that breaks off where the answer stands, and what is read from what follows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from minizero import prompts
from minizero.config import load_config
from minizero.config.tasks import PromptConfig
from minizero.prompts import few_shot
from minizero.tasks.admission import check
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import format_ok, parse_answer
from minizero.types import Answer, ParseError, Role, Task, TaskType
from sandbox import Sandbox
from tests.test_prompts_few_shot import ABDUCTION, DEDUCTION, ERROR, INDUCTION, PROGRAM

STYLE = "direct"


def solve(task: Task) -> str:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(style=STYLE))
    return prompt.messages[0].content + prompt.prefill


def read(task: Task, text: str) -> Answer | ParseError:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(style=STYLE))
    return parse_answer(task.type, prompt.prefill + text, style=STYLE)


def kept(task: Task, text: str) -> bool:
    prompt = prompts.solve(STYLE, task, settings=PromptConfig(style=STYLE))
    return format_ok(Role.SOLVE, task.type, prompt.prefill + text, style=STYLE)


def test_what_is_asked_is_python_that_breaks_off() -> None:
    assert solve(DEDUCTION) == PROGRAM + "\n\nassert f('a == 1') =="
    assert solve(ABDUCTION) == PROGRAM + "\n\n# A call that gives 'a == 1==':\nresult = f"
    assert solve(INDUCTION) == "# It grows.\n# All of these hold:\nassert f(0) == 0\nassert f(1) == 2\n\ndef f"
    assert solve(ERROR).endswith("\n\n# What f(1) raises, or NoError:\nraised =")


def test_proposals_are_asked_as_in_few_shot() -> None:
    settings = PromptConfig(style=STYLE)
    asked = prompts.propose(STYLE, TaskType.DEDUCTION, [DEDUCTION], settings=settings)
    assert asked == few_shot.propose(TaskType.DEDUCTION, [DEDUCTION], lines=None, inputs=10)


@pytest.mark.parametrize(
    ("task", "text", "answer", "form"),
    [
        (DEDUCTION, " 'a == 1=='\n", "'a == 1=='", True),
        (DEDUCTION, " 'a == 1=='  # as it is\n", "'a == 1=='  # as it is", True),
        (DEDUCTION, " 'a'\nassert f('b') == 'b=='", "'a'", True),
        (DEDUCTION, " g('a')\n", "g('a')", False),
        (ABDUCTION, "('a == 1')\n", "'a == 1'", True),
        (ABDUCTION, "(')')  # why not\n", "')'", True),
        (ABDUCTION, "(g(1))\n", "g(1)", False),
        (INDUCTION, "(x):\n    return 2 * x\n\nassert f(0) == 0", "def f(x):\n    return 2 * x", True),
        (INDUCTION, "(x):\n    return g(x)\n\ndef g(x):\n    return 2 * x\nprint(1)",
         "def f(x):\n    return g(x)\n\ndef g(x):\n    return 2 * x", True),
        (INDUCTION, "(x):\n    return (", "def f(x):\n    return (", False),
        (ERROR, " ZeroDivisionError\n", "ZeroDivisionError", True),
        (ERROR, " 'ZeroDivisionError'\n", "ZeroDivisionError", True),
        (ERROR, " what is asked\n", "what is asked", False),
    ],
)  # fmt: skip
def test_an_answer_is_what_follows(task: Task, text: str, answer: str, form: bool) -> None:
    found = read(task, text)
    assert isinstance(found, Answer)
    assert found.text == answer
    assert kept(task, text) is form


@pytest.mark.parametrize(
    ("task", "text"),
    [(DEDUCTION, "\n"), (ABDUCTION, "('a'"), (ABDUCTION, "('a') + 1\n"), (ABDUCTION, "\n"), (ERROR, "")],
)
def test_no_answer(task: Task, text: str) -> None:
    found = read(task, text)
    assert isinstance(found, ParseError)
    assert found.reason == "no_answer"
    assert not kept(task, text)


def test_right_answers_are_right(box: Sandbox) -> None:
    right = {"deduction": " 'a == 1=='\n", "abduction": "('a == 1')\n", "induction": "(x):\n    return x + x\n",
             "error": " ZeroDivisionError\n"}  # fmt: skip
    for task in (DEDUCTION, ABDUCTION, INDUCTION, ERROR):
        found = read(task, right[task.type.value])
        (verdict,) = run_all([check(task, found, box, load_config().admission)])
        assert verdict.reason == "correct", task.type


def test_reasoning_is_refused() -> None:
    with pytest.raises(ValueError, match=r"answers at once. Try --set prompt.style=few-shot"):
        PromptConfig(style=STYLE, think="on")


@pytest.mark.parametrize("text", ["==" * 50_000, "(" * 50_000, "\n" * 50_000, "('" + "a" * 50_000, "#\n" * 50_000])
@pytest.mark.parametrize("task", [DEDUCTION, ABDUCTION, INDUCTION, ERROR])
def test_hostile_texts_take_linear_time(task: Task, text: str) -> None:
    def seconds(of: Any) -> float:
        started = time.perf_counter()
        read(task, of)
        kept(task, of)
        return time.perf_counter() - started

    assert min(seconds(text) for _ in range(2)) < 1
