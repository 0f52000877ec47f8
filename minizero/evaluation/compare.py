"""Finished evaluations side by side: every number of the comparison, for the page and the JSON.

Reading order: Comparison and what it is made of; then compare: per level (a benchmark's test set, such as humaneval+)
each entry (entries.py) alone, and each against the first. as_json is what comparison.json holds.
"""
# P problems, n samples of each

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from minizero import statistics
from minizero.evaluation import reliability
from minizero.evaluation.entries import Entry
from minizero.statistics import Interval
from minizero.types import EvaluationError

RESAMPLES = 4000  # moves an end of an interval by less than a tenth of its width
SEED = 20_251


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One entry on one level. What needs samples is None where n is 0; `..._without_overlap` where nothing overlaps."""

    greedy: Interval
    n: int  # samples of each problem
    greedy_without_overlap: Interval | None = None
    curve_without_overlap: tuple[float, ...] | None = None
    curve: tuple[Interval, ...] | None = None  # pass@k for k = 1 to n
    steady_k: int | None = None  # beyond it pass@k rests on about one draw
    histogram: Mapping[str, int] | None = None  # statistics.BINS -> problems
    unseen_bound: float | None = None  # the solve rate that a problem without a right sample may still have
    cover: tuple[Interval, ...] | None = None  # cover@tau for tau = 1/n, 2/n, ..., 1
    g_pass: Mapping[str, Mapping[str, Interval]] | None = None  # by k, then tau; under "mean" mG-Pass@k


@dataclass(frozen=True, slots=True)
class PairComparison:
    """One entry against the first, on one level. What needs samples is None where either has none."""

    base: str
    trained: str
    greedy_difference: Interval
    mcnemar: statistics.McNemar
    n: int | None = None  # samples that both have
    difference: tuple[Interval, ...] | None = None  # pass@k of trained minus base for k = 1 to n
    coverage: statistics.Coverage | None = None
    coverage_intervals: Mapping[str, Interval] | None = None
    coverage_at_half: statistics.Coverage | None = None
    null_split: statistics.Coverage | None = None
    cover_difference: tuple[Interval, ...] | None = None  # cover@tau of trained minus base for tau = 1/n, ..., 1
    g_pass_difference: Mapping[str, Mapping[str, Interval]] | None = None
    half: HalfDifference | None = None


@dataclass(frozen=True, slots=True)
class HalfDifference:
    """Both models measured on m = n // 2 samples, and what m of the base's samples against m others of them give:
    differences within the null's ends need no training. pass@k for k = 1 to m, cover@tau for tau = 1/m, ..., 1."""

    m: int
    pass_difference: tuple[Interval, ...]
    pass_null: tuple[Interval, ...]
    cover_difference: tuple[Interval, ...]
    cover_null: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """Every entry on one level."""

    problems: int
    models: Mapping[str, ModelScores]  # by label
    pairs: tuple[PairComparison, ...]


