"""The files of a run directory as readers find them, whole or damaged: what can be read, and a sentence on the rest.

Reading order: read_manifest, read_metrics, read_rollouts; then Line and lines_of (JSON Lines), left_out.

The torn last line of a file that grows is no damage: a process was killed, or is writing. It is left out silently.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.config.disk import read_object
from minizero.formatting import why
from minizero.types import RunError

JsonRow = dict[str, Any]
TABLES = ("versions", "machine", "sandbox", "difference")  # of a manifest
NAMED = 3  # damaged lines that a sentence names


def read_manifest(run: Path) -> JsonRow:
    """manifest.json. Raises RunError when it is missing or no JSON object."""
    file = run / "manifest.json"
    try:
        data = read_object(file)
        if odd := [name for name in TABLES if not isinstance(data.get(name, {}), dict)]:
            raise ValueError(f"{odd[0]} is no object")
    except ValueError as error:
        raise RunError(
            f"{file} cannot be read ({error}). Restore it from a copy; where there is none, write {{}} into it: only "
            "what it says of machine and versions is lost."
        ) from None
    return data


def read_metrics(run: Path) -> tuple[list[JsonRow], list[str]]:
    """The rows of metrics.jsonl in their order, and a sentence on lines that are no numbers of a step, if there are
    any. Raises RunError when there is no such file."""
    file = run / "metrics.jsonl"
    rows: list[JsonRow] = []
    damaged: list[Line] = []
    for line in lines_of(file):
        problem = line.problem or _not_metrics(line.row)
        if problem:
            damaged.append(Line(line.number, {}, problem))
        else:
            rows.append(line.row)
    return rows, left_out(file, damaged, "an object with a step and numbers")


def read_rollouts(file: Path) -> list[JsonRow]:
    """The rows of one rollouts/step-N.jsonl.gz. Raises FileNotFoundError, or RunError when the file is damaged."""
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as stream:
            text = stream.read()
        if not text and not file.stat().st_size:
            raise ValueError("it is empty")
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RunError(
            f"{file} cannot be read ({why(error)}). What was written in this step is lost to report and replay; the "
            "run does not need it."
        ) from None
    rows: list[JsonRow] = []
    for line in _parsed(text.encode(), is_whole=True):
        if line.problem:
            raise RunError(f"{file}, line {line.number}: {line.problem}. Expected a rollout.")
        rows.append(line.row)
    return rows


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a JSON Lines file, counted from 1: its object, or what is wrong with it."""

    number: int
    row: JsonRow
    problem: str = ""


def lines_of(file: Path) -> Iterator[Line]:
    """Every line but empty ones and a torn last one. Raises RunError when the file cannot be read."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RunError(f"{file} cannot be read ({why(error)}).") from None
    yield from _parsed(data, is_whole=False)


def _parsed(data: bytes, *, is_whole: bool) -> Iterator[Line]:
    lines = data.split(b"\n")
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            if is_whole or number < len(lines):
                yield Line(number, {}, f"not JSON ({why(error)})")
            continue
        if isinstance(row, dict):
            yield Line(number, row)
        else:
            yield Line(number, {}, f"a {type(row).__name__}, not an object")


def left_out(file: Path, damaged: Sequence[Line], expected: str) -> list[str]:
    """One sentence for all damaged lines of a file, the first of them named; [] where there is none."""
    if not damaged:
        return []
    named = "; ".join(f"line {line.number}: {line.problem}" for line in damaged[:NAMED])
    more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return [f"{file.name}, {named}{more}. Expected {expected}; such lines are left out."]


def _not_metrics(row: JsonRow) -> str:
    step = row.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        return f"step is {step!r:.40}" if "step" in row else "no step"
    odd = [name for name, value in row.items() if not isinstance(value, int | float)]
    return f"{odd[0]} is {row[odd[0]]!r:.40}, no number" if odd else ""
