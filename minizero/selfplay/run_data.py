"""What a report, a verdict and a replay read of a run directory, finished or not.

Reading order: RunData and read_run (settings, manifest, metrics, validations), then Digest and read_digests: a few
rollouts of many steps, drawn with a fixed seed, without ever holding more than one step in memory.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minizero.config import Config, config_from
from minizero.config.disk import checkpoints
from minizero.formatting import shell, why
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_files import JsonRow, Line, left_out, lines_of, read_metrics
from minizero.selfplay.validation import Validation
from minizero.selfplay.version import caution
from minizero.tasks.rows import task_from_json
from minizero.types import MiniZeroError, RunError, Task

SOME = 8  # rollouts of a step that a report lists


@dataclass(frozen=True, slots=True)
class RunData:
    """The small files of a run. `config` is None when config.toml is damaged or belongs to another version; `problems`
    has a sentence for each file that is not as it should be."""

    path: Path
    config: Config | None
    manifest: JsonRow
    rows: tuple[JsonRow, ...]  # one per step, ascending: a step's line and its validation's merged
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
    def step_rows(self) -> list[JsonRow]:
        """The rows of self-play steps (step 0 is a validation alone)."""
        return [row for row in self.rows if row["step"]]


def read_run(path: Path) -> RunData:
    """Read a run directory. Raises RunError when it is none."""
    run = RunDirectory.open(path)
    problems: list[str] = []
    config, manifest = None, {}
    try:
        config = config_from(run.settings)
    except MiniZeroError as error:
        problems.append(f"{path / 'config.toml'} cannot be read by this version: {error}")
    try:
        manifest = run.manifest
    except RunError as error:
        problems.append(str(error))
    problems += [words] if (words := caution(manifest)) else []
    rows_read: list[JsonRow] = []
    try:
        rows_read, damaged = read_metrics(path)
        problems += damaged
    except RunError as error:
        problems.append(str(error))
    merged: dict[int, JsonRow] = {}
    for row in rows_read:
        merged[row["step"]] = merged.get(row["step"], {}) | row
    rows = tuple(merged[step] for step in sorted(merged))
    validations = []
    for row in rows:
        # A resume cuts metrics.jsonl back but leaves eval/ alone, so the metrics say which validations count.
        if any(name.startswith("eval/greedy") for name in row):
            try:
                validations.append(Validation.read(path / "eval" / f"step-{row['step']:06d}.json"))
            except RunError as error:
                problems.append(str(error))
    return RunData(path, config, manifest, rows, tuple(validations), tuple(problems))


@dataclass(slots=True)
class Digest:
    """What is kept of one step's rollouts: counts of all, examples of some."""

    step: int
    proposals: int = 0
    solve_rates: list[float] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_examples: dict[str, JsonRow] = field(default_factory=dict)  # reason -> a row
    tasks: dict[str, JsonRow] = field(default_factory=dict)  # task type -> the row of an admitted proposal
    attempts: dict[str, list[JsonRow]] = field(default_factory=dict)  # task id -> rows, for the tasks above
    answers: dict[tuple[str, bool], JsonRow] = field(default_factory=dict)  # (task type, right?) -> a row
    some: list[JsonRow] = field(default_factory=list)  # SOME of all rows, in their order


def read_digests(run: RunDirectory, steps: Sequence[int]) -> tuple[list[Digest], list[str]]:
    """A digest of each given step, and a sentence for each whose file is damaged."""
    found: list[Digest] = []
    problems: list[str] = []
    for step in steps:
        try:
            found.append(_digest(step, run.rollouts(step)))
        except RunError as error:
            problems.append(str(error))
        except (KeyError, TypeError, ValueError) as error:  # whole, and by another version or hand
            problems.append(f"rollouts of step {step} cannot be read by this version ({why(error)}).")
    return found, problems


def _digest(step: int, rows: list[JsonRow]) -> Digest:
    digest, rng = Digest(step), random.Random(step)
    rejected: dict[str, list[JsonRow]] = defaultdict(list)
    admitted: dict[str, list[JsonRow]] = defaultdict(list)
    answers: dict[tuple[str, bool], list[JsonRow]] = defaultdict(list)
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


def find_tasks(path: Path, wanted: set[str]) -> tuple[dict[str, JsonRow], list[str]]:
    """Task id -> its JSON object, from tasks.jsonl, for the ids wanted; and a sentence on what is damaged there."""
    if not wanted:
        return {}, []
    try:
        tasks, problems = _tasks(path / "tasks.jsonl")
    except RunError as error:
        return {}, [str(error)]
    return {task.id: row for row, task in tasks if task.id in wanted}, problems


def newest_checkpoint(path: Path) -> Path:
    """The adapter or model directory of the run's last checkpoint. Raises RunError when there is none."""
    inside = [d for p in checkpoints(path)[-1:] for d in (p / "adapter", p / "model") if d.is_dir()]
    if not inside:
        raise RunError(
            f"{path}: no checkpoint yet. One is written after the last step, and every run.checkpoint_every steps. "
            f"Continue the run with  {shell('minizero', 'selfplay', '--resume', path)}"
        )
    return inside[0]


def own_programs(path: Path) -> tuple[list[str], list[str]]:
    """The programs of the tasks that a run made up, from tasks.jsonl, and a sentence on what is damaged there. Raises
    RunError where there is no such file."""
    file = path / "tasks.jsonl"
    if not file.is_file():
        raise RunError(f"{path} has no tasks.jsonl: overlap is looked for in the tasks of a self-play run.")
    tasks, problems = _tasks(file)
    return [task.program for _, task in tasks], problems


def run_tasks(path: Path) -> tuple[list[Task], list[str]]:
    """The tasks of a run, its seeds too, oldest first, each once; and a sentence on what is damaged in tasks.jsonl.
    Raises RunError where there is no such file."""
    file = path / "tasks.jsonl"
    if not file.is_file():
        raise RunError(
            f"{path} has no tasks.jsonl, so no task of it is known. Name a run that has made its first step."
        )
    tasks, problems = _tasks(file)
    return list({task.id: task for _, task in tasks}.values()), problems


def _tasks(file: Path) -> tuple[list[tuple[JsonRow, Task]], list[str]]:
    """Each task with its JSON object, and a sentence on the lines that are none."""
    found: list[tuple[JsonRow, Task]] = []
    damaged: list[Line] = []
    for line in lines_of(file):
        problem = line.problem
        if not problem:
            try:
                found.append((line.row, task_from_json(line.row)))
            except (ValueError, KeyError, TypeError) as error:
                problem = why(error)
        if problem:
            damaged.append(Line(line.number, {}, problem))
    return found, left_out(file, damaged, "a task")
