"""Write a comparison: comparison.html and comparison.json, first what can be concluded; and published tables likewise.

Reading order: write_comparison, write_published; then what the page's sections need, one function each
(conclusions.py: the sentences; templates/comparison.html: how it looks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from minizero.config.disk import write_json
from minizero.evaluation.compare import LevelComparison, PairComparison, as_json, compare
from minizero.evaluation.entries import Entry, read_entries
from minizero.evaluation.overlap import benchmark_programs, find_overlap
from minizero.evaluation.problems import PASS
from minizero.evaluation.published import Published, describe, read_tables
from minizero.evaluation.reliability import TAUS, needed
from minizero.report.charts import curve_figure, difference_figure, histogram_figure
from minizero.report.claims import as_share
from minizero.report.conclusions import greedy_direction, headline, sentences
from minizero.report.pages import Section, page
from minizero.report.reach import reach_figure, reliability_figure
from minizero.selfplay.run_data import own_programs
from minizero.statistics import Interval

EXAMPLES = 6


def write_comparison(
    paths: Sequence[Path], out: Path, *, run: Path | None = None, data: Path | None = None
) -> list[str]:
    """Compare finished evaluations; the conclusions. With `run`, its tasks are looked for in the benchmarks."""
    entries = read_entries(paths)
    suites = sorted({row.suite for entry in entries for row in entry.rows})
    own, damaged = own_programs(run) if run else ([], [])
    hits = find_overlap(own, benchmark_programs(suites, data)) if run else []
    comparison = compare(entries, exclude=[hit.problem for hit in hits])
    words = sentences(comparison)
    if run:
        words.append(
            f"{len(hits)} benchmark problems overlap with tasks that {run.name} made up"
            + ("; greedy scores without them stand in the JSON." if hits else ".")
        )
        words += damaged
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", as_json(comparison) | {"sentences": words, "overlap": as_json(hits)})
    labels = " against ".join(entry.label for entry in entries)
    sections = [_level_section(name, level) for name, level in comparison.levels.items()]
    sections.append(Section("formats", "Formats and lengths", "formats", {"formats": comparison.formats}))
    if comparison.perplexity:
        sections.append(Section("perplexity", "Perplexity", "perplexity", {"sides": comparison.perplexity}))
    if len(entries) > 1:
        sections.append(_examples(list(comparison.levels), entries[0], entries[-1]))
    if hits:
        sections.append(Section("overlap", "Overlap", "overlap", {"hits": hits}))
    text = page("comparison", labels, sections, over=labels, headline=headline(comparison), sentences=words)
    (out / "comparison.html").write_text(text, encoding="utf-8")
    return words


def write_published(paths: Sequence[Path], out: Path) -> list[str]:
    """The same for published tables of one draw per k; the conclusions."""
    published = describe([table for path in paths for table in read_tables(path)])
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "published.json", as_json(published))
    title = "Published pass@k, one draw per k"
    header = {"over": "", "headline": title, "sentences": published.sentences}
    text = page("comparison", title, _published_sections(published), **header)
    (out / "published.html").write_text(text, encoding="utf-8")
    return list(published.sentences)


def _level_section(name: str, level: LevelComparison) -> Section:
    sampled = {label: model for label, model in level.models.items() if model.curve}
    data: dict[str, object] = {
        "level": level, "ks": _chosen_ks([model.n for model in level.models.values()]), "keys": _keys(sampled),
        "pairs": [_pair(pair, level.problems) for pair in level.pairs], "sampled": sampled, "at": _at_taus,
    }  # fmt: skip
    if sampled:
        curves = {label: (model.curve or (), model.cover or ()) for label, model in sampled.items()}
        data["curves"] = reach_figure(curves, steady=min(model.n for model in sampled.values()) // 2)
        data["accuracies"] = histogram_figure({label: model.histogram or {} for label, model in sampled.items()})
    return Section(name.replace("+", "-plus"), name, "level", data)


def _at_taus(cover: Sequence[Interval]) -> list[Interval]:
    """cover@tau, given for tau = 1/n to 1, at each of reliability.TAUS."""
    return [cover[needed(tau, len(cover)) - 1] for tau in TAUS]


def _pair(pair: PairComparison, problems: int) -> dict[str, object]:
    gap, half = pair.greedy_difference, pair.half
    drawn: dict[str, object] = {"pair": pair, "kind": greedy_direction(pair, problems)}
    drawn["reach"] = max(0.1, -gap.low, gap.high)
    if pair.difference and pair.n:
        differences = dict(enumerate(pair.difference, 1))
        drawn["ks"] = _chosen_ks([pair.n])
        drawn["differences"] = difference_figure(pair.trained, differences, steady=pair.n // 2)
    if half:
        drawn["over_tau"] = reliability_figure(pair.trained, half.cover_difference, half.cover_null)
    return drawn


def _examples(levels: Sequence[str], base: Entry, other: Entry) -> Section:
    """Greedy answers to tasks on which the two differ, gains and losses in turn, else to the first tasks."""
    ours, theirs = ({row.task: row for row in e.rows if row.draw == "greedy"} for e in (base, other))
    shown: dict[str, tuple[object, ...]] = {}
    words = "The greedy answers agree on every task."
    for level in levels:
        both = [task for task in ours if task in theirs and level in ours[task].verdict]
        marks = {t: tuple(side[t].verdict[level] == PASS for side in (ours, theirs)) for t in both}
        gains, losses = ([t for t in both if marks[t] == mark] for mark in ((False, True), (True, False)))
        differ = [t for pair in zip_longest(gains, losses) for t in pair if t is not None]
        if differ:
            words = "Tasks on which the greedy answers differ, gains and losses in turn."
        for task in [t for t in differ or both if t not in shown][:EXAMPLES]:
            rows = [(entry.label, row[task]) for entry, row in ((base, ours), (other, theirs))]
            answers = [(label, row.verdict[level], row.text) for label, row in rows]
            shown[task] = (task, level, base.prompts.get(task, ""), answers)
    return Section("examples", "Examples to read", "examples", {"words": words, "tasks": list(shown.values())})


def _published_sections(published: Published) -> list[Section]:
    """Published one-shot curves."""
    sections = []
    for name, models in published.suites.items():
        curves = {m: {int(k): point for k, point in curve.points.items()} for m, curve in models.items()}
        rows = [(m, k, p.solved, as_share(p)) for m, curve in models.items() for k, p in curve.points.items()]
        data = {"curves": curve_figure(curves), "keys": _keys(models), "rows": rows}
        sections.append(Section(name.replace("+", "-plus"), f"{name} (one-shot)", "published", data))
    return sections


def _chosen_ks(ns: Sequence[int]) -> list[int]:
    n = min((n for n in ns if n), default=0)
    return [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if k <= n]


def _keys(models: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(f"c{i % 8}", name) for i, name in enumerate(models)]