@dataclass(frozen=True, slots=True)
class FormatCounts:
    """Counts of finish reasons and parse results, for greedy or sampled answers."""

    samples: int
    finish: Mapping[str, int]
    mean_tokens: float
    median_tokens: int
    no_answer: int
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EntrySource:
    """Where an entry comes from."""

    label: str
    n: int
    format: str
    source: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All numbers of a comparison; the first entry is what the others are compared with."""

    entries: tuple[EntrySource, ...]
    cautions: tuple[str, ...]
    levels: Mapping[str, LevelComparison]
    formats: Mapping[str, Mapping[str, FormatCounts]]  # by label and draw
    perplexity: Mapping[str, Mapping[str, Mapping[str, float]]]  # by label, side that answered, side that scores


def as_json(value: Any) -> Any:
    """Dataclasses as dicts without what is None; everything inside likewise."""
    if is_dataclass(value):
        pairs = ((part.name, getattr(value, part.name)) for part in fields(value))
        return {name: as_json(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, Mapping):
        return {key: as_json(inner) for key, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def compare(entries: Sequence[Entry], *, exclude: Sequence[str] = ()) -> Comparison:
    """All numbers. `exclude`: tasks that the run's own tasks overlap with; scores without them stand beside.

    Raises EvaluationError when there is nothing to compare: no level in common, or other tasks.
    """
    if not entries:
        raise EvaluationError("nothing to compare: name at least one finished evaluation.")
    levels = [level for level in entries[0].scores if all(level in entry.scores for entry in entries)]
    if not levels:
        raise EvaluationError("these evaluations have no suite in common, so there is nothing to compare.")
    return Comparison(
        tuple(EntrySource(e.label, e.n, e.style, e.source) for e in entries),
        tuple(_cautions(entries)),
        {level: _level(level, entries, frozenset(exclude)) for level in levels},
        {entry.label: _formats(entry) for entry in entries},
        {entry.label: entry.perplexity for entry in entries if entry.perplexity},
    )


def _cautions(entries: Sequence[Entry]) -> list[str]:
    cautions = []
    styles = {entry.style for entry in entries}
    if len(styles) > 1:
        cautions.append(
            f"The prompt formats differ ({', '.join(sorted(styles))}). A format moves scores by tens of points: these "
            "numbers do not tell the models apart."
        )
    if len({entry.sanitiser for entry in entries}) > 1:
        cautions.append("The answers were read by different sanitisers. Run  minizero evaluate  again: it scores anew.")
    if len({entry.n for entry in entries}) > 1:
        cautions.append(
            "The evaluations have different numbers of samples; pairs are compared on the samples that both have."
        )
    return cautions


def _level(level: str, entries: Sequence[Entry], excluded: frozenset[str]) -> LevelComparison:
    tasks = entries[0].scores[level].tasks
    for entry in entries[1:]:
        odd = set(tasks) ^ set(entry.scores[level].tasks)
        if odd:
            raise EvaluationError(
                f"{entry.label} and {entries[0].label} answered different tasks of {level} ({len(odd)} differ, for "
                f"example {min(odd)}). Evaluate both with the same --limit."
            )
    kept = [task for task in tasks if task not in excluded]
    models = {entry.label: _alone(level, entry, tasks, kept) for entry in entries}
    return LevelComparison(len(tasks), models, tuple(_pair(level, entries[0], entry, tasks) for entry in entries[1:]))


def _alone(level: str, entry: Entry, tasks: list[str], kept: list[str]) -> ModelScores:
    greedy, n = entry.greedy(level, tasks), entry.n
    scores = ModelScores(statistics.wilson(sum(greedy), len(tasks)), n)
    if kept != tasks and kept:
        scores = replace(scores, greedy_without_overlap=statistics.wilson(sum(entry.greedy(level, kept)), len(kept)))
        if n:
            without = statistics.pass_at_k_curve(entry.counts(level, kept, n), n)
            scores = replace(scores, curve_without_overlap=tuple(map(float, without)))
    if not n:
        return scores
    counts = entry.counts(level, tasks, n)
    curve = statistics.pass_at_k_intervals(counts, n, _rng(), resamples=RESAMPLES)

    def measured(table: statistics.Floats) -> list[Interval]:
        return reliability.intervals(counts, table, _rng(), resamples=RESAMPLES)

    return replace(
        scores, curve=tuple(curve), steady_k=n // 2, histogram=statistics.accuracy_histogram(counts, n),
        unseen_bound=statistics.unseen_bound(n),
        cover=tuple(measured(reliability.cover_table(n))), g_pass=reliability.g_pass_by_name(n, measured),
    )  # fmt: skip


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def _pair(level: str, base: Entry, other: Entry, tasks: list[str]) -> PairComparison:
    ours, theirs = base.greedy(level, tasks), other.greedy(level, tasks)
    rng = np.random.default_rng(SEED)
    gap = statistics.paired_bootstrap(ours, theirs, rng, resamples=RESAMPLES)
    pair = PairComparison(base.label, other.label, gap, statistics.mcnemar(ours, theirs))
    n = min(base.n, other.n)
    if not n:
        return pair
    a, b = base.counts(level, tasks, n), other.counts(level, tasks, n)

    def differing(table: statistics.Floats) -> list[Interval]:
        return reliability.difference(a, b, table, _rng(), resamples=RESAMPLES)

    pair = replace(
        pair, n=n,
        difference=tuple(statistics.pass_at_k_difference(a, b, n, rng, resamples=RESAMPLES)),
        coverage=statistics.coverage(a, b, n),
        coverage_intervals=statistics.coverage_intervals(a, b, n, rng, resamples=RESAMPLES),
        cover_difference=tuple(differing(reliability.cover_table(n))),
        g_pass_difference=reliability.g_pass_by_name(n, differing),
    )  # fmt: skip
    if n == 1:
        return pair
    # Half against half: what chance alone puts into "only" cells, on the same number of samples.
    at_half = statistics.coverage_at(a, b, n, n // 2)
    half = _half(a, b, n)
    return replace(pair, coverage_at_half=at_half, null_split=statistics.null_split(a, n), half=half)


def _half(base: list[int], trained: list[int], n: int) -> HalfDifference:
    m = n // 2
    # pass@k and then cover@tau of m samples: of the n that there are (unbiased, both tables), and of exactly m.
    of_all = np.hstack([statistics.curve_table(n)[:, :m], reliability.g_pass_table(n, m)])
    of_half = np.hstack([statistics.curve_table(m), reliability.cover_table(m)])
    gaps = reliability.difference(base, trained, of_all, _rng(), resamples=RESAMPLES)
    null = reliability.null_range(base, n, of_half, _rng(), resamples=RESAMPLES)
    return HalfDifference(m, tuple(gaps[:m]), tuple(null[:m]), tuple(gaps[m:]), tuple(null[m:]))


def _formats(entry: Entry) -> dict[str, FormatCounts]:
    """Finish reasons, lengths and answers that could not be read, per draw."""
    counts = {}
    for draw in ("greedy", "sampled"):
        rows = [row for row in entry.rows if row.draw == draw]
        if rows:
            lengths = sorted(row.tokens for row in rows)
            counts[draw] = FormatCounts(
                len(rows),
                dict(Counter(row.finish for row in rows)),
                sum(lengths) / len(lengths),
                lengths[len(lengths) // 2],
                sum(not row.answer.strip() for row in rows),
                dict(Counter(next(iter(row.verdict.values())) for row in rows)),
            )
    return counts
