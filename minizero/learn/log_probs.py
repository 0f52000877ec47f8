"""Log-probabilities and entropies of chosen tokens from hidden states, without ever holding all logits.

Reading order: chunked_log_probs (a head that is a matrix), head_log_probs (any head), by_mask, the autograd functions
behind them, and the steps that both take: _forward_chunk, _toward_target and _logits_gradient.

The logits of 8,192 tokens over a vocabulary of 152k take 11.6 GiB with their gradient. Here rows go through the head a
chunk at a time, and what the backward pass needs is kept without them:

a frozen head, whose log-probabilities alone are differentiated (LoRA without an entropy bonus)
             the gradient of a token's log-probability, one hidden state long, is known when its logits are. It is kept
             in the hidden state's place, and the backward pass multiplies it by a number. Each logit is computed once.
otherwise    hidden states and a few numbers per token, and the backward pass computes the logits again.
"""
# T tokens, h hidden size, V vocabulary, C rows of a chunk

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from minizero.learn.batching import Batch
from minizero.types import MASK_BIAS

CHUNK_LOGITS = 2**26  # logits of a chunk by default: 256 MiB in float32, whatever the vocabulary


def chunked_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    temperature: float = 1.0,
    chunk: int | None = None,
    masked: Tensor | None = None,
    *,
    entropy_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """(log_probs[T], entropy[T]) in nats of softmax(hidden weight^T / temperature), differentiable; without
    `entropy_gradient` the entropy is not, which halves the work of a frozen head.

    hidden[T, h], weight[V, h] (the head; frozen or trained), targets[T] token ids. `chunk` rows are computed at once;
    by default as many as make 2^26 logits. Logits are computed in hidden's type, all else in float32 (or float64).
    masked[M]: tokens whose logits are MASK_BIAS lower, as the sampler had them.
      log_prob = z_target - LSE(z),   entropy = LSE(z) - sum p z,   z = hidden weight^T / temperature
      d log_prob / dz = onehot - p,   d entropy / dz = -p (z - LSE + entropy)
    Memory beyond the inputs: C V logits twice, T h for the gradient; never T V. Equal to log_softmax and gather.
    Example: h = 1, hidden 0 gives equal logits: log_prob = -ln V, entropy = ln V.
    """
    if weight.dtype != hidden.dtype:
        weight = weight.to(hidden.dtype)
    rows = chunk or max(1, CHUNK_LOGITS // weight.shape[0])
    log_probs, entropy = _ChunkedLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, float(temperature), rows, masked, entropy_gradient
    )
    return log_probs, entropy


def head_log_probs(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    targets: Tensor,
    temperature: float = 1.0,
    chunk: int = 128,
    masked: Tensor | None = None,
    *,
    entropy_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """As chunked_log_probs, with z = head(hidden) / temperature for any head: with a bias, a scale, soft-capping.

    head maps hidden [C, h] to logits [C, V], row by row; `parameters` are the tensors in it that are trained. Where
    some are, or entropy_gradient, the head runs twice for every chunk: forward, and again in the backward pass.
    """
    log_probs, entropy = _HeadLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden, targets, head, float(temperature), chunk, masked, entropy_gradient, *parameters
    )
    return log_probs, entropy


def by_mask(
    log_probs: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]], hidden: Tensor, batch: Batch
) -> tuple[Tensor, Tensor]:
    """What log_probs(hidden, targets, masked) gives for the K tokens of a micro-batch, those of rollouts with masked
    tokens and the others each by themselves."""
    if batch.masked is None or batch.is_masked is None:
        return log_probs(hidden, batch.targets, None)
    inside, outside = batch.is_masked.nonzero()[:, 0], (~batch.is_masked).nonzero()[:, 0]
    parts = [(inside, batch.masked), (outside, None)]
    values = [log_probs(hidden[places], batch.targets[places], mask) for places, mask in parts if len(places)]
    order = torch.argsort(torch.cat([places for places, _ in parts]))
    chosen, entropy = (torch.cat(part)[order] for part in zip(*values, strict=True))
    return chosen, entropy


