"""Skill over time: the held-out curve of a run, the area under it, and when it first reached a level.

Reading order: SkillCurve and skill_curve (from the validations of a run); reach, Reached and reached (censored times).

Two designs that end alike may have learned at different speed, and a mean over the run is steadier than its last point.
"""
# V validations, P tasks

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from minizero.ablate.effects import Floats, plain, spread
from minizero.selfplay.validation import Validation
from minizero.statistics import Interval

FEWEST = 3  # validations: with two, the area is only the mean of first and last
Axis = Literal["steps", "seconds", "tokens"]
AXES: tuple[Axis, ...] = ("steps", "seconds", "tokens")


@dataclass(frozen=True, slots=True)
class SkillCurve:
    """Held-out skill at every validation. Seconds and tokens count self-play steps alone, not the validations."""

    steps: Sequence[int]
    seconds: Sequence[float]
    tokens: Sequence[float]  # generated so far
    sampled: Sequence[float]  # share of right samples; of right greedy answers where nothing is sampled
    greedy: Sequence[float]
    area: Sequence[int]  # of each task, in thousandths: its mean over the run, by the trapezoid rule over steps

    def areas(self) -> list[float]:
        """Each task's area, from 0 to 1."""
        return [value / 1000 for value in self.area]


def skill_curve(validations: Sequence[Validation], step_rows: Sequence[dict[str, Any]]) -> SkillCurve | None:
    """The curve of a run; None with fewer than three validations. `step_rows`: the metrics of its steps.

    Example: a task right in 0, 1/2, 1 of its samples at steps 0, 10, 30 -> area (10 x 1/4 + 20 x 3/4) / 30 = 0.583.
    """
    if len(validations) < FEWEST:
        return None
    steps = [validation.step for validation in validations]
    greedy = np.array([[float(row["greedy"]) for row in validation.rows] for validation in validations])
    sampled = np.array([v.solve_rates() for v in validations]) if validations[0].samples else greedy
    areas = area(steps, sampled)
    return SkillCurve(
        steps,
        _passed(step_rows, steps, "time/step_s"),
        _passed(step_rows, steps, "rollout/generated_tokens"),
        [round(float(value), 5) for value in sampled.mean(axis=1)],
        [round(float(value), 5) for value in greedy.mean(axis=1)],
        [round(1000 * float(value)) for value in areas],
    )


def area(steps: Sequence[float], values: Floats) -> Floats:
    """Mean over the run of values[V, ...] between its first and last step: trapezoids over the length; shape [...]."""
    widths = np.diff(np.asarray(steps, dtype=np.float64))
    middles = (values[1:] + values[:-1]) / 2
    return np.asarray(np.tensordot(widths, middles, axes=1) / widths.sum(), dtype=np.float64)


def _passed(rows: Sequence[dict[str, Any]], steps: Sequence[int], name: str) -> list[float]:
    """A metric summed over all steps up to each of those given."""
    return [round(sum(float(row.get(name, 0.0)) for row in rows if row["step"] <= step), 1) for step in steps]


@dataclass(frozen=True, slots=True)
class Reached:
    """When the runs of a variant first reached a level: times by seed, those that never did as their run's length."""

    times: tuple[float, ...]
    of: tuple[bool, ...]  # whether it was reached
    against_default: Interval | None  # paired by seed; None for the default and with fewer than two shared seeds

    @property
    def mean(self) -> float:
        """Restricted mean time: a run that did not get there counts as its length, so it is a lower bound then.

        (Royston & Parmar 2013, BMC Med. Res. Methodol. 13:152.)
        """
        return sum(self.times) / len(self.times)

    @property
    def is_censored(self) -> bool:
        return not all(self.of)


def reach(curve: SkillCurve, level: float, axis: Axis = "steps") -> tuple[float, bool]:
    """The first time at or above a level, on a straight line between two validations; else the run's end and False.

    Example: 40, 44, 52 % at steps 0, 10, 20: level 48 % -> 15, True; level 60 % -> 20, False.
    """
    times: Sequence[float] = getattr(curve, axis)
    values = curve.sampled
    for i, value in enumerate(values):
        if value >= level:
            before = values[i - 1] if i else value
            part = 1.0 if value == before else (level - before) / (value - before)
            return (times[i - 1] + part * (times[i] - times[i - 1]), True) if i else (times[0], True)
    return times[-1], False


def reached(
    curves: Mapping[int, SkillCurve], default: Mapping[int, SkillCurve] | None, level: float, axis: Axis = "steps"
) -> Reached | None:
    """Times to a level by seed, and their paired difference to the default's (None for the default itself).

    None without a curve.
    """
    if not curves:
        return None
    mine = {seed: reach(curve, level, axis) for seed, curve in sorted(curves.items())}
    theirs = {seed: reach(curve, level, axis) for seed, curve in (default or {}).items()}
    gaps = [[time - theirs[seed][0]] for seed, (time, _) in mine.items() if seed in theirs]
    against = plain(spread(np.array(gaps))).interval() if len(gaps) > 1 else None
    return Reached(tuple(time for time, _ in mine.values()), tuple(got for _, got in mine.values()), against)


def all_reached(
    curves: Mapping[int, SkillCurve], default: Mapping[int, SkillCurve] | None, level: float | None
) -> dict[str, Reached]:
    """By steps, seconds and tokens; {} without a level or a curve."""
    found = {axis: reached(curves, default, level, axis) for axis in AXES} if level is not None else {}
    return {axis: times for axis, times in found.items() if times}
