"""Weights of a finished or lost run as the start of a new one (model.checkpoint)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from minizero.types import CheckpointError


def load_checkpoint(model: Any, peft_model: Any, path: Path) -> None:
    """Put the weights of a checkpoint into the model: of its adapter (`peft_model`), or (None) of all parameters.

    path: checkpoints/step-N of a run, or the adapter/ or model/ in it. Raises CheckpointError when there is none of
    the kind that is trained, when its tensors are not this model's, or when its adapter was scaled otherwise.
    """
    kind, file = ("adapter", "adapter_model.safetensors") if peft_model is not None else ("model", "model.safetensors")
    places = [path / file, path / kind / file]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise CheckpointError(
            f"model.checkpoint = {path}: there is no {kind}/{file}. Expected checkpoints/step-N of a run with the same "
            f"adapter.kind ({'lora' if peft_model is not None else 'full'} here)."
        )
    try:
        tensors = load_file(source)
    except Exception as error:
        raise CheckpointError(f"{source} cannot be read: {error}") from None
    if peft_model is not None:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        expected = get_peft_model_state_dict(peft_model)
        _check_scale(source.parent, peft_model.peft_config["default"])
    else:
        expected = model.state_dict()
    odd = sorted(name for name in tensors if name not in expected or expected[name].shape != tensors[name].shape)
    absent = sorted(expected.keys() - tensors.keys()) if peft_model is not None else []
    if odd or absent:
        raise CheckpointError(
            f"{source} belongs to another model or adapter: {len(odd) + len(absent)} tensors do not match, for example "
            f"{(odd or absent)[0]}."
        )
    if peft_model is not None:
        set_peft_model_state_dict(peft_model, tensors)
    else:
        model.load_state_dict(tensors, strict=False)  # what is tied stands there once


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
