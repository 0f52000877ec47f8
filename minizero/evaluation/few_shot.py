"""The few-shot formats of CRUXEval and of LiveCodeBench's execution and test-output sets, direct and with a thought.

The structure is that of CRUXEval's own protocol (arXiv 2401.03065, appendix): instructions, two worked examples, the
question, all as one text with [PYTHON], [THOUGHT] and [ANSWER] tags; the words and examples are ours. Departs from it:
in the direct format the answer's assertion has begun, so that a small model need not copy the call.

Reading order: ask, read; then the examples.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from minizero.evaluation.problems import Problem
from minizero.types import Message, Prompt
from sandbox.values import InvalidValue, parse_value

DIRECT, WITH_THOUGHT = "few-shot", "few-shot-cot"
KINDS: Final = ("output", "input", "statement")  # of suites whose answers are values
TEMPERATURE: Final = 0.2  # of sampled answers, as in CRUXEval's protocol
MOST_SIGNS: Final = 20  # of "==" that are tried as the end of a call
STOPS: Final = ("[/ANSWER]", "[PYTHON]", "[TEXT]")


class _Example(NamedTuple):
    program: str
    description: str  # of what the program does, for questions without a program
    input: str
    output: str
    forwards: str  # from the input to the output
    backwards: str  # from the output to an input


_EXAMPLES: Final = (
    _Example(
        "def f(text, count):\n    words = text.split('-')\n    return '+'.join(words[:count])",
        "Split the text at its hyphens, and join the first `count` parts with plus signs.",
        "'red-green-blue', 2",
        "'red+green'",
        "The text is split at hyphens into 'red', 'green' and 'blue'. The first 2 of these are 'red' and 'green'. "
        "Joined with plus signs they are 'red+green'.",
        "The result has the parts 'red' and 'green', so the text must begin with them, with a hyphen between, and "
        "count must be 2. More parts may follow, as in 'red-green-blue'.",
    ),
    _Example(
        "def f(numbers):\n    kept = []\n    for place, number in enumerate(numbers):\n"
        "        if number % 2 == place % 2:\n            kept.append(number * 10)\n    return kept",
        "Keep the numbers that are even at an even place or odd at an odd one, counted from 0; give ten times each.",
        "[4, 3, 5, 6]",
        "[40, 30]",
        "At place 0 stands 4: both are even, so 40 is kept. At place 1 stands 3: both are odd, so 30 is kept. At "
        "place 2 stands 5, and at place 3 stands 6: one is odd and one even, so neither is kept. The result is "
        "[40, 30].",
        "40 and 30 come from 4 and 3. 4 is even, so place 0 suits it; 3 is odd, so place 1 suits it. After them I may "
        "put numbers that are not kept: 5 at place 2 and 6 at place 3.",
    ),
)
_FORWARDS = """\
Below are a Python function and the beginning of an assertion about one call of it. Complete the assertion with the \
value that the call returns when exactly this code runs, whatever it seems meant to do. Write the value as a literal: \
no expression, no call of a function. {manner}"""
_BACKWARDS = """\
Below are a Python function and an assertion about one call of it whose arguments are missing. Find arguments for \
which the call returns the value. There may be several such; any will do. Write them as literals: no expression, no \
call of a function. {manner}"""
_DESCRIBED = """\
Below are the description of a Python function and the beginning of an assertion about one call of it. Complete the \
assertion with the value that the call returns. Write the value as a literal: no expression, no call of a function. \
{manner}"""
_INSTRUCTIONS: Final = {"output": _FORWARDS, "input": _BACKWARDS, "statement": _DESCRIBED}
_AT_ONCE = "Write nothing else, and the whole assertion between [ANSWER] and [/ANSWER], as in the examples."
_THINK_FIRST = (
    "First think it through step by step between [THOUGHT] and [/THOUGHT], then write the whole assertion between "
    "[ANSWER] and [/ANSWER], as in the examples."
)


def ask(kind: str, problem: Problem, style: str) -> Prompt:
    """The prompt: plain text, in which the model goes on where the prefill ends."""
    think = style == WITH_THOUGHT
    parts = [_INSTRUCTIONS[kind].format(manner=_THINK_FIRST if think else _AT_ONCE)]
    for example in _EXAMPLES:
        shown = example.description if kind == "statement" else example.program
        thought = example.backwards if kind == "input" else example.forwards
        answer = f"[ANSWER]\nassert f({example.input}) == {example.output}\n[/ANSWER]"
        lines = [_question(kind, shown, example.input, example.output)]
        parts.append("\n".join([*lines, *([f"[THOUGHT]\n{thought}\n[/THOUGHT]"] if think else []), answer]))
    shown = problem.prompt.strip() if kind == "statement" else problem.data["program"]
    parts.append(_question(kind, shown, problem.data["input"], problem.data["output"]) + "\n")
    prefill = "[THOUGHT]\n" if think else "[ANSWER]\n" + _beginning(kind, problem)
    return Prompt((Message("user", "\n\n".join(parts)),), prefill=prefill, stop=STOPS)


def read(kind: str, problem: Problem, style: str, text: str) -> str:
    """The value, or the arguments, in a completion (without the prefill); "" when there is none."""
    if style == WITH_THOUGHT:
        _, tag, text = text.rpartition("[ANSWER]")
        if not tag:
            return ""
    else:
        text = _beginning(kind, problem) + text
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


def _beginning(kind: str, problem: Problem) -> str:
    """Where the answer has begun. Not with "f(": a model's tokens join the parenthesis with the quote that may follow,
    and after a parenthesis of its own it hardly ever writes one."""
    return "assert f" if kind == "input" else f"assert f({problem.data['input']}) =="


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


def _question(kind: str, shown: str, arguments: str, output: str) -> str:
    if kind == "statement":
        return f"[TEXT]\n{shown}\n[/TEXT]\nassert f({arguments}) == ??"
    asked = f"assert f(??) == {output}" if kind == "input" else f"assert f({arguments}) == ??"
    return f"[PYTHON]\n{shown}\n{asked}\n[/PYTHON]"
