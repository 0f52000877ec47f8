"""What a set is going to cost and to see, said before its first run.

Reading order: Outlook and look_ahead, in_words; then where the spread comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minizero.ablate.plans import LEVEL, Schedule
from minizero.ablate.plans import plan as planned
from minizero.ablate.power import ASSUMED, Variation, recorded, smallest
from minizero.ablate.sets import AblationSet
from minizero.ablate.summary import model_digest
from minizero.selfplay.validation import held_out_tasks

SHOWN = (2, 3, 5, 8)  # numbers of seeds beside the planned one


@dataclass(frozen=True, slots=True)
class Outlook:
    """The smallest differences (fractions) that a set finds in 80 % of cases, by its most seeds: alone, after Holm."""

    plan: Schedule
    variation: Variation
    by_seeds: tuple[tuple[int, float | None, float | None], ...]


def look_ahead(asked: AblationSet, plan: Schedule, places: Sequence[Path]) -> Outlook:
    """What the set can see by the spread that is recorded in `places` and the folders in them, of the same weights;
    else by an assumed one."""
    config = asked.config(asked.variants[0])
    folders = list(dict.fromkeys(f for place in places for f in (place, *sorted(place.glob("*/"))) if f.is_dir()))
    known = recorded(folders, model_digest(config), plan.measure) or ASSUMED
    variation = known.over(len(held_out_tasks(config)))
    counts = sorted({*SHOWN, plan.seeds})
    return Outlook(plan, variation, tuple((n, *_smallest(variation, planned(n), plan.family)) for n in counts))


def in_words(outlook: Outlook) -> list[str]:
    """Lines for a terminal: the planned number of seeds in a sentence, others as a small table."""
    plan, variation = outlook.plan, outlook.variation
    spread = 100 * (variation.seed + variation.within) ** 0.5
    lines = [
        f"{plan.family} variants beside the default and two controls, up to {plan.seeds} seeds of {variation.tasks} "
        f"held-out tasks. A difference to the default varies by {spread:.1f} points from seed to seed "
        f"({variation.source}).",
        "The smallest difference that is found 80 % of the time, at 5 %, two-sided, in points:",
        f"{'seeds':>7} {'one alone':>12} {f'any of {plan.family} (Holm)':>20}",
    ]
    for seeds, alone, corrected in outlook.by_seeds:
        mark = "  <- this plan" if seeds == plan.seeds else ""
        lines.append(f"{seeds:>7} {_points(alone):>12} {_points(corrected):>20}{mark}")
    if plan.seeds == 1:
        lines.append("One seed says nothing of the next one: its intervals are over tasks only.")
    return lines


def _smallest(variation: Variation, plan: Schedule, family: int) -> tuple[float | None, float | None]:
    level = LEVEL * plan.share(plan.seeds)
    alone, corrected = (smallest(variation, plan.seeds, each, family) for each in (level, level / family))
    return alone, corrected


def _points(difference: float | None) -> str:
    return "–" if difference is None else f"{100 * difference:.1f}"
