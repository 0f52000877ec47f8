"""Statistics of repeated sampling: pass@k with intervals, paired comparisons of two models, coverage. Pure functions.

Reading order: pass_at_k and its curve; intervals (resampling problems, then samples); Wilson; paired differences and
McNemar; the histogram of accuracies; coverage two by two with its null split.
Everything is computed from counts: problem i was solved c[i] times in n samples.
"""
# P problems, n samples of each, R resamples

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minizero.types import EvaluationError

Floats = NDArray[np.float64]
Resample = Literal["problems_and_samples", "problems", "samples"]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float


# -- pass@k --


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that at least one of k samples is right, when c of n were: 1 - C(n - c, k) / C(n, k).

    Computed as 1 - prod_{i = n - c + 1..n} (1 - k / i), which neither overflows nor cancels (arXiv 2107.03374, Fig. 3).
    For k near n it has the variance of a single draw: read it up to half of n (is_steady). In [0, 1].
    Example: n 4, c 1, k 2 -> 1 - 3/6 = 0.5.
    """
    if not 0 <= c <= n:
        raise EvaluationError(f"{c} right of {n} samples: expected 0 to {n}")
    if not 1 <= k <= n:
        raise EvaluationError(f"pass@{k} of {n} samples: k goes from 1 to {n}. Draw at least {k} samples a problem")
    if n - c < k:
        return 1.0
    return 1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))


def is_steady(k: int, n: int) -> bool:
    """Whether pass@k rests on more than about one draw: k <= n / 2."""
    return 2 * k <= n


def curve_table(n: int) -> Floats:
    """table[c, k - 1] = pass@k of c right in n, for all c from 0 to n and k from 1 to n; shape [n + 1, n].

    By the recurrence fail(k + 1) = fail(k) (n - c - k) / (n - k), whose factors all lie in [0, 1].
    """
    c, k = np.arange(n + 1)[:, None], np.arange(n)[None, :]
    factors = np.clip((n - c - k) / (n - k), 0, 1)
    return np.asarray(1 - np.cumprod(factors, axis=1), dtype=np.float64)


def pass_at_k_curve(correct: ArrayLike, n: int) -> Floats:
    """Mean pass@k over problems for every k from 1 to n; shape [n], never falling with k.

    Example: c = 0, 1 of n = 2 -> [0.25, 0.5].
    """
    return _histogram_of_counts(whole_counts(correct, n), n) @ curve_table(n)


def pass_at_k_intervals(
    correct: ArrayLike,
    n: int,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    resample: Resample = "problems_and_samples",
) -> list[Interval]:
    """pass@k with a bootstrap interval for every k from 1 to n.

    Each resample draws P problems with replacement, then c* ~ Binomial(n, c / n) for each: other problems of this
    kind, and other samples. `samples` keeps the problems (this benchmark, sampled again), `problems` keeps the samples.
    Both together are somewhat wide, since the observed spread of problems holds sampling noise already.
    Percentiles of the resamples, shifted to centre on the estimate: samples drawn with replacement hold fewer different
    ones, which alone would lower pass@k for k > 1.
    """
    c = whole_counts(correct, n)
    draws = _resampled_curves([c], n, rng, resamples, resample)[0]
    return _percentiles(pass_at_k_curve(c, n), draws, level, (0.0, 1.0))


def pass_at_k_difference(
    base: ArrayLike,
    trained: ArrayLike,
    n: int,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    resample: Resample = "problems_and_samples",
) -> list[Interval]:
    """pass@k of trained minus base for every k; paired: each resample takes the same problems for both models."""
    pair = paired(whole_counts(base, n), whole_counts(trained, n))
    draws = _resampled_curves(pair, n, rng, resamples, resample)
    value = pass_at_k_curve(pair[1], n) - pass_at_k_curve(pair[0], n)
    return _percentiles(value, draws[1] - draws[0], level, (-1.0, 1.0))


def _resampled_curves(
    counts: list[NDArray[np.int64]], n: int, rng: np.random.Generator, resamples: int, resample: Resample
) -> list[Floats]:
    """[R, n] for each model, all with the same problems in each resample."""
    table = curve_table(n)
    curves = [np.empty((resamples, n)) for _ in counts]
    p = len(counts[0])
    for r in range(resamples):
        chosen = np.arange(p) if resample == "samples" else rng.integers(p, size=p)
        for model, c in enumerate(counts):
            drawn = c[chosen] if resample == "problems" else rng.binomial(n, c[chosen] / n)
            curves[model][r] = _histogram_of_counts(drawn, n) @ table
    return curves


def _percentiles(value: Floats, draws: Floats, level: float, bounds: tuple[float, float]) -> list[Interval]:
    centred = draws - draws.mean(axis=0) + value
    tail = (1 - level) / 2
    low, high = np.clip(np.quantile(centred, [tail, 1 - tail], axis=0), *bounds)
    return [Interval(float(v), float(lo), float(hi)) for v, lo, hi in zip(value, low, high, strict=True)]


# -- proportions and differences --


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a proportion: the p with |successes / n - p| <= z sqrt(p (1 - p) / n). (Wilson 1927.)

    Example: 137 of 164 -> [0.771, 0.884].
    """
    if not 0 <= successes <= n or n == 0:
        raise EvaluationError(f"{successes} of {n}: a proportion needs at least 1 trial and at most {n} successes")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At 0 and 1 the end is exact, where rounding would leave 1e-17.
    return Interval(share, centre - half if successes else 0.0, centre + half if successes < n else 1.0)


