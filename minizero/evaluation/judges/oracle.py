"""When a result is right: EvalPlus's rules, restated on values that came back as data.

Reading order: first_wrong, then is_right. Sources: evalplus/eval/__init__.py (unsafe_execute) and _special_oracle.py,
at its development head. Departs from it: nan equals nan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sandbox.values import equal

RELATIVE = 1e-7  # of numpy.testing.assert_allclose
FLOAT_TOLERANCE = 1e-6  # for floats in tasks that name no tolerance


def first_wrong(
    oracle: str, inputs: Sequence[Any], results: Sequence[Any], expected: Sequence[Any], atol: float
) -> int | None:
    """The place of the first result that is not right; None when all are. As in EvalPlus, the first float makes later
    tests tolerant too."""
    for place, (arguments, out, right) in enumerate(zip(inputs, results, expected, strict=False)):
        if oracle != "root" and atol == 0 and _is_floats(right):
            atol = FLOAT_TOLERANCE
        try:
            if not is_right(oracle, arguments, out, right, atol):
                return place
        except (TypeError, ValueError, OverflowError, ArithmeticError):
            return place  # the result is of a kind that the rule cannot be applied to
    return None if len(results) == len(expected) else min(len(results), len(expected))


def is_right(oracle: str, arguments: Any, out: Any, expected: Any, atol: float) -> bool:
    """Whether one result is right. May raise TypeError, ValueError or ArithmeticError for results of a wrong kind."""
    if oracle == "root":
        return abs(sum(c * math.pow(out, i) for i, c in enumerate(arguments[0]))) <= atol
    exact = set(out) == set(expected) if oracle == "set" else equal(out, expected)
    if oracle == "any":
        exact = True
    elif oracle == "or-zero":
        exact = exact or out == 0
    elif oracle == "pyramid":  # the height read as the distance from base to apex
        base, height = arguments
        exact = exact or abs(out - round(base * base + 2 * base * math.hypot(base / 2, height))) <= atol
    elif oracle == "padded-digits":  # the shorter number filled up with zeros
        exact = exact or out == _digit_distance(*map(str, arguments))
    if exact or atol == 0:
        return exact
    if type(out) is not type(expected) or (isinstance(expected, list | tuple) and len(out) != len(expected)):
        return False
    return bool(np.allclose(out, expected, rtol=RELATIVE, atol=atol))


def _digit_distance(one: str, other: str) -> int:
    width = max(len(one), len(other))
    return sum(abs(int(a) - int(b)) for a, b in zip(one.zfill(width), other.zfill(width), strict=True))


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(member, float) for member in value)
    return isinstance(value, float)
