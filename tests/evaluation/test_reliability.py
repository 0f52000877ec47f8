"""cover@tau and G-Pass@k against enumerations of all samples, numbers worked by hand, and simulations."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.evaluation import evaluate, reliability
from minizero.evaluation.results import JudgedSample
from minizero.statistics import Interval, curve_table, pass_at_k, unseen_bound
from minizero.types import EvaluationError


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def chance_of_at_least(n: int, p: float, needed: int) -> float:
    """P(Binomial(n, p) >= needed), term by term."""
    return sum(comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(needed, n + 1))


# -- how many of k have to be right --


@pytest.mark.parametrize(
    ("tau", "k", "right"),
    [(0.5, 4, 2), (0.5, 5, 3), (1.0, 8, 8), (0.01, 8, 1), (0.55, 100, 55), (0.7, 10, 7), (0.07, 100, 7), (0.51, 4, 3)],
)
def test_a_rate_of_tau_needs_so_many_of_k(tau: float, k: int, right: int) -> None:
    assert reliability.needed(tau, k) == right  # 0.55 x 100 and 0.07 x 100 lie above 55 and 7 in binary


@pytest.mark.parametrize("tau", [0.0, -0.5, 1.01, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(tau: float) -> None:
    with pytest.raises(EvaluationError, match="lies above 0 and is at most 1"):
        reliability.needed(tau, 4)


# -- G-Pass@k --


def test_g_pass_by_hand() -> None:
    # 2 right of 4; the six pairs: one has both, four have one, one has none
    assert reliability.g_pass_at_k(4, 2, 2, 0.5) == 5 / 6
    assert reliability.g_pass_at_k(4, 2, 2, 1.0) == 1 / 6
    # 3 right of 5, three drawn, two thirds asked: (C(3,2) C(2,1) + C(3,3)) / C(5,3) = 7/10
    assert reliability.g_pass_at_k(5, 3, 3, 0.6) == 0.7
    assert reliability.g_pass_table(5, 3)[3].tolist() == pytest.approx([1.0, 0.7, 0.1])


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_g_pass_is_the_share_of_all_draws_of_k_with_enough_right_ones(n: int) -> None:
    for c, k in product(range(n + 1), range(1, n + 1)):
        draws = [sum(chosen) for chosen in combinations([True] * c + [False] * (n - c), k)]
        for tau in (0.2, 0.5, 0.75, 1.0):
            share = sum(right / k >= tau for right in draws) / len(draws)
            assert reliability.g_pass_at_k(n, c, k, tau) == pytest.approx(share, abs=1e-12)
            column = reliability.needed(tau, k) - 1
            assert reliability.g_pass_table(n, k)[c, column] == pytest.approx(share, abs=1e-12)


@given(st.integers(1, 120).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_the_first_column_is_pass_at_k_and_none_rises(case: tuple[int, int, int]) -> None:
    n, c, k = case
    row = reliability.g_pass_table(n, k)[c]
    assert row[0] == pytest.approx(pass_at_k(n, c, k), abs=1e-12)
    assert (np.diff(row) <= 1e-12).all()


def test_a_table_of_many_samples_neither_overflows_nor_drifts() -> None:
    table = reliability.g_pass_table(512, 256)
    for c, j in ((3, 1), (256, 128), (300, 160), (511, 256)):
        ways = sum(comb(c, i) * comb(512 - c, 256 - i) for i in range(j, 257))
        assert table[c, j - 1] == pytest.approx(float(Fraction(ways, comb(512, 256))), abs=1e-12)


def test_the_mean_over_tau_by_hand() -> None:
    # k = 4: 2/4 (G at 3/4 + G at 4/4); of 4 samples with 3 right these are 1 and 0
    assert reliability.mean_g_pass_table(4, 4)[:, 0].tolist() == [0, 0, 0, 0.5, 1]
    assert reliability.mean_g_pass_table(4, 2)[2, 0] == pytest.approx(1 / 6)


# -- cover@tau --


def test_cover_by_hand() -> None:
    assert reliability.curve([0, 1, 4], reliability.cover_table(4)).tolist() == pytest.approx(
        [2 / 3, 1 / 3, 1 / 3, 1 / 3]
    )


def test_cover_is_g_pass_of_all_samples_and_ends_in_pass_at_n() -> None:
    assert (reliability.cover_table(9) == reliability.g_pass_table(9, 9).round(12)).all()
    assert (reliability.cover_table(9)[:, 0] == curve_table(9)[:, 8]).all()


@given(
    st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=20)))
)
def test_the_area_under_cover_is_the_accuracy(case: tuple[int, list[int]]) -> None:
    """Pass@1 as the integral of cover over tau (arXiv 2510.08325: weights Beta(1, k), flat for k = 1)."""
    n, correct = case
    assert reliability.curve(correct, reliability.cover_table(n)).mean() == pytest.approx(np.mean(correct) / n)


@pytest.mark.parametrize(
    ("p", "truth", "means"), [(0.4, 0.0, (0.64, 0.4059, 0.0671)), (0.5, 1.0, (0.75, 0.6367, 0.5497))]
)
def test_cover_is_biased_and_its_mean_falls_towards_the_truth_slowly(
    p: float, truth: float, means: tuple[float, ...]
) -> None:
    """One problem of success rate p, tau = 0.5, and every outcome of n samples with its probability."""
    found = []
    for n in (2, 8, 64):
        chances = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
        found.append(float(chances @ reliability.cover_table(n)[:, reliability.needed(0.5, n) - 1]))
        assert found[-1] == pytest.approx(chance_of_at_least(n, p, n // 2))
    assert found == pytest.approx(list(means), abs=5e-4)
    assert all(abs(value - truth) > 0.05 for value in found)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.83])
def test_g_pass_of_fewer_samples_is_unbiased_for_what_so_many_samples_give(p: float) -> None:
    """E over every sequence of 7 samples of G-Pass@3 is the chance that 3 fresh samples hold enough right ones."""
    n, k = 7, 3
    table, mean = reliability.g_pass_table(n, k), np.zeros(k)
    for samples in product((0, 1), repeat=n):
        c = sum(samples)
        mean += p**c * (1 - p) ** (n - c) * table[c]
    assert mean.tolist() == pytest.approx([chance_of_at_least(k, p, j) for j in (1, 2, 3)])


# -- intervals --


def test_intervals_hold_the_expected_cover_about_as_often_as_they_say() -> None:
    """Success rates drawn uniformly: every count from 0 to 8 is as likely, so cover@0.5 of 8 samples is 5/9."""
    generator, hits, table = rng(), 0, reliability.cover_table(8)
    for _ in range(200):
        correct = generator.binomial(8, generator.uniform(size=40))
        found = reliability.intervals(correct, table, generator, resamples=200)[3]
        hits += found.low <= 5 / 9 <= found.high
    assert 180 <= hits <= 199, hits


def test_none_or_all_of_few_problems_is_not_certain() -> None:
    none, all_of_them = (reliability.intervals([c] * 30, reliability.cover_table(4), rng())[3] for c in (2, 4))
    assert none == Interval(0.0, 0.0, unseen_bound(30))
    assert all_of_them == Interval(1.0, 1 - unseen_bound(30), 1.0)


def test_a_difference_takes_the_same_problems_for_both_models() -> None:
    generator = rng()
    base = np.concatenate([np.zeros(40, int), np.full(40, 8)])
    trained = base.copy()
    trained[:6] = 8  # six more problems, the others alike
    table = reliability.cover_table(8)
    gap = reliability.difference(base, trained, table, generator)[7]
    alone = reliability.intervals(base, table, generator)[7]
    assert gap.value == pytest.approx(6 / 80)
    assert gap.high - gap.low < (alone.high - alone.low) * 0.6
    # The six differ and nothing else does: Binomial(80, 6/80) / 80 has 2 and 11 at its 2.5 and 97.5 %
    assert (gap.low * 80, gap.high * 80) == pytest.approx((2, 11), abs=1.01)


def test_equal_models_may_still_differ_on_problems_that_were_not_asked() -> None:
    gap = reliability.difference([0, 3, 8] * 10, [0, 3, 8] * 10, reliability.cover_table(8), rng())[0]
    assert gap == Interval(0.0, -unseen_bound(30), unseen_bound(30))


def test_the_same_generator_gives_the_same_intervals() -> None:
    table = reliability.g_pass_table(8, 4)
    one, two = (reliability.intervals([0, 3, 8], table, rng(), resamples=50) for _ in range(2))
    assert one == two


# -- the null split --


def test_the_null_of_one_problem_by_hand() -> None:
    # n = 2, one right: one half has it, the other has not, always
    assert reliability.null_range([1], 2, reliability.cover_table(1), rng(), resamples=50) == [Interval(0.0, -1.0, 1.0)]
    # n = 4, two right: one half has both with 1/3, so both-right differs with 1/3 and any-right does too
    for level, end in ((0.6, 0.0), (0.72, 1.0)):
        found = reliability.null_range([2], 4, reliability.cover_table(2), rng(), level=level, resamples=2000)
        assert [i.high for i in found] == [end, end]


@pytest.mark.parametrize("n", [4, 5])
def test_the_null_holds_what_all_splits_give(n: int) -> None:
    """Three problems, every way to deal each one's samples into two halves (an odd one is left out), all as likely."""
    correct, m = (1, 2, 3), n // 2
    each = []
    for c in correct:
        samples = [True] * c + [False] * (n - c)
        places = [(a, b) for a in combinations(range(n), m) for b in combinations(sorted({*range(n)} - {*a}), m)]
        halves = [(sum(samples[i] for i in a), sum(samples[i] for i in b)) for a, b in places]
        each.append([(one == m) - (other == m) for one, other in halves])  # cover@1
    differences = np.array([abs(sum(chosen)) / 3 for chosen in product(*each)])
    # Between two values that it takes, the share of splits below is far from the level, whatever the draws.
    level = float((differences < 2 / 3).mean() * 0.5 + (differences <= 0).mean() * 0.5)
    found = reliability.null_range(correct, n, reliability.cover_table(m), rng(), level=level, resamples=4000)[m - 1]
    assert found.high == pytest.approx(1 / 3)
    assert found.low == -found.high


