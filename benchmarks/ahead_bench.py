"""One step ahead beside taking turns: the time of a step, and whether the tiny model learns as well. CPUs, vLLM's CPU
build; nothing else may run.

    python benchmarks/ahead_bench.py run [--seeds 3] [--steps 48]     goes on where it was stopped
    python benchmarks/ahead_bench.py table                            what is in benchmarks/ahead/

A server (`minizero serve tiny`) has one core and the trainer the other; LoRA, because servers take adapters. Reading
order: main, one_run, table.
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
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "ahead"
LORA = ["--config", "configs/ablations/lora.toml"]
PORT = 8417
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # Student's, two-sided, by degrees of freedom


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def on_core(number: int) -> list[str]:
    """taskset, where there are two cores."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[number])] if len(cores) > 1 else []


@contextmanager
def server() -> Iterator[str]:
    """`minizero serve` on the first core; its address."""
    command = [*on_core(0), sys.executable, "-m", "minizero", "serve", "tiny", "--port", str(PORT), *LORA]
    url = f"http://127.0.0.1:{PORT}"
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment() | {"TORCHDYNAMO_DISABLE": "1"}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            while True:
                assert process.poll() is None, Path(log.name).read_text()[-2000:]
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(1)
            yield url
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


def one_run(url: str, seed: int, ahead: int, steps: int) -> dict[str, Any]:
    """The rows of a run's metrics.jsonl that the table reads."""
    with tempfile.TemporaryDirectory() as home:
        settings = [
            "sampler.backend=server", f"sampler.url={url}", f"selfplay.ahead={ahead}", f"run.rng_seed={seed}",
            f"selfplay.steps={steps}", f"run.dir={home!r}", "run.name=one", "run.threads=1", "sandbox.workers=1",
            "eval.limit=480", "run.rollouts_every=0", "run.checkpoint_every=0",
        ]  # fmt: skip
        command = [*on_core(1), sys.executable, "-m", "minizero", "selfplay", "tiny", *LORA]
        for setting in settings:
            command += ["--set", setting]
        subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, check=True)
        (run,) = Path(home).glob("*one")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = (
        "step", "time/step_s", "time/step_s/sample", "time/step_s/update", "ahead/learner_waits_s",
        "ahead/sampler_waits_s", "policy/staleness", "policy/effective_sample_frac", "policy/kl_sampler",
        "eval/solve_rate", "eval/greedy", "rollout/generated_tokens",
    )  # fmt: skip
    return {"seed": seed, "ahead": ahead, "rows": [{n: row[n] for n in names if n in row} for row in rows]}


def run(seeds: int, steps: int) -> None:
    KEPT.mkdir(exist_ok=True)
    missing = [(s, a) for s in range(seeds) for a in (0, 1) if not (KEPT / f"ahead-{a}-{s}.json").exists()]
    if missing:
        with server() as url:
            for seed, ahead in missing:
                found = one_run(url, seed, ahead, steps)
                (KEPT / f"ahead-{ahead}-{seed}.json").write_text(json.dumps(found))
                print(seed, ahead, of_run(found), flush=True)
    table()


def of_run(found: dict[str, Any]) -> dict[str, float]:
    """Of all steps but the first: the median wall time over the longer part; solve rates at the end, and the means of
    all validations but the first."""
    steps = [row for row in found["rows"] if row["step"] > 1 and "time/step_s/sample" in row]
    # With ahead, the next step's sampling goes on during this one's update.
    following = {row["step"]: row["time/step_s/sample"] for row in steps}
    ratios = [
        row["time/step_s"] / max(row["time/step_s/update"], following[row["step"] + 1])
        for row in steps
        if row["step"] + 1 in following
    ]
    last = found["rows"][-1]
    validated = [row for row in found["rows"] if row["step"] and "eval/greedy" in row]
    return {
        "step_s": statistics.median(row["time/step_s"] for row in steps),
        "over_longer_part": statistics.median(ratios),
        "effective": statistics.mean(row["policy/effective_sample_frac"] for row in steps),
        "solve_rate": 100 * last["eval/solve_rate"],
        "greedy": 100 * last["eval/greedy"],
        "solve_rate_over_run": 100 * statistics.mean(row["eval/solve_rate"] for row in validated),
        "greedy_over_run": 100 * statistics.mean(row["eval/greedy"] for row in validated),
    }


def table() -> None:
    rows = {path.stem: of_run(json.loads(path.read_text())) for path in sorted(KEPT.glob("ahead-*.json"))}
    for name, row in rows.items():
        print(name, {key: round(value, 3) for key, value in row.items()})
    seeds = sorted({name.rpartition("-")[2] for name in rows})
    for key in ("step_s", "solve_rate", "greedy", "solve_rate_over_run", "greedy_over_run"):
        pairs = [
            (rows[f"ahead-0-{s}"][key], rows[f"ahead-1-{s}"][key])
            for s in seeds
            if {f"ahead-0-{s}", f"ahead-1-{s}"} <= rows.keys()
        ]
        if len(pairs) > 1:
            apart = [b / a if key == "step_s" else b - a for a, b in pairs]
            half = T_95.get(len(apart) - 1, 2.0) * statistics.stdev(apart) / len(apart) ** 0.5
            mean, words = statistics.mean(apart), "over" if key == "step_s" else "less"
            print(f"{key}: ahead {words} in turn {mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=48)
    asked = parser.parse_args()
    if asked.command == "run":
        run(asked.seeds, asked.steps)
    else:
        table()


if __name__ == "__main__":
    main()
