"""How reliably problems are solved: cover@tau and G-Pass@k beside pass@k, with intervals and a null split.

Reading order: needed; the tables (g_pass_table, cover_table, mean_g_pass_table); what is made of any table: curve,
intervals, difference, null_range; then what is shown (curves_of: by `minizero evaluate`).

A measure is a **table**: table[c, t] is what a problem with c right of n samples counts at place t. The measure of a
model is the mean over its problems, so one bootstrap serves all. pass@k is such a table too (statistics.curve_table).

cover@tau (arXiv 2510.08325) is the share of problems whose success rate p is at least tau. The rate is not known, c / n
is, and no function of c is right for it in the mean: a step at tau is no polynomial in p. What is computed is the
plug-in of the paper, the share with c / n >= tau. It is too high where success rates lie below tau but near it, and
too low where they lie above. Its mean is exactly G-Pass@n_tau, P(Binomial(n, p) >= tau n): so it compares models at the
same n, never an evaluation of 8 samples with one of 64, and half of the samples (g_pass_table of n // 2, unbiased for
that) beside all of them shows how much n still matters.
"""
# P problems, n samples of each, T places of a table, R resamples

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minizero.statistics import Floats, Interval, curve_table, paired, unseen_bound, whole_counts
from minizero.types import EvaluationError

TAUS = (0.25, 0.5, 0.75, 1.0)  # of arXiv 2412.13147's tables; its 0.0 is pass@k


def needed(tau: float, k: int) -> int:
    """How many of k samples must be right for a success rate of at least tau: ceil(tau k), at least 1.

    tau in (0, 1]. A product that binary fractions put just above a whole number is that number: 0.55 x 100 -> 55.
    """
    if not 0 < tau <= 1:
        raise EvaluationError(f"tau = {tau}: a success rate that is asked for lies above 0 and is at most 1")
    return max(1, math.ceil(tau * k - 1e-9))


def tau_name(tau: float) -> str:
    """`0.5`, `1`: how tau is written."""
    return f"{tau:g}"


# -- tables: what a problem with c right of n counts --


def g_pass_at_k(n: int, c: int, k: int, tau: float) -> float:
    """Unbiased probability that at least tau k of k samples are right, when c of n were.

    sum_{j >= ceil(tau k)} C(c, j) C(n - c, k - j) / C(n, k): k drawn without replacement (arXiv 2412.13147). Up to
    tau = 1 / k it is pass@k, at tau = 1 all k must be right. In [0, 1].
    Example: n 4, c 2, k 2: tau 0.5 -> 5/6, tau 1 -> C(2, 2) / C(4, 2) = 1/6.
    """
    if not 0 <= c <= n:
        raise EvaluationError(f"{c} right of {n} samples: expected 0 to {n}")
    _check_k(k, n)
    ways = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(needed(tau, k), k + 1))
    return ways / math.comb(n, k)


def g_pass_table(n: int, k: int) -> Floats:
    """table[c, j - 1] = probability that at least j of k samples are right, when c of n were; shape [n + 1, k].

    G-Pass@k_tau is column needed(tau, k) - 1. Samples are drawn one after the other: with i drawn and j of them right
    the next is right with probability (c - j) / (n - i). All terms are positive, so nothing cancels or overflows.
    """
    _check_k(k, n)
    c = np.arange(n + 1)[:, None]
    exactly = np.zeros((n + 1, k + 1))  # by number of right ones among those drawn
    exactly[:, 0] = 1
    j = np.arange(k + 1)
    for i in range(k):
        right = np.clip((c - j) / (n - i), 0, 1) * exactly
        wrong = np.clip((n - c - (i - j)) / (n - i), 0, 1) * exactly
        exactly = wrong
        exactly[:, 1:] += right[:, :-1]
    at_least = np.cumsum(exactly[:, :0:-1], axis=1)[:, ::-1]
    return np.clip(at_least, 0, 1)


def mean_g_pass_table(n: int, k: int) -> Floats:
    """mG-Pass@k, one column: 2/k sum_{i = ceil(k / 2) + 1 .. k} G-Pass@k_{i / k}; shape [n + 1, 1]. k at least 2.

    The area under G-Pass@k over tau from 0.5 to 1, doubled (arXiv 2412.13147).
    Example: k 2 -> the probability that both are right.
    """
    _check_k(k, n)
    if k < 2:
        raise EvaluationError("mG-Pass@1 is empty: its sum over tau from 0.5 to 1 needs k of at least 2")
    return 2 / k * g_pass_table(n, k)[:, math.ceil(k / 2) :].sum(axis=1, keepdims=True)


def cover_table(n: int) -> Floats:
    """table[c, j - 1] = 1 where c >= j: cover@tau for tau in ((j - 1) / n, j / n]; shape [n + 1, n].

    The whole curve: between two such places c / n >= tau cannot change.
    """
    return (np.arange(n + 1)[:, None] >= np.arange(1, n + 1)).astype(np.float64)


# -- measures: means over problems --


def curve(correct: ArrayLike, table: Floats) -> Floats:
    """The measure at each place, a mean over problems; shape [T].

    Example: c = 0, 1, 4 of n = 4 with cover_table -> [2/3, 1/3, 1/3, 1/3].
    """
    return np.asarray(table[whole_counts(correct, len(table) - 1)].mean(axis=0), dtype=np.float64)


