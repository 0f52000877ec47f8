"""The slow lane: very many jobs, hostile and honest mixed, after which nothing has grown and nothing is left.

Reading order: the mix, then growth.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import generations, offspring

from sandbox import Job, Limits, Sandbox, Status

pytestmark = pytest.mark.slow

LIMITS = Limits(cpu_s=0.2, wall_s=30, memory_mib=64)
KINDS = {
    "honest": ("def f(x): return x * 2", Status.OK),
    "loop": ("def f(x):\n    while True: pass", Status.TIMEOUT),
    "bomb": ("def f(x): return 'x' * (1 << 30)", Status.MEMORY),
    "crash": ("import os\ndef f(x): os._exit(3)", Status.CRASHED),
    "fork": ("import os\ndef f(x): os.fork()", Status.DENIED),
    "foreign": ("def f(x): return object()", Status.NOT_SERIALISABLE),
    "flood": ("def f(x): return 'x' * (2 << 20)", Status.OUTPUT_LIMIT),
}


def kind_of(number: int) -> str:
    hostile = [kind for kind in KINDS if kind not in ("honest", "loop")]
    return "loop" if number % 200 == 99 else hostile[number // 10 % len(hostile)] if number % 10 == 3 else "honest"


def resident_kib() -> int:
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 for pid in offspring(os.getpid()))


def test_twenty_thousand_mixed_jobs_each_end_as_they_should() -> None:
    count = int(os.environ.get("SANDBOX_SOAK_JOBS", "20000"))

    def jobs() -> Iterator[Job]:
        for number in range(count):
            yield Job(KINDS[kind_of(number)][0], args=str(number), imports="stdlib")

    with Sandbox(workers=2, limits=LIMITS) as box:
        for index, result in box.map(jobs()):
            assert result.status is KINDS[kind_of(index)][1], (index, kind_of(index), result)
            assert kind_of(index) != "honest" or result.value == index * 2
        assert box.stats["jobs"] == count
        assert box.stats.get("restarted_zygotes", 0) == 0
        assert generations(os.getpid()) <= 2


def test_nothing_grows_over_many_jobs() -> None:
    """A tenth of the soak is enough to see a leak: 100 bytes a job would be 1 MiB in 10,000."""
    count = int(os.environ.get("SANDBOX_GROWTH_JOBS", "10000"))
    with Sandbox(workers=2, limits=LIMITS) as box:
        program = "def f(x): return [x] * 100"
        for _ in box.map(Job(program, args=str(number)) for number in range(1000)):
            pass
        before = resident_kib()
        files = len(list(Path("/proc/self/fd").iterdir()))
        for _ in box.map(Job(program, args=str(number)) for number in range(count)):
            pass
        assert resident_kib() - before < 1024, "KiB grown in the zygotes"
        assert len(list(Path("/proc/self/fd").iterdir())) == files
