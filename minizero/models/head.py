"""The head of a model, whatever it does between the last hidden states and the logits: bias, scale, soft-capping.

Reading order: find_base (where hidden states come from), Head.

The head is never written again here. It is the model's own forward pass, with the body replaced by hidden states that
are known already; so it can be computed for some rows at a time, and all logits never exist at once.
"""
# C rows of a chunk · H hidden width · V vocabulary

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minizero.types import ModelError


def find_base(model: nn.Module, input_ids: Tensor) -> str:
    """The name of the body: the first module that the model's forward pass calls ("model" in most).

    Raises ModelError when the pass calls none.
    """
    called: list[str] = []

    def note(name: str) -> Any:
        return lambda *_: called.append(name)

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        model(input_ids=input_ids)
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise ModelError(f"{type(model).__name__}: its forward pass calls no body, so minizero cannot train it.")
    return called[0]


def hidden_states(output: Any) -> Tensor:
    """[B, T, H] of what a body returned."""
    last: Tensor = output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0]
    return last


class Head:
    """hidden [C, H] -> logits [C, V], as the model itself computes them.

    `is_matrix`: that is all the head is, logits = hidden weight^T. Else there is more, and only the model's own pass is
    right. `parameters` are the trained ones.
    """

    def __init__(self, model: Any, base: str) -> None:
        self._model, self._base = model, model.get_submodule(base)
        self._device = next(model.parameters()).device
        self._out = out = model.get_output_embeddings()
        inside = {id(p) for p in self._base.parameters()} - {id(p) for p in (out.parameters() if out else ())}
        self.parameters = tuple(p for p in model.parameters() if p.requires_grad and id(p) not in inside)
        self.is_matrix = _is_linear(out) and self._equals(out.weight)

    @property
    def weight(self) -> Tensor:
        """[V, H], where the head is a matrix."""
        assert self.is_matrix
        weight: Tensor = self._out.weight
        return weight

    def __call__(self, hidden: Tensor) -> Tensor:
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=self._device)
        with _returning(self._base, _Hidden(hidden[None])):
            logits: Tensor = self._model(input_ids=ids, use_cache=False).logits[0]
        return logits

    @torch.no_grad()
    def _equals(self, weight: Tensor) -> bool:
        """Whether the logits of three made-up hidden states are the matrix's, up to rounding. They are large, so that
        soft-capping shows."""
        pattern = torch.sin(torch.arange(3 * weight.shape[1], dtype=torch.float32, device=weight.device))
        hidden = pattern.view(3, -1).to(weight.dtype)
        hidden = hidden * (100 / (hidden @ weight.T).float().std().clamp_min(1e-6)).to(weight.dtype)
        expected, seen = (hidden @ weight.T).float(), self(hidden).float()
        near = 8 * torch.finfo(weight.dtype).eps * float(expected.abs().max())
        return seen.shape == expected.shape and float((seen - expected).abs().max()) <= near


def _is_linear(out: Any) -> bool:
    return type(out) is nn.Linear and out.bias is None and out.weight.is_floating_point()


class _Hidden:
    """What a body would have returned: hidden states and nothing else."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, item: Any) -> Any:
        return (self.last_hidden_state,)[item]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def _returning(module: nn.Module, output: Any) -> Iterator[None]:
    """Context manager: the module's forward pass returns `output` and computes nothing."""
    had = module.__dict__.get("forward")  # a wrapper of accelerate's, or nothing
    module.forward = lambda *_, **__: output  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        if had is None:
            del module.forward
        else:
            module.forward = had  # type: ignore[method-assign]
