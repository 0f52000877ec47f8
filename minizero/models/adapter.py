"""LoRA adapters in a model: put in place by PEFT, found again by name.

Reading order: add_adapter (which layers get one), freeze_other_parts (of a model that also sees images or sound), then
adapter_layers (the live tensors). Several adapters on one base are its members (config/adapters.py).
"""
# r rank · I inputs and O outputs of a linear layer

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minizero.config.adapters import names
from minizero.config.schema import AdapterConfig
from minizero.types import ConfigError

# PEFT refuses these layers in these models: their own code reads the weights and passes an adapter by.
MAMBA = {"mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"}
NOT_IN_MAMBA = r".*\.(out_proj|conv1d)"


@dataclass(frozen=True, slots=True)
class LowRank:
    """One layer's adapter: y += scaling * B A x, with a [r, I] and b [O, r]."""

    a: Tensor
    b: Tensor
    scaling: float


def peft_name(member: str) -> str:
    """PEFT's name for a member: the only adapter of a model is its "default"."""
    return member or "default"


def add_adapter(model: Any, adapter: AdapterConfig) -> Any:
    """PEFT layers put into the model in place, one for each member; returns PEFT's wrapper, which saves them.

    The adapter has the model's own type (the optimiser holds float32 masters). Of a model with an image or sound
    encoder only the text part gets one. Raises ConfigError when adapter.targets names no layer.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    excluded = [rf"{re.escape(name)}(\..*)?" for name in _other_parts(model)]
    excluded += [re.escape(name) for name, module in model.named_modules() if _is_more_than_linear(module)]
    if adapter.targets == "all-linear" and model.config.model_type in MAMBA:
        excluded.append(NOT_IN_MAMBA)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        use_rslora=adapter.rslora,
        target_modules=targets,
        exclude_modules="|".join(excluded) or None,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2 stores weights so
        task_type="CAUSAL_LM",
    )
    first, *others = (peft_name(member) for member in names(adapter))
    try:
        wrapped = get_peft_model(model, config, adapter_name=first, autocast_adapter_dtype=False)
    except ValueError as error:
        linear = sorted(
            {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        )
        raise ConfigError(
            f"adapter.targets = {targets}: {error}. This model's linear layers: {', '.join(linear)}."
        ) from None
    _check_loads_again(wrapped, first)
    for name in others:
        # The layers as they were found for the first: among the layers of an adapter no others are looked for.
        wrapped.add_adapter(name, copy.deepcopy(wrapped.peft_config[first]), autocast_adapter_dtype=False)
    return wrapped


def _check_loads_again(wrapped: Any, name: str) -> None:
    """Raise ConfigError when PEFT would lose a part of the saved adapter: it renames weights for some architectures."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    tensors = get_peft_model_state_dict(wrapped, adapter_name=name)
    result: Any = set_peft_model_state_dict(wrapped, tensors, adapter_name=name)
    lost = sorted(name for name in (*result.unexpected_keys, *result.missing_keys) if ".lora_" in name)
    if lost:
        layers = sorted({name.partition(".lora_")[0].rpartition(".")[2] for name in lost})
        raise ConfigError(
            f"PEFT does not load again what it saves of an adapter on {', '.join(layers)} of this architecture "
            f"({len(lost)} tensors, for example {lost[0]}). Name other layers, for example "
            '--set \'adapter.targets=["q_proj", "v_proj"]\''
        )


def _is_more_than_linear(module: Any) -> bool:
    """A linear layer of transformers' own making that does more than multiply, where an adapter would break the pass:
    the router of experts in Llama 4 and Phi-MoE, which returns three things, or DeepSeek V4's layer of groups."""
    if not isinstance(module, torch.nn.Linear) or not type(module).__module__.startswith("transformers.models."):
        return False
    try:
        with torch.no_grad():
            return not isinstance(module(module.weight.new_zeros(1, module.in_features)), Tensor)
    except RuntimeError:
        return True


def freeze_other_parts(model: Any) -> None:
    """Nothing but the text part is trained: no gradient ever reaches an image or sound encoder here."""
    for name in _other_parts(model):
        model.get_submodule(name).requires_grad_(False)


def _other_parts(model: Any) -> list[str]:
    """Names of the parts beside the text decoder: the submodules that neither hold it, nor are in it, nor are the head.
    Empty for a model of text alone."""
    if model.config.get_text_config(decoder=True) is model.config:
        return []
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    name_of = {id(module): name for name, module in model.named_modules()}
    text, top = name_of.get(id(decoder), ""), name_of.get(id(head), "")
    parts = []
    for name, module in model.named_modules():
        depth = name.count(".")
        holder = name.rpartition(".")[0]
        beside = holder == "" or text == holder or text.startswith(holder + ".")
        if name and beside and not (text + ".").startswith(name + ".") and name != top and depth <= text.count("."):
            parts += [name] if any(True for _ in module.parameters()) else []
    return parts


def adapter_layers(model: Any, member: str = "") -> dict[str, LowRank]:
    """The layers of one member by name. The tensors are the live parameters, not copies."""
    layers, key = {}, peft_name(member)
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and key in module.lora_A:
            a, b = (part[key].weight.detach() for part in (module.lora_A, module.lora_B))
            layers[name] = LowRank(a, b, float(module.scaling[key]))
    return layers


def adapter_parameters(model: Any, member: str) -> dict[str, torch.nn.Parameter]:
    """The trained parameters of one member by name: none of the base's, none of another member's."""
    own = re.compile(rf"\.lora_\w+\.{re.escape(peft_name(member))}(\.|$)")
    return {name: parameter for name, parameter in model.named_parameters() if own.search(name)}
