"""The task sets that ship with the tiny model: held-out and validation tasks, and seed tasks for self-play's buffer.

Reading order: `load`, then `write_sets`, which made the files
(`python -c "from minizero.tiny.sets import write_sets; write_sets()"`).
"""

from __future__ import annotations

import functools
import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from minizero.tasks.programs import program_key
from minizero.tasks.rows import task_to_json, tasks_of
from minizero.tiny.world import LENGTHS, MOST_LINES, PAIRS, Split, draw_example, make_task
from minizero.types import USUAL_TYPES, Task, TaskType

SetName = Literal["heldout", "validation", "seeds"]
NAMES: tuple[SetName, ...] = ("heldout", "validation", "seeds")

DIRECTORY = Path(__file__).parent / "weights"

IN_RANGE = range(1, len(LENGTHS) + 1)  # lines of the programs that the model was trained on
BEYOND = range(len(LENGTHS) + 1, MOST_LINES + 1)

_SPLITS: dict[SetName, tuple[Split, int]] = {"heldout": ("heldout", 101), "validation": ("validation", 102)}  # rng seed
_EACH = {1: 60} | dict.fromkeys(IN_RANGE[1:], 201) | dict.fromkeys(BEYOND, 84)  # tasks by lines, the types in turn
_SEEDS, _SEEDS_SEED = 384, 103
_MOST_TASKS_A_PROGRAM = 2  # of one type,
_MOST_TASKS_A_SHORT_PROGRAM = {1: 6, 2: 3}  # but of short ones there are few


def load(name: SetName, directory: Path = DIRECTORY) -> list[Task]:
    """The tasks of a set, shuffled; `programs.statement_lines(task.program)` tells the length, 1 to 12.

    heldout (1,569 tasks) is for reporting, validation (1,569) for choosing settings, seeds (384) for the buffer.
    """
    with gzip.open(directory / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [task for line in file for task in tasks_of(json.loads(line))]


@functools.cache
def held_out_keys() -> frozenset[str]:
    """The keys (tasks.programs.program_key) of all programs of heldout and validation."""
    return frozenset(program_key(task.program) for name in _SPLITS for task in load(name))


def write_sets(directory: Path = DIRECTORY) -> None:
    """Draw all sets anew; the same files for the same code."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        rows = [{key: kept for key, kept in task_to_json(task).items() if key != "step"} for task in _draw(name)]
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
        # mtime 0 and no name: the bytes depend on the tasks alone
        data = gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0)
        (directory / f"{name}.jsonl.gz").write_bytes(data)


def _draw(name: SetName) -> list[Task]:
    if name == "seeds":
        return _draw_some(random.Random(_SEEDS_SEED), "train", LENGTHS, _SEEDS, set())
    split, seed = _SPLITS[name]
    rng = random.Random(seed)
    seen: set[str] = set()
    tasks = [
        task
        for lines, count in _EACH.items()
        for task in _draw_some(rng, split, [float(n == lines) for n in range(1, lines + 1)], count, seen)
    ]
    rng.shuffle(tasks)  # a limit then takes of every type and length
    return tasks


def _draw_some(rng: random.Random, split: Split, lengths: Sequence[float], count: int, seen: set[str]) -> list[Task]:
    tasks: list[Task] = []
    uses: Counter[tuple[str, TaskType]] = Counter()
    while len(tasks) < count:
        example = draw_example(rng, split=split, lengths=lengths)
        task = make_task(example, USUAL_TYPES[len(tasks) % len(USUAL_TYPES)], pair=rng.randrange(PAIRS))
        most = _MOST_TASKS_A_SHORT_PROGRAM.get(example.lines, _MOST_TASKS_A_PROGRAM)
        if task.id not in seen and uses[task.program, task.type] < most:
            seen.add(task.id)
            uses[task.program, task.type] += 1
            tasks.append(task)
    return tasks
