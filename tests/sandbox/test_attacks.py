"""Every hostile program of attacks.py: it bites where nothing stops it, and does not in the sandbox.

Reading order: the test of one attack, then what must hold after all of them.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from attacks import ATTACKS, Attack
from processes import generations
from target import Target
from unprotected import run_unprotected

from sandbox import Job, Limits, Sandbox, Status

HANG_S = 0.7
BITES = {"act": "VALUE owned", "hang": "HANG", "death": "DIED"}


@pytest.fixture(scope="module")
def unprotected(target: Target) -> Iterator[dict[str, Future[str]]]:
    """Attacks that touch no file of the host, run where nothing stops them: several at a time, since most only wait."""
    with ThreadPoolExecutor(4) as threads:
        yield {
            attack.id: threads.submit(
                run_unprotected, target.aim(attack.program), target.directory, HANG_S if attack.kind == "hang" else 20.0
            )
            for attack in ATTACKS
            if attack.kind != "act"
        }


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_bites_without_the_sandbox_and_not_in_it(
    attack: Attack, box: Sandbox, target: Target, unprotected: dict[str, Future[str]]
) -> None:
    program = target.aim(attack.program)
    harmless = (
        unprotected[attack.id].result() if attack.id in unprotected else run_unprotected(program, target.directory)
    )
    target.harm()
    if BITES[attack.kind] not in harmless:
        assert "Error" in harmless, f"the attack is none: without protection it gave {harmless!r}"
        pytest.skip(f"this machine refuses it to everybody: {harmless}")

    cpu_s, wall_s = (0.3, 1.0 if "wait" in attack.name else 20.0) if attack.kind == "hang" else (5.0, 20.0)
    limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_mib=64)
    result = box.run(Job(program, args="", imports="stdlib", limits=limits))

    assert result.value != "owned"
    assert "owned" not in result.stdout
    assert target.harm() == []
    if attack.kind == "hang":
        assert result.status in (Status.TIMEOUT, Status.MEMORY, Status.DENIED, Status.ERROR)
    after = box.run(Job("def f(x): return x + 1", args="41", imports="stdlib"))
    assert (after.status, after.value) == (Status.OK, 42)


def test_no_attack_has_left_a_process(box: Sandbox) -> None:
    for _ in range(20):
        box.run("def f(x): return x", "1")
    keepers = 1 if "namespaces" in box.report.in_force else 0
    patience = time.monotonic() + 20  # on a busy machine the kernel takes its time to bury the last job
    while generations(os.getpid()) != 1 + keepers and time.monotonic() < patience:
        time.sleep(0.1)
    assert generations(os.getpid()) == 1 + keepers, "below a zygote there must be no process when no job runs"
