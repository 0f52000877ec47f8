"""The rehearsal: the largest micro-batch is tried before the first step; nothing moves; too small a card says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from minizero.config import load_config
from minizero.learn.batching import Batch
from minizero.learn.memory_check import check_memory, largest_rollouts
from minizero.learn.policy import Policy
from minizero.types import OutOfMemory
from tests.test_policy import make_policy, rollouts

SIZES = (
    "selfplay.max_prompt_tokens=24", "selfplay.propose_max_tokens=8", "selfplay.solve_max_tokens=16",
    "optim.micro_batch_tokens=128",
)  # fmt: skip


def test_no_micro_batch_of_a_run_is_larger_than_the_rehearsed(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    forward = Policy._forward

    def spied(self: Policy, batch: Batch, model: Any = None) -> Any:
        seen.append(batch)
        return forward(self, batch, model)

    monkeypatch.setattr(Policy, "_forward", spied)
    policy = make_policy(random_model, *SIZES)
    found = check_memory(policy)
    plain = next(batch for batch in seen if batch.mask is None)
    shared = next(batch for batch in seen if batch.mask is not None)
    assert plain.input_ids.shape == (3, 40)  # three of the longest sequences: 120 of 128 tokens
    assert shared.input_ids.shape == (1, 24 + 6 * 16)  # one prompt with all the answers that share its row
    assert found.tokens == 120
    assert found.seconds > 0


def test_a_sequence_longer_than_the_budget_is_rehearsed_alone() -> None:
    config = load_config(overrides=[*SIZES[:3], "optim.micro_batch_tokens=32"])
    (alone,) = largest_rollouts(config, 258)
    assert len(alone) == 1
    assert (len(alone[0].completion.prompt_ids), len(alone[0].completion.ids)) == (24, 16)


def test_a_rehearsal_moves_nothing(random_model: Path) -> None:
    plain, rehearsed = (make_policy(random_model, *SIZES) for _ in range(2))
    check_memory(rehearsed)
    assert all(p.grad is None for p in rehearsed.model.parameters())
    batch = rollouts(plain)
    assert plain.update(batch) == rehearsed.update(batch)
    pairs = zip(plain.optimiser.tensors().items(), rehearsed.optimiser.tensors().items(), strict=True)
    for (name, left), (_, right) in pairs:
        assert torch.equal(left, right), name


def test_too_small_a_card_is_told_with_what_to_change(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(random_model, *SIZES)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")

    monkeypatch.setattr(Policy, "_forward", full)
    with pytest.raises(OutOfMemory, match=r"120 tokens.*2\.00 GiB\).*\n.*optim\.micro_batch_tokens=512"):
        check_memory(policy)


def test_one_sequence_that_is_too_long_is_not_told_to_take_smaller_micro_batches(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_policy(random_model, "optim.micro_batch_tokens=8192")  # one of 6,144 tokens fills it

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Policy, "_forward", full)
    with pytest.raises(OutOfMemory) as stopped:
        check_memory(policy)
    (advice,) = str(stopped.value).splitlines()[1:]
    assert advice == (
        "Try  --set optim.gradient_checkpointing=true, or  --set selfplay.max_prompt_tokens=2048, or  --set "
        "model.quantization=nf4, or  a smaller run.vram_gib, from which the cache follows; minizero plan tells what "
        "each part takes"
    )


def test_adams_moments_are_there_before_the_first_step_and_are_saved_after_it(random_model: Path) -> None:
    policy = make_policy(random_model, *SIZES)
    state = policy.optimiser.adam.state
    assert len(state) == len(policy.optimiser.masters)
    assert all(not moments["exp_avg"].any() and not moments["exp_avg_sq"].any() for moments in state.values())
    assert not any(name.startswith(("first/", "count/")) for name in policy.optimiser.tensors())
    policy.update(rollouts(policy))
    after = policy.optimiser.tensors()
    assert {float(value) for name, value in after.items() if name.startswith("count/")} == {1.0}
    policy.optimiser.load(state={k: v for k, v in after.items() if k.startswith("master/")}, updates=0)
    assert all(float(moments["step"]) == 0 and not moments["exp_avg"].any() for moments in state.values())
