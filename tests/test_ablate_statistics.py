"""The statistics of a set of ablations: published tables, numbers worked by hand, made sets whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizero.ablate.decisions import Decision, decide, holm
from minizero.ablate.effects import Estimate, Part, lent, overdispersion, plain, shared, spread
from minizero.ablate.plans import LEVEL, Schedule, plan
from minizero.ablate.power import Variation, observed, smallest
from minizero.ablate.skill import SkillCurve, area, reach, reached
from minizero.ablate.students_t import critical, detectable, power, two_sided
from tests.synthetic_sets import TASKS, Truth, coverage, made_set, study

# -- Student's t ------------------------------------------------------------------------------------------------------


def test_critical_values_are_those_of_the_published_tables() -> None:
    two_and_a_half = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980}
    for freedom, value in two_and_a_half.items():
        assert critical(0.05, freedom) == pytest.approx(value, abs=5e-4)
    half_a_percent = {1: 63.657, 2: 9.925, 5: 4.032, 20: 2.845}
    for freedom, value in half_a_percent.items():
        assert critical(0.01, freedom) == pytest.approx(value, abs=5e-4)
    assert critical(0.05, 1e9) == pytest.approx(1.95996, abs=1e-5)


@given(st.floats(0.01, 40), st.floats(1, 200))
def test_a_p_value_and_its_critical_value_are_inverse_to_each_other(t: float, freedom: float) -> None:
    level = two_sided(t, freedom)
    assert critical(level, freedom) == pytest.approx(t, rel=1e-6, abs=1e-7)
    assert two_sided(-t, freedom) == level
    assert two_sided(t, freedom + 1) < level  # more degrees of freedom, lighter tails


def test_no_value_is_no_evidence_and_an_infinite_one_is_certainty() -> None:
    assert two_sided(0.0, 3) == 1.0
    assert two_sided(math.inf, 3) == 0.0


def test_power_without_an_effect_is_the_level_and_eighty_percent_where_it_should_be() -> None:
    assert power(0.0, 0.05, 4) == pytest.approx(0.05, abs=1e-4)
    assert power(2.8016, 0.05, 1e9) == pytest.approx(0.8, abs=1e-4)
    # 1.960 + 0.842 for the normal distribution; the others by the noncentral t of another library (scipy 1.17).
    wanted = {1e9: 2.8016, 30: 2.8954, 4: 3.7611, 2: 5.6535}
    for freedom, ratio in wanted.items():
        assert detectable(0.05, freedom) == pytest.approx(ratio, abs=5e-4)


# -- spread and intervals ---------------------------------------------------------------------------------------------


def test_the_parts_of_variance_by_hand() -> None:
    # Two seeds, two tasks: means of seeds 2 and 4, of tasks 2 and 4, mean 3; residuals +-1, so their mean square is 4.
    found = spread(np.array([[2.0, 2.0], [2.0, 6.0]]))
    assert (found.value, found.seeds, found.tasks) == (3.0, 2, 2)
    assert found.between == pytest.approx(2.0)  # (2 - 4)^2 / 2
    assert found.within == pytest.approx(2.0)  # 4 / 2 tasks
    assert found.task == 0.0  # the tasks' variance of 2 is what residuals give alone: 2 - 4 / 2


def test_an_interval_leaves_out_zero_exactly_where_the_p_value_is_below_its_level() -> None:
    estimate = Estimate(2.0, (Part(0.5, 2.0), Part(0.9, 50.0)))
    p = estimate.p_value()
    assert p == two_sided(4.0, 2.0)  # the larger of the two
    assert estimate.interval(p * 1.01).low > 0 > estimate.interval(p * 0.99).low


@pytest.mark.once
@pytest.mark.parametrize("tasks", [0.0, 1.5, 20.0])
@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_interval_of_one_comparison_keeps_its_level(seeds: int, tasks: float) -> None:
    held = coverage(Truth(1, tasks=tasks), seeds, 300)
    assert 0.925 <= held <= 1.0  # 0.95 less two standard errors of 300 sets


def test_seeds_that_vary_need_more_than_the_normal_distribution() -> None:
    """What the check above would say of the usual mistake: tasks of one run taken for replications."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        (gaps,) = made_set(rng, Truth(1), 3).values()
        pooled = np.concatenate(gaps)
        held += abs(pooled.mean()) <= 1.96 * pooled.std(ddof=1) / math.sqrt(len(pooled))
    assert held / 200 < 0.8


