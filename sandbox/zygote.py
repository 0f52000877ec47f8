"""The zygote: a clean interpreter that forks one child per job, watches it, and passes its claims to the host.

Reading order: main (start, then one job after another), Zygote.run, watch, and how an end is told from a wait status.
The zygote never runs a program, never decodes what a child wrote, and lives exactly as long as the host's end of its
socket.
"""

import gc
import importlib
import os
import resource
import secrets
import select
import signal
import socket
import sys
import time
import warnings
from typing import Any, Final

from sandbox import child, codec, frames, modules
from sandbox.child import Task

CLAIM_ROOM: Final = 64 << 10
"""Bytes that a claim may have beyond its result and stdout: names, messages, framing."""
GRACE_S: Final = 0.5
"""How long a child that closed its channel may take to exit before it counts as hiding."""


def main(descriptor: int) -> None:
    """Serve the host on this socket until it is closed."""
    channel = socket.socket(fileno=descriptor)
    setup = codec.decode(frames.receive(channel), max_bytes=1 << 32)
    try:
        zygote = Zygote(channel, setup)
    except BaseException as error:
        frames.send(channel, codec.encode({"failure": f"{type(error).__name__}: {error}"}))
        raise SystemExit(1) from None
    frames.send(channel, codec.encode({"layers": zygote.layers}))
    while True:
        try:
            request = codec.decode(frames.receive(channel), max_bytes=1 << 32)
        except EOFError:
            os._exit(0)
        zygote.run(request)


class Zygote:
    """State that every fork shares: loaded modules, /dev/null, the address space that the interpreter itself takes."""

    def __init__(self, channel: socket.socket, setup: dict[str, Any]) -> None:
        self.channel = channel
        self.importable = modules.allowed_modules(setup["imports"], tuple(setup["packages"]))
        warnings.simplefilter("ignore")
        for name in (*modules.preloaded_modules(setup["imports"]), *setup["packages"]):
            try:
                importlib.import_module(name)
            except ImportError:
                if name in setup["packages"]:
                    raise
        sys.path.clear()
        self.silent = os.open(os.devnull, os.O_RDWR)
        self.layers: dict[str, str] = {}
        gc.collect()
        gc.freeze()
        gc.disable()

    def run(self, request: dict[str, Any]) -> None:
        """Run one job, sending one message per input: (kind, claim or reason, wall_s, cpu_s, script output)."""
        limits = request["limits"]
        stdin = request["stdin"]
        task = Task(
            program=request["program"],
            entry=request["entry"],
            inputs=request["inputs"],
            script=stdin is not None,
            fresh_globals=request["fresh_globals"],
            digest_above=request["digest_above"],
            result_bytes=limits["result_bytes"],
            stdout_bytes=limits["stdout_bytes"],
        )
        wanted = 1 if task.script else len(task.inputs)
        done = killed = 0
        while done < wanted:
            if killed and killed >= limits["timeouts_per_batch"]:
                self.tell("timeout", b"not run: earlier inputs of the same program were killed", 0.0, 0.0)
                done += 1
                continue
            finished = Watch(self, task, limits, stdin, done).until_end(wanted)
            done += finished
            killed += 1

    def tell(self, kind: str, body: bytes, wall_s: float, cpu_s: float, printed: bytes = b"") -> None:
        frames.send(self.channel, codec.encode((kind, body, wall_s, cpu_s, printed), max_bytes=1 << 32))


