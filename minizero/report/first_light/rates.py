"""How fast this machine samples and learns, in the plan's own terms (planner/pace.py), so that the plan can use them.

Reading order: sampling_rate and bandwidth, operations (what a sampled batch says), prefill_rate, update_rate.
"""
# B sequences decoded together, N parameters that a token passes (matmul_parameters)

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minizero.planner.calibration import matmul_parameters
from minizero.planner.memory import kv_token_bytes
from minizero.planner.pace import train_passes
from minizero.planner.shapes import GIB, Shape
from minizero.rollout.protocol import Sampler, drain
from minizero.types import Completion, Message, Prompt, Request, Role, Rollout, TaskType

if TYPE_CHECKING:
    from minizero.learn.policy import Policy

LINE = "def f(numbers):\n    return sorted(numbers)\n"


@dataclass(frozen=True, slots=True)
class Sampled:
    """One batch that was decoded: its sequences on average, and seconds for one token of each of them."""

    rows: float
    tokens: int
    seconds: float
    token_s: float
    context: float

    def bandwidth(self, shape: Shape, value_bytes: int, weights_gib: float) -> float:
        """Bytes a second: weights and the cache of every sequence are read once for each token."""
        cache = self.rows * self.context * kv_token_bytes(shape, value_bytes)
        return (weights_gib * GIB + cache) / self.token_s

    def operations(self, shape: Shape) -> float:
        """2 N B operations for a token of B sequences, in a second."""
        return 2 * matmul_parameters(shape) * self.rows / self.token_s


def sample(sampler: Sampler, rows: int, tokens: int, name: str, member: str = "") -> Sampled:
    """`rows` completions of one short prompt, at most `tokens` long, by this one of several adapters. Completions that
    end early make B smaller, so it is the mean over the longest's tokens."""
    prompt = Prompt((Message("user", LINE),))
    started = time.perf_counter()
    sampler.submit(Request(f"first-light/{name}", prompt, tokens, 0, rows, member=member))
    done = list(drain(sampler))
    took = time.perf_counter() - started
    written, longest = sum(len(c.ids) for c in done), max(len(c.ids) for c in done)
    context = len(done[0].prompt_ids) + longest / 2
    return Sampled(written / longest, written, took, took / longest, context)


def prefill_rate(
    sampler: Sampler, shape: Shape, tokens: int, prompts: int, member: str = ""
) -> tuple[float, int, float]:
    """(operations a second, prompt tokens, seconds) of reading different prompts of about so many tokens."""
    per_line = max(1, len(sampler.prompt_ids(Prompt((Message("user", LINE * 2),)))) // 2)
    lines = max(1, tokens // per_line)
    asked = [Prompt((Message("user", f"# {i}\n" + LINE * lines),)) for i in range(prompts)]
    count = sum(len(sampler.prompt_ids(prompt)) for prompt in asked)
    started = time.perf_counter()
    for i, prompt in enumerate(asked):
        sampler.submit(Request(f"first-light/prompt/{i}", prompt, 1, i, member=member))
    for _ in drain(sampler):
        pass
    took = time.perf_counter() - started
    return 2 * matmul_parameters(shape) * count / took, count, took


def update_rate(policy: Policy, shape: Shape, micro_batches: int) -> tuple[float, int, float]:
    """(operations a second, tokens, seconds) of one whole update over so many full micro-batches: forward, backward,
    optimiser. The first update, which allocates and compiles, is not counted. The policy is changed by it."""
    rollouts = _rollouts(policy, micro_batches)
    tokens = sum(len(r.completion.prompt_ids) + len(r.completion.ids) for r in rollouts)
    policy.update(rollouts)
    _wait(policy)
    started = time.perf_counter()
    policy.update(rollouts)
    _wait(policy)
    took = time.perf_counter() - started
    return train_passes(policy.config) * matmul_parameters(shape) * tokens / took, tokens, took


def _wait(policy: Policy) -> None:
    """Until the card has done what it was given."""
    if policy.device == "cuda":
        import torch

        torch.cuda.synchronize()


def _rollouts(policy: Policy, micro_batches: int) -> list[Rollout]:
    """Different prompts and answers of random tokens, half of them rewarded; a quarter of each sequence is prompt."""
    import torch

    play, budget, member = policy.config.selfplay, policy.config.optim.micro_batch_tokens, policy.members.on
    answer = max(1, min(600, play.solve_max_tokens, budget * 3 // 4))
    prompt = max(1, min(200, play.max_prompt_tokens, budget // 4))
    count = max(2, micro_batches * (budget // (prompt + answer)))
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, policy.tokenizer.vocabulary, (count, prompt + answer), generator=generator).tolist()
    return [
        Rollout(
            Role.SOLVE, TaskType.DEDUCTION, f"{i}",
            Completion(f"{i}", 0, tuple(row[:prompt]), tuple(row[prompt:]), (0.0,) * answer, "", "stop", member=member),
            1.0 if i % 2 else -1.0, {},
        )
        for i, row in enumerate(ids)
    ]  # fmt: skip
