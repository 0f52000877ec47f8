"""Values as bytes: the only form in which anything crosses the sandbox's border.

Reading order: the caps and InvalidValue, encode, decode, canonical (what equality and digests are made of), equal.
A value is exactly None, bool, int, float, complex, str, bytes, or a list, tuple, set, frozenset, dict of values.
The bytes are a tag, then a length or number, then the content; nothing in them is ever executed. This file runs on
both sides of the border, so it imports next to nothing and calls no method that a hostile program could define.
"""

import struct
from collections.abc import Collection
from typing import Any, Final

from sandbox.tables import check_members

MAX_BYTES: Final = 1 << 20
"""Default cap on an encoded value, in bytes. Callers who expect more say so."""
MAX_DEPTH: Final = 100
"""Deepest nesting of containers that is still a value."""
_U32 = struct.Struct(">I")
_F64 = struct.Struct(">d")
_WEIGHT: Final = {b"l": 4, b"t": 4, b"e": 32, b"z": 32, b"d": 32}
"""What a container counts against the cap of `decode` beyond its bytes, so that no value takes more than nine times
the cap in memory: an empty set is five bytes here and over two hundred there."""
_CONTAINERS: Final[dict[type, bytes]] = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}


class InvalidValue(ValueError):
    """Something is not a value, or not one within the caps. `reason` is one of REASONS, for counting."""

    REASONS: Final = ("type", "size", "depth", "syntax", "malformed")

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def encode(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> bytes:
    """The value as bytes. Sets are written in a fixed order, so equal sets give equal bytes in every process.

    Raises InvalidValue: type (subclasses count as foreign), size (bytes), depth (cycles end here too).
    """
    out = bytearray()
    _write(out, value, max_bytes, max_depth)
    return bytes(out)


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `encode` wrote. Takes any bytes at all: what is not an encoding raises InvalidValue(malformed).

    Containers count more than their bytes against the cap (InvalidValue(size)).
    """
    if len(data) > max_bytes:
        raise InvalidValue("size", f"the encoding has {len(data)} bytes, more than {max_bytes}")
    try:
        value, end = _read(data, 0, max_depth, [max_bytes - len(data)])
    except (struct.error, UnicodeDecodeError, IndexError, TypeError, MemoryError) as error:
        raise InvalidValue("malformed", f"not an encoded value: {error}") from None
    if end != len(data):
        raise InvalidValue("malformed", f"{len(data) - end} bytes after the end of an encoded value")
    return value


def is_value(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> bool:
    """Whether `encode` would take it."""
    try:
        encode(value, max_bytes=max_bytes, max_depth=max_depth)
    except InvalidValue:
        return False
    return True


def canonical(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> bytes:
    """Bytes that two values share exactly when they are equal: numbers by worth, dicts and sets without order."""
    out = bytearray()
    _write(out, value, max_bytes, max_depth, by_worth=True)
    return bytes(out)


def digest(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> str:
    """SHA-256 (hex) of the canonical bytes: equal values have equal digests, whatever process made them."""
    from hashlib import sha256  # here: a zygote with few modules never needs it, and OpenSSL is half of its libraries

    return sha256(canonical(value, max_bytes=max_bytes, max_depth=max_depth)).hexdigest()


def equal(a: object, b: object, *, max_bytes: int = 1 << 30) -> bool:
    """Python's ==, except that nan equals nan, also nested: True == 1, 5 == 5.0, {1} == frozenset({1}), [1] != (1,).

    Both must be values; anything else raises InvalidValue, since its own __eq__ would decide.
    """
    if type(a) is type(b) and type(a) in (int, str, bytes, bool):
        return a == b
    return canonical(a, max_bytes=max_bytes) == canonical(b, max_bytes=max_bytes)


def check_hashes(members: list[Any]) -> None:
    """Refuse members whose hashes were chosen to collide: a table of them takes quadratic time to build."""
    if why := check_members(members):
        raise InvalidValue("malformed", why)


def _write(out: bytearray, value: Any, max_bytes: int, depth: int, by_worth: bool = False) -> None:
    kind = type(value)
    if value is None:
        out += b"N"
    elif kind is str:
        _sized(out, b"s", value.encode("utf-8", "surrogatepass"), max_bytes)
    elif kind is bool and not by_worth:
        out += b"T" if value else b"F"
    elif kind is int or kind is bool:
        _sized(out, b"i", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True), max_bytes)
    elif kind is float:
        _write_float(out, value, max_bytes, by_worth)
    elif kind is complex:
        if by_worth and value.imag == 0:
            return _write_float(out, value.real, max_bytes, by_worth)
        out += b"c"
        for part in (value.real, value.imag):
            # + 0.0 turns -0.0 into 0.0: worth, not bits.
            out += _F64.pack(_one_nan(part + 0.0 if by_worth else part))
    elif kind is bytes:
        _sized(out, b"b", value, max_bytes)
    elif depth <= 0:
        raise InvalidValue("depth", "containers are nested deeper than the cap (a cycle, perhaps)")
    elif kind is list or kind is tuple:
        out += _CONTAINERS[kind] + _U32.pack(len(value))
        for member in value:
            _write(out, member, max_bytes, depth - 1, by_worth)
    elif kind is set or kind is frozenset:
        out += (b"e" if by_worth else _CONTAINERS[kind]) + _U32.pack(len(value))
        _write_sorted(out, [(member,) for member in value], max_bytes, depth, by_worth)
    elif kind is dict and by_worth:
        out += b"d" + _U32.pack(len(value))
        _write_sorted(out, value.items(), max_bytes, depth, by_worth)
    elif kind is dict:
        out += b"d" + _U32.pack(len(value))
        for key, member in value.items():
            _write(out, key, max_bytes, depth - 1)
            _write(out, member, max_bytes, depth - 1)
    else:
        raise InvalidValue("type", f"{_type_name(kind)} is not a value")
    if len(out) > max_bytes:
        raise InvalidValue("size", f"the value takes more than {max_bytes} bytes")


def _write_sorted(
    out: bytearray, rows: Collection[tuple[Any, ...]], max_bytes: int, depth: int, by_worth: bool
) -> None:
    if len(rows) == 1:  # nothing to sort: sets within sets would be copied once for each level
        for member in next(iter(rows)):
            _write(out, member, max_bytes, depth - 1, by_worth)
        return
    spent, written = len(out), []
    for row in rows:
        alone = bytearray()
        for member in row:
            _write(alone, member, max_bytes - spent, depth - 1, by_worth)
        spent += len(alone)
        written.append(bytes(alone))
    out += b"".join(sorted(written))


def _write_float(out: bytearray, value: float, max_bytes: int, by_worth: bool) -> None:
    if not by_worth or value != value:
        out += b"f" + _F64.pack(_one_nan(value))
    elif value in (float("inf"), float("-inf")) or value != int(value):
        out += b"f" + _F64.pack(value)
    else:
        _write(out, int(value), max_bytes, 0, by_worth)


def _one_nan(value: float) -> float:
    # Every nan is one nan: its hidden bits are no part of a value.
    return value if value == value else float("nan")


def _sized(out: bytearray, tag: bytes, content: bytes, max_bytes: int) -> None:
    if len(out) + len(content) > max_bytes:
        raise InvalidValue("size", f"the value takes more than {max_bytes} bytes")
    out += tag + _U32.pack(len(content)) + content


def _type_name(kind: type) -> str:
    # The name of a hostile class may itself be hostile (a metaclass property): only exact str is used.
    try:
        name = type.__dict__["__name__"].__get__(kind)
    except Exception:
        return "an object"
    return name[:100] if type(name) is str else "an object"


def _read(data: bytes, at: int, depth: int, room: list[int]) -> tuple[Any, int]:
    tag = data[at : at + 1]
    at += 1
    if tag == b"N":
        return None, at
    if tag == b"T" or tag == b"F":
        return tag == b"T", at
    if tag == b"f":
        return _F64.unpack_from(data, at)[0], at + 8
    if tag == b"c":
        return complex(_F64.unpack_from(data, at)[0], _F64.unpack_from(data, at + 8)[0]), at + 16
    (size,) = _U32.unpack_from(data, at)
    at += 4
    # Every member takes at least one byte, so this bounds counts as well as lengths.
    if size > len(data) - at:
        raise InvalidValue("malformed", f"a length of {size} with {len(data) - at} bytes left")
    if tag in (b"s", b"i", b"b"):
        content = data[at : at + size]
        if tag == b"s":
            return content.decode("utf-8", "surrogatepass"), at + size
        return (content if tag == b"b" else int.from_bytes(content, "big", signed=True)), at + size
    if tag not in (b"l", b"t", b"e", b"z", b"d"):
        raise InvalidValue("malformed", f"an unknown tag {tag!r}")
    if depth <= 0:
        raise InvalidValue("depth", "containers are nested deeper than the cap")
    room[0] -= _WEIGHT[tag]
    if room[0] < 0:
        raise InvalidValue("size", "so many containers take too much memory")
    members = []
    for _ in range(size * 2 if tag == b"d" else size):
        member, at = _read(data, at, depth - 1, room)
        members.append(member)
    return _container(tag, members), at


def _container(tag: bytes, members: list[Any]) -> Any:
    if tag == b"l":
        return members
    if tag == b"t":
        return tuple(members)
    keys = members[::2] if tag == b"d" else members
    check_hashes(keys)
    if tag == b"d":
        return dict(zip(keys, members[1::2], strict=True))
    return set(members) if tag == b"e" else frozenset(members)
