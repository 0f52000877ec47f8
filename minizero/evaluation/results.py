"""What an evaluation found, as results.json holds it: every sample with its judgement, and the counts of each level.

Reading order: Results, then its parts LevelCounts and JudgedSample. read_results says what is wrong with a file; the
`from_json` of each part raises ValueError, KeyError, TypeError or AttributeError for what is none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minizero.formatting import shell, why
from minizero.types import EvaluationError

ROW = {
    "suite": str, "task": str, "side": str, "draw": str, "sample": int, "answer": str, "verdict": dict, "text": str,
    "finish": str, "tokens": int,
}  # fmt: skip
UNNAMED = "another sanitiser, or none"  # of results from before there was a name


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Right answers of one side on one level, task by task: `greedy` 0 or 1, `correct` of the n sampled ones.
    `parsed`: the share of all its answers, in [0, 1], in which something could be read; nan in results from before it
    was counted. `measures`: pass@k, cover@tau and G-Pass@k_tau by name (reliability.curves_of), without intervals;
    `minizero compare` has those."""

    tasks: list[str]
    n: int
    greedy: list[int]
    correct: list[int]
    parsed: float = math.nan
    measures: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> LevelCounts:
        tasks, greedy, correct = (list(found[name]) for name in ("tasks", "greedy", "correct"))
        parsed, measures = float(found.get("parsed", math.nan)), dict(found.get("measures", {}))
        return LevelCounts(tasks, int(found["n"]), greedy, correct, parsed, measures)


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """One sample: which it is (generate.Key), what was read from its text, and the judgement by level."""

    suite: str
    task: str
    side: str
    draw: str
    sample: int
    answer: str
    verdict: Mapping[str, str]
    failed_test: int | None
    text: str
    finish: str
    tokens: int

    @staticmethod
    def from_json(row: Mapping[str, Any], number: int) -> JudgedSample:
        """`number`: which row it is, counted from 1."""
        odd = [name for name, kind in ROW.items() if not isinstance(row[name], kind)]
        if odd:
            raise ValueError(f"{odd[0]} of row {number} is {row[odd[0]]!r:.40}")
        return JudgedSample(**{name: row[name] for name in ROW}, failed_test=row.get("failed_test"))


@dataclass(frozen=True, slots=True)
class Results:
    """One evaluation. `scores` is by level, then side; `prompts` has the problems' texts by task."""

    name: str
    manifest: Mapping[str, Any]
    sanitiser: str
    n: int
    scores: Mapping[str, Mapping[str, LevelCounts]]
    prompts: Mapping[str, str]
    rows: list[JudgedSample]

    @property
    def style(self) -> str:
        """The prompt format that was asked for."""
        return str(self.manifest["plan"]["style"])

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Results:
        rows = [JudgedSample.from_json(row, number) for number, row in enumerate(found["rows"], 1)]
        scores = {
            level: {side: LevelCounts.from_json(counts) for side, counts in by_side.items()}
            for level, by_side in found["scores"].items()
        }
        name, n, sanitiser = str(found["name"]), int(found["n"]), found.get("sanitiser", UNNAMED)
        results = Results(name, found["manifest"], sanitiser, n, scores, found.get("prompts", {}), rows)
        str(results.style)  # a manifest without it is found here
        return results

    def to_json(self) -> dict[str, Any]:
        """As results.json has it."""
        return asdict(self)


def read_results(file: Path) -> Results:
    """results.json. Raises EvaluationError when it is missing, damaged, or not what `minizero evaluate` writes."""
    try:
        return Results.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise EvaluationError(
            f"{file}: no finished evaluation ({why(error)}). Run  minizero evaluate  with --out {shell(file.parent)} : "
            "it goes on where it was."
        ) from None
