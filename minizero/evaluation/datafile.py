"""Find a benchmark's file and make sure that it is the one that is meant: rows and a hash, plain or gzipped.

Reading order: DataFile, find, read_rows. Where a file is looked for: what the user names, MINIZERO_DATA, the variable
that EvalPlus reads, EvalPlus's cache, and last the hub.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.types import EvaluationError, MissingPackage


@dataclass(frozen=True, slots=True)
class DataFile:
    """What is known of a file. `sha256` is of its content unzipped; "" where no hash was ever recorded."""

    names: tuple[str, ...]  # file names, the first is the usual one; .gz is tried too
    rows: int
    sha256: str
    override: str = ""  # environment variable with a path, as EvalPlus has
    hub: tuple[str, str] = ("", "")  # dataset repository on the hub and file in it
    home: str = ""  # where to get it by hand


def find(file: DataFile, where: Path | None) -> Path:
    """The path of the file. Raises EvaluationError with the places that were looked at."""
    if where is not None and where.is_file():
        return where
    places = []
    if where is not None:
        places.append(where)
    if named := os.environ.get("MINIZERO_DATA"):
        places.append(Path(named))
    if file.override and (override := os.environ.get(file.override)):
        if not Path(override).is_file():
            raise EvaluationError(
                f"{file.override} = {override}: no such file. Unset it, or point it at {file.names[0]}."
            )
        return Path(override)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalplus"
    for place in [*places, cache]:
        for name in file.names:
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    if where is None and file.hub[0]:
        return _from_hub(file)
    looked = ", ".join(map(str, [*places, cache]))
    raise EvaluationError(
        f"{file.names[0]}: not found in {looked}. Get it from {file.home or file.hub[0]} and name its directory with "
        "--data, or set MINIZERO_DATA."
    )


def read_rows(file: DataFile, where: Path | None) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file, checked. A file that the user names directly may be another version only if no
    hash is known; a wrong hash or number of rows is an EvaluationError, since scores would not be comparable."""
    path = find(file, where)
    content = read_unzipped(path)
    digest = hashlib.sha256(content).hexdigest()
    if file.sha256 and digest != file.sha256:
        raise EvaluationError(
            f"{path}: this is another version of {file.names[0]} (sha256 of the unzipped content {digest[:12]}..., "
            f"expected {file.sha256[:12]}...). Scores on it could not be compared with others; fetch it again."
        )
    rows = []
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: byte {error.start} is not UTF-8. Fetch the file again.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise EvaluationError(f"{path}, line {number}: not JSON ({error}). Fetch the file again.") from None
    if file.rows and len(rows) != file.rows:
        raise EvaluationError(f"{path}: {len(rows)} rows, expected {file.rows}. Fetch the file again.")
    return rows


def read_unzipped(path: Path) -> bytes:
    """The content of a file that may be gzipped."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}). Fetch it again.") from None


def _from_hub(file: DataFile) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingPackage("huggingface_hub", "fetching a benchmark", "pip install huggingface_hub") from None
    repository, name = file.hub
    try:
        return Path(hf_hub_download(repository, name, repo_type="dataset"))
    except Exception as error:  # its errors come from several libraries, and all mean the same here
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EvaluationError(
            f"{file.names[0]}: not on this machine, and the hub did not give {repository}/{name} ({first}). "
            "Name a directory that holds it with --data, or set MINIZERO_DATA."
        ) from None
