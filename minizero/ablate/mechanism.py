"""What a variant did to the proposer and the policy: curves over seeds, and their late difference to the default.

Reading order: curve_of, mean_curve, ends, late_difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minizero.ablate.effects import plain, spread
from minizero.ablate.summary import RunSummary
from minizero.statistics import Interval


def curve_of(run: RunSummary, metric: str) -> list[tuple[float, float]]:
    """(step, value) of a metric of one run, held-out skill among them; [] where the run has none."""
    if metric in run.curves:
        return [(point[0], point[1]) for point in run.curves[metric]]
    held_out = {"eval/solve_rate": run.skill.sampled, "eval/greedy": run.skill.greedy} if run.skill else {}
    return list(zip(run.skill.steps, held_out[metric], strict=True)) if run.skill and metric in held_out else []


def mean_curve(runs: Sequence[RunSummary], metric: str) -> tuple[tuple[float, float], ...]:
    """Mean over seeds at each step that all of them have."""
    curves = [dict(found) for run in runs if (found := curve_of(run, metric))]
    shared = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
    return tuple((step, mean([c[step] for c in curves])) for step in shared)


def ends(runs: Sequence[RunSummary], metric: str) -> tuple[float, float] | None:
    """Mean over seeds of a curve's first and last tenth (at least one reading each)."""
    curves = [[value for _, value in run.curves[metric]] for run in runs if metric in run.curves]
    tenths = [(values, max(1, len(values) // 10)) for values in curves]
    both = mean([mean(v[:n]) for v, n in tenths]), mean([mean(v[-n:]) for v, n in tenths])
    return both if curves else None


def late_difference(runs: Sequence[RunSummary], default: Sequence[RunSummary], metric: str) -> Interval | None:
    """Mean of the last quarter of a curve, minus the default's of the same seed, with Student's t over seeds.

    None with fewer than two shared seeds that have the metric.
    """
    rival = {run.seed: run for run in default if metric in run.curves}
    gaps = [[_late(run, metric) - _late(rival[run.seed], metric)] for run in runs
            if run.seed in rival and metric in run.curves]  # fmt: skip
    return plain(spread(np.array(gaps))).interval() if len(gaps) > 1 else None


def _late(run: RunSummary, metric: str) -> float:
    values = [value for _, value in run.curves[metric]]
    return mean(values[-max(1, len(values) // 4) :])


def mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return sum(values) / len(values) if values else math.nan