def intervals(
    correct: ArrayLike, table: Floats, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 10_000
) -> list[Interval]:
    """The measure at each place with a bootstrap interval over problems, each with the samples it has.

    Where no problem counts, or all of them do, a bootstrap would claim certainty; there the end is unseen_bound(P).
    """
    c = whole_counts(correct, len(table) - 1)
    levels, times = np.unique(c, return_counts=True)
    found = _bootstrap(table[levels], times, rng, level, resamples)
    if not _is_share(table):
        return found
    unseen = unseen_bound(len(c), level)
    return [
        Interval(i.value, 1 - unseen, 1.0) if i.value == 1 else Interval(i.value, 0.0, unseen) if i.value == 0 else i
        for i in found
    ]


def difference(
    base: ArrayLike,
    trained: ArrayLike,
    table: Floats,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
) -> list[Interval]:
    """The measure of trained minus base at each place; paired: each resample takes the same problems for both.

    Of a share on which no problem differs the ends are unseen_bound(P) on either side.
    """
    n = len(table) - 1
    a, b = paired(whole_counts(base, n), whole_counts(trained, n))
    cells, times = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    effects = table[cells[1]] - table[cells[0]]
    found = _bootstrap(effects, times, rng, level, resamples)
    if not _is_share(table):
        return found
    unseen, differs = unseen_bound(len(a), level), (effects != 0).any(axis=0)
    return [i if moves else Interval(0.0, -unseen, unseen) for i, moves in zip(found, differs.tolist(), strict=True)]


def null_range(
    correct: ArrayLike, n: int, half: Floats, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 10_000
) -> list[Interval]:
    """One model against itself: how far the measure of two random halves of its n samples differs by chance alone.

    half: the table for n // 2 samples. Each split deals the samples of every problem anew; an odd n leaves one out. The
    value is 0, the mean of all splits; the ends hold `level` of them, alike on both sides. A difference between models,
    measured on n // 2 samples of each, that lies inside has been seen without any training.
    """
    m = n // 2
    if m < 1 or len(half) != m + 1:
        raise EvaluationError(
            f"a null split of {n} samples needs a table for {m} (at least 1), not for {len(half) - 1}"
        )
    c = whole_counts(correct, n)
    levels, times = np.unique(c, return_counts=True)
    who = np.repeat(levels, times)
    draws = np.empty((resamples, half.shape[1]))
    for r in range(resamples):
        one = rng.hypergeometric(who, n - who, m)
        other = rng.hypergeometric(who - one, n - who - (m - one), m) if n > 2 * m else who - one
        share = (np.bincount(one, minlength=m + 1) - np.bincount(other, minlength=m + 1)) / len(who)
        draws[r] = share @ half
    reach = np.quantile(np.abs(draws), level, axis=0)
    return [Interval(0.0, -float(end), float(end)) for end in reach]


def _bootstrap(
    rows: Floats, times: NDArray[np.int64], rng: np.random.Generator, level: float, resamples: int
) -> list[Interval]:
    """Means over problems of which times[i] count rows[i]; resampling problems is drawing how often each row comes."""
    p = int(times.sum())
    value = times @ rows / p
    size = max(1, 4_000_000 // max(rows.shape))  # resamples at once: some ten MB
    parts = [min(size, resamples - done) for done in range(0, resamples, size)]
    draws = np.concatenate([rng.multinomial(p, times / p, size=part) @ rows / p for part in parts])
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return [Interval(float(v), float(lo), float(hi)) for v, lo, hi in zip(value, low, high, strict=True)]


# -- what is shown --


def chosen_ks(n: int) -> tuple[int, ...]:
    """The k at which G-Pass@k is shown: powers of two up to half of n, beyond which it rests on about one draw."""
    return tuple(2**i for i in range(1, n.bit_length()) if 2 * 2**i <= n) or ((n,) if n > 1 else ())


def g_pass_tables(n: int) -> Mapping[int, tuple[tuple[str, ...], Floats]]:
    """By k: the names of the columns (each tau of TAUS, then "mean"), and their table [n + 1, 5]."""
    names = (*map(tau_name, TAUS), "mean")
    tables = {}
    for k in chosen_ks(n):
        whole = g_pass_table(n, k)
        columns = [whole[:, needed(tau, k) - 1 : needed(tau, k)] for tau in TAUS]
        tables[k] = (names, np.concatenate([*columns, mean_g_pass_table(n, k)], axis=1))
    return tables


def g_pass_by_name(n: int, measure: Callable[[Floats], list[Interval]]) -> dict[str, dict[str, Interval]]:
    """G-Pass@k_tau by k and tau (and "mean"), as `measure` makes it of each table."""
    tables = g_pass_tables(n).items()
    return {str(k): dict(zip(names, measure(table), strict=True)) for k, (names, table) in tables}


def curves_of(correct: Sequence[int], n: int) -> dict[str, float]:
    """A level in a few numbers, as results.json holds them: pass@k, cover@tau and G-Pass@k_tau; {} without samples.

    Names: `pass@8`, `cover@0.5`, `g-pass@8_0.5`, `mg-pass@8`.
    """
    if n < 1 or not correct:
        return {}
    passed, covered = curve(correct, curve_table(n)), curve(correct, cover_table(n))
    found = {f"pass@{k}": float(passed[k - 1]) for k in (2**i for i in range(n.bit_length())) if k <= n}
    found |= {f"cover@{tau_name(tau)}": float(covered[needed(tau, n) - 1]) for tau in TAUS}
    for k, (names, table) in g_pass_tables(n).items():
        values = curve(correct, table).tolist()
        words = [f"mg-pass@{k}" if name == "mean" else f"g-pass@{k}_{name}" for name in names]
        found |= dict(zip(words, values, strict=True))
    return found


# -- checks --


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise EvaluationError(f"G-Pass@{k} of {n} samples: k goes from 1 to {n}. Draw at least {k} samples a problem")


def _is_share(table: Floats) -> bool:
    return bool(np.isin(table, (0, 1)).all())
