"""benchmarks/learning.md, from what learning_bench.py has measured: changes paired by task, and what they are worth.

Reading order: table (the page), Measured (one measurement as arrays), then its sections.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minizero.statistics import paired_bootstrap
from minizero.tiny.sets import BEYOND, IN_RANGE

SAMPLES = 8
TYPES = {"d": "deduction", "a": "abduction", "i": "induction"}
PROPOSER = (
    "propose/admitted_frac", "propose/duplicate_frac", "propose/program_lines", "propose/learnable_frac",
    "propose/never_frac", "propose/always_frac", "policy/entropy",
)  # fmt: skip
Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One measurement on the held-out tasks, an entry for each task."""

    raw: dict[str, Any]

    @cached_property
    def rate(self) -> Rates:
        """Share of right samples."""
        return np.array([int(digit) for digit in self.raw["correct"]], dtype=float) / SAMPLES

    @cached_property
    def greedy(self) -> Rates:
        return np.array([int(digit) for digit in self.raw["greedy"]], dtype=float)

    @cached_property
    def any(self) -> Rates:
        return (self.rate > 0).astype(float)

    @cached_property
    def reasoned(self) -> Rates:
        return np.array([int(digit) for digit in self.raw["reasoned"]], dtype=float) / SAMPLES

    @cached_property
    def tokens(self) -> Rates:
        return np.array(self.raw["tokens"], dtype=float) / SAMPLES

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        return np.array(self.raw["lines"])

    @cached_property
    def types(self) -> NDArray[np.str_]:
        return np.array(list(self.raw["types"]))


