"""What stands between the tags of the prompt style few-shot (prompts/few_shot.py), read from a model's text.

Reading order: as_blocks (a proposal, in the blocks that parsing.py reads), answer, value_of (the evaluation's few-shot
formats read with it too), is_closed. Nothing runs; the text is hostile, and all of it takes time linear in its length.
"""

from __future__ import annotations

import re

from minizero.tasks.blocks import is_arguments
from minizero.types import Answer, ParseError, TaskType
from sandbox.values import InvalidValue, parse_value

MOST_SIGNS = 20  # of "==" that are tried as the end of a call
LONGEST = 4_000  # characters of an answer about a value that are tried
_FENCES = {"PYTHON": "python", "CALLS": "input", "HINT": "message"}
_TAG = re.compile(r"^[ \t]*\[(/?)(PYTHON|CALLS|HINT)\][ \t]*$", re.MULTILINE)


def as_blocks(text: str) -> str:
    """A proposal with fenced blocks in place of its tags.

    >>> as_blocks("[PYTHON]\\ndef f(x): return x\\n[/PYTHON]")
    '```python\\ndef f(x): return x\\n```'
    """
    return _TAG.sub(lambda tag: "```" if tag[1] else f"```{_FENCES[tag[2]]}", text)


def answer(task_type: TaskType, text: str) -> Answer | ParseError:
    """What stands after the last [ANSWER]: of an assertion the value or the call's arguments, else all of it."""
    _, tag, inside = text.rpartition("[ANSWER]")
    inside = inside.partition("[/ANSWER]")[0].strip()
    if not tag or not inside:
        return ParseError("no_answer")
    if task_type is TaskType.INDUCTION:
        return Answer(task_type, inside)
    if task_type is TaskType.ERROR:
        return Answer(task_type, inside.partition("\n")[0].strip())
    inside = inside.removeprefix("assert").strip()
    found = _arguments(inside) if task_type is TaskType.ABDUCTION else value_of(inside)
    return Answer(task_type, found) if found else ParseError("no_answer")


def is_closed(text: str) -> bool:
    """Whether the text ends in an answer that is closed, after a thought that is."""
    thought, tag, inside = text.rpartition("[ANSWER]")
    return bool(tag) and "[/ANSWER]" in inside and ("[THOUGHT]" not in thought or "[/THOUGHT]" in thought)


def value_of(text: str) -> str:
    """The value that a text is, or the one after the == of an assertion; what goes on after it on other lines is left
    out. Where nothing is a value: the line after the last ==.

    >>> value_of("f('a == b') == 'b'\\nThat is so."), value_of("'a == b'")
    ("'b'", "'a == b'")
    """
    parts = text.split("==", MOST_SIGNS)
    ends = ["==".join(parts[place:]).strip() for place in range(len(parts))]
    tries = [text for end in ends for text in (end, end.partition("\n")[0].strip())]
    return next((text for text in tries if is_value(text)), tries[-1])


def _arguments(text: str) -> str:
    """What stands between the parentheses of the assertion's call; "" where there is no whole call."""
    parts = text.split("==", MOST_SIGNS)
    calls = ["==".join(parts[:place]).strip() for place in range(1, len(parts) + 1)]
    inside = [call[2:-1].strip() for call in calls if call.startswith("f(") and call.endswith(")")]
    return next((found for found in inside if are_values(found)), inside[0] if inside else "")


def are_values(text: str) -> bool:
    """Whether the text is an argument list of literals, of a length that is worth a try."""
    return len(text) <= LONGEST and is_arguments(text)


def is_value(text: str) -> bool:
    """Whether the text is a literal, of a length that is worth a try."""
    if len(text) > LONGEST:
        return False
    try:
        parse_value(text)
    except InvalidValue:
        return False
    return True
