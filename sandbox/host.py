"""The host's end of a zygote: start it, hand it requests, read its messages, end it.

Reading order: Setup, Zygote (start, hello, run, close), then what results are made of.
"""

import contextlib
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from sandbox import codec, frames
from sandbox.task import ELSEWHERE, Task, pack
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


CLAIMABLE: Final = (
    Status.OK,
    Status.ERROR,
    Status.MEMORY,
    Status.OUTPUT_LIMIT,
    Status.NOT_SERIALISABLE,
    Status.DENIED,
)
"""Ends that a process can tell of itself; the others are seen from outside."""


class Elsewhere(Exception):
    """The program asked for a module that is allowed but not at hand in this zygote: run it where everything is."""


class ZygoteLost(SandboxError):
    """The zygote died or fell silent; the job it had is to be repeated elsewhere."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a zygote is to be started."""

    variant: int
    """0 for ordinary jobs; others differ in hash seed, addresses, clock and random state."""
    imports: str
    at_hand: bool
    """Load only what most programs need; a job that asks for more ends with Elsewhere."""
    packages: tuple[str, ...]
    package_paths: tuple[str, ...]
    without: tuple[str, ...]
    unsafe: bool


class Zygote:
    """A running zygote process and the socket to it. Not thread-safe: one job at a time."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.silence_s, self.room = PATIENCE_S, 0
        try:
            self.channel, theirs = socket.socketpair()
        except OSError as error:
            raise SandboxError(f"no zygote can be started: {error}") from None
        _channels.add(self.channel)
        command = [sys.executable, "-s", "-S", "-P", "-B", "-c", BOOT, str(Path(__file__).parent), str(theirs.fileno())]
        try:
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno()],
                    # Clean: a child can read the environment that its zygote started with from its own stack.
                    env=_environment(setup.variant),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            self.channel.close()
            raise SandboxError(f"no zygote can be started: {error}") from None
        try:
            frames.send(self.channel, codec.encode({**asdict(setup)}))
        except OSError as error:
            self.close()
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

    def run(self, job: Job, inputs: list[bytes], limits: Limits, shift_every: int = 0) -> Iterator[Result]:
        """Run a job and yield one result per input (or one, for a script). Raises ZygoteLost.

        After an input on which the process had to be ended, the remaining ones run in a new one.
        """
        wanted = 1 if job.args is None else len(inputs)
        done = ended = 0
        self.room = max(limits.batch_bytes, limits.result_bytes + limits.stdout_bytes)
        while done < wanted:
            if ended >= limits.timeouts_per_batch:
                yield Result(Status.TIMEOUT, message="not run: the program was ended on earlier inputs already")
                done += 1
                continue
            self._send(job, inputs[done:], limits, shift_every)
            whole = True
            while whole and done < wanted:
                result, whole = self._result(job, limits, wanted - done - 1)
                yield result
                done += 1
            ended += 1

    def _send(self, job: Job, inputs: list[bytes], limits: Limits, shift_every: int) -> None:
        stdin = job.stdin if job.args is None else None
        body = pack(
            Task(
                job.program, job.entry, inputs, stdin, job.fresh_globals, job.digest_above,
                limits.result_bytes, limits.stdout_bytes,
            )
        )  # fmt: skip
        script = job.args is None
        head = {"limits": asdict(limits), "wanted": 1 if script else len(inputs), "script": script, "size": len(body)}
        if shift_every:
            head["shift_every"] = shift_every
        self.silence_s = limits.wall_s + PATIENCE_S
        try:
            self.channel.settimeout(self.silence_s)
            frames.send(self.channel, codec.encode(head))
            self.channel.sendall(body)
        except OSError as error:
            raise ZygoteLost(str(error)) from None

    def _result(self, job: Job, limits: Limits, left: int) -> tuple[Result, bool]:
        """One result, and whether the process goes on to the inputs that are left. Raises Elsewhere."""
        message = self._message()
        if self.setup.at_hand and _wants_more(message):
            # What else there is to read, or the next job would be given it: what a script has printed, or how the
            # process ended before its other inputs. One that forged this claim may go on claiming.
            for _ in range(1 if job.args is None else left):
                if message.kind == "claim" and message.whole:
                    message = self._message()
            raise Elsewhere
        if job.args is None:
            return result_of_script(message, self._message(), limits), False
        self.room -= len(message.body)
        if self.room < 0:
            words = f"the results of one batch take more than {limits.batch_bytes} bytes together"
            result = Result(Status.OUTPUT_LIMIT, message=words, wall_s=message.wall_s, cpu_s=message.cpu_s)
        else:
            result = result_of(message, limits)
        return result, message.kind == "claim" and message.whole

    def _message(self) -> "Message":
        kind, text, wall_s, cpu_s, size = self._receive(self.silence_s)
        if not size and kind not in ("claim", "printed"):
            return Message(kind, text, wall_s, cpu_s, b"", True)
        try:
            body = frames.receive_exactly(self.channel, size)
            whole = frames.receive_exactly(self.channel, 1) == b"\1"
        except (OSError, EOFError) as error:
            raise ZygoteLost(str(error)) from None
        return Message(kind, text, wall_s, cpu_s, body, whole)

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


def _environment(variant: int) -> dict[str, str]:
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    return {"PYTHONHASHSEED": str(variant + 1), "PYTHONUTF8": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8", **single, **needed}


@dataclass(frozen=True, slots=True)
class Message:
    """What a zygote says about one input: a claim, or how the process ended; or what a script has printed."""

    kind: str
    text: str
    wall_s: float
    cpu_s: float
    body: bytes
    whole: bool
    """False when the process was ended while it wrote its claim."""


def _wants_more(message: Message) -> bool:
    """Whether this is the claim of a job that left. A program may forge it, and is run once more for its pains."""
    try:
        return message.kind == "claim" and message.whole and _claim(message.body)[0] == ELSEWHERE
    except (codec.InvalidValue, TypeError, ValueError):
        return False


def result_of(message: Message, limits: Limits) -> Result:
    """Read one message. A claim is the program's word, so whatever does not decode makes the job `crashed`."""

    def failed(status: Status, words: str) -> Result:
        return Result(status, message=_clean(words[:4000]), wall_s=message.wall_s, cpu_s=message.cpu_s)

    if message.kind == "exited":
        return failed(Status.CRASHED, message.text)
    if message.kind != "claim":
        return failed(Status(message.kind), message.text)
    if not message.whole:
        return failed(Status.CRASHED, "the program ended, or was ended, while it wrote its result")
    try:
        status, error_type, said, value_bytes, digest, stdout = _claim(message.body)
        result_status = Status(status)
        if result_status not in CLAIMABLE:
            raise ValueError(f"a program cannot say of itself that it ended as {status}")
        ok = result_status is Status.OK
        value = codec.decode(value_bytes, max_bytes=limits.result_bytes) if ok and value_bytes else None
    except (codec.InvalidValue, TypeError, ValueError) as error:
        if isinstance(error, codec.InvalidValue) and error.reason == "size":
            return failed(Status.OUTPUT_LIMIT, str(error))
        return failed(Status.CRASHED, f"a malformed result: {error}")
    kept = _clean(stdout[: limits.stdout_bytes])
    times = message.wall_s, message.cpu_s
    return Result(
        result_status, value, _clean(error_type[:200]), _clean(said[:4000]), kept, *times, _clean(digest[:64])
    )


def _clean(text: str) -> str:
    """Without lone surrogates, which could not be written to any file."""
    return text.encode("utf-8", "replace").decode("utf-8")


def result_of_script(message: Message, printed: Message, limits: Limits) -> Result:
    """A script's claim says whether it failed; what it has printed is its value."""
    text = printed.body.decode("utf-8", "replace")
    result = result_of(message, limits)
    if message.kind == "exited":
        result = replace(result, status=Status.OK, message="")
    if printed.text:
        return replace(result, status=Status.OUTPUT_LIMIT, message="more standard output than the limit", stdout=text)
    return replace(result, value=text if result.status is Status.OK else None, stdout=text)


def _claim(body: bytes) -> tuple[str, str, str, bytes, str, str]:
    claim = codec.decode(body, max_bytes=len(body) + 64)  # room for the one container that a claim is
    if type(claim) is not tuple or [type(part) for part in claim] != [str, str, str, bytes, str, str]:
        raise codec.InvalidValue("malformed", "not the shape of a claim")
    return claim
