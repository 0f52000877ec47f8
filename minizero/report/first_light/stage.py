"""A stage is a process of its own with a time limit: one that crashes, hangs or is refused never stops the next.

Reading order: Stage and Outcome, run_stage, then how an outcome is read from what the process wrote. The process writes
events as JSON Lines (child.py), so that what it found before it ended stays known.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["passed", "failed", "skipped"]
RUNNING: set[subprocess.Popen[bytes]] = set()  # so that all of them can be ended
GRACE_S = 3.0  # for Python to write where it hangs, before it is killed
TAIL = 30  # lines of a failed stage's output in the report


@dataclass(frozen=True, slots=True)
class Stage:
    """`command` is started with the path of its events as last argument. `skip`: why it is not started at all."""

    name: str
    purpose: str
    limit_s: float
    command: tuple[str, ...]
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended, why where it did not pass, what it found (by name, units in the names) and what it says."""

    name: str
    purpose: str
    state: State
    reason: str = ""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()


def skipped(stage: Stage, reason: str) -> Outcome:
    return Outcome(stage.name, stage.purpose, "skipped", reason)


def run_stage(stage: Stage, folder: Path) -> Outcome:
    """Start it, wait for its end or its limit, and end whatever it left behind. Its output is folder/NAME.log."""
    if stage.skip:
        return skipped(stage, stage.skip)
    events, output, started = folder / f"{stage.name}.jsonl", folder / f"{stage.name}.log", time.monotonic()
    with output.open("wb") as log:
        try:
            process = subprocess.Popen(
                [*stage.command, str(events)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        except OSError as error:
            return Outcome(stage.name, stage.purpose, "failed", f"could not be started: {error}")
        timed_out = False
        RUNNING.add(process)
        try:
            process.wait(stage.limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            _signal(process, signal.SIGABRT)  # Python's fault handler writes what every thread was doing
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        finally:
            _signal(process, signal.SIGKILL)  # what it started too: a process left behind would hold the card's memory
            process.wait()
            RUNNING.discard(process)
    status = None if timed_out else process.returncode
    return _outcome(stage, status, read_events(events), output, time.monotonic() - started)


def end_all() -> None:
    """End every stage that runs, also one that another thread waits for."""
    for process in tuple(RUNNING):
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(process.pid, number)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a stage's events; the last one may be torn. [] for a stage that did not begin."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def facts_in(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All findings, the later ones of a name in the place of the earlier."""
    facts: dict[str, Any] = {}
    for event in events:
        facts |= event.get("facts", {})
    return facts


def _outcome(stage: Stage, status: int | None, events: list[dict[str, Any]], output: Path, took: float) -> Outcome:
    facts, says, phase, end = facts_in(events), [], "", None
    for event in events:
        says += [event["say"]] if "say" in event else []
        phase = event.get("phase", phase)
        end = event if "end" in event else end
    state: State = "failed"
    if status is None:
        reason = f"did not end within {stage.limit_s:.0f} s" + (f", at: {phase}" if phase else "")
    elif status < 0:
        done = "after its work was done" if end else f"at: {phase}" if phase else "at its start"
        reason = f"was ended by {_name(-status)}, {done}"
    elif end is None:
        reason = f"ended with status {status} and no word" + (f", at: {phase}" if phase else "")
    elif status and end["end"] != "failed":
        reason = f"did its work, and then ended with status {status}"
    else:
        state, reason = end["end"], end.get("reason", "")
    tail = tuple(_last_lines(output)) if state == "failed" else ()
    return Outcome(stage.name, stage.purpose, state, reason, took, facts, tuple(says), tail)


def _name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (of the kernel, when memory is short)" if name == "SIGKILL" else name


def _last_lines(output: Path) -> list[str]:
    text = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
    return [line[:300] for line in text.rstrip().splitlines()[-TAIL:]]
