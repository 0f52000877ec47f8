"""Published tables of (k, score): read, and checked for what a single draw per k does to them.

Reading order: Table, read_tables (a CSV file), Published and describe. A curve whose points were each drawn once
(n = k) need not rise: with independent draws one such curve in five falls somewhere.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from minizero.statistics import Interval, wilson
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
    scores: dict[tuple[str, str, int], dict[int, int]] = defaultdict(dict)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error}). Expected a CSV file in UTF-8 with the columns {','.join(COLUMNS)}."
        ) from None
    if not rows or set(COLUMNS) - set(rows[0]):
        raise EvaluationError(f"{path}: expected a first line  {','.join(COLUMNS)}  and rows below it.")
    for number, row in enumerate(rows, 2):
        try:
            k, problems = int(row["k"]), int(row["problems"])
            solved = _solved(row["score"], problems)
            if not (k >= 1 and 0 <= solved <= problems):
                raise ValueError(f"{solved} of {problems} at k = {k}")
        except (ValueError, TypeError, AttributeError) as error:  # a short line has None in its last columns
            raise EvaluationError(f"{path}, line {number}: {error}. Expected {','.join(COLUMNS)}.") from None
        scores[row["model"], row["suite"], problems][k] = solved
    return [Table(model, name, problems, dict(sorted(t.items()))) for (model, name, problems), t in scores.items()]


def _solved(text: str, problems: int) -> int:
    text = text.strip()
    scale = problems / 100 if text.endswith("%") else problems if "." in text else 1
    exact = float(text.rstrip("%")) * scale
    if abs(exact - round(exact)) > 0.1:
        raise ValueError(f"score {text} is no whole number of {problems} problems")
    return round(exact)


@dataclass(frozen=True, slots=True)
class Point(Interval):
    """The share of problems solved at one k, with Wilson's interval."""

    solved: int


@dataclass(frozen=True, slots=True)
class PublishedCurve:
    """One model on one suite. `falls`: the steps "k->k'" at which the curve falls."""

    problems: int
    points: Mapping[str, Point]  # by k, as text: the keys of JSON
    falls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """All curves, by suite and model, and what may be concluded."""

    one_shot: bool
    suites: Mapping[str, Mapping[str, PublishedCurve]]
    sentences: tuple[str, ...]


def describe(tables: list[Table]) -> Published:
    """Intervals per point (Wilson), where curves fall, and what may be concluded."""
    suites: dict[str, dict[str, PublishedCurve]] = defaultdict(dict)
    for table in tables:
        values = list(table.solved.items())
        suites[table.suite][table.model] = PublishedCurve(
            table.problems,
            {str(k): _point(solved, table.problems) for k, solved in values},
            tuple(f"{a}->{b}" for (a, c), (b, d) in pairwise(values) if d < c),
        )
    sentences = [
        "These scores were published as one draw per k (one-shot, n = k): each point is the luck of a single draw, and "
        "the points of one curve are not of the same samples."
    ]
    for name, models in suites.items():
        falling = [f"{model} ({', '.join(curve.falls)})" for model, curve in models.items() if curve.falls]
        if falling:
            sentences.append(
                f"{name}: pass@k cannot fall with k, yet these do: {'; '.join(falling)}. The draws differ by more "
                "than the curves' own steps."
            )
        sentences.append(f"{name}: {_apart(models)}")
    return Published(True, dict(suites), tuple(sentences))


def _point(solved: int, problems: int) -> Point:
    share = wilson(solved, problems)
    return Point(share.value, share.low, share.high, solved)


def _apart(models: Mapping[str, PublishedCurve]) -> str:
    """At which k the intervals of two models do not overlap."""
    apart = []
    for (one, first), (other, second) in combinations(models.items(), 2):
        for k in sorted(first.points.keys() & second.points.keys(), key=int):
            a, b = first.points[k], second.points[k]
            if a.low > b.high or b.low > a.high:
                apart.append(f"{one} and {other} at k = {k}")
    if not apart:
        return "at no k do the 95 % intervals lie apart, so no difference at a single k can be concluded."
    return f"the 95 % intervals lie apart for {', '.join(apart)}."
