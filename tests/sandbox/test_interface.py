"""The interface: each way in, each status out, and what happens when a zygote, the host or the user goes away.

Reading order: running, statuses, many inputs, scripts, digests, then life and death of the processes.
"""

# A program or text in a table reads best on one line.
# ruff: noqa: E501

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from processes import alive, children, offspring

from sandbox import Job, Limits, Result, Sandbox, SandboxError, Status, values

INCREMENT = "def f(x): return x + 1"


def test_a_program_and_its_arguments_give_a_value(box: Sandbox) -> None:
    result = box.run(INCREMENT, "41")
    assert (result.status, result.value, result.ok) == (Status.OK, 42, True)
    assert 0 < result.cpu_s < 1
    assert 0 < result.wall_s < 20


def test_arguments_may_be_named_and_the_entry_another(box: Sandbox) -> None:
    job = Job("def g(a, *, b): return a, b", entry="g", args="[1], b={'x': nan}")
    assert values.equal(box.run(job).value, ([1], {"x": float("nan")}))


def test_arguments_that_are_no_values_are_an_error_and_never_evaluated(box: Sandbox) -> None:
    for text in ("print(1)", "1) or (True", "__import__('os')", "x"):
        result = box.run(INCREMENT, text)
        assert (result.status, result.error_type) == (Status.ERROR, "InvalidValue")


@pytest.mark.parametrize(
    ("status", "error_type", "program"),
    [
        (Status.ERROR, "ZeroDivisionError", "def f(): return 1 // 0"),
        (Status.ERROR, "SyntaxError", "def f(: return 1"),
        (Status.ERROR, "NameError", "x = 1"),
        (Status.ERROR, "SystemExit", "def f(): raise SystemExit(3)"),
        (Status.ERROR, "KeyboardInterrupt", "def f(): raise KeyboardInterrupt"),
        (Status.ERROR, "Own", "class Own(Exception): pass\ndef f(): raise Own('why')"),
        (Status.ERROR, "RecursionError", "def f(): return f()"),
        (Status.MEMORY, "MemoryError", "def f(): return len('x' * (1 << 33))"),
        (Status.OUTPUT_LIMIT, "InvalidValue", "def f(): return 'x' * (2 << 20)"),
        (Status.NOT_SERIALISABLE, "InvalidValue", "def f(): return object()"),
        (Status.NOT_SERIALISABLE, "InvalidValue", "def f(): return (i for i in ())"),
        (Status.NOT_SERIALISABLE, "InvalidValue", "class L(list): pass\ndef f(): return [L()]"),
        (Status.DENIED, "ImportError", "import os\ndef f(): return 1"),
        (Status.DENIED, "PermissionError", "def f(): return open('/etc/passwd').read()"),
        (Status.TIMEOUT, "", "def f():\n    while True: pass"),
    ],
)
def test_each_end_has_its_own_status(box: Sandbox, status: Status, error_type: str, program: str) -> None:
    result = box.run(Job(program, args="", limits=Limits(cpu_s=0.5, wall_s=20, memory_mib=256)))
    assert (result.status, result.error_type, result.value) == (status, error_type, None)


def test_a_crash_is_told_by_its_signal(box: Sandbox) -> None:
    program = "import ctypes\ndef f(): return ctypes.string_at(0)"
    result = box.run(Job(program, args="", imports="stdlib"))
    assert (result.status, result.message) == (Status.CRASHED, "the program ended by SIGSEGV")


def test_a_denied_import_names_the_module_and_can_be_caught(box: Sandbox) -> None:
    assert "'subprocess'" in box.run("import subprocess", "").message
    caught = "try:\n    import subprocess\nexcept ImportError: subprocess = None\ndef f(): return subprocess"
    assert box.run(caught, "").ok


def test_what_is_printed_comes_back_up_to_its_cap(box: Sandbox) -> None:
    result = box.run(
        Job("def f():\n    for i in range(9999): print(i)\n    return 1", args="", limits=Limits(stdout_bytes=10))
    )
    assert (result.value, result.stdout) == (1, "0\n1\n2\n3\n4\n")


def test_time_by_the_clock_is_limited_as_well(box: Sandbox) -> None:
    program = "import threading\nlock = threading.Lock()\ndef f(): lock.acquire(); lock.acquire()"
    result = box.run(Job(program, args="", imports="stdlib", limits=Limits(wall_s=0.3)))
    assert (result.status, result.message) == (Status.TIMEOUT, "0.3 s by the clock")


