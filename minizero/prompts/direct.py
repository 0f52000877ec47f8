"""The prompt style `direct`: a task is Python that breaks off where its answer stands, as a model of code knows it.

No instructions, no examples, no reasoning: the shortest prompts of all, and the form in which the smallest models are
at their best (docs/small-model.md). The evaluation's format direct asks deductions and abductions in the same words.
Proposals are those of the style few-shot. What is read from the answers: tasks/continued.py.
"""

from __future__ import annotations

from typing import Final

from minizero.types import Message, Prompt, Task, TaskType

LINE: Final = ("\n",)
# A line at the left margin that belongs to no function: what is written after a program.
AFTER_PROGRAM: Final = ("\nassert", "\nprint", "\n#", "\nif ", "\nf(", "\nclass ", "\n```", "\n\n\n")


def solve(task: Task) -> Prompt:
    """Ask for the part of the task that is not shown."""
    if task.type is TaskType.INDUCTION:
        calls = [f"assert f({pair.input}) == {pair.output}" for pair in task.pairs[: task.shown]]
        hint = [f"# {line}" for line in task.message.splitlines()]
        return _prompt("\n".join([*hint, "# All of these hold:", *calls]), "def f", AFTER_PROGRAM)
    if task.type is TaskType.DEDUCTION:
        return _prompt(task.program, f"assert f({task.input}) ==", LINE)
    if task.type is TaskType.ABDUCTION:
        # Not "f(": tokens join the parenthesis with the quote that may follow it.
        return _prompt(task.program, f"# A call that gives {task.output}:\nresult = f", LINE)
    return _prompt(task.program, f"# What f({task.input}) raises, or NoError:\nraised =", LINE)


def _prompt(shown: str, begun: str, stop: tuple[str, ...]) -> Prompt:
    return Prompt((Message("user", shown + "\n\n"),), prefill=begun, stop=stop)
