"""What several processes bring, and what gathering costs. CPUs and gloo; nothing else may run.

    python benchmarks/ranks_bench.py speed [--steps 8] [--rounds 3]         of one process, and of two
    python benchmarks/ranks_bench.py gather [--completions 10000] [--tokens 500]
    python benchmarks/ranks_bench.py memory [--steps 500]                   of rank 0, which keeps the books

speed: the default run of the tiny model without validation, one process and two in turns, each on one thread. The ideal
is what two runs that know nothing of each other do beside each other, measured in the same round: two processes of one
machine share caches and memory, whatever they do. gather: two processes exchange half of the completions each, as
Round does, pickled over gloo. memory: small steps of two processes; the peak of rank 0's resident memory so far, which
may be measured beside other work. Reading order: main, speed, gather, memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]


SMALL = (
    "selfplay.proposals=4", "selfplay.solves=8", "selfplay.attempts=2", "selfplay.propose_max_tokens=64",
    "selfplay.solve_max_tokens=64", "run.state_every=50",
)  # fmt: skip


def begin(
    home: str, name: str, processes: int, steps: int, seed: int = 0, more: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    program = [*LAUNCH, "--nproc_per_node", str(processes)] if processes > 1 else [sys.executable]
    settings = [
        f"run.dir={home!r}", f"run.name={name}", f"run.rng_seed={seed}", f"selfplay.steps={steps}", "eval.tasks=none",
        "run.threads=1", "sandbox.workers=1", "run.rollouts_every=1", "run.checkpoint_every=0",
        *more,
    ]  # fmt: skip
    command = [*program, "-m", "minizero", "selfplay", "tiny"]
    for text in settings:
        command += ["--set", text]
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)


def rate(home: str, name: str) -> float:
    """Trained tokens a second, of all steps but the first."""
    (run,) = Path(home).glob(f"*{name}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
    return sum(row["policy/trained_tokens"] for row in rows) / sum(row["time/step_s"] for row in rows)


def speed(steps: int, rounds: int) -> None:
    found: dict[str, list[float]] = {"one": [], "two": [], "ideal": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            assert begin(home, "one", 1, steps).wait() == 0
            assert begin(home, "two", 2, steps).wait() == 0
            pair = [begin(home, f"beside-{seed}", 1, steps, seed) for seed in (0, 1)]
            assert [process.wait() for process in pair] == [0, 0]
            of_round = {name: rate(home, name) for name in ("one", "two")}
            of_round["ideal"] = sum(rate(home, f"beside-{seed}") for seed in (0, 1))
        for name, value in of_round.items():
            found[name].append(value)
        print(number, {name: round(value) for name, value in of_round.items()}, flush=True)
    print(
        "trained tokens a second, medians:", {name: round(statistics.median(values)) for name, values in found.items()}
    )
    for name in ("two", "ideal"):
        ratios = [value / one for value, one in zip(found[name], found["one"], strict=True)]
        print(f"{name} / one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def gather(completions: int, tokens: int) -> None:
    if "RANK" not in os.environ:
        arguments = ["gather", "--completions", str(completions), "--tokens", str(tokens)]
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([*LAUNCH, "--nproc_per_node", "2", __file__, *arguments], check=True, env=env)
        return
    from minizero.learn.ranks import join
    from minizero.types import AnswerOutcome, Completion, Pair, Task, TaskType, Verdict

    ranks = join(cpu=True)
    task = Task(TaskType.DEDUCTION, "def f(x):\n    return x + 1", (Pair("1", "2"),))
    one = [
        (
            AnswerOutcome(task, f"{number} " * (tokens // 2), True, Verdict(True, 1.0, "correct")),
            Completion(
                f"solve/deduction/{number:05d}", 0, tuple(range(tokens // 2)), tuple(range(tokens)),
                tuple(-0.001 * place for place in range(tokens)), f"{number} " * (tokens // 2), "stop",
            ),
        )
        for number in range(completions // ranks.count)
    ]  # fmt: skip
    took = []
    for _ in range(5):
        ranks.gather(0)
        started = time.perf_counter()
        ranks.gather({f"solve/{number}": [pair] for number, pair in enumerate(one)})
        took.append(time.perf_counter() - started)
    if ranks.leads:
        print(f"{completions} completions of {tokens} tokens: {statistics.median(took):.2f} s a step (median of 5)")


def memory(steps: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        assert begin(home, "two", 2, steps, more=SMALL).wait() == 0
        (run,) = Path(home).glob("*two")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for row in rows:
            if row["step"] in (1, 10) or row["step"] % max(1, steps // 10) == 0:
                print(
                    f"step {row['step']:4}: {1024 * row['memory/peak_gib']:6.0f} MiB, {row['buffer/tasks']:.0f} tasks"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["speed", "gather", "memory"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--completions", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=500)
    asked = parser.parse_args()
    if asked.command == "speed":
        speed(asked.steps or 8, asked.rounds)
    elif asked.command == "memory":
        memory(asked.steps or 500)
    else:
        gather(asked.completions, asked.tokens)


if __name__ == "__main__":
    main()
