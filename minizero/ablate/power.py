"""What a set can see: the smallest difference that it finds in 80 % of cases, before it runs and while it does.

Reading order: Variation (what is known of the spread, and from where), observed, recorded, ASSUMED; then smallest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minizero.ablate.effects import Floats, lent, spread
from minizero.ablate.measures import Measure, differences
from minizero.ablate.students_t import critical
from minizero.ablate.summary import RunSummary, read_summary
from minizero.types import EvaluationError, RunError

DRAWS = 40_000
FOUND = 0.8  # how often the smallest visible difference is found


@dataclass(frozen=True, slots=True)
class Variation:
    """How paired differences to the default vary, over `tasks` tasks; squared fractions."""

    seed: float  # variance of one seed's mean, beyond the noise of its answers
    within: float  # that noise: the part that answers to so many tasks explain alone
    task: float  # what other tasks would change, whatever the number of seeds
    tasks: int
    source: str

    def over(self, tasks: int) -> Variation:
        """The same with another number of tasks."""
        scale = self.tasks / tasks
        return replace(self, within=self.within * scale, task=self.task * scale, tasks=tasks)


# Where nothing is recorded. Seeds: 2 points, between the 0.5 of runs that only grow surer and the 3 to 4 of runs that
# learn to reason. Answers: 4 samples of two runs, drawn apart, p (1 - p) averaging 1/6. Tasks: 5 points of each task.
ASSUMED = Variation(0.02**2, 2 / 6 / 4 / 300, 0.05**2 / 300, 300, "assumed: no earlier set of this model is there")


def observed(found: Mapping[str, Sequence[Floats]], source: str) -> Variation | None:
    """The mean spread of all comparisons with two seeds or more, by degrees of freedom; None without any."""
    spreads = [spread(np.stack(seeds)) for seeds in found.values() if len(seeds) > 1]
    if not spreads:
        return None

    def mean(values: Iterable[float]) -> float:
        weights = [each.seeds - 1 for each in spreads]
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    between, within = mean(each.between for each in spreads), mean(each.within for each in spreads)
    task = mean(each.task for each in spreads)
    return Variation(max(0.0, between - within), within, task, spreads[0].tasks, source)


def recorded(places: Iterable[Path], digest: str, measure: Measure) -> Variation | None:
    """The spread in the first of these folders that holds a set of this model with two seeds; None where none does."""
    for place in places:
        runs = [run for run in _readable(place) if run.model_digest == digest]
        try:
            found = observed(differences(runs, measure), f"as in {place}")
        except (EvaluationError, ValueError):
            continue  # without curves, or of other tasks run by run
        if found:
            return found
    return None


def smallest(variation: Variation, seeds: int, level: float, family: int) -> float | None:
    """The difference that a comparison of a set finds in 80 % of cases, two-sided at `level`; None for one seed.

    Counted on DRAWS made comparisons, the same ones each time: the estimate is normal, its seeds' variance is judged as
    effects.shared does (the larger of its own and of the mean with what the others lend), and every variant of the
    family is taken to have all seeds. Good to 1 %.
    Example: no spread but 0.02 over seeds, 3 seeds, level 0.05, family 1 -> about 5.65 x 0.02 / 1.732 = 0.065.
    """
    if seeds < 2:
        return None
    rng, own, more = np.random.default_rng(0), seeds - 1, lent([seeds - 1] * (family - 1))
    seen = rng.chisquare(own, DRAWS) / own
    if more:
        seen = np.maximum(seen, (own * seen + more * rng.chisquare(more, DRAWS) / more) / (own + more))
    of_seeds, task = (variation.seed + variation.within) / seeds, variation.task
    if of_seeds + task == 0:
        return 0.0  # nothing varies, as where no answer changes
    both = (of_seeds + task) ** 2 / (of_seeds**2 / (own + more) + task**2 / max(1, variation.tasks - 1))
    alone = critical(level, own + more) * np.sqrt(seen * of_seeds)
    bounds = np.maximum(alone, critical(level, both) * np.sqrt(seen * of_seeds + task))
    chance = rng.normal(size=DRAWS) * math.sqrt(of_seeds + task)
    low, high = 0.0, float(np.quantile(bounds, 0.95)) + 3 * math.sqrt(of_seeds + task)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(np.abs(chance + middle) > bounds) < FOUND else (low, middle)
    return high


def _readable(place: Path) -> list[RunSummary]:
    found = []
    for path in sorted(place.glob("*-*.json")):
        try:
            found.append(read_summary(path))
        except RunError:
            continue  # another file, or of another version
    return found
