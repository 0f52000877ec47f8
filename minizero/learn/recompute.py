"""Gradient checkpointing: layers whose activations are computed again in the backward pass instead of kept.

transformers does it only in training mode. That mode also switches on what a layer drops at random (OPT, BART and
Falcon ask the layer itself), so that a policy would be trained that nobody sampled from. Here the mode stays
evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint


def can_recompute(model: Any) -> bool:
    """Whether the model's code says which of its layers can be computed again."""
    return bool(getattr(model, "supports_gradient_checkpointing", False)) and bool(_layers(model))


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """The forward pass inside keeps the inputs of its layers, and nothing of what happens in them."""
    layers = _layers(model)
    before = [layer.__dict__.get("forward") for layer in layers]  # a wrapper of accelerate's, or nothing
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def _layers(model: Any) -> list[Any]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
