"""Sentences and intervals agree: whatever the numbers, none claims what the interval beside it does not allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minizero.ablate.compare import compare
from minizero.ablate.decisions import Decision
from minizero.ablate.effects import Estimate, Part
from minizero.ablate.results import ALL, AblationResult, Cell, VariantResult
from minizero.ablate.students_t import critical
from minizero.evaluation.compare import Comparison, EntrySource, LevelComparison, ModelScores, PairComparison
from minizero.report import verdict
from minizero.report.ablation_words import in_words
from minizero.report.claims import direction, in_points, place
from minizero.report.conclusions import greedy_direction, headline, sentences
from minizero.report.verdict import HEADLINES, Change, _meaning, judge
from minizero.selfplay.run_data import RunData
from minizero.selfplay.validation import Validation
from minizero.statistics import Interval, McNemar, mcnemar, paired_bootstrap
from tests.test_ablate import a_summary

INTERVAL = re.compile(r"([+−]?\d+(?:\.\d+)?) to ([+−]?\d+(?:\.\d+)?)")
# Words of a sentence and what the interval that it states must then be: its sign, or 0 where it includes zero.
CLAIMS = (
    (r"above zero|up from|is better than|got better|Better than|BETTER", 1),
    (r"below zero|down from|is worse than|got worse|Worse than|unlearned|knows less", -1),
    (r"includes zero|told from noise", 0),
)


def stated(text: str) -> list[int]:
    """The signs of the intervals in a text, as a reader sees them: 1 above zero, -1 below, 0 including it."""
    ends = [tuple(float(end.replace("−", "-")) for end in pair) for pair in INTERVAL.findall(text)]
    return [1 if low > 0 else -1 if high < 0 else 0 for low, high in ends]


def contradicts(text: str, signs: Sequence[int]) -> bool:
    """Whether a text claims something that none of the intervals that it states (`signs`) shows."""
    return any(re.search(words, text) and sign not in signs for words, sign in CLAIMS)


def test_the_check_of_this_file_sees_a_contradiction() -> None:
    wrong = "-33.3 points, interval −54.2 to −16.7. The interval includes zero"
    assert contradicts(wrong, stated(wrong))
    right = "−33.3 points, interval −54.2 to −16.7. The interval lies below zero"
    assert not contradicts(right, stated(right))


fractions = st.floats(-1, 1).map(lambda value: round(value, 6)) | st.sampled_from([0.0, 1e-12, -1e-12, 0.0004, -0.0004])
intervals = st.tuples(fractions, fractions, fractions).map(sorted).map(lambda ends: Interval(ends[1], ends[0], ends[2]))


@given(intervals)
@example(Interval(0.02, 0.0004, 0.05))  # +2.0 (0.0 to +5.0) and "above zero" would contradict each other
def test_what_is_shown_of_an_interval_has_the_sign_that_is_said(interval: Interval) -> None:
    said = {"lies above zero": 1, "lies below zero": -1, "includes zero": 0}[place(interval)]
    assert stated(in_points(interval)) == [said]
    assert direction(interval) == {1: "better", -1: "worse", 0: "unclear"}[said]
    assert direction(interval, 19) == "unclear"


@pytest.fixture(autouse=True, scope="module")
def _few_resamples() -> Iterator[None]:
    """The claims are what is tested here; 100 resamples make hundreds of verdicts in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "RESAMPLES", 100)
        yield


outcomes = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=60
)


def a_run(rows: list[tuple[int, int, bool, bool]], samples: int) -> RunData:
    def validation(step: int, correct: int, greedy: int) -> Validation:
        return Validation(
            step,
            samples,
            tuple(
                {"id": f"{i:03d}", "type": "deduction" if i % 3 else "induction", "lines": 1, "greedy": row[greedy],
                 "correct": row[correct] if samples else 0, "tokens": 9, "nats": 1.0}
                for i, row in enumerate(rows)
            ),
        )  # fmt: skip

    metrics = ({"step": 0}, {"step": 7, "time/step_s": 1.0})
    return RunData(Path("run"), None, {}, metrics, (validation(0, 0, 2), validation(7, 1, 3)), ())


