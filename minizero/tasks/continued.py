"""What a model wrote where Python broke off (the prompt style direct, prompts/direct.py).

Reading order: answer, is_whole. Nothing runs; the text is hostile, and all of it takes time linear in its length.
"""

from __future__ import annotations

import re

from minizero.tasks.programs import parse
from minizero.tasks.tags import are_values, is_value, value_of
from minizero.types import Answer, ParseError, TaskType

# The end of a program's line that is followed by one at the left margin, unless that goes on with the program.
_END = re.compile(r"\n(?=[^\s@)\]}])(?!def |async def |import |from )")


def answer(task_type: TaskType, text: str) -> Answer | ParseError:
    """The answer in a text that begins with the prompt's prefill.

    >>> answer(TaskType.DEDUCTION, "assert f('a') == 'b'\\nassert f('c') == 'd'\\n").text
    "'b'"
    """
    if task_type is TaskType.INDUCTION:
        return Answer(task_type, _END.split(text, maxsplit=1)[0].strip())
    if task_type is TaskType.DEDUCTION:
        found = value_of(text.removeprefix("assert").strip())
    elif task_type is TaskType.ABDUCTION:
        found = _arguments(text)
    else:
        found = text.partition("raised =")[2].partition("\n")[0].strip().strip("'\"").removesuffix("()")
    return Answer(task_type, found) if found else ParseError("no_answer")


def _arguments(text: str) -> str:
    """What stands between the parentheses of the call; "" where it is not whole."""
    call = text.rpartition("\nresult = f")[2].partition("\n")[0]
    inside, closed, after = call.rpartition(")")
    inside = inside.strip()
    if not closed or not inside.startswith("(") or (after.strip() and not after.strip().startswith("#")):
        return ""
    return inside[1:].strip()


def is_whole(task_type: TaskType, text: str) -> bool:
    """Whether the text goes on with what was asked for: a literal value, the arguments of a whole call, a program."""
    found = answer(task_type, text)
    if isinstance(found, ParseError):
        return False
    if task_type is TaskType.INDUCTION:
        return parse(found.text) is not None
    if task_type is TaskType.ABDUCTION:
        return are_values(found.text)
    return is_value(found.text) if task_type is TaskType.DEDUCTION else found.text.isidentifier()
