"""Whatever reads model text takes time linear in its length: four times the text takes nowhere near sixteen times.

Processor time, so that a busy machine does not decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minizero.config.tasks import AdmissionConfig
from minizero.evaluation import formats
from minizero.evaluation.sanitise import sanitise
from minizero.tasks import programs
from minizero.tasks.parsing import clean_arguments, format_ok, parse_answer, parse_proposal
from minizero.types import Role, TaskType
from sandbox.values import InvalidValue, parse_arguments

LENGTH = 200_000  # characters
FREE_S = 0.25  # whatever takes less is fast enough; blocks that the allocator takes from the system alone cost 0.1
RULES = AdmissionConfig(
    remove_comments=True, remove_after_return=True, remove_print=True, reject_input_in_program=True,
    several_functions=False,
)  # fmt: skip


def proposal(kind: TaskType, style: str) -> Callable[[str], object]:
    return lambda text: parse_proposal(kind, text, style=style, settings=RULES, inputs=2)


def answer(kind: TaskType, style: str) -> Callable[[str], object]:
    return lambda text: parse_answer(kind, text, style=style)


def form(role: Role, style: str) -> Callable[[str], object]:
    return lambda text: [format_ok(role, kind, text, style=style) for kind in TaskType]


def arguments(text: str) -> object:
    try:
        return parse_arguments(text)
    except InvalidValue:
        return None


READERS: dict[str, Callable[[str], object]] = {
    **{f"proposal, {kind}": proposal(kind, "chat") for kind in (TaskType.DEDUCTION, TaskType.INDUCTION)},
    **{f"answer, {kind}": answer(kind, "chat") for kind in TaskType},
    "answer, r1": answer(TaskType.DEDUCTION, "r1"),
    **{f"form, {role}, {style}": form(role, style) for role in Role for style in ("chat", "r1")},
    "arguments": arguments,
    "cleaned arguments": clean_arguments,
    "tests itself": programs.tests_itself,
    "imports": programs.imports_of,
    "boxed": formats.boxed,
    "last number": formats.last_number,
}
UNITS = st.sampled_from(
    [
        *(" ", "\n", "\r\n", "\t", "`", "```", "```\n", "```python\n", "```python ", "```input ", "```output\n"),
        *("<think>", "</think>", "<answer>", "</answer>", "<output>", "<input>", "<message>", "# Input:", "# Output: "),
        *(
            "output(",
            "input(",
            "the output is ",
            "def f(x):\n",
            "def ",
            "f(",
            "(",
            ")",
            "[",
            "{",
            "'",
            '"',
            '"""',
            "\\",
        ),
        *("1", "1,", "-", "*", "x", "input", "result = ", "import a\n", "é", "#", "1.", "- ", "\\boxed{", "\\N{", "0x"),
    ]
)
# A beginning, what is repeated up to the length, and an end.
TEXTS = st.tuples(st.lists(UNITS, max_size=3), st.lists(UNITS, min_size=1, max_size=3), st.lists(UNITS, max_size=3))


def made(parts: tuple[list[str], list[str], list[str]], length: int) -> str:
    start, unit, end = map("".join, parts)
    return start + unit * (length // len(unit)) + end


def seconds(read: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    read(text)
    return time.process_time() - started


def check_linear(read: Callable[[str], object], make: Callable[[int], str], length: int = LENGTH) -> None:
    for _ in range(3):  # a collection of garbage may fall into one of them
        long = seconds(read, make(length))
        if long <= FREE_S or long <= 8 * seconds(read, make(length // 4)):
            return
    pytest.fail(f"{long:.2f} s for {length} characters, more than 8 times as long as for a quarter of them")


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS)
@example((["<output>x"], [" "], ["y"]))
@example((["the output is x"], [" "], ["y"]))
@example((["```input"], [" "], ["y"]))
@example((["<message>x"], [" "], ["y"]))
@example(([], ["output("], []))
@example(([], ["</think><answer>"], []))
@example((["<think>"], ["</think> <answer>"], []))
@example((["```python\n"], ["\n"], ["def g("]))
@example((["```python\n"], ["input"], ["\n```"]))
def test_reading_takes_time_linear_in_the_length_of_the_text(
    name: str, parts: tuple[list[str], list[str], list[str]]
) -> None:
    check_linear(READERS[name], lambda length: made(parts, length))


@pytest.mark.parametrize(
    "make",
    [
        lambda length: "def f(*x):\n    return x\nf(" + "1," * (length // 2 - 20) + ")",
        lambda length: "def f(*x):\n    return x\nf(" + "1," * (length // 4) + ")\n" + "y=f()\n" * (length // 16),
    ],
    ids=["arguments", "calls"],
)
def test_a_call_under_a_program_is_read_in_linear_time(make: Callable[[int], str]) -> None:
    check_linear(programs.split_call, make, programs.MAX_CHARS)


@pytest.mark.parametrize(
    "make",
    [
        lambda length: "x=1\n" * (length // 4),
        lambda length: "x=(\n" * (length // 4),
        lambda length: "x=(\n1)+\n" * (length // 8),
        lambda length: "if x:\n y=1\n" * (length // 11) + "z=",
    ],
    ids=["statements", "brackets", "continued", "blocks"],
)
def test_what_an_answer_runs_is_found_in_the_time_of_some_hundred_parses(make: Callable[[int], str]) -> None:
    parse_s = min(seconds(programs.parse, "x=1\n" * (programs.MAX_CHARS // 4)) for _ in range(3))
    assert seconds(lambda text: sanitise(text, "f"), make(programs.MAX_CHARS)) < 300 * parse_s
