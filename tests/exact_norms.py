"""minizero, with what transformers computes in float32 in a model of float64 (norms, rotations) in float64 too:

    torchrun --nproc_per_node 2 tests/exact_norms.py selfplay tiny --set model.dtype=float64

So that runs whose sums have another order can be compared to a billionth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen2 import modeling_qwen2


def normed(self: Any, hidden: Tensor) -> Tensor:
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * (hidden * scale)  # type: ignore[no-any-return]


@torch.no_grad()
def rotations(self: Any, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    angles = position_ids[..., None].to(hidden.dtype) * self.inv_freq.to(hidden.dtype)
    both = torch.cat((angles, angles), dim=-1)
    return both.cos(), both.sin()


if __name__ == "__main__":
    from minizero.cli import main

    qwen2: Any = modeling_qwen2
    qwen2.Qwen2RMSNorm.forward = normed
    qwen2.Qwen2RotaryEmbedding.forward = rotations
    main()
