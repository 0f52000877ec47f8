"""The prompt style `r1`, for base models: a conversation in plain text, thought in <think>, the result in <answer>.

Reading order: propose, solve, after the texts they are made of. The structure is AZR's (docs/algorithm.md 2.1 to 2.3),
the words are ours. Corrected: AZR tells the deduction proposer to make the input hard to predict, the abduction
proposer the output.
"""

from __future__ import annotations

from collections.abc import Sequence

from minizero.types import Message, Prompt, Task, TaskType

WRAPPER = """\
Below, a User asks and an Assistant replies. The Assistant first reasons privately, then states its reply. The \
reasoning stands between <think> and </think>, the reply directly after it between <answer> and </answer>: \
<think> all reasoning </think> <answer> the reply </answer>
User: {question}
Assistant: """

_PROPOSE = """\
## Task: invent a Python function and {what}

{goal} Think of it as one item of an aptitude test: whoever takes the test should have to reason, not to recall.

### The program
- Its entry point is a function named `f` with at least one parameter, and f returns a value.
- The same arguments always give the same value.
- It carries some state through several steps: loops, accumulators, nested data, small algorithms.
- It has nothing to do with random numbers, dates and clocks, reading or printing, files, processes, the network, or \
anything outside of itself.
- It ends within a second.
- Imports, classes and helper functions come before f; the return of f is the last line of the program.{rules}

### The input
- Exactly one input: the arguments of one call of f, separated by commas, strings in quotes.
- Constants only (numbers, strings, lists, tuples, dicts, sets, True, False, None); no names, no calculations.

### Form of the reply
A python block, then an input block. For a function of a name and a record, that looks like this:

```python
def f(name: str, info: dict):
    # steps that lead to a value
    return value
```

```input
'John', {{'age': 20, 'city': 'New York'}}
```

### What counts
- {runs}
- It is hard, but can be done: {difficulty}
- It is new: other ideas, other data and another course than in the examples below.

Plan first: what the function computes, why that takes several steps, and which input shows it.
{examples}"""

_EXAMPLES = """
### Examples made before (do something different)
{snippets}"""

_COMPOSITES = """
### Functions to build on
f calls every one of {names}, and does more with them than hand on what they return. They stand above f already: do \
not write them again. Plan first what each of them does.
```python
{programs}
```
"""

# What a propose prompt says of its type: the kind of input, the goal, what counts as running, what makes it hard.
_KINDS = {
    TaskType.DEDUCTION: (
        "one input whose output is hard to tell",
        "Someone will see the program and the input, and has to tell the output.",
        "It runs: program and input together, without an error.",
        "telling the output takes several steps of careful reasoning.",
    ),
    TaskType.ABDUCTION: (
        "one input that is hard to find again",
        "Someone will see the program and its output, and has to find an input that gives this output.",
        "It runs: program and input together, without an error.",
        "finding an input that gives the output takes several steps of careful reasoning backwards.",
    ),
    TaskType.ERROR: (
        "one input, with which it may or may not raise an exception",
        "Someone will see the program and the input, and has to tell which exception is raised, or that none is.",
        "It is valid Python, and what it raises with this input, if anything, is always the same.",
        "telling what is raised, if anything, takes several steps of careful reasoning.",
    ),
}
_ERROR_RULES = """
- With some inputs it returns a value, with others it raises an exception: a common one, or one of its own class. What \
is raised depends on the steps before, not on a glance at one line."""

_INDUCTION = """\
## Task: choose {inputs} inputs and write a hint for a given function

Someone will see some of your inputs with the outputs that the function gives, and your hint, and has to write the \
function again. Think of it as one item of an aptitude test.

### The function
```python
{program}
```
Each input takes the place of the dots in `f(...)`.

### The inputs
- {inputs} different inputs, each in its own input block; each is the arguments of one call, separated by commas, \
strings in quotes.
- Constants only (numbers, strings, lists, tuples, dicts, sets, True, False, None); no names, no calculations.

### The hint
- In a message block: what to look for, so that the function can be found from the pairs.
- It holds no code and does not describe the function line by line.

### Form of the reply
```input
'John', {{'age': 20, 'city': 'New York'}}
```
```input
'Sammy', {{'age': 37, 'city': 'Los Angeles'}}
```
(and so on)
```message
the hint
```

### What counts
- It runs: the function accepts every input.
- The inputs cover the function: ordinary and special cases, every branch of it.
- They differ in kind and size.
- Finding the function is a challenge, but possible.

Plan first: what the function does, and which inputs show each part of it."""

