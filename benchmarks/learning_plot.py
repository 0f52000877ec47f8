"""The picture of README.md: held-out tasks solved along self-play, beside both controls, for light and dark pages.

    python benchmarks/learning_plot.py         draw docs/images/learning-{light,dark}.svg from benchmarks/learning/
    python benchmarks/learning_plot.py run     first make the runs that give points on the way (an hour of one core)

What is drawn: with the runs of `run` (benchmarks/learning/curves/), the solve rate on 300 validation tasks every ten
steps; without them, what benchmarks/learning_bench.py has measured before and after, on 1,200 held-out tasks. Reading
order: VARIANTS, points (what is drawn), draw, run_one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HOME = ROOT / "benchmarks" / "learning"
CURVES = HOME / "curves"
IMAGES = ROOT / "docs" / "images"
SEEDS, STEPS, EVERY, TASKS, SAMPLES = (0, 1, 2), 60, 10, 300, 4
# name: (words in the picture, settings of a run)
VARIANTS = {
    "default": ("self-play", []),
    "frozen": ("control: nothing is learned", ["optim.freeze=true"]),
    "shuffled": ("control: rewards shuffled", ["selfplay.shuffle_rewards=true"]),
}
COLOURS = {  # Okabe and Ito's, told apart by colour-blind readers too; brighter on dark pages
    "light": {"ink": "#1c2024", "faint": "#d4d8dc", "default": "#0072b2", "frozen": "#7a8087", "shuffled": "#d55e00"},
    "dark": {"ink": "#e6e8ea", "faint": "#3b4249", "default": "#56b4e9", "frozen": "#a5adb5", "shuffled": "#ff9a5a"},
}


def points(variant: str) -> dict[int, list[float]]:
    """Step -> the percentage of held-out tasks solved at temperature 1, seed by seed."""
    found: dict[int, list[float]] = defaultdict(list)
    for path in sorted(CURVES.glob(f"{variant}-*.json")):
        for step, rate in json.loads(path.read_text())["solve_rate"]:
            found[step].append(100 * rate)
    if found:
        return found
    base = json.loads((HOME / "base.json").read_text())["plain"]
    for path in sorted(HOME.glob(f"{variant}-*.json")):
        run = json.loads(path.read_text())
        found[0].append(_percent(base))
        found[run["steps"]].append(_percent(run["trained"]))
    return found


def _percent(measured: dict[str, Any]) -> float:
    """`correct` holds a digit for each task: how many of 8 answers were right."""
    digits = [int(digit) for digit in measured["correct"]]
    return 100 * sum(digits) / (8 * len(digits))


def draw(mode: str) -> Path:
    """One picture for light or dark pages, transparent, the same bytes each time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    colours = COLOURS[mode]
    style = {
        "svg.hashsalt": "minizero", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11,
        "text.color": colours["ink"], "axes.labelcolor": colours["ink"], "axes.edgecolor": colours["faint"],
        "xtick.color": colours["ink"], "ytick.color": colours["ink"], "axes.spines.top": False,
        "axes.spines.right": False,
    }  # fmt: skip
    along = any(CURVES.glob("*.json"))
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(8.9, 3.6))
        for variant, (words, _) in VARIANTS.items():
            by_step = points(variant)
            steps = sorted(by_step)
            for seed in range(min(len(by_step[step]) for step in steps)):
                axes.plot(steps, [by_step[s][seed] for s in steps], color=colours[variant], lw=1, alpha=0.45)
            means = [sum(by_step[s]) / len(by_step[s]) for s in steps]
            axes.plot(steps, means, color=colours[variant], lw=2.5, marker="o", ms=5)
            axes.annotate(
                f"{words} ({means[-1] - means[0]:+.1f})", (steps[-1], means[-1]), xytext=(10, 0),
                textcoords="offset points", va="center", color=colours[variant], annotation_clip=False,
            )  # fmt: skip
        tasks = f"{TASKS} validation tasks, {SAMPLES} answers" if along else "1,200 held-out tasks, 8 answers"
        axes.set(xlabel="steps of self-play", ylabel="solved, %", xlim=(-1, STEPS))
        axes.set_title(f"Tiny model, {tasks} each, temperature 1; thin: seeds, thick: mean", fontsize=11, loc="left")
        axes.yaxis.set_major_locator(ticker.MultipleLocator(5))
        axes.grid(axis="y", color=colours["faint"], lw=0.7)
        figure.subplots_adjust(left=0.08, right=0.68, top=0.90, bottom=0.15)
        path = IMAGES / f"learning-{mode}.svg"
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return path


def run_one(variant: str, seed: int) -> None:
    """One self-play run that validates every EVERY steps; its summary is kept, and a run that has one is not made
    again."""
    out = CURVES / f"{variant}-{seed}.json"
    if out.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = [
            f"run.dir={scratch!r}", f"run.rng_seed={seed}", f"selfplay.steps={STEPS}", f"eval.every={EVERY}",
            f"eval.limit={TASKS}", f"eval.samples={SAMPLES}", "run.rollouts_every=0", "run.checkpoint_every=0",
            "run.threads=1", "sandbox.workers=1", *VARIANTS[variant][1],
        ]  # fmt: skip
        command = [sys.executable, "-m", "minizero", "selfplay", "tiny", *(f"--set={text}" for text in settings)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (run,) = Path(scratch).iterdir()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        manifest = json.loads((run / "manifest.json").read_text())
    rates = {row["step"]: row["eval/solve_rate"] for row in rows if "eval/solve_rate" in row}
    summary = {"variant": variant, "seed": seed, "settings": VARIANTS[variant][1], "solve_rate": sorted(rates.items())}
    summary |= {name: manifest[name] for name in ("versions", "machine", "commit")}
    out.write_text(json.dumps(summary) + "\n")
    print(f"{variant} {seed}: {100 * rates[STEPS]:.1f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=["draw", "run"], default="draw")
    if parser.parse_args().command == "run":
        CURVES.mkdir(exist_ok=True)
        for seed in SEEDS:
            for variant in VARIANTS:
                run_one(variant, seed)
    for mode in COLOURS:
        print(draw(mode))


if __name__ == "__main__":
    main()
