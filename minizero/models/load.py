"""Find and load a model and its tokenizer: the built-in tiny one, a directory, a GGUF file, a hub name; also 4-bit.

Reading order: locate, load; the tokenizer is in tokenizer.py.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.models.architecture import choose_attention
from minizero.models.attention import ATTENTION, register
from minizero.models.gguf import directory_of, is_gguf, unpack
from minizero.types import MissingPackage, ModelError, Prompt

if TYPE_CHECKING:
    import torch

    from minizero.config.schema import ModelConfig

TINY = Path(__file__).parents[1] / "tiny" / "weights"
@dataclass(slots=True)
class LoadedModel:
    """A causal language model on its device, and its tokenizer."""

    model: Any
    tokenizer: Tokenizer
    name: str
    source: str  # the directory or hub name it came from
    is_instruct: bool

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def locate(name: str) -> str:
    """The directory or hub name behind a model name. Raises ModelError for a directory that holds no model."""
    if name == "tiny":
        return str(TINY)
    path = Path(name).expanduser()
    if is_gguf(name):
        return str(directory_of(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{name} is a directory without config.json: not a model in Hugging Face format. "
                "Point model.name at the folder that holds config.json, model.safetensors and tokenizer.json."
            )
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(
            f"{name}: no such directory. Give a model directory, a hub name such as Qwen/Qwen2.5-Coder-3B, or tiny."
        )
    return name


def load(config: ModelConfig, style: str = "auto") -> LoadedModel:
    """Load the model of a config: weights in the compute type, evaluation mode, on its device.

    Raises ModelError before any weights load when the tokenizer lacks what self-play, or the prompt style, needs.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # the run has its own progress line
    source = locate(config.name)
    if is_gguf(config.name):
        unpack(Path(config.name).expanduser())
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "model.device = cuda, but torch sees no CUDA card. Try --set model.device=cpu, or minizero doctor"
        )
    try:
        shape = AutoConfig.from_pretrained(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ModelError(_explain(config.name, source, error)) from error
    eos = check_tokenizer(tokenizer, shape, source, style)
    dtype = _dtype(config.dtype, device, shape)
    register()
    extra: dict[str, Any] = {}
    if config.quantization == "nf4":
        extra["quantization_config"] = _nf4(dtype)
        extra["device_map"] = {"": device}
    try:
        model = _load_weights(source, dtype=dtype, **extra)
    except (OSError, ValueError) as error:
        raise ModelError(_explain(config.name, source, error)) from error
    if config.quantization == "none":
        model = model.to(torch.device(device))  # type: ignore[arg-type]
    module: Any
    for module in model.modules():
        # bitsandbytes repacks a 4-bit layer for a CPU's inference at its first call in evaluation mode; no gradient
        # passes it after that.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    model.eval()
    choose_attention(model)
    known = Tokenizer(tokenizer, eos, _pad_id(model, tokenizer))
    return LoadedModel(model, known, config.name, source, _is_instruct(source, tokenizer))


def _load_weights(source: str, **settings: Any) -> Any:
    """The model with our attention; with its own where its code has no place for another."""
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation=ATTENTION, **settings)
    except KeyError:  # Falcon and GPT-J look the name up in a list of their own, before weights are read
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", **settings)


def style_for(loaded: LoadedModel) -> str:
    """The prompt style that suits a model: compact for the tiny one, chat for instruct models, r1 for base models."""
    if loaded.name == "tiny":
        return "compact"
    return "chat" if loaded.is_instruct else "r1"


def _is_instruct(source: str, tokenizer: Any) -> bool:
    # Qwen's base models ship a chat template too, so the template alone does not tell.
    named = any(word in source.lower() for word in ("instruct", "chat", "-it"))
    return named and bool(getattr(tokenizer, "chat_template", None))


def _dtype(name: str, device: str, shape: Any) -> torch.dtype:
    import torch

    if name != "auto":
        return getattr(torch, name)  # type: ignore[no-any-return]
    small = getattr(shape, "hidden_size", 4096) <= 512
    return torch.float32 if device == "cpu" and small else torch.bfloat16


def _nf4(dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingPackage("bitsandbytes", "model.quantization = nf4", "pip install 'minizero[qlora]'") from None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def check_tokenizer(tokenizer: Any, shape: Any, source: str, style: str) -> tuple[int, ...]:
    """Every id that ends a sequence: the tokenizer's, the model's and its generation config's (Qwen has two). Raises
    ModelError when there is none, when an id is outside the vocabulary, or without the chat template that is asked."""
    if style == "chat" and not getattr(tokenizer, "chat_template", None):
        raise ModelError(NO_TEMPLATE)
    ids: set[int] = set()
    named = (tokenizer.eos_token_id, _generation(source).get("eos_token_id"), getattr(shape, "eos_token_id", None))
    for eos in named:
        ids |= {eos} if isinstance(eos, int) else set(eos or ())
    if not ids:
        raise ModelError(
            "neither the tokenizer nor the model names an end-of-sequence token; generation could not stop. Set "
            "eos_token in its tokenizer_config.json."
        )
    if max(ids) >= shape.vocab_size:
        raise ModelError(
            f"the token that ends a sequence has id {max(ids)}, but the model knows {shape.vocab_size} tokens: this "
            "tokenizer belongs to another model. Compare the tokenizer files with those of the model's publisher."
        )
    return tuple(sorted(ids))


def _generation(source: str) -> dict[str, Any]:
    """generation_config.json, {} where there is none."""
    from transformers import GenerationConfig

    try:
        return dict(GenerationConfig.from_pretrained(source).to_dict())
    except (OSError, ValueError):
        return {}


def _pad_id(model: Any, tokenizer: Any) -> int:
    return next(
        i for i in (tokenizer.pad_token_id, model.config.pad_token_id, tokenizer.eos_token_id, 0) if isinstance(i, int)
    )


def _explain(name: str, source: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if Path(source).is_dir():
        have = ", ".join(sorted(p.name for p in Path(source).iterdir())[:8])
        return f"{name}: this directory cannot be loaded as a model ({first}). It holds: {have}"
    offline = (
        " HF_HUB_OFFLINE is set, so only downloaded models are found."
        if os.environ.get("HF_HUB_OFFLINE") == "1"
        else ""
    )
    return f"{name}: not a local directory, and the model hub did not give it ({first}).{offline}"


def architecture(source: str) -> dict[str, Any]:
    """config.json of a local model directory, as a dict."""
    return dict(json.loads((Path(source) / "config.json").read_text()))
