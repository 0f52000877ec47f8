"""The few-shot formats of CRUXEval and of LiveCodeBench's execution and test-output sets, direct and with a thought.

The words are those of self-play's prompt style of this name, prompts/few_shot.py. Departs from CRUXEval's protocol: in
the direct format the answer's assertion has begun, so that a small model need not copy the call.

Reading order: ask, read.
"""

from __future__ import annotations

from typing import Final

from minizero.evaluation.problems import Problem
from minizero.prompts.few_shot import beginning, question_about_a_value
from minizero.types import Prompt
from sandbox.values import InvalidValue, parse_value

DIRECT, WITH_THOUGHT = "few-shot", "few-shot-cot"
KINDS: Final = ("output", "input", "statement")  # of suites whose answers are values
TEMPERATURE: Final = 0.2  # of sampled answers, as in CRUXEval's protocol
MOST_SIGNS: Final = 20  # of "==" that are tried as the end of a call


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
    return _arguments(answer, problem) if kind == "input" else _output(answer, problem)


def _output(answer: str, problem: Problem) -> str:
    """What stands after the call and its ==, or the answer itself where it is a value alone."""
    start = f"f({problem.data['input']}) =="
    if answer.startswith(start):
        return _value(answer[len(start) :])
    if _is_value(answer):
        return answer
    parts = answer.split("==", MOST_SIGNS)
    ends = ("==".join(parts[place:]).strip() for place in range(1, len(parts)))
    return next((end for end in ends if _is_value(end)), _value(parts[-1]))


def _arguments(answer: str, problem: Problem) -> str:
    """What stands between the parentheses of the call; "" where there is no whole call."""
    end = f"== {problem.data['output']}"
    call = answer.removesuffix(end) if answer.endswith(end) else answer.rpartition("==")[0] or answer
    call = call.strip()
    return call[2:-1].strip() if call.startswith("f(") and call.endswith(")") else ""


def _value(text: str) -> str:
    """All of the text if it is a value, else its first line: some models go on after it."""
    text = text.strip()
    return text if _is_value(text) else text.partition("\n")[0].strip()


def _is_value(text: str) -> bool:
    try:
        parse_value(text)
    except InvalidValue:
        return False
    return True
