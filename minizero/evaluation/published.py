"""Published tables of (k, score): read, checked for what a single draw per k does to them, and made comparable.

Reading order: Table, read_tables (a CSV file), describe. A curve whose points were each drawn once (n = k) need not
rise: with independent draws one such curve in five falls somewhere.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from minizero.statistics import wilson
from minizero.types import EvaluationError

COLUMNS = ("model", "suite", "k", "score", "problems")


@dataclass(frozen=True, slots=True)
class Table:
    """Solved problems per k of one model on one suite, each k drawn once."""

    model: str
    suite: str
    problems: int
    solved: dict[int, int]


def read_tables(path: Path) -> list[Table]:
    """A CSV file with the columns model, suite, k, score, problems; a score is a fraction, a percentage with %, or a
    whole number of problems. Raises EvaluationError for a row that cannot be read."""
    found: dict[tuple[str, str, int], dict[int, int]] = defaultdict(dict)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error}).") from None
    if not rows or set(COLUMNS) - set(rows[0]):
        raise EvaluationError(f"{path}: expected a first line  {','.join(COLUMNS)}  and rows below it.")
    for number, row in enumerate(rows, 2):
        try:
            k, problems = int(row["k"]), int(row["problems"])
            solved = _solved(row["score"], problems)
            if not (k >= 1 and 0 <= solved <= problems):
                raise ValueError(f"{solved} of {problems} at k = {k}")
        except ValueError as error:
            raise EvaluationError(f"{path}, line {number}: {error}.") from None
        found[row["model"], row["suite"], problems][k] = solved
    return [Table(model, name, problems, dict(sorted(t.items()))) for (model, name, problems), t in found.items()]


def _solved(text: str, problems: int) -> int:
    text = text.strip()
    scale = problems / 100 if text.endswith("%") else problems if "." in text else 1
    exact = float(text.rstrip("%")) * scale
    if abs(exact - round(exact)) > 0.1:
        raise ValueError(f"score {text} is no whole number of {problems} problems")
    return round(exact)


def describe(tables: list[Table]) -> dict[str, Any]:
    """Intervals per point (Wilson), where curves fall, and what may be concluded."""
    curves: dict[str, dict[str, Any]] = defaultdict(dict)
    for table in tables:
        values = list(table.solved.items())
        curves[table.suite][table.model] = {
            "problems": table.problems,
            "points": {str(k): {"solved": c} | asdict(wilson(c, table.problems)) for k, c in values},
            "falls": [f"{a}->{b}" for (a, c), (b, d) in pairwise(values) if d < c],
        }
    sentences = [
        "These scores were published as one draw per k (one-shot, n = k): each point is the luck of a single draw, and "
        "the points of one curve are not of the same samples."
    ]
    for name, models in curves.items():
        falling = [f"{model} ({', '.join(found['falls'])})" for model, found in models.items() if found["falls"]]
        if falling:
            sentences.append(
                f"{name}: pass@k cannot fall with k, yet here it does: {'; '.join(falling)}. The draws differ by more "
                "than the curves' own steps."
            )
        sentences.append(f"{name}: {_crossing(models)}")
    return {"one_shot": True, "suites": dict(curves), "sentences": sentences}


def _crossing(models: dict[str, Any]) -> str:
    apart = []
    names = list(models)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            shared = models[one]["points"].keys() & models[other]["points"].keys()
            for k in sorted(shared, key=int):
                a, b = models[one]["points"][k], models[other]["points"][k]
                if a["low"] > b["high"] or b["low"] > a["high"]:
                    apart.append(f"{one} and {other} at k = {k}")
    if not apart:
        return "at no k do the 95 % intervals lie apart, so no difference at a single k can be concluded."
    return f"the 95 % intervals lie apart for {', '.join(apart)}."
