"""The base of every config section: frozen, no unknown keys, one sentence under each field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration. A sentence under each field is its help text and names the default's source."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
