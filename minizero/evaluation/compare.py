"""Finished evaluations side by side: every number of the comparison, as plain data for the page and the JSON.

Reading order: Entry and read_entries, then compare (the story): one table per level, then each entry against the first.
"""
# P problems, n samples of each

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minizero import statistics as passk
from minizero.evaluation.problems import PASS
from minizero.types import EvaluationError

RESAMPLES = 4000  # moves an end of an interval by less than a tenth of its width
SEED = 20_251


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of one evaluation. rows: its samples with verdicts."""

    label: str
    rows: Sequence[Mapping[str, Any]]
    n: int
    scores: Mapping[str, Mapping[str, Any]]  # by level: tasks, greedy, correct
    style: str = ""
    source: str = ""
    perplexity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)  # the problems' texts by task
    sanitiser: str = ""  # how answers were read

    def counts(self, level: str, tasks: Sequence[str], n: int) -> list[int]:
        """Right answers among the first n samples of each task."""
        found = Counter(
            row["task"]
            for row in self.rows
            if row["draw"] == "sampled" and row["sample"] < n and row["verdict"].get(level) == PASS
        )
        return [found[task] for task in tasks]

    def greedy(self, level: str, tasks: Sequence[str]) -> list[int]:
        """Whether the greedy answer to each task is right."""
        right = {r["task"] for r in self.rows if r["draw"] == "greedy" and r["verdict"].get(level) == PASS}
        return [int(task in right) for task in tasks]


def read_entries(paths: Sequence[Path]) -> list[Entry]:
    """The sides of finished evaluations, in order; a base that was sampled twice is there twice."""
    entries: list[Entry] = []
    for path in paths:
        file = path / "results.json" if path.is_dir() else path
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            sides = list(dict.fromkeys(side for scores in found["scores"].values() for side in scores))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise EvaluationError(
                f"{path}: no finished evaluation ({type(error).__name__}: {error}). Run  minizero evaluate  first."
            ) from None
        beside = file.with_name("perplexity.json")
        surprise = json.loads(beside.read_text()) if beside.is_file() else {}
        for side in sides:
            if len(sides) == 1:
                label = str(found["name"])
            elif len(paths) == 1:
                label = side  # "base" and "trained" say it all
            else:
                label = f"{found['name']}, base" if side == "base" else str(found["name"])
            labels = [entry.label for entry in entries]
            label = f"{label} ({sum(name.startswith(label) for name in labels) + 1})" if label in labels else label
            rows = [row for row in found["rows"] if row["side"] == side]
            scores = {level: by_side[side] for level, by_side in found["scores"].items()}
            style = found["manifest"]["plan"]["style"]
            told = surprise if side != "base" else {}
            prompts, sanitiser = found.get("prompts", {}), found.get("sanitiser", "another sanitiser, or none")
            entries.append(Entry(label, rows, found["n"], scores, style, str(path), told, prompts, sanitiser))
    return entries


def compare(entries: Sequence[Entry], *, exclude: Sequence[str] = ()) -> dict[str, Any]:
    """All numbers. `exclude`: tasks that the run's own tasks overlap with; scores without them stand beside.

    Raises EvaluationError when there is nothing to compare: no level in common, or other tasks.
    """
    if not entries:
        raise EvaluationError("nothing to compare: name at least one finished evaluation.")
    levels = [level for level in entries[0].scores if all(level in entry.scores for entry in entries)]
    if not levels:
        raise EvaluationError("these evaluations have no suite in common, so there is nothing to compare.")
    return {
        "entries": [{"label": e.label, "n": e.n, "format": e.style, "source": e.source} for e in entries],
        "cautions": _cautions(entries),
        "levels": {level: _level(level, entries, frozenset(exclude)) for level in levels},
        "formats": {entry.label: _format(entry) for entry in entries},
        "perplexity": {entry.label: entry.perplexity for entry in entries if entry.perplexity},
    }


def _cautions(entries: Sequence[Entry]) -> list[str]:
    found = []
    styles = {entry.style for entry in entries}
    if len(styles) > 1:
        found.append(
            f"The prompt formats differ ({', '.join(sorted(styles))}). A format moves scores by tens of points: these "
            "numbers do not tell the models apart."
        )
    if len({entry.sanitiser for entry in entries}) > 1:
        found.append("The answers were read by different sanitisers. Run  minizero evaluate  again: it scores anew.")
    if len({entry.n for entry in entries}) > 1:
        found.append(
            "The evaluations have different numbers of samples; pairs are compared on the samples that both have."
        )
    return found


def _level(level: str, entries: Sequence[Entry], excluded: frozenset[str]) -> dict[str, Any]:
    tasks = list(entries[0].scores[level]["tasks"])
    for entry in entries[1:]:
        odd = set(tasks) ^ set(entry.scores[level]["tasks"])
        if odd:
            raise EvaluationError(
                f"{entry.label} and {entries[0].label} answered different tasks of {level} ({len(odd)} differ, for "
                f"example {min(odd)}). Evaluate both with the same --limit."
            )
    kept = [task for task in tasks if task not in excluded]
    return {
        "problems": len(tasks),
        "models": {entry.label: _alone(level, entry, tasks, kept) for entry in entries},
        "pairs": [_pair(level, entries[0], entry, tasks) for entry in entries[1:]],
    }


def _alone(level: str, entry: Entry, tasks: list[str], kept: list[str]) -> dict[str, Any]:
    greedy = entry.greedy(level, tasks)
    found: dict[str, Any] = {"greedy": asdict(passk.wilson(sum(greedy), len(tasks))), "n": entry.n}
    if kept != tasks and kept:
        found["greedy_without_overlap"] = asdict(passk.wilson(sum(entry.greedy(level, kept)), len(kept)))
        if entry.n:
            without = passk.pass_at_k_curve(entry.counts(level, kept, entry.n), entry.n)
            found["curve_without_overlap"] = [float(value) for value in without]
    if entry.n:
        counts = entry.counts(level, tasks, entry.n)
        rng = np.random.default_rng(SEED)
        curve = passk.pass_at_k_intervals(counts, entry.n, rng, resamples=RESAMPLES)
        found |= {
            "curve": [asdict(point) for point in curve],
            "steady_k": entry.n // 2,
            "histogram": passk.accuracy_histogram(counts, entry.n),
            "unseen_bound": passk.unseen_bound(entry.n),
        }
    return found


def _pair(level: str, base: Entry, other: Entry, tasks: list[str]) -> dict[str, Any]:
    ours, theirs = base.greedy(level, tasks), other.greedy(level, tasks)
    rng = np.random.default_rng(SEED)
    found: dict[str, Any] = {
        "base": base.label,
        "trained": other.label,
        "greedy_difference": asdict(passk.paired_bootstrap(ours, theirs, rng, resamples=RESAMPLES)),
        "mcnemar": asdict(passk.mcnemar(ours, theirs)),
    }
    n = min(base.n, other.n)
    if not n:
        return found
    a, b = base.counts(level, tasks, n), other.counts(level, tasks, n)
    found |= {
        "n": n,
        "difference": [asdict(p) for p in passk.pass_at_k_difference(a, b, n, rng, resamples=RESAMPLES)],
        "coverage": asdict(passk.coverage(a, b, n)),
        "coverage_intervals": {
            name: asdict(cell) for name, cell in passk.coverage_intervals(a, b, n, rng, resamples=RESAMPLES).items()
        },
    }
    if n > 1:
        # Half against half: what chance alone puts into "only" cells, on the same number of samples.
        found["coverage_at_half"] = asdict(passk.coverage_at(a, b, n, n // 2))
        found["null_split"] = asdict(passk.null_split(a, n))
    return found


def _format(entry: Entry) -> dict[str, Any]:
    """Finish reasons, lengths and answers that could not be read, per draw."""
    found = {}
    for draw in ("greedy", "sampled"):
        rows = [row for row in entry.rows if row["draw"] == draw]
        if rows:
            lengths = sorted(row["tokens"] for row in rows)
            found[draw] = {
                "samples": len(rows),
                "finish": dict(Counter(row["finish"] for row in rows)),
                "mean_tokens": sum(lengths) / len(lengths),
                "median_tokens": lengths[len(lengths) // 2],
                "no_answer": sum(not row["answer"].strip() for row in rows),
                "statuses": dict(Counter(next(iter(row["verdict"].values())) for row in rows)),
            }
    return found