def unseen_bound(n: int, level: float = 0.95) -> float:
    """The largest solve rate that 0 of n still allows: 1 - (1 - level)^(1/n), about 3 / n. n = 64 -> 0.0457."""
    return float(1 - (1 - level) ** (1 / n))


def paired_bootstrap(
    base: ArrayLike, trained: ArrayLike, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 10_000
) -> Interval:
    """Mean of trained - base over problems, with an interval that resamples problems, both models' values together.

    base[P] and trained[P]: one number per problem, such as a solve rate or 0 and 1.
    """
    a, b = np.asarray(base, dtype=np.float64), np.asarray(trained, dtype=np.float64)
    paired(a, b)
    differences = b - a
    if not np.isfinite(differences).all():
        raise EvaluationError("a solve rate is not finite; every problem needs a number from both models")
    rows = max(1, 1_000_000 // len(differences))  # resamples drawn at once: 8 MB, and the draws of one after the other
    sizes = [min(rows, resamples - done) for done in range(0, resamples, rows)]
    means = np.concatenate([rng.choice(differences, size=(n, len(differences))).mean(axis=1) for n in sizes])
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(differences.mean()), float(low), float(high))


@dataclass(frozen=True, slots=True)
class McNemar:
    """Problems that only one of two models solved, and the probability of a split at least as uneven by chance."""

    only_base: int
    only_trained: int
    p_value: float


