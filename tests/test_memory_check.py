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
    policy = make_policy(random_model, "optim.micro_batch_tokens=8192")

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")

    monkeypatch.setattr(Policy, "_forward", full)
    with pytest.raises(OutOfMemory, match=r"6144 tokens.*2\.00 GiB\).*\n.*optim\.micro_batch_tokens=4096"):
        check_memory(policy)
