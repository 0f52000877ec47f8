"""Write a comparison: comparison.html and comparison.json, first what can be concluded; and published tables likewise.

Reading order: write_comparison, write_published, run_overlap.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minizero.evaluation.compare import compare, read_entries
from minizero.evaluation.evaluate import write_json
from minizero.evaluation.overlap import find_overlap
from minizero.evaluation.published import describe, read_tables
from minizero.evaluation.suites import suite
from minizero.report import comparison_page
from minizero.report.conclusions import sentences
from minizero.report.tags import section, table, tag
from minizero.types import EvaluationError


def write_comparison(
    paths: Sequence[Path], out: Path, *, run: Path | None = None, data: Path | None = None
) -> list[str]:
    """Compare finished evaluations; the conclusions. With `run`, its tasks are looked for in the benchmarks."""
    entries = read_entries(paths)
    hits = run_overlap(run, sorted({row["suite"] for entry in entries for row in entry.rows}), data) if run else []
    numbers = compare(entries, exclude=[hit["problem"] for hit in hits])
    words = sentences(numbers)
    if run:
        words.append(
            f"{len(hits)} benchmark problems overlap with tasks that {run.name} made up"
            + ("; greedy scores without them stand in the JSON." if hits else ".")
        )
    sections = comparison_page.comparison_sections(numbers, entries)
    if hits:
        rows = [[hit["problem"], hit["how"], tag("pre", hit["program"][:400])] for hit in hits]
        sections.append(section("overlap", "Overlap", table(["problem", "equal", "self-made program"], rows)))
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", numbers | {"sentences": words, "overlap": hits})
    title = " against ".join(entry.label for entry in entries)
    (out / "comparison.html").write_text(comparison_page.page(title, words, sections), encoding="utf-8")
    return words


def write_published(paths: Sequence[Path], out: Path) -> list[str]:
    """The same for published tables of one draw per k; the conclusions."""
    numbers = describe([found for path in paths for found in read_tables(path)])
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "published.json", numbers)
    sections = comparison_page.published_sections(numbers)
    text = comparison_page.page("Published pass@k, one draw per k", numbers["sentences"], sections)
    (out / "published.html").write_text(text, encoding="utf-8")
    return list(numbers["sentences"])


def run_overlap(run: Path, suites: Sequence[str], data: Path | None) -> list[dict[str, Any]]:
    """Benchmark problems that a run's own tasks repeat."""
    from minizero.evaluation.store import read_whole_lines
    from minizero.selfplay.buffer import task_from_json

    path = run / "tasks.jsonl"
    if not path.is_file():
        raise EvaluationError(f"{run} has no tasks.jsonl: overlap is looked for in the tasks of a self-play run.")
    programs = []
    for line in read_whole_lines(path):
        try:
            programs.append(task_from_json(json.loads(line)).program)
        except (ValueError, KeyError, TypeError):
            continue  # a line of the buffer that is no task, such as an eviction
    benchmark = {
        problem.id: problem.data.get("program", problem.solution)
        for name in suites
        for problem in suite(name).load(data)
    }
    return [asdict(hit) for hit in find_overlap(programs, benchmark)]
