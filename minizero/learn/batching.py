"""Rollouts -> padded micro-batches by a token budget, and which hidden state predicts which completion token.

Reading order: share_prompts (rollouts of one prompt, or of prompts that begin alike, can stand in one row),
plan_micro_batches, Batch, collate_rows. Only hidden states that predict completion tokens go through the head:
`log_probs, entropy = chunked_log_probs(hidden.flatten(0, 1)[batch.select], head, batch.targets)`.
"""
# B rows, N rollouts of a micro-batch (N = B unless prompts are shared), T positions of the longest row, K completion
# tokens

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from minizero.types import Rollout

SHORTEST = 64  # tokens that prompts begin with alike, before it is worth a look whether their rows can be joined
WIDEST = 4096  # tokens of a joined row: attention over all of it must stay cheap beside what is saved


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, padded on the right. Tensors of K run over the completion tokens, rollout by rollout."""

    input_ids: Tensor  # [B, T] prompt, its completions one after the other, perhaps the next prompt's rest, padding
    attention_mask: Tensor  # [B, T] 1 where there is a token
    positions: Tensor  # [B, T] of each token in its own sequence: every completion goes on where the prompt ends
    completion_mask: Tensor  # [B, T] bool: this token was sampled and is learned from
    sampler_log_probs: Tensor  # [B, T] of the token at this position, as sampled; 0 elsewhere
    select: Tensor  # [K] place in the flattened [B T] of the hidden state that predicts the token
    targets: Tensor  # [K] the tokens
    row: Tensor  # [K] the token's rollout in this micro-batch, 0 to N - 1
    index: Tensor  # [N] the rollouts' places in the list given to collate
    mask: Tensor | None = (
        None  # [B, 1, T, T] bool, who sees whom, where prompts are shared; None: plain causal attention
    )
    masked: Tensor | None = None  # [M] tokens that some rollouts could not write; None: all could write all
    is_masked: Tensor | None = None  # [K] bool: whether that holds for this token's rollout

    @property
    def sampled(self) -> Tensor:
        """[K] the sampler's log-probabilities of the targets."""
        return self.sampler_log_probs[self.completion_mask]

    @property
    def lengths(self) -> list[int]:
        """Completion tokens of each of the N rollouts."""
        return torch.bincount(self.row, minlength=len(self.index)).tolist()

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""

        def moved(value: Any) -> Any:
            return value if value is None else value.to(device)

        return Batch(**{field.name: moved(getattr(self, field.name)) for field in fields(self)})


def share_prompts(rollouts: Sequence[Rollout], indices: Sequence[int], token_budget: int) -> list[list[int]]:
    """Rows of rollouts whose prompts are the same, or begin alike, so that what they have in common is read once; every
    index in one row. A row of several holds at most `token_budget` tokens.

    Attention runs over the whole row, so long texts side by side would cost more than they save. One prompt is shared
    where it is at least as long as each completion, the beginning of several where a third of each is saved by it.
    """
    rows: list[list[int]] = []
    open_row: dict[tuple[int, ...], tuple[list[int], int]] = {}  # prompt -> its last row, and that row's tokens
    for i in indices:
        completion = rollouts[i].completion
        prompt, length = completion.prompt_ids, len(completion.ids)
        row, tokens = open_row.get(prompt, ([], len(prompt)))
        if length > len(prompt) or tokens + length > token_budget or not row:
            row, tokens = [], len(prompt)
            rows.append(row)
        row.append(i)
        if length <= len(prompt):
            open_row[prompt] = (row, tokens + length)
    return _share_beginnings(rollouts, rows, min(token_budget, WIDEST))


def _share_beginnings(rollouts: Sequence[Rollout], rows: Sequence[list[int]], most: int) -> list[list[int]]:
    """These rows, those joined whose prompts begin alike; a joined row has at most so many tokens."""
    joined: list[list[int]] = []
    open_row: dict[tuple[int, ...], tuple[list[int], int]] = {}  # how prompts begin -> the last such row, its tokens
    for row in rows:
        prompt = rollouts[row[0]].completion.prompt_ids
        if len(prompt) <= SHORTEST:
            joined.append(row)
            continue
        tokens = row_tokens(rollouts, row)
        mate, apart = open_row.get(prompt[:SHORTEST], ([], 0))
        both = row_tokens(rollouts, mate + row) if mate else 0
        if mate and both <= most and 3 * (apart + tokens - both) >= tokens:
            mate += row
            open_row[prompt[:SHORTEST]] = mate, both
        else:
            joined.append(row)
            open_row[prompt[:SHORTEST]] = row, tokens
    return joined


def row_tokens(rollouts: Sequence[Rollout], row: Sequence[int]) -> int:
    """Tokens of a row: what its prompts begin with once, the rest of each prompt once, and all completions."""
    beginning, prompts = _tree(rollouts, row)
    rests = sum(len(prompt) - len(beginning) for prompt in prompts)
    return len(beginning) + rests + sum(len(rollouts[i].completion.ids) for i in row)


def _tree(rollouts: Sequence[Rollout], row: Sequence[int]) -> tuple[tuple[int, ...], dict[tuple[int, ...], list[int]]]:
    """What the prompts of a row begin with, and the rollouts of each prompt."""
    prompts: dict[tuple[int, ...], list[int]] = {}
    for i in row:
        prompts.setdefault(rollouts[i].completion.prompt_ids, []).append(i)
    first, last = min(prompts), max(prompts)  # in the order of texts, all others lie between these
    return first[: common_length(first, last)], prompts


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))


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
    """The micro-batch of rollouts[i] for i in indices, a row each, on the CPU.

    Example: prompt 5, 6 and completion 7, 8: input_ids 5 6 7 8, completion_mask 0 0 1 1, select 1 2, targets 7 8.
    """
    return collate_rows(rollouts, [[i] for i in indices], pad_id)


