"""Find and load a model and its tokenizer: the built-in tiny one, a directory, a GGUF file, a hub name; also 4-bit.

Reading order: locate, load; the tokenizer is in tokenizer.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.formatting import install
from minizero.models.architecture import choose_attention
from minizero.models.attention import ATTENTION, register
from minizero.models.files import check_weights, read_settings
from minizero.models.gguf import is_gguf, unpack
from minizero.models.names import locate
from minizero.models.processor import device_of, takes_float32
from minizero.models.style import Style, style_of
from minizero.models.tokenizer import Think, Tokenizer, check_tokenizer, make_tokenizer
from minizero.types import MissingPackage, ModelError

if TYPE_CHECKING:
    import torch

    from minizero.config.schema import ModelConfig


PROBE = "def f(x):\n    return x\n"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(slots=True)
class LoadedModel:
    """A causal language model on its device, and its tokenizer."""

    model: Any
    tokenizer: Tokenizer
    name: str
    source: str  # the directory or hub name it came from
    style: Style  # the prompts that suit it

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def load(config: ModelConfig, style: str = "auto", think: Think = "auto") -> LoadedModel:
    """Load the model of a config: weights in the compute type, evaluation mode, on its device.

    Raises ModelError before any weights load for what is no causal language model, and when the tokenizer lacks what
    self-play, or the prompt style, needs.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    # Not at the top: a run imports this file before its sandbox starts, whose processes must not inherit torch.

    transformers_logging.disable_progress_bar()  # the run has its own progress line
    source = locate(config.name)
    if is_gguf(config.name):
        unpack(Path(config.name).expanduser())
    device = device_of(config.device)
    if config.device == "cuda" and device != "cuda":
        raise ModelError(
            "model.device = cuda, but torch sees no CUDA card. Try --set model.device=cpu, or minizero doctor"
        )
    if Path(source).is_dir():
        read_settings(Path(source) / "config.json")
        check_weights(Path(source))
    try:
        shape = AutoConfig.from_pretrained(source)
    except Exception as error:  # what a damaged file makes transformers raise is of every kind
        raise ModelError(_explain(config.name, source, error)) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as error:  # tokenizers raises a bare Exception for a damaged tokenizer.json
        raise ModelError(_without_tokenizer(config.name, source, error)) from error
    if not tokenizer(PROBE, add_special_tokens=False)["input_ids"]:
        # Without its files transformers makes an empty tokenizer for some models, and says nothing.
        raise ModelError(_without_tokenizer(config.name, source, ValueError("it turns text into no tokens")))
    check_causal(config.name, shape)
    sizes = shape.get_text_config(decoder=True)
    try:
        eos = check_tokenizer(tokenizer, sizes, _generation(source), style)
    except ModelError as error:
        raise ModelError(f"{config.name}: {error}") from None
    dtype = compute_type(config.dtype, device, sizes)
    register()
    extra: dict[str, Any] = {}
    if config.quantization == "nf4":
        extra["quantization_config"] = _nf4(dtype)
        extra["device_map"] = {"": device}
    try:
        model = _load_weights(source, dtype=dtype, **extra)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
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
    known = make_tokenizer(tokenizer, sizes, eos, think)
    return LoadedModel(model, known, config.name, source, style_of(config.name, tokenizer, eos))


def check_causal(name: str, shape: Any) -> None:
    """Raise ModelError for an architecture whose next-token predictions transformers cannot compute."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(shape) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(
            f"{name}: transformers has no causal language model for {shape.model_type!r}, so there is nothing to train "
            "or to sample from. Take a text model; of a model that sees images, the text model that it was made from."
        )


def _load_weights(source: str, **settings: Any) -> Any:
    """The model with our attention; with its own where its code has no place for another."""
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation=ATTENTION, **settings)
    except KeyError:  # Falcon and GPT-J look the name up in a list of their own, before weights are read
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", **settings)


def compute_type(name: str, device: str, shape: Any) -> torch.dtype:
    """model.dtype, and what auto makes of it for a model with these sizes on such a device."""
    import torch

    if name != "auto":
        return getattr(torch, name)  # type: ignore[no-any-return]
    in_float32 = device == "cpu" and takes_float32(getattr(shape, "hidden_size", 4096))
    return torch.float32 if in_float32 else torch.bfloat16


def _nf4(dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingPackage("bitsandbytes", "model.quantization = nf4", install("qlora")) from None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _generation(source: str) -> dict[str, Any]:
    """generation_config.json, {} where there is none. Raises ModelError for a damaged one."""
    from transformers import GenerationConfig

    file = Path(source) / "generation_config.json"
    if file.is_file():
        read_settings(file)  # a damaged one may have named the tokens that end an answer
    try:
        return dict(GenerationConfig.from_pretrained(source).to_dict())
    except (OSError, ValueError):
        return {}


def _without_tokenizer(name: str, source: str, error: Exception) -> str:
    """Why there is no tokenizer: no file of one, or a damaged one."""
    there = [file for file in TOKENIZER_FILES if (Path(source) / file).is_file()]
    if not Path(source).is_dir() or there:
        return _explain(name, source, error) + (f" Copy or download {', '.join(there)} again." if there else "")
    return (
        f"{name}: there is no tokenizer in this directory (none of {', '.join(TOKENIZER_FILES)}). Copy the tokenizer "
        "files of the model beside its weights."
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
