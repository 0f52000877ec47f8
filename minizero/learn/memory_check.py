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

from minizero.config.adapters import names
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


def check_memory(policy: Policy, released: int = 0) -> MemoryCheck:
    """Forward and backward passes over the largest micro-batches, beside the optimiser's moments. No weight changes.
    `released`: bytes that torch still counts as its own although their memory is given back (vLLM's cache). Raises
    OutOfMemory with what to change."""
    config, started, tokens, size, answers = policy.config, time.perf_counter(), 0, 0, 0
    cuda = policy.device == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        for rollouts in largest_rollouts(config, policy.tokenizer.vocabulary):
            for batch in policy.micro_batches(rollouts):
                size, answers = batch.input_ids.numel(), len(batch.lengths)
                tokens = max(tokens, size)
                policy.backward(batch)
    except torch.OutOfMemoryError as error:
        first = str(error).strip().splitlines()[0]
        raise OutOfMemory(
            f"a micro-batch of {size} tokens, the largest that this run may meet, does not fit on this card "
            f"({first}).\nTry  {_advice(config, size, answers)}; minizero plan tells what each part takes"
        ) from None
    finally:
        policy.optimisers.forget()
    peak = (torch.cuda.max_memory_allocated() - released) / 2**30 if cuda else 0.0
    return MemoryCheck(tokens, time.perf_counter() - started, peak)


def _advice(config: Config, tokens: int, answers: int) -> str:
    """The settings that make this micro-batch smaller. A smaller budget does not where one sequence stands alone."""
    optim, play = config.optim, config.selfplay
    ways = [f"--set optim.micro_batch_tokens={max(512, tokens // 2)}"] if answers > 1 else []
    if optim.gradient_checkpointing is not True:
        ways.append("--set optim.gradient_checkpointing=true")
    if answers == 1:
        longest = max(("propose_max_tokens", "solve_max_tokens", "max_prompt_tokens"), key=lambda k: getattr(play, k))
        ways.append(f"--set selfplay.{longest}={getattr(play, longest) // 2}")
        ways.append("--set model.quantization=nf4" if config.model.quantization == "none" else "a smaller model")
    ways.append("a smaller run.vram_gib, from which the cache follows")
    return ", or  ".join(ways)


def largest_rollouts(config: Config, vocabulary: int) -> Iterator[list[Rollout]]:
    """Two lists, each one micro-batch: as many of the longest sequences as the budget holds, and one prompt with as
    many of the longest completions that may share its row (their mask is a square)."""
    play, budget, (member, *_) = config.selfplay, config.optim.micro_batch_tokens, names(config.adapter)
    prompt, answer = play.max_prompt_tokens, max(play.propose_max_tokens, play.solve_max_tokens)
    yield [_rollout(i % vocabulary, prompt, answer, member) for i in range(max(1, budget // (prompt + answer)))]
    shared = (budget - prompt) // min(prompt, answer)
    if shared > 1:
        yield [_rollout(0, prompt, min(prompt, answer), member) for _ in range(shared)]


def _rollout(first: int, prompt: int, answer: int, member: str) -> Rollout:
    """Token 0 over and over; `first` makes prompts differ."""
    completion = Completion(
        "memory check", 0, (first, *[0] * (prompt - 1)), (0,) * answer, (0.0,) * answer, "", "length", member=member
    )
    return Rollout(Role.SOLVE, TaskType.DEDUCTION, completion.request_id, completion, 0.0, {})
