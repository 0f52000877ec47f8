"""The second corpus: attacks written after the sandbox was finished, by reading its code.

Reading order: one test per attack, then what several of them aim at in particular.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fresh import FRESH
from target import Target

from sandbox import Job, Limits, Sandbox, Status, values

LIMITS = Limits(cpu_s=0.4, wall_s=4.0, memory_mib=128, result_bytes=1 << 20)


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_attack_is_refused(name: str, box: Sandbox, target: Target) -> None:
    began = time.monotonic()
    result = box.run(Job(FRESH[name], args="", imports="stdlib", limits=LIMITS))
    assert result.value != "owned", result
    assert time.monotonic() - began < 60
    assert target.harm() == []
    json.dumps([result.message, result.error_type, result.stdout, result.digest], ensure_ascii=False).encode("utf-8")
    after = box.run(Job("def f(x): return x + 1", args="41", imports="stdlib"))
    assert (after.status, after.value) == (Status.OK, 42)


NAIVE = """
import json, os, sys
sys.path.insert(0, ROOT)
from sandbox import codec, frames
from sandbox.child import Stage, run_task
from sandbox.task import Task
source, (reads, writes), out = sys.stdin.read(), os.pipe(), os.dup(1)
if os.fork():
    os.close(writes)
    pipe = os.fdopen(reads, "rb")
    size = int.from_bytes(pipe.read(24)[16:], "big")
    body = pipe.read(min(size, 1 << 28))
    claim = codec._read(body, 0, 10**6, [1 << 60])[0] if len(body) == size else "cut short"
    print("VALUE", ascii((claim, len(pipe.read(1 << 20))))[:300])
    os._exit(0)
os.close(reads)
os.dup2(writes, 3)
allowed = frozenset(sys.stdlib_module_names)
run_task(Task(source, "f", [codec.encode(((), {}))], None, True, None, 1 << 20, 0), 3, bytes(16), Stage(allowed))
os._exit(0)
"""
"""A host that believes whatever arrives on its channel, and a job that nothing confines."""

FORGED = {
    "a foreign status": ("VALUE (('timeout', ", "cannot say of itself that it ended as timeout"),
    "a value beside an error": ("VALUE (('error', 'E', '', b's", ""),
    "a thousand claims": ("VALUE (('error', 'E', ", ""),
    "half a body": ("VALUE ('cut short'", "while it wrote its result"),
    "a claim full of colliding keys": ("VALUE (('ok', ", "share one hash"),
    "a claim of deep nothing": ("VALUE (('ok', ", "nested deeper"),
    "surrogates everywhere": ("VALUE (('error', '\\ud800'", ""),
}
"""What each forged claim makes the believing host say, and how the sandbox refuses it (or takes it as an error)."""


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_claim_is_believed_where_nobody_checks_and_refused_in_words_here(how: str, box: Sandbox) -> None:
    program = FRESH[f"a stolen nonce and {how}"]
    naive = NAIVE.replace("ROOT", repr(str(Path(__file__).parents[2])))
    asked = [sys.executable, "-W", "ignore", "-c", naive]
    believed = subprocess.run(asked, input=program, capture_output=True, text=True, timeout=60)
    said, words = FORGED[how]
    assert believed.stdout.startswith(said), believed
    if how == "a thousand claims":
        assert not believed.stdout.endswith(", 0)\n"), "claims for jobs that are yet to come"
    result = box.run(Job(program, args="", imports="stdlib", limits=Limits(cpu_s=5, wall_s=60)))
    assert (result.status, result.value) == (Status.CRASHED if words else Status.ERROR, None), result
    assert words in result.message
    assert result.error_type in ("", "E", "?")


@pytest.mark.parametrize("how", ["a body that never comes", "a body byte by byte", "half a body"])
def test_an_unfinished_claim_in_the_middle_of_many_spoils_one_input_only(how: str, box: Sandbox) -> None:
    hostile = (
        FRESH[f"a stolen nonce and {how}"].replace("def f():", "def attack():")
        + "\ndef f(x):\n    if x == 1: attack()\n    return x"
    )
    results = box.run_many(hostile, ["0", "1", "2", "3"], imports="stdlib", limits=LIMITS)
    assert [str(result.status) for result in results] == ["ok", "crashed", "ok", "ok"]
    assert [result.value for result in results] == [0, None, 2, 3]


def test_forged_claims_for_later_inputs_do_not_shift_the_results_of_other_jobs(box: Sandbox) -> None:
    program = FRESH["a stolen nonce and a thousand claims"].replace("def f():", "def f(x):")
    results = box.run_many(program, [str(i) for i in range(5)], imports="stdlib", limits=LIMITS)
    assert len(results) == 5
    assert [result.value for result in box.run_many("def f(x): return x", ["7", "8"], imports="stdlib")] == [7, 8]


def test_a_difference_of_long_integers_can_be_said(box: Sandbox) -> None:
    verdict = box.check_deterministic(Job("def f(): return (1 << 99999) + id([])", args=""))
    assert not verdict.agrees
    assert verdict.difference.startswith("value: 0x")


def test_hostile_keys_in_a_claim_cost_the_host_little(box: Sandbox) -> None:
    began = time.process_time()
    box.run(
        Job(
            FRESH["a stolen nonce and a claim full of colliding keys"],
            args="",
            imports="stdlib",
            limits=Limits(cpu_s=5),
        )
    )
    assert time.process_time() - began < 5


def test_arguments_as_deep_as_values_may_be_arrive(box: Sandbox) -> None:
    deep: list[object] = []
    for _ in range(values.MAX_DEPTH - 1):
        deep = [deep]
    result = box.run("def f(x): return x", values.render(deep))
    assert (result.status, result.value) == (Status.OK, deep)


def test_a_sign_before_a_call_of_float_is_a_value() -> None:
    assert values.parse_value("[-float('inf'), +float('1')]") == [float("-inf"), 1.0]
