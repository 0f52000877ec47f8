"""Shared by samplers with a separate engine (vllm.py, server.py): the policy's adapter is pushed into the engine, and
from time to time a test proves that it arrived."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from minizero.rollout.agreement import Agreement, measure
from minizero.rollout.vllm_settings import check_refusals
from minizero.types import Prompt, Request, SamplerError

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.learn.policy import Policy

USAGE = ("prompt_tokens", "cached_tokens", "completion_tokens", "prefill_s", "decode_s", "push_s")


class PushedSampler(ABC):
    """Samples from the policy's base model with its adapter, through vLLM.

    Not reproducible bit for bit: which requests share a batch changes the last digits of a logit.
    """

    is_reproducible = False
    seeded = False
    """Whether each completion draws from a seed of its own, whatever else is sampled: slower, for evaluations. The CPU
    build of vLLM has no such seeds."""

    def __init__(self, policy: Policy, config: Config) -> None:
        check_refusals(config)
        self._policy, self._config, self.tokenizer = policy, config, policy.tokenizer
        self.agreement: Agreement | None = None  # the last proof that the engine samples from the policy
        self._loads = 0
        self._usage: dict[str, float] = {}
        self.take_usage()

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.tokenizer.encode(prompt)

    def check_member(self, request: Request) -> None:
        """Raise SamplerError for a request that names none of the policy's adapters."""
        members = self._policy.members
        if request.adapter and request.member not in members.names:
            raise SamplerError(f"{request.id} {members.unknown(request.member)}")

    @property
    @abstractmethod
    def pending(self) -> int:
        """Completions submitted and not yet returned."""

    @property
    def temperature(self) -> float:
        """Of trained rollouts, which is also the trainer's."""
        return self._config.sampler.temperature

    def load(self, adapter: Any) -> None:
        """Push the policy's adapters; every sampler.self_test_every pushes, prove that it arrived."""
        assert not self.pending, "the adapter would change under running requests"
        self._loads += 1
        every = self._config.sampler.self_test_every
        if every and self._loads % every == 0:
            self.self_test()  # ends with a push
        else:
            self.push()

    @abstractmethod
    def push(self) -> None:
        """The policy's adapters as they are now, into the engine."""

    def self_test(self) -> Agreement:
        """Prove that the engine samples from the trainer's policy, with a random adapter, without one and with the real
        one. Raises SamplerError when engine and trainer disagree."""
        usage = dict(self._usage)
        self.agreement = self._measured()
        self._usage = usage  # the tokens of the test belong to no step
        return self.agreement

    def _measured(self) -> Agreement:
        return measure(self._policy, self)  # type: ignore[arg-type]

    def take_usage(self) -> dict[str, float]:
        usage, self._usage = self._usage, dict.fromkeys(USAGE, 0.0)
        return usage
