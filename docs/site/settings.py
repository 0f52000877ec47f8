"""All settings as Markdown tables, from the pydantic models of minizero/config: name, type, default, sentence.

`python docs/site/settings.py` prints them; docs/site/pages.py puts them into docs/settings.md.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from minizero.config.schema import Config

LONGEST = 80  # characters of a default; the lists of forbidden names are longer


def tables() -> str:
    """A heading and a table for each section, sections inside sections after their parent."""
    return "\n\n".join(_table(name, model) for name, model in _sections("", Config) if name)


def _sections(name: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, model
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _sections(f"{name}.{key}".lstrip("."), field.annotation)


def _table(name: str, model: type[BaseModel]) -> str:
    rows = []
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        cells = (f"`{key}`", _code(_type(field.annotation)), _code(_default(field)), _text(field.description or ""))
        rows.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    head = ["", "| name | type | default | |", "|---|---|---|---|"] if rows else []
    return "\n".join([f"## {name}", "", _text(model.__doc__ or ""), *head, *rows])


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(json.dumps(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if part is types.NoneType else _type(part) for part in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    return str(getattr(annotation, "__name__", annotation))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    text = json.dumps(value, default=str) if isinstance(value, bool | str | int | float | tuple | dict) else str(value)
    return text if len(text) <= LONGEST else f"{len(value)} names, see minizero/config/tasks.py"


def _text(words: str) -> str:
    """A sentence as Markdown: `<think>` is no HTML tag."""
    return " ".join(words.split()).replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    print(tables())  # noqa: T201
