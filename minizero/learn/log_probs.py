"""Log-probabilities and entropies of chosen tokens from hidden states, without ever holding all logits.

Reading order: chunked_log_probs, then the autograd function behind it.

The logits of 8,192 tokens over a vocabulary of 152k take 11.6 GiB with their gradient (docs/engine-and-memory.md, The
vocabulary's logits). Here rows go through the head a chunk at a time; only hidden states and one number per token are
kept, and the backward pass computes the logits again.
"""
# T tokens, h hidden size, V vocabulary, C rows of a chunk

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_LOGITS = 2**26  # logits of a chunk by default: 256 MiB in float32, whatever the vocabulary


def chunked_log_probs(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """(log_probs[T], entropy[T]) in nats of softmax(hidden weight^T / temperature), both differentiable.

    hidden[T, h], weight[V, h] (the head; frozen or trained), targets[T] token ids. `chunk` rows are computed at once;
    by default as many as make 2^26 logits. Logits are computed in hidden's type, all else in float32 (or float64).
      log_prob = z_target - LSE(z),   entropy = LSE(z) - sum p z,   z = hidden weight^T / temperature
      d log_prob / dz = onehot - p,   d entropy / dz = -p (z - LSE + entropy)
    Memory beyond the inputs: C V logits twice, T h for the gradient; never T V. Equal to log_softmax and gather.
    Example: h = 1, hidden 0 gives equal logits: log_prob = -ln V, entropy = ln V.
    """
    if weight.dtype != hidden.dtype:
        weight = weight.to(hidden.dtype)
    rows = chunk or max(1, CHUNK_LOGITS // weight.shape[0])
    log_probs, entropy = _ChunkedLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, float(temperature), rows
    )
    return log_probs, entropy


class _ChunkedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, rows: int
    ) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        log_probs = torch.empty(len(hidden), dtype=exact, device=hidden.device)
        normaliser, entropy = torch.empty_like(log_probs), torch.empty_like(log_probs)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            z = _logits(hidden[part], weight, temperature, exact)
            top = z.amax(dim=-1)
            z -= top[:, None]  # the largest is 0: nothing overflows, and a confident token loses no digits
            p = z.exp()
            total = p.sum(dim=-1)
            normaliser[part] = top + total.log()
            log_probs[part] = z.gather(1, targets[part, None])[:, 0] - total.log()
            entropy[part] = total.log() - p.mul_(z).sum(dim=-1) / total
        ctx.save_for_backward(hidden, weight, targets, normaliser, entropy)
        ctx.temperature, ctx.rows = temperature, rows
        ctx.set_materialize_grads(False)
        return log_probs, entropy

    @staticmethod
    def backward(ctx: Any, grad_log_probs: Tensor | None, grad_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, normaliser, entropy = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        # A sum over all tokens in bfloat16 would lose the small ones, so the head's gradient is summed exactly.
        grad_weight = torch.zeros(weight.shape, dtype=normaliser.dtype, device=weight.device) if needs_weight else None
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            z = _logits(hidden[part], weight, ctx.temperature, normaliser.dtype)
            z -= normaliser[part, None]
            p = z.exp()
            toward = torch.zeros_like(normaliser[part]) if grad_log_probs is None else grad_log_probs[part]
            if grad_entropy is None:
                grad = p.mul_(-toward[:, None])
            else:
                z += entropy[part, None]
                grad = p.mul_(z.mul_(-grad_entropy[part, None]).sub_(toward[:, None]))
            grad.scatter_add_(1, targets[part, None], toward[:, None])
            grad = grad.div_(ctx.temperature).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = grad @ weight
            if grad_weight is not None:
                grad_weight += (grad.T @ hidden[part]).to(grad_weight.dtype)
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None


def _logits(hidden: Tensor, weight: Tensor, temperature: float, exact: torch.dtype) -> Tensor:
    z = (hidden @ weight.T).to(exact)
    return z if temperature == 1 else z.div_(temperature)
