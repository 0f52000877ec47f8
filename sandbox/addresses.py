"""Addresses made to differ from run to run where a program is checked for determinism, since chance alone lets one in
seven programs through whose result depends on the order of two objects in a set.

Reading order: LAYOUTS, shift (in a child, before its program runs), then mask (in a zygote): what a program can read of
an address as a number or in a text. For an ordinary job nothing is done.
"""

import builtins
import ctypes
import types
from collections.abc import Callable
from typing import Any, Final

LAYOUTS: Final = 8
"""So many layouts put a new object at eight different places, modulo the eight slots of a small set: where two objects
can come in either order, each order comes up. The bits of an address that lie within its page take both values too."""
_SPREAD: Final = (0, 21, 10, 31, 5, 26, 15, 16)
"""Of small objects, eight more each: every one of five bits is set in some of these and not in others."""
_SMALL, _LARGEST = 128, 512
"""Bytes: sizes that are spread widely, and the largest that CPython's allocator hands out from pools of one size."""
_CLASS, _ODD = 1700, 485
"""Bytes of content: about a class, and the least that takes an odd number of 16 bytes from the C library."""
_HOLES: Final = 16
"""More places of one size than the zygote has left free since its addresses were settled."""

_KEPT_FREE: Final = 100
"""Places of floats, of lists and of dictionaries that CPython keeps for the next ones, of each: only what comes after
them, such as a nan that is known by its address, comes to lie where the layout says."""
_POOL_HEAD: Final = 3
"""Where the first place of a pool lies, in units of 16 bytes modulo eight."""

_MANY: Final = 2000
"""More holes of one size than loading leaves."""

_kept: list[object] = []
_real_id = id  # as it is before mask replaces it


def shift(layout: int, chance: bytes) -> None:
    """Take places of each size, so that the program's objects come to lie elsewhere than in other layouts."""
    step = layout % LAYOUTS
    for number in range(_KEPT_FREE):
        _kept.append([])
        _kept.append({})
        _kept.append(number + 0.5)
    for size in range(16, _LARGEST + 1, 16):
        _take(size, _HOLES + step + (8 * _SPREAD[step] if size <= _SMALL else 0), step)
    _take_large(step)
    _mask[0] = int.from_bytes(chance[:6], "big") & ~0xF


def _take(size: int, count: int, step: int) -> None:
    """Take so many places of this size, and then up to the first of those that lie as the step says, modulo the slots
    of a small set. What is let go last is taken first: the program's next object of the size comes to lie there."""
    wanted = (_POOL_HEAD + size // 16 * step) % 8  # counted from where a pool begins, other places do not come up
    for number in range(count + 2 * LAYOUTS):
        taken = object() if size == 16 else number + 0.5 if size == 32 else bytes(size - 33)
        if number >= count and _real_id(taken) // 16 % 8 == wanted:
            return
        _kept.append(taken)


def _take_large(step: int) -> None:
    """The same for what comes from the C library, side by side, such as classes."""
    for _ in range(2 * LAYOUTS):
        place = _real_id(b"." * _CLASS)
        if place // 16 % 8 == step:
            return
        _kept.append(b"." * _ODD)


def settle() -> None:
    """Use up the holes among larger objects, such as classes, as steady.settle does among small ones (in a zygote)."""
    _kept.append(large := [bytes(100_000) for _ in range(8)])  # no hole holds many of these
    top, at_top = max(map(id, large)), 0
    for size in range(8 * _LARGEST, _LARGEST, -16):
        at_top = 0
        for _ in range(_MANY):
            _kept.append(block := b"." * (size - 33))  # not bytes(n): calloc leaves the thread's own free blocks alone
            at_top = at_top + 1 if id(block) > top else 0
            top = max(top, id(block))
            if at_top == 2:
                break


_mask = [0]
"""What is added, by exclusive or, to the addresses that this process tells."""


def mask() -> None:
    """Make `id` and the text of objects tell other addresses in each process: real ones share many of their bits.

    Each stays one of a kind. For zygotes whose children are checked; a program that looks for the real ones finds them.
    """
    own: Any = builtins
    real_id = builtins.id
    own.id = lambda obj, /: real_id(obj) ^ _mask[0]

    def text_of(obj: Any) -> str:
        kind = type(obj)
        try:
            module, name = kind.__module__, kind.__qualname__
            if kind is types.FunctionType:
                start = f"<function {obj.__qualname__}"
            elif kind is types.GeneratorType:
                start = f"<generator object {obj.__qualname__}"
            else:
                start = (
                    f"<{name} object" if module == "builtins" or type(module) is not str else f"<{module}.{name} object"
                )
        except BaseException:  # of a hostile class; an exception cannot leave through C
            start = "<object"
        return f"{start} at {hex(real_id(obj) ^ _mask[0])}>"

    replacement = _C_TEXT(text_of)
    _kept.append(replacement)
    pointer = ctypes.cast(replacement, ctypes.c_void_p).value
    plain = _slot(object)
    if pointer is None or plain is None:
        return
    for kind in {types.FunctionType, types.GeneratorType, *_subclasses(object)}:
        if kind in (types.FunctionType, types.GeneratorType) or _slot(kind) == plain:
            ctypes.c_void_p.from_address(real_id(kind) + _TP_REPR).value = pointer


_C_TEXT: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)
_TP_REPR: Final = 88
"""Where a type of CPython 3.8 and later keeps what makes its text, in bytes from its start."""
_PY_TP_REPR: Final = 66


def _slot(kind: type) -> int | None:
    """The C function that makes the text of a type's objects; None where it is not where it is expected."""
    get: Callable[..., Any] = ctypes.pythonapi.PyType_GetSlot
    get.argtypes, get.restype = (ctypes.py_object, ctypes.c_int), ctypes.c_void_p  # type: ignore[attr-defined]
    there = ctypes.c_void_p.from_address(id(kind) + _TP_REPR).value
    return there if there == get(kind, _PY_TP_REPR) else None


def _subclasses(kind: type) -> set[type]:
    """The type and all that are derived from it."""
    found, waiting = {kind}, [kind]
    while waiting:
        below: type
        for below in type.__subclasses__(waiting.pop()):
            if below not in found:
                found.add(below)
                waiting.append(below)
    return found