def test_comparisons_lend_each_other_degrees_of_freedom_and_none_is_called_calmer_than_it_is() -> None:
    calm = [np.array([v, v + 2.0]) for v in (0.0, 1.0, 2.0)]  # rest is 0 over tasks: made noisy below
    rng = np.random.default_rng(1)
    sets = {f"v{i}": spread(np.stack([row + rng.normal(size=2) for row in calm])) for i in range(4)}
    sets["wild"] = spread(np.stack([10 * row + rng.normal(size=2) for row in calm]))
    found = shared(sets)
    # Four others with 2 degrees of freedom each, correlated by 1/4: 2 / (1/4 + 1/4 x 3/4) = 4.571, and 2 of its own.
    assert found["v0"].parts[0].freedom == pytest.approx(6.571, abs=1e-3)
    assert plain(sets["v0"]).parts[0].freedom == 2
    assert found["wild"].parts[0].error >= math.sqrt(sets["wild"].between / 3) * (1 - 1e-12)
    assert lent([2, 2, 2, 2]) == pytest.approx(4.571, abs=1e-3)
    assert lent([9, 9, 9, 9]) == 6.0
    assert lent([]) == 0.0


def test_one_comparison_alone_has_only_itself() -> None:
    only = spread(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 3.0]]))
    assert shared({"only": only}) == {"only": plain(only)}
    assert overdispersion([only]) == only.between / only.within


# -- Holm, looks, decisions -------------------------------------------------------------------------------------------


def test_holms_procedure_by_hand() -> None:
    adjusted, levels, rejected = holm({"a": 0.01, "b": 0.04, "c": 0.03}, 3)
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert rejected == {"a"}
    assert levels == pytest.approx({"a": 0.05 / 3, "b": 0.05 / 2, "c": 0.05 / 2})
    # The first that fails ends it, though 0.04 alone would pass the last step's 0.05.
    assert holm({"a": 0.03, "b": 0.04}, 2)[2] == set()
    # Variants that have not been looked at count too.
    assert holm({"a": 0.01}, 9)[2] == set()


def test_the_shares_of_the_looks_add_up_to_one() -> None:
    assert (plan(1).looks, plan(2).looks, plan(4).looks) == ((1,), (2,), (2, 3, 4))
    for seeds in (1, 2, 3, 5, 8):
        asked = plan(seeds)
        assert sum(asked.share(look) for look in asked.looks) == pytest.approx(1)
    assert [plan(3).share(look) for look in (2, 3)] == pytest.approx([0.2, 0.8])


def test_a_set_without_effects_is_wrong_in_at_most_one_of_twenty_cases_over_all_looks() -> None:
    for truth in (Truth(4), Truth(4, noise=(1.0, 3.0, 1.0)), Truth(4, noise=(2.0, 1.0))):
        assert study(truth, plan(3), 300).wrong <= 0.05
    alone = study(Truth(1), plan(5), 600).wrong
    assert 0.01 <= alone <= 0.05


def test_looking_at_every_seed_at_the_full_level_would_be_wrong_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schedule, "share", lambda self, look: 1.0)
    assert study(Truth(1), plan(5), 600).wrong > 0.08


def test_effects_are_found_and_found_early() -> None:
    truth = Truth(4)
    found = study(replace(truth, effects=(6 * truth.deviation(),) * 2), plan(5), 60)
    assert found.found > 0.97
    assert found.seeds_with < 3.2
    assert found.seeds_without < 4.6  # given up before the last seed


def test_the_smallest_difference_is_found_in_eighty_percent_of_cases() -> None:
    truth = Truth(1, tasks=0.3)
    known = Variation(2.0, 2 * 0.5**2, 0.3**2, TASKS, "")
    for seeds in (3, 5):
        effect = smallest(known, seeds, LEVEL, 1)
        assert effect is not None
        found = study(replace(truth, effects=(effect,)), Schedule((seeds,)), 400).found
        assert found == pytest.approx(0.8, abs=0.045)
    assert smallest(known, 1, LEVEL, 1) is None


def test_the_smallest_difference_after_holms_correction_is_found_about_as_often() -> None:
    known = Variation(2.0, 2 * 0.5**2, 0.3**2, TASKS, "")
    asked = plan(3)
    effect = smallest(known, 3, LEVEL * asked.share(3) / 6, 6)
    assert effect is not None
    assert study(Truth(6, effects=(effect,)), asked, 200).found == pytest.approx(0.8, abs=0.07)


def test_the_spread_that_is_observed_is_the_one_that_was_made() -> None:
    rng = np.random.default_rng(5)
    seen = [observed(made_set(rng, Truth(4), 5), "") for _ in range(60)]
    parts = np.array([[each.seed, each.within, each.task] for each in seen if each])
    assert parts.mean(axis=0) == pytest.approx([2.0, 0.5, 0.09], rel=0.15)
    assert Variation(1.0, 0.4, 0.2, 300, "").over(1200) == Variation(1.0, 0.1, 0.05, 1200, "")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 4), st.floats(0, 8))
