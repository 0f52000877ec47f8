"""The host's end of a zygote: start it, hand it requests, read its messages, end it.

Reading order: Zygote.start, run, close, then what a request and a message are made of.
"""

import contextlib
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sandbox import codec, frames
from sandbox.types import Job, Limits, Result, SandboxError, Status, Unprotected

# The package is registered by hand so that a zygote loads child-side modules only, none of the host's.
BOOT: Final = (
    "import sys, types; package = types.ModuleType('sandbox'); package.__path__ = [sys.argv[1]]; "
    "sys.modules['sandbox'] = package; from sandbox.zygote import main; main(int(sys.argv[2]))"
)
PATIENCE_S: Final = 60.0
"""How long beyond a job's own wall limit a zygote may be silent before it is given up."""


CLOSE_S: Final = 2.0
"""How long a zygote may take to end before it is killed."""


class ZygoteLost(SandboxError):
    """The zygote died or fell silent; the job it had is to be repeated elsewhere."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a zygote is to be started."""

    variant: int
    """0 for ordinary jobs; others differ in hash seed, addresses, clock and random state."""
    imports: str
    packages: tuple[str, ...]
    package_paths: tuple[str, ...]
    without: tuple[str, ...]
    unsafe: bool


class Zygote:
    """A running zygote process and the socket to it. Not thread-safe: one job at a time."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.channel, theirs = socket.socketpair()
        _channels.add(self.channel)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-B", "-c", BOOT, str(Path(__file__).parent), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                # Clean: a child can read the environment that its zygote started with from its own stack.
                env={"PYTHONHASHSEED": str(setup.variant + 1), "PYTHONUTF8": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            frames.send(self.channel, codec.encode({**asdict(setup)}))
        except OSError as error:
            raise ZygoteLost(f"the zygote did not start: {error}") from None

    def hello(self) -> dict[str, Any]:
        """Wait until the zygote is ready; what it says about itself. Raises SandboxError when it refuses."""
        report = self._receive(PATIENCE_S)
        if report["unprotected"] and not self.setup.unsafe:
            raise Unprotected(
                f"untrusted code would not be contained here: {report['unprotected']}. Run on Linux (x86_64, aarch64) "
                "with seccomp, or accept the risk with Sandbox(unsafe=True)"
            )
        return dict(report)

    def run(self, request: bytes, expected: int, silence_s: float) -> Iterator[tuple[str, bytes, float, float, bytes]]:
        """Send a request and yield its `expected` messages. Raises ZygoteLost."""
        try:
            frames.send(self.channel, request)
        except OSError as error:
            raise ZygoteLost(str(error)) from None
        for _ in range(expected):
            yield self._receive(silence_s + PATIENCE_S)

    def _receive(self, silence_s: float) -> Any:
        try:
            self.channel.settimeout(silence_s)
            message = codec.decode(frames.receive(self.channel), max_bytes=1 << 32)
        except (OSError, EOFError, codec.InvalidValue) as error:
            raise ZygoteLost(f"{type(error).__name__}: {error}") from None
        if isinstance(message, dict) and "failure" in message:
            raise ZygoteLost(message["failure"])
        return message

    def hang_up(self) -> None:
        """Let the zygote end: it does when its socket is closed, and takes its job along."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        self.channel.close()

    def close(self) -> None:
        """End the zygote and whatever it is running, and wait for it."""
        self.hang_up()
        try:
            self.process.wait(timeout=CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_channels: "weakref.WeakSet[socket.socket]" = weakref.WeakSet()


def _forget_channels() -> None:
    # A fork of the host (a data loader, say) must not keep zygotes alive after the host is gone.
    for channel in list(_channels):
        channel.close()


os.register_at_fork(after_in_child=_forget_channels)


def request_of(job: Job, inputs: list[bytes], limits: Limits) -> bytes:
    """What a zygote is told about a job."""
    request = {
        "program": job.program,
        "entry": job.entry,
        "inputs": inputs,
        "stdin": job.stdin,
        "fresh_globals": job.fresh_globals,
        "digest_above": job.digest_above,
        "limits": asdict(limits),
    }
    return codec.encode(request, max_bytes=1 << 32)


def result_of(message: tuple[str, bytes, float, float, bytes], limits: Limits, script: bool) -> Result:
    """Read one message. A claim is the program's word, so whatever does not decode makes the job `crashed`."""
    kind, body, wall_s, cpu_s, printed = message
    text = printed.decode("utf-8", "replace")
    if kind == "exited":
        return Result(Status.OK, value=text, stdout=text, wall_s=wall_s, cpu_s=cpu_s)
    if kind != "claim":
        return Result(Status(kind), message=body.decode(), stdout=text, wall_s=wall_s, cpu_s=cpu_s)
    try:
        status, error_type, said, value_bytes, digest, stdout = _claim(body)
        value = codec.decode(value_bytes, max_bytes=limits.result_bytes) if value_bytes else None
        result_status = Status(status)
    except (codec.InvalidValue, TypeError, ValueError) as error:
        return Result(Status.CRASHED, message=f"a malformed result: {error}", wall_s=wall_s, cpu_s=cpu_s)
    if script:
        value, stdout = (text if result_status is Status.OK else None), text
    return Result(result_status, value, error_type, said, stdout[: limits.stdout_bytes], wall_s, cpu_s, digest)


def _claim(body: bytes) -> tuple[str, str, str, bytes, str, str]:
    claim = codec.decode(body, max_bytes=len(body))
    if type(claim) is not tuple or [type(part) for part in claim] != [str, str, str, bytes, str, str]:
        raise codec.InvalidValue("malformed", "not the shape of a claim")
    return claim
