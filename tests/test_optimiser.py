"""AdamW on master weights, and the running mean of the weights along the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minizero.config.schema import OptimConfig
from minizero.learn.optimiser import MasterAdamW


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
