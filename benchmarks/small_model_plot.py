"""The pictures of docs/small-model.md: what the proposer did, seed by seed, and what was gained on the held-out half.

    python benchmarks/small_model_plot.py      docs/images/small-model-{light,dark}.svg

Curves are means over ten steps of the runs' metrics in benchmarks/small-model/, gains those of
docs/small-model/heldout.json and, for the control with shuffled rewards, shuffled.json (benchmarks/seeds_mean.py).
Reading order: RUNS, curves, the two panels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from learning_plot import COLOURS, ROOT, draw_curve, picture

from minizero.statistics import Floats, paired_bootstrap

HOME = ROOT / "benchmarks" / "small-model"
HELD_OUT, SHUFFLED = (ROOT / "docs" / "small-model" / name for name in ("heldout.json", "shuffled.json"))
RUNS = ["metrics-params-60.jsonl", "metrics-params-seed1-60.jsonl", "metrics-params-seed2-60.jsonl"]
EVERY = 10  # steps of one point


def curves(name: str) -> dict[int, list[float]]:
    """Step -> the metric's mean over the ten steps that end there in percent, run by run."""
    found: dict[int, list[float]] = {}
    for run in RUNS:
        rows = [json.loads(line) for line in (HOME / run).read_text().splitlines()]
        for start in range(0, len(rows), EVERY):
            values = [row[name] for row in rows[start : start + EVERY] if name in row]
            found.setdefault(start + EVERY, []).append(100 * sum(values) / len(values))
    return found


def draw_tasks(axes: Any, colours: dict[str, str]) -> None:
    for name, words, colour in (
        ("propose/always_frac", "always solved", "frozen"),
        ("propose/duplicate_frac", "duplicates", "shuffled"),
        ("propose/learnable_frac", "learnable", "default"),
    ):
        draw_curve(axes, curves(name), colours[colour], words)
    axes.set_title("duplicates among proposals; admitted tasks, %", fontsize=10, loc="left")


def draw_gains(axes: Any, colours: dict[str, str]) -> None:
    """Trained minus base in points, 95 % interval over functions: the control, each seed, and the mean of seeds."""
    control = solved(SHUFFLED)
    for suite, (base, trained) in solved(HELD_OUT).items():
        kind, colour = ("inputs", "default") if "-i-" in suite else ("outputs", "shuffled")
        seeds = [(base[:, n], trained[:, n]) for n in range(base.shape[1])]
        shuffled, mean = ((before.mean(1), after.mean(1)) for before, after in (control[suite], (base, trained)))
        names = ["shuffled", *(f"seed {n}" for n in range(len(seeds))), "mean"]
        shift = -0.09 if kind == "inputs" else 0.09
        for place, (before, after) in enumerate([shuffled, *seeds, mean]):
            gain = paired_bootstrap(before, after, np.random.default_rng(0))
            width = 3 if names[place] == "mean" else 1.5
            ends = [100 * gain.low, 100 * gain.high]
            axes.plot([place + shift] * 2, ends, color=colours[colour], lw=width)
            axes.plot(place + shift, 100 * gain.value, "o", color=colours[colour], ms=4 + width)
        words = f"{kind} {round(100 * gain.value, 1) + 0.0:+.1f}"  # + 0.0: nothing is +0.0, not -0.0
        axes.annotate(
            words, (place + shift, 100 * gain.value), xytext=(9, 0), color=colours[colour],
            textcoords="offset points", va="center", annotation_clip=False,
        )  # fmt: skip
    axes.axhline(0, color=colours["ink"], lw=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xlabel("")
    axes.set_title("held-out CRUXEval, greedy, points gained", fontsize=10, loc="left")


def solved(path: Path) -> dict[str, tuple[Floats, Floats]]:
    """By suite, which functions base and trained solved, each [P, S]."""
    found = {}
    for suite, by_task in sorted(json.loads(path.read_text())["base, trained by seed"].items()):
        right = np.array(list(by_task.values()), dtype=float)  # [P, 2 S]
        found[suite] = right[:, ::2], right[:, 1::2]
    return found


def main() -> None:
    for mode in COLOURS:
        print(picture("small-model", mode, [draw_tasks, draw_gains]))


if __name__ == "__main__":
    main()
