"""The prompt style `chat`, for small instruct models: earlier tasks are turns of the talk, and the answer has begun.

Reading order: propose, solve, after the texts. What a 1.5B model gets wrong with AZR's prompts, and what is done:
- it explains instead of answering: its answer begins inside the first block, and ends with it;
- it puts the input in prose, in the code, or nowhere: here it belongs in the code, as a call under the function, which
  is what the programs look like that it learned from;
- it invents a form: its examples are earlier turns of its own, in exactly the form asked for;
- it writes variables or calculations as input: a rule says no, the examples show it, parsing mends some;
- it loses count over ten blocks: the inputs of an induction proposal are numbered lines of one block.
"""

from __future__ import annotations

from collections.abc import Sequence

from minizero.types import Message, Pair, Prompt, Task, TaskType

_SYSTEM = "You are a Python expert. You answer in exactly the form that is asked for, with no explanation around it."

_PROPOSE = """\
Invent a puzzle: a Python function f, and one call of it.
{goal}

- Answer with one python block that holds the whole program: f and, if you like, imports and helper functions above it.
- f takes one or more arguments, works in several steps (loops, conditions, nested data), and returns a value: a \
number, string, list, tuple, dict or set.
- The same arguments always give the same value: never import random, time, datetime, os or sys.
- The last line of the block is the one call f(...). Its arguments are constants such as 3, 'text', [1, 2] or \
{{'a': 1}} that f can work with: no names, no calculations, no print.
- Every puzzle has another idea and other kinds of data than those before."""

_GOALS = {
    TaskType.DEDUCTION: "Someone who reads f and the arguments must work out, step by step, what f returns.",
    TaskType.ABDUCTION: "Someone who reads f and what it returned must find arguments that give that result.",
    TaskType.ERROR: "Someone who reads f and the arguments must work out which exception the call raises, or that it "
    "raises none. Let some calls raise one, deep inside, and others none.",
}
_COMPOSITES = """
These functions are there already: do not write them again, but call every one of {names} in f, and do more than hand \
on what they return.

```python
{programs}
```"""

_INDUCTION = """\
Here is a Python function. Choose {inputs} calls of it, and write a hint. Someone who sees the arguments and results \
of some of your calls, and the hint, must find out what the function does.

```python
{program}
```

- First an input block with {inputs} numbered lines. Each line holds the arguments of one call, as they stand between \
the parentheses of f( ): {shape}. Only constants such as 3, 'text', [1, 2] or {{'a': 1}}; no names, no calculations.
- The {inputs} lines all differ, and together they show everything that the function does: short and long, usual and \
special cases.
- Then a message block with one or two sentences that help to find the function, without code."""

FORM_EXAMPLE = Task(
    TaskType.DEDUCTION,
    "def f(words, limit):\n    groups = {}\n    for word in words:\n        key = len(word) % limit\n"
    "        groups.setdefault(key, []).append(word[::-1])\n    return sorted(groups.items())",
    (Pair("['sun', 'river', 'at', 'stone'], 3", "[(0, ['nus']), (2, ['revir', 'ta', 'enots'])]"),),
)
ERROR_EXAMPLE = Task(
    TaskType.ERROR,
    "def f(table, keys):\n    total = 0\n    for key in keys:\n        row = table.get(key, [])\n"
    "        total += max(row) - min(row)\n    return total",
    (Pair("{'a': [3, 8], 'b': [5]}, ['a', 'b', 'c']", "ValueError"),),
)
INDUCTION_EXAMPLE = Task(
    TaskType.INDUCTION,
    "def f(numbers, step):\n    total = 0\n    for number in numbers:\n        if number % step == 0:\n"
    "            total += number // step\n        else:\n            total -= 1\n    return total",
    tuple(
        Pair(text, "")
        for text in (
            *("[4, 6, 9], 3", "[], 2", "[10], 5", "[1, 1, 1, 1], 4", "[100, 50, 25], 25", "[-6, 7], 3", "[8, 8], 8"),
            *("[0, 3, 5], 2", "[12, 18, 24, 30], 6", "[7], 10", "[99, 1, 33], 11", "[2, 4, 8, 16, 32], 4"),
        )
    ),
    message="Some numbers of the list add to the result, the others take something away; the step decides which.",
)

