"""What minizero keeps on this machine's disk, and how: every wing reads and writes whole files by the same means.

Reading order: cache; write_whole, write_json, read_object; SIX_DIGITS and checkpoints, the names inside a run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minizero.formatting import why

SIX_DIGITS = "[0-9]" * 6  # of a step, in the names of its files; what is called otherwise is not ours


def cache() -> Path:
    """The folder for what can be made again: $MINIZERO_CACHE, else minizero/ in $XDG_CACHE_HOME, else in ~/.cache. An
    empty variable counts as none. The folder may not be there yet."""
    if own := os.environ.get("MINIZERO_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minizero"


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a whole file at once: readers see the old one or the new one. Text is written as UTF-8.

    What a killed process leaves is beside it, NAME.partial. Raises OSError.
    """
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data.encode() if isinstance(data, str) else data)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a whole file of JSON, indented by one: what a person may look into."""
    write_whole(path, json.dumps(value, indent=1) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises ValueError that says in a few words, without the path, why there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(why(error)) from None
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__}, not an object")
    return found


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run directory, the newest last; [] where there is none. One that is being written does not
    count, nor does a folder that somebody else put beside them."""
    return sorted((run / "checkpoints").glob(f"step-{SIX_DIGITS}"))
