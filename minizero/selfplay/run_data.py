"""What a report, a verdict and a replay read of a run directory, finished or not.

Reading order: RunData and read_run (settings, manifest, metrics, validations), then Digest and digests: a few rollouts
of many steps, drawn with a fixed seed, without ever holding more than one step in memory.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minizero.config import Config, config_from, read_toml
from minizero.selfplay.buffer import task_from_json
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.validation import Validation
from minizero.selfplay.version import caution
from minizero.types import MiniZeroError, RunError, Task

Row = dict[str, Any]
SOME = 8  # rollouts of a step that a report lists


@dataclass(frozen=True, slots=True)
class RunData:
    """The small files of a run. `config` is None when config.toml belongs to another version (`problems` says so)."""

    path: Path
    config: Config | None
    manifest: Row
    rows: tuple[Row, ...]  # one per step, ascending: a step's line and its validation's merged
    validations: tuple[Validation, ...]  # ascending by step; those that metrics.jsonl knows
    problems: tuple[str, ...]

    @property
    def done(self) -> int:
        """The last step that was finished."""
        return max((int(row["step"]) for row in self.rows), default=0)

    @property
    def total(self) -> int | None:
        return self.config.selfplay.steps if self.config else None

    @property
    def is_finished(self) -> bool:
        return self.total is not None and self.done >= self.total

    @property
    def step_rows(self) -> list[Row]:
        """The rows of self-play steps (step 0 is a validation alone)."""
        return [row for row in self.rows if row["step"]]


def read_run(path: Path) -> RunData:
    """Read a run directory. Raises RunError when it is none."""
    run = RunDirectory.open(path)
    problems: list[str] = []
    config, manifest = None, {}
    try:
        config = config_from(read_toml(path / "config.toml"))
    except MiniZeroError as error:
        problems.append(f"config.toml cannot be read by this version: {error}")
    try:
        manifest = run.manifest
    except RunError as error:
        problems.append(str(error))
    problems += [words] if (words := caution(manifest)) else []
    merged: dict[int, Row] = {}
    for row in run.metrics() if (path / "metrics.jsonl").is_file() else []:
        merged[int(row["step"])] = merged.get(int(row["step"]), {}) | row
    rows = tuple(merged[step] for step in sorted(merged))
    validations = []
    for row in rows:
        # A resume cuts metrics.jsonl back but leaves eval/ alone, so the metrics say which validations count.
        file = path / "eval" / f"step-{row['step']:06d}.json"
        if any(name.startswith("eval/greedy") for name in row) and file.is_file():
            try:
                validations.append(Validation.from_json(file.read_text()))
            except (ValueError, KeyError) as error:
                problems.append(f"eval/{file.name} cannot be read: {error}")
    return RunData(path, config, manifest, rows, tuple(validations), tuple(problems))


@dataclass(slots=True)
class Digest:
    """What is kept of one step's rollouts: counts of all, examples of some."""

    step: int
    proposals: int = 0
    solve_rates: list[float] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_examples: dict[str, Row] = field(default_factory=dict)  # reason -> a row
    tasks: dict[str, Row] = field(default_factory=dict)  # task type -> the row of an admitted proposal
    attempts: dict[str, list[Row]] = field(default_factory=dict)  # task id -> rows, for the tasks above
    answers: dict[tuple[str, bool], Row] = field(default_factory=dict)  # (task type, right?) -> a row
    some: list[Row] = field(default_factory=list)  # SOME of all rows, in their order


def digests(run: RunDirectory, steps: Sequence[int]) -> Iterator[Digest]:
    """A digest of each given step; a step whose file cannot be read is passed over."""
    for step in steps:
        try:
            rows = run.rollouts(step)
        except (MiniZeroError, OSError, EOFError, ValueError):
            continue
        yield _digest(step, rows)


def _digest(step: int, rows: list[Row]) -> Digest:
    digest, rng = Digest(step), random.Random(step)
    rejected: dict[str, list[Row]] = defaultdict(list)
    admitted: dict[str, list[Row]] = defaultdict(list)
    answers: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        if row["role"] == "propose":
            digest.proposals += 1
            if row["reason"]:
                rejected[row["reason"]].append(row)
            elif "task_content" in row:
                admitted[row["type"]].append(row)
                if row["solve_rate"] is not None:
                    digest.solve_rates.append(float(row["solve_rate"]))
        elif row["role"] == "solve":
            answers[row["type"], row["verdict"] == "correct"].append(row)
    digest.rejected.update({reason: len(group) for reason, group in rejected.items()})
    # Drawn, not chosen: the reader sees what there is, and the same rows each time.
    digest.rejected_examples = {reason: rng.choice(group) for reason, group in sorted(rejected.items())}
    digest.tasks = {kind: rng.choice(group) for kind, group in sorted(admitted.items())}
    digest.answers = {key: rng.choice(group) for key, group in sorted(answers.items())}
    drawn = sorted(random.Random(step).sample(range(len(rows)), min(SOME, len(rows))))
    digest.some = [rows[place] for place in drawn]
    shown = {row["task"] for row in digest.tasks.values()}
    for row in rows:
        if row["role"] == "attempt" and row["task"] in shown:
            digest.attempts.setdefault(row["task"], []).append(row)
    return digest


def spread(items: Sequence[int], count: int) -> list[int]:
    """At most `count` of the items, evenly spread, the first and the last among them.

    >>> spread([1, 2, 3, 4, 5, 6, 7, 8, 9], 3)
    [1, 5, 9]
    """
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[-1]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def find_tasks(path: Path, wanted: set[str]) -> dict[str, Row]:
    """Task id -> its JSON object, from tasks.jsonl, for the ids wanted. Damaged lines are passed over."""
    file = path / "tasks.jsonl"
    if not wanted or not file.is_file():
        return {}
    return {task.id: row for row, task in _tasks(file) if task.id in wanted}


def newest_checkpoint(path: Path) -> Path:
    """The adapter or model directory of the run's last checkpoint. Raises RunError when there is none."""
    steps = sorted(p for p in (path / "checkpoints").glob("step-*") if p.suffix != ".partial")
    inside = [d for p in steps[-1:] for d in (p / "adapter", p / "model") if d.is_dir()]
    if not inside:
        raise RunError(
            f"{path}: no checkpoint yet. One is written after the last step, and every run.checkpoint_every steps. "
            f"Continue the run with  minizero selfplay --resume {path}"
        )
    return inside[0]


def own_programs(path: Path) -> list[str]:
    """The programs of the tasks that a run made up, from tasks.jsonl. Raises RunError where there is no such file."""
    file = path / "tasks.jsonl"
    if not file.is_file():
        raise RunError(f"{path} has no tasks.jsonl: overlap is looked for in the tasks of a self-play run.")
    return [task.program for _, task in _tasks(file)]


def _tasks(file: Path) -> Iterator[tuple[Row, Task]]:
    """Each task with its JSON object. What is no task, such as an eviction or a torn line, is passed over."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                yield row, task_from_json(row)
            except (ValueError, KeyError, TypeError):
                continue