def test_many_inputs_give_their_results_in_order(box: Sandbox) -> None:
    results = box.run_many("def f(x): return 10 // x", ["1", "0", "oops", "5"])
    assert [result.status for result in results] == [Status.OK, Status.ERROR, Status.ERROR, Status.OK]
    assert [result.value for result in results] == [10, None, None, 2]
    assert box.run_many(INCREMENT, []) == []


def test_globals_are_fresh_for_each_input_unless_they_are_wanted(box: Sandbox) -> None:
    counter = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"
    assert [result.value for result in box.run_many(counter, ["1", "2", "3"])] == [1, 1, 1]
    assert [result.value for result in box.run_many(counter, ["1", "2", "3"], fresh_globals=False)] == [1, 2, 3]


def test_an_input_that_never_ends_does_not_take_the_others_along(box: Sandbox) -> None:
    program = "def f(x):\n    while x == 2: pass\n    return x"
    results = box.run_many(program, ["1", "2", "3", "4"], limits=Limits(cpu_s=0.3, wall_s=20))
    assert [str(result.status) for result in results] == ["ok", "timeout", "ok", "ok"]


def test_the_time_of_an_input_begins_anew(box: Sandbox) -> None:
    program = "def f(x): return sum(range(x))"
    results = box.run_many(program, ["6_000_000"] * 6, limits=Limits(cpu_s=0.6, wall_s=20))
    assert {str(result.status) for result in results} == {"ok"}
    assert sum(result.cpu_s for result in results) > 0.3


def test_a_program_that_always_hangs_is_not_tried_on_every_input(box: Sandbox) -> None:
    program = "def f(x):\n    while True: pass"
    results = box.run_many(
        program, [str(i) for i in range(30)], limits=Limits(cpu_s=0.2, wall_s=20, timeouts_per_batch=2)
    )
    assert {str(result.status) for result in results} == {"timeout"}
    assert sum(result.cpu_s for result in results) < 2


def test_a_script_reads_its_input_and_its_output_is_the_value(box: Sandbox) -> None:
    program = "import sys\nn = int(input())\nprint(n, sys.stdin.read().split())\nif __name__ == '__main__': print('é')"
    result = box.run(Job(program, stdin="3\na b\n"))
    assert (result.status, result.value) == (Status.OK, "3 ['a', 'b']\né\n")


@pytest.mark.parametrize(
    "program",
    [
        "print(open(0).read()[::-1])",
        "import os\nos.write(1, os.read(0, 100)[::-1] + b'\\n')",
        "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1] + b'\\n')",
        "import sys, io, os, atexit\nout = io.StringIO()\natexit.register(lambda: os.write(1, out.getvalue().encode()))\n"
        "print(sys.stdin.readline()[::-1], file=out)",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**26)\n"
        "t = threading.Thread(target=lambda: print(input()[::-1]))\nt.start(); t.join()",
        "import sys\nprint(input()[::-1]); sys.exit()",
        "print(input()[::-1]); exit(0)",
        "import os\nprint(input()[::-1], flush=True); os._exit(0)",
    ],
)
def test_scripts_may_use_their_descriptors_as_contest_programs_do(box: Sandbox, program: str) -> None:
    assert box.run(Job(program, stdin="abc", imports="stdlib")).value == "cba\n"


def test_a_script_that_fails_says_how_and_keeps_what_it_printed(box: Sandbox) -> None:
    result = box.run(Job("print(1)\nraise ValueError('why')", stdin=""))
    assert (result.status, result.error_type, result.stdout, result.value) == (Status.ERROR, "ValueError", "1\n", None)
    assert box.run(Job("exit(3)", stdin="")).status is Status.ERROR
    flood = box.run(Job("while True: print('x' * 1000)", stdin="", limits=Limits(result_bytes=10_000)))
    assert flood.status is Status.OUTPUT_LIMIT


def test_large_input_reaches_a_script(box: Sandbox) -> None:
    text = "7 " * 4_000_000
    result = box.run(
        Job("print(sum(map(int, input().split())))", stdin=text, limits=Limits(cpu_s=20, wall_s=60, memory_mib=1024))
    )
    assert result.value == "28000000\n"


def test_a_large_result_may_come_back_as_a_digest(box: Sandbox) -> None:
    program = "def f(n): return {str(i): {i, float(i)} for i in reversed(range(n))}"
    expected = {str(i): {i} for i in range(20_000)}
    result = box.run(Job(program, args="20_000", digest_above=1000, limits=Limits(cpu_s=20, wall_s=60)))
    assert (result.status, result.value) == (Status.OK, None)
    assert result.digest == values.digest(expected, max_bytes=1 << 30)
    small = box.run(Job(program, args="2", digest_above=1000))
    assert (small.value, small.digest) == ({"0": {0}, "1": {1}}, "")


