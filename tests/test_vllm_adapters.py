"""Several adapters in one vLLM engine: a slot each, a request carries its own, and every one of them is proven."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from minizero.config import load_config
from minizero.rollout.agreement import random_adapter
from minizero.rollout.vllm_internals import StackedAdapter
from minizero.rollout.vllm_settings import engine_settings
from minizero.types import Message, Prompt, Request, Role, Rollout, SamplerError, TaskType
from tests.test_vllm import LONG, buffers_moved, engine, gap, model_directory, settings

if TYPE_CHECKING:
    from minizero.learn.policy import Policy
    from minizero.rollout.vllm import VLLMSampler

__all__ = ["model_directory"]  # the fixture
ROLES = ("propose", "solve")


@pytest.fixture(scope="module")
def sampler(model_directory: Path) -> Iterator[VLLMSampler]:
    from minizero.learn.policy import Policy
    from minizero.rollout.make import make_sampler

    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    config = load_config(overrides=settings(model_directory, "adapter.roles=separate"))
    made: Any = make_sampler(config, Policy(config))  # which proves both
    yield made
    made.close()


@pytest.fixture
def policy(sampler: VLLMSampler) -> Iterator[Policy]:
    yield sampler._policy
    sampler.push()


def completions(sampler: VLLMSampler, count: int = 4) -> list[Any]:
    from minizero.rollout.protocol import drain

    for i in range(count):
        text = (LONG, "abc")[i % 3 == 0]
        sampler.submit(Request(f"r{i}", Prompt((Message("user", text),)), 12, i, 2, member=ROLES[i % 2]))
    return sorted(drain(sampler), key=lambda c: (c.request_id, c.index))


@engine
def test_both_adapters_are_proven_at_the_start(sampler: VLLMSampler) -> None:
    assert sampler.agreement is not None
    assert {"sampler, propose random", "sampler, solve random", "sampler, solve policy", "sampler, base"} <= set(
        sampler.agreement.gaps
    )
    assert max(sampler.agreement.gaps.values()) < 1e-4


@engine
def test_a_request_is_written_by_its_adapter_as_it_is_now(sampler: VLLMSampler, policy: Policy) -> None:
    for scale in (2.0, 4.0):
        with random_adapter(policy, scale):
            sampler.push()
            done = completions(sampler)
            assert [c.member for c in done] == [name for i in range(4) for name in 2 * (ROLES[i % 2],)]
            assert gap(policy, done) < 1e-4
            swapped = [replace(c, member=ROLES[c.member == "propose"]) for c in done]
            rollouts = [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in swapped]
            for values, c in zip(policy.log_probs(rollouts), done, strict=True):
                assert float((values - torch.tensor(c.log_probs)).abs().max()) > 0.01


@engine
def test_a_saved_adapter_each_is_the_way_round(
    sampler: VLLMSampler, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with random_adapter(policy, 2.0), monkeypatch.context() as patch:
        patch.setattr(StackedAdapter, "write", buffers_moved)
        sampler.push()
        assert not sampler._push.in_place
        assert gap(policy, completions(sampler)) < 1e-4
    sampler._push._stacked = {name: StackedAdapter(sampler._llm, i) for i, name in enumerate(ROLES, 1)}


@engine
@pytest.mark.parametrize("wrong", ROLES)
def test_an_engine_with_one_adapter_in_the_others_slot_is_refused(
    sampler: VLLMSampler, policy: Policy, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ROLES[wrong == "propose"]
    monkeypatch.setitem(sampler._push._layers, wrong, sampler._push._layers[other])
    with pytest.raises(SamplerError, match=f"of the adapter {wrong}: with a random adapter, what is sampled from is"):
        sampler.self_test()


@engine
def test_a_request_for_an_adapter_that_is_not_there_is_refused(sampler: VLLMSampler) -> None:
    with pytest.raises(SamplerError, match=r"r names no adapter by name; this policy has propose, solve\. Give"):
        sampler.submit(Request("r", Prompt((Message("user", "a"),)), 4, 0))


def test_the_engine_has_a_slot_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from minizero.rollout import vllm_settings

    monkeypatch.setattr(vllm_settings, "kv_bytes", lambda config, sizes: 2**30)
    sizes = SimpleNamespace(to_dict=dict)
    model = SimpleNamespace(dtype=torch.float32, config=SimpleNamespace(get_text_config=lambda decoder: sizes))
    policy: Any = SimpleNamespace(device="cpu", model=model)
    for roles, slots in (("shared", 1), ("separate", 2), ("population", 4)):
        assert engine_settings(load_config(overrides=[f"adapter.roles={roles}"]), policy)["max_loras"] == slots
