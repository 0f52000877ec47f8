"""The prompt style `few-shot`, for models that keep no form: plain text with tags, worked examples, an answer begun.

A model of half a billion parameters that is asked in chat seldom writes the block that is asked for, and completes the
beginning of an assertion well. The structure is that of CRUXEval's protocol (arXiv 2401.03065, appendix): instructions,
examples, the question, all as one text with [PYTHON], [THOUGHT] and [ANSWER] tags; the words and examples are ours. The
evaluation's formats few-shot and few-shot-cot ask deductions and abductions in the same words.

Reading order: propose, solve; question_about_a_value, which the evaluation asks too; the texts and examples between.
What is read from the answers: tasks/tags.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from minizero.prompts.chat import ERROR_EXAMPLE, FORM_EXAMPLE, INDUCTION_EXAMPLE
from minizero.types import Message, Pair, Prompt, Task, TaskType

STOPS: Final = ("[/ANSWER]", "[PYTHON]", "[TEXT]")
KINDS: Final = {TaskType.DEDUCTION: "output", TaskType.ABDUCTION: "input"}


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
_AFTER_THOUGHT = (
    "First think it through step by step between [THOUGHT] and [/THOUGHT], then write {what} between [ANSWER] and "
    "[/ANSWER], as in the {examples}."
)
_THINK_FIRST = _AFTER_THOUGHT.format(what="the whole assertion", examples="examples")

_PROPOSE = """\
Below are puzzles: a Python function f and one call of it. {goal} Each puzzle has another idea and other kinds of data \
than those before, works in several steps, and always gives the same result. The call's arguments are constants. \
Write the next puzzle.{more}"""
_GOALS = {
    TaskType.DEDUCTION: "Someone has to find out what the call returns.",
    TaskType.ABDUCTION: "Someone has to find arguments for which the call returns the same.",
    TaskType.ERROR: "Someone has to find out which exception the call raises, or that it raises none.",
}
_COMPOSITES = """ It has to call every one of {names}, which are there already:
[GIVEN]
{programs}
[/GIVEN]"""
_CALLS = """\
For each Python function below, write {inputs} calls of it that differ and together show all that it does, and a hint \
of one or two sentences without code, from which someone who sees some of the results must find the function out. \
Arguments are constants: no names, no calculations."""
_FIND_PROGRAM = """\
Below are results of a Python function f, and a hint. Write the function: it must give all of these results, and by \
the same rule the right ones for other arguments. {manner}"""
_NAME_ERROR = """\
Below are a Python function and one call of it. Say which exception the call raises, by the name of its class, or \
NoError if it raises none. {manner}"""
_PROGRAM_AT_ONCE = "Write nothing but the program, between [ANSWER] and [/ANSWER], as in the example."
_PROGRAM_AFTER_THOUGHT = _AFTER_THOUGHT.format(what="the program", examples="example")
_NAME_AT_ONCE = "Write nothing but the name, between [ANSWER] and [/ANSWER], as in the examples."
_NAME_AFTER_THOUGHT = _AFTER_THOUGHT.format(what="the name", examples="examples")
_PROGRAM_TASK: Final = Task(
    TaskType.INDUCTION,
    _EXAMPLES[1].program,
    tuple(
        Pair(given, result)
        for given, result in (
            ("[4, 3, 5, 6]", "[40, 30]"), ("[1, 1, 2]", "[10, 20]"), ("[7]", "[]"), ("[8]", "[80]"), ("[]", "[]"),
        )
    ),
    message="Where a number stands decides whether it is kept, and what is kept grows.",
    shown=5,
)  # fmt: skip
_PROGRAM_THOUGHT: Final = (
    "Results are ten times some of the numbers, in the same order. 4 at place 0 and 3 at place 1 are kept, 5 at place "
    "2 and 6 at place 3 are not; 7 at place 0 is not, 8 is. So a number is kept when it is even at an even place or "
    "odd at an odd one."
)
_ERRORS: Final = (
    (ERROR_EXAMPLE, "'a' gives [3, 8] and adds 5, 'b' gives [5] and adds 0. 'c' is not in the table, so the row is [], "
     "and max of an empty list raises ValueError."),
    (Task(TaskType.ERROR, _EXAMPLES[0].program, (Pair(_EXAMPLES[0].input, "NoError"),)),
     "The text is split into three parts, two are kept and joined. Nothing in it can fail."),
)  # fmt: skip


