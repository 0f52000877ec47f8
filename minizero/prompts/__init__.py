"""The prompts: two roles, four task types, five styles. One function for each role; a module for each style.

Reading order: propose, solve; then chat.py (instruct models), r1.py (base models), few_shot.py and direct.py (small
ones), compact.py (the tiny model).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minizero.config.tasks import TAGGED
from minizero.prompts import chat, compact, direct, few_shot, r1
from minizero.types import Prompt, StyleError, Task, TaskType

if TYPE_CHECKING:
    from minizero.config.tasks import PromptConfig

__all__ = ["STYLES", "propose", "solve"]

STYLES = ("r1", "chat", "few-shot", "direct", "compact")


def propose(
    style: str,
    task_type: TaskType,
    examples: Sequence[Task],
    *,
    settings: PromptConfig,
    lines: int | None = None,
    parameters: str = "",
    composites: Sequence[str] = (),
) -> Prompt:
    """Ask for a new task of this type. `lines`: how many statement lines its function is to have (None: any number).
    `parameters`: what its parameter list is ("": any), in the styles few-shot and direct.

    Deduction, abduction and error show the examples, and ask for a program with an input; the program is to call each
    of the `composites` g_0, g_1, ... Induction asks for inputs and a message about the program of examples[0], which
    may be a task of any type; `lines`, `parameters` and `composites` have no meaning there.
    """
    _check(style, task_type, composites)
    if parameters and style not in TAGGED:
        raise StyleError(f"style {style} does not begin programs with given parameters; {' and '.join(TAGGED)} do")
    if task_type is TaskType.INDUCTION and not examples:
        raise ValueError("an induction proposal is about a given program: expected at least one example, saw none")
    if style == "compact":
        return compact.propose(task_type, examples, lines=lines, inputs=settings.induction_inputs)
    if style == "chat":
        return chat.propose(task_type, examples, lines=lines, inputs=settings.induction_inputs, composites=composites)
    if style in TAGGED:
        return few_shot.propose(
            task_type,
            examples,
            lines=lines,
            parameters=parameters,
            inputs=settings.induction_inputs,
            composites=composites,
        )
    return r1.propose(
        task_type,
        examples,
        lines=lines,
        inputs=settings.induction_inputs,
        composites=composites,
        stop_at_answer=settings.stop_at_answer,
    )


def solve(style: str, task: Task, *, settings: PromptConfig) -> Prompt:
    """Ask for the part of the task that is not shown."""
    _check(style, task.type)
    if style == "compact":
        return compact.solve(task, think=settings.think)
    if style == "chat":
        return chat.solve(task, think=settings.think != "off")
    if style == "few-shot":
        return few_shot.solve(task, think=settings.think != "off")
    if style == "direct":
        return direct.solve(task)
    return r1.solve(task, stop_at_answer=settings.stop_at_answer)


def _check(style: str, task_type: TaskType, composites: Sequence[str] = ()) -> None:
    if style not in STYLES:
        raise ValueError(f"style = {style!r}: expected one of {', '.join(STYLES)} (auto is resolved by the model)")
    if style == "compact" and (task_type is TaskType.ERROR or composites):
        what = "error tasks" if task_type is TaskType.ERROR else "composite functions"
        raise StyleError(f"{what}: the style compact has no words for them, and its model was trained without them.")
