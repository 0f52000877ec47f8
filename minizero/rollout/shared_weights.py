"""One copy of the base's weights: the trainer's frozen parameters become views of the engine's tensors.

Reading order: park (before the engine starts), share (after), views (which rows of which tensor). A parameter is
shared only where the engine holds exactly the same numbers, so sharing changes memory and no result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Shared:
    """Bytes of the trainer's base that are views of the engine's tensors, and the names of the parameters that are not
    shared because the engine holds them in another form."""

    bytes: int
    apart: tuple[str, ...]


def park(model: Any) -> None:
    """Move the frozen parameters to the machine's memory, so that the engine has as much of the card as was planned."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to("cpu")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def share(model: Any, engine: Mapping[str, Tensor], fused: Mapping[str, Sequence[str]], device: str) -> Shared:
    """Make the model's frozen parameters views of the engine's tensors; a parameter that differs is copied to the
    device instead.

    `fused` maps a layer of the engine to the layers that it stacks: qkv_proj -> q_proj, k_proj, v_proj.
    """
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    of_engine = views({name: p.shape for name, p in frozen.items()}, engine, fused)
    count, apart = 0, []
    for name, parameter in frozen.items():
        view = of_engine.get(name)
        if view is not None and view.dtype == parameter.dtype and torch.equal(view, parameter.data.to(view.device)):
            parameter.data = view
            count += view.numel() * view.element_size()
        else:
            parameter.data = parameter.data.to(device)
            apart.append(name)
    return Shared(count, tuple(apart))


def views(
    shapes: Mapping[str, Sequence[int]], engine: Mapping[str, Tensor], fused: Mapping[str, Sequence[str]]
) -> dict[str, Tensor]:
    """The trainer's name of a parameter -> its rows in the engine's tensors, where the shapes agree.

    Both sides' names are compared without the wrapper's `.base_layer`. A vocabulary may be padded at its end.
    """
    theirs = {_plain(name): tensor for name, tensor in engine.items()}
    ours = {_plain(name): tuple(shape) for name, shape in shapes.items()}
    whole_of = {part: (whole, tuple(parts)) for whole, parts in fused.items() for part in parts}
    by_name = {}
    for name in shapes:
        plain = _plain(name)
        layer, _, kind = plain.rpartition(".")
        home, _, leaf = layer.rpartition(".")
        start, tensor = 0, theirs.get(plain)
        if tensor is None and leaf in whole_of:
            whole, parts = whole_of[leaf]
            tensor = theirs.get(f"{home}.{whole}.{kind}")
            before = [ours.get(f"{home}.{part}.{kind}") for part in parts[: parts.index(leaf)]]
            if any(shape is None for shape in before):
                continue
            start = sum(shape[0] for shape in before if shape)
        if tensor is None:
            continue
        part = tensor[start : start + ours[plain][0]]
        if tuple(part.shape) == ours[plain]:
            by_name[name] = part
    return by_name


def _plain(name: str) -> str:
    return name.replace(".base_layer", "")
