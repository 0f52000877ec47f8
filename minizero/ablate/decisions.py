"""When a comparison of a set is decided: told apart from the default, out of sight, or at its last seed.

Reading order: Decision, decide (all looks, replayed), holm, is_out_of_sight, seeds_needed.

The set's chance of one wrong claim or more is at most LEVEL. It is divided twice. Over looks: a comparison is looked at
after each seed from the second on, and look k gets a fixed share of the level; the shares add up to 1, so that looking
several times costs what it must, however the looks depend on each other (alpha spending, Lan & DeMets 1983, by the
union bound). Over variants: Holm's procedure (1979) on the p-values divided by their look's share. Looks are replayed
from the runs themselves, seed by seed: the same runs always give the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from minizero.ablate.effects import Estimate, Floats, Spread, overdispersion, plain, shared, spread
from minizero.ablate.plans import LEVEL, Schedule
from minizero.ablate.students_t import critical, detectable
from minizero.statistics import Interval

SURE_SEEDS = 3  # fewer do not know the spread well enough to give a comparison up: a third of the power was lost at two
MOST_SEEDS = 100  # beyond this, the seeds that a difference would need are not counted
Kind = Literal["apart", "out of sight", "not apart", "open"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a comparison stands: told apart, given up as out of sight, not told apart at its last look, or open."""

    kind: Kind
    seeds: int  # of the look that decided
    p_value: float  # corrected for looks and variants: at most LEVEL where it is told apart
    estimate: Estimate
    level: float  # what Holm's procedure left for this variant
    share: float  # the part of it that this look had

    @property
    def interval(self) -> Interval:
        """At the corrected level: leaves out zero exactly where the kind is `apart`."""
        return self.estimate.interval(self.share * self.level)

    def needed(self) -> int | None:
        """Seeds with which a difference of this size would be found in 80 % of sets; None: more than MOST_SEEDS."""
        return seeds_needed(self.estimate, self.seeds, self.level)


def decide(differences: Mapping[str, Sequence[Floats]], plan: Schedule) -> dict[str, Decision]:
    """Replay every look. differences[variant]: [P] per shared seed, variant minus default, in the order of the seeds.

    A look takes the first k seeds; a variant that is decided is not looked at again, whatever seeds it has beyond.
    Variants with too few seeds stay `open` and count in the correction; those without a look are left out.
    """
    family = max(1, len({*plan.variants, *differences}))
    spreads: dict[str, Spread] = {}
    corrected: dict[str, float] = {}  # p-value over its look's share, of each variant's latest look
    found: dict[str, Decision] = {}
    for look in plan.looks:
        asked = [
            name for name, seeds in differences.items()
            if len(seeds) >= look and (name not in found or found[name].kind == "open")
        ]  # fmt: skip
        if not asked:
            continue
        spreads |= {name: spread(np.stack(differences[name][:look])) for name in asked}
        estimates = shared(spreads) if look > 1 else {name: plain(spreads[name]) for name in asked}
        share, is_last = plan.share(look), look == plan.seeds
        corrected |= {name: min(1.0, estimates[name].p_value() / share) for name in asked}
        adjusted, levels, rejected = holm(corrected, family)
        for name in asked:
            now = Decision("apart", look, adjusted[name], estimates[name], levels[name], share)
            if name not in rejected:
                level = plan.share(plan.seeds) * levels[name]
                is_given_up = not is_last and is_out_of_sight(name, spreads, estimates[name], plan.seeds, level)
                now = replace(now, kind="not apart" if is_last else "out of sight" if is_given_up else "open")
            found[name] = now
    return found


def holm(p_values: Mapping[str, float], family: int) -> tuple[dict[str, float], dict[str, float], set[str]]:
    """Adjusted p-values, the level that each hypothesis was tested at, and which are rejected at LEVEL.

    Holm (1979): the i-th smallest of m p-values (from 0) is tested at LEVEL / (m - i); the first that fails ends it,
    and all others are then tested at that one's level too. An adjusted p-value is at most LEVEL exactly where its
    hypothesis is rejected. `family` is m, at least as many as are given.
    Example: 0.01, 0.04, 0.03 of 3 -> 0.03, 0.06, 0.06.
    """
    order = sorted(p_values, key=lambda name: (p_values[name], name))
    adjusted: dict[str, float] = {}
    largest, rejected = 0.0, set[str]()
    for i, name in enumerate(order):
        largest = max(largest, min(1.0, (family - i) * p_values[name]))
        adjusted[name] = largest
        if largest <= LEVEL:
            rejected.add(name)
    last = max(1, family - len(rejected))
    levels = {name: LEVEL / (family - i if name in rejected else last) for i, name in enumerate(order)}
    return adjusted, levels, rejected


def is_out_of_sight(name: str, spreads: Mapping[str, Spread], estimate: Estimate, most: int, level: float) -> bool:
    """Whether even the far end of the 90 % interval is less than the last look, of `most` seeds, would find in 80 % of
    cases at `level`. By the mean overdispersion of the set, which is steadier than that of one comparison.

    Giving up never makes a wrong claim more likely; it costs power, about 2 points.
    """
    mine = spreads[name]
    if mine.seeds < SURE_SEEDS:
        return False
    seed = max(1.0, overdispersion(spreads.values())) * mine.within or mine.between
    now, last = (math.sqrt(seed / seeds + mine.task) for seeds in (mine.seeds, most))
    freedom = estimate.parts[0].freedom
    far = abs(mine.value) + critical(0.1, freedom) * now
    return far <= detectable(level, round(freedom + most - mine.seeds, 1)) * last


def seeds_needed(estimate: Estimate, seeds: int, level: float) -> int | None:
    """The fewest seeds with which a difference of this estimate's size is found in 80 % of sets; None: too many."""
    if not estimate.value:
        return None
    low, high = 1, MOST_SEEDS
    if not _is_found(estimate, seeds, high, level):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_found(estimate, seeds, middle, level) else (middle, high)
    return high


def _is_found(estimate: Estimate, seeds: int, wanted: int, level: float) -> bool:
    error, freedom = _error_and_freedom(estimate, seeds, wanted)
    return abs(estimate.value) >= detectable(level, round(freedom, 1)) * error


def _error_and_freedom(estimate: Estimate, seeds: int, wanted: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of the same comparison with another number of seeds."""
    return _error(estimate, seeds, wanted), max(1.0, estimate.parts[0].freedom + wanted - seeds)


def _error(estimate: Estimate, seeds: int, wanted: int) -> float:
    of_seeds = estimate.parts[0].error ** 2
    of_tasks = max(0.0, estimate.parts[-1].error ** 2 - of_seeds)
    return math.sqrt(of_seeds * seeds / wanted + of_tasks)