class Watch:
    """One child, from fork to reaping."""

    def __init__(self, zygote: Zygote, task: Task, limits: dict[str, Any], stdin: str | None, first: int) -> None:
        self.zygote, self.task, self.limits, self.first = zygote, task, limits, first
        self.script_in = self.script_out = None
        if stdin is not None:
            self.script_in, self.script_out = os.memfd_create("stdin"), os.memfd_create("stdout")
            frames.write_all(self.script_in, stdin.encode("utf-8", "surrogatepass"))
            os.lseek(self.script_in, 0, os.SEEK_SET)
        self.nonce = secrets.token_bytes(frames.NONCE_BYTES)
        self.pipe, pipe_in = os.pipe()
        self.started = time.monotonic()
        self.cpu_before = 0.0
        self.pid = os.fork()
        if self.pid == 0:
            self.become_child(pipe_in)
        os.close(pipe_in)

    def become_child(self, pipe_in: int) -> None:
        try:
            channel = child.seal_descriptors(pipe_in, self.zygote.silent, self.script_in, self.script_out)
            largest = self.limits["result_bytes"] + 1 if self.task.script else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            child.run_task(self.task, self.first, channel, self.nonce, self.zygote.importable)
            os._exit(0)
        finally:
            os._exit(99)

    def until_end(self, wanted: int) -> int:
        """Pass claims on until all have come or the child is over; returns how many inputs are now accounted for."""
        buffer, finished, reason = bytearray(), 0, ""
        cap = self.limits["result_bytes"] + self.limits["stdout_bytes"] * 2 + CLAIM_ROOM
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.zygote.channel, select.POLLRDHUP)
        while self.first + finished < wanted and not reason:
            left_s, reason = self.time_left()
            if reason:
                break
            events = dict(poll.poll(max(1, int(left_s * 1000) + 1)))
            if self.zygote.channel.fileno() in events:
                os._exit(0)  # the host is gone, and PDEATHSIG takes the child along
            if self.pipe not in events:
                continue
            part = os.read(self.pipe, 1 << 20)
            if not part:
                reason = "ended"
                break
            buffer += part
            try:
                for body in frames.read_claims(self.nonce, buffer, cap):
                    self.account(body, finished)
                    finished += 1
            except frames.BadFrame as error:
                reason = f"crashed:{error}"
        return finished + self.reap(reason)

    def time_left(self) -> tuple[float, str]:
        wall = time.monotonic() - self.started
        cpu = self.cpu() - self.cpu_before
        if wall >= self.limits["wall_s"]:
            return 0.0, f"timeout:{self.limits['wall_s']:g} s by the clock"
        if cpu >= self.limits["cpu_s"]:
            return 0.0, f"timeout:{self.limits['cpu_s']:g} s of processor time"
        # One thread cannot use processor time faster than the clock runs, so there is no need to look earlier.
        return min(self.limits["wall_s"] - wall, self.limits["cpu_s"] - cpu), ""

    def cpu(self) -> float:
        """Processor seconds of the child: the clock id of another process is made of its pid (see clock_getres(2))."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def account(self, body: bytes, finished: int) -> None:
        wall, cpu = time.monotonic(), self.cpu()
        if not self.task.script:
            self.zygote.tell("claim", body, wall - self.started, cpu - self.cpu_before)
        else:
            self.claimed = body
        self.started, self.cpu_before = wall, cpu

    def reap(self, reason: str) -> int:
        """Make sure that the child is over, and account for the input it was at, if it did not finish that one."""
        if reason == "ended":
            self.wait_a_moment()
        os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pipe)
        wall = time.monotonic() - self.started
        cpu = usage.ru_utime + usage.ru_stime - self.cpu_before
        if self.task.script:
            self.tell_script(reason, status, wall, cpu)
            return 1 if reason else 0
        if not reason:
            return 0
        kind, text = how_it_ended(reason, status)
        self.zygote.tell(kind, text.encode(), wall, cpu)
        return 1

    def tell_script(self, reason: str, status: int, wall: float, cpu: float) -> None:
        assert self.script_in is not None and self.script_out is not None
        size = os.fstat(self.script_out).st_size
        printed = os.pread(self.script_out, min(size, self.limits["result_bytes"]), 0)
        os.close(self.script_in)
        os.close(self.script_out)
        if size > self.limits["result_bytes"]:
            self.zygote.tell("output-limit", b"more standard output than the limit", wall, cpu, printed)
        elif not reason:
            self.zygote.tell("claim", self.claimed, wall, cpu, printed)
        elif reason == "ended" and status == 0:
            self.zygote.tell("exited", b"", wall, cpu, printed)
        else:
            kind, text = how_it_ended(reason, status)
            self.zygote.tell(kind, text.encode(), wall, cpu, printed)

    def wait_a_moment(self) -> None:
        """A process closes its files a little before it can be waited for."""
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.001)


def how_it_ended(reason: str, status: int) -> tuple[str, str]:
    """Status and words for a child that did not finish, from what the zygote saw and the wait status."""
    kind, _, text = reason.partition(":")
    if kind != "ended":
        return kind, text
    if os.WIFEXITED(status):
        return "crashed", f"the program ended its process (exit status {os.WEXITSTATUS(status)}) before its result was out"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return "crashed", "the program closed its result channel, or the system killed it"
    return "crashed", f"the program ended by {signal.Signals(number).name}"
