"""What a CUDA card needs beside torch: a driver that is new enough, and for Triton a C compiler and Python's headers.

Reading order: find_driver, cuda_problem (why torch does not see the card), check_driver and check_has_card (no large
model trains on a CPU because of it), compiler_problem. Nothing here imports torch before it must: find_driver is asked
before the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from minizero.config.schema import Config
from minizero.planner.shapes import find_shape
from minizero.types import ConfigError, ModelError

LEAST_DRIVER = 580  # the first with CUDA 13, for which torch 2.13 and vLLM 0.32 are built
VERSION_FILE, WSL_LIBRARY = Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1")
SMALL = 200e6  # parameters that a CPU trains in minutes
LARGE = 2e9  # parameters that a CPU does not train overnight
NO_DRIVER = f"install the NVIDIA driver {LEAST_DRIVER} or newer; a container needs  --gpus all"


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver: its version ("" under WSL2, where Windows keeps it) and the newest CUDA that it offers, (0, 0)
    where that cannot be asked."""

    version: str
    cuda: tuple[int, int]

    @property
    def words(self) -> str:
        offers = f"CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda[0] else "no CUDA"
        return f"{self.version or 'of Windows'}, which offers {offers}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What was seen, and what mends it."""

    seen: str
    fix: str


def find_driver() -> Driver | None:
    """The driver of this machine, or None. A container without the card's devices still shows its version."""
    try:
        words = VERSION_FILE.read_text().split()
        version = next((word for word in words if word[:1].isdigit() and "." in word), "")
    except OSError:
        if not WSL_LIBRARY.exists():
            return None
        version = ""
    return Driver(version, _offered_cuda())


def _offered_cuda() -> tuple[int, int]:
    """cuDriverGetVersion of the driver's library, which needs no card: 13020 -> (13, 2)."""
    found = ctypes.c_int(0)
    for name in ("libcuda.so.1", str(WSL_LIBRARY)):
        try:
            if ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(found)) == 0:
                return found.value // 1000, found.value % 1000 // 10
        except (OSError, AttributeError):
            continue
    return 0, 0


def cuda_problem() -> Problem | None:
    """Why torch sees no card although there is a driver; None where there is no driver, or the card is hidden on
    purpose (CUDA_VISIBLE_DEVICES), or torch sees it."""
    import torch

    driver = find_driver()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    if driver is None or hidden or torch.cuda.is_available():
        return None
    built = torch.version.cuda
    if not built:
        return Problem(
            "there is an NVIDIA driver, but this torch is built without CUDA",
            "install it anew without UV_TORCH_BACKEND: rm -r .venv && make install EXTRAS=vllm",
        )
    if driver.cuda[0] and driver.cuda[0] < int(built.split(".")[0]):
        return Problem(
            f"the driver is {driver.words}, and this torch needs CUDA {built}",
            f"update the NVIDIA driver to {LEAST_DRIVER} or newer" + ("" if driver.version else ", in Windows"),
        )
    return Problem(
        f"there is an NVIDIA driver ({driver.words}), but torch cannot use a card through it",
        "nvidia-smi shows whether it works; a container needs  --gpus all ; after an update of the driver, restart",
    )


def check_driver(config: Config) -> None:
    """Raise ConfigError where a large model would train on the CPU without a word, because the card's driver is too old
    or torch is built without CUDA."""
    problem = cuda_problem() if config.model.device != "cpu" and config.model.name != "tiny" else None
    if problem is None:
        return
    try:
        small = find_shape(config.model.name).parameters < SMALL
    except ModelError:
        small = False
    if not small:
        fix = problem.fix[0].upper() + problem.fix[1:]
        raise ConfigError(
            f"{problem.seen}, so {config.model.name} would train on the CPU. {fix}. To train on the "
            "CPU all the same:  --set model.device=cpu"
        )


def check_has_card(config: Config) -> None:
    """Raise ConfigError where self-play of a large model would begin on a CPU because there is no NVIDIA driver at all,
    and nobody has asked for that. A model whose sizes are unknown passes."""
    try:
        is_large = find_shape(config.model.name).parameters >= LARGE
    except ModelError:
        return
    if not is_large or config.model.device != "auto" or find_driver() is not None:
        return
    raise ConfigError(
        f"there is no NVIDIA driver here, so {config.model.name} would train on the CPU, for hours at each step. With "
        f"a card, {NO_DRIVER}. To train on the CPU all the same:  --set model.device=cpu"
    )


def expects_card(config: Config) -> bool:
    """Whether this run will use a card, as far as can be told without torch."""
    return config.model.device != "cpu" and find_driver() is not None


def prepare_allocator(config: Config) -> None:
    """Before torch is imported: let its allocator grow segments instead of keeping many of fixed sizes, between which
    memory is lost. A setting of the user's own stays. vLLM switches it off for the pool of its cache."""
    if expects_card(config) and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def compiler_problem() -> Problem | None:
    """What Triton, with which vLLM and torch compile for the card, would miss; it builds its launchers in C."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "cc", "clang")), "")
    headers = (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()
    if compiler and shutil.which(compiler.split()[0]) and headers:
        return None
    python = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
    missing = [
        name for name, there in (("a C compiler", compiler), ("Python's headers (Python.h)", headers)) if not there
    ]
    return Problem(
        f"Triton needs {' and '.join(missing) or f'the C compiler {compiler}, which CC names and which is not there'}",
        f"sudo apt-get install build-essential {python}",
    )
