"""The operations of the tiny world: every expression of `x` that may stand on a line of a program.

Reading order: Kind, Operation, FAMILIES (the table), then `operations` (the table with its constants filled in).
The expressions are written as `ast.unparse` writes them, so a program's text is already its normal form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

Kind = Literal["int", "list", "str"]
Value = int | list[int] | str

LETTERS = "abc"

_ITEMS = (1, 2, 3, 4, 5)
_FEW = (1, 2, 3)
_SWAPS = (("a", "b"), ("b", "c"), ("c", "a"))


@dataclass(frozen=True, slots=True)
class Operation:
    """One expression of `x`, the kind of value that it takes, and its meaning as a function.

    `hint` is the expression with its constants blanked: what an induction message tells of a program.
    """

    text: str
    hint: str
    takes: Kind
    apply: Callable[[Value], Value]


# A template, the kinds it takes, and the constants that fill its holes (none: the template is the expression).
FAMILIES: tuple[tuple[str, tuple[Kind, ...], Sequence[object]], ...] = (
    ("x[::-1]", ("list", "str"), ()),
    ("x[1:]", ("list", "str"), ()),
    ("x[:-1]", ("list", "str"), ()),
    ("x[:2]", ("list", "str"), ()),
    ("x[::2]", ("list", "str"), ()),
    ("x + x[::-1]", ("list", "str"), ()),
    ("len(x)", ("list", "str"), ()),
    ("x * 2", ("int", "list", "str"), ()),
    ("sorted(x)", ("list",), ()),
    ("x + [{}]", ("list",), _ITEMS),
    ("[{}] + x", ("list",), _ITEMS),
    ("[y + {} for y in x]", ("list",), (1, 2)),
    ("[y * 2 for y in x]", ("list",), ()),
    ("[y for y in x if y > {}]", ("list",), _FEW),
    ("[y for y in x if y % 2 == {}]", ("list",), (0, 1)),
    ("sum(x)", ("list",), ()),
    ("max(x)", ("list",), ()),
    ("min(x)", ("list",), ()),
    ("x[{}]", ("list",), (0, -1)),
    ("x + {}", ("int",), _FEW),
    ("x - {}", ("int",), _FEW),
    ("x % {}", ("int",), (2, 3)),
    ("list(range(x))", ("int",), ()),
    ("[x, x + {}]", ("int",), (1, 2)),
    ("'{}' * x", ("int",), tuple(LETTERS)),
    ("x + '{}'", ("str",), tuple(LETTERS)),
    ("'{}' + x", ("str",), tuple(LETTERS)),
    ("x.upper()", ("str",), ()),
    ("x.replace('{}', '{}')", ("str",), _SWAPS),
    ("''.join(sorted(x))", ("str",), ()),
    ("x.count('{}')", ("str",), ("a", "b")),
    ("x[1:] + x[:1]", ("list", "str"), ()),
    ("x[1:] if len(x) > 2 else x * 2", ("list", "str"), ()),
    ("x[::-1] if x[0] > {} else x + [{}]", ("list",), ((2, 3), (3, 1))),
    ("x + '{}' if '{}' in x else '{}' + x", ("str",), (("a", "b", "c"), ("c", "a", "b"))),
    ("x - {} if x > {} else x + {}", ("int",), ((3, 5, 2), (2, 4, 4))),
    ("x // 2 if x % 2 == 0 else x + {}", ("int",), (1, 3)),
)


@cache
def operations(kind: Kind) -> tuple[tuple[Operation, ...], ...]:
    """The operations that take a value of this kind, one tuple per family (families are drawn, not constants)."""
    return tuple(
        tuple(_operation(_fill(template, constant), _hint(template), kind) for constant in (constants or ((),)))
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


@cache
def same_family(text: str) -> tuple[str, ...]:
    """The operations that differ from this one in nothing but their constants, itself included."""
    families = (family for kind in get_args(Kind) for family in operations(kind))
    return next(tuple(op.text for op in family) for family in families if any(op.text == text for op in family))


def texts() -> tuple[str, ...]:
    """The text of every operation, once each."""
    return tuple(_functions())


def _fill(template: str, constant: object) -> str:
    return template.format(*(constant if isinstance(constant, tuple) else (constant,)))


def _hint(template: str) -> str:
    return template.replace("{}", "_")


def _operation(text: str, hint: str, takes: Kind) -> Operation:
    # The text comes from the table above and from nowhere else: this is our own source, compiled once per expression.
    function: Callable[[Value], Value] = eval(f"lambda x: {text}", {})
    return Operation(text, hint, takes, function)
