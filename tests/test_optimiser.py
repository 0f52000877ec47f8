"""AdamW on master weights, and the running mean of the weights along the way."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from minizero.config.schema import OptimConfig
from minizero.learn.optimiser import MasterAdamW
from minizero.types import ConfigError, MissingPackage


def stepped(optimiser: MasterAdamW, gradient: float) -> float:
    """One update with this gradient; the weight after it."""
    weight = optimiser.parameters["w"]
    weight.grad = torch.tensor([gradient], dtype=weight.dtype)
    optimiser.accumulate()
    optimiser.step()
    return float(optimiser.masters["w"])


def make(*, decay: float, dtype: torch.dtype = torch.float32) -> MasterAdamW:
    return MasterAdamW({"w": nn.Parameter(torch.ones(1, dtype=dtype))}, OptimConfig(lr=0.125, ema_decay=decay))


def test_the_mean_is_plain_at_first_and_then_forgets() -> None:
    optimiser = make(decay=0.5)
    first, second, third = (stepped(optimiser, g) for g in (1.0, -2.0, 3.0))
    # updates 1 and 2 weigh 1/1 and 1/2; from then on the newest weighs 1 - 0.5
    assert float(optimiser.means["w"]) == pytest.approx(0.5 * (first + second) / 2 + 0.5 * third)
    slow = make(decay=0.9)
    values = [stepped(slow, g) for g in (1.0, -2.0, 3.0)]
    assert float(slow.means["w"]) == pytest.approx(sum(values) / 3)


def test_inside_averaged_the_parameters_hold_the_mean_and_afterwards_what_they_held() -> None:
    optimiser = make(decay=0.9, dtype=torch.bfloat16)
    for gradient in (1.0, 1.0, -1.0):
        stepped(optimiser, gradient)
    before = optimiser.parameters["w"].detach().clone()
    with optimiser.averaged():
        assert torch.equal(optimiser.parameters["w"], optimiser.means["w"].to(torch.bfloat16))
        assert not torch.equal(optimiser.parameters["w"], before)
    assert torch.equal(optimiser.parameters["w"], before)


def test_an_error_inside_averaged_leaves_the_parameters_as_they_were() -> None:
    optimiser = make(decay=0.9)
    for gradient in (1.0, 1.0):
        stepped(optimiser, gradient)
    before = optimiser.parameters["w"].detach().clone()
    with pytest.raises(KeyboardInterrupt), optimiser.averaged():
        raise KeyboardInterrupt
    assert torch.equal(optimiser.parameters["w"], before)


def test_without_a_decay_no_mean_is_kept() -> None:
    optimiser = make(decay=0.0)
    after = stepped(optimiser, 1.0)
    assert not optimiser.means
    with optimiser.averaged():
        assert float(optimiser.parameters["w"].detach()) == after


def test_a_loaded_state_goes_on_with_the_same_mean() -> None:
    one, two = make(decay=0.9), make(decay=0.9)
    for gradient in (1.0, -2.0):
        stepped(one, gradient)
    two.load({name: tensor.clone() for name, tensor in one.tensors().items()}, one.updates)
    assert stepped(one, 0.5) == stepped(two, 0.5)
    assert torch.equal(one.means["w"], two.means["w"])


def test_a_frozen_run_averages_to_what_it_started_from() -> None:
    optimiser = MasterAdamW({"w": nn.Parameter(torch.ones(1))}, OptimConfig(lr=0.1, ema_decay=0.9, freeze=True))
    for gradient in (1.0, -2.0):
        stepped(optimiser, gradient)
    assert float(optimiser.means["w"]) == 1.0


def test_norm_gains_move_by_a_rate_of_their_own() -> None:
    names = ("layers.0.input_layernorm.weight", "layers.0.mlp.up_proj.weight", "layers.0.self_attn.q_proj.bias")
    shapes = ((2,), (2, 2), (2,))
    parameters = {name: nn.Parameter(torch.ones(shape)) for name, shape in zip(names, shapes, strict=True)}
    optimiser = MasterAdamW(parameters, OptimConfig(lr=0.125, norm_lr=0.5, warmup_steps=2))
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimiser.accumulate()
    assert optimiser.step()["lr"] == 0.0625
    moved = {name: 1 - parameter.detach().mean().item() for name, parameter in parameters.items()}
    # the first step of Adam is the rate itself, here half of it for the warm-up
    assert moved == pytest.approx(dict(zip(names, (0.25, 0.0625, 0.0625), strict=True)), rel=1e-5)


def eight(parameter: torch.Tensor) -> MasterAdamW:
    pytest.importorskip("bitsandbytes", reason="pip install 'minizero[qlora]'")
    parameters = {"w": nn.Parameter(parameter.clone()), "gain": nn.Parameter(torch.ones(8))}
    return MasterAdamW(parameters, OptimConfig(lr=0.01, adam_bits=8, norm_lr=0.02))


def update(optimiser: MasterAdamW, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in optimiser.parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator) + 0.3
    optimiser.accumulate()
    optimiser.step()


def test_moments_of_eight_bits_learn_as_those_of_thirty_two_do_in_a_quarter_of_the_memory() -> None:
    start = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    small = eight(start)
    parameters = {"w": nn.Parameter(start.clone()), "gain": nn.Parameter(torch.ones(8))}
    large = MasterAdamW(parameters, OptimConfig(lr=0.01, norm_lr=0.02))
    for seed in range(20):
        update(small, seed)
        update(large, seed)
    way, apart = large.masters["w"] - start, small.masters["w"] - large.masters["w"]
    assert apart.norm() < 0.05 * way.norm()
    assert small.masters["gain"].allclose(large.masters["gain"], atol=1e-6)  # too few numbers to be rounded
    sizes = [sum(t.numel() * t.element_size() for t in o.moments(o.masters["w"]).values()) for o in (small, large)]
    assert sizes[0] < 0.26 * sizes[1]


def test_moments_of_eight_bits_are_saved_and_go_on_to_the_bit() -> None:
    start = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    one, two = eight(start), eight(start)
    assert "first/w" not in one.tensors()
    update(one, 0)
    update(one, 1)
    saved = {name: tensor.clone() for name, tensor in one.tensors().items()}
    assert saved["first/w"].dtype == torch.uint8
    assert {"first_scale/w", "count/w", "first/gain"} <= set(saved)
    assert "first_scale/gain" not in saved
    two.load(saved, one.updates)
    update(one, 2)
    update(two, 2)
    assert all(torch.equal(one.masters[name], two.masters[name]) for name in one.masters)


def test_moments_of_another_number_of_bits_are_refused() -> None:
    start = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    one = MasterAdamW({"w": nn.Parameter(start.clone()), "gain": nn.Parameter(torch.ones(8))}, OptimConfig(lr=0.01))
    update(one, 0)
    with pytest.raises(ConfigError, match="expected moments of 8 bits"):
        eight(start).load(one.tensors(), one.updates)


def test_without_bitsandbytes_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(MissingPackage, match=r"optim\.adam_bits = 8"):
        MasterAdamW({"w": nn.Parameter(torch.ones(1))}, OptimConfig(adam_bits=8))
