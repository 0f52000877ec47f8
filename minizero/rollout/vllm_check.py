"""Proof that vLLM samples from the trainer's policy: with a random adapter, without one, and with the real one again.

Reading order: check_agreement, then _random_adapter (a fresh LoRA has B = 0, so a test with it would prove nothing) and
_gap (the difference of the two engines' log-probabilities on tokens that vLLM sampled).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from minizero.rollout.protocol import Sampler, drain
from minizero.rollout.vllm_internals import adapter_layers
from minizero.types import Message, Prompt, Request, Role, Rollout, SamplerError, TaskType

if TYPE_CHECKING:
    from minizero.learn.policy import Policy

TEXTS = ("def f(numbers):\n    return sorted(numbers)[::-1]\n", "What does this program return for [3, 1, 2]?")
TOKENS = 8
# Mean absolute difference in nats over the tested tokens. Measured, vLLM and transformers on a CPU: 4e-6 in float32,
# 3e-2 in bfloat16 (maximum 0.36); an adapter that is not applied, or wrongly scaled, gives 0.1 and more.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}
POWER = 5.0  # the random adapter must move log-probabilities by this many tolerances, or the test would see nothing
# A shaken model magnifies rounding: 0.11 nats in bfloat16 where a random adapter moved Qwen2.5-Coder-1.5B by 4.
# One that is wrongly scaled is off by about the same part of the power as of the scale.
SHARE = 0.05


class PushedSampler(Sampler, Protocol):
    """What the check asks of the vLLM sampler."""

    @property
    def temperature(self) -> float: ...

    def push(self) -> None:
        """Copy the policy's adapter into the engine."""
        ...


def check_agreement(sampler: PushedSampler, policy: Policy) -> dict[str, float]:
    """Mean gaps in nats: random (adapter on), off, restored; and power, how far the random adapter moves the trainer.

    Raises SamplerError when a gap exceeds the tolerance of the compute type, or for `random` a share of the power, if
    that is more. Ends with the policy's adapter pushed.
    """
    tolerance = TOLERANCE[policy.model.dtype]
    found: dict[str, float] = {}
    scale = 1.0
    while True:
        with _random_adapter(policy, scale):
            sampler.push()
            on = _sample(sampler, adapter=True)
            found["random"] = _gap(on, policy)
            found["power"] = _gap(on, policy, adapter=False)
        # An engine that ignores the adapter samples from the base: then `random` is large and `power` is small.
        if max(found["power"], found["random"]) >= POWER * tolerance or scale >= 4096:
            break
        scale *= 2
    found["off"] = _gap(_sample(sampler, adapter=False), policy, adapter=False)
    sampler.push()
    found["restored"] = _gap(_sample(sampler, adapter=True), policy)
    words = {
        "random": "a random adapter that was pushed is not what vLLM samples from",
        "off": "with the adapter off, vLLM does not sample from the base model",
        "restored": "after the random adapter, vLLM did not return to the policy's",
    }
    for name, sentence in words.items():
        expected = max(tolerance, SHARE * found["power"]) if name == "random" else tolerance
        if not found[name] <= expected:
            raise SamplerError(
                f"vLLM and the trainer disagree: {sentence}. Their log-probabilities differ by {found[name]:.3g} nats "
                f"on average (expected at most {expected:.3g} in {str(policy.model.dtype).removeprefix('torch.')}; "
                f"{', '.join(f'{key} {value:.3g}' for key, value in found.items())}). "
                "Training would follow another policy than the one that is sampled. "
                "Try --set sampler.backend=transformers, and report this with the output of  minizero doctor"
            )
    if found["power"] < POWER * tolerance:
        raise SamplerError(
            f"the self-test of the adapter's way to vLLM has no power: a random adapter moves the trainer's "
            f"log-probabilities by {found['power']:.3g} nats only. Is adapter.targets right?"
        )
    return found


def _sample(sampler: PushedSampler, *, adapter: bool) -> list[Rollout]:
    temperature = sampler.temperature
    for i, text in enumerate(TEXTS):
        prompt = Prompt((Message("user", text),))
        sampler.submit(Request(f"self-test/{i}", prompt, TOKENS, i, temperature=temperature, adapter=adapter))
    done = sorted(drain(sampler), key=lambda completion: completion.request_id)
    return [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in done]


def _gap(rollouts: list[Rollout], policy: Policy, *, adapter: bool = True) -> float:
    with nullcontext() if adapter else policy.adapter_off():
        trained = torch.cat(policy.log_probs(rollouts))
    sampled = torch.tensor([value for r in rollouts for value in r.completion.log_probs])
    return float((trained - sampled).abs().mean())


@contextmanager
def _random_adapter(policy: Policy, scale: float) -> Iterator[None]:
    """Random A and B in the policy's own parameters, in place; afterwards they are what they were, bit for bit."""
    generator = torch.Generator().manual_seed(1)
    kept: list[tuple[Tensor, Tensor]] = []
    for layer in adapter_layers(policy.model).values():
        width, rank = layer.a.shape[1], layer.a.shape[0]
        for tensor, spread in ((layer.a, width**-0.5), (layer.b, 0.02 * scale * rank**-0.5)):
            kept.append((tensor, tensor.clone()))
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
    try:
        yield
    finally:
        for tensor, value in kept:
            tensor.copy_(value)
