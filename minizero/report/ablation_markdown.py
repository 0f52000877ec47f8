"""table.md of a set: the numbers as GitHub shows them, with the command that made them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from minizero.ablate.compare import ALL, Cell, Comparison, Row
from minizero.formatting import percent
from minizero.report.ablation_words import in_points, in_words, metric_change, seed_by_seed
from minizero.types import TaskType

if TYPE_CHECKING:
    from minizero.ablate.jobs import Failure

# What is told of the proposer: (column, metric, whether it is a share)
PROPOSER = (
    ("admitted", "propose/admitted_frac", True),
    ("different", "propose/unique_frac", True),
    ("duplicates", "propose/duplicate_frac", True),
    ("learnable", "propose/learnable_frac", True),
    ("lines", "propose/program_lines", False),
    ("entropy, nats", "policy/entropy", False),
)
INTERVALS = (
    "Points of the held-out solve rate at temperature 1. Intervals are 95 %, the wider of Student's t over seeds (the "
    "luck of training) and the one over tasks (the luck of which were asked). Against the default: paired by seed and "
    "task."
)


def to_markdown(found: Comparison, name: str, command: str, failures: Sequence[Failure] = ()) -> str:
    """The whole file."""
    words = in_words(found)
    lines = [f"# Ablation: {name}", "", f"**{words.headline}**", "", *_paragraphs(words.sentences)]
    if failures:
        lines += ["", "Crashed: " + "; ".join(f"{f.name} ({_plain(f.reason)})" for f in failures) + "."]
    lines += [*(f"\n> {text}" for text in found.cautions), ""]
    lines += ["## Held-out tasks", "", INTERVALS, ""]
    lines += _table(
        ("variant", "seeds", "before", "after", "change", "against default", "greedy, against default", "seed by seed"),
        ([_title(row), str(row.seeds), *_held_out(row)] for row in found.rows),
    )
    kinds = [kind.value for kind in TaskType if any(kind.value in row.cells for row in found.rows)]
    lines += ["", "## By task type", "", "Change, and in the second line the difference to the default.", ""]
    lines += _table(
        ("variant", *kinds),
        (
            [_title(row), *(f"{in_points(c.change)}<br>{in_points(c.against_default)}" for c in _cells(row, kinds))]
            for row in found.rows
        ),
    )
    lines += ["", "## The proposer", ""]
    lines += ["First and last tenth of the steps, mean over seeds. Collapsed: runs of which a quarter of the steps"]
    lines += ["raised an alarm of collapse (minizero/metrics.py).", ""]
    lines += _table(
        ("variant", *(column for column, _, _ in PROPOSER), "collapsed", "minutes"),
        (
            [
                _title(row),
                *(metric_change(row, metric, is_share=share) for _, metric, share in PROPOSER),
                f"{row.collapsed()} of {row.seeds}",
                f"{row.minutes():.1f}",
            ]
            for row in found.rows
        ),
    )
    lines += ["", "## Variants", "", *(f"- {_title(row)}: {_plain(row.about)}" for row in found.rows)]
    lines += ["", _made_by(found, command), ""]
    return "\n".join(lines)


def made_with(found: Comparison) -> str:
    """Steps, machine and versions of the runs, as far as they agree."""
    runs = [run for row in found.rows for run in row.runs]
    steps = sorted({run.steps for run in runs})
    machines = sorted({str(run.machine.get("processor")) for run in runs})
    versions = sorted({f"{k} {v}" for run in runs for k, v in run.versions.items() if k in ("torch", "transformers")})
    counts = " or ".join(map(str, steps))
    return f"{len(runs)} runs of {counts} steps; {', '.join(machines)}; {', '.join(versions)}"


def _made_by(found: Comparison, command: str) -> str:
    return f"Made by `{command}`: {made_with(found)}." if command else f"{made_with(found)}."


def _title(row: Row) -> str:
    return f"*{row.variant}* (control)" if row.kind == "control" else row.variant


def _held_out(row: Row) -> list[str]:
    cell = row.cells[ALL]
    return [
        percent(cell.before),
        percent(cell.after),
        in_points(cell.change),
        in_points(cell.against_default),
        in_points(row.greedy.against_default),
        seed_by_seed(cell),
    ]


def _cells(row: Row, kinds: Sequence[str]) -> list[Cell]:
    return [row.cells[kind] for kind in kinds if kind in row.cells]


def _paragraphs(sentences: Sequence[str]) -> list[str]:
    return [line for text in sentences for line in (_plain(text), "")][:-1]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    marks = ["---", *(["---:"] * (len(head) - 1))]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *([_plain(c) for c in row] for row in rows))]


def _plain(text: str) -> str:
    """Text on one line that cannot break a table or become markup."""
    return " ".join(text.replace("|", "\\|").split())
