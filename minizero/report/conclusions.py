"""What a comparison of evaluations allows to conclude, in words; and what it does not.

Reading order: headline and sentences (which are said, and of which numbers), then templates/conclusions.txt, which has
one macro per question: greedy, one sample, many samples, reliability, coverage.
"""

from __future__ import annotations

from functools import partial

from minizero.evaluation.compare import Comparison, PairComparison
from minizero.evaluation.reliability import needed
from minizero.report.claims import FEW, Direction, direction
from minizero.report.pages import words

SURE = 0.05  # a greedy difference needs a p-value of McNemar's test below it
_said = partial(words, "conclusions.txt")


def headline(comparison: Comparison) -> str:
    """The first pair's greedy conclusion over all levels; of one model alone its scores."""
    levels, entries = comparison.levels, comparison.entries
    if len(entries) < 2:
        return _said("alone", base=entries[0].label, levels=levels)
    by_direction: dict[Direction, list[str]] = {"better": [], "worse": [], "unclear": []}
    for name, level in levels.items():
        by_direction[greedy_direction(level.pairs[0], level.problems)].append(name)
    differ = len({entry.format for entry in entries}) > 1
    return _said("headline", base=entries[0].label, trained=entries[1].label, names=by_direction, formats_differ=differ)


def sentences(comparison: Comparison) -> list[str]:
    """The first lines of the report: cautions, then for each level and pair what can and what cannot be said."""
    said = list(comparison.cautions)
    for name, level in comparison.levels.items():
        if level.problems < FEW:
            said.append(f"{name}: {_said('too_few', problems=level.problems, few=FEW)}")
            continue
        for pair in level.pairs:
            said.append(f"{name}: {_said('greedy', pair=pair, kind=greedy_direction(pair, level.problems), sure=SURE)}")
            if gaps := pair.difference:
                k = max(1, len(gaps) // 2)
                said.append(f"{name}: {_said('sampled', pair=pair, one=gaps[0], many=gaps[k - 1], k=k)}")
            if gaps := pair.cover_difference:
                half, null = gaps[needed(0.5, len(gaps)) - 1], None
                if pair.half:
                    null = pair.half.cover_null[needed(0.5, pair.half.m) - 1]
                said.append(f"{name}: {_said('reliable', pair=pair, gaps=gaps, half=half, null=null)}")
            if pair.coverage_at_half and pair.null_split and pair.n:
                said.append(f"{name}: {_said('coverage', pair=pair)}")
        if not level.pairs:
            said.append(f"{name}: one model alone; there is nothing to compare it with.")
    if not any(pair.difference for level in comparison.levels.values() for pair in level.pairs):
        said.append("Without samples nothing can be said about what the models can reach in several tries.")
    return said


def greedy_direction(pair: PairComparison, problems: int) -> Direction:
    """What the greedy answers show: a claim needs McNemar's exact test and the interval to agree."""
    return direction(pair.greedy_difference, problems) if pair.mcnemar.p_value < SURE else "unclear"
