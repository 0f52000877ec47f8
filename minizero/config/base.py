"""The base of every config section: frozen, no unknown keys, one sentence under each field."""

from __future__ import annotations

import typing
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of the configuration. A sentence under each field is its help text and names the default's source.

    On the command line one word may stand for a list of one (`selfplay.task_types=deduction`) and a number for a text
    (`run.name=123`).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: (value,) if name in fields and _is_an_item(value, fields[name].annotation) else value
            for name, value in values.items()
        }


def items_of(annotation: Any) -> list[str]:
    """The words that the items of a list setting may be; [] where any word may."""
    kinds = (annotation,) if typing.get_origin(annotation) is tuple else typing.get_args(annotation)
    items = [typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is tuple]
    words = [typing.get_args(item) for item in items if typing.get_origin(item) is Literal]
    words += [tuple(m.value for m in item) for item in items if isinstance(item, type) and issubclass(item, Enum)]
    return [str(word) for group in words for word in group]


def _is_an_item(value: Any, annotation: Any) -> bool:
    """Whether a field takes this word as an item of a list only: adapter.targets takes "all-linear" by itself too."""
    kinds = (annotation,) if typing.get_origin(annotation) is tuple else typing.get_args(annotation)
    lists = [typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is tuple]
    words = [word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    return isinstance(value, str) and value not in words and any(_takes(item, value) for item in lists)


def _takes(item: Any, word: str) -> bool:
    if typing.get_origin(item) is Literal:
        return word in typing.get_args(item)
    if isinstance(item, type) and issubclass(item, Enum):
        return word in {member.value for member in item}
    return item is str


def addresses(value: Any) -> Any:
    """Addresses of servers, several in one text divided by commas, each without a closing slash and the API's own /v1.

    >>> addresses(("http://a:8000/v1, http://b:8000/",))
    ['http://a:8000', 'http://b:8000']
    """
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        return value  # for pydantic to refuse
    return [one.rstrip("/").removesuffix("/v1").rstrip("/") for part in value for one in part.replace(",", " ").split()]