def table(home: Path) -> str:
    """The page, in Markdown. Differences in points to the unchanged base on the same tasks, the mean over seeds first,
    then a 95 % interval by a bootstrap over tasks."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(home.glob("*-*.json")):
        summary = json.loads(path.read_text())
        runs.setdefault(summary["variant"], []).append(summary)
    runs = dict(sorted(runs.items(), key=lambda item: item[0] != "default"))
    measured = {variant: [run for run in group if "trained" in run] for variant, group in runs.items()}
    measured = {variant: group for variant, group in measured.items() if group}
    parts = ["# What self-play teaches the tiny model", ""]
    if (home / "base.json").exists() and measured:
        base = [Measured(raw) for raw in json.loads((home / "base.json").read_text())]
        parts += [*_headline(base, measured)]
        if "default" in measured:
            free, forced = ([Measured(run["trained"][place]) for run in measured["default"]] for place in (0, 1))
            parts += [*_where(base[0], free), *_beyond_sharpening(base, free, forced), *_reasoning(base[0], free)]
    if runs:
        parts += [*_along(runs), *_proposer(runs), "", _machine(next(iter(runs.values()))[0])]
    return "\n".join(parts) + "\n"


def _along(runs: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield from (
        "", "## Along the runs", "",
        "Before the first step and after the last, on 480 held-out tasks, two samples each and the greedy answer: a",
        "look without intervals. Printed by `python benchmarks/learning_bench.py table`.", "",
        "| variant | seed | steps | minutes | greedy, % | T = 1, % | deduction | abduction | induction | reasons, % | "
        "tokens an answer |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    )  # fmt: skip
    for variant, group in runs.items():
        for run in group:
            shares = ("greedy", "solve_rate", *(f"solve_rate/{kind}" for kind in TYPES.values()), "reasoned_frac")
            cells = [_ends(run, f"eval/{name}", 100) for name in shares] + [_ends(run, "eval/answer_tokens", 1)]
            yield (f"| {variant} | {run['seed']} | {run['steps']} | {run['run_s'] / 60:.0f} | {' | '.join(cells)} |")


def _ends(run: dict[str, Any], name: str, scale: int) -> str:
    values = [value for _, value in run["curves"][name]]
    return f"{scale * values[0]:.0f} to {scale * values[-1]:.0f}" if values else ""


def _headline(base: Sequence[Measured], runs: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    plain = base[0]
    yield from (
        f"{len(plain.rate)} held-out tasks, {SAMPLES} samples each at temperature 1 and one greedy answer; the model",
        "chooses whether it reasons. Differences in points to the unchanged base on the same tasks, mean over seeds,",
        "95 % interval by a bootstrap over tasks. Printed by `python benchmarks/learning_bench.py table`.",
        "",
        "| variant | seeds | steps | T = 1 | greedy | pass@8 | greedy, seed by seed | minutes a run |",
        "|---|---|---|---|---|---|---|---|",
        f"| the base itself | | | {_mean(plain.rate)} % | {_mean(plain.greedy)} % | {_mean(plain.any)} % | | |",
    )
    for variant, group in sorted(runs.items(), key=lambda item: item[0] != "default"):
        after = [Measured(run["trained"][0]) for run in group]
        single = ", ".join(f"{100 * (one.greedy - plain.greedy).mean():+.1f}" for one in after)
        minutes = ", ".join(f"{run['run_s'] / 60:.1f}" for run in group)
        changes = (
            _change(getattr(plain, what), [getattr(one, what) for one in after]) for what in ("rate", "greedy", "any")
        )
        yield f"| {variant} | {len(group)} | {group[0]['steps']} | {' | '.join(changes)} | {single} | {minutes} |"


def _where(plain: Measured, free: Sequence[Measured]) -> Iterator[str]:
    yield from (
        "", "## Where the gain is (default)", "",
        f"The base has read programs of {IN_RANGE[0]} to {IN_RANGE[-1]} lines; {BEYOND[0]} to {BEYOND[-1]} lie beyond.",
        "",
        "| tasks | base, T = 1 | greedy | change, T = 1 | greedy |", "|---|---|---|---|---|",
    )  # fmt: skip
    groups = {name: plain.types == letter for letter, name in TYPES.items()}
    groups |= {"in range": np.isin(plain.lines, IN_RANGE), "beyond": np.isin(plain.lines, BEYOND)}
    groups |= {f"{n} to {n + 2} lines": (plain.lines >= n) & (plain.lines < n + 3) for n in (1, 4, 7, 10)}
    for name, mask in groups.items():
        changes = _changes(plain, free, mask=mask)
        before = f"{_mean(plain.rate[mask])} % | {_mean(plain.greedy[mask])} %"
        yield f"| {name} ({mask.sum()}) | {before} | {' | '.join(changes)} |"


def _beyond_sharpening(base: Sequence[Measured], free: Sequence[Measured], forced: Sequence[Measured]) -> Iterator[str]:
    """Against the base at its best temperature, left free and made to reason; greedy answers are temperature 0."""
    temperatures = [m.raw["temperature"] for m in base if m.raw["think"] == "auto"]
    yield from (
        "", "## More than surer answers, more than being told to reason?", "",
        "The unchanged base at each temperature (right answers, %):", "",
        "| base | " + " | ".join(f"T = {temperature}" for temperature in temperatures) + " | greedy |",
        "|---" * (2 + len(temperatures)) + "|",
    )  # fmt: skip
    best: dict[str, tuple[str, Rates]] = {}
    for think, words in (("auto", "left free"), ("on", "made to reason"), ("off", "made to answer at once")):
        mine = [m for m in base if m.raw["think"] == think]
        if not mine:
            continue
        ways = [(f"T = {m.raw['temperature']}", m.rate) for m in mine] + [("greedy", mine[0].greedy)]
        best[think] = max(ways, key=lambda way: way[1].mean())
        blank = [""] * (len(temperatures) - len(mine))
        yield f"| {words} | " + " | ".join([_mean(m.rate) for m in mine] + blank + [_mean(mine[0].greedy)]) + " |"
    yield from ("", "| trained | minus the base | T = 1 | greedy |", "|---|---|---|---|")
    for words, after, think in (
        ("left free", free, "auto"), ("left free", free, "on"), ("made to reason", forced, "on"),
    ):  # fmt: skip
        way, rates = best[think]
        reference = f"{'left free' if think == 'auto' else 'made to reason'}, {way}"
        changes = (_change(rates, [getattr(one, what) for one in after]) for what in ("rate", "greedy"))
        yield f"| {words} | {reference} | {' | '.join(changes)} |"
    way, rates = best["on"]
    beyond = np.isin(base[0].lines, BEYOND)
    for words, after in (("left free, beyond training lengths", free), ("made to reason, beyond", forced)):
        changes = (_change(rates[beyond], [getattr(one, what)[beyond] for one in after]) for what in ("rate", "greedy"))
        yield f"| {words} | made to reason, {way} | {' | '.join(changes)} |"


def _reasoning(plain: Measured, free: Sequence[Measured]) -> Iterator[str]:
    yield from (
        "", "## Reasoning (default, temperature 1)", "",
        "| tasks | answers that reason, before | after | tokens an answer, before | after |", "|---|---|---|---|---|",
    )  # fmt: skip
    for letter, name in TYPES.items():
        mask = plain.types == letter
        share, tokens = (np.mean([getattr(one, what)[mask].mean() for one in free]) for what in ("reasoned", "tokens"))
        yield (
            f"| {name} | {_mean(plain.reasoned[mask])} % | {100 * share:.1f} % | {plain.tokens[mask].mean():.0f} | "
            f"{tokens:.0f} |"
        )


def _proposer(runs: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield from ("", "## The proposer", "", "Means over seeds, first tenth of the steps and last tenth.", "")
    yield "| variant | " + " | ".join(name.partition("/")[2] for name in PROPOSER) + " |"
    yield "|---" * (len(PROPOSER) + 1) + "|"
    for variant, group in sorted(runs.items(), key=lambda item: item[0] != "default"):
        cells = []
        for name in PROPOSER:
            ends = []
            for run in group:
                values = [value for _, value in run["curves"][name]]
                tenth = max(1, len(values) // 10)
                ends.append((np.mean(values[:tenth]), np.mean(values[-tenth:])) if values else (np.nan, np.nan))
            first, last = np.mean(ends, axis=0)
            cells.append(f"{first:.2f} to {last:.2f}")
        yield f"| {variant} | " + " | ".join(cells) + " |"


def _machine(run: dict[str, Any]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items() if k in ("python", "torch", "transformers"))
    return f"Machine: {run['machine']['processor']}, one thread a run; {versions}."


def _changes(
    before: Measured, after: Sequence[Measured], names: Sequence[str] = ("rate", "greedy"), mask: Any = slice(None)
) -> list[str]:
    return [_change(getattr(before, name)[mask], [getattr(one, name)[mask] for one in after]) for name in names]


def _change(before: Rates, after: Sequence[Rates]) -> str:
    """Mean over seeds, then paired over tasks."""
    change = paired_bootstrap(before, np.mean(after, axis=0), np.random.default_rng(0), resamples=4000)
    return f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _mean(values: Rates) -> str:
    return f"{100 * values.mean():.1f}"
