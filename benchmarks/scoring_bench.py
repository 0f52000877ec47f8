"""Scoring canonical solutions: minizero's sandbox against EvalPlus's own scorer, in turn, at equal workers.

    python benchmarks/scoring_bench.py --data DIR --evalplus-python PYTHON [--rounds 3] [--copies 4] [--out FILE]

Both score the same file of 164 x copies samples, the verdict cache off; the reference outputs are computed beforehand
by each and timed apart. The processor seconds are those of the whole tree of processes, read while it lives. Also:
start-up, HumanEval+ Mini once, and the time with the verdict cache. --every 20 makes it short, for a trial: the other
tasks get a program that fails at once. Writes a table to --out.

Reading order: main, ours and theirs, then how time is read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minizero.evaluation.datafile import find
from minizero.evaluation.evalplus_files import read_eval_results, run_evalplus, write_samples
from minizero.evaluation.external import DATASETS, data_file
from minizero.evaluation.problems import PASS, Judgement, Problem, Suite
from minizero.evaluation.scoring import JudgementCache, Submission, score
from minizero.evaluation.suites import suite
from sandbox import Sandbox

FAILS = "raise ValueError\n"
START = """
import time
started = time.perf_counter()
from minizero.evaluation.judges.functions import FunctionJudge
from minizero.evaluation.problems import Problem
from sandbox import Sandbox
tests = {"tests": {"base": [[1]]}, "atol": 0.0, "oracle": "", "is_json": True}
problem = Problem("x", "", "def f(x):\\n    return x\\n", "f", tests)
with Sandbox(workers=1) as box:
    assert FunctionJudge([problem], box).judge(problem, problem.solution)["base"] == "pass"
    print(time.perf_counter() - started)
"""


class Timed(NamedTuple):
    """What was timed: wall and processor seconds."""

    wall_s: float
    cpu_s: float
    result: Any


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--suite", default="humaneval+", choices=list(DATASETS))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="canonical solutions of every N-th task only")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--evalplus-python", default="", help="an interpreter that has evalplus; without it, ours alone"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    asked = parser.parse_args()
    chosen = suite(asked.suite)
    problems = chosen.load(asked.data)
    answers = answers_for(problems, asked.every, asked.copies)
    rows: list[tuple[str, str, str, str]] = []

    def tell(what: str, found: Timed, remark: str = "") -> None:
        row = (what, f"{found.wall_s:.1f}", f"{found.cpu_s:.1f}" if found.cpu_s else "", remark)
        rows.append(row)
        print(f"{row[0]:48} {row[1]:>8} s wall {row[2]:>8} s processor  {row[3]}", flush=True)

    setting = f"{len(answers)} samples of {chosen.title}, {asked.workers} workers, {os.cpu_count()} cores"
    load = f"load {os.getloadavg()[0]:.1f} before"
    print(f"{setting}, {load}")
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        os.environ["XDG_CACHE_HOME"] = str(here / "cache")  # EvalPlus's reference outputs are its own
        tell("start-up: a fresh interpreter to a first verdict", start_up())
        tell("minizero, reference outputs and one pass", ours(chosen, problems, answers[:: asked.copies], here, asked))
        if asked.evalplus_python:
            once = answers[:: asked.copies]
            tell("EvalPlus, reference outputs and one pass", theirs(once, here, asked))
        walls: list[float] = []
        for number in range(1, asked.rounds + 1):
            mine = ours(chosen, problems, answers, here, asked)
            tell(f"round {number}: minizero, cache off", mine, right(chosen, mine.result))
            if asked.evalplus_python:
                other = theirs(answers, here, asked)
                found = [both for task in read_eval_results(other.result).values() for _, both in task]
                walls.append(mine.wall_s / other.wall_s)
                words = f"{sum(found)} of {len(found)} right; minizero takes {walls[-1]:.0%} of its wall time"
                tell(f"round {number}: EvalPlus", other, words)
        cold = ours(chosen, problems, answers, here, asked, JudgementCache(here / "verdicts.jsonl"))
        tell("minizero, verdict cache on and empty", cold)
        tell(
            "minizero, verdict cache full",
            ours(chosen, problems, answers, here, asked, JudgementCache(here / "verdicts.jsonl")),
        )
        mini = suite("humaneval-mini")
        few = mini.load(asked.data)
        for words in ("Mini once, reference outputs too", "Mini once"):
            found_mini = ours(mini, few, answers_for(few, asked.every, 1), here, asked)
            tell(f"minizero, HumanEval+ {words}", found_mini, right(mini, found_mini.result))
    lines = [f"{setting}, {load}, {os.getloadavg()[0]:.1f} after.", "", "| what | wall s | processor s | |"]
    lines += ["|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    if walls:
        lines += ["", f"minizero takes {statistics.median(walls):.0%} of EvalPlus's wall time (median of the rounds)."]
        print(lines[-1])
    if asked.out:
        asked.out.write_text("# Scoring beside EvalPlus\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


def answers_for(problems: list[Problem], every: int, copies: int) -> list[Submission]:
    """Each canonical solution `copies` times in a row."""
    texts = [p.solution if place % every == 0 else FAILS for place, p in enumerate(problems)]
    return [Submission(p.id, text) for p, text in zip(problems, texts, strict=True) for _ in range(copies)]


def right(chosen: Suite, verdicts: list[Judgement]) -> str:
    return f"{sum(verdict[chosen.levels[-1]] == PASS for verdict in verdicts)} of {len(verdicts)} right"


def start_up() -> Timed:
    done = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True)
    return Timed(float(done.stdout), 0.0, None)


def ours(
    chosen: Suite, problems: list[Problem], answers: list[Submission], here: Path, asked: argparse.Namespace,
    cache: JudgementCache | None = None,
) -> Timed:  # fmt: skip
    """Score with a sandbox of its own. The reference outputs are remembered in `here`, the verdicts only by a cache."""
    remembering = replace(chosen, make_judge=lambda found, box, _: chosen.make_judge(found, box, here))

    def act(read: Callable[[], None]) -> Any:
        with Sandbox(workers=asked.workers) as box:
            found = score(remembering, problems, answers, box, cache=cache, workers=asked.workers)
            read()  # before the sandbox's processes end: what nobody waits for is counted nowhere
            return found

    return timed(act)


def theirs(answers: list[Submission], here: Path, asked: argparse.Namespace) -> Timed:
    samples, data = here / "samples.jsonl", find(data_file(asked.suite), asked.data)
    write_samples(samples, answers)

    def act(read: Callable[[], None]) -> Path:
        path = run_evalplus(DATASETS[asked.suite], samples, data, parallel=asked.workers, python=asked.evalplus_python)
        read()
        return path

    return timed(act)


def timed(act: Callable[[Callable[[], None]], Any]) -> Timed:
    """Time `act`, which calls what it is given when its processes have done their work."""
    readings = [tree_cpu_s()]
    started = time.perf_counter()
    result = act(lambda: readings.append(tree_cpu_s()))
    return Timed(time.perf_counter() - started, readings[1] - readings[0], result)


def tree_cpu_s() -> float:
    """Processor seconds of this process and all below it: of those that live, and of those that were waited for."""
    times: dict[int, tuple[int, int]] = {}  # pid -> parent, clock ticks
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        times[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    mine, before = {os.getpid()}, 0
    while len(mine) != before:
        before = len(mine)
        mine |= {pid for pid, (parent, _) in times.items() if parent in mine}
    return sum(times[pid][1] for pid in mine if pid in times) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
