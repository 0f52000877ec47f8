"""What runs in a stage's process: python -m minizero.report.first_light.child JOB NAME EVENTS.

Reading order: Job (what all stages work on), Log (what a stage tells while it works), main.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from minizero.config import Config
from minizero.config.named import resolve
from minizero.types import MiniZeroError

# For the small random model: short prompts, a handful of completions.
SMALL = (
    "prompt.style=compact", "buffer.seeds=tiny", "buffer.seed_tasks=12", "adapter.rank=4", "run.threads=1",
    "selfplay.proposals=2", "selfplay.solves=2", "selfplay.attempts=2", "selfplay.propose_max_tokens=32",
    "selfplay.solve_max_tokens=32", "selfplay.max_prompt_tokens=384", "optim.micro_batch_tokens=1024",
    "sampler.max_rows=16",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """What is tried: a model by name (`base`), or a made one (`made`: its directory) with the settings of `base`."""

    folder: str
    base: str  # as for minizero selfplay; "": the made model alone
    made: str = ""
    device: str = "cpu"
    quick: bool = False
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The model's name for a reader."""
        if not self.made:
            return self.base
        return f"a random model of {self.base}'s shape" if self.base else "a small random model"

    def config(self, *more: str) -> Config:
        """The settings of a run of this model, under those of the user."""
        return resolve(*self._layers(*more))

    def command(self, *more: str) -> list[str]:
        """The arguments of minizero that start a run with these settings."""
        model, _, settings = self._layers(*more)
        return ["selfplay", model, *(f"--set={setting}" for setting in settings)]

    def _layers(self, *more: str) -> tuple[str, tuple[Path, ...], tuple[str, ...]]:
        if not self.made:
            return self.base, (), (*more, *self.settings)
        if not self.base:
            return self.made, (), (*SMALL, *more, *self.settings)
        return self.base, (), (f"model.name={self.made!r}", *more, *self.settings)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> Job:
        job = Job(**json.loads(path.read_text()))
        return replace(job, settings=tuple(job.settings))


class Skipped(Exception):
    """This machine has nothing to try it on; the words say what."""


class Unmet(Exception):
    """What a stage asks for is not so; the words say what was seen."""


class Log:
    """Events of a stage, each written at once: what was found before a crash stays known."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def phase(self, words: str) -> None:
        """What is being done now: named when the stage does not come back from it."""
        self._write(phase=words)

    def facts(self, **values: Any) -> None:
        """Findings by name, units in the names; numbers, texts, lists or objects of them."""
        self._write(facts=values)

    def say(self, words: str) -> None:
        """A sentence for the report."""
        self._write(say=words)

    def end(self, state: str, reason: str = "") -> None:
        self._write(end=state, reason=reason)

    def _write(self, **event: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def skip(words: str) -> NoReturn:
    raise Skipped(words)


# Name -> where its function (job, log) is; nothing is imported before it is needed.
BODIES = {
    "machine": "machine:machine",
    "doctor": "machine:doctor",
    "gpu-tests": "machine:gpu_tests",
    "engine": "engine:engine",
    "update": "engine:update",
    "memory": "engine:memory",
    "tiny": "plays:tiny",
    "resume": "plays:kill_and_resume",
    "steps": "plays:steps",
}


def end_with_parent(parent: int, every_s: float = 1.0) -> None:
    """End this process and all that it started when whoever started it is gone: nobody would end it at its limit."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_s)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(job: str, name: str, events: str) -> int:
    """Do it, and write how it ended. Its traceback goes to the stage's log."""
    log = Log(Path(events))
    try:
        file, _, function = BODIES[name].partition(":")
        body: Callable[[Job, Log], None] = getattr(import_module(f"minizero.report.first_light.{file}"), function)
        body(Job.read(Path(job)), log)
    except Skipped as found:
        log.end("skipped", str(found))
        return 0
    except Exception as error:  # the last line of this process: whatever it is, the report says it
        traceback.print_exc()
        is_ours = isinstance(error, MiniZeroError | Unmet)
        log.end("failed", str(error) if is_ours else f"{type(error).__name__}: {error}")
        return 1
    log.end("passed")
    return 0


if __name__ == "__main__":
    end_with_parent(os.getppid())
    raise SystemExit(main(*sys.argv[1:]))
