"""The model card of the tiny model, from measurements and from the record that training left; the text is card.md.

Reading order: `model_card` (the text), `solve_table`, `propose_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from minizero.prompts.compact import Think
from minizero.tasks.programs import statement_lines
from minizero.tiny.label_noise import OFTEN, SELDOM, is_tempting
from minizero.tiny.measure import Proposed, Solved, solve_rates
from minizero.tiny.operations import FAMILIES, texts
from minizero.tiny.sequences import AT_ONCE, SKILL
from minizero.tiny.world import MOST_LINES
from minizero.types import USUAL_TYPES

_LENGTHS: tuple[tuple[str, range], ...] = (
    ("all", range(1, MOST_LINES + 1)),
    *((f"{first} to {first + 2}", range(first, first + 3)) for first in range(1, MOST_LINES, 3)),
)


def model_card(record: Mapping[str, Any], set_sizes: Mapping[str, int], scores: str) -> str:
    """The card's Markdown. `record` is training.json; `set_sizes` the number of tasks by set; `scores` the tables."""
    return _filled(
        "card", record=record, sizes=set_sizes, scores=scores, skill=SKILL.reasoned, habit=AT_ONCE.reasoned,
        operations=len(texts()), tempting=sum(map(is_tempting, texts())), often=OFTEN, seldom=SELDOM,
        families=len(FAMILIES),
    )  # fmt: skip


def solve_table(solved: Mapping[Think, Sequence[Solved]], name: str) -> str:
    """Scores of all tasks, then by type and number of lines, as a section in Markdown. `solved` by prompt.think, the
    same tasks in the same order."""
    tasks = [row.task for row in solved["auto"]]
    groups = [("all", "all", list(range(len(tasks))))]
    for kind in USUAL_TYPES:
        mine = [(place, statement_lines(task.program)) for place, task in enumerate(tasks) if task.type is kind]
        groups += [(kind.value, label, [place for place, n in mine if n in lengths]) for label, lengths in _LENGTHS]
    rows = [
        (kind, label, len(kept), *(solve_rates([solved[think][i] for i in kept]) for think in ("auto", "off", "on")))
        for kind, label, kept in groups
        if kept
    ]
    return _filled("solving", name=name, samples=len(solved["auto"][0].sampled), rows=rows)


def propose_table(proposed: Sequence[Proposed], known: Collection[str]) -> str:
    """What became of the proposals of each type, as Markdown. `known`: keys of the seed tasks' programs."""
    rows = []
    for kind in dict.fromkeys(row.type for row in proposed):
        mine = [row for row in proposed if row.type is kind]
        good = [row for row in mine if not row.reason]
        counts = sum(row.lines == row.lines_asked for row in good), len({row.key for row in good})
        reasons = Counter(row.reason for row in mine if row.reason).most_common()
        rows.append((kind.value, len(mine), len(good), *counts, sum(row.key in known for row in good), reasons))
    return _filled("proposing", rows=rows)


def _filled(macro: str, **values: object) -> str:
    """A part of card.md."""
    made = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return str(getattr(made.from_string(text).module, macro)(**values))
