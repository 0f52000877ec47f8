"""Docstrings as Markdown: their indented lines (formulas, tables of choices) become code, the rest plain text."""

from __future__ import annotations

import re
from typing import Any

import griffe


class PlainText(griffe.Extension):
    """Our docstrings are written for a terminal."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Runs of lines indented by two or more become fenced blocks.

    >>> as_markdown("sums:\\n  a  1")
    'sums:\\n\\n```text\\n  a  1\\n```'
    """
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        indented = line.startswith("  ")
        if indented and not inside:
            out += [*([""] if out and out[-1] else []), "```text"]
        if inside and not indented:
            out.append("```")
            out += [""] if line else []
        inside = indented
        out.append(line if indented else _plain(line))
    return "\n".join([*out, *(["```"] if inside else [])])


def _plain(line: str) -> str:
    """Outside of `code`: `<think>` is no tag, `logits[T, V]` no link, `a * b` no emphasis."""
    parts = line.split("`")
    plain = [re.sub(r"([\[\]*])", r"\\\1", part).replace("<", "&lt;") for part in parts]
    return "`".join(parts[i] if i % 2 else part for i, part in enumerate(plain))
