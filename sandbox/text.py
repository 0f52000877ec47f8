"""Values as source text: what a model writes as an answer, and how values are shown to it.

Reading order: parse_value, parse_arguments, render; then grammar.py. Python's own compiler can be crashed or slowed by
hostile text, and warns about some of it, so it never sees any: the grammar is our own and knows values only.
"""

from collections.abc import Callable
from typing import Any

from sandbox.codec import MAX_BYTES, MAX_DEPTH, InvalidValue, encode
from sandbox.grammar import MAX_DECIMAL_DIGITS, Reader


def parse_value(text: str, *, max_chars: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value that the text writes: a literal, inf, nan, float('...'), dict(a=1), list(range(3)), ..., and what
    + - * ** make of such constants. Nothing is evaluated: see grammar.py and constants.py.

    `1, 2` is a tuple, as in Python. Raises InvalidValue: syntax (other names, operators, calls), size, depth.
    """
    return _read(Reader.whole, text, max_chars, max_depth)


def parse_arguments(
    text: str, *, max_chars: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that `f(text)` would pass: `1, [2], key="a"` gives ((1, [2]), {"key": "a"}).

    Raises InvalidValue as parse_value does.
    """
    positional, named = _read(Reader.arguments, text, max_chars, max_depth)
    return positional, named


def _read(rule: Callable[[Reader, int], Any], text: str, max_chars: int, max_depth: int) -> Any:
    try:
        reader = Reader(text, max_chars, max_depth)
        value = rule(reader, max_depth)
    except RecursionError:
        raise InvalidValue("depth", "nested deeper than this thread can follow") from None
    reader.finish()
    return value


def render(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> str:
    """Source text that parse_value reads back as the same value; sets in a fixed order, no lone surrogates.

    Raises InvalidValue for what is not a value within the caps, and for one whose text has more than max_bytes
    characters: parse_value would not read it with the same cap.
    """
    encode(value, max_bytes=max_bytes, max_depth=max_depth)
    text = _render(value)
    if len(text) > max_bytes:
        raise InvalidValue("size", f"the text has {len(text)} characters, more than {max_bytes}")
    return text


def _order(scalar: object) -> bytes:
    """What scalars are sorted by: numbers by size first."""
    return encode(scalar, max_bytes=1 << 32)


def _render(value: Any) -> str:
    kind = type(value)
    if kind is list:
        return "[" + ", ".join(map(_render, value)) + "]"
    if kind is tuple:
        return "(" + ", ".join(map(_render, value)) + (",)" if len(value) == 1 else ")")
    if kind is dict:
        return "{" + ", ".join(f"{_render(key)}: {_render(member)}" for key, member in value.items()) + "}"
    if kind is set or kind is frozenset:
        # Sorted: the order of a set's own iteration differs between processes. Containers by their text, since each
        # level of nesting would encode all below it again.
        if any(type(member) in (tuple, frozenset) for member in value):
            members = ", ".join(sorted(map(_render, value)))
        else:
            members = ", ".join(map(_render, sorted(value, key=_order)))
        if kind is set:
            return "{" + members + "}" if value else "set()"
        return "frozenset({" + members + "})" if value else "frozenset()"
    if kind is float:
        return repr(value) if value - value == 0 else f"float('{value}')"
    if kind is complex:
        return f"complex({_render(value.real)}, {_render(value.imag)})"
    if kind is int and value.bit_length() > MAX_DECIMAL_DIGITS * 3:
        return hex(value)
    return repr(value)
