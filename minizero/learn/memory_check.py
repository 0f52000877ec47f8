"""The largest micro-batch that a run may meet, forward and backward, before the first step: a run that does not fit on
its card ends at once and not at step 120.

Reading order: check_memory, then largest_rollouts (how the largest micro-batches are made). The policy is unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from minizero.config.schema import Config
from minizero.types import Completion, OutOfMemory, Role, Rollout, TaskType

if TYPE_CHECKING:
    from minizero.learn.policy import Policy


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """What the largest micro-batches took. `peak_gib` is the card's, 0 on a CPU."""

    tokens: int
    seconds: float
    peak_gib: float


def check_memory(policy: Policy) -> MemoryCheck:
    """Forward and backward passes over the largest micro-batches, with memory set aside for the optimiser's moments,
    which exist after the first step only. No weight changes. Raises OutOfMemory with what to change."""
    config, started, tokens = policy.config, time.perf_counter(), 0
    cuda = policy.device == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        moments = torch.empty(2 * policy.optimiser.size, dtype=torch.float32, device=policy.device)
        for rollouts in largest_rollouts(config, policy.tokenizer.vocabulary):
            for batch in policy.micro_batches(rollouts):
                tokens = max(tokens, batch.input_ids.numel())
                policy.backward(batch)
        del moments
    except torch.OutOfMemoryError as error:
        first = str(error).strip().splitlines()[0]
        raise OutOfMemory(
            f"a micro-batch of {tokens} tokens, the largest that this run may meet, does not fit on this card "
            f"({first}).\nTry  --set optim.micro_batch_tokens={max(512, config.optim.micro_batch_tokens // 2)}  or a "
            "smaller run.vram_gib, from which the cache follows, or shorter selfplay.*_max_tokens; minizero plan "
            "tells what each part takes"
        ) from None
    finally:
        policy.optimiser.forget()
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    return MemoryCheck(tokens, time.perf_counter() - started, peak)


def largest_rollouts(config: Config, vocabulary: int) -> Iterator[list[Rollout]]:
    """Two lists, each one micro-batch: as many of the longest sequences as the budget holds, and one prompt with as
    many of the longest completions that may share its row (their mask is a square)."""
    play, budget = config.selfplay, config.optim.micro_batch_tokens
    prompt, answer = play.max_prompt_tokens, max(play.propose_max_tokens, play.solve_max_tokens)
    yield [_rollout(i % vocabulary, prompt, answer) for i in range(max(1, budget // (prompt + answer)))]
    shared = (budget - prompt) // min(prompt, answer)
    if shared > 1:
        yield [_rollout(0, prompt, min(prompt, answer)) for _ in range(shared)]


def _rollout(first: int, prompt: int, answer: int) -> Rollout:
    """Token 0 over and over; `first` makes prompts differ."""
    completion = Completion(
        "memory check", 0, (first, *[0] * (prompt - 1)), (0,) * answer, (0.0,) * answer, "", "length"
    )
    return Rollout(Role.SOLVE, TaskType.DEDUCTION, completion.request_id, completion, 0.0, {})
