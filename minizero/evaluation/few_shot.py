"""The few-shot formats of CRUXEval and of LiveCodeBench's execution and test-output sets, direct and with a thought.

The words are those of self-play's prompt style of this name, prompts/few_shot.py. Departs from CRUXEval's protocol: in
the direct format the answer's assertion has begun, so that a small model need not copy the call.

Reading order: ask, read.
"""

from __future__ import annotations

from typing import Final

from minizero.evaluation.problems import Problem
from minizero.prompts.few_shot import beginning, question_about_a_value
from minizero.tasks.tags import value_of
from minizero.types import Prompt

DIRECT, WITH_THOUGHT = "few-shot", "few-shot-cot"
KINDS: Final = ("output", "input", "statement")  # of suites whose answers are values
TEMPERATURE: Final = 0.2  # of sampled answers, as in CRUXEval's protocol


def ask(kind: str, problem: Problem, style: str) -> Prompt:
    """The prompt: plain text, in which the model goes on where the prefill ends."""
    shown = problem.prompt.strip() if kind == "statement" else problem.data["program"]
    given, output = problem.data["input"], problem.data["output"]
    return question_about_a_value(kind, shown, given, output, think=style == WITH_THOUGHT)


def read(kind: str, problem: Problem, style: str, text: str) -> str:
    """The value, or the arguments, in a completion (without the prefill); "" when there is none."""
    if style == WITH_THOUGHT:
        _, tag, text = text.rpartition("[ANSWER]")
        if not tag:
            return ""
    else:
        text = beginning(kind, problem.data["input"]) + text
    answer = text.partition("[/ANSWER]")[0].strip().removeprefix("assert").strip()
    if kind == "input":
        return _arguments(answer, problem)
    return value_of(answer.removeprefix(f"f({problem.data['input']}) =="))


def _arguments(answer: str, problem: Problem) -> str:
    """What stands between the parentheses of the call; "" where there is no whole call."""
    end = f"== {problem.data['output']}"
    call = answer.removesuffix(end) if answer.endswith(end) else answer.rpartition("==")[0] or answer
    call = call.strip()
    return call[2:-1].strip() if call.startswith("f(") and call.endswith(")") else ""
