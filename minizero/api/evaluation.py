"""Benchmarks from Python: a model asked and scored, and what several evaluations say together."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.api.run import Run
from minizero.api.settings import Settings, StrPath, overrides
from minizero.types import Progress, Quiet

if TYPE_CHECKING:
    from minizero.evaluation.results import LevelCounts


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation: its directory, and what results.json holds."""

    path: Path
    results: dict[str, Any]

    @property
    def scores(self) -> Mapping[str, Mapping[str, LevelCounts]]:
        """Right answers by level, such as humaneval+, then by side, "base" or "trained"."""
        from minizero.evaluation.results import Results

        return Results.from_json(self.results).scores

    def __fspath__(self) -> str:
        return str(self.path)


def evaluate(
    subject: StrPath | Run,
    *,
    suite: str = "auto",
    n: int = 0,
    style: str = "auto",
    temperature: float = 0.6,
    top_p: float = 0.95,
    max_tokens: int = 0,
    limit: int = 0,
    rng_seed: int = 0,
    path: StrPath | None = None,
    data: StrPath | None = None,
    settings: Settings = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Ask a model benchmark problems and score its answers in the sandbox; an adapter is asked beside its base.

    Args:
        subject: A run, an adapter directory, a model directory, a hub name, or "tiny".
        suite: One or more, separated by commas; auto is humaneval+, and for the tiny model its own held-out tasks.
        n: Sampled answers to each problem, beside the greedy one.
        style: How problems are put: auto (by the model), direct, chat or compact.
        temperature: Of the sampled answers.
        top_p: Of the sampled answers.
        max_tokens: Of an answer; 0: the suite's own.
        limit: Only so many problems of each suite; 0: all.
        rng_seed: Other seeds draw other samples.
        path: The directory of results; without it, evaluations/<subject>-<style>. Killed, the same call goes on there.
        data: Where the benchmarks lie, if not where `minizero evaluate` looks.
        settings: Of the model and its engine, as for load_config.
        progress: As for `train`.

    Raises EvaluationError or another MiniZeroError with what to mend.
    """
    from minizero.evaluation.command import evaluate_command
    from minizero.evaluation.generate import SamplingSettings

    directory = evaluate_command(
        os.fspath(subject),
        SamplingSettings(tuple(suite.split(",")), style, n, temperature, top_p, max_tokens, limit, rng_seed),
        None if path is None else Path(path),
        None if data is None else Path(data),
        tuple(overrides(settings)),
        "minizero",
        progress or Quiet(),
    )
    return Evaluation(directory, json.loads((directory / "results.json").read_text(encoding="utf-8")))


def compare(*evaluations: StrPath | Evaluation, path: StrPath = "comparison") -> list[str]:
    """Compare finished evaluations; what can be concluded, a sentence each. Writes comparison.html and .json to `path`.

    The first one's base is what the others are compared with. Raises EvaluationError for what does not belong together.
    """
    from minizero.report.comparison import write_comparison

    return write_comparison([Path(one) for one in evaluations], Path(path))