def propose(
    task_type: TaskType,
    examples: Sequence[Task],
    *,
    lines: int | None,
    inputs: int,
    parameters: str = "",
    composites: Sequence[str] = (),
) -> Prompt:
    """Ask for a new task, after the examples; see prompts.propose. A form example stands first where there are fewer
    than two."""
    if task_type is TaskType.INDUCTION:
        shown = [task for task in examples[1:] if task.type is TaskType.INDUCTION and len(task.pairs) >= inputs]
        parts = [_CALLS.format(inputs=inputs), *(_calls(task, inputs) for task in shown or [INDUCTION_EXAMPLE])]
        parts.append(f"[PYTHON]\n{examples[0].program}\n[/PYTHON]\n")
        # Not with "f(": see question_about_a_value.
        return _prompt(parts, "[CALLS]\n1. f", ("[/HINT]", "[PYTHON]"))
    more = "" if lines is None else f" Its f has exactly {lines} line{'s' * (lines != 1)} below the def."
    if composites:
        names = ", ".join(f"g_{i}" for i in range(len(composites)))
        more += _COMPOSITES.format(names=names, programs="\n\n".join(composites))
    form = ERROR_EXAMPLE if task_type is TaskType.ERROR else FORM_EXAMPLE
    shown = [*examples] if len(examples) > 1 else [form, *examples]
    parts = [_PROPOSE.format(goal=_GOALS[task_type], more=more)]
    begun = f"def f({parameters}):\n" if parameters else ""
    return _prompt([*parts, *map(_call, shown), ""], "[PYTHON]\n" + begun, ("[/PYTHON]",))


def solve(task: Task, *, think: bool) -> Prompt:
    """Ask for the part of the task that is not shown, after a thought or at once."""
    if task.type in KINDS:
        return question_about_a_value(KINDS[task.type], task.program, task.input, task.output, think=think)
    if task.type is TaskType.ERROR:
        parts = [_NAME_ERROR.format(manner=_NAME_AFTER_THOUGHT if think else _NAME_AT_ONCE)]
        for example, thought in _ERRORS:
            parts.append(_worked(_call(example), thought if think else "", example.output))
        return _prompt([*parts, _call(task) + "\n"], "[THOUGHT]\n" if think else "[ANSWER]\n", STOPS)
    parts = [_FIND_PROGRAM.format(manner=_PROGRAM_AFTER_THOUGHT if think else _PROGRAM_AT_ONCE)]
    parts.append(_worked(_results(_PROGRAM_TASK), _PROGRAM_THOUGHT if think else "", _PROGRAM_TASK.program))
    return _prompt([*parts, _results(task) + "\n"], "[THOUGHT]\n" if think else "[ANSWER]\ndef f", (*STOPS, "[CALLS]"))


def question_about_a_value(kind: str, shown: str, given: str, output: str, *, think: bool) -> Prompt:
    """Ask for the output of a call, for its input, or (kind statement) for the output by a description.

    The answer has begun, but not with "f(": a model's tokens join the parenthesis with the quote that may follow, and
    after a parenthesis of its own it hardly ever writes one.
    """
    parts = [_INSTRUCTIONS[kind].format(manner=_THINK_FIRST if think else _AT_ONCE)]
    for example in _EXAMPLES:
        text = example.description if kind == "statement" else example.program
        thought = example.backwards if kind == "input" else example.forwards
        answer = f"assert f({example.input}) == {example.output}"
        parts.append(_worked(_question(kind, text, example.input, example.output), thought if think else "", answer))
    parts.append(_question(kind, shown, given, output) + "\n")
    return _prompt(parts, "[THOUGHT]\n" if think else "[ANSWER]\n" + beginning(kind, given), STOPS)


def beginning(kind: str, given: str) -> str:
    """What an answer about a value begins with when it is given at once."""
    return "assert f" if kind == "input" else f"assert f({given}) =="


def _question(kind: str, shown: str, given: str, output: str) -> str:
    if kind == "statement":
        return f"[TEXT]\n{shown}\n[/TEXT]\nassert f({given}) == ??"
    asked = f"assert f(??) == {output}" if kind == "input" else f"assert f({given}) == ??"
    return f"[PYTHON]\n{shown}\n{asked}\n[/PYTHON]"


def _worked(question: str, thought: str, answer: str) -> str:
    """An example: a question, a thought where one is asked for, and the answer."""
    thoughts = [f"[THOUGHT]\n{thought}\n[/THOUGHT]"] if thought else []
    return "\n".join([question, *thoughts, f"[ANSWER]\n{answer}\n[/ANSWER]"])


def _calls(task: Task, inputs: int) -> str:
    calls = "\n".join(f"{number}. f({pair.input})" for number, pair in enumerate(task.pairs[:inputs], 1))
    return f"[PYTHON]\n{task.program}\n[/PYTHON]\n[CALLS]\n{calls}\n[/CALLS]\n[HINT]\n{task.message}\n[/HINT]"


def _results(task: Task) -> str:
    results = "\n".join(f"assert f({pair.input}) == {pair.output}" for pair in task.pairs[: task.shown])
    return f"[CALLS]\n{results}\n[/CALLS]\n[HINT]\n{task.message}\n[/HINT]"


def _call(task: Task) -> str:
    return f"[PYTHON]\n{task.program}\n\nf({task.input})\n[/PYTHON]"


def _prompt(parts: Sequence[str], prefill: str, stop: tuple[str, ...]) -> Prompt:
    return Prompt((Message("user", "\n\n".join(parts)),), prefill=prefill, stop=stop)
