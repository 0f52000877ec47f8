"""Several trained seeds against one base on the same functions: the mean over seeds, by function.

    python benchmarks/seeds_mean.py EVALUATION EVALUATION ... [--alpha 0.05] [--json FILE]

Each EVALUATION is a finished `minizero evaluate` of one seed's adapter, with its base. Greedy answers are compared. A
function gives one number, the mean over seeds of trained minus base; intervals resample functions, p-values flip the
signs of functions at random, and are corrected by Holm over the suites. The seeds are taken as they are: what others
would do is seen in the spread of these alone. --json keeps which functions each model solved. docs/small-model.md was
made with it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from minizero.ablate.decisions import holm
from minizero.evaluation.entries import Entry, read_entries
from minizero.statistics import Floats, mcnemar, paired_bootstrap

FLIPS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", type=Path)
    parser.add_argument("--alpha", type=float, default=0.05, help="after Holm's correction")
    parser.add_argument("--json", type=Path, help="a file for which functions each model solved")
    options = parser.parse_args()
    pairs = [pair_of(path) for path in options.evaluations]
    refuse_unlike(options.evaluations, pairs)
    suites = sorted(pairs[0][0].scores)
    solved: dict[str, dict[str, list[int]]] = {}
    p_values: dict[str, float] = {}
    for suite in suites:
        tasks = sorted(pairs[0][0].scores[suite].tasks)
        right = np.array([[side.greedy(suite, tasks) for side in pair] for pair in pairs], dtype=float)  # [S, 2, P]
        solved[suite] = {task: right[:, :, n].astype(int).ravel().tolist() for n, task in enumerate(tasks)}
        print(f"\n{suite}, {len(tasks)} functions\n")
        for path, (base, trained) in zip(options.evaluations, right, strict=True):
            test = mcnemar(base, trained)
            print(f"  {path.name}: {100 * base.mean():.1f} to {100 * trained.mean():.1f} %, p = {test.p_value:.3f}")
        base, trained = right.mean(axis=0)
        found = paired_bootstrap(base, trained, np.random.default_rng(0))
        p_values[suite] = sign_flips(trained - base)
        interval = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
        print(
            f"  mean of {len(pairs)} seeds: {100 * found.value:+.1f} ({interval}) points, p = {p_values[suite]:.4f}; "
            f"standard deviation of seeds {100 * spread(right):.1f}"
        )
    print()
    for suite, p in holm(p_values, len(p_values))[0].items():
        reached = "below" if p < options.alpha else "not below"
        print(f"{suite}: p = {p:.4f} after Holm's correction, {reached} {options.alpha:g}")
    if options.json:
        with options.json.open("x") as file:  # nothing is overwritten
            json.dump({"evaluations": [p.name for p in options.evaluations], "base, trained by seed": solved}, file)


def pair_of(path: Path) -> tuple[Entry, Entry]:
    entries = read_entries([path])
    if [entry.label for entry in entries] != ["base", "trained"]:
        raise SystemExit(f"{path} is no evaluation of a base and what was trained from it")
    return entries[0], entries[1]


def refuse_unlike(paths: list[Path], pairs: list[tuple[Entry, Entry]]) -> None:
    """What was asked must be the same of every seed and of its base."""
    asked = [{suite: set(entry.scores[suite].tasks) for suite in entry.scores} for pair in pairs for entry in pair]
    for n, found in enumerate(asked):
        if found != asked[0]:
            raise SystemExit(f"{paths[n // 2]} asks other functions than {paths[0]}: their mean would compare neither")


def sign_flips(differences: Floats) -> float:
    """Two-sided p-value of mean difference 0: the share of random signs of the functions that give as large a mean."""
    rng, mean = np.random.default_rng(0), abs(differences.mean())
    signs = rng.integers(0, 2, size=(FLIPS, len(differences)), dtype=np.int8) * 2 - 1
    as_large = np.abs(signs @ differences / len(differences)) >= mean - 1e-12
    return float((1 + as_large.sum()) / (1 + FLIPS))


def spread(right: Floats) -> float:
    """Standard deviation over seeds of the mean gain; right [S, 2, P]."""
    gains = (right[:, 1] - right[:, 0]).mean(axis=1)
    return float(gains.std(ddof=1)) if len(gains) > 1 else float("nan")


if __name__ == "__main__":
    main()
