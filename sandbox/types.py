"""The nouns of the sandbox: what goes in (Limits, Job), what comes out (Status, Result, Determinism), what can fail.

Reading order: errors, Limits, Job, Status, Result, Determinism. All of it is plain data; what goes in is checked when
it is made, so that a mistake is told where it was made and not by a zygote that falls over it.
"""

import enum
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Imports = Literal["training", "stdlib"]
"""Which modules a program may import: the harmless ones (modules.py), or the whole standard library."""

_LARGEST: Final = {
    "cpu_s": 604_800, "wall_s": 604_800, "memory_mib": 1 << 24, "result_bytes": 1 << 32, "stdout_bytes": 1 << 32,
    "batch_bytes": 1 << 32, "timeouts_per_batch": 1 << 32,
}  # fmt: skip
"""What a limit may be at most: a week, 16 TiB, 4 GiB. More is a mistake, and more than the system's calls take."""


class SandboxError(Exception):
    """The sandbox itself cannot do its work; never the fault of a program."""


class Unprotected(SandboxError):
    """A protection that untrusted code needs is missing, or the self-test found that one does not hold."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use. In run_many, times hold for each input; the rest for the process that runs them."""

    cpu_s: float = 1.0
    """Processor seconds. Exceeding it is a timeout."""
    wall_s: float = 4.0
    """Seconds by the clock, generous because other jobs share the cores. Exceeding it is a timeout."""
    memory_mib: int = 512
    """Address space on top of what the interpreter itself has mapped, in MiB."""
    result_bytes: int = 1 << 20
    """Largest encoded result (or standard output of a job with stdin), in bytes. Containers count a little more."""
    stdout_bytes: int = 64 << 10
    """How much of what a function prints is kept, in bytes; the rest is dropped."""
    batch_bytes: int = 64 << 20
    """In run_many: largest total of encoded results, if it is more than one result may take; later ones are dropped."""
    timeouts_per_batch: int = 2
    """In run_many: inputs that may be killed before the remaining ones are reported without being run."""

    def __post_init__(self) -> None:
        for name, most in _LARGEST.items():
            value = getattr(self, name)
            kinds = (int, float) if name in ("cpu_s", "wall_s") else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise TypeError(f"Limits.{name}: expected {_either(kinds)}, saw {type(value).__name__}")
            if not 0 < value <= most or not math.isfinite(value):
                raise ValueError(f"Limits.{name} = {_seen(value)}: expected a number above 0, at most {most}")


@dataclass(frozen=True, slots=True)
class Job:
    """One execution: call `entry` of the program with `args`, or (args=None, stdin=...) run it as a whole script."""

    program: str
    entry: str = "f"
    args: str | None = None
    """Source text of an argument list of values, e.g. `1, [2], key="a"`. It is parsed, never evaluated."""
    stdin: str | None = None
    """Standard input of a whole script; its standard output is the value."""
    fresh_globals: bool = True
    """In run_many: execute the program anew for each input, rather than once for all."""
    imports: Imports = "training"
    digest_above: int | None = None
    """Return only a digest (values.digest) of a result whose encoding is longer than this many bytes."""
    limits: Limits | None = None
    """Limits of this job instead of the sandbox's own."""

    def __post_init__(self) -> None:
        for name, kinds in _JOB_TYPES.items():
            if type(value := getattr(self, name)) not in kinds:
                raise TypeError(f"Job.{name}: expected {_either(kinds)}, saw {type(value).__name__}")
        if self.imports not in _IMPORTS:
            raise ValueError(f"Job.imports = {self.imports[:40]!r}: expected one of {', '.join(_IMPORTS)}")
        if self.digest_above is not None and not 0 <= self.digest_above <= 1 << 32:
            raise ValueError(f"Job.digest_above = {_seen(self.digest_above)}: expected from 0 to {1 << 32} bytes")


_IMPORTS: Final = get_args(Imports)
_JOB_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "program": (str,), "entry": (str,), "args": (str, type(None)), "stdin": (str, type(None)),
    "fresh_globals": (bool,), "imports": (str,), "digest_above": (int, type(None)), "limits": (Limits, type(None)),
}  # fmt: skip


def _seen(number: float) -> str:
    return str(number) if abs(number) < 1 << 64 or isinstance(number, float) else "a huge number"


def _either(kinds: tuple[type, ...]) -> str:
    return " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)


class Status(enum.StrEnum):
    """How a job ended. Only OK has a value."""

    OK = "ok"
    ERROR = "error"
    """The program raised, or its arguments are not values; error_type and message say what."""
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output-limit"
    NOT_SERIALISABLE = "not-serialisable"
    """The result is not a value (values.is_value)."""
    CRASHED = "crashed"
    """The process died or spoiled its result channel."""
    DENIED = "denied"
    """The program failed on something the sandbox forbids: a module, a file, a socket, a process."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one execution claims. The program made it, so it proves nothing about anything but the program."""

    status: Status
    value: Any = None
    error_type: str = ""
    message: str = ""
    stdout: str = ""
    """What the program printed, up to Limits.stdout_bytes."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    digest: str = ""
    """values.digest of the result, when Job.digest_above asked for it; the value is then None."""

    @property
    def ok(self) -> bool:
        """Whether there is a value (or a digest of one)."""
        return self.status is Status.OK


@dataclass(frozen=True, slots=True)
class Determinism:
    """Two runs in differently started processes: the first result, whether the second agrees, what differed if not."""

    result: Result
    agrees: bool
    difference: str = ""
