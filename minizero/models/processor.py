"""What this machine's processor is fast in."""

from __future__ import annotations

from functools import cache


@cache
def multiplies_bfloat16() -> bool:
    """Whether it has instructions for bfloat16 (AVX512-BF16, AMX, and those of newer ARM cores). One without converts
    every number, which takes several times as long as float32."""
    import torch

    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