class _ChunkedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        rows: int,
        masked: Tensor | None,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        at_once = needs_hidden and not needs_weight and not entropy_gradient
        log_probs, normaliser, entropy = _numbers(hidden)
        gradients = torch.empty_like(hidden) if at_once else None
        for part in _chunks(len(hidden), rows):
            z = _scaled((hidden[part] @ weight.T).to(log_probs.dtype), temperature, masked)
            log_probs[part], normaliser[part], entropy[part], p, total = _forward_chunk(z, targets[part])
            del z  # not beside the next chunk's
            if gradients is not None:
                gradients[part] = _toward_target(p, total, targets[part], temperature).to(hidden.dtype) @ weight
            del p
        _keep(ctx, gradients, (hidden, weight, targets, normaliser, entropy))
        ctx.temperature, ctx.rows, ctx.masked = temperature, rows, masked
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    def backward(ctx: Any, grad_log_probs: Tensor | None, grad_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.at_once:
            return _weighted(ctx, grad_log_probs), None, None, None, None, None, None
        hidden, weight, targets, normaliser, entropy = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        # A sum over all tokens in bfloat16 would lose the small ones, so the head's gradient is summed exactly.
        grad_weight = torch.zeros(weight.shape, dtype=normaliser.dtype, device=weight.device) if needs_weight else None
        for part in _chunks(len(hidden), ctx.rows):
            z = _scaled((hidden[part] @ weight.T).to(normaliser.dtype), ctx.temperature, ctx.masked)
            z = _logits_gradient(z, part, targets, normaliser, entropy, grad_log_probs, grad_entropy)
            grad = z.div_(ctx.temperature).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = grad @ weight
            if grad_weight is not None:
                grad_weight += (grad.T @ hidden[part]).to(grad_weight.dtype)
            del z, grad
        summed = None if grad_weight is None else grad_weight.to(weight.dtype)
        return grad_hidden, summed, None, None, None, None, None


class _HeadLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        head: Callable[[Tensor], Tensor],
        temperature: float,
        rows: int,
        masked: Tensor | None,
        entropy_gradient: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        at_once = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[7:]) and not entropy_gradient
        log_probs, normaliser, entropy = _numbers(hidden)
        gradients = torch.empty_like(hidden) if at_once else None
        for part in _chunks(len(hidden), rows):
            states = hidden[part].detach()
            with torch.set_grad_enabled(at_once):
                logits = head(states.requires_grad_(at_once))
            z = _scaled(logits.detach().to(log_probs.dtype, copy=True), temperature, masked)
            log_probs[part], normaliser[part], entropy[part], p, total = _forward_chunk(z, targets[part])
            del z  # not beside the next chunk's
            if gradients is not None:
                toward = _toward_target(p, total, targets[part], temperature).to(logits.dtype)
                (gradients[part],) = torch.autograd.grad(logits, states, toward)
                del toward
            del p, logits
        _keep(ctx, gradients, (hidden, targets, normaliser, entropy, *parameters))
        ctx.head, ctx.temperature, ctx.rows, ctx.masked = head, temperature, rows, masked
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    def backward(ctx: Any, grad_log_probs: Tensor | None, grad_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[7:]
        if ctx.at_once:
            return _weighted(ctx, grad_log_probs), None, None, None, None, None, None, *(None for _ in needed)
        hidden, targets, normaliser, entropy, *parameters = ctx.saved_tensors
        trained = [parameter for parameter, needs in zip(parameters, needed, strict=True) if needs]
        sums = [torch.zeros(p.shape, dtype=normaliser.dtype, device=p.device) for p in trained]
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for part in _chunks(len(hidden), ctx.rows):
            with torch.enable_grad():
                rows = hidden[part].detach().requires_grad_()
                logits = ctx.head(rows)
            z = _scaled(logits.detach().to(normaliser.dtype, copy=True), ctx.temperature, ctx.masked)
            z = _logits_gradient(z, part, targets, normaliser, entropy, grad_log_probs, grad_entropy)
            grad = z.div_(ctx.temperature).to(logits.dtype)
            of_rows, *of_trained = torch.autograd.grad(logits, [rows, *trained], grad, allow_unused=True)
            if grad_hidden is not None:
                grad_hidden[part] = of_rows
            for total, one in zip(sums, of_trained, strict=True):
                if one is not None:
                    total += one
        summed = iter([total.to(parameter.dtype) for total, parameter in zip(sums, trained, strict=True)])
        return grad_hidden, None, None, None, None, None, None, *(next(summed) if needs else None for needs in needed)


def _numbers(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Empty [T] buffers for log-probabilities, normalisers and entropies, float32 or wider."""
    exact = torch.promote_types(hidden.dtype, torch.float32)
    one = torch.empty(len(hidden), dtype=exact, device=hidden.device)
    return one, torch.empty_like(one), torch.empty_like(one)


def _keep(ctx: Any, gradients: Tensor | None, otherwise: tuple[Tensor, ...]) -> None:
    """What the backward pass needs: the gradients of all log-probabilities, or all that it takes to compute them."""
    ctx.at_once = gradients is not None
    ctx.save_for_backward(*(otherwise if gradients is None else (gradients,)))
    ctx.set_materialize_grads(False)


def _weighted(ctx: Any, grad_log_probs: Tensor | None) -> Tensor | None:
    """The gradient [T, h] of the hidden states, from those of each log-probability."""
    if grad_log_probs is None:
        return None
    (gradients,) = ctx.saved_tensors
    weighted = torch.empty_like(gradients)
    for part in _chunks(len(gradients), ctx.rows):
        weighted[part] = gradients[part] * grad_log_probs[part, None]  # multiplied in float32
    return weighted


def _chunks(length: int, rows: int) -> Iterator[slice]:
    for start in range(0, length, rows):
        yield slice(start, start + rows)


def _scaled(logits: Tensor, temperature: float, masked: Tensor | None) -> Tensor:
    """What the softmax is of, in place."""
    if masked is not None:
        logits[:, masked] -= MASK_BIAS
    return logits if temperature == 1 else logits.div_(temperature)


def _forward_chunk(z: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """(log_probs[C], LSE[C], entropy[C], p[C, V], total[C]) of logits z [C, V], which are overwritten; p / total are
    the probabilities."""
    top = z.amax(dim=-1)
    z -= top[:, None]  # the largest is 0: nothing overflows, and a confident token loses no digits
    p = z.exp()
    total = p.sum(dim=-1)
    log_probs = z.gather(1, targets[:, None])[:, 0] - total.log()
    return log_probs, top + total.log(), total.log() - z.mul_(p).sum(dim=-1) / total, p, total


def _toward_target(p: Tensor, total: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """The gradient [C, V] of log_probs[C] in the logits before the temperature: (onehot - p / total) / temperature, in
    place of p."""
    p *= -1 / (temperature * total[:, None])
    return p.scatter_add_(1, targets[:, None], torch.full_like(p[:, :1], 1 / temperature))


def _logits_gradient(
    z: Tensor,
    part: slice,
    targets: Tensor,
    normaliser: Tensor,
    entropy: Tensor,
    grad_log_probs: Tensor | None,
    grad_entropy: Tensor | None,
) -> Tensor:
    """The gradient [C, V] that both results send to the logits z [C, V] of a chunk, which are overwritten."""
    z -= normaliser[part, None]
    p = z.exp()
    toward = torch.zeros_like(normaliser[part]) if grad_log_probs is None else grad_log_probs[part]
    if grad_entropy is None:
        grad = p.mul_(-toward[:, None])
    else:
        z += entropy[part, None]
        grad = p.mul_(z.mul_(-grad_entropy[part, None]).sub_(toward[:, None]))
    return grad.scatter_add_(1, targets[part, None], toward[:, None])
