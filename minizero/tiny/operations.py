"""The operations of the tiny world: every expression of `x` that may stand on a line of a program.

Reading order: Kind, Operation, FAMILIES (the table), then `operations` (the table with its constants filled in).
The expressions are written as `ast.unparse` writes them, so a program's text is already its normal form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["int", "list", "str"]
Value = int | list[int] | str

LETTERS = "abcd"

_SMALL = (1, 2, 3, 4, 5)
_FEW = ("a", "b", "c")
_SWAPS = tuple((a, b) for a in _FEW for b in _FEW if a != b)


@dataclass(frozen=True, slots=True)
class Operation:
    """One expression of `x`, the kind of value that it takes, and its meaning as a function."""

    text: str
    takes: Kind
    apply: Callable[[Value], Value]


# A template, the kinds it takes, and the constants that fill its holes (none: the template is the expression).
FAMILIES: tuple[tuple[str, tuple[Kind, ...], Sequence[object]], ...] = (
    ("x[::-1]", ("list", "str"), ()),
    ("x[1:]", ("list", "str"), ()),
    ("x[:-1]", ("list", "str"), ()),
    ("x[:{}]", ("list", "str"), (1, 2, 3)),
    ("x[::2]", ("list", "str"), ()),
    ("x + x[::-1]", ("list", "str"), ()),
    ("len(x)", ("list", "str"), ()),
    ("x * {}", ("int", "list", "str"), (2, 3)),
    ("sorted(x)", ("list",), ()),
    ("x + [{}]", ("list",), _SMALL),
    ("[{}] + x", ("list",), _SMALL),
    ("[y + {} for y in x]", ("list",), (1, 2, 3)),
    ("[y * {} for y in x]", ("list",), (2, 3)),
    ("[y for y in x if y > {}]", ("list",), (2, 3, 4, 5)),
    ("[y for y in x if y % 2 == {}]", ("list",), (0, 1)),
    ("sum(x)", ("list",), ()),
    ("max(x)", ("list",), ()),
    ("min(x)", ("list",), ()),
    ("x[{}]", ("list",), (0, 1, -1)),
    ("x.count({})", ("list",), (1, 2, 3)),
    ("x + {}", ("int",), _SMALL),
    ("x - {}", ("int",), _SMALL),
    ("x % {}", ("int",), (2, 3, 4)),
    ("x // {}", ("int",), (2, 3)),
    ("list(range(x))", ("int",), ()),
    ("[x, x + {}]", ("int",), (1, 2)),
    ("'{}' * x", ("int",), _FEW),
    ("x + '{}'", ("str",), tuple(LETTERS)),
    ("'{}' + x", ("str",), tuple(LETTERS)),
    ("x.upper()", ("str",), ()),
    ("x.replace('{}', '{}')", ("str",), _SWAPS),
    ("''.join(sorted(x))", ("str",), ()),
    ("x.count('{}')", ("str",), _FEW),
    ("x.find('{}')", ("str",), _FEW),
)


@cache
def operations(kind: Kind) -> tuple[tuple[Operation, ...], ...]:
    """The operations that take a value of this kind, one tuple per family (families are drawn, not constants)."""
    return tuple(
        tuple(_operation(_fill(template, constant), kind) for constant in (constants or ((),)))
        for template, kinds, constants in FAMILIES
        if kind in kinds
    )


@cache
def meaning(text: str) -> Callable[[Value], Value] | None:
    """The function that an expression stands for, None when it is not in the table. Model text is only looked up."""
    return _functions().get(text)


@cache
def _functions() -> dict[str, Callable[[Value], Value]]:
    kinds: tuple[Kind, ...] = ("int", "list", "str")
    return {op.text: op.apply for kind in kinds for family in operations(kind) for op in family}


def _fill(template: str, constant: object) -> str:
    return template.format(*(constant if isinstance(constant, tuple) else (constant,)))


def _operation(text: str, takes: Kind) -> Operation:
    # The text comes from the table above and from nowhere else: this is our own source, compiled once per expression.
    function: Callable[[Value], Value] = eval(f"lambda x: {text}", {})
    return Operation(text, takes, function)
