"""Does a step slow down, or a process grow, as tasks pile up? Scripted sampler; the sandbox is replaced by ready
answers.

    python benchmarks/growth_bench.py [--steps 1000]

Prints the step time with 16,384 buffered tasks over that with 100 (interleaved, median of pairs), and the resident
memory over a long run. Reading order: main, world (a script whose every proposal is new), Ready (the box that answers
at once).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from minizero.config import load_config
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.step import SelfPlay
from minizero.tasks.admission import task_key
from minizero.types import Pair, Request, Rollout, Task, TaskType
from sandbox import Determinism, Job, Result, Status

numbers = itertools.count(1_000_000)


def world(request: Request, index: int) -> str:
    role, kind, *_ = request.id.split("/")
    if role == "propose" and kind != "induction":
        return f"def f(x):\n    return x + {next(numbers)}\n```\n```input\n1\n```"
    if role == "propose":
        base = next(numbers)
        return f"{base}\n```\n" + "".join(f"```input\n{base + i}\n```\n" for i in range(1, 4)) + "```message\nadd\n```"
    return "def f(x):\n    return x\n```" if kind == "induction" else "7\n```"


class Ready:
    """Every program returns its input: what is measured is our own code, not the sandbox."""

    def submit(self, job: Job) -> Future[Result]:
        return done(Result(Status.OK, len(job.args or "")))

    def submit_many(self, program: str, inputs: list[str]) -> Future[list[Result]]:
        return done([Result(Status.OK, int(text)) for text in inputs])

    def submit_deterministic_many(self, program: str, inputs: list[str]) -> Future[list[Determinism]]:
        return done([Determinism(Result(Status.OK, int(text)), True) for text in inputs])


class Still:
    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        return {}


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def make_game(tasks: int, cap: int) -> SelfPlay:
    config = load_config(
        overrides=[
            "selfplay.proposals=16", "selfplay.solves=16", "selfplay.attempts=2", "selfplay.max_prompt_tokens=100000",
            "prompt.induction_inputs=4", "prompt.induction_shown=2",
            "admission.vary_outputs=false", "prompt.think=off",
            f"buffer.cap={cap}", "buffer.evict=oldest",
        ]
    )  # fmt: skip
    buffer = TaskBuffer(lambda task: task_key(task, "program_and_input"), cap=cap, evict="oldest")
    kinds = (TaskType.DEDUCTION, TaskType.ABDUCTION)
    for i in range(tasks):
        program = f"def f(x):\n    return x + {i}"
        buffer.add([(Task(kind, program, (Pair("1", str(1 + i)),)), None) for kind in kinds])
        pairs = tuple(Pair(str(i + k), str(k)) for k in range(4))
        buffer.add([(Task(TaskType.INDUCTION, program, pairs, "add", 2), None)])
    return SelfPlay(config, policy=Still(), sampler=ScriptedSampler(world), box=Ready(), buffer=buffer, style="chat")  # type: ignore[arg-type]


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    small, large = make_game(100, 100), make_game(16_384, 16_384)
    ratios = []
    for number in range(1, 42):
        times = {}
        for game in (small, large) if number % 2 else (large, small):
            started = time.process_time()
            game.step(number)
            times[game] = time.process_time() - started
        if number > 5:
            ratios.append(times[large] / times[small])
    low, mid, high = statistics.quantiles(ratios, n=4)
    print(
        f"step time with 16,384 tasks of each type / with 100: {mid:.3f}  "
        f"(quartiles {low:.3f} to {high:.3f}, {len(ratios)} pairs)"
    )
    sizes = []
    for number in range(100, 100 + steps):
        large.step(number)
        if number % max(1, steps // 10) == 0:
            gc.collect()
            sizes.append(resident_mib())
    print(f"resident memory over {steps} steps at the cap: " + ", ".join(f"{size:.0f}" for size in sizes) + " MiB")


if __name__ == "__main__":
    main()
