"""The base of every config section: frozen, no unknown keys, one sentence under each field."""

from __future__ import annotations

import typing
from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


class Section(BaseModel):
    """A part of the configuration. A sentence under each field is its help text and names the default's source.

    On the command line one word may stand for a list of one (`selfplay.task_types=deduction`) and a number for a text
    (`run.name=123`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        # A field with a reading of its own (advantage's groups: none is no group) reads one word itself.
        own = {
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(item, BeforeValidator) for item in field.metadata)
        }
        lists = {name for name, field in cls.model_fields.items() if _takes_lists(field.annotation)} - own
        return {
            name: (value,) if name in lists and isinstance(value, str) and not _is_word(cls, name, value) else value
            for name, value in values.items()
        }


def _takes_lists(annotation: Any) -> bool:
    kinds = typing.get_args(annotation) if typing.get_origin(annotation) is not tuple else (annotation,)
    return any(typing.get_origin(kind) is tuple for kind in kinds)


def _is_word(section: type[BaseModel], name: str, value: str) -> bool:
    """Whether the field also takes this very word, as adapter.targets takes all-linear."""
    kinds = typing.get_args(section.model_fields[name].annotation)
    return any(value in typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is Literal)
