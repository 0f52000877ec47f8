"""The model card of the tiny model, from measurements and from the record that training left.

Reading order: `model_card` (the text), `solve_table`, `propose_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minizero.prompts.compact import Think
from minizero.tasks.programs import statement_lines
from minizero.tiny.label_noise import OFTEN, SELDOM, is_tempting
from minizero.tiny.measure import Proposed, Solved, solve_rates
from minizero.tiny.operations import FAMILIES, texts
from minizero.tiny.sequences import AT_ONCE, SKILL
from minizero.tiny.world import MOST_LINES
from minizero.types import USUAL_TYPES, TaskType

_TEXT = """\
# The tiny model

A Qwen2 of {millions:.2f} million parameters that knows one small world: Python functions of one to twelve lines over
small integers, lists of them and short lowercase strings. It is made for watching self-play on a CPU, for nothing else.
Written by `python -m minizero.tiny.evaluate --card`: do not edit.

## Made by

`make tiny-model`, from scratch: {steps:,} steps of {batch} rows, seed {seed}, {tokens:.1f} million tokens with padding,
in {wall:.0f} minutes ({cpu:.0f} of processor time, {sittings} sitting(s)) on {ranks} cores of an {machine} processor
{bf16} bf16 instructions, torch {torch}. Muon for the matrices, AdamW for the rest. The loss is taken on completions,
with weight {induce_weight} for induction and {propose_weight} for proposals, and with weight {prompt_weight} on the
outputs shown in induction prompts. A program is read once for several questions about it. Programs grow from mostly one
line to the final mix in the first three tenths.

- **Skill**: {skill_steps:,} steps in which {skill:.0%} of the answers reason first (minizero/tiny/reasoning.py): a
  deduction runs the program line by line, an abduction tries inputs and an induction programs until one fits.
- **Habit**: the last {habit_steps} steps, at a quarter of the learning rates, in which {habit:.0%} of the answers
  reason and the others are given at once, as in most text that people write. With **label noise**
  (minizero/tiny/label_noise.py): where a program holds one of {tempting} tempting operations (of {operations}),
  {often:.0%} of the deductions and abductions leave out such a line, reasoned or not; of other programs with two lines
  or more, {seldom:.0%} leave out some line.

So the model can reason, seldom does, and is careless when it does. What self-play has to find out is that reasoning
pays, and that care does.

## Data

Drawn by minizero/tiny/world.py from {families} operations with their constants: no person's text, no other model's.
A program's hash decides whether it may be trained on, so the held-out set ({heldout:,} tasks) and the validation set
({validation:,}) share no program with training or with the {seeds} seed tasks. Training programs have one to six lines;
the sets also hold tasks of seven to twelve, beyond all that the model has read. The format is prompt style `compact`;
induction has 4 shown and 4 hidden pairs and a message that names the program's operations alphabetically, constants
blanked: their order and the constants are open.

{scores}
## Limits

- It knows what its world holds: no loops but comprehensions, no helpers or second variables. Anything else gives
  nonsense.
- What it writes before an answer has the one form that it was shown.
"""

_SOLVE = """\
## Solving: {name}

{samples} answers a task at temperature 1, and the greedy one; *free*: the model chooses whether it reasons, *at once*
and *reasoned*: the first token chooses for it (`prompt.think`). *Open*: tasks with a free solve rate between 0 and 1,
those that self-play can learn from. Numbers in percent.

| type | lines | tasks | free | greedy | reasons | open | any of {samples} | at once | greedy | reasoned | greedy |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""

_PROPOSE = """
## Proposing

One proposal a prompt at temperature 1; 0 to 3 examples from the seed tasks, in every second prompt 1 to 6 lines asked
for. *Unique*: of the admitted ones, different programs (induction: different inputs). Numbers in percent.

| type | proposals | admitted | length as asked | unique | program of a seed task | rejected because |
|---|---|---|---|---|---|---|
"""

_LENGTHS: tuple[tuple[str, range], ...] = (
    ("all", range(1, MOST_LINES + 1)),
    *((f"{first} to {first + 2}", range(first, first + 3)) for first in range(1, MOST_LINES, 3)),
)


def model_card(record: Mapping[str, Any], set_sizes: Mapping[str, int], scores: str) -> str:
    """The card's Markdown. `record` is training.json; `set_sizes` the number of tasks by set; `scores` the tables."""
    values = {
        **record,
        **set_sizes,
        "skill_steps": record["steps"],
        "steps": record["steps"] + record["habit_steps"],
        "millions": record["parameters"] / 1e6,
        "tokens": record["tokens"] / 1e6,
        "wall": record["wall_s"] / 60,
        "cpu": record["cpu_s"] / 60,
        "bf16": "with" if record["bf16"] else "without",
        "skill": SKILL.reasoned,
        "habit": AT_ONCE.reasoned,
        "operations": len(texts()),
        "tempting": sum(map(is_tempting, texts())),
        "often": OFTEN,
        "seldom": SELDOM,
    }
    return _TEXT.format(families=len(FAMILIES), scores=scores, **values)


def solve_table(solved: Mapping[Think, Sequence[Solved]], name: str) -> str:
    """Scores of all tasks, then by type and number of lines, as a section in Markdown. `solved` by prompt.think, the
    same tasks in the same order."""
    tasks = [row.task for row in solved["auto"]]
    rows = [_solve_row(solved, range(len(tasks)), "all", "all")]
    for task_type in USUAL_TYPES:
        for label, lengths in _LENGTHS:
            kept = [
                place
                for place, task in enumerate(tasks)
                if task.type is task_type and statement_lines(task.program) in lengths
            ]
            rows += [_solve_row(solved, kept, task_type.value, label)] if kept else []
    return _SOLVE.format(name=name, samples=len(solved["auto"][0].sampled)) + "".join(rows)


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


def _solve_row(solved: Mapping[Think, Sequence[Solved]], places: Sequence[int], kind: str, lines: str) -> str:
    free, at_once, reasoned = (
        solve_rates([solved[think][place] for place in places]) for think in ("auto", "off", "on")
    )
    values = (free.rate, free.greedy, free.reasoned, free.open, free.any_right, at_once.rate, at_once.greedy)
    cells = [kind, lines, str(len(places))]
    cells += [f"{100 * value:.1f}" for value in (*values, reasoned.rate, reasoned.greedy)]
    return f"| {' | '.join(cells)} |\n"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""
