"""Scoring canonical solutions: minizero's sandbox against EvalPlus's own scorer, in the same run, at equal workers.

    python benchmarks/scoring_bench.py --data DIR [--suite humaneval+] [--copies 4] [--evalplus-python PYTHON]

Both score the same file with the verdict cache off; ground truth is computed beforehand by each and timed apart.
Prints wall and processor seconds, their ratios, start-up, and the time with the verdict cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minizero.evaluation.datafile import find
from minizero.evaluation.evalplus_files import read_eval_results, run_evalplus, write_samples
from minizero.evaluation.external import DATASETS, data_file
from minizero.evaluation.problems import PASS
from minizero.evaluation.scoring import Answer, VerdictCache, score
from minizero.evaluation.suites import suite
from sandbox import Sandbox


def timed(what: str, act: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds, processor seconds of this process and its ended children."""
    wall, cpu = time.perf_counter(), processor_s()
    found = act()
    wall, cpu = time.perf_counter() - wall, processor_s() - cpu
    print(f"{what:44} {wall:8.1f} s wall {cpu:8.1f} s processor", flush=True)
    return found, wall, cpu


def processor_s() -> float:
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--suite", default="humaneval+", choices=list(DATASETS))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--evalplus-python", default="", help="an interpreter that has evalplus; without it, ours alone"
    )
    asked = parser.parse_args()
    chosen = suite(asked.suite)
    problems = chosen.load(asked.data)
    answers = [Answer(p.id, p.solution) for p in problems for _ in range(asked.copies)]
    load = os.getloadavg()[0]
    print(f"{len(answers)} samples, {asked.workers} workers, {os.cpu_count()} cores, load {load:.1f} before the run")
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        started = time.perf_counter()
        with Sandbox(workers=asked.workers) as box:
            print(f"start-up {time.perf_counter() - started:.2f} s")
            judge = chosen.make_judge(problems, box, here)
            timed("minizero, reference outputs", lambda: [judge._reference(p) for p in problems])  # type: ignore[attr-defined]

        def ours(cache: VerdictCache | None) -> Any:
            # A sandbox of its own, so that its processes have ended when their time is read.
            with Sandbox(workers=asked.workers) as box:
                fixed = chosen.make_judge(problems, box, here)
                again = type(chosen)(
                    chosen.name, chosen.title, chosen.levels, chosen.kind, chosen.load, lambda p, b, s: fixed
                )
                return score(again, problems, answers, box, cache=cache, workers=asked.workers)

        verdicts, wall, cpu = timed("minizero, verdict cache off", lambda: ours(None))
        right = sum(v[chosen.levels[-1]] == PASS for v in verdicts)
        print(f"  {right} of {len(answers)} right")
        timed("minizero, verdict cache cold", lambda: ours(VerdictCache(here / "verdicts.jsonl")))
        timed("minizero, verdict cache warm", lambda: ours(VerdictCache(here / "verdicts.jsonl")))
        if asked.evalplus_python:
            samples, data = here / "samples.jsonl", find(data_file(asked.suite), asked.data)
            os.environ["XDG_CACHE_HOME"] = str(here / "cache")

            def theirs() -> Path:
                return run_evalplus(
                    DATASETS[asked.suite], samples, data, parallel=asked.workers, python=asked.evalplus_python
                )

            write_samples(samples, [Answer(p.id, p.solution) for p in problems])
            timed("EvalPlus, ground truth and one pass", theirs)
            write_samples(samples, answers)
            path, wall_theirs, cpu_theirs = timed("EvalPlus, ground truth cached", theirs)
            found = [both for rows in read_eval_results(path).values() for _, both in rows]
            print(f"  {sum(found)} of {len(found)} right")
            print(f"minizero / EvalPlus: wall {wall / wall_theirs:.2f}, processor {cpu / cpu_theirs:.2f}")


if __name__ == "__main__":
    main()
