"""A job as a child reads it: the one message that goes from the host through a zygote to the process that runs it.

Reading order: Task, pack (host), unpack (child). Plain lengths and numbers rather than the codec of values: each child
reads one before anything else happens, and our own host wrote it.
"""

import struct
from typing import Final, NamedTuple

from sandbox import frames

ELSEWHERE: Final = "elsewhere"
"""What a child claims instead of a status when its program wants an allowed module that its zygote has not loaded."""
_NUMBERS: Final = struct.Struct(">??qQQ")


class Task(NamedTuple):
    """A program and what to run it on."""

    program: str
    entry: str
    inputs: list[bytes]
    """Encoded (args, kwargs), one for each run; empty for a script."""
    stdin: str | None
    """Standard input of a script; None for a function."""
    fresh_globals: bool
    digest_above: int | None
    result_bytes: int
    stdout_bytes: int


def pack(task: Task) -> bytes:
    """The task as bytes."""
    above = -1 if task.digest_above is None else task.digest_above
    numbers = _NUMBERS.pack(task.fresh_globals, task.stdin is not None, above, task.result_bytes, task.stdout_bytes)
    texts = (text.encode("utf-8", "surrogatepass") for text in (task.program, task.entry, task.stdin or ""))
    return frames.joined([numbers, *texts, *task.inputs])


def unpack(request: bytes) -> Task:
    """What `pack` wrote."""
    numbers, program, entry, stdin, *inputs = frames.parted(request)
    fresh_globals, script, above, result_bytes, stdout_bytes = _NUMBERS.unpack(numbers)
    return Task(
        program.decode("utf-8", "surrogatepass"),
        entry.decode("utf-8", "surrogatepass"),
        inputs,
        stdin.decode("utf-8", "surrogatepass") if script else None,
        fresh_globals,
        None if above < 0 else above,
        result_bytes,
        stdout_bytes,
    )
