"""Sets of made numbers: what the statistics of an ablation do where the truth is known.

Reading order: Truth and made_set (one set), Rates and study (many). `python -m tests.synthetic_sets` prints the tables
of docs/ablations.md; it takes some minutes.
"""
# S seeds, P tasks, V variants

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minizero.ablate.decisions import decide
from minizero.ablate.effects import plain, spread
from minizero.ablate.plans import Schedule, plan

Floats = NDArray[np.float64]
TASKS = 40


@dataclass(frozen=True, slots=True)
class Truth:
    """A run's mean is normal with standard deviation 1 from seed to seed, and `answers` more by its answers' noise.

    `noise`: factors of both, of the default and then of the variants (the last one repeats). `tasks`: standard
    deviation of a difference over sets of tasks. `effects`: true differences of the first variants; the others have 0.
    """

    variants: int
    effects: tuple[float, ...] = ()
    answers: float = 0.5
    tasks: float = 0.3
    noise: tuple[float, ...] = (1.0,)

    def deviation(self) -> float:
        """Of one seed's difference to the default, where all noise factors are 1."""
        return float(np.sqrt(2 * (1 + self.answers**2)))


def made_set(rng: np.random.Generator, truth: Truth, seeds: int) -> dict[str, list[Floats]]:
    """Differences to the default: variant -> [P] per seed."""
    v, p = truth.variants, TASKS
    factors = [*truth.noise, *[truth.noise[-1]] * (v + 1)][: v + 1]
    runs = rng.normal(size=(v + 1, seeds, 1)) + rng.normal(size=(v + 1, seeds, p)) * truth.answers * np.sqrt(p)
    runs *= np.array(factors)[:, None, None]
    gaps = runs[1:] - runs[:1] + rng.normal(size=(v, 1, p)) * truth.tasks * np.sqrt(p)
    gaps += np.array([*truth.effects, *[0.0] * v][:v])[:, None, None]
    return {f"v{i}": list(gaps[i]) for i in range(v)}


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of sets, and mean numbers of seeds."""

    wrong: float  # sets that tell a variant without effect apart
    found: float  # variants with an effect that are told apart
    seeds_with: float
    seeds_without: float


def study(truth: Truth, asked: Schedule, sets: int, seed: int = 0) -> Rates:
    """Decide many sets of one truth."""
    rng, with_effect = np.random.default_rng(seed), [f"v{i}" for i in range(len(truth.effects))]
    wrong, found, used, unused = 0, 0, 0, 0
    for _ in range(sets):
        made = decide(made_set(rng, truth, asked.seeds), asked)
        apart = {name for name, decision in made.items() if decision.kind == "apart"}
        wrong += bool(apart - set(with_effect))
        found += len(apart & set(with_effect))
        used += sum(made[name].seeds for name in with_effect)
        unused += sum(decision.seeds for name, decision in made.items() if name not in with_effect)
    some, none = max(1, len(with_effect)), max(1, truth.variants - len(with_effect))
    return Rates(wrong / sets, found / sets / some, used / sets / some, unused / sets / none)


def coverage(truth: Truth, seeds: int, sets: int, seed: int = 0) -> float:
    """How often the 95 % interval of one comparison alone holds its true difference, 0."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(sets):
        (gaps,) = made_set(rng, truth, seeds).values()
        found = plain(spread(np.stack(gaps))).interval()
        held += found.low <= 0 <= found.high
    return held / sets


TRUTHS = {
    "all alike": Truth(9),
    "the default noisier, 2x": Truth(9, noise=(2.0, 1.0)),
    "one variant noisier, 3x": Truth(9, noise=(1.0, 3.0, 1.0)),
    "half of them quieter, 1/4": Truth(9, noise=(1.0, 0.25, 0.25, 0.25, 0.25, 1.0)),
    "3 variants, one noisier, 3x": Truth(3, noise=(1.0, 3.0, 1.0)),
    "one variant alone": Truth(1),
}


def tables(many: int) -> Iterator[str]:
    """Lines of Markdown, each as soon as it is known."""
    yield "| truth | 3 seeds | 5 seeds |\n| --- | ---: | ---: |"
    for name, truth in TRUTHS.items():
        yield f"| {name} | " + " | ".join(f"{100 * study(truth, plan(s), many).wrong:.1f} %" for s in (3, 5)) + " |"
    yield "\n| effect | found with 3 seeds | with 5 | seeds used of 5 | without an effect |\n|" + " ---: |" * 5
    for size in (1.5, 2.0, 3.0, 4.0):
        truth = Truth(9, effects=(size * Truth(9).deviation(),) * 3)
        three, five = (study(truth, plan(s), many // 4) for s in (3, 5))
        found = (
            f"{100 * three.found:.0f} % | {100 * five.found:.0f} % | {five.seeds_with:.1f} | {five.seeds_without:.1f}"
        )
        yield f"| {size} | {found} |"
    yield "\n| seeds | seeds vary | tasks vary too | tasks alone |\n|" + " ---: |" * 4
    base = Truth(1, tasks=0.0)
    for s in (2, 3, 5, 8):
        truths = (base, replace(base, tasks=1.5), replace(base, tasks=20.0))
        yield f"| {s} | " + " | ".join(f"{100 * coverage(each, s, many):.1f} %" for each in truths) + " |"


if __name__ == "__main__":
    for line in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 2000):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
