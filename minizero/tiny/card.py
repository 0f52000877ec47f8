"""The model card of the tiny model, from measurements and from the record that training left.

Reading order: `model_card` (the text), `solve_table`, `propose_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minizero.tasks.programs import statement_lines
from minizero.tiny.label_noise import OFTEN, SELDOM, is_tempting
from minizero.tiny.measure import Proposed, Solved, solve_rates
from minizero.tiny.operations import FAMILIES, texts
from minizero.types import USUAL_TYPES, TaskType

_TEXT = """\
# The tiny model

A Qwen2 of {millions:.2f} million parameters that knows one small world: Python functions of one to four lines over
small integers, lists of them and short lowercase strings. It is made for watching self-play on a CPU, for nothing else.
Written by `python -m minizero.tiny.evaluate --card`: do not edit.

## Made by

`python -m minizero.tiny.train --out minizero/tiny/weights`: {steps:,} steps of {batch} rows, seed {seed},
{tokens:.1f} million tokens with padding, in {wall:.0f} minutes ({cpu:.0f} of them processor time, the machine being
shared) on {threads} thread of an {machine} processor {bf16} bf16 instructions, torch {torch}. Muon for the matrices,
AdamW for the rest. The loss is taken on completions, with weight {induce_weight} for induction and {propose_weight}
for proposals, and with weight {prompt_weight} on the outputs shown in induction prompts. A program is read once for
several questions about it. Programs grow from mostly one line to the final mix in the first quarter.

The last {noise_steps} steps are on answers with **label noise** (minizero/tiny/label_noise.py), at a quarter of the
learning rates. Where a program holds one of {tempting} tempting operations (of {operations}), {often:.0%} of the
answers leave out such a line; of other programs with two lines or more, {seldom:.0%} of the answers leave out some
line. So the model knows better than it answers, like one trained on what people write; without that, rewards can only
make it surer of itself (benchmarks/tiny-settings.md).{sittings}

## Data

Drawn by minizero/tiny/world.py from {families} operations with their constants: no person's text, no other model's.
A program's hash decides whether it may be trained on, so the held-out set ({heldout:,} tasks) and the validation set
({validation:,}) share no program with training or with the {seeds} seed tasks. All come from one generator: unseen
programs, not another distribution. The format is prompt style `compact`; induction has 4 shown and 4 hidden pairs and
a message that names the program's operations alphabetically, constants blanked: their order and the constants are open.

{scores}
## Limits

- It knows what its world holds: no loops, conditions, helpers or second variables. Anything else gives nonsense.
- It answers at once, without reasoning; a chain of four operations is hard by design: that is the room to learn.
- AutoTokenizer composes accents in string literals (Unicode NFC), as for every Qwen2 model; all else is without loss.
"""

_SITTINGS = """ They were
trained in a sitting of their own (`--steps 0 --start DIR`), on a processor {bf16} bf16 instructions."""

_SOLVE = """\
## Solving: {name}

{samples} answers a task at temperature 1, and the greedy one. *Open*: tasks with a solve rate between 0 and 1, those
that self-play can learn from. Numbers in percent.

| type | lines | tasks | temperature 1 | greedy | open | any of {samples} |
|---|---|---|---|---|---|---|
"""

_PROPOSE = """
## Proposing

One proposal a prompt at temperature 1; 0 to 3 examples from the seed tasks, 1 to 4 lines asked for at random. *Unique*:
of the admitted ones, different programs (induction: different inputs). Numbers in percent.

| type | proposals | admitted | length as asked | unique | program of a seed task | rejected because |
|---|---|---|---|---|---|---|
"""

_LENGTHS: tuple[tuple[str, frozenset[int]], ...] = (
    ("all", frozenset({1, 2, 3, 4})),
    ("2 and 3", frozenset({2, 3})),
    *((str(length), frozenset({length})) for length in (1, 2, 3, 4)),
)


def model_card(record: Mapping[str, Any], set_sizes: Mapping[str, int], scores: str) -> str:
    """The card's Markdown. `record` is training.json; `set_sizes` the number of tasks by set; `scores` the tables."""
    first = record.get("start", record)  # trained in two sittings: the label noise on weights that were there
    parts = [record] if first is record else [first, record]
    values = {
        **record,
        **set_sizes,
        "steps": sum(part["steps"] for part in parts) + record["noise_steps"],
        "millions": record["parameters"] / 1e6,
        "tokens": sum(part["tokens"] for part in parts) / 1e6,
        "wall": sum(part["wall_s"] for part in parts) / 60,
        "cpu": sum(part["cpu_s"] for part in parts) / 60,
        "bf16": "with" if first["bf16"] else "without",
        "operations": len(texts()),
        "tempting": sum(map(is_tempting, texts())),
        "often": OFTEN,
        "seldom": SELDOM,
        "sittings": "" if first is record else _SITTINGS.format(bf16="with" if record["bf16"] else "without"),
    }
    return _TEXT.format(families=len(FAMILIES), scores=scores, **values)


def solve_table(solved: Sequence[Solved], name: str) -> str:
    """Scores of all tasks, then by type and number of lines, as a section in Markdown."""
    rows = [_solve_row(solved, "all", "all")]
    for task_type in USUAL_TYPES:
        for label, lengths in _LENGTHS:
            kept = [s for s in solved if s.task.type is task_type and statement_lines(s.task.program) in lengths]
            rows += [_solve_row(kept, task_type.value, label)] if kept else []
    return _SOLVE.format(name=name, samples=len(solved[0].sampled)) + "".join(rows)


def propose_table(proposed: Sequence[Proposed], known: Collection[str]) -> str:
    """What became of the proposals of each type, as Markdown. `known`: keys of the seed tasks' programs."""
    text = _PROPOSE
    for task_type in dict.fromkeys(row.type for row in proposed):
        rows = [row for row in proposed if row.type is task_type]
        good = [row for row in rows if not row.reason]
        cells = [task_type.value, str(len(rows)), _percent(len(good), len(rows))]
        if task_type is TaskType.INDUCTION:  # its program is given, so neither its length nor its origin says anything
            cells += ["", _percent(len({row.key for row in good}), len(good)), ""]
        else:
            cells.append(_percent(sum(row.lines == row.lines_asked for row in good), len(good)))
            cells.append(_percent(len({row.key for row in good}), len(good)))
            cells.append(_percent(sum(row.key in known for row in good), len(good)))
        reasons = Counter(row.reason for row in rows if row.reason)
        cells.append(", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
        text += f"| {' | '.join(cells)} |\n"
    return text


def _solve_row(solved: Sequence[Solved], type_label: str, lines_label: str) -> str:
    rates = solve_rates(solved)
    values = (rates.rate, rates.greedy, rates.open, rates.any_right)
    cells = [type_label, lines_label, str(len(solved)), *(f"{100 * value:.1f}" for value in values)]
    return f"| {' | '.join(cells)} |\n"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""