_THINK = "Think it through first, in a few short sentences or steps without code blocks. Then end with "
_AT_ONCE = "Answer with nothing but "

_DEDUCTION_SOLVE = """\
What does f({input}) return?

```python
{program}
```

{manner}an output block that holds the value as Python writes it, strings in quotes:
```output
VALUE
```"""

_ABDUCTION_SOLVE = """\
Find arguments for which f returns {output}

```python
{program}
```

{manner}an input block that holds the arguments of such a call, without its parentheses: constants, separated by \
commas, strings in quotes:
```input
ARGUMENTS
```"""

_ERROR_SOLVE = """\
Which exception does f({input}) raise, if any?

```python
{program}
```

{manner}an output block that holds the name of the exception's class, or NoError if none is raised:
```output
NAME
```"""

_INDUCTION_SOLVE = """\
Write a Python function f that gives all of these results, and by the same rule the right ones for other arguments.

{pairs}

Hint: {message}

{manner}a python block that holds the whole program:
```python
def f(...):
    ...
```"""


def propose(
    task_type: TaskType, examples: Sequence[Task], *, lines: int | None, inputs: int, composites: Sequence[str] = ()
) -> Prompt:
    """Ask for a new task; see prompts.propose. Further induction tasks after examples[0] become earlier turns."""
    if task_type is TaskType.INDUCTION:
        earlier = [task for task in examples[1:] if task.type is TaskType.INDUCTION and len(task.pairs) >= inputs]
        turns = []
        for task in earlier or [INDUCTION_EXAMPLE]:
            turns.append(Message("user", _induction_question(task, inputs)))
            lines_of_arguments = [f"{i}. {pair.input}" for i, pair in enumerate(task.pairs[:inputs], 1)]
            arguments = "\n".join(lines_of_arguments)
            turns.append(Message("assistant", f"```input\n{arguments}\n```\n```message\n{task.message}\n```"))
        turns.append(Message("user", _induction_question(examples[0], inputs)))
        return _prompt(turns, prefill="```input\n1.")
    request = _PROPOSE.format(goal=_GOALS[task_type])
    turns = []
    form = ERROR_EXAMPLE if task_type is TaskType.ERROR else FORM_EXAMPLE
    for task in examples if len(examples) > 1 else [*examples, form]:
        turns.append(Message("user", request))
        turns.append(Message("assistant", f"```python\n{task.program}\n\nf({task.input})\n```"))
        request = "Another one, with a new idea."
    if lines is not None:
        request += f" The body of f has exactly {lines} line{'s' * (lines != 1)}."
    if composites:
        names = ", ".join(f"g_{i}" for i in range(len(composites)))
        request += _COMPOSITES.format(names=names, programs="\n\n".join(composites))
    turns.append(Message("user", request))
    return _prompt(turns, prefill="```python\n", stop=("\n```",))


def solve(task: Task, *, think: bool) -> Prompt:
    """Ask for the part of the task that is not shown, after a short thought or at once."""
    manner = _THINK if think else _AT_ONCE
    if task.type is TaskType.DEDUCTION:
        question = _DEDUCTION_SOLVE.format(program=task.program, input=task.input, manner=manner)
        label = "output"
    elif task.type is TaskType.ABDUCTION:
        question = _ABDUCTION_SOLVE.format(program=task.program, output=task.output, manner=manner)
        label = "input"
    elif task.type is TaskType.ERROR:
        question = _ERROR_SOLVE.format(program=task.program, input=task.input, manner=manner)
        label = "output"
    else:
        pairs = "\n".join(f"f({pair.input}) == {pair.output}" for pair in task.pairs[: task.shown])
        question = _INDUCTION_SOLVE.format(pairs=pairs, message=task.message, manner=manner)
        label = "python"
    turns = [Message("user", question)]
    return _prompt(turns) if think else _prompt(turns, prefill=f"```{label}\n", stop=("\n```",))


def _induction_question(task: Task, inputs: int) -> str:
    shape = f"for example {task.input}" if task.input else "separated by commas"
    return _INDUCTION.format(inputs=inputs, program=task.program, shape=shape)


def _prompt(turns: Sequence[Message], *, prefill: str = "", stop: tuple[str, ...] = ()) -> Prompt:
    return Prompt((Message("system", _SYSTEM), *turns), prefill=prefill, stop=stop, chat=True)
