"""Seed tasks: AZR's zero triplet, the package's own, or a JSON Lines file in AZR's format or ours.

AZR's rows (docs/algorithm.md 1): {"snippet", "input", "output", ...} seeds deduction and abduction, {"snippet",
"inputs", "outputs", "message", ...} seeds induction; ours (minizero seed) also name a task_type, without which no row
is an error task. The lines of a run's tasks.jsonl are read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minizero.config.tasks import AdmissionConfig
from minizero.selfplay.buffer import task_from_json
from minizero.tasks.admission import Box
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
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SeedsError(f"{path}: the seeds file cannot be read ({error}).") from None
    rows: dict[TaskType, list[tuple[int, Task]]] = {kind: [] for kind in TaskType}
    left_out = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            tasks = tasks_of(json.loads(line))
        except InvalidValue:
            left_out += 1
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise SeedsError(
                f"{path}, line {number}: not a seed task ({type(error).__name__}: {error}). Expected a JSON object "
                "with snippet, input, output, or with snippet, inputs, outputs, message; or a line of tasks.jsonl."
            ) from None
        for task in tasks:
            rows[task.type].append((number, task))
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


def tasks_of(row: Mapping[str, Any]) -> list[Task]:
    """The tasks of one row, in AZR's format or ours. Raises KeyError, TypeError or ValueError for what is no row, of
    which InvalidValue for an output that is no value."""
    if "type" in row:
        return [task_from_json({"step": 0, **row, **{"step": 0}})]
    program = str(row["snippet"])
    imports = [line for line in row.get("imports") or [] if line not in program]
    program = "\n".join([*imports, program])
    if "inputs" in row:
        if len(row["inputs"]) != len(row["outputs"]) or len(row["inputs"]) < 2:
            raise ValueError(
                f"{len(row['inputs'])} inputs, {len(row['outputs'])} outputs; expected the same number, at least 2"
            )
        pairs = tuple(
            Pair(str(i), render(parse_value(str(o)))) for i, o in zip(row["inputs"], row["outputs"], strict=True)
        )
        return [Task(TaskType.INDUCTION, program, pairs, str(row["message"]), len(pairs) // 2)]
    if row.get("task_type") == TaskType.ERROR:  # the output is a name
        return [Task(TaskType.ERROR, program, (Pair(str(row["input"]), str(row["output"])),))]
    pair = Pair(str(row["input"]), render(parse_value(str(row["output"]))))
    kinds = [TaskType(row["task_type"])] if "task_type" in row else [TaskType.DEDUCTION, TaskType.ABDUCTION]
    return [Task(kind, program, (pair,)) for kind in kinds]
