"""The picture of README.md: self-play beside both controls, and how long its answers grow, for light and dark pages.

    python benchmarks/learning_plot.py         docs/images/learning-{light,dark}.svg from benchmarks/learning/

What is drawn are the validations along the runs of learning_bench.py, on held-out tasks. Reading order: VARIANTS,
curve, draw, picture (for other pages' pictures too), then the two halves.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HOME = ROOT / "benchmarks" / "learning"
IMAGES = ROOT / "docs" / "images"
VARIANTS = {"default": "self-play", "frozen": "frozen", "shuffled": "rewards shuffled"}
TYPES = ("deduction", "abduction", "induction")
COLOURS = {  # Okabe and Ito's, told apart by colour-blind readers too; brighter on dark pages
    "light": {
        "ink": "#1c2024", "faint": "#d4d8dc", "default": "#0072b2", "frozen": "#7a8087", "shuffled": "#d55e00",
        "deduction": "#0072b2", "abduction": "#009e73", "induction": "#a0568c",
    },
    "dark": {
        "ink": "#e6e8ea", "faint": "#3b4249", "default": "#56b4e9", "frozen": "#a5adb5", "shuffled": "#ff9a5a",
        "deduction": "#56b4e9", "abduction": "#3ddc97", "induction": "#e6a3d0",
    },
}  # fmt: skip

Panel = Callable[[Any, dict[str, str]], None]  # matplotlib's axes, colours


def curve(variant: str, name: str) -> dict[int, list[float]]:
    """Step -> a metric's values there, seed by seed."""
    found: dict[int, list[float]] = defaultdict(list)
    for path in sorted(HOME.glob(f"{variant}-*.json")):
        for step, value in json.loads(path.read_text())["curves"][name]:
            found[step].append(value)
    return found


def draw(mode: str) -> Path:
    """One picture for light or dark pages."""
    return picture("learning", mode, [_draw_skill, _draw_length])


def picture(name: str, mode: str, panels: Sequence[Panel]) -> Path:
    """Panels side by side for light or dark pages, transparent, the same bytes each time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    colours = COLOURS[mode]
    style = {
        "svg.hashsalt": "minizero", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
        "text.color": colours["ink"], "axes.labelcolor": colours["ink"], "axes.edgecolor": colours["faint"],
        "xtick.color": colours["ink"], "ytick.color": colours["ink"], "axes.spines.top": False,
        "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure, all_axes = pyplot.subplots(1, len(panels), figsize=(8.9, 3.2))
        for axes, panel in zip(all_axes, panels, strict=True):
            axes.set_xlabel("steps of self-play")
            axes.grid(axis="y", color=colours["faint"], lw=0.7)
            panel(axes, colours)
        figure.subplots_adjust(left=0.06, right=0.90, top=0.90, bottom=0.16, wspace=0.62)
        path = IMAGES / f"{name}-{mode}.svg"
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return path


def _draw_skill(axes: Any, colours: dict[str, str]) -> None:
    for variant, words in VARIANTS.items():
        if not (values := curve(variant, "eval/greedy")):
            continue  # not run yet
        shown = {step: [100 * value for value in row] for step, row in values.items()}
        draw_curve(axes, shown, colours[variant], words, sign="+.1f")
    axes.set_title("held-out tasks, % right (greedy)", fontsize=10, loc="left")


def _draw_length(axes: Any, colours: dict[str, str]) -> None:
    for kind in TYPES:
        draw_curve(axes, curve("default", f"eval/answer_tokens/{kind}"), colours[kind], kind)
    axes.set_title("tokens an answer (temperature 1)", fontsize=10, loc="left")


def draw_curve(axes: Any, by_step: dict[int, list[float]], colour: str, words: str, sign: str = "") -> None:
    """Seeds thin, their mean thick, its name at the end with what it changed by."""
    steps = sorted(by_step)
    for seed in range(min(map(len, by_step.values()))):
        axes.plot(steps, [by_step[step][seed] for step in steps], color=colour, lw=1, alpha=0.4)
    means = [sum(by_step[step]) / len(by_step[step]) for step in steps]
    axes.plot(steps, means, color=colour, lw=2.3, marker="o", ms=4)
    change = f" {means[-1] - means[0]:{sign}}" if sign else ""
    axes.annotate(
        words + change, (steps[-1], means[-1]), xytext=(8, 0), textcoords="offset points", va="center", color=colour,
        annotation_clip=False,
    )  # fmt: skip


def main() -> None:
    for mode in COLOURS:
        print(draw(mode))


if __name__ == "__main__":
    main()
