"""What the comparison of a set holds: a row per variant, a cell per group of tasks.

Reading order: Cell, VariantResult, AblationResult. compare.py makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minizero.ablate.decisions import Decision
from minizero.ablate.mechanism import ends, mean, mean_curve
from minizero.ablate.plans import LEVEL, Schedule
from minizero.ablate.power import Variation, smallest
from minizero.ablate.skill import Reached
from minizero.ablate.summary import RunSummary
from minizero.statistics import Interval

ALL = "all"


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant on one group of tasks, in fractions: before, after, the change, the difference to the default."""

    tasks: int
    before: float
    after: float
    change: Interval
    against_default: Interval | None  # None for the default itself, and where no seed is shared with it
    by_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant. `cells` is keyed by "all" and task type; `greedy` is the most likely answers over all tasks."""

    variant: str
    kind: str
    about: str
    runs: tuple[RunSummary, ...]
    paired: int  # seeds shared with the default
    cells: Mapping[str, Cell]
    greedy: Cell
    area: Cell | None = None  # mean over the run instead of its end; None where a run has no curve
    decision: Decision | None = None  # of variants, once they were looked at
    reached: Mapping[str, Reached] = field(default_factory=dict)  # steps, seconds, tokens to half the default's gain
    late: Mapping[str, Interval] = field(default_factory=dict)  # metric -> late difference to the default

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @property
    def shown(self) -> Interval:
        """What a bar shows: the corrected difference to the default, else the plain one, else the change."""
        cell = self.cells[ALL]
        return self.decision.interval if self.decision else cell.against_default or cell.change

    def ends(self, metric: str) -> tuple[float, float] | None:
        return ends(self.runs, metric)

    def curve(self, metric: str) -> tuple[tuple[float, float], ...]:
        return mean_curve(self.runs, metric)

    def collapsed(self) -> int:
        """Runs of which a quarter of the steps or more raised an alarm of collapse."""
        return sum(max(run.collapse.values(), default=0) >= max(2, run.steps / 4) for run in self.runs)

    def minutes(self) -> float:
        """Mean minutes a run."""
        return mean([run.run_s for run in self.runs]) / 60


@dataclass(frozen=True, slots=True)
class AblationResult:
    """A set's table: the default first, then variants by name, the controls last."""

    rows: tuple[VariantResult, ...]
    cautions: tuple[str, ...]
    plan: Schedule = field(default_factory=lambda: Schedule((1,)))
    variation: Variation | None = None  # what the comparisons varied by; None before the second seed
    goal: float | None = None  # the held-out solve rate to which steps are counted; None where the default gained none

    def row(self, name: str) -> VariantResult | None:
        return next((row for row in self.rows if row.variant == name), None)

    def sees(self, *, corrected: bool) -> float | None:
        """The smallest difference that this set finds in 80 % of cases, by its own spread; None where it is unknown."""
        if self.variation is None:
            return None
        level = LEVEL * self.plan.share(self.plan.seeds) / (self.plan.family if corrected else 1)
        return smallest(self.variation, self.plan.seeds, level, self.plan.family)
