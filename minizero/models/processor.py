"""Where a model computes: on a card or on this machine's own processor, what that is called, and what it is fast in.

Reading order: device_of, processor_name; takes_float32, which the loader and the plan ask, then multiplies_bfloat16.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Literal

SMALL = 512  # hidden width up to which a model is fast enough in float32 on any processor


def device_of(asked: str) -> Literal["cuda", "cpu"]:
    """Where model.device = `asked` computes on this machine: cuda where torch sees a card and none but cpu was asked
    for. Whether cuda can be had at all is for the loader to say."""
    import torch

    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def processor_name() -> str:
    """The CPU's own name, or that of its kind where the system does not tell; never empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine() or "CPU"


def takes_float32(hidden: int) -> bool:
    """Whether model.dtype = auto is float32 on this processor for a model of this hidden width."""
    return hidden <= SMALL or not multiplies_bfloat16()


@cache
def multiplies_bfloat16() -> bool:
    """Whether it has instructions for bfloat16 (AVX512-BF16, AMX, and those of newer ARM cores). One without converts
    every number, which takes several times as long as float32."""
    import torch

    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