def test_two_models_that_are_one_lie_within_the_null() -> None:
    generator, inside = rng(), 0
    half = reliability.cover_table(8)
    for _ in range(60):
        rates = generator.uniform(size=60)
        one, two = generator.binomial(8, rates), generator.binomial(8, rates)
        null = reliability.null_range(one + two, 16, half, generator, resamples=200)[3]
        gap = reliability.curve(two, half)[3] - reliability.curve(one, half)[3]
        inside += null.low - 1e-9 <= gap <= null.high + 1e-9
    assert inside >= 53, inside


# -- what is shown, and what is refused --


def test_the_k_that_are_shown_go_up_to_half_of_n() -> None:
    assert [reliability.chosen_ks(n) for n in (1, 2, 3, 4, 9, 64)] == [
        (), (2,), (3,), (2,), (2, 4), (2, 4, 8, 16, 32),
    ]  # fmt: skip


def test_a_level_in_a_few_numbers() -> None:
    found = reliability.curves_of([0, 2, 4], 4)
    assert found == pytest.approx(
        {
            "pass@1": 0.5, "pass@2": (5 / 6 + 1) / 3, "pass@4": 2 / 3,
            "cover@0.25": 2 / 3, "cover@0.5": 2 / 3, "cover@0.75": 1 / 3, "cover@1": 1 / 3,
            "g-pass@2_0.25": (5 / 6 + 1) / 3, "g-pass@2_0.5": (5 / 6 + 1) / 3, "g-pass@2_0.75": (1 / 6 + 1) / 3,
            "g-pass@2_1": (1 / 6 + 1) / 3, "mg-pass@2": (1 / 6 + 1) / 3,
        }
    )  # fmt: skip
    assert reliability.curves_of([0, 0], 0) == {}
    assert set(reliability.curves_of([1], 1)) == {"pass@1", *(f"cover@{tau}" for tau in ("0.25", "0.5", "0.75", "1"))}