_DEDUCTION_SOLVE = """\
## Task: what does the function return?
Work out the value of `f(...)` with the arguments of the input block.

```python
{program}
```

```input
{input}
```

Reply with the value in an output block, written as in Python: strings in quotes, several values as a tuple.
```output
{{'age': 20, 'city': 'New York'}}
```"""

_ABDUCTION_SOLVE = """\
## Task: which input gives this output?
Find arguments for which `f(...)` returns the value of the output block. Any that do so are right.

```python
{program}
```

```output
{output}
```

Reply with the arguments in an input block, separated by commas, strings in quotes.
```input
'John', {{'age': 20, 'city': 'New York'}}
```"""

_ERROR_SOLVE = """\
## Task: which exception is raised?
Find out what happens when `f(...)` is called with the arguments of the input block.

```python
{program}
```

```input
{input}
```

Reply with an output block that holds the name of the exception's class, or `NoError` if none is raised.
```output
ValueError
```"""

_INDUCTION_SOLVE = """\
## Task: write the function
Find the function behind these pairs of inputs and outputs; it will be tried on further inputs.

{pairs}

A hint:
```message
{message}
```

- The function is named `f`, takes what the input blocks hold as arguments, and returns the output.
- No random numbers, dates, reading, printing, files or anything outside of itself.
- Cover the rule, not the single pairs.

Reply with the whole program in a python block.
```python
def f(...):
    # your code
    return value
```"""


def propose(
    task_type: TaskType,
    examples: Sequence[Task],
    *,
    lines: int | None,
    inputs: int,
    composites: Sequence[str] = (),
    stop_at_answer: bool,
) -> Prompt:
    """Ask for a new task; see prompts.propose."""
    if task_type is TaskType.INDUCTION:
        return _prompt(_INDUCTION.format(inputs=inputs, program=examples[0].program), stop_at_answer)
    snippets = "\n".join(_snippet(number, task) for number, task in enumerate(examples))
    what, goal, runs, difficulty = _KINDS[task_type]
    rules = _ERROR_RULES if task_type is TaskType.ERROR else ""
    rules += "" if lines is None else f"\n- The body of f has {lines} line{'s' * (lines != 1)}."
    shown = _EXAMPLES.format(snippets=snippets) if examples else ""
    if composites:
        names = ", ".join(f"`g_{i}`" for i in range(len(composites)))
        shown += "\n" + _COMPOSITES.format(names=names, programs="\n\n".join(composites))
    question = _PROPOSE.format(what=what, goal=goal, rules=rules, runs=runs, difficulty=difficulty, examples=shown)
    return _prompt(question, stop_at_answer)


def solve(task: Task, *, stop_at_answer: bool) -> Prompt:
    """Ask for the part of the task that is not shown."""
    if task.type is TaskType.DEDUCTION:
        question = _DEDUCTION_SOLVE.format(program=task.program, input=task.input)
    elif task.type is TaskType.ABDUCTION:
        question = _ABDUCTION_SOLVE.format(program=task.program, output=task.output)
    elif task.type is TaskType.ERROR:
        question = _ERROR_SOLVE.format(program=task.program, input=task.input)
    else:
        shown = task.pairs[: task.shown]
        pairs = "\n".join(
            f"```input_{i}\n{pair.input}\n```\n```output_{i}\n{pair.output}\n```" for i, pair in enumerate(shown)
        )
        question = _INDUCTION_SOLVE.format(pairs=pairs, message=task.message)
    return _prompt(question, stop_at_answer)


def _snippet(number: int, task: Task) -> str:
    label = "error" if task.type is TaskType.ERROR else "output"
    return (
        f"<snippet_{number}>\n```python\n{task.program}\n```\n```input\n{task.input}\n```\n"
        f"```{label}\n{task.output}\n```\n</snippet_{number}>"
    )


def _prompt(question: str, stop_at_answer: bool) -> Prompt:
    message = Message("user", WRAPPER.format(question=question))
    return Prompt((message,), prefill="<think>", stop=("</answer>",) if stop_at_answer else ())
