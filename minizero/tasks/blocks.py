"""Where things stand in the text of a completion: reasoning, fenced blocks, sections, tags. Nothing is interpreted.

Reading order: without_reasoning, fenced blocks (closed, written from the fence's own line, without a label, unclosed),
then section and in_words, which try them in AZR's order (docs/algorithm.md 2.4). The text is hostile: each search takes
time linear in its length, because no two parts of a pattern that stand side by side can match the same characters.
"""

from __future__ import annotations

import re

from minizero.tasks.programs import function_names, split_call
from sandbox.values import InvalidValue, parse_arguments

# A label may carry a number (```input_3), as small models like to write; AZR reads "_3" into the value.
PYTHON = r"(?:python|py)[ \t]?3?"
INPUT = r"inputs?(?:[ \t_]?\d+)?:?"
OUTPUT = r"outputs?(?:[ \t_]?\d+)?:?"
MESSAGE = r"message:?"
LABELS = {"input": INPUT, "output": OUTPUT, "message": MESSAGE}

_THINK = re.compile(r"</?think>")


def without_reasoning(text: str) -> str | None:
    """The text without its <think>...</think> parts; None when one is not closed.

    A </think> that nothing opened ends what the prompt has opened, so all before it is reasoning too.

    >>> [without_reasoning(text) for text in ("<think>1 or 2?</think> 2", "1 or 2?</think>2", "<think>1")]
    [' 2', '2', None]
    """
    kept: list[str] = []
    start, is_inside = 0, False
    for tag in _THINK.finditer(text):
        if tag[0] == "<think>" and not is_inside:
            kept.append(text[start : tag.start()])
            is_inside = True
        elif tag[0] == "</think>":
            if not is_inside:
                kept.clear()
            start, is_inside = tag.end(), False
    return None if is_inside else "".join([*kept, text[start:]])


def is_reasoned(text: str) -> bool:
    """Whether the text reasons in <think> or [THOUGHT] tags; reasoning in plain words cannot be told from an answer."""
    return _THINK.search(text) is not None or "[THOUGHT]" in text


def plain_newlines(text: str) -> str:
    """The text with lines that end in a line feed alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def blocks(text: str, label: str) -> list[str]:
    """Contents of all closed blocks with this label, stripped of blank lines around them.

    Any run of three backticks closes a block, as in AZR: models often open the next block without closing the last.
    """
    found = re.finditer(rf"```[ \t]*{label}[ \t]*\n(.*?)```", text, re.DOTALL | re.IGNORECASE)
    return [block[1].strip("\n").rstrip() for block in found]


def blocks_from_the_fence(text: str, label: str) -> list[str]:
    """Contents of the closed blocks whose content begins on the line of the fence: ```output 5```."""
    return [
        block[1].rstrip()
        for block in re.finditer(rf"```[ \t]*{label}[ \t]+([^\s`][^`]*)```", text, re.IGNORECASE)
    ]  # fmt: skip


def programs(text: str) -> list[str]:
    """Contents of the closed program blocks; those that begin on the line of the fence only where they hold a function,
    since prose speaks of a ```python block``` too."""
    return blocks(text, PYTHON) or list(filter(function_names, blocks_from_the_fence(text, PYTHON)))


def labelled(text: str, label: str) -> list[str]:
    """Contents of the closed blocks with this label, however they begin."""
    return blocks(text, label) or blocks_from_the_fence(text, label)


def bare_blocks(text: str) -> list[str]:
    """Contents of the blocks without a label. Fences are paired from the start: no closing one opens a block."""
    pairs = re.finditer(r"```([^`\n]*)\n(.*?)```", text, re.DOTALL)
    return [block[2].strip("\n").rstrip() for block in pairs if not block[1].strip()]


def unclosed_program(text: str) -> list[str]:
    """A program that ends the text without closing its block, when it is complete: with a call of its f."""
    content = _unclosed(text, PYTHON)
    return [content.rstrip()] if content is not None and split_call(content) is not None else []


def section(text: str, label: str, *, last: bool) -> str | None:
    """The block with this label; else an unclosed one at the end of the text; else what follows "# Label:"."""
    place = -1 if last else 0
    closed = labelled(text, LABELS[label])
    if closed:
        return closed[place]
    unclosed = _unclosed(text, LABELS[label])
    if unclosed is not None:
        return unclosed.strip()
    comments = re.findall(rf"#[ \t]*{label}:(.*?)(?:\n```|\Z)", text, re.DOTALL | re.IGNORECASE)
    if not comments:
        return None
    comment = str(comments[place]).strip()
    first_line = comment.partition("\n")[0].strip()
    return first_line if label == "input" and not is_arguments(comment) and is_arguments(first_line) else comment


def in_words(text: str, label: str) -> str:
    """An answer without a block, in AZR's order: `output(...)`, <output> ..., "the output is ...", the whole text."""
    call = re.search(rf"\b{label}\s*\(", text, re.IGNORECASE)
    if call and (end := text.find(")", call.end())) >= 0:
        widest = text[call.end() : text.rindex(")")]
        return widest if is_arguments(widest) else text[call.end() : end]
    inside = tagged(text, label)
    if inside is not None:
        return inside
    sentence = re.search(rf"the {label} is:?", text, re.IGNORECASE)
    if sentence:
        return text[sentence.end() :].strip().removesuffix(".")
    plain = bare_blocks(text)
    return plain[-1] if plain else text


def tagged(text: str, label: str) -> str | None:
    """What stands after the first <label>, up to </label> or the end."""
    opening = re.search(rf"<{label}>", text, re.IGNORECASE)
    if opening is None:
        return None
    closing = re.compile(rf"</{label}>", re.IGNORECASE).search(text, opening.end())
    return text[opening.end() : closing.start() if closing else len(text)].strip()


def is_arguments(text: str) -> bool:
    """Whether the text is an argument list of values."""
    try:
        parse_arguments(text)
    except InvalidValue:
        return False
    return True


def _unclosed(text: str, label: str) -> str | None:
    """What follows the last fence of the text, when it has this label and a line of its own."""
    last = text.rfind("```")
    if last < 0 or "`" in text[last + 3 :]:
        return None
    opening = re.compile(rf"```[ \t]*{label}[ \t]*\n", re.IGNORECASE).match(text, last)
    return text[opening.end() :] if opening else None
