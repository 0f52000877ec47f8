"""QLoRA: a 4-bit base that stays as it is, and an adapter that learns on top of it. Runs on a CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from minizero.config import load_config
from minizero.config.schema import ModelConfig
from minizero.types import ConfigError, MissingPackage
from tests.test_policy import make_policy, rollouts

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
needs_bitsandbytes = pytest.mark.skipif(
    not HAS_BITSANDBYTES, reason="bitsandbytes is not installed: pip install 'minizero[qlora]'"
)
NF4 = "model.quantization=nf4"


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore")  # bitsandbytes warns of its slow path on a CPU
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_step_moves_the_adapter_and_nothing_of_the_base(random_model: Path, dtype: str) -> None:
    policy = make_policy(random_model, NF4, f"model.dtype={dtype}", "optim.lr=1e-2", "advantage=reinforce++")
    packed = {name: p for name, p in policy.model.named_parameters() if p.dtype == torch.uint8}
    assert len(packed) == 14  # seven linear layers in each of two
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    batch = rollouts(policy)
    told = policy.update(batch)
    assert told["policy/grad_norm"] > 0
    moved = {name for name, p in policy.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert set(policy.optimiser.masters) >= moved


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore")
def test_rewarded_completions_become_likelier_on_a_4_bit_base(random_model: Path) -> None:
    policy = make_policy(random_model, NF4, "model.dtype=float32", "optim.lr=3e-3", "advantage=reinforce++")
    batch = rollouts(policy)
    before = [values.mean() for values in policy.log_probs(batch)]
    for _ in range(3):
        policy.update(batch)
    change = [float(values.mean() - old) for values, old in zip(policy.log_probs(batch), before, strict=True)]
    good = [c for c, r in zip(change, batch, strict=True) if r.reward == 1.0]
    bad = [c for c, r in zip(change, batch, strict=True) if r.reward == -1.0]
    assert sum(good) / len(good) > sum(bad) / len(bad)


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed here")
def test_without_bitsandbytes_the_pip_line_is_named(random_model: Path) -> None:
    from minizero.models.load import load

    with pytest.raises(MissingPackage, match=r"make install EXTRAS=qlora"):
        load(ModelConfig(name=str(random_model), quantization="nf4", device="cpu"))


def test_a_4_bit_base_cannot_be_trained_itself() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.kind=lora"):
        load_config(overrides=[NF4, "adapter.kind=full"])
