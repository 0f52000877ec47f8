"""Weights of a finished or lost run as the start of a new one (model.checkpoint)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from minizero.learn.members import adapters_in
from minizero.models.adapter import peft_name
from minizero.types import CheckpointError


def load_checkpoint(model: Any, peft_model: Any, path: Path, names: tuple[str, ...] = ("",)) -> None:
    """Put the weights of a checkpoint into the model: of its adapters (`peft_model`, by the `names` of the members), or
    (None) of all parameters.

    path: checkpoints/step-N of a run, or the adapter/ or model/ in it. Raises CheckpointError when there is none of
    the kind that is trained, when its tensors are not this model's, or when its adapter was scaled otherwise.
    """
    if peft_model is None:
        source, tensors = _read(path, "model")
        _check_names(source, model.state_dict(), tensors, whole=False)
        model.load_state_dict(tensors, strict=False)  # what is tied stands there once
        return
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    for member, place in adapters_in(path, names).items():
        key = peft_name(member)
        source, tensors = _read(place, "adapter")
        _check_scale(source.parent, peft_model.peft_config[key])
        _check_names(source, get_peft_model_state_dict(peft_model, adapter_name=key), tensors, whole=True)
        set_peft_model_state_dict(peft_model, tensors, adapter_name=key)


def _read(path: Path, kind: str) -> tuple[Path, dict[str, Tensor]]:
    """The file of a checkpoint's adapter or model, and its tensors."""
    file = "adapter_model.safetensors" if kind == "adapter" else "model.safetensors"
    source = next((place for place in (path / file, path / kind / file) if place.is_file()), None)
    if source is None:
        raise CheckpointError(
            f"model.checkpoint = {path}: there is no {kind}/{file}. Expected checkpoints/step-N of a run with the same "
            f"adapter.kind ({'lora' if kind == 'adapter' else 'full'} here)."
        )
    try:
        return source, load_file(source)
    except Exception as error:
        raise CheckpointError(f"{source} cannot be read: {error}") from None


def _check_names(source: Path, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, whole: bool) -> None:
    """Raise CheckpointError for tensors that the model has not; `whole`: for those that it alone has, too."""
    odd = sorted(name for name in tensors if name not in expected or expected[name].shape != tensors[name].shape)
    absent = sorted(expected.keys() - tensors.keys()) if whole else []
    if odd or absent:
        raise CheckpointError(
            f"{source} belongs to another model or adapter: {len(odd) + len(absent)} tensors do not match, for example "
            f"{(odd or absent)[0]}."
        )


def _check_scale(directory: Path, ours: Any) -> None:
    """Raise CheckpointError where the same tensors would make another policy: alpha or rslora is not what it was."""
    try:
        saved = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        theirs = float(saved["lora_alpha"]), bool(saved.get("use_rslora", False))
    except (OSError, ValueError, KeyError, TypeError):
        return  # weights alone say nothing of their scale
    mine = float(ours.lora_alpha), bool(ours.use_rslora)
    if theirs != mine:
        alpha, by_root = f"{theirs[0]:g}", str(theirs[1]).lower()
        raise CheckpointError(
            f"{directory} was trained with adapter.alpha = {alpha} and adapter.rslora = {by_root}; with {mine[0]:g} "
            f"and {str(mine[1]).lower()} its tensors would be another policy. Add  --set adapter.alpha={alpha} --set "
            f"adapter.rslora={by_root}"
        )
