"""Stages that look at the machine: what it is, what doctor says, and the tests that need a card.

Reading order: machine (which also makes the model where none was named), doctor, gpu_tests.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from minizero.report.first_light.child import Job, Log, Unmet, skip

CHECKOUT = Path(__file__).parents[3]
# A made model has the largest of these shapes that a plan for this card fits; the settings are those of its config.
SHAPES = (
    ("Qwen2.5-Coder-3B", "qwen2.5-3b"), ("Qwen2.5-Coder-1.5B", "qwen2.5-1.5b"), ("Qwen2.5-Coder-1.5B", "qwen2.5-0.5b"),
)  # fmt: skip


def machine(job: Job, log: Log) -> None:
    """Device, driver, versions; then a random model where none was named."""
    from minizero.models.processor import processor_name
    from minizero.selfplay.manifest import commit, versions

    log.phase("looking at the processor and the packages")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    log.facts(
        device=processor_name(), kind="cpu", processor=processor_name(), cores=os.cpu_count(),
        memory_gib=round(memory, 1), system=platform.platform(), python=platform.python_version(), versions=versions(),
        commit=commit(),
    )  # fmt: skip
    for words in _untested():
        log.say(words)
    log.phase("importing torch")
    import torch

    from minizero.planner.driver import cuda_problem, find_driver

    if torch.cuda.is_available():
        log.phase("asking the card")
        free, total = torch.cuda.mem_get_info()
        driver = find_driver()
        log.facts(
            device=torch.cuda.get_device_name(), kind="cuda", cards=torch.cuda.device_count(),
            card_gib=round(total / 2**30, 2), free_gib=round(free / 2**30, 2), cuda=torch.version.cuda,
            compute_capability=".".join(map(str, torch.cuda.get_device_capability())),
            driver=driver.words if driver else "",
        )  # fmt: skip
    elif problem := cuda_problem():
        log.say(f"no card: {problem.seen}. {problem.fix}")
    if torch.cuda.is_available():
        log.say(f"{torch.cuda.get_device_name()}, {total / 2**30:.1f} GiB, {free / 2**30:.1f} free")
    else:
        log.say(f"{processor_name()}, {os.cpu_count()} cores, {memory:.0f} GiB, no card")
    if not job.base and not job.made:
        make_model(job, log, torch.cuda.is_available())


def make_model(job: Job, log: Log, is_cuda: bool) -> None:
    """A random model into the job's folder: small on a CPU, of a real model's shape on a card."""
    from minizero.models.made import write_random_model

    log.phase("making a random model")
    folder = Path(job.folder) / "random-model"
    if not is_cuda or job.quick:
        log.facts(made=str(write_random_model(folder)), base="")
        return
    from minizero.config.named import resolve
    from minizero.planner import make_plan
    from minizero.planner.shapes import KNOWN

    for base, name in SHAPES:
        shape = KNOWN[name]
        if make_plan(resolve(base, (), (f"model.name={name!r}", *job.settings))).fits or name == SHAPES[-1][1]:
            sizes = {
                "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
                "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
                "vocab_size": shape.vocabulary,
            }  # fmt: skip
            log.facts(made=str(write_random_model(folder, sizes)), base=base)
            return


def _untested() -> list[str]:
    """Packages of other versions than those that are tested together, a sentence each."""
    from minizero.planner.doctor import version_problems

    return [
        f"{name} {seen} is not the {wanted} that is tested: what fails below may be for that"
        for name, seen, wanted in version_problems()
    ]


def doctor(job: Job, log: Log) -> None:
    """Every check of minizero doctor."""
    from minizero.planner.doctor import examine

    log.phase("running the checks of minizero doctor")
    checks = examine()
    log.facts(**{check.name: f"{check.state}: {check.seen}" for check in checks})
    bad = [f"{check.name}: {check.seen} ({check.fix})" for check in checks if check.state == "bad"]
    log.say(f"{sum(check.state == 'ok' for check in checks)} checks are fine, {len(bad)} are bad")
    if bad:
        raise Unmet("; ".join(bad))


def gpu_tests(job: Job, log: Log) -> None:
    """tests/test_gpu.py, in a pytest of its own."""
    import torch

    if not torch.cuda.is_available():
        skip("torch sees no CUDA card here")
    tests = CHECKOUT / "tests" / "test_gpu.py"
    if not tests.is_file():
        skip("the tests are in the repository, and this is an installed package: git clone it, then make first-light")
    if find_spec("pytest") is None:
        skip("pytest is not installed: make first-light installs it, and so does  pip install pytest hypothesis")
    log.phase("running tests/test_gpu.py")
    result = Path(job.folder) / "gpu-tests.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(tests),
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        f"--junitxml={result}",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL)
    if not result.is_file():
        raise Unmet(f"pytest ended with status {done.returncode} and no result")
    states = read_junit(result)
    log.facts(**states)
    failed = [name for name, state in states.items() if state.startswith("failed")]
    count = sum(state == "passed" for state in states.values())
    log.say(f"{count} of {len(states)} tests passed")
    for name, state in states.items():
        if state.startswith("skipped"):
            log.say(f"{name} {state}")
    if failed or done.returncode:
        raise Unmet(f"failed: {', '.join(failed) or f'pytest ended with status {done.returncode}'}")


def read_junit(path: Path) -> dict[str, str]:
    """Test -> passed, "failed: first line" or "skipped: why", of a file that pytest wrote."""
    found = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        state = "passed"
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                first = (child.get("message") or "").strip().splitlines()
                state = f"{'skipped' if child.tag == 'skipped' else 'failed'}: {first[0] if first else ''}"
        found[case.get("name", "")] = state
    return found