@settings(max_examples=60)
@given(outcomes, st.sampled_from([0, 4]))
@example([(4, 2, True, False)] * 6, 4)  # six tasks, all of them worse
def test_a_verdict_never_contradicts_its_own_interval(rows: list[tuple[int, int, bool, bool]], samples: int) -> None:
    found = judge(a_run(rows, samples))
    main = (found.solve_rate or found.greedy)[0]
    first, meaning = found.sentences
    (sign,) = stated(first)
    assert sign == {"lies above zero": 1, "lies below zero": -1, "includes zero": 0}[place(main.difference)]
    assert found.headline == HEADLINES[main.kind]
    if len(rows) < 20:
        assert found.kind == "unclear"
        assert f"{len(rows)} tasks are too few to believe it" in meaning
        assert f"{len(rows)} held-out tasks are too few" in " ".join(found.cautions)
        assert f"The interval {place(main.difference)}, but" in meaning
    else:
        assert found.kind == {1: "better", -1: "worse", 0: "unclear"}[sign]
        assert not contradicts(f"{found.headline} {first}", [sign])
        assert not contradicts(meaning, [sign, *stated(meaning)])


@given(intervals, intervals, st.integers(1, 60))
def test_what_an_interval_means_agrees_with_it_and_with_the_greedy_one(
    main: Interval, greedy: Interval, tasks: int
) -> None:
    changes = [Change("all", tasks, 0.5, 0.5 + gap.value, gap) for gap in (main, greedy)]
    words = _meaning(changes[0], changes[1])
    assert f"The interval {place(main)}" in words
    if tasks < 20:
        assert "so no change can be told from noise" in words
        return
    kinds = [direction(main), direction(greedy)]
    assert ("more than luck" in words) == (kinds[0] == "better")
    assert ("unlearned" in words) == (kinds[0] == "worse")
    assert ("told from noise" in words) == (kinds[0] == "unclear")
    assert ("knows less" in words) == (kinds == ["better", "worse"])
    assert ("does not only choose more surely" in words) == (kinds == ["better", "better"])


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=20, max_size=80),
    st.lists(intervals, min_size=1, max_size=8),
)
def test_a_comparison_never_contradicts_its_own_numbers(
    greedy: list[tuple[bool, bool]], difference: list[Interval]
) -> None:
    import numpy as np

    a, b = [one for one, _ in greedy], [other for _, other in greedy]
    gap = paired_bootstrap(a, b, np.random.default_rng(0), resamples=50)
    check_comparison(mcnemar(a, b), gap, difference, len(greedy))


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), intervals, st.integers(1, 60))
def test_a_greedy_claim_needs_test_and_interval(
    only_base: int, only_trained: int, p_value: float, gap: Interval, problems: int
) -> None:
    check_comparison(McNemar(only_base, only_trained, p_value), gap, [gap], problems)


