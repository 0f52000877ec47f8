"""Numbers that a term may return: a float, and whatever becomes one without loss.

Reading order: exact_float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minizero.types import RewardError


def exact_float(value: Any, term: Callable[..., Any]) -> float:
    """The float that a term has returned: a number of Python, a numpy scalar, or a tensor without dimensions.

    Raises RewardError, with the term's file and line, for what is no finite number, or none that a float holds exactly.
    """
    seen = f"{value!r:.80} ({type(value).__name__})"
    number = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    try:
        converted = float(number) if isinstance(number, int | float) else math.nan
    except OverflowError:
        converted = math.inf
    if math.isfinite(converted) and converted == number:
        return converted
    code = getattr(term, "__code__", None)
    where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
    raise RewardError(f"returned {seen}; expected a finite number. Wrap it in float(){where}")