def test_an_evaluation_says_reach_and_reliability_in_a_line() -> None:
    rows = [
        JudgedSample(
            "s", f"t{task}", "base", "sampled", i, "x", {"s": "pass" if i < right else "wrong"}, None, "", "", 1
        )
        for task, right in enumerate((0, 2, 4))
        for i in range(4)
    ]
    counts = evaluate._counts(rows, ["t0", "t1", "t2"], "s", 4)
    assert (counts.correct, counts.measures) == ([0, 2, 4], reliability.curves_of([0, 2, 4], 4))
    assert evaluate._measured(counts.measures, 4) == "pass@1 50.0 %, pass@2 61.1 %, cover@0.5 66.7 %, cover@1 33.3 %"
    assert evaluate._measured(reliability.curves_of([1, 0], 1), 1) == "pass@1 50.0 %, cover@0.5 50.0 %, cover@1 50.0 %"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability.g_pass_at_k(4, 5, 2, 0.5), "5 right of 4"),
        (lambda: reliability.g_pass_at_k(4, 2, 8, 0.5), "Draw at least 8 samples"),
        (lambda: reliability.mean_g_pass_table(4, 1), "needs k of at least 2"),
        (lambda: reliability.curve([5], reliability.cover_table(4)), "whole numbers from 0 to 4"),
        (lambda: reliability.curve([], reliability.cover_table(4)), "one count per problem"),
        (lambda: reliability.difference([1], [1, 2], reliability.cover_table(4), rng()), "needs the same"),
        (lambda: reliability.null_range([1], 1, reliability.cover_table(1), rng()), "at least 1"),
        (lambda: reliability.null_range([1], 8, reliability.cover_table(8), rng()), "needs a table for 4"),
    ],
)
def test_what_does_not_belong_together_is_refused(call, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        call()