def test_results_of_many_mebibytes_come_back_when_the_limits_say_so(box: Sandbox) -> None:
    limits = Limits(result_bytes=64 << 20, memory_mib=1024, cpu_s=20, wall_s=60)
    result = box.run(Job("def f(): return ['x' * (1 << 20)] * 40", args="", limits=limits))
    assert result.value == ["x" * (1 << 20)] * 40


def test_map_yields_every_index_once_and_needs_no_list_of_jobs(box: Sandbox) -> None:
    def jobs() -> Iterator[Job]:
        for number in range(60):
            yield Job(INCREMENT, args=str(number))

    assert sorted((index, result.value) for index, result in box.map(jobs())) == [(i, i + 1) for i in range(60)]


def test_many_threads_may_use_one_sandbox(box: Sandbox) -> None:
    wrong: list[Result] = []

    def work(base: int) -> None:
        for number in range(base, base + 15):
            result = box.run(INCREMENT, str(number))
            if result.value != number + 1:
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_job_without_arguments_or_input_is_a_mistake_of_the_caller(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="expected args"):
        box.run(Job(INCREMENT))


LIMITS_THAT_ARE_NONE = [
    ("cpu_s", 0), ("cpu_s", -1.0), ("cpu_s", math.nan), ("cpu_s", math.inf), ("wall_s", 1e8), ("wall_s", -math.inf), ("wall_s", math.inf),
    ("memory_mib", 1 << 50), ("memory_mib", 0), ("memory_mib", 10**5000), ("result_bytes", 1 << 50), ("result_bytes", -1), ("stdout_bytes", 1 << 50),
    ("batch_bytes", 1 << 50), ("timeouts_per_batch", 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    LIMITS_THAT_ARE_NONE,
    ids=lambda each: str(each)[:20] if not isinstance(each, int) else hex(each)[:20],
)
def test_a_limit_that_limits_nothing_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^Limits.{field} = "):
        Limits(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu_s", "1"), ("cpu_s", None), ("cpu_s", True), ("memory_mib", 512.0), ("result_bytes", "1"), ("wall_s", 1j)],
)
def test_a_limit_of_a_wrong_type_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^Limits.{field}: expected"):
        Limits(**{field: value})


def test_the_largest_limits_there_may_be_are_taken_by_the_system(box: Sandbox) -> None:
    most = Limits(604_800, 604_800, 1 << 24, 1 << 32, 1 << 32, 1 << 32, 1 << 32)
    assert [each.value for each in box.run_many(INCREMENT, ["1", "2"], limits=most)] == [2, 3]
    assert box.run(Job("print(1)", stdin="", limits=most)).value == "1\n"
    least = Limits(
        cpu_s=1e-9, wall_s=1e-9, memory_mib=1, result_bytes=1, stdout_bytes=1, batch_bytes=1, timeouts_per_batch=1
    )
    assert box.run(Job(INCREMENT, args="1", limits=least)).status in (Status.TIMEOUT, Status.OUTPUT_LIMIT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("program", b"x = 1"), ("program", None), ("entry", 5), ("args", b"1"), ("args", [1]), ("stdin", b"abc"), ("stdin", 5), ("fresh_globals", 1),
        ("imports", None), ("digest_above", "x"), ("digest_above", 1.5), ("digest_above", True), ("limits", {"cpu_s": 1}),
    ],
)  # fmt: skip
def test_a_job_of_wrong_types_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^Job.{field}: expected .*, saw {type(value).__name__}$"):
        Job(**{"program": INCREMENT, field: value})


@pytest.mark.parametrize(("field", "value"), [("imports", "junk"), ("digest_above", -1), ("digest_above", 1 << 70)])
def test_a_job_of_wrong_values_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^Job.{field} = "):
        Job(INCREMENT, **{field: value})


def test_counts_tell_how_jobs_ended() -> None:
    with Sandbox(workers=1) as own:
        own.run(INCREMENT, "1")
        own.run("def f(): raise ValueError", "")
        assert own.stats == {"jobs": 2, "ok": 1, "error": 1}


def test_a_lost_zygote_is_replaced_and_its_job_repeated() -> None:
    others = set(children(os.getpid()))
    with Sandbox(workers=1) as own:
        slow: list[Future[Result]] = [
            own.submit(Job("def f(): return sum(range(20_000_000))", args="", limits=Limits(cpu_s=10, wall_s=60)))
            for _ in range(4)
        ]
        time.sleep(0.3)
        for pid in set(children(os.getpid())) - others:
            os.kill(pid, signal.SIGKILL)
        results = [future.result(timeout=60) for future in slow]
        assert {result.value for result in results} == {199999990000000}
        assert own.stats["restarted_zygotes"] >= 1


