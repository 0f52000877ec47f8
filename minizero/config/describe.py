"""Every setting in words: name, type, default, sentence; for `minizero settings` and the page of the documentation.

Reading order: Setting, sections (all of them, in order), matching (those that a name means).
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from minizero.config.schema import Config
from minizero.types import ConfigError

LONGEST = 80  # characters of a default; the lists of forbidden names are longer


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `name` is what --set takes; `sentence` says what it does and where its default comes from."""

    name: str
    type: str
    default: str
    sentence: str


def sections(name: str = "", model: type[BaseModel] = Config) -> Iterator[tuple[str, str, list[Setting]]]:
    """(name, sentence, settings) of every section, sections inside sections after their parent."""
    own = [
        Setting(f"{name}.{key}", _type(field.annotation), _default(field), " ".join((field.description or "").split()))
        for key, field in model.model_fields.items()
        if not _is_section(field.annotation)
    ]
    if name:
        yield name, " ".join((model.__doc__ or "").split()), own
    for key, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from sections(f"{name}.{key}".lstrip("."), typing.cast(type[BaseModel], field.annotation))


def matching(name: str = "") -> list[Setting]:
    """The settings whose name is `name`, or begins or ends with it at a dot; "" is all of them.

    Raises ConfigError with the nearest names where there is none.
    """
    every = [setting for _, _, settings in sections() for setting in settings]
    found = [s for s in every if f".{s.name}.".find(f".{name.strip('.')}.") >= 0] if name else every
    if not found:
        names = [s.name for s in every] + [section for section, _, _ in sections()]
        last = {s.name.rpartition(".")[2]: s.name for s in every}
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.6) or [
            last[word] for word in difflib.get_close_matches(name.rpartition(".")[2], last, n=3)
        ]
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Sections: {', '.join(n for n, _, _ in sections())}."
        raise ConfigError(f"{name} is not a setting. {hint}")
    return found


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


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
