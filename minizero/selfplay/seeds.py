"""Seed tasks: AZR's zero triplet, the package's own, or a JSON Lines file in AZR's format or ours (tasks/rows.py).

Reading order: zero_tasks, read_seeds, seed_tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minizero.config.tasks import AdmissionConfig
from minizero.tasks.admission import Box
from minizero.tasks.rows import EXPECTED, read_task_lines
from minizero.tasks.seed_check import run_seeds
from minizero.types import NO_ERROR, USUAL_TYPES, Pair, SeedsError, Task, TaskType
from sandbox.values import InvalidValue, parse_value, render

IDENTITY = "def f(a):\n    return a"
ZERO_INPUTS = (
    "'Hello world'",
    "1",
    "dict(a=1, b=2)",
    "(1.1, 1.2, 1.3)",
    "'[[1, 0, 0], [0, 0, 0], [0, 0, 0]]'",
    "1001101100010001",
)
NAMED = 8  # wrong rows that an error names
BUILTIN = Path(__file__).parent / "data" / "seeds.jsonl"


def zero_tasks(shown: int = 3) -> list[Task]:
    """AZR's zero triplet for deduction and abduction, its six-pair induction record, and its error task."""
    pair = Pair("'Hello world'", "'Hello world'")
    pairs = tuple(Pair(text, render(parse_value(text))) for text in ZERO_INPUTS)
    return [
        Task(TaskType.DEDUCTION, IDENTITY, (pair,)),
        Task(TaskType.ABDUCTION, IDENTITY, (pair,)),
        Task(TaskType.INDUCTION, IDENTITY, pairs, "Return whatever is given.", shown),
        Task(TaskType.ERROR, IDENTITY, (Pair(pair.input, NO_ERROR),)),
    ]


def read_seeds(
    path: Path,
    limit: int,
    task_types: Sequence[TaskType] = USUAL_TYPES,
    *,
    box: Box | None = None,
    settings: AdmissionConfig | None = None,
) -> tuple[list[Task], int]:
    """Seed tasks from a file, at most `limit` of each type, and the number of rows left out because an output is no
    value. With a sandbox their programs are run, and what they say of their outputs must be so.

    Raises SeedsError with the line number for a malformed or wrong row, and for a file without a single task.
    """
    try:
        lines = read_task_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SeedsError(f"{path}: the seeds file cannot be read ({error}).") from None
    rows: dict[TaskType, list[tuple[int, Task]]] = {kind: [] for kind in TaskType}
    for line in lines:
        if line.problem and not isinstance(line.error, InvalidValue):
            raise SeedsError(f"{path}, line {line.number}: not a seed task ({line.problem}). {EXPECTED}")
        for task in line.tasks:
            rows[task.type].append((line.number, task))
    left_out = sum(line.error is not None for line in lines)
    chosen = [row for kind in task_types for row in rows[kind][:limit]]
    if not chosen:
        raise SeedsError(
            f"{path}: no seed task for {', '.join(task_types)} in {len(lines)} lines "
            f"({left_out} left out: output is no value)."
        )
    if box is not None and settings is not None:
        _, wrong = run_seeds(chosen, box, settings)
        if wrong:
            first = "\n".join(f"  line {seed.line}: {seed.why}" for seed in wrong[:NAMED])
            more = f"\n  and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise SeedsError(f"{path}: {len(wrong)} seed rows are wrong. Mend or remove them:\n{first}{more}")
    return [task for _, task in chosen], left_out


def seed_tasks(
    name: str,
    limit: int,
    task_types: Sequence[TaskType],
    *,
    box: Box | None = None,
    settings: AdmissionConfig | None = None,
) -> tuple[list[Task], int]:
    """Seed tasks by the setting buffer.seeds: "zero", "builtin", "tiny" or a file. Where those hold no error task, and
    error tasks are asked for, AZR's own is the first. A file's are run in the sandbox, when there is one."""
    if name == "zero":
        return [task for task in zero_tasks() if task.type in task_types], 0
    if name == "tiny":
        from minizero import tiny

        shipped = [task for task in tiny.load("seeds") if task.type in task_types]
        return [task for kind in task_types for task in [t for t in shipped if t.type is kind][:limit]], 0
    if name == "builtin":
        tasks, left_out = read_seeds(BUILTIN, limit, task_types)
    else:
        tasks, left_out = read_seeds(Path(name), limit, task_types, box=box, settings=settings)
    if TaskType.ERROR in task_types and not any(task.type is TaskType.ERROR for task in tasks):
        tasks += [task for task in zero_tasks() if task.type is TaskType.ERROR]
    return tasks, left_out
