"""What a comparison of evaluations allows to conclude, in words; and what it does not.

Reading order: headline and sentences, then one function per question: greedy, one sample, many samples, reliability,
coverage.
"""

from __future__ import annotations

from minizero.evaluation.compare import Comparison, PairComparison
from minizero.evaluation.reliability import needed
from minizero.formatting import percent
from minizero.report.claims import FEW, Direction, direction, place, with_interval
from minizero.statistics import Interval

SURE = 0.05  # a greedy difference needs a p-value of McNemar's test below it


def headline(comparison: Comparison) -> str:
    """The first pair's greedy conclusion over all levels; of one model alone its scores."""
    levels, base = comparison.levels, comparison.entries[0].label
    if len(comparison.entries) < 2:
        scores = [f"{percent(level.models[base].greedy.value)} of {name}" for name, level in levels.items()]
        return f"{base} solves {', '.join(scores)} greedily."
    trained = comparison.entries[1].label
    by_direction: dict[Direction, list[str]] = {"better": [], "worse": [], "unclear": []}
    for name, level in levels.items():
        by_direction[greedy_direction(level.pairs[0], level.problems)].append(name)
    claims = {
        "better": f"{trained} solves more than {base}",
        "worse": f"{trained} solves less than {base}",
        "unclear": f"no difference between {trained} and {base} can be told from chance",
    }
    said = [f"{claims[kind]} on {', '.join(names)}" for kind, names in by_direction.items() if names]
    text = f"Greedily {'; '.join(said)}."
    return f"{text} The prompt formats differ." if len({entry.format for entry in comparison.entries}) > 1 else text


def sentences(comparison: Comparison) -> list[str]:
    """The first lines of the report: cautions, then for each level and pair what can and what cannot be said."""
    said = list(comparison.cautions)
    for name, level in comparison.levels.items():
        if level.problems < FEW:
            few = f"{level.problems} problems are too few for any conclusion"
            said.append(f"{name}: {few}; intervals from fewer than {FEW} are not to be believed.")
            continue
        for pair in level.pairs:
            said.append(f"{name}: {_greedy(pair, level.problems)}")
            if pair.difference:
                said.append(f"{name}: {_sampled(pair, pair.difference)}")
            if pair.cover_difference:
                said.append(f"{name}: {_reliable(pair, pair.cover_difference)}")
            if pair.coverage_at_half and pair.null_split and pair.n:
                expected = (
                    f"{pair.coverage_at_half.only_trained:.1f} problems are expected to be solved by {pair.trained}"
                )
                chance = f"two halves of {pair.base}'s own samples already differ by {pair.null_split.only_trained:.1f}"
                said.append(f"{name}: with {pair.n // 2} samples each, {expected} only; {chance}.")
        if not level.pairs:
            said.append(f"{name}: one model alone; there is nothing to compare it with.")
    if not any(pair.difference for level in comparison.levels.values() for pair in level.pairs):
        said.append("Without samples nothing can be said about what the models can reach in several tries.")
    return said


def greedy_direction(pair: PairComparison, problems: int) -> Direction:
    """What the greedy answers show: a claim needs McNemar's exact test and the interval to agree."""
    return direction(pair.greedy_difference, problems) if pair.mcnemar.p_value < SURE else "unclear"


def _greedy(pair: PairComparison, problems: int) -> str:
    test, gap = pair.mcnemar, pair.greedy_difference
    numbers = (
        f"{test.only_trained} problems only by {pair.trained}, {test.only_base} only by {pair.base}; exact McNemar "
        f"p = {test.p_value:.3g}; {with_interval(gap)}"
    )
    kind = greedy_direction(pair, problems)
    if kind != "unclear":
        return f"greedily {pair.trained if kind == 'better' else pair.base} solves more ({numbers})."
    alone = {
        (True, False): f", where the test is sure and the interval, which {place(gap)}, is not",
        (False, True): f", where the interval {place(gap)} and the test is not sure",
    }.get((test.p_value < SURE, direction(gap) != "unclear"), "")
    return f"greedily no difference can be told from chance ({numbers}{alone})."


def _sampled(pair: PairComparison, difference: tuple[Interval, ...]) -> str:
    k = max(1, len(difference) // 2)
    one, many = difference[0], difference[k - 1]
    words = f"in one sampled answer, {_claim(pair, one)}"
    if k == 1:
        return words
    words += f" With the best of {k}, {_claim(pair, many)}"
    if direction(many) == "better":
        return f"{words} It reaches more problems than {pair.base} does in {k} tries; with more tries that may change."
    if direction(one) == "better" and direction(many) == "worse":
        return f"{words} Training moved probability to answers that the base already had, and lost others."
    if direction(one) == "better":
        return f"{words} A gain at one try that is not seen at many is what sharpening looks like; no proof of it."
    return words


def _reliable(pair: PairComparison, gaps: tuple[Interval, ...]) -> str:
    """cover@tau at 0.5 and 1: whether more problems are solved reliably, and what chance alone would give."""
    half, whole = gaps[needed(0.5, len(gaps)) - 1], gaps[-1]
    words = f"solved in at least half of the samples (cover@0.5): {_claim(pair, half)}"
    if len(gaps) > 1:
        words += f" Solved in every one of {len(gaps)}: {_claim(pair, whole)}"
    if pair.half is not None:
        m, null = pair.half.m, pair.half.cover_null[needed(0.5, pair.half.m) - 1].high
        words += f" By chance alone, {m} samples of {pair.base} against {m} others of it differ in cover@0.5 by up to "
        words += f"{100 * null:.1f} points (95 % of splits)."
    return words


def _claim(pair: PairComparison, gap: Interval) -> str:
    words = {"better": "is better than", "worse": "is worse than"}.get(direction(gap))
    claim = f"{pair.trained} {words} {pair.base}" if words else "no difference can be told from noise"
    return f"{claim} ({with_interval(gap)})."
