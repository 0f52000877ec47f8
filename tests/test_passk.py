"""Statistics of repeated sampling, against exact fractions, numbers worked by hand, and simulations."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizero import statistics as passk
from minizero.types import EvaluationError


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def exact(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(comb(n - c, k), comb(n, k))


counted = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


def test_pass_at_2_of_one_right_in_four_is_a_half() -> None:
    assert passk.pass_at_k(4, 1, 2) == 0.5  # 1 - C(3, 2) / C(4, 2) = 1 - 3 / 6


@given(counted)
def test_pass_at_k_equals_the_exact_fraction(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert passk.pass_at_k(n, c, k) == pytest.approx(float(exact(n, c, k)), abs=1e-14)
    assert passk.curve_table(n)[c, k - 1] == pytest.approx(float(exact(n, c, k)), abs=1e-13)


def test_pass_at_k_neither_overflows_nor_drifts_for_many_samples() -> None:
    assert passk.pass_at_k(4096, 3, 2048) == pytest.approx(float(exact(4096, 3, 2048)), abs=1e-13)


@given(counted)
def test_pass_at_1_is_the_accuracy_and_pass_at_n_is_whether_any_was_right(case: tuple[int, int, int]) -> None:
    n, c, _ = case
    assert passk.pass_at_k(n, c, 1) == pytest.approx(c / n)
    assert passk.pass_at_k(n, c, n) == float(c > 0)


@given(
    st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=20)))
)
def test_the_curve_is_the_mean_over_problems_and_never_falls(case: tuple[int, list[int]]) -> None:
    n, correct = case
    curve = passk.pass_at_k_curve(correct, n)
    for k in (1, (n + 1) // 2, n):
        assert curve[k - 1] == pytest.approx(np.mean([passk.pass_at_k(n, c, k) for c in correct]))
    assert (np.diff(curve) >= -1e-12).all()


def test_a_curve_by_hand() -> None:
    assert passk.pass_at_k_curve([0, 1], 2).tolist() == pytest.approx([0.25, 0.5])


def test_k_beyond_half_of_n_is_not_steady() -> None:
    assert [k for k in range(1, 65) if passk.is_steady(k, 64)] == list(range(1, 33))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(137, 164, 0.771, 0.884), (146, 164, 0.833, 0.929), (129, 164, 0.718, 0.842)]
)
def test_wilson_as_published(successes: int, n: int, low: float, high: float) -> None:
    interval = passk.wilson(successes, n)
    assert (round(interval.low, 3), round(interval.high, 3)) == (low, high)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_wilson_holds_its_proportion_and_its_ends_solve_its_equation(case: tuple[int, int]) -> None:
    n, s = case
    interval = passk.wilson(s, n)
    assert 0 <= interval.low <= s / n + 1e-12
    assert s / n - 1e-12 <= interval.high <= 1
    for p in (interval.low, interval.high):
        if 0 < p < 1:
            assert abs(s / n - p) == pytest.approx(1.959964 * (p * (1 - p) / n) ** 0.5, rel=1e-5, abs=1e-9)


# The published one-shot tables differ by +9 and +5 problems net: what discordant pairs could mean (docs/evaluation.md)
@pytest.mark.parametrize(
    ("trained", "base", "p"),
    [
        (9, 0, 0.0039),
        (12, 3, 0.0352),
        (15, 6, 0.0784),
        (20, 11, 0.1496),
        (5, 0, 0.0625),
        (7, 2, 0.1797),
        (10, 5, 0.3018),
    ],
)
def test_mcnemar_as_published(trained: int, base: int, p: float) -> None:
    a = [False] * trained + [True] * base + [True] * 30 + [False] * 7
    b = [True] * trained + [False] * base + [True] * 30 + [False] * 7
    result = passk.mcnemar(a, b)
    assert (result.only_base, result.only_trained) == (base, trained)
    assert result.p_value == pytest.approx(p, abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_a_probability_and_does_not_care_who_is_first(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert 0 < passk.mcnemar(a, b).p_value <= 1
    assert passk.mcnemar(a, b).p_value == passk.mcnemar(b, a).p_value


def test_mcnemar_of_equal_verdicts_is_one() -> None:
    assert passk.mcnemar([True, False], [True, False]).p_value == 1.0


def test_histogram_bins_are_closed_above_and_the_ends_stand_alone() -> None:
    bins = passk.accuracy_histogram([0, 1, 3, 4, 27, 28, 29, 30, 30], 30)  # 3 / 30 = 0.1 and 27 / 30 = 0.9 exactly
    assert bins == {
        "0": 1, "(0.0, 0.1]": 2, "(0.1, 0.2]": 1, "(0.2, 0.3]": 0, "(0.3, 0.4]": 0, "(0.4, 0.5]": 0, "(0.5, 0.6]": 0,
        "(0.6, 0.7]": 0, "(0.7, 0.8]": 0, "(0.8, 0.9]": 1, "(0.9, 1)": 2, "1": 2,
    }  # fmt: skip


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1))))
def test_histogram_counts_every_problem_once_in_its_bin(case: tuple[int, list[int]]) -> None:
    n, correct = case
    bins = passk.accuracy_histogram(correct, n)
    assert sum(bins.values()) == len(correct)
    for i in range(9):
        inside = sum(Fraction(i, 10) < Fraction(c, n) <= Fraction(i + 1, 10) and c < n for c in correct)
        assert bins[f"({i / 10:.1f}, {(i + 1) / 10:.1f}]"] == inside


def test_coverage_by_hand() -> None:
    cells = passk.coverage([2, 1, 0, 0, 0], [1, 0, 4, 0, 0], 4)
    assert cells == passk.Coverage(both=1, only_base=1, only_trained=1, neither=2)


def test_expected_coverage_with_fewer_samples_by_hand() -> None:
    # n = 2, m = 1: pass@1 is 1/2 for base and 1 for trained
    assert passk.coverage_at([1], [2], 2, 1) == passk.Coverage(both=0.5, only_base=0, only_trained=0.5, neither=0)
    assert passk.coverage_at([2, 1, 0], [1, 0, 0], 4, 4) == passk.coverage([2, 1, 0], [1, 0, 0], 4)


def test_null_split_by_hand() -> None:
    assert passk.null_split([1], 2) == passk.Coverage(0, 0.5, 0.5, 0)
    # n = 4, two right: both in one given half with C(2, 2) / C(4, 2) = 1/6
    cells = passk.null_split([2], 4)
    assert (cells.both, cells.only_base) == pytest.approx((4 / 6, 1 / 6))
    # n = 3, one right: left out with 1/3, else in either half
    odd = passk.null_split([1], 3)
    assert (odd.only_base, odd.only_trained, odd.neither) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=3))))
def test_null_split_is_the_mean_over_random_splits(case: tuple[int, list[int]]) -> None:
    n, correct = case
    m, generator = n // 2, rng()
    only = []
    for _ in range(2000):
        halves = [generator.permutation([True] * c + [False] * (n - c)) for c in correct]
        only.append(sum(bool(h[:m].any()) and not h[m : 2 * m].any() for h in halves))
    spread = 4 * np.std(only) / 2000**0.5
    assert passk.null_split(correct, n).only_base == pytest.approx(np.mean(only), abs=spread + 0.01)


def test_coverage_intervals_hold_their_shares_and_an_empty_cell_is_not_certain() -> None:
    intervals = passk.coverage_intervals([1] * 20 + [0] * 10, [1] * 20 + [0] * 10, 4, rng())
    assert intervals["both"].low < 2 / 3 < intervals["both"].high
    assert intervals["only_trained"].low == 0
    assert intervals["only_trained"].high == pytest.approx(1 - 0.05 ** (1 / 30))  # about 3 / 30


def test_zero_of_64_allows_a_solve_rate_of_nearly_five_percent() -> None:
    assert passk.unseen_bound(64) == pytest.approx(0.0457, abs=1e-4)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Problems with known solve rates, drawn and sampled again and again."""
    generator, n, problems, hits = rng(), 8, 30, {1: 0, 4: 0}
    truth = {k: float(np.mean(1 - (1 - np.linspace(0, 1, 1001)) ** k)) for k in hits}  # p uniform: k / (k + 1)
    for _ in range(100):
        correct = generator.binomial(n, generator.uniform(size=problems))
        intervals = passk.pass_at_k_intervals(correct, n, generator, resamples=200)
        for k in hits:
            hits[k] += intervals[k - 1].low <= truth[k] <= intervals[k - 1].high
    assert all(90 <= count <= 100 for count in hits.values()), hits


