"""Weights that exist once: which part of the engine's tensors each of the trainer's is, and what is never shared."""

from __future__ import annotations

import torch
from torch import nn

from minizero.rollout.shared_weights import park, share, views

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj")}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(4, 6), nn.Linear(4, 2), nn.Linear(4, 2)
        self.requires_grad_(False)
        self.lora = nn.Linear(4, 2)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4).requires_grad_(False)
        self.attention = Attention()


def engine_of(model: Model) -> dict[str, torch.Tensor]:
    """What an engine makes of it: one fused layer, and a vocabulary padded to 8."""
    layer = model.attention
    parts = (layer.q_proj, layer.k_proj, layer.v_proj)
    return {
        "embed.weight": torch.cat([model.embed.weight, torch.zeros(3, 4)]),
        "attention.qkv_proj.base_layer.weight": torch.cat([part.weight for part in parts]),
        "attention.qkv_proj.base_layer.bias": torch.cat([part.bias for part in parts]),
    }


def test_frozen_parameters_become_views_and_trained_ones_stay() -> None:
    model = Model()
    engine, before = engine_of(model), {name: p.clone() for name, p in model.named_parameters()}
    park(model)
    found = share(model, engine, FUSED, "cpu")
    assert found.apart == ()
    assert found.bytes == 4 * (5 * 4 + 10 * 4 + 10)
    theirs = {tensor.untyped_storage().data_ptr() for tensor in engine.values()}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert (parameter.untyped_storage().data_ptr() in theirs) == ("lora" not in name)


def test_what_the_engine_holds_otherwise_stays_the_trainers_own() -> None:
    model = Model()
    engine, before = engine_of(model), model.attention.k_proj.weight.clone()
    engine["attention.qkv_proj.base_layer.weight"][6, 0] += 1e-6  # one number of k_proj
    engine["embed.weight"] = engine["embed.weight"].to(torch.bfloat16)
    found = share(model, engine, FUSED, "cpu")
    assert set(found.apart) == {"embed.weight", "attention.k_proj.weight"}
    assert torch.equal(model.attention.k_proj.weight, before)


def test_without_the_engines_tensors_nothing_is_shared() -> None:
    model = Model()
    assert len(share(model, {}, {}, "cpu").apart) == 7
    shapes = {"layer.k_proj.weight": (2, 4)}  # without q_proj nobody knows where k_proj begins
    assert views(shapes, {"layer.qkv_proj.weight": torch.zeros(10, 4)}, FUSED) == {}