def check_comparison(test: McNemar, gap: Interval, difference: list[Interval], problems: int) -> None:
    pair = PairComparison("base", "trained", gap, test, len(difference), tuple(difference))
    level = LevelComparison(problems, {"base": ModelScores(Interval(0.5, 0.4, 0.6), 1)}, (pair,))
    sides = (EntrySource("base", 1, "chat", "a"), EntrySource("trained", 1, "chat", "b"))
    comparison = Comparison(sides, (), {"made": level}, {}, {})
    said, kind = sentences(comparison), greedy_direction(pair, problems)
    claim = {
        "better": "trained solves more than base", "worse": "trained solves less than base",
        "unclear": "no difference between trained and base can be told from chance",
    }  # fmt: skip
    assert claim[kind] in headline(comparison)
    if problems < 20:
        assert said[0].startswith(f"made: {problems} problems are too few")
        assert kind == "unclear"
        return
    (sign,) = stated(said[0])
    if kind != "unclear":
        assert (kind, test.p_value < 0.05) == ({1: "better", -1: "worse"}[sign], True)
        assert f"greedily {'trained' if kind == 'better' else 'base'} solves more" in said[0]
    else:
        assert test.p_value >= 0.05 or sign == 0
        assert "greedily no difference can be told from chance" in said[0]
    # Each part of the sentence about samples states its own interval.
    parts = re.findall(r"(is better than|is worse than|no difference can be told)[^(]*\(([^)]*)\)", said[1])
    assert len(parts) == min(2, max(1, len(difference) // 2))
    for words, numbers in parts:
        assert stated(numbers) == [{"is better than": 1, "is worse than": -1}.get(words, 0)]
    signs = [stated(numbers)[0] for _, numbers in parts]
    assert ("sharpening" in said[1]) == (signs == [1, 0])
    assert ("and lost others" in said[1]) == (signs == [1, -1])
    assert ("reaches more problems" in said[1]) == (len(signs) == 2 and signs[1] == 1)


def decided(found: Interval) -> Decision:
    """A comparison whose corrected interval is the one given."""
    error = (found.high - found.low) / 2 / critical(0.05, 4.0)
    kind = "not apart" if direction(found) == "unclear" else "apart"
    return Decision(kind, 3, 0.01, Estimate(found.value, (Part(error, 4.0),)), 0.05, 1.0)


@given(intervals, intervals, intervals, st.integers(1, 3), st.booleans())
def test_a_set_of_ablations_never_contradicts_its_own_intervals(
    change: Interval, mine: Interval, shuffled: Interval, seeds: int, has_moved: bool
) -> None:
    def row(name: str, kind: str, against: Interval | None) -> VariantResult:
        cell = Cell(40, 0.4, 0.4 + change.value, change, against, (change.value,) * seeds)
        runs = [a_summary(name, seed, "1000" if has_moved else "0000") for seed in range(seeds)]
        decision = decided(against) if kind == "variant" and against else None
        paired = 0 if against is None else seeds
        return VariantResult(name, kind, "", tuple(runs), paired, {ALL: cell}, cell, decision=decision)

    mine = Interval((mine.low + mine.high) / 2, mine.low, mine.high)  # as an estimate and its error make it

    rows = [row("default", "default", None), row("mine", "variant", mine), row("shuffled", "control", shuffled)]
    result = AblationResult((*rows, row("frozen", "control", shuffled)), ())
    words = in_words(result)
    for sentence in words.sentences:
        assert not contradicts(sentence, stated(sentence)), sentence
    text = " ".join(words.sentences)
    kind = direction(mine)
    assert ("Better than the default: mine" in text) == (kind == "better")
    assert ("Worse than the default: mine" in text) == (kind == "worse")
    assert words.headline.startswith("No variant can be told" if kind == "unclear" else "1 of 1 variants differs")
    assert ("luck of a seed" in words.headline) == (kind != "unclear" and seeds > 1)
    assert ("make the difference" in text) == (direction(shuffled) == "worse")
    assert ("answers exactly as before" in text) == (not has_moved)


def test_a_variant_without_a_seed_in_common_with_the_default_is_not_called_equal_to_it() -> None:
    default = [a_summary("default", 0, "1111")]
    other = [a_summary("mine", 1, "2222")]
    assert in_words(compare([*default, *other])).headline == "No variant has a seed in common with the default yet."


def test_a_frozen_run_whose_changes_cancel_out_is_still_named() -> None:
    frozen = a_summary("frozen", 0, "0200", before="2000")
    text = " ".join(in_words(compare([a_summary("default", 0, "1111"), frozen])).sentences)
    assert "Frozen, the model CHANGED its answers in 1 of 1 runs" in text
    frozen = replace(frozen, after=replace(frozen.after, greedy="1000", correct="2000"))
    text = " ".join(in_words(compare([a_summary("default", 0, "1111"), frozen])).sentences)
    assert "CHANGED" in text


@pytest.mark.parametrize("value", [0.0, 1e-12, -1e-12])
def test_what_is_zero_but_for_rounding_is_zero(value: float) -> None:
    assert in_points(Interval(value, value, value)) == "0.0 (0.0 to 0.0)"
    assert place(Interval(value, value, value)) == "includes zero"
