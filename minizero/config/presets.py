"""Presets in one shape: a word stands for a table, a table may begin from a preset, and both roles may share one.

Reading order: from_preset, for_both_roles. They run before validation, so pydantic judges what they leave as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minizero.types import Role


def from_preset(value: Any, presets: Mapping[str, Mapping[str, Any]], default: str) -> Any:
    """A preset's name, or a table with `preset` and changes, becomes a whole table; without a name, the default's.

    >>> from_preset({"b": 3}, {"one": {"a": 1, "b": 2}}, "one")
    {'a': 1, 'b': 3}
    """
    if isinstance(value, str):
        value = {"preset": value}
    return {**presets.get(str(value.get("preset", default)), {}), **value} if isinstance(value, Mapping) else value


def for_both_roles(value: Any) -> Any:
    """A name stands for both roles; of a table, its `preset` does, and what a role has of its own wins.

    >>> for_both_roles("one"), for_both_roles({"preset": "one", "solve": {"b": 3}})["solve"]
    ({'propose': 'one', 'solve': 'one'}, {'preset': 'one', 'b': 3})
    """
    if isinstance(value, str):
        return {role.value: value for role in Role}
    if not isinstance(value, Mapping) or "preset" not in value:
        return value
    tables = {key: table for key, table in value.items() if key != "preset"}
    for role in Role:
        own = tables.get(role.value, {})
        tables[role.value] = {"preset": value["preset"], **own} if isinstance(own, Mapping) else own
    return tables
