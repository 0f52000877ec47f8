"""The text that calls a function on test inputs inside the sandbox. No expected result is ever part of it.

Reading order: program (solution, inputs and driver in one text), then the driver. Inputs stand in parts of at most
PART; a call `run(part, False)` gives a digest of the part's results, the place of the first that is a float (or floats
alone), and their length in characters; `run(part, True)` gives the results themselves. A program that can tell the
digest of the right results can also compute them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sandbox.values import render

PART = 64
ENTRY = "minizero_run_part"
LARGE = 1 << 30  # bytes; inputs are ours


def parts_of(inputs: Sequence[Any], size: int = PART) -> list[Sequence[Any]]:
    """The inputs in parts, in order."""
    return [inputs[i : i + size] for i in range(0, len(inputs), size)]


def literals(parts: Sequence[Sequence[Any]], is_json: bool) -> list[str]:
    """Source text of each part. JSON is read many times faster than source, but knows lists only."""
    if is_json:
        return [f"lambda: __import__('json').loads({json.dumps(part)!r})" for part in parts]
    return [f"lambda: {render(list(part), max_bytes=LARGE)}" for part in parts]


def program(solution: str, entry: str, inputs: Sequence[str], oracle: str = "") -> str:
    """The solution, then the driver. `inputs` are literals; a solution may spoil the driver, not gain by it."""
    is_any = repr(oracle == "not-none")
    text = _DRIVER.replace("FUNCTION", entry).replace("IS_ANY", is_any).replace("PARTS", ",\n".join(inputs))
    return f"{solution}\n\n{text}"


_DRIVER = """
def minizero_run_part(part, wants_values):
    import hashlib

    def plain(value):
        # Subclasses of the value types, such as Counter and namedtuple, are equal to their plain kin.
        if value is None or type(value) in (bool, int, float, str, complex, bytes):
            return value
        for kind in (list, tuple, set, frozenset):
            if isinstance(value, kind):
                return kind(plain(member) for member in value)
        if isinstance(value, dict):
            return {plain(key): plain(member) for key, member in value.items()}
        for kind in (int, float, str, bytes):
            if isinstance(value, kind):
                return kind(value)
        return value

    def short(value):
        if type(value) is int and value.bit_length() > 10000:
            return ("long", hex(value))
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(short(member) for member in value)
        if type(value) is dict:
            return {short(key): short(member) for key, member in value.items()}
        return value

    def is_floats(value):
        if type(value) in (list, tuple):
            return bool(value) and all(isinstance(member, float) for member in value)
        return isinstance(value, float)

    function, results = globals()["FUNCTION"], []
    for arguments in minizero_parts[part]():
        result = function(*arguments)
        results.append(result if not IS_ANY or isinstance(result, bool) else result is not None)
    if wants_values:
        return plain(results)
    try:
        text = repr(results)
    except ValueError:  # an integer of more than 4300 digits: in decimal it would take quadratic time
        text = repr(short(plain(results)))
    floats = (place for place, result in enumerate(results) if is_floats(result))
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), next(floats, None), len(text)]


minizero_parts = (
PARTS,
)
"""
