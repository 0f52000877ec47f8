"""What the console says: a progress line that moves while a step runs, one summary line per step, words at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.status import Status

from minizero.metrics import alarms

QUIET_S = 5.0  # without a terminal: seconds between progress lines
MOVING_S = 0.2


class Console:
    """Speaks to a terminal with a line that moves, to a file or pipe with plain lines."""

    def __init__(self, rich: RichConsole | None = None) -> None:
        self.rich = rich or RichConsole(file=sys.stdout, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._phase, self._started, self._spoke = "", 0.0, 0.0
        self._raised: set[str] = set()  # alarms of the last step
        self._extra = ""
        self._over = threading.Event()
        self._mover: threading.Thread | None = None

    def __enter__(self) -> Console:
        if self.rich.is_terminal:
            self._status = self.rich.status("")
            self._status.start()
        # A thread moves the line, because one prefill or backward pass of a large model on a CPU can take a minute.
        self._over.clear()
        self._mover = threading.Thread(target=self._move, name="progress", daemon=True)
        self._mover.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._mover:
            self._mover.join()
        if self._status:
            self._status.stop()

    def _move(self) -> None:
        while not self._over.wait(MOVING_S if self._status else QUIET_S):
            if self._phase:
                self._show()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.rich.print(text, markup=False)
        self._spoke = time.monotonic()

    def phase(self, text: str) -> None:
        """What is being done from now on."""
        self._phase, self._started, self._extra = text, time.monotonic(), ""
        self._show(force=self._status is not None)

    def tick(self, pending: int) -> None:
        """Called often; keeps the progress line up to date."""
        self._extra = f", {pending} completions left" if pending else ""
        self._show()

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._spoke < (MOVING_S if self._status else QUIET_S):
            return
        self._spoke = now
        line = f"{self._phase}{self._extra} ({now - self._started:.0f} s)"
        if self._status:
            self._status.update(line)
        else:
            self.rich.print(f"  {line}", markup=False)

    def step(self, number: int, total: int, metrics: Mapping[str, float]) -> None:
        """The summary line of a step, and a line for each alarm."""
        self.say(step_line(number, total, metrics))
        raised = alarms(metrics)
        for name, words in raised.items():
            if name not in self._raised:  # once when it begins; the metrics file and the report have them all
                self.say(f"      ! {name} = {metrics[name]:.3g}: {words}")
        self._raised = set(raised)


def step_line(number: int, total: int, values: Mapping[str, float]) -> str:
    """One step in one line: what was admitted, how hard it was, what was solved, where its time went. The loss stays
    out: it is near 0 anyway.

    >>> step_line(3, 60, {"propose/admitted_frac": 0.5, "solve/correct_frac": 0.25, "time/step_s": 2.0})
    'step   3/60   admitted  50%   solved  25%   2.0 s'
    """
    parts = [f"step {number:3d}/{total}"]
    for label, name in (
        ("admitted", "propose/admitted_frac"),
        ("learnable", "propose/learnable_frac"),
        ("solved", "solve/correct_frac"),
    ):
        if name in values:
            parts.append(f"{label} {values[name]:4.0%}")
    for label, name in (("reward propose", "reward/propose"), ("solve", "reward/solve")):
        if name in values:
            parts.append(f"{label} {values[name]:+.2f}")
    if values.get("rollout/tokens_per_s"):
        parts.append(f"{values['rollout/tokens_per_s']:.0f} tok/s")
    parts.append(f"{values['time/step_s']:.1f} s{time_parts(values)}")
    return "   ".join(parts)


def time_parts(values: Mapping[str, float]) -> str:
    """Where a step's time went, in percent, and how much of it the card's data sheet asks for.

    >>> time_parts({"time/step_s": 10.0, "time/step_s/sample": 7.0, "time/step_s/update": 2.0, "time/step_s/push": 0.1,
    ...             "sandbox/wait_s": 0.5})
    ' (sample 65%, update 20%, push 1%, sandbox 5%)'
    """
    whole, waited = values["time/step_s"], values.get("sandbox/wait_s", 0.0)
    spent = {name: values[f"time/step_s/{name}"] for name in ("sample", "update", "push") if _has(values, name)}
    if not spent or whole <= 0:
        return ""
    spent["sample"] = spent.get("sample", waited) - waited
    told = [f"{name} {seconds / whole:.0%}" for name, seconds in (spent | {"sandbox": waited}).items()]
    if "time/floor_frac" in values:
        told.append(f"floor {values['time/floor_frac']:.0%}")
    return f" ({', '.join(told)})"


def _has(values: Mapping[str, float], part: str) -> bool:
    return f"time/step_s/{part}" in values


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def as_table(rows: Mapping[str, Any]) -> str:
    """Names and values, aligned."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
