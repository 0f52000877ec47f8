"""What this machine's processor is fast in.

Reading order: takes_float32, which the loader and the plan ask, then multiplies_bfloat16.
"""

from __future__ import annotations

from functools import cache

SMALL = 512  # hidden width up to which a model is fast enough in float32 on any processor


def takes_float32(hidden: int) -> bool:
    """Whether model.dtype = auto is float32 on this processor for a model of this hidden width."""
    return hidden <= SMALL or not multiplies_bfloat16()


@cache
def multiplies_bfloat16() -> bool:
    """Whether it has instructions for bfloat16 (AVX512-BF16, AMX, and those of newer ARM cores). One without converts
    every number, which takes several times as long as float32."""
    import torch

    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
