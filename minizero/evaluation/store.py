"""Files that only grow: one JSON row a line, a last line that an interruption tore is cut off.

Reading order: read_whole_lines, append.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minizero.types import EvaluationError


def read_whole_lines(path: Path) -> list[str]:
    """The lines of a file that only grows. A last line without its end was torn by an interruption: it is cut off, in
    the file too, so that what is appended next starts on a line of its own. Raises EvaluationError for a file that
    cannot be read, or is no text."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror}).") from None
    try:
        content[: content.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise EvaluationError(
            f"{path}, line {number}: byte {error.start} is not UTF-8. Remove that line, or the file: what it held is "
            "made anew."
        ) from None
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return content[:end].decode("utf-8").splitlines()


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows in one write."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
