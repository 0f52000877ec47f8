"""The numbers of a set: each variant's change over seeds, and its difference to the default, paired by seed and task.

Reading order: compare (summaries in, AblationResult out), VariantResult; then interval, its statistics.

All runs of a set answer the same held-out tasks with the same random streams, so everything is paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minizero.ablate.sets import CONTROLS, DEFAULT, FROZEN
from minizero.ablate.summary import Measurement, RunSummary
from minizero.statistics import Interval
from minizero.types import EvaluationError, TaskType

Z_975 = 1.960
# Student's t, 0.975 quantile, for 1 to 30 degrees of freedom; beyond that the last is a little wide, never narrow.
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
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

    @property
    def seeds(self) -> int:
        return len(self.runs)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """Mean over seeds of a curve's first and last tenth (at least one reading each)."""
        curves = [[value for _, value in run.curves[metric]] for run in self.runs if metric in run.curves]
        tenths = [(values, max(1, len(values) // 10)) for values in curves]
        ends = _mean([_mean(v[:n]) for v, n in tenths]), _mean([_mean(v[-n:]) for v, n in tenths])
        return ends if curves else None

    def curve(self, metric: str) -> tuple[tuple[float, float], ...]:
        """Mean over seeds at each step that all of them have."""
        curves = [{point[0]: point[1] for point in run.curves[metric]} for run in self.runs if metric in run.curves]
        shared = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
        return tuple((step, _mean([c[step] for c in curves])) for step in shared)

    def collapsed(self) -> int:
        """Runs of which a quarter of the steps or more raised an alarm of collapse."""
        return sum(max(run.collapse.values(), default=0) >= max(2, run.steps / 4) for run in self.runs)

    def minutes(self) -> float:
        """Mean minutes a run."""
        return _mean([run.run_s for run in self.runs]) / 60


@dataclass(frozen=True, slots=True)
class AblationResult:
    """A set's table: the default first, then variants by name, the controls last."""

    rows: tuple[VariantResult, ...]
    cautions: tuple[str, ...]

    def row(self, name: str) -> VariantResult | None:
        return next((row for row in self.rows if row.variant == name), None)


def compare(summaries: Sequence[RunSummary]) -> AblationResult:
    """Group by variant and pair with the default. Raises EvaluationError when runs asked different tasks."""
    _check_tasks(summaries)
    groups: dict[str, list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(summary.variant, []).append(summary)
    place = {DEFAULT: 0, **{name: 2 + i for i, name in enumerate(CONTROLS)}}
    names = sorted(groups, key=lambda name: (place.get(name, 1), name))
    default = groups.get(DEFAULT, [])
    return AblationResult(tuple(_row(groups[name], default) for name in names), tuple(_cautions(groups)))


def interval(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Interval:
    """Mean of after - before over S seeds and P tasks (both [S][P]) with a 95 % interval, the wider of two:

      over seeds   mean +- t s / sqrt(S), Student's t with S - 1 degrees of freedom: the luck of training
      over tasks   mean +- 1.96 s / sqrt(P), of each task's mean over seeds: the luck of which tasks were asked
    One seed leaves the second. The first alone would be a point where two seeds happen to agree.
    Example: four tasks, each +1, +2, +3 in three seeds -> 2 +- 4.303 x 1 / 1.732 = -0.484 to 4.484.
    """
    differences = [[y - x for x, y in zip(a, b, strict=True)] for a, b in zip(before, after, strict=True)]
    seeds = [_mean(row) for row in differences]
    tasks = [_mean(column) for column in zip(*differences, strict=True)]
    t = T_975[min(len(seeds) - 1, len(T_975)) - 1]
    half = max(t * _standard_error(seeds), Z_975 * _standard_error(tasks))
    mean = _mean(seeds)
    return Interval(mean, mean - half, mean + half)


def _standard_error(values: Sequence[float]) -> float:
    """s / sqrt(n) with n - 1 in s; 0 for a single value, which has no spread."""
    n, mean = len(values), _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0


def _row(runs: Sequence[RunSummary], default: Sequence[RunSummary]) -> VariantResult:
    first = runs[0]
    kinds = first.after.kinds()
    groups = {ALL: list(range(len(kinds)))}
    groups |= {k.value: [i for i, name in enumerate(kinds) if name == k.value] for k in TaskType if k.value in kinds}
    rival = {} if first.variant == DEFAULT else {run.seed: run for run in default}
    cells = {name: _cell(runs, rival, places, greedy=False) for name, places in groups.items()}
    greedy = _cell(runs, rival, groups[ALL], greedy=True)
    paired = sum(run.seed in rival for run in runs)
    return VariantResult(first.variant, first.kind, first.about, tuple(runs), paired, cells, greedy)


def _cell(runs: Sequence[RunSummary], rival: Mapping[int, RunSummary], places: Sequence[int], *, greedy: bool) -> Cell:
    def rates(one: Measurement) -> list[float]:
        every = [float(digit) for digit in one.greedy] if greedy else one.solve_rates()
        return [every[i] for i in places]

    before, after = [rates(run.before) for run in runs], [rates(run.after) for run in runs]
    shared = [run for run in runs if run.seed in rival]
    against = None
    if shared:
        against = interval([rates(rival[run.seed].after) for run in shared], [rates(run.after) for run in shared])
    changes = tuple(_mean(b) - _mean(a) for a, b in zip(before, after, strict=True))
    means = _mean([_mean(r) for r in before]), _mean([_mean(r) for r in after])
    return Cell(len(places), *means, interval(before, after), against, changes)


def _check_tasks(summaries: Sequence[RunSummary]) -> None:
    asked = [{(end.tasks, end.samples) for end in (summary.before, summary.after)} for summary in summaries]
    kinds = set().union(*asked)
    if len(kinds) > 1:
        odd = sorted({summary.name for summary, mine in zip(summaries, asked, strict=True) if mine != asked[0]})
        raise EvaluationError(
            f"the runs asked {len(kinds)} different sets of held-out tasks, so they cannot stand in one table. "
            f"Unlike {summaries[0].name}: {', '.join(odd)}. Remove their summaries and repeat the command."
        )


def _cautions(groups: Mapping[str, Sequence[RunSummary]]) -> Iterator[str]:
    """What a reader must know before comparing rows."""
    every = [run for runs in groups.values() for run in runs]
    if len({run.model_digest for run in every}) > 1:
        yield "The runs began from different weights, so rows differ for another reason than their settings."
    if len({run.steps for run in every}) > 1:
        yield "The runs have different numbers of steps."
    counts = {name: len(runs) for name, runs in groups.items()}
    if len(set(counts.values())) > 1:
        fewest = sorted(name for name, n in counts.items() if n < max(counts.values()))
        yield f"Not every row has all seeds yet; fewer: {', '.join(fewest)}."
    if max(counts.values(), default=0) == 1:
        yield "One seed a row: intervals are over tasks only and say nothing of another seed."
    missing = [name for name in (DEFAULT, *CONTROLS) if name not in groups]
    if missing:
        yield f"Not there yet: {', '.join(missing)}; without them the table has nothing to be read against."
    if any(run.before.correct != run.after.correct for run in groups.get(FROZEN, ())):
        yield "A frozen run answered differently before and after: something but learning moves the numbers."
    commits = {run.commit for run in every}
    if len(commits) > 1:
        yield f"The runs were made by {len(commits)} versions of the code: {', '.join(sorted(commits))}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
