"""Whether a sandbox grows: 100,000 jobs through one, with the memory of host and zygotes along the way.

    python benchmarks/sandbox_growth_bench.py [--jobs 100000] [--out benchmarks/sandbox-growth.md]

Reading order: PROGRAMS, Usage and measure, then report.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sandbox import Sandbox  # noqa: E402

PROGRAMS = (
    "def f(x):\n    return x + 1\n",
    "def f(x):\n    return [x] * 100\n",
    "def f(x):\n    raise ValueError(x)\n",
    "import collections\ndef f(x):\n    return dict(collections.Counter(str(x)))\n",
)
BATCH = 1000


class Usage(NamedTuple):
    """What host and processes take at one moment."""

    jobs: int
    seconds: float
    host_kib: int
    processes: int
    processes_kib: int
    descriptors: int


def resident_kib(pid: int | str) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("VmRSS")), 0)


def descendants() -> list[int]:
    """Every process below this one."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended in between
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def measure(jobs: int) -> list[Usage]:
    seen = []
    with Sandbox(workers=2) as box:
        began = time.perf_counter()
        for done in range(BATCH, jobs + 1, BATCH):
            waiting = [box.submit_many(PROGRAMS[n % len(PROGRAMS)], [str(n)]) for n in range(BATCH)]
            for future in waiting:
                future.result()
            if done == BATCH or done % (jobs // 10) == 0:
                below = descendants()
                seen.append(
                    Usage(
                        done,
                        time.perf_counter() - began,
                        resident_kib("self"),
                        len(below),
                        sum(resident_kib(pid) for pid in below),
                        len(os.listdir("/proc/self/fd")),
                    )
                )
        assert box.stats["jobs"] == jobs, box.stats
        assert not box.stats.get("restarted_zygotes"), box.stats
    return seen


def report(seen: list[Usage]) -> str:
    lines = [
        "# Does the sandbox grow?",
        "",
        f"CPython {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "Made by `python benchmarks/sandbox_growth_bench.py`: four short programs in turn, 2 workers. Resident memory;",
        "the processes are zygotes and, with pid namespaces, the parent that each of them has.",
        "",
        "| jobs | s | host, MiB | processes | theirs, MiB | open descriptors |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.jobs:,} | {each.seconds:.0f} | {each.host_kib / 1024:.2f} | {each.processes} "
        f"| {each.processes_kib / 1024:.1f} | {each.descriptors} |"
        for each in seen
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    chosen = parser.parse_args()
    text = report(measure(chosen.jobs))
    print(text)
    if chosen.out:
        chosen.out.write_text(text)


if __name__ == "__main__":
    main()
