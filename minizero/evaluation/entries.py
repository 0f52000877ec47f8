"""What a comparison sets side by side: finished evaluations, read from their directories.

Reading order: Entry, read_entries, and perplexity.json.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minizero.evaluation.problems import PASS
from minizero.evaluation.results import JudgedSample, LevelCounts, read_results
from minizero.types import EvaluationError


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of one evaluation. rows: its samples with verdicts."""

    label: str
    rows: Sequence[JudgedSample]
    n: int
    scores: Mapping[str, LevelCounts]  # by level
    style: str = ""
    source: str = ""
    perplexity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)  # the problems' texts by task
    sanitiser: str = ""  # how answers were read
    manifest: Mapping[str, Any] = field(default_factory=dict)  # of the evaluation: what was asked, and of which weights

    def counts(self, level: str, tasks: Sequence[str], n: int) -> list[int]:
        """Right answers among the first n samples of each task."""
        right = Counter(
            row.task for row in self.rows if row.draw == "sampled" and row.sample < n and row.verdict.get(level) == PASS
        )
        return [right[task] for task in tasks]

    def greedy(self, level: str, tasks: Sequence[str]) -> list[int]:
        """Whether the greedy answer to each task is right."""
        right = {row.task for row in self.rows if row.draw == "greedy" and row.verdict.get(level) == PASS}
        return [int(task in right) for task in tasks]


def read_entries(paths: Sequence[Path]) -> list[Entry]:
    """The sides of finished evaluations, in order; a base that was sampled twice is there twice."""
    entries: list[Entry] = []
    for path in paths:
        file = path if path.is_file() else path / "results.json"
        results = read_results(file)
        sides = list(dict.fromkeys(side for scores in results.scores.values() for side in scores))
        perplexity = _read_perplexity(file.with_name("perplexity.json"))
        for side in sides:
            if len(sides) == 1:
                label = results.name
            elif len(paths) == 1:
                label = side  # "base" and "trained" say it all
            else:
                label = f"{results.name}, base" if side == "base" else results.name
            labels = [entry.label for entry in entries]
            label = f"{label} ({sum(name.startswith(label) for name in labels) + 1})" if label in labels else label
            rows = [row for row in results.rows if row.side == side]
            scores = {level: by_side[side] for level, by_side in results.scores.items()}
            under = perplexity if side != "base" else {}
            about = (results.style, str(path), under, results.prompts, results.sanitiser, results.manifest)
            entries.append(Entry(label, rows, results.n, scores, *about))
    return entries


def _read_perplexity(file: Path) -> dict[str, dict[str, float]]:
    """perplexity.json, {} where there is none. Raises EvaluationError when it is damaged."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {side: {under: float(value) for under, value in row.items()} for side, row in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{file} cannot be read ({error}). Remove it: the same  minizero evaluate  makes it anew."
        ) from None
