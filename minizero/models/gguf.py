"""GGUF files: their weights dequantised once into a model directory in a cache, which then loads like any other.

Reading order: is_gguf, directory_of (where the model will be), unpack (make it). transformers does the reading.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from minizero.config.disk import cache
from minizero.formatting import install
from minizero.types import MissingPackage, ModelError


def is_gguf(name: str) -> bool:
    """Whether a model name is the path of a GGUF file."""
    return name.lower().endswith(".gguf")


def directory_of(path: Path) -> Path:
    """The cache directory of a file; another size or time of change gives another."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Give the path of a GGUF file, a model directory or a hub name.")
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}/{stat.st_size}/{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    return cache() / "gguf" / f"{path.stem}-{key}"


def unpack(path: Path) -> Path:
    """Dequantise the file into its cache directory, unless that was done before; returns the directory.

    Raises ModelError for a file that is no GGUF or holds an architecture that transformers cannot read, before any
    weights are touched; MissingPackage without gguf.
    """
    directory = directory_of(path)
    if (directory / "config.json").is_file():
        return directory
    check_architecture(path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    partial = directory.with_name(f"{directory.name}.{os.getpid()}")
    try:
        given: dict[str, Any] = {"gguf_file": path.name}
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **given)
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(path.parent), dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **given
        )
        # The weights are plain now; what still says that they came packed would keep them from being saved.
        model.hf_quantizer, model.is_quantized = None, False
        model.config.__dict__.pop("quantization_config", None)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(directory)
    except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: this GGUF file cannot be turned into a model ({error}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def check_architecture(path: Path) -> None:
    """Raise ModelError when transformers cannot read what the file holds."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingPackage("gguf", f"{path.name}", install("gguf")) from None
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        field = GGUFReader(path).get_field("general.architecture")
        name = str(field.contents()) if field is not None else ""
    except (ValueError, OSError, IndexError) as error:
        raise ModelError(f"{path}: not a GGUF file ({error}).") from error
    if name not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ModelError(
            f"{path}: its architecture is {name or 'not named'}, which transformers does not read from GGUF. "
            f"It reads {', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}. "
            "Use the model's directory in Hugging Face format instead."
        )
