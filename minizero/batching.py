"""Rollouts -> padded micro-batches by a token budget, and which hidden state predicts which completion token.

Reading order: Batch, plan_micro_batches, collate. Only states that predict completion tokens go through the head:
`log_probs, entropy = chunked_log_probs(hidden.flatten(0, 1)[batch.select], head, batch.targets)`.
"""
# B rollouts of a micro-batch, T positions of its longest, K completion tokens in all

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from minizero.types import Rollout


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, padded on the right. Tensors of K run over the completion tokens, rollout by rollout."""

    input_ids: Tensor  # [B, T] prompt, completion, padding
    attention_mask: Tensor  # [B, T] 1 where there is a token
    positions: Tensor  # [B, T] 0, 1, 2, ... ; 0 on padding
    completion_mask: Tensor  # [B, T] bool: this token was sampled and is learned from
    sampler_log_probs: Tensor  # [B, T] of the token at this position, as sampled; 0 elsewhere
    select: Tensor  # [K] place in the flattened [B T] of the hidden state that predicts the token: one before it
    targets: Tensor  # [K] the tokens
    row: Tensor  # [K] the token's rollout in this micro-batch, 0 to B - 1
    index: Tensor  # [B] the rollouts' places in the list given to collate

    @property
    def sampled(self) -> Tensor:
        """[K] the sampler's log-probabilities of the targets."""
        return self.sampler_log_probs[self.completion_mask]

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def plan_micro_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of each micro-batch: sorted by length, so that little is padding, each within `token_budget` positions.

    Positions are rows x longest, padding included. A rollout longer than the budget stands alone. The longest come
    first: what does not fit in memory fails at the start and not at the end of an update.

    >>> plan_micro_batches([3, 9, 4, 2], 10)
    [[1], [2, 0], [3]]
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # the first of a batch is its longest, so one more row costs that many positions
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= token_budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def collate(rollouts: Sequence[Rollout], indices: Sequence[int], pad_id: int) -> Batch:
    """The micro-batch of rollouts[i] for i in indices, on the CPU.

    Example: prompt 5, 6 and completion 7, 8: input_ids 5 6 7 8, completion_mask 0 0 1 1, select 1 2, targets 7 8.
    """
    chosen = [rollouts[i].completion for i in indices]
    width = max((len(c.prompt_ids) + len(c.ids) for c in chosen), default=0)
    shape = (len(chosen), width)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    completion_mask = torch.zeros(shape, dtype=torch.bool)
    sampler_log_probs = torch.zeros(shape, dtype=torch.float32)
    for b, completion in enumerate(chosen):
        start, end = len(completion.prompt_ids), len(completion.prompt_ids) + len(completion.ids)
        if not start:
            raise ValueError(
                f"{completion.request_id}: an empty prompt, so nothing predicts the first completion token"
            )
        if len(completion.log_probs) != len(completion.ids):
            raise ValueError(
                f"{completion.request_id}: {len(completion.ids)} tokens with {len(completion.log_probs)} "
                "log-probabilities; the sampler must return one for each"
            )
        input_ids[b, :end] = torch.tensor(completion.prompt_ids + completion.ids)
        attention_mask[b, :end] = 1
        completion_mask[b, start:end] = True
        sampler_log_probs[b, start:end] = torch.tensor(completion.log_probs)
    row, column = completion_mask.nonzero(as_tuple=True)
    return Batch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        positions=torch.arange(width).expand(shape) * attention_mask,
        completion_mask=completion_mask,
        sampler_log_probs=sampler_log_probs,
        select=row * width + column - 1,
        targets=input_ids[completion_mask],
        row=row,
        index=torch.tensor(indices, dtype=torch.long),
    )
