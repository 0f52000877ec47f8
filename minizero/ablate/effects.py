"""A paired difference over seeds and tasks: its parts of variance, its estimate, interval and p-value.

Reading order: Spread and spread (what varies), Estimate, plain (one comparison alone), shared (all of a set together).

The difference of two runs of one seed on one task is mean + seed + task + rest. Another seed would change `seed` and
`rest`, another set of tasks `task` and `rest`. A seed is the unit of replication: 1,500 tasks of one run say nothing of
the next run. Which of the usual intervals keeps its level was decided by simulation (docs/ablations.md).
"""
# S seeds, P tasks

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minizero.ablate.students_t import critical, two_sided
from minizero.statistics import Interval

Floats = NDArray[np.float64]
PRIOR = 6.0  # degrees of freedom that the other comparisons of a set may lend to one; more lets a noisy one pass
SHARED_DEFAULT = 0.25  # two differences to one default correlate by 1/2, so their variances by 1/4


@dataclass(frozen=True, slots=True)
class Spread:
    """What a paired difference varies by; variances of a mean over P tasks, in squared units of the difference."""

    value: float  # mean over seeds and tasks
    seeds: int
    tasks: int
    between: float  # variance of the seeds' means: what another seed would change; S - 1 degrees of freedom
    within: float  # the part of `between` that the answers to P tasks explain alone: `rest` / P
    task: float  # what another set of P tasks would change, whatever the number of seeds


@dataclass(frozen=True, slots=True)
class Part:
    """A standard error and its degrees of freedom."""

    error: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the standard errors that it must exceed, each with its own degrees of freedom.

    The interval is the widest of theirs and the p-value the largest, so that the interval at a level leaves out zero
    exactly where the p-value is below it.
    """

    value: float
    parts: tuple[Part, ...]

    def p_value(self) -> float:
        """Two-sided, of no difference. Without any spread: 1 where the value is 0, else 0."""
        return max(two_sided(_ratio(self.value, part.error), part.freedom) for part in self.parts)

    def interval(self, level: float = 0.05) -> Interval:
        """The values that a two-sided test at `level` does not reject: value +- critical x error, the widest."""
        half = max(part.error and critical(level, part.freedom) * part.error for part in self.parts)
        return Interval(self.value, self.value - half, self.value + half)


def spread(differences: Floats) -> Spread:
    """The parts of variance of differences[S, P], by the mean squares of a two-way layout without repetition.

    With one seed `task` holds all that varies over tasks, and nothing is known of seeds.
    Example: rows 1 0 0 1 and 1 0 0 1 -> between 0, within 0, task = 1/3 / 4.
    """
    s, p = differences.shape
    mean, of_seeds, of_tasks = differences.mean(), differences.mean(axis=1), differences.mean(axis=0)
    of_task = float(of_tasks.var(ddof=1)) if p > 1 else 0.0
    if s == 1 or p == 1:
        between = float(of_seeds.var(ddof=1)) if s > 1 else 0.0
        return Spread(float(mean), s, p, between, 0.0, of_task / p)
    rest = float(((differences - of_seeds[:, None] - of_tasks + mean) ** 2).sum()) / ((s - 1) * (p - 1))
    task = max(0.0, of_task - rest / s)
    return Spread(float(mean), s, p, _without_dust(float(of_seeds.var(ddof=1))), _without_dust(rest / p), task / p)


def plain(comparison: Spread) -> Estimate:
    """A comparison by its own spread alone: the widest of three.

      seeds   sqrt(between / S), S - 1 degrees of freedom: the luck of training
      tasks   sqrt(within / S + task), P - 1 degrees of freedom: for seeds that agree by chance
      both    sqrt(between / S + task), degrees of freedom by Satterthwaite (1946)
    One seed leaves the second.
    Example: four tasks, each +1, +2, +3 in three seeds -> 2 +- 4.303 x 1 / 1.732.
    """
    return _estimate(comparison, comparison.between, comparison.seeds - 1)


def shared(spreads: Mapping[str, Spread]) -> dict[str, Estimate]:
    """The comparisons of a set, each with help from the others: with 3 seeds one alone has 2 degrees of freedom.

    Each comparison's overdispersion between / within says how far seeds differ beyond their answers' own noise. It is
    averaged with that of the other comparisons, weighed by degrees of freedom (S - 1 its own, at most PRIOR from the
    others), as in the moderated t of Smyth (2004, Stat. Appl. Genet. Mol. Biol. 3:3). A comparison's spread is never
    taken to be smaller than its own, so that one noisier than the rest stays noisy. Needs at least two seeds each.
    """
    return {name: _moderated(name, spreads) for name in spreads}


def _moderated(name: str, spreads: Mapping[str, Spread]) -> Estimate:
    mine = spreads[name]
    others = [other for key, other in spreads.items() if key != name and other.within > 0]
    own, more, taken = mine.seeds - 1, 0.0, mine.between
    if others and mine.within > 0:
        more = lent([other.seeds - 1 for other in others])
        taken = max(taken, (more * overdispersion(others) * mine.within + own * mine.between) / (more + own))
    return _estimate(mine, taken, own + more)


def overdispersion(spreads: Collection[Spread]) -> float:
    """Mean of between / within over comparisons, by degrees of freedom: 1 where seeds differ by their answers alone."""
    known = [each for each in spreads if each.within > 0]
    return sum((e.seeds - 1) * e.between / e.within for e in known) / max(1, sum(e.seeds - 1 for e in known))


def lent(freedoms: Sequence[float]) -> float:
    """Degrees of freedom that other comparisons lend to one, at most PRIOR; fewer than their sum, for all share the
    default. The variance of a mean of n variances that correlate by r is 1/n + r (1 - 1/n) of that of one.
    """
    n = len(freedoms)
    return min(PRIOR, sum(freedoms) / n / (1 / n + SHARED_DEFAULT * (1 - 1 / n))) if n else 0.0


def _estimate(comparison: Spread, seed: float, freedom: float) -> Estimate:
    """`seed`: the variance that one seed's mean is taken to have, with its degrees of freedom."""
    of_tasks = max(1, comparison.tasks - 1)
    tasks = Part(math.sqrt(comparison.within / comparison.seeds + comparison.task), of_tasks)
    if comparison.seeds == 1:
        return Estimate(comparison.value, (tasks,))
    of_seeds = seed / comparison.seeds
    total = of_seeds + comparison.task
    both = total * total / (of_seeds**2 / freedom + comparison.task**2 / of_tasks) if total else freedom
    return Estimate(comparison.value, (Part(math.sqrt(of_seeds), freedom), tasks, Part(math.sqrt(total), both)))


def _ratio(value: float, error: float) -> float:
    return value / error if error else math.copysign(math.inf, value) if value else 0.0


def _without_dust(variance: float) -> float:
    """Rounding leaves 1e-34 where all values are equal; the ratio of two such numbers would mean nothing."""
    return variance if variance > 1e-18 else 0.0
