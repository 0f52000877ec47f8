"""Student's t with any positive number of degrees of freedom: p-values, critical values, power, what can be detected.

Reading order: two_sided, critical, power, detectable; then the incomplete beta function behind them.
Here because scipy is no dependency. Degrees of freedom need not be whole: sums of variances have fractions of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

MANY = 1e7  # degrees of freedom from which t is the normal distribution to every digit that is shown
_NORMAL = NormalDist()
_GRID = np.linspace(0.0, 1.0, 401)


def two_sided(t: float, freedom: float) -> float:
    """P(|T| >= |t|) = I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2); in [0, 1].

    Example: t 4.303 with 2 degrees of freedom -> 0.05.
    """
    if math.isinf(t):
        return 0.0
    if freedom >= MANY:
        return math.erfc(abs(t) / math.sqrt(2))
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


@lru_cache(maxsize=4096)
def critical(level: float, freedom: float) -> float:
    """The t that |T| exceeds with probability `level`. Example: level 0.05, 2 degrees of freedom -> 4.303."""
    assert 0 < level <= 1, level
    high = 1.0
    while two_sided(high, freedom) > level:
        high *= 2
    low = high / 2 if high > 1 else 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > level else (low, middle)
    return (low + high) / 2


def power(ratio: float, level: float, freedom: float) -> float:
    """The chance that |T| exceeds its critical value when the true effect is `ratio` standard errors.

    T is then noncentral: (Z + ratio) / s with s^2 a chi-squared over its degrees of freedom; the chance given s is
    averaged over s by the trapezoid rule. Example: ratio 0 -> the level itself.
    """
    bound = critical(level, freedom)
    spread = 1 / math.sqrt(2 * min(freedom, MANY))
    low, high = max(1e-9, 1 - 9 * spread), 1 + 12 * spread
    s = low + (high - low) * _GRID
    density = np.exp((freedom - 1) * np.log(s) - freedom * (s * s - 1) / 2)
    density[[0, -1]] /= 2
    chance = np.array([_NORMAL.cdf(ratio - bound * x) + _NORMAL.cdf(-ratio - bound * x) for x in s])
    return float((density * chance).sum() / density.sum())


@lru_cache(maxsize=4096)
def detectable(level: float, freedom: float, chance: float = 0.8) -> float:
    """The effect, in standard errors, that a two-sided test at `level` finds with probability `chance`.

    Example: level 0.05, chance 0.8, many degrees of freedom -> 1.960 + 0.842 = 2.802.
    """
    low, high = 0.0, 2.0
    while power(high, level, freedom) < chance:
        low, high = high, 2 * high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, level, freedom) < chance else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22).

    The fraction converges fast for x below (a + 1) / (a + b + 2); beyond it I_x(a, b) = 1 - I_(1-x)(b, a).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    # Evaluated from the front by the modified Lentz algorithm: `value` is the fraction so far.
    tiny = 1e-300
    value, c, d = 1.0, 1.0, 0.0
    for i in range(500):
        m = i // 2
        if i == 0:
            numerator = 1.0
        elif i % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + numerator * d or tiny)
        c = 1 + numerator / c or tiny
        value *= c * d
        if i and abs(c * d - 1) < 1e-14:
            break
    return front * (value - 1)