def test_closing_ends_every_process_and_every_waiting_job() -> None:
    others = set(offspring(os.getpid()))
    own = Sandbox(workers=1)
    waiting = [
        own.submit(Job("def f():\n    while True: pass", args="", limits=Limits(cpu_s=60, wall_s=60))) for _ in range(6)
    ]
    time.sleep(0.5)
    mine = set(offspring(os.getpid())) - others
    assert len(mine) >= 2
    own.close()
    for future in waiting:
        assert isinstance(future.exception(timeout=10), SandboxError)
    with pytest.raises(SandboxError, match="closed"):
        own.run(INCREMENT, "1")
    assert [pid for pid in mine if alive(pid)] == []


HOST = """
import os, signal, sys, time
from sandbox import Sandbox, Job, Limits
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell ignores it
box = Sandbox(workers=2)
loop = Job("def f():\\n    while True: pass", args="", limits=Limits(cpu_s=60, wall_s=60))
waiting = [box.submit(loop) for _ in range(4)]
time.sleep(0.5)
print("running", flush=True)
sys.stdin.readline()
{ending}
"""


@pytest.mark.parametrize(
    "ending", ["waiting[0].result()", "os.kill(os.getpid(), 9)", "with box: waiting[0].result()", "sys.exit(0)"]
)
def test_no_process_outlives_its_host(ending: str) -> None:
    """Ctrl-C, SIGKILL, Ctrl-C inside the context manager, and a plain end without close."""
    host = subprocess.Popen(
        [sys.executable, "-c", HOST.format(ending=ending)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with host:
        assert host.stdout is not None
        assert host.stdin is not None
        assert host.stdout.readline() == "running\n"
        family = offspring(host.pid)
        assert len(family) >= 4
        host.stdin.write("go on\n")
        host.stdin.flush()
        if "result" in ending:
            time.sleep(0.3)
            host.send_signal(signal.SIGINT)
    until = time.monotonic() + 20
    while any(alive(pid) for pid in family) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in family if alive(pid)] == []


def test_a_fork_of_the_host_is_told_to_make_its_own(box: Sandbox) -> None:
    script = (
        "import os\nfrom sandbox import Sandbox, SandboxError\nbox = Sandbox(workers=1)\n"
        "pid = os.fork()\nif pid == 0:\n    try: box.run('def f(): return 1', '')\n"
        "    except SandboxError as error: os._exit(7 if 'forked' in str(error) else 8)\n    os._exit(9)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\nassert box.run('def f(): return 1', '').value == 1\n"
        "box.close()\nraise SystemExit(status)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=60).returncode == 7


def test_the_command_line_prints_the_value_and_the_layers() -> None:
    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments], cwd=root, capture_output=True, text=True, timeout=60
        )

    shown = python("def f(x): return x+1", "41")
    assert (shown.returncode, shown.stdout) == (0, "42\n")
    assert "layers in force: " in shown.stderr
    assert "seccomp" in shown.stderr
    table = python("--self-test")
    assert table.returncode == 0
    assert "refused: EPERM" in table.stdout
    assert "SUCCEEDED" not in table.stdout
    assert python("def f(: 1", "").returncode == 1
    assert python("def f(): 1", "", "--cpu-s", "nan").stderr.endswith(
        "error: Limits.cpu_s = nan: expected a number above 0, at most 604800\n"
    )
    for program in (
        "print('a\\tb\\x1b[2J\\x9b1m\\r\\u202ec\\nd')",
        "print('a\\tb', end='\\x1b[2J\\x9b1m\\r\\u202ec\\nd\\n')",
    ):
        told = python(program, "--stdin", "")
        assert (told.returncode, told.stdout) == (0, "a\tb\\x1b[2J\\x9b1m\\r\\u202ec\nd\n\n")
    said = python("def f(): raise ValueError('\\x1b]0;title\\7')", "")
    assert (said.returncode, said.stdout) == (1, "error: ValueError \\x1b]0;title\\x07\n")


def test_limits_that_the_user_has_lowered_do_not_keep_jobs_from_running() -> None:
    program = (
        "import resource as r\n"
        "for what, most in ((r.RLIMIT_STACK, 8 << 20), (r.RLIMIT_CPU, 50)): r.setrlimit(what, (most, most))\n"
        "from sandbox import Limits, Sandbox\n"
        "with Sandbox(workers=1, limits=Limits(cpu_s=100, wall_s=100)) as box:\n"
        "    print(box.run('def f(x): return x + 1', '41').value)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ran.stdout == "42\n", ran.stderr
