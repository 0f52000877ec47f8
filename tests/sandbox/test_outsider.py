"""Attacks by a reviewer who had not built the sandbox, those that held: every system call, scarce files, close, text.

Reading order: each test stands alone; the programs and texts come right before it.
"""

import concurrent.futures
import contextlib
import mmap
import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from unprotected import run_unprotected

from sandbox import Job, Limits, Sandbox, SandboxError, Status, libc, selftest, values
from sandbox.seccomp import ALLOWED, WITHOUT_EXEC

SWEEP = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def f(numbers=(95, 100, 102, 104, 110)):
    made = []
    for number in numbers:
        answer = libc.syscall(*map(ctypes.c_long, (number, 0, 0, 0, 0, 0, 0)))
        if (answer, ctypes.get_errno()) != (-1, 1):
            made.append(number)
    return made
"""
"""Makes system calls by number, those five that harm nobody (umask, times, getuid, getgid, getppid) unless told."""

UNFILTERED = (335, 336)
"""uretprobe and uprobe: newer kernels let them pass every filter, and end a process that was not probed."""


@pytest.mark.skipif(libc.MACHINE != "x86_64", reason="system call numbers are those of x86_64")
def test_no_number_of_a_system_call_off_the_list_gets_through(box: Sandbox, tmp_path: Path) -> None:
    assert run_unprotected(SWEEP, tmp_path) == "VALUE [95, 100, 102, 104, 110]"
    listed = {libc.number_of(name) for name in (*ALLOWED, *WITHOUT_EXEC)}
    numbers = [number for number in range(600) if number not in listed and number not in UNFILTERED]
    result = box.run(Job(SWEEP, args=repr(numbers), imports="stdlib"))
    assert (result.status, result.value) == (Status.OK, []), result


ONE = "def f(): return 1"


def test_jobs_that_come_while_the_sandbox_closes_all_end() -> None:
    sandbox = Sandbox(workers=1, limits=Limits(cpu_s=1, wall_s=20))
    futures: list[concurrent.futures.Future[Any]] = []

    def flood() -> None:
        with contextlib.suppress(SandboxError):
            for number in range(100_000):
                futures.append(sandbox.submit_many(ONE, [""]))
                if number % 7 == 0:
                    futures[-1].cancel()

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    sandbox.close()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert futures
    assert not concurrent.futures.wait(futures, timeout=30).not_done


def test_a_host_without_a_free_descriptor_goes_on_and_recovers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with Sandbox(workers=1, limits=Limits(cpu_s=1, wall_s=20)) as sandbox:
        assert sandbox.run(ONE, "").value == 1
        first = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(first + 1, 64), hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            assert sandbox.run(ONE, "").value == 1, "a zygote that is there needs no new descriptor in the host"
            with pytest.raises((SandboxError, OSError)):  # said, and no hang
                sandbox.run(Job(ONE, args="", imports="stdlib"))
        finally:
            for descriptor in (first, *taken):
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sandbox.run(Job(ONE, args="", imports="stdlib")).value == 1


RESULTS = {
    "floats as large as integers get": "[1e300, -1e308, 2.0 ** 53, 0.1] * 100",
    "nans that are keys": "{float('nan'): 1, (float('nan'), 2): float('nan')}",
    "one number in four types": "[True, 1, 1.0, 1 + 0j, -0.0, complex(0, -0.0)]",
    "sets of sets of text": "{frozenset({c, c * 2}) for c in 'abcdefgh'}",
    "halves of characters": "['\\ud800', '\\udc00', '\\ud800\\udc00', '\\U00010000']",
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_digest_made_in_the_job_is_the_one_the_host_makes(name: str, box: Sandbox) -> None:
    result = box.run(Job(f"def f(): return {RESULTS[name]}", args="", digest_above=1))
    assert (result.status, result.digest) == (Status.OK, values.digest(eval(RESULTS[name]))), result


N = 1 << 16
TEXTS = {
    "comments": "[" + "#\n" * (N // 2) + "1]",
    "a comment of hash signs": "[" + "#" * N + "\n1]",
    "empty strings": "'' " * (N // 3),
    "quotes": "'" * N,
    "an open triple quote": "'''" + "a" * N,
    "open parentheses": "(" * N,
    "open sets": "{" * N,
    "open calls": "dict(a=" * (N // 7),
    "signs": "-+" * (N // 2),
    "a long fraction": "0." + "1" * N,
    "a long exponent": "1e" + "9" * N,
    "a long integer": "9" * N,
    "underscores": "1_" * (N // 2),
    "a name that grows when it is normalised": "\ufdfa" * (N // 16) + "=1",
    "a long character name": "'\\N{" + "A" * N + "}'",
    "escapes without an end": "'" + "\\N{" * (N // 3) + "'",
    "escapes without an end, in bytes": "b'" + "\\N{" * (N // 3) + "'",
    "hexadecimal escapes cut short": "b'" + "\\x" * (N // 2) + "'",
    "commas": "[" + "," * N + "]",
    "the same key": "{" + "0:0," * (N // 4) + "}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_long_hostile_text_is_read_or_refused_in_time_linear_in_its_length(name: str) -> None:
    began = time.process_time()
    for read in (values.parse_value, values.parse_arguments):
        with contextlib.suppress(values.InvalidValue):
            read(TEXTS[name])
    assert time.process_time() - began < 1.0


def test_a_program_that_is_given_such_text_harms_nobody(box: Sandbox) -> None:
    for result in box.run_many("def f(x): return x", list(TEXTS.values())):
        assert result.status in (Status.OK, Status.ERROR)
        assert len(result.message) < 1000


NOTE = "import sys\ndef f(x):\n    m = sys.modules['__main__'].__dict__.get('_layout') or bytearray(16)\n"


def test_nothing_that_a_job_writes_to_a_mapping_of_its_zygote_reaches_a_later_job() -> None:
    with Sandbox(workers=1, limits=Limits(cpu_s=1, wall_s=20)) as sandbox:
        for _ in range(6):
            result = sandbox.run(NOTE + "    m[9] += x\n    return m[9]", "1")
            assert (result.status, result.value) == (Status.OK, 1)
        tried = [trial for trial in sandbox.report.trials if "later jobs" in trial.act]
    assert [trial.refused for trial in tried] == [True]


def test_the_self_test_sees_memory_that_jobs_would_share() -> None:
    assert [trial.refused for trial in selftest.try_acts("descriptors", [selftest.leave_notes])] == [True]
    with mmap.mmap(-1, 4096):
        assert [trial.refused for trial in selftest.try_acts("descriptors", [selftest.leave_notes])] == [False]


TOO_LARGE = ("9" * 400 + "+1j", "-0x" + "f" * 400 + "-1j", "[1, " + "9" * 400 + " - 2.5j]", "1 + 0x" + "f" * 5000)


@pytest.mark.parametrize("text", TOO_LARGE)
def test_a_sum_of_what_is_too_large_is_no_value(text: str, box: Sandbox) -> None:
    for read in (values.parse_value, values.parse_arguments):
        with pytest.raises(values.InvalidValue):
            read(text)
    assert box.run("def f(x): return x", text).error_type == "InvalidValue"