def test_an_interval_is_centred_though_samples_are_drawn_with_replacement() -> None:
    interval = passk.pass_at_k_intervals([4] * 50, 8, rng(), resamples=500)[3]  # pass@4 = 1 - 1/70
    assert interval.value == pytest.approx(1 - 1 / 70)
    assert interval.low < interval.value <= interval.high <= 1


def test_resampling_only_samples_says_nothing_about_other_problems() -> None:
    correct = [0] * 20 + [8] * 20  # nothing varies within a problem
    fixed = passk.pass_at_k_intervals(correct, 8, rng(), resamples=300, resample="samples")[0]
    free = passk.pass_at_k_intervals(correct, 8, rng(), resamples=300, resample="problems")[0]
    assert (fixed.low, fixed.high) == (0.5, 0.5)
    assert free.high - free.low > 0.2


def test_a_paired_interval_is_narrower_than_two_single_ones() -> None:
    generator = rng()
    base = np.concatenate([np.zeros(40, int), np.full(40, 16)])  # easy and hopeless problems
    trained = np.clip(base + generator.integers(-1, 3, size=80), 0, 16)
    paired = passk.pass_at_k_difference(base, trained, 16, generator, resamples=300)[0]
    single = passk.pass_at_k_intervals(base, 16, generator, resamples=300)[0]
    assert paired.high - paired.low < (single.high - single.low) / 2
    assert paired.value == pytest.approx((trained.sum() - base.sum()) / 16 / 80)


