"""What runs of a set are compared by: one number per held-out task, and its paired difference to the default.

Reading order: Measure, check_measure, values and before (of a run), half_way (of the default), differences (of a set).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from minizero.ablate.effects import Floats
from minizero.ablate.sets import DEFAULT
from minizero.ablate.summary import RunSummary
from minizero.config import Config
from minizero.types import ConfigError, EvaluationError

Measure = Literal["end", "greedy", "area"]
NAMES: dict[str, str] = {
    "end": "solve rate at temperature 1 after the last step",
    "greedy": "greedy solve rate after the last step",
    "area": "solve rate at temperature 1, mean over the run",
}


def values(run: RunSummary, measure: Measure) -> list[float]:
    """One number from 0 to 1 per held-out task. Raises EvaluationError where a run has no curve for an area."""
    if measure == "greedy":
        return [float(digit) for digit in run.after.greedy]
    if measure == "end":
        return run.after.solve_rates()
    if run.skill is None:
        raise EvaluationError(
            f"{run.name} has no held-out curve, so there is no mean over the run: expected at least three validations. "
            "Run it with eval.every = auto, or compare by --measure end."
        )
    return run.skill.areas()


def check_measure(measure: Measure, configs: Sequence[Config]) -> None:
    """Raise ConfigError where runs of these settings will have no curve to take an area of."""
    for config in configs:
        every, steps = config.eval.every, config.selfplay.steps
        if measure == "area" and (steps < 2 if every == "auto" else not 0 < every < steps):
            raise ConfigError(
                f"--measure area: eval.every = {every} and {steps} steps give no validation between the first and the "
                "last, so there is no mean over the run. Try --set eval.every=auto, or --measure end"
            )


def before(run: RunSummary, measure: Measure) -> list[float]:
    """The same before the first step; an area is a mean of solve rates, so it begins with one."""
    return [float(digit) for digit in run.before.greedy] if measure == "greedy" else run.before.solve_rates()


def half_way(default: Sequence[RunSummary]) -> float | None:
    """The solve rate half way from before to after, over the default's runs; None where they gained nothing."""
    ends = [(sum(run.before.solve_rates()), sum(run.after.solve_rates()), len(run.after.types)) for run in default]
    first, last, tasks = (sum(column) for column in zip(*ends, strict=True)) if ends else (0.0, 0.0, 1)
    return (first + last) / 2 / tasks if last > first else None


def differences(summaries: Sequence[RunSummary], measure: Measure) -> dict[str, list[Floats]]:
    """Of every variant (no control) that shares a seed with the default: [P] per shared seed, in order of seeds."""
    default = {run.seed: run for run in summaries if run.variant == DEFAULT}
    pairs: dict[str, dict[int, Floats]] = {}
    for run in summaries:
        if run.kind == "variant" and run.seed in default:
            gap = np.array(values(run, measure)) - np.array(values(default[run.seed], measure))
            pairs.setdefault(run.variant, {})[run.seed] = gap
    return {name: [by_seed[seed] for seed in sorted(by_seed)] for name, by_seed in pairs.items()}
