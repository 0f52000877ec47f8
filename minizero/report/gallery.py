"""What the model wrote: tasks over time, answers right and wrong, rejected proposals, and how hard the tasks were.

Reading order: gallery_sections; then one function per section. Everything shown is drawn with a fixed seed, not chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from minizero.formatting import percent
from minizero.report.charts import SMALL, WIDE, Band, bin_name, bins, stacked_chart
from minizero.report.pages import Section
from minizero.selfplay.run_data import Digest, find_tasks, read_digests, spread
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_files import JsonRow
from minizero.types import TaskType

READ_STEPS = 60  # steps whose rollouts are read: the page's size and time do not grow with the run
SHOWN_STEPS = 4
RATE_BANDS = (
    ("never solved", "never", lambda rate: rate <= 0),
    ("solved up to a third of the time", "r1", lambda rate: 0 < rate <= 1 / 3),
    ("up to two thirds", "r2", lambda rate: 1 / 3 < rate <= 2 / 3),
    ("more", "r3", lambda rate: 2 / 3 < rate < 1),
    ("always solved", "always", lambda rate: rate >= 1),
)


def gallery_sections(run: RunDirectory) -> tuple[list[Section], list[str]]:
    """The sections that rollouts/ can fill, none when there are no rollouts; and a sentence for each damaged file."""
    steps = run.rollout_steps()
    read, problems = read_digests(run, spread(steps, READ_STEPS))
    if not read:
        return [], problems
    scope = f"From all {len(read)} steps" if len(read) == len(steps) else f"From {len(read)} of {len(steps)} steps"
    latest = _latest(read)
    tasks, damaged = find_tasks(run.path, {row["task"] for _, row in latest})
    sections = [
        _difficulty(read, scope),
        _tasks(read),
        _answers(latest, tasks),
        _rejected(read, scope),
        _rollouts(read, scope),
    ]
    return [section for section in sections if section], [*problems, *damaged]


def _difficulty(read: Sequence[Digest], scope: str) -> Section | None:
    rated = [digest for digest in read if digest.solve_rates]
    if not rated:
        return None
    groups = bins(range(len(rated)))
    rates = [[rate for i in group for rate in rated[i].solve_rates] for group in groups]
    bands = [
        Band(label, style, tuple(sum(map(holds, column)) / len(column) for column in rates))
        for label, style, holds in RATE_BANDS
    ]
    columns = [bin_name([rated[i].step for i in group]) for group in groups]
    charts = [
        (screen, stacked_chart(columns, bands, show=lambda value: percent(value, 0), top=1.0, box=box))
        for screen, box in (("on-desk", WIDE), ("on-phone", SMALL))
    ]
    count = sum(len(digest.solve_rates) for digest in rated)
    keys = [(band.style, band.label) for band in bands if any(band.values)]
    data = {"charts": charts, "keys": keys, "scope": scope, "count": count}
    return Section("difficulty", "How hard its own tasks were", "difficulty", data)


def _tasks(read: Sequence[Digest]) -> Section | None:
    """One admitted task of each type at a few steps, with what the attempts answered."""
    some = [digest for digest in read if digest.tasks]
    if not some:
        return None
    steps = []
    for place in spread(range(len(some)), SHOWN_STEPS):
        digest = some[place]
        rows = [digest.tasks[kind.value] for kind in TaskType if kind.value in digest.tasks]
        steps.append((digest.step, [(row, _attempts(digest.attempts.get(row["task"], []))) for row in rows]))
    return Section("tasks", "Tasks it gave itself", "tasks", {"steps": steps})


def _attempts(rows: Sequence[JsonRow]) -> dict[str, object]:
    """Their verdicts in order, and the different answers, the most frequent first."""
    kinds = Counter((str(row["verdict"]), answer_text(row)) for row in rows)
    return {"verdicts": [row["verdict"] for row in rows], "answers": [(n, *kind) for kind, n in kinds.most_common()]}


def answer_text(row: JsonRow) -> str:
    """What was read as the answer; the whole text where nothing was."""
    return str(row["text"] if row.get("answer") is None else row["answer"])


def _latest(read: Sequence[Digest]) -> list[tuple[int, JsonRow]]:
    """The latest right and the latest wrong answer of each type that was drawn, with their steps."""
    latest: list[tuple[int, JsonRow]] = []
    for kind in TaskType:
        for is_right in (True, False):
            key = (kind.value, is_right)
            latest += [(digest.step, digest.answers[key]) for digest in read if key in digest.answers][-1:]
    return latest


def _answers(latest: Sequence[tuple[int, JsonRow]], tasks: Mapping[str, JsonRow]) -> Section | None:
    """These answers beside their tasks."""
    cards = [(step, row, tasks.get(row["task"]), answer_text(row)) for step, row in latest]
    return Section("answers", "Answers, right and wrong", "answers", {"cards": cards}) if cards else None


def _rejected(read: Sequence[Digest], scope: str) -> Section | None:
    counts = sum((digest.rejected for digest in read), Counter[str]())
    rows = []
    for reason, count in counts.most_common():
        examples = [(d.step, d.rejected_examples[reason]) for d in read if reason in d.rejected_examples]
        rows.append((reason, count, examples[-2:]))
    data = {"scope": scope, "lost": counts.total(), "proposals": sum(d.proposals for d in read), "rows": rows}
    return Section("rejected", "Rejected proposals", "rejected", data) if rows else None


def _rollouts(read: Sequence[Digest], scope: str) -> Section:
    """Some rollouts of every step that was read, to be searched and filtered by the page's script."""
    rows = [(digest.step, row) for digest in read for row in digest.some]
    return Section("rollouts", "Rollouts to search", "rollouts", {"scope": scope, "rows": rows})