def test_the_paired_bootstrap_of_equal_models_is_exactly_zero() -> None:
    assert passk.paired_bootstrap([0.1, 0.9], [0.1, 0.9], rng(), resamples=50) == passk.Interval(0.0, 0.0, 0.0)


def test_the_paired_bootstrap_finds_a_steady_gain() -> None:
    base = rng().uniform(size=60)
    interval = passk.paired_bootstrap(base, base + 0.1, rng(), resamples=200)
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_same_generator_gives_the_same_interval() -> None:
    assert passk.paired_bootstrap([0, 1, 0], [1, 1, 0], rng()) == passk.paired_bootstrap([0, 1, 0], [1, 1, 0], rng())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: passk.pass_at_k(4, 5, 1), "5 right of 4"),
        (lambda: passk.pass_at_k(4, 1, 5), "Draw at least 5 samples"),
        (lambda: passk.pass_at_k_curve([5], 4), "counts from 5 to 5 of 4"),
        (lambda: passk.pass_at_k_curve([0.5], 4), "whole numbers"),
        (lambda: passk.pass_at_k_curve([], 4), "one count per problem"),
        (lambda: passk.mcnemar([True], [True, False]), "needs the same"),
        (lambda: passk.wilson(0, 0), "at least 1 trial"),
        (lambda: passk.null_split([1], 1), "at least 2 samples"),
        (lambda: passk.paired_bootstrap([float("nan")], [1.0], rng()), "not finite"),
    ],
)
def test_what_does_not_belong_together_is_refused(call, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        call()
