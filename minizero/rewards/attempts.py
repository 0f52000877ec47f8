"""The solve rate from attempts that stop early: what a task is used for keeps its expectation, whatever its difficulty.

A proposal's reward has two ends (no attempt solved it, all did) and is linear in the solve rate between them, and the
buffer asks for the ends alone. One success and one failure exclude both ends, and a linear function is estimated
without bias by fewer attempts. So a few are made first, and the others only where the first ones all agree: 0 of 2
decides nothing, as 1 of 8 is learnability's best case.

Reading order: rate_of (of all attempts, or of some), is_settled (whether the others are needed), rate_of_some (the
estimate), expected_attempts.
"""
# n attempts in all, b of them first, k solved, p the unknown probability that one is, q = 1 - p

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from minizero.rewards import solve_rate
from minizero.types import Verdict


def rate_of(verdicts: Sequence[Verdict], induction: str, first: int, attempts: int) -> float | None:
    """The solve rate of a task by its attempts: their mean where all are made (`first` is 0), else rate_of_some."""
    if not first:
        return solve_rate(verdicts, induction)
    right = solved(verdicts, induction)
    return rate_of_some(sum(right), len(right), first, attempts)


def solved(verdicts: Sequence[Verdict], induction: str) -> list[bool]:
    """Of each attempt: whether it solved the task. `induction` is reward.solve.induction."""
    return [bool(solve_rate([verdict], induction)) for verdict in verdicts]


def is_settled(solved: Sequence[bool]) -> bool:
    """Whether the first attempts exclude both ends: one solved the task and one did not.

    >>> is_settled([True, False, False, False]), is_settled([False] * 4)
    (True, False)
    """
    return any(solved) and not all(solved)


def rate_of_some(solved: int, made: int, first: int, attempts: int) -> float:
    """An unbiased solve rate where `made` is `first` (they differed) or `attempts`; in [0, 1], and 0 or 1 exactly when
    none or all of all attempts solved it, which happens as often as if all were always made.

    In the mean over what may be sampled it is p, and without the two ends p - p^n, for every p. The start is the mean
    of the first attempts, k / b, averaged over all orders that end in the same count:
        k of n     C(n - b, k - b) / w,  w = C(n - b, k) + C(n - b, k - b) orders
    It would be 0 or 1 between the ends too (0 of 4, then 2 of 4). Moving the rate of 1 of b down by d and of b - 1 of b
    up by d, d = (n - b) / 2bn, and paying it back where it would have gone on, keeps the mean and mends that:
        k of n     (C(n - b, k - b) + b d (C(n - b, k - 1) - C(n - b, k - b + 1))) / w
    d makes 1 of n a rate of 1 / 2n. For 4 of 8 its variance is then nearly the least of any d, over a uniform p: 0.038;
    8 attempts have 0.021, and 4 have 0.042 and other ends.

    Unbiased estimates for sequential plans: Girshick, Mosteller, Savage 1946 (doi 10.1214/aoms/1177731018); this one is
    ours. Example: 4 of 8, 1 of the first -> 3/16; none of the first and 2 of all -> 1/6.
    """
    rest = attempts - first
    step = rest / (2 * first * attempts)
    if made < attempts:
        return solved / first - step * (solved == 1) + step * (solved == first - 1)
    if solved in (0, attempts):
        return float(solved == attempts)
    orders = comb(rest, solved) + _comb(rest, solved - first)
    paid_back = _comb(rest, solved - 1) - _comb(rest, solved - first + 1)
    return (_comb(rest, solved - first) + first * step * paid_back) / orders


def expected_attempts(first: int, attempts: int) -> float:
    """Attempts at a task in the mean where all solve rates are equally likely: b + 2 (n - b) / (b + 1); without a first
    part all. Uniform solve rates are an assumption.

    >>> expected_attempts(4, 8)
    5.6
    """
    return first + 2 * (attempts - first) / (first + 1) if first else float(attempts)


def _comb(n: int, k: int) -> int:
    return comb(n, k) if k >= 0 else 0
