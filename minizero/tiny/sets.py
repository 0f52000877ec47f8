"""The task sets that ship with the tiny model: held-out and validation tasks, and seed tasks for self-play's buffer.

Reading order: `load`, then `write_sets`, which made the files
(`python -c "from minizero.tiny.sets import write_sets; write_sets()"`).
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Literal

from minizero.tiny.world import LENGTHS, PAIRS, Split, draw_example, make_task
from minizero.types import USUAL_TYPES, Pair, Task, TaskType

SetName = Literal["heldout", "validation", "seeds"]
NAMES: tuple[SetName, ...] = ("heldout", "validation", "seeds")

DIRECTORY = Path(__file__).parent / "weights"

_PLANS: dict[SetName, tuple[Split, int, int]] = {  # split, tasks, rng seed
    "heldout": ("heldout", 1200, 101),
    "validation": ("validation", 1200, 102),
    "seeds": ("train", 384, 103),
}
_LENGTHS = (0.05, 0.45, 0.3, 0.2)  # one-line programs pass the hash of these splits three times as often
_MOST_TASKS_A_PROGRAM = {1: 6, 2: 3, 3: 2, 4: 2}  # of one type, by lines: of the short ones there are few


def load(name: SetName, directory: Path = DIRECTORY) -> list[Task]:
    """The tasks of a set, the three types in turn; `programs.statement_lines(task.program)` tells the length, 1 to 4.

    heldout (1,200 tasks) is for reporting, validation (1,200) for choosing settings, seeds (384) for the buffer.
    """
    with gzip.open(directory / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [_from_json(json.loads(line)) for line in file]


def write_sets(directory: Path = DIRECTORY) -> None:
    """Draw all sets anew; the same files for the same code."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, (split, count, seed) in _PLANS.items():
        lines = [json.dumps(_to_json(task), separators=(",", ":")) for task in _draw(split, count, seed)]
        # mtime 0 and no name: the bytes depend on the tasks alone
        data = gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0)
        (directory / f"{name}.jsonl.gz").write_bytes(data)


def _draw(split: Split, count: int, seed: int) -> list[Task]:
    rng = random.Random(seed)
    tasks: list[Task] = []
    seen: set[str] = set()
    uses: Counter[tuple[str, TaskType]] = Counter()
    types = USUAL_TYPES
    lengths = LENGTHS if split == "train" else _LENGTHS
    while len(tasks) < count:
        example = draw_example(rng, split=split, lengths=lengths)
        task = make_task(example, types[len(tasks) % len(types)], pair=rng.randrange(PAIRS))
        if task.id in seen or uses[task.program, task.type] == _MOST_TASKS_A_PROGRAM[example.lines]:
            continue
        seen.add(task.id)
        uses[task.program, task.type] += 1
        tasks.append(task)
    return tasks


def _to_json(task: Task) -> dict[str, object]:
    return {
        "type": task.type.value,
        "program": task.program,
        "pairs": [[pair.input, pair.output] for pair in task.pairs],
        **({"message": task.message, "shown": task.shown} if task.type is TaskType.INDUCTION else {}),
    }


def _from_json(data: dict[str, object]) -> Task:
    pairs = data["pairs"]
    assert isinstance(pairs, list)
    return Task(
        type=TaskType(str(data["type"])),
        program=str(data["program"]),
        pairs=tuple(Pair(str(i), str(o)) for i, o in pairs),
        message=str(data.get("message", "")),
        shown=int(str(data.get("shown", 0))),
    )
