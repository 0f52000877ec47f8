"""A question of a person's own, in the prompt style that a model was trained on.

Reading order: ask; for the tiny model a question is a task, read by task_of.
"""

from __future__ import annotations

from minizero.config.tasks import PromptConfig
from minizero.prompts import solve
from minizero.prompts.r1 import WRAPPER
from minizero.tasks import blocks
from minizero.types import Message, Pair, Prompt, StyleError, Task, TaskType

FREE = ("chat", "r1")  # styles in which anything can be asked; the others have words for tasks alone
EXAMPLE = "```python\ndef f(x):\n    x = sorted(x)\n    return x[::-1]\n```\n```input\n[3, 1, 2]\n```"
FORMS = (
    "This model reads tasks in blocks and nothing else: a program and an input (what is the output?), a program "
    "and an output (which input gives it?), or inputs each with its output (which program?). For example:\n\n" + EXAMPLE
)


def ask(style: str, question: str) -> Prompt:
    """The prompt of a question. chat: a user's turn in the model's own template; r1: AZR's conversation in plain text;
    others: the task that the question holds. Raises StyleError where it holds none."""
    if style == "chat":
        return Prompt((Message("user", question),), chat=True)
    if style == "r1":
        message = Message("user", WRAPPER.format(question=question))
        return Prompt((message,), prefill="<think>", stop=("</answer>",))
    return solve(style, task_of(question), settings=PromptConfig())


def task_of(question: str) -> Task:
    """The task of a question in blocks: what is missing is what is asked for. Raises StyleError for any other text.

    >>> task_of(EXAMPLE).type.value
    'deduction'
    """
    text = blocks.plain_newlines(question)
    program, message = blocks.programs(text), blocks.labelled(text, blocks.MESSAGE)
    inputs, outputs = blocks.labelled(text, blocks.INPUT), blocks.labelled(text, blocks.OUTPUT)
    if program and len(inputs) == 1 and not outputs:
        return Task(TaskType.DEDUCTION, program[0], (Pair(inputs[0], ""),))
    if program and len(outputs) == 1 and not inputs:
        return Task(TaskType.ABDUCTION, program[0], (Pair("", outputs[0]),))
    if not program and inputs and len(inputs) == len(outputs):
        pairs = tuple(Pair(given, result) for given, result in zip(inputs, outputs, strict=True))
        return Task(TaskType.INDUCTION, "", pairs, message[0] if message else "", shown=len(pairs))
    raise StyleError(FORMS)
