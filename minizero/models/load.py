"""Find and load a model and its tokenizer: the built-in tiny one, a directory, a GGUF file, a hub name; also 4-bit.

Reading order: locate, load; the tokenizer is in tokenizer.py.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.models.gguf import directory_of, is_gguf, unpack
from minizero.models.style import Style, style_of
from minizero.models.tokenizer import Think, Tokenizer, check_tokenizer, make_tokenizer
from minizero.types import MissingPackage, ModelError

if TYPE_CHECKING:
    import torch

    from minizero.config.schema import Config, ModelConfig

HUB_S = 10.0  # how long a hub may take to answer
TINY = Path(__file__).parents[1] / "tiny" / "weights"


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


def check_name(name: str, known: Collection[str] = ()) -> None:
    """Raise ModelError at once for a hub name that is nowhere to be had; `known`: names for "did you mean".

    What is in the local cache needs no hub. A hub that does not answer within seconds counts as none: the long retries
    of a download are for downloads.
    """
    source = locate(name)
    if Path(source).exists() or _is_cached(source):
        return
    near = difflib.get_close_matches(name.rpartition("/")[2], known, n=1, cutoff=0.7)
    hint = f" Did you mean {near[0]}?" if near else ""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(source, timeout=HUB_S)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"{name} is no directory here and no model on the hub.{hint} Give a model directory, a hub name such as "
            "Qwen/Qwen2.5-Coder-3B, or tiny."
        ) from None
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise ModelError(f"{name}: the hub answers {error.response.status_code}.{hint} Try again later.") from None
        raise ModelError(f"{name}: the hub asks for a login or for the model's terms. Run  hf auth login") from None
    except Exception as error:  # no network, offline mode, a proxy: each library has errors of its own for it
        raise ModelError(
            f"{name} is no directory here, it is not in the local cache, and the hub cannot be reached "
            f"({type(error).__name__}).{hint}"
        ) from None


def _is_cached(source: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(source, "config.json"), str)
    except ValueError:
        return False  # not even the form of a hub name


def load(config: ModelConfig, style: str = "auto", think: Think = "auto") -> LoadedModel:
    """Load the model of a config: weights in the compute type, evaluation mode, on its device.

    Raises ModelError before any weights load for what is no causal language model, and when the tokenizer lacks what
    self-play, or the prompt style, needs.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    # Not at the top: a run imports this file before its sandbox starts, whose processes must not inherit torch.
    from minizero.models.architecture import choose_attention
    from minizero.models.attention import register

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
    check_causal(config.name, shape)
    sizes = shape.get_text_config(decoder=True)
    eos = check_tokenizer(tokenizer, sizes, _generation(source), style)
    dtype = _dtype(config.dtype, device, sizes)
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
    known = make_tokenizer(tokenizer, sizes, eos, think)
    return LoadedModel(model, known, config.name, source, style_of(config.name, tokenizer, eos))


def check_positions(config: Config) -> None:
    """Raise ModelError, before weights load, where a prompt and its answer may be longer than the model reads."""
    from transformers import AutoConfig

    play = config.selfplay
    answer = max(play.propose_max_tokens, play.solve_max_tokens)
    try:
        sizes = AutoConfig.from_pretrained(locate(config.model.name)).get_text_config(decoder=True)
    except (OSError, ValueError):
        return  # what is wrong with the model is said when it loads
    known = getattr(sizes, "max_position_embeddings", None) or getattr(sizes, "n_positions", None)
    if known and play.max_prompt_tokens + answer > known:
        fits = f"--set selfplay.max_prompt_tokens={known - answer}" if answer < known else "shorter answers"
        raise ModelError(
            f"a prompt of selfplay.max_prompt_tokens = {play.max_prompt_tokens} and an answer of {answer} tokens are "
            f"{play.max_prompt_tokens + answer} together, but {config.model.name} reads {known}. Try  {fits}"
        )


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

    from minizero.models.attention import ATTENTION

    try:
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation=ATTENTION, **settings)
    except KeyError:  # Falcon and GPT-J look the name up in a list of their own, before weights are read
        return AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", **settings)


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


def _generation(source: str) -> dict[str, Any]:
    """generation_config.json, {} where there is none."""
    from transformers import GenerationConfig

    try:
        return dict(GenerationConfig.from_pretrained(source).to_dict())
    except (OSError, ValueError):
        return {}


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
    """config.json of a local model directory, as a dict; of a model that also sees images, the text part's values."""
    sizes = dict(json.loads((Path(source) / "config.json").read_text()))
    return sizes | dict(sizes.get("text_config") or {})
