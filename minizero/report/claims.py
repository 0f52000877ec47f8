"""What an interval allows to say: the one place where numbers become "better", "worse" or "not known".

Every page and sentence takes its claim from here and shows the interval beside it, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from minizero.formatting import percent, points
from minizero.statistics import Interval

Direction = Literal["better", "worse", "unclear"]
FEW = 20  # tasks or problems below which no interval is believed: the bootstrap of few is too narrow
ROUNDING = 1e-9  # ends nearer to zero than this are zero: sums of fractions are not exact


def direction(difference: Interval | None, tasks: int | None = None) -> Direction:
    """Whether a difference lies above zero or below; unclear where it includes zero or `tasks` are too few."""
    if difference is None or (tasks is not None and tasks < FEW):
        return "unclear"
    return "better" if difference.low > ROUNDING else "worse" if difference.high < -ROUNDING else "unclear"


def place(difference: Interval) -> str:
    """Where the interval lies, in words, however many tasks it comes from."""
    return {"better": "lies above zero", "worse": "lies below zero", "unclear": "includes zero"}[direction(difference)]


def in_points(difference: Interval | None) -> str:
    """A difference of fractions in points with its interval: `+2.1 (−0.3 to +4.5)`; `–` for none."""
    return "–" if difference is None else f"{points(100 * difference.value)} ({ends(difference)})"


def with_interval(difference: Interval) -> str:
    """The same in a sentence: `+2.1 points, 95 % −0.3 to +4.5`."""
    return f"{points(100 * difference.value)} points, 95 % {ends(difference)}"


def ends(difference: Interval) -> str:
    """The interval in points: `−0.3 to +4.5`."""
    return f"{points(100 * difference.low)} to {points(100 * difference.high)}"


def reach(differences: Iterable[Interval]) -> float:
    """The end of an axis around zero that holds all of these."""
    return 1.05 * max([0.01, *(abs(end) for gap in differences for end in (gap.low, gap.high))])


def as_share(share: Interval) -> str:
    """A share with its interval: `45.1 % (40.2 to 50.3)`."""
    return f"{percent(share.value)} ({100 * share.low:.1f} to {100 * share.high:.1f})"
