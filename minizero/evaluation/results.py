"""What an evaluation found, as results.json holds it: every sample with its judgement, and the counts of each level.

Reading order: Results, then its parts LevelCounts and JudgedSample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Right answers of one side on one level, task by task: `greedy` 0 or 1, `correct` of the n sampled ones.
    `parsed`: the share of all its answers, in [0, 1], in which something could be read. `measures`: pass@k, cover@tau
    and G-Pass@k_tau by name (reliability.curves_of), without intervals; `minizero compare` has those."""

    tasks: list[str]
    n: int
    greedy: list[int]
    correct: list[int]
    parsed: float
    measures: Mapping[str, float]


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

    def to_json(self) -> dict[str, Any]:
        """As results.json has it."""
        return asdict(self)