def test_a_corrected_interval_leaves_out_zero_exactly_where_a_variant_is_told_apart(
    seed: int, variants: int, seeds: int, effect: float
) -> None:
    made = made_set(np.random.default_rng(seed), Truth(variants, effects=(effect, -effect)), seeds)
    for decision in decide(made, plan(seeds)).values():
        found = decision.interval
        assert (found.low > 0 or found.high < 0) == (decision.kind == "apart")
        assert (decision.p_value <= LEVEL) == (decision.kind == "apart")


def test_the_same_runs_give_the_same_decisions_however_many_came_in_between() -> None:
    rng = np.random.default_rng(11)
    truth = Truth(4, effects=(20.0, 20.0))
    whole = made_set(rng, truth, 5)
    asked = replace(plan(5), variants=("v0", "v1", "v2", "v3"))
    first = decide({name: seeds[:2] for name, seeds in whole.items()}, asked)
    early = {name for name, decision in first.items() if decision.kind == "apart"}
    assert early  # otherwise this test shows nothing
    later = decide(whole, asked)
    stopped = decide({name: seeds[:2] if name in early else seeds for name, seeds in whole.items()}, asked)
    assert later == stopped
    assert all(later[name] == first[name] for name in early)


def test_a_comparison_is_given_up_when_its_last_look_could_not_see_it_but_never_after_two_seeds() -> None:
    rng = np.random.default_rng(3)
    made = made_set(rng, Truth(6, effects=(0.0,) * 6), 5)
    at_two = decide({name: seeds[:2] for name, seeds in made.items()}, plan(5))
    assert {decision.kind for decision in at_two.values()} == {"open"}
    given_up = [d for d in decide(made, plan(5)).values() if d.kind == "out of sight"]
    assert given_up
    assert all(3 <= decision.seeds < 5 for decision in given_up)


def test_a_variant_that_equals_the_default_in_every_answer_is_given_up() -> None:
    same = {"same": [np.zeros(TASKS)] * 4}
    found = decide(same, plan(5))["same"]
    assert (found.kind, found.seeds, found.p_value, found.needed()) == ("out of sight", 3, 1.0, None)


def test_the_seeds_that_a_difference_would_need() -> None:
    # One standard error of 1 at 4 seeds, many degrees of freedom: 2.80 sqrt(4 / n) <= 1.4 from n = 16 on.
    estimate = Estimate(1.4, (Part(1.0, 1e8), Part(1.0, 1e8), Part(1.0, 1e8)))
    assert Decision("not apart", 4, 1.0, estimate, 0.05, 1.0).needed() in (16, 17)
    small = replace(estimate, value=0.1)
    assert Decision("not apart", 4, 1.0, small, 0.05, 1.0).needed() is None


# -- skill over time --------------------------------------------------------------------------------------------------


def test_the_area_under_a_curve_by_hand() -> None:
    # (10 x (0 + 1/2) / 2 + 20 x (1/2 + 1) / 2) / 30
    assert area([0, 10, 30], np.array([0.0, 0.5, 1.0])) == pytest.approx(17.5 / 30)
    both = area([0, 10, 30], np.array([[0.0, 0.2], [0.5, 0.2], [1.0, 0.2]]))
    assert both == pytest.approx([17.5 / 30, 0.2])


def a_curve(*values: float) -> SkillCurve:
    steps = [10 * i for i in range(len(values))]
    return SkillCurve(steps, [3.0 * s for s in steps], [100.0 * s for s in steps], list(values), list(values), [500])


def test_the_time_to_a_level_lies_on_a_straight_line_between_validations() -> None:
    curve = a_curve(0.40, 0.44, 0.52)
    assert reach(curve, 0.48) == (pytest.approx(15.0), True)
    assert reach(curve, 0.48, "seconds") == (pytest.approx(45.0), True)
    assert reach(curve, 0.48, "tokens") == (pytest.approx(1500.0), True)
    assert reach(curve, 0.40) == (0, True)
    assert reach(curve, 0.60) == (20, False)


def test_a_run_that_never_got_there_counts_as_its_length_and_says_so() -> None:
    mine = {0: a_curve(0.4, 0.5, 0.6), 1: a_curve(0.4, 0.42, 0.44)}
    default = {0: a_curve(0.4, 0.6, 0.6), 1: a_curve(0.4, 0.6, 0.6), 2: a_curve(0.4, 0.6, 0.6)}
    found = reached(mine, default, 0.5)
    assert found is not None
    assert found.times == pytest.approx((10, 20))
    assert (found.of, found.is_censored, found.mean) == ((True, False), True, pytest.approx(15))
    # against 5 and 5: differences 5 and 15, mean 10 +- 12.706 x 7.071 / 1.414
    assert found.against_default is not None
    assert (found.against_default.value, found.against_default.high) == pytest.approx((10, 73.53), abs=0.01)
    alone = reached(default, None, 0.5)
    assert alone is not None
    assert (alone.against_default, alone.is_censored) == (None, False)
    assert reached({}, default, 0.5) is None
