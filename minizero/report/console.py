"""What the console says: a bar that moves while a step runs, one line per step, alarms when they begin.

Reading order: Console (phase and tick move the bar, step and say leave lines), Bar, step_line, as_table.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from minizero.formatting import duration
from minizero.metrics import alarms

QUIET_S = 5.0  # without a terminal: seconds between progress lines
MOVING_S = 0.2
REMEMBERED = 10  # steps that the estimate of the time left is taken from


class Console:
    """Speaks to a terminal with a bar at the bottom, to a file or pipe with plain lines. Lines fit 80 columns."""

    def __init__(self, rich: RichConsole | None = None) -> None:
        self.rich = rich or RichConsole(file=sys.stdout, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._phase, self._detail, self._started, self._spoke = "", "", 0.0, 0.0
        self._done, self._total = 0, 0
        self._step_s: deque[float] = deque(maxlen=REMEMBERED)
        self._raised: set[str] = set()  # alarms of the last step
        self._over = threading.Event()
        self._mover: threading.Thread | None = None

    def __enter__(self) -> Console:
        if self.rich.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
                BarColumn(bar_width=16),
                TextColumn("{task.fields[left]}", markup=False),
                console=self.rich, transient=True, expand=True,
            )  # fmt: skip
            self._bar.add_task("", total=None, left="", detail="")
            self._bar.start()
        # A thread moves the line, because one prefill or backward pass of a large model on a CPU can take a minute.
        self._over.clear()
        self._mover = threading.Thread(target=self._move, name="progress", daemon=True)
        self._mover.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._mover:
            self._mover.join()
        if self._bar:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """A line that stays."""
        self.rich.print(text, markup=False)
        self._spoke = time.monotonic()

    def steps(self, done: int, total: int) -> None:
        """The run has so many steps, and so many of them are done."""
        self._done, self._total = done, total

    def phase(self, text: str) -> None:
        """What is being done from now on."""
        self._phase, self._started, self._detail = text, time.monotonic(), ""
        self._show(force=self._bar is not None)

    def tick(self, pending: int, detail: str = "") -> None:
        """Called often; keeps the bar up to date."""
        self._detail = detail or (f"{pending} completions left" if pending else "")
        self._show()

    def step(self, number: int, total: int, metrics: Mapping[str, float]) -> None:
        """The line of a step, and a line for each alarm that begins."""
        self._done, self._total = number, total
        self._step_s.append(metrics["time/step_s"])
        self.say(step_line(number, total, metrics, width=self.rich.width))
        raised = alarms(metrics)
        for name, words in raised.items():
            if name not in self._raised:  # once when it begins; the metrics file and the report have them all
                self.say(f"      ! {name} = {metrics[name]:.3g}: {words}")
        self._raised = set(raised)

    def _move(self) -> None:
        while not self._over.wait(MOVING_S if self._bar else QUIET_S):
            if self._phase:
                self._show()

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._spoke < (MOVING_S if self._bar else QUIET_S):
            return
        self._spoke = now
        passed = f"({now - self._started:.0f} s)"
        if not self._bar:
            line = ": ".join(part for part in (self._phase, self._detail) if part)
            self.rich.print(f"  {line} {passed}", markup=False)
            return
        left_s = (self._total - self._done) * fmean(self._step_s) if self._step_s else 0.0
        left = f"{self._done}/{self._total}" + (f", {duration(left_s)} left" if left_s else "")
        self._bar.update(
            self._bar.task_ids[0],
            description=f"{self._phase} {passed}",
            detail=self._detail,
            total=self._total or None,
            completed=self._done,
            left=left if self._total else "",
        )


class Bar(Progress):
    """A bar with its phase, and below it a line of counts with the whole width to itself."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["detail"]:
                yield Text(f"  {task.fields['detail']}", style="dim", no_wrap=True, overflow="ellipsis")


def step_line(number: int, total: int, values: Mapping[str, float], *, width: int = 80) -> str:
    """One step in one line: what was admitted, how hard it was, what was solved, how long it took; and, where the line
    still fits `width`, the held-out solve rate, tokens a second, rewards, and where the time went. The loss stays out:
    it is near 0 anyway.

    >>> step_line(3, 60, {"propose/admitted_frac": 0.5, "solve/correct_frac": 0.25, "time/step_s": 2.0})
    'step  3/60  admitted  50%  solved  25%  2.0 s'
    """
    parts = [f"step {number:{len(str(total))}d}/{total}"]
    for label, name in (
        ("admitted", "propose/admitted_frac"),
        ("learnable", "propose/learnable_frac"),
        ("solved", "solve/correct_frac"),
    ):
        if name in values:
            parts.append(f"{label} {values[name]:4.0%}")
    parts.append(f"{values['time/step_s']:.1f} s")
    more = [f"held out {values['eval/solve_rate']:.1%}"] if "eval/solve_rate" in values else []
    more += [f"{values['rollout/tokens_per_s']:.0f} tok/s"] if values.get("rollout/tokens_per_s") else []
    rewards = [f"{role} {values[f'reward/{role}']:+.2f}" for role in ("propose", "solve") if f"reward/{role}" in values]
    more += [f"reward {', '.join(rewards)}"] if rewards else []
    more += [words] if (words := time_parts(values)) else []
    for part in more:
        if len("  ".join([*parts, part])) <= width:
            parts.append(part)
    return "  ".join(parts)


def time_parts(values: Mapping[str, float]) -> str:
    """Where a step's time went, in percent, and how much of it the card's data sheet asks for.

    >>> time_parts({"time/step_s": 10.0, "time/step_s/sample": 7.0, "time/step_s/update": 2.0, "time/step_s/push": 0.1,
    ...             "sandbox/wait_s": 0.5})
    'sample 65%, update 20%, push 1%, sandbox 5%'
    """
    whole, waited = values["time/step_s"], values.get("sandbox/wait_s", 0.0)
    parts = [name for name in ("sample", "update", "push") if f"time/step_s/{name}" in values]
    if not parts or whole <= 0:
        return ""
    spent = {name: values[f"time/step_s/{name}"] for name in parts}
    spent["sample"] = spent.get("sample", waited) - waited
    words = [f"{name} {seconds / whole:.0%}" for name, seconds in (spent | {"sandbox": waited}).items()]
    if "time/floor_frac" in values:
        words.append(f"floor {values['time/floor_frac']:.0%}")
    return ", ".join(words)


def as_table(rows: Mapping[str, Any]) -> str:
    """Names and values, aligned."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
