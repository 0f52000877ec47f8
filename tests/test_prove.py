"""The memory that is planned for an update against its own operations, counted on tensors that have no numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minizero.cli.runs import plan as plan_command
from minizero.config import Config, load_config
from minizero.config.named import resolve
from minizero.learn.batching import aligned
from minizero.learn.memory_check import largest_rollouts
from minizero.learn.prove import prove
from minizero.planner import make_plan
from minizero.planner.memory import STATE, learning_bytes, memory, micro_batch
from minizero.planner.shapes import GIB, KNOWN, Shape
from tests.test_policy import make_policy


def asked(name: str, recomputed: bool, *more: str) -> tuple[Config, Shape]:
    """A config with nothing left open, and four layers of the model: what a layer adds is the same for all."""
    shape = replace(KNOWN[name], layers=4)
    config = load_config(overrides=[
        f"model.name=nobody/{name}", "model.dtype=bfloat16", "optim.micro_batch_tokens=8192",
        f"optim.gradient_checkpointing={str(recomputed).lower()}", f"optim.logits_chunk={2**26 // shape.vocabulary}",
        "selfplay.max_prompt_tokens=1024", "selfplay.propose_max_tokens=1024", "selfplay.solve_max_tokens=1024",
        "sampler.release_kv=false", *more,
    ])  # fmt: skip
    return config, shape


@pytest.mark.parametrize(
    ("name", "recomputed", "quantization"),
    [
        ("qwen2.5-0.5b", False, "none"),
        ("qwen2.5-1.5b", False, "none"),
        ("qwen2.5-3b", True, "none"),
        ("qwen3-4b", True, "none"),
        ("qwen2.5-7b", True, "nf4"),
        ("llama-3.1-8b", True, "nf4"),
    ],
)
def test_the_plan_agrees_with_what_is_counted_within_five_percent(
    name: str, recomputed: bool, quantization: str
) -> None:
    config, shape = asked(name, recomputed, f"model.quantization={quantization}")
    proof = prove(config, shape)
    assert proof.single < proof.shared  # a mask of T x T is in it
    assert learning_bytes(config, shape, 2) / GIB == pytest.approx(proof.learning, rel=0.05)
    assert memory(config, shape, device="cuda", vllm=True)[STATE] == pytest.approx(proof.state, rel=0.05)


def test_moments_of_eight_bits_are_planned_as_counted() -> None:
    pytest.importorskip("bitsandbytes", reason="pip install 'minizero[qlora]'")
    states = []
    for bits in (32, 8):
        config, shape = asked("qwen2.5-3b", True, f"optim.adam_bits={bits}", "adapter.rank=64")
        proof = prove(config, shape)
        assert memory(config, shape, device="cuda", vllm=True)[STATE] == pytest.approx(proof.state, rel=0.05)
        states.append(proof.state)
    assert states[1] < 0.7 * states[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Qwen2.5-Coder-1.5B", "Qwen2.5-Coder-3B", "Qwen3-4B-Base", "Qwen2.5-Coder-7B", "Llama-3.1-8B"]
)
def test_the_whole_of_a_shipped_model_is_counted_within_two_minutes(name: str) -> None:
    """All layers, with the settings that the plan fills in for an RTX 3090."""
    plan = make_plan(resolve(name, (), ()), "rtx3090")
    proof = prove(plan.config, plan.shape)
    assert plan.learning == pytest.approx(proof.learning, rel=0.05)
    assert plan.state == pytest.approx(proof.state, rel=0.05)
    assert proof.seconds < 120


def test_the_largest_micro_batches_are_those_of_the_memory_check(random_model: Path) -> None:
    sizes = ("selfplay.max_prompt_tokens=24", "selfplay.propose_max_tokens=8", "selfplay.solve_max_tokens=16")
    policy = make_policy(random_model, *sizes, "optim.micro_batch_tokens=128")
    tried = [
        next(policy.micro_batches(rollouts)).input_ids.numel() for rollouts in largest_rollouts(policy.config, 258)
    ]
    assert micro_batch(policy.config) == tuple(tried) == (120, 120)
    alone = load_config(overrides=[*sizes, "optim.micro_batch_tokens=32"])
    assert micro_batch(alone) == (40, 0)


def test_padding_that_a_cards_kernel_wants_changes_no_log_probability(random_model: Path) -> None:
    sizes = ("selfplay.max_prompt_tokens=24", "selfplay.propose_max_tokens=8", "selfplay.solve_max_tokens=11")
    policy = make_policy(random_model, *sizes, "optim.micro_batch_tokens=128", "model.dtype=float32")
    plain, shared = [next(policy.micro_batches(rollouts)) for rollouts in largest_rollouts(policy.config, 258)]
    assert aligned(plain) is plain
    padded = aligned(shared)
    assert shared.input_ids.shape == (1, 123)
    assert padded.input_ids.shape == (1, 128)
    assert padded.mask is not None
    assert padded.mask.shape == (1, 1, 128, 128)
    with torch.no_grad():
        before, after = policy._forward(shared)[0], policy._forward(padded)[0]
    assert float((before - after).abs().max()) < 1e-5


def test_the_command_prints_what_was_counted_beside_what_was_planned(
    random_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("selfplay.max_prompt_tokens=64", "selfplay.propose_max_tokens=32", "selfplay.solve_max_tokens=32")
    plan_command(str(random_model), card="rtx3090", prove=True, set=more)
    printed = capsys.readouterr().out
    assert "counted on fake tensors in" in printed
    assert "as one prompt with its answers (planned" in printed
