"""Seed tasks are run like proposals: what a file claims as an output must be what the sandbox finds.

Reading order: WrongSeed, run_seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minizero.tasks.admission import Box, reject_run
from minizero.types import NO_ERROR, Pair, Task, TaskType
from sandbox import Determinism
from sandbox.values import InvalidValue, equal, parse_value, render

if TYPE_CHECKING:
    from minizero.config.tasks import AdmissionConfig

LONGEST = 100  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class WrongSeed:
    """A line of a seeds file whose task is not as it claims, and what is wrong with it."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


def run_seeds(
    rows: Iterable[tuple[int, Task]], box: Box, settings: AdmissionConfig
) -> tuple[list[Task], list[WrongSeed]]:
    """The tasks whose outputs are right, in order, and the lines that are wrong, once each, with the first reason.

    rows: (line number, task), several tasks where one row seeds several. Equal programs with equal inputs run once. The
    policy list and the limits of length are for proposals and do not hold here; what can have no output does.
    """
    rows = list(rows)
    runs: dict[tuple[str, tuple[str, ...]], Future[list[Determinism]]] = {}
    for _, task in rows:
        key = task.program, tuple(pair.input for pair in task.pairs)
        if key not in runs:
            runs[key] = box.submit_deterministic_many(task.program, list(key[1]))
    tasks: list[Task] = []
    wrong: dict[int, WrongSeed] = {}
    for line, task in rows:
        found = runs[task.program, tuple(pair.input for pair in task.pairs)].result()
        reasons = (_wrong(task.type, pair, run, settings) for pair, run in zip(task.pairs, found, strict=True))
        why = next((reason for reason in reasons if reason), "")
        if why:
            wrong.setdefault(line, WrongSeed(line, why))
        else:
            tasks.append(task)
    return tasks, list(wrong.values())


def _wrong(task_type: TaskType, pair: Pair, run: Determinism, settings: AdmissionConfig) -> str:
    """What is wrong with one pair, in words; "" when nothing is."""
    call = f"f({_short(pair.input)})"
    rejection = reject_run(run, settings, task_type)
    if rejection is not None and rejection.reason != "output_too_long":
        return f"{call}: {rejection.reason} ({rejection.detail})" if rejection.detail else f"{call}: {rejection.reason}"
    if task_type is TaskType.ERROR:
        raised = run.result.error_type or NO_ERROR
        return "" if raised == pair.output else f"{call} raises {raised}, the file says {_short(pair.output)}"
    try:
        expected = parse_value(pair.output)
    except InvalidValue as error:
        return f"the output {_short(pair.output)} is no value ({error})"
    if run.result.ok and equal(run.result.value, expected):
        return ""
    given = _short(render(run.result.value, max_bytes=1 << 30)) if run.result.ok else run.result.message
    return f"{call} gives {given}, the file says {_short(pair.output)}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
