"""The files of a model's or adapter's directory, looked at before anything loads: there, whole, of the right kind.

Reading order: read_settings, check_weights, read_adapter. Of weights only the header is read: it says how long a file
must be, so that a download that broke off is found in no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minizero.config.disk import read_object
from minizero.types import ModelError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_KEYS = ("peft_type", "r", "lora_alpha", "target_modules")


def read_settings(file: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON file such as config.json. Raises ModelError when it is missing, damaged, or has none of the `keys`."""
    try:
        found = read_object(file)
        if lacking := [key for key in keys if key not in found]:
            raise ValueError(f"{', '.join(lacking)} is missing")
    except ValueError as error:
        raise ModelError(f"{file} cannot be read ({error}). Copy or download it again.") from None
    return found


def check_weights(directory: Path) -> None:
    """Raise ModelError for a *.safetensors of the directory that is damaged, or shorter than its header says."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            size = f"{file.stat().st_size:,} bytes" if file.is_file() else "no file"
            raise ModelError(
                f"{file} ({size}): the weights are damaged or cut off ({error}). Copy or download the file again."
            ) from None


def read_adapter(directory: Path) -> dict[str, Any]:
    """The adapter_config.json of a whole PEFT adapter. Raises ModelError where it or the weights are not whole."""
    settings = read_settings(directory / "adapter_config.json", ADAPTER_KEYS)
    if not (directory / ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"{directory} holds no {ADAPTER_WEIGHTS}: the adapter is not whole. Copy it again.")
    check_weights(directory)
    return settings