def collate_rows(rollouts: Sequence[Rollout], rows: Sequence[Sequence[int]], pad_id: int) -> Batch:
    """The micro-batch of these rows on the CPU. A row holds what its prompts begin with, then for each prompt its rest
    and its completions.

    Example: prompt 5, 6 and completions 7, 8 and 9: input_ids 5 6 7 8 9, positions 0 1 2 3 2, select 1 2 1.
    """
    width = max((row_tokens(rollouts, row) for row in rows), default=0)
    shape = (len(rows), width)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    branch = torch.full(shape, -1, dtype=torch.long)  # 0: the beginning, 1, 2, ...: of which prompt, -1: padding
    segment = torch.zeros(shape, dtype=torch.long)  # 0: prompt, 1, 2, ...: the completion it belongs to
    sampler_log_probs = torch.zeros(shape, dtype=torch.float32)
    select: list[Tensor] = []
    flat: list[int] = []
    for b, row in enumerate(rows):
        beginning, prompts = _tree(rollouts, row)
        common = end = len(beginning)
        input_ids[b, :end] = torch.tensor(beginning)
        positions[b, :end] = torch.arange(end)
        branch[b, :end] = 0
        for number, (prompt, same) in enumerate(prompts.items(), start=1):
            start, end = end, end + len(prompt) - common
            input_ids[b, start:end] = torch.tensor(prompt[common:])
            positions[b, start:end] = torch.arange(common, len(prompt))
            last = (end if end > start else common) - 1  # of the prompt: it predicts the first token of each completion
            begun = start
            for i in same:
                completion = rollouts[i].completion
                _check(rollouts[i])
                flat.append(i)
                start, end = end, end + len(completion.ids)
                input_ids[b, start:end] = torch.tensor(completion.ids)
                positions[b, start:end] = torch.arange(len(prompt), len(prompt) + len(completion.ids))
                segment[b, start:end] = len(flat)
                sampler_log_probs[b, start:end] = torch.tensor(completion.log_probs)
                before = torch.arange(start - 1, end - 1)
                before[:1] = last
                select.append(b * width + before)
            branch[b, begun:end] = number
    lengths = torch.tensor([len(rollouts[i].completion.ids) for i in flat], dtype=torch.long)
    completion_mask = segment > 0
    row_of_token = torch.arange(len(flat)).repeat_interleave(lengths)
    masks = {rollouts[i].completion.masked for i in flat} - {()}
    assert len(masks) < 2, "the proposals of one step share a mask"
    has_mask = torch.tensor([bool(rollouts[i].completion.masked) for i in flat], dtype=torch.bool)
    return Batch(
        input_ids=input_ids,
        attention_mask=(branch >= 0).long(),
        positions=positions,
        completion_mask=completion_mask,
        sampler_log_probs=sampler_log_probs,
        select=torch.cat(select) if select else torch.zeros(0, dtype=torch.long),
        targets=input_ids[completion_mask],
        row=row_of_token,
        index=torch.tensor(flat, dtype=torch.long),
        mask=_attention_mask(branch, segment) if any(len(row) > 1 for row in rows) else None,
        masked=torch.tensor(masks.pop()) if masks else None,
        is_masked=has_mask[row_of_token] if has_mask.any() else None,
    )


def aligned(batch: Batch, multiple: int = 16) -> Batch:
    """A batch of shared rows, padded on the right to a multiple of so many tokens. A card's attention kernel wants that
    of a mask's width; for another it copies the mask in every layer. No result is changed: nothing sees the padding."""
    width = batch.input_ids.shape[1]
    extra = -width % multiple
    if batch.mask is None or not extra:
        return batch
    mask = torch.nn.functional.pad(batch.mask, (0, extra, 0, extra))
    places = torch.arange(width, width + extra, device=mask.device)
    mask[:, :, places, places] = True  # a row that sees nothing would have no softmax
    return replace(
        batch,
        input_ids=torch.nn.functional.pad(batch.input_ids, (0, extra)),
        attention_mask=torch.nn.functional.pad(batch.attention_mask, (0, extra)),
        positions=torch.nn.functional.pad(batch.positions, (0, extra)),
        completion_mask=torch.nn.functional.pad(batch.completion_mask, (0, extra)),
        sampler_log_probs=torch.nn.functional.pad(batch.sampler_log_probs, (0, extra)),
        select=batch.select // width * (width + extra) + batch.select % width,
        mask=mask,
    )


def _attention_mask(branch: Tensor, segment: Tensor) -> Tensor:
    """mask[B, 1, T, T]: a token sees itself and, of what comes before, the beginning, the rest of its own prompt, and
    its own completion."""
    width = segment.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    beginning, prompt = branch[:, None, :] == 0, segment[:, None, :] == 0
    same_prompt = branch[:, :, None] == branch[:, None, :]
    same_completion = segment[:, :, None] == segment[:, None, :]
    return (causal & (beginning | (same_prompt & (prompt | same_completion))))[:, None]


def _check(rollout: Rollout) -> None:
    completion = rollout.completion
    if not completion.prompt_ids:
        raise ValueError(f"{completion.request_id}: an empty prompt, so nothing predicts the first completion token")
    if len(completion.log_probs) != len(completion.ids):
        raise ValueError(
            f"{completion.request_id}: {len(completion.ids)} tokens with {len(completion.log_probs)} log-probabilities"
            "; the sampler must return one for each"
        )