def mcnemar(base: ArrayLike, trained: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test on one verdict per problem (greedy): min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))).

    Example: 12 only trained, 3 only base -> 2 x (1 + 15 + 105 + 455) / 2^15 = 0.0352. (McNemar 1947.)
    """
    a, b = np.asarray(base, dtype=bool), np.asarray(trained, dtype=bool)
    paired(a, b)
    only_base, only_trained = int((a & ~b).sum()), int((b & ~a).sum())
    total = only_base + only_trained
    below = sum(math.comb(total, i) for i in range(min(only_base, only_trained) + 1))
    return McNemar(only_base, only_trained, min(1.0, 2 * below / 2**total))


# -- where the accuracy lies --

BINS = ("0", *(f"({i / 10:.1f}, {(i + 1) / 10:.1f}]" for i in range(9)), "(0.9, 1)", "1")


def accuracy_histogram(correct: ArrayLike, n: int) -> dict[str, int]:
    """Problems by accuracy c / n: exactly 0, (0, 0.1], ..., (0.8, 0.9], (0.9, 1), exactly 1. In whole numbers, so that
    3 of 30 is in (0, 0.1] whatever 0.1 is in binary."""
    c = whole_counts(correct, n)
    place = np.where(c == n, len(BINS) - 1, -(-10 * c // n))
    return dict(zip(BINS, np.bincount(place, minlength=len(BINS)).tolist(), strict=True))


# -- coverage --


@dataclass(frozen=True, slots=True)
class Coverage:
    """Numbers of problems by who solved them at least once; expected numbers need not be whole."""

    both: float
    only_base: float
    only_trained: float
    neither: float


def coverage(base: ArrayLike, trained: ArrayLike, n: int) -> Coverage:
    """Who solved what with all n samples each. Sensitive to n: see coverage_at and null_split for what chance gives."""
    a, b = paired(whole_counts(base, n) > 0, whole_counts(trained, n) > 0)
    return Coverage(*(float(cell.sum()) for cell in (a & b, a & ~b, b & ~a, ~a & ~b)))


def coverage_at(base: ArrayLike, trained: ArrayLike, n: int, m: int) -> Coverage:
    """Expected coverage with m of the n samples of each model: products of pass@m and its complement, summed."""
    pair = paired(whole_counts(base, n), whole_counts(trained, n))
    if not 1 <= m <= n:
        raise EvaluationError(f"coverage at {m} of {n} samples: expected 1 to {n}")
    a, b = (curve_table(n)[c, m - 1] for c in pair)
    return Coverage(*(float(cell.sum()) for cell in (a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b))))


def null_split(base: ArrayLike, n: int) -> Coverage:
    """Expected coverage of one model against itself: its n samples split at random into two halves of m = n // 2.

    What chance alone puts into `only`; compare with coverage_at(base, trained, n, n // 2). Exact: with n = 2m and c
    right, all of them fall into one given half with probability C(m, c) / C(n, c). An odd n leaves one sample out.
    Example: n = 2, c = 1 -> the right one is in the first half or in the second: only_base 0.5, only_trained 0.5.
    """
    m = n // 2
    if m < 1:
        raise EvaluationError(f"a null split needs at least 2 samples a problem, not {n}")
    cells = np.zeros(4)
    for c in whole_counts(base, n):
        # With an odd n the sample left out is right with probability c / n.
        left_out = [(int(c), 1.0)] if n == 2 * m else [(int(c) - 1, c / n), (int(c), 1 - c / n)]
        for kept, chance in left_out:
            if chance:
                cells += chance * _split_cells(kept, m)
    return Coverage(*cells.tolist())


def _split_cells(c: int, m: int) -> Floats:
    if c == 0:
        return np.array([0.0, 0.0, 0.0, 1.0])
    one = math.comb(m, c) / math.comb(2 * m, c)
    return np.array([1 - 2 * one, one, one, 0.0])


def coverage_intervals(
    base: ArrayLike,
    trained: ArrayLike,
    n: int,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
) -> dict[str, Interval]:
    """Coverage cells as shares of the problems, with intervals that resample problems, both models together.

    A share of 0 keeps the interval [0, unseen_bound(P)]: a bootstrap of nothing would claim certainty.
    """
    a, b = paired(whole_counts(base, n) > 0, whole_counts(trained, n) > 0)
    p = len(a)
    cells = {"both": a & b, "only_base": a & ~b, "only_trained": b & ~a, "neither": ~a & ~b}
    draws = rng.multinomial(p, [cell.mean() for cell in cells.values()], size=resamples) / p
    tail = (1 - level) / 2
    intervals = {}
    for i, (name, cell) in enumerate(cells.items()):
        low, high = np.quantile(draws[:, i], [tail, 1 - tail])
        if not cell.any():
            high = unseen_bound(p, level)
        if cell.all():
            low = 1 - unseen_bound(p, level)
        intervals[name] = Interval(float(cell.mean()), float(low), float(high))
    return intervals


# -- checks --


def whole_counts(correct: ArrayLike, n: int) -> NDArray[np.int64]:
    """c[P], right answers of n to each of P problems. Raises EvaluationError unless they are whole and in 0..n."""
    c = np.asarray(correct)
    if n < 1 or c.ndim != 1 or not len(c):
        raise EvaluationError(
            f"{c.shape} counts of {n} samples: expected one count per problem and at least one of each"
        )
    if not np.equal(np.mod(c, 1), 0).all() or c.min() < 0 or c.max() > n:
        raise EvaluationError(
            f"counts from {c.min()} to {c.max()} of {n} samples: expected whole numbers from 0 to {n}"
        )
    return c.astype(np.int64)


def paired(a: NDArray[_T], b: NDArray[_T]) -> list[NDArray[_T]]:
    """Both. Raises EvaluationError unless they are as long as each other, and not empty."""
    if len(a) != len(b) or not len(a):
        raise EvaluationError(
            f"{len(a)} problems of one model and {len(b)} of the other: a paired comparison needs the same"
        )
    return [a, b]


def _histogram_of_counts(c: NDArray[np.int64], n: int) -> Floats:
    """Share of problems with each count 0 to n; shape [n + 1]."""
    return np.bincount(c, minlength=n + 1) / len(c)
