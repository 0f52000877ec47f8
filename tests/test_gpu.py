"""What only a CUDA card can show: an update in bfloat16, a 4-bit base, sampler and trainer, memory that runs out.

Small and quick, for the first minutes on a card: pytest -m gpu, or make first-light. Each compares the card with the
same on the CPU, or with what must happen.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from minizero.config import load_config
from minizero.learn.memory_check import check_memory
from minizero.learn.policy import Policy
from minizero.rollout.agreement import check_agreement
from minizero.rollout.make import make_sampler
from minizero.types import OutOfMemory
from tests.test_policy import gradients, make_policy, rollouts

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore"),  # of kernels that are not ours
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="torch sees no CUDA card: run  make first-light  , or  pytest -m gpu  , on a machine that has one",
    ),
]


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def on_card(model: Path, *settings: str) -> Policy:
    return make_policy(model, f"model.device={DEVICE}", "advantage=reinforce++", *settings)


@pytest.fixture
def whole_card() -> Iterator[None]:
    """Afterwards torch may use all of the card again."""
    yield
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def test_the_gradient_on_the_card_is_the_cpus(random_model: Path) -> None:
    """In float32, where matrix products are exact to rounding: the same sums in another order."""
    torch.backends.cuda.matmul.allow_tf32 = False
    here = make_policy(random_model, "advantage=reinforce++", "model.dtype=float32")
    there = on_card(random_model, "model.dtype=float32")
    there.model.load_state_dict(here.model.state_dict())
    batch = rollouts(here)
    expected, found = gradients(here, batch), gradients(there, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name].cpu(), value, rtol=1e-2, atol=1e-5), name


def test_a_bfloat16_update_moves_the_adapter_alone_and_makes_rewarded_completions_likelier(random_model: Path) -> None:
    policy = on_card(random_model, "model.dtype=bfloat16", "optim.lr=3e-3")
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    batch = rollouts(policy)
    old = [values.mean() for values in policy.log_probs(batch)]
    for _ in range(5):
        told = policy.update(batch)
        assert 0 < told["policy/grad_norm"] < float("inf")
        assert told["policy/skipped_updates"] == 0
    moved = {name for name, p in policy.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert all(value.dtype == torch.float32 for value in policy.optimiser.masters.values())
    change = [float(values.mean() - value) for values, value in zip(policy.log_probs(batch), old, strict=True)]
    good = [c for c, r in zip(change, batch, strict=True) if r.reward == 1.0]
    bad = [c for c, r in zip(change, batch, strict=True) if r.reward == -1.0]
    assert sum(good) / len(good) > sum(bad) / len(bad)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sampler_and_trainer_agree_with_the_model_on_the_card(random_model: Path, dtype: str) -> None:
    policy = on_card(random_model, f"model.dtype={dtype}", "sampler.backend=transformers", "prompt.style=r1")
    found = check_agreement(policy, make_sampler(policy.config, policy))  # raises where one differs
    assert found.power >= 5 * found.tolerance
    assert found.tokens > 24


@pytest.mark.skipif(not has("vllm"), reason="vLLM is not installed: make install EXTRAS=vllm")
def test_vllm_samples_from_the_trainers_policy_on_the_card(tmp_path: Path) -> None:
    from minizero.models.made import SMALL, write_random_model

    model = write_random_model(tmp_path / "model", {**SMALL, "hidden_size": 256, "intermediate_size": 512})
    config = load_config(
        overrides=[
            f"model.name={str(model)!r}", f"model.device={DEVICE}", "model.dtype=bfloat16", "adapter.rank=8",
            "sampler.backend=vllm", "sampler.kv_gib=0.25", "sampler.max_rows=8", "prompt.style=r1",
            "selfplay.max_prompt_tokens=192", "selfplay.propose_max_tokens=64", "selfplay.solve_max_tokens=64",
        ]
    )  # fmt: skip
    policy = Policy(config)
    sampler = make_sampler(policy.config, policy)  # which runs the self-test
    try:
        found = check_agreement(policy, sampler)
        assert found.power >= 5 * found.tolerance
        sampler.load(policy)
        sampler.release()
        sampler.resume()
        check_agreement(policy, sampler)
    finally:
        sampler.close()


@pytest.mark.skipif(not has("bitsandbytes"), reason="bitsandbytes is not installed: make install EXTRAS=qlora")
def test_a_4_bit_layer_computes_what_its_unpacked_weights_do_forward_and_backward() -> None:
    import bitsandbytes as bnb

    torch.manual_seed(0)
    layer = bnb.nn.Linear4bit(256, 128, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4").to(DEVICE)
    weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(torch.bfloat16)
    values = torch.randn(64, 256, device=DEVICE, dtype=torch.bfloat16)
    packed, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    direction = torch.randn(64, 128, device=DEVICE, dtype=torch.bfloat16)
    outputs = layer(packed), plain @ weight.T
    for output in outputs:
        output.backward(direction)
    for found, expected in (outputs, (packed.grad, plain.grad)):
        assert found is not None
        assert expected is not None
        apart = (found.float() - expected.float()).norm() / expected.float().norm()
        assert apart < 0.02


@pytest.mark.skipif(not has("bitsandbytes"), reason="bitsandbytes is not installed: make install EXTRAS=qlora")
def test_a_4_bit_base_stays_as_it_is_while_its_adapter_learns(random_model: Path) -> None:
    policy = on_card(random_model, "model.quantization=nf4", "model.dtype=bfloat16", "optim.lr=1e-2")
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    assert sum(p.dtype == torch.uint8 for p in before.values()) == 14  # seven linear layers in each of two
    assert policy.update(rollouts(policy))["policy/grad_norm"] > 0
    moved = {name for name, p in policy.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


SIZES = (
    "selfplay.max_prompt_tokens=512", "selfplay.propose_max_tokens=512", "selfplay.solve_max_tokens=512",
    "optim.micro_batch_tokens=16384", "optim.gradient_checkpointing=false", "model.dtype=bfloat16",
)  # fmt: skip


def test_the_memory_check_tells_what_the_largest_micro_batch_took(random_model: Path) -> None:
    found = check_memory(on_card(random_model, *SIZES))
    assert found.tokens == 16384
    assert 0.01 < found.peak_gib < 8


def test_a_card_that_is_too_small_is_told_before_the_first_step(random_model: Path, whole_card: None) -> None:
    policy = on_card(random_model, *SIZES)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**24) / total)  # 16 MiB more
    with pytest.raises(OutOfMemory, match=r"does not fit on this card.*\n.*Try  --set optim\."):
        check_memory(policy)
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert policy.update(rollouts(policy))["policy/grad_norm"] > 0  # nothing is left of the attempt
