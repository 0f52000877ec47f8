"""Watching one child: fork it sealed, pass its claims on, end it in time, say how it ended.

Reading order: Watch (fork, until_end, reap), then how_it_ended. Processor time is read from the child's own clock, so
limits are exact to milliseconds, hold for each input, and there is no timer in the child that it could stop.
"""

import gc
import os
import select
import signal
from collections.abc import Callable
from os import urandom  # as it is before steady.py replaces it
from time import clock_gettime, monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from sandbox import child, frames
from sandbox.child import Task
from sandbox.layers import seal_child

if TYPE_CHECKING:
    from sandbox.zygote import Zygote

CLAIM_ROOM: Final = 64 << 10
"""Bytes that a claim may have beyond its result and stdout: names, messages, framing."""
GRACE_S: Final = 0.5
"""How long a child that closed its channel may take to exit before it counts as hiding."""
HANGUP: Final = getattr(select, "POLLRDHUP", select.POLLHUP)


class Watch:
    """One child, from fork to reaping."""

    def __init__(
        self,
        zygote: "Zygote",
        task: Task,
        limits: dict[str, Any],
        stdin: str | None,
        first: int,
        run: Callable[["Watch", int], None] | None = None,
    ) -> None:
        self.zygote, self.task, self.limits, self.first = zygote, task, limits, first
        self.tell = zygote.tell
        self.claimed = b""
        self.script_in: int | None = None
        self.script_out: int | None = None
        if stdin is not None:
            self.script_in, self.script_out = os.memfd_create("stdin"), os.memfd_create("stdout")
            frames.write_all(self.script_in, stdin.encode("utf-8", "surrogatepass"))
            os.lseek(self.script_in, 0, os.SEEK_SET)
        self.nonce = urandom(frames.NONCE_BYTES)
        self.pipe, pipe_in = os.pipe()
        self.started = monotonic()
        self.cpu_before = 0.0
        self.pid = os.fork()
        if self.pid == 0:
            self.become_child(pipe_in, run)
        os.close(pipe_in)

    def become_child(self, pipe_in: int, run: Callable[["Watch", int], None] | None) -> None:
        """Put on every protection, then run the task. Never returns."""
        try:
            zygote = self.zygote
            base = zygote.base_bytes
            file_bytes = self.limits["result_bytes"] + 1 if self.task.script else 0
            channel = child.seal_descriptors(pipe_in, zygote.silent, self.script_in, self.script_out)
            runs = max(1, len(self.task.inputs) - self.first)
            seal_child(zygote.layers, zygote.pid, self.limits, base, runs, file_bytes)
            if run is not None:
                run(self, channel)
                os._exit(0)
            if zygote.layers.filter is not None:
                zygote.layers.filter.install()
            gc.enable()
            child.run_task(self.task, self.first, channel, self.nonce, zygote.stage)
            os._exit(0)
        finally:
            os._exit(99)

    def until_end(self, wanted: int) -> int:
        """Pass claims on until all have come or the child is over; returns how many inputs are now accounted for."""
        buffer, finished, reason = bytearray(), 0, ""
        cap = self.limits["result_bytes"] + self.limits["stdout_bytes"] * 2 + CLAIM_ROOM
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.zygote.channel, HANGUP)
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
        wall = monotonic() - self.started
        cpu = self.cpu() - self.cpu_before
        if wall >= self.limits["wall_s"]:
            return 0.0, f"timeout:{self.limits['wall_s']:g} s by the clock"
        if cpu >= self.limits["cpu_s"]:
            return 0.0, f"timeout:{self.limits['cpu_s']:g} s of processor time"
        # One thread cannot use processor time faster than the clock runs, so there is no need to look earlier.
        return min(self.limits["wall_s"] - wall, self.limits["cpu_s"] - cpu), ""

    def cpu(self) -> float:
        """Processor seconds of the child: the clock id of another process is made of its pid (see clock_getres(2))."""
        return clock_gettime((~self.pid << 3) | 2)

    def account(self, body: bytes, finished: int) -> None:
        wall, cpu = monotonic(), self.cpu()
        if not self.task.script:
            self.tell("claim", body, wall - self.started, cpu - self.cpu_before)
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
        wall = monotonic() - self.started
        cpu = usage.ru_utime + usage.ru_stime - self.cpu_before
        if self.task.script:
            self.tell_script(reason, status, wall, cpu)
            return 1 if reason else 0
        if not reason:
            return 0
        kind, text = how_it_ended(reason, status)
        self.tell(kind, text.encode(), wall, cpu)
        return 1

    def tell_script(self, reason: str, status: int, wall: float, cpu: float) -> None:
        assert self.script_in is not None
        assert self.script_out is not None
        size = os.fstat(self.script_out).st_size
        printed = os.pread(self.script_out, min(size, self.limits["result_bytes"]), 0)
        os.close(self.script_in)
        os.close(self.script_out)
        if size > self.limits["result_bytes"]:
            self.tell("output-limit", b"more standard output than the limit", wall, cpu, printed)
        elif not reason:
            self.tell("claim", self.claimed, wall, cpu, printed)
        elif reason == "ended" and status == 0:
            self.tell("exited", b"", wall, cpu, printed)
        else:
            kind, text = how_it_ended(reason, status)
            self.tell(kind, text.encode(), wall, cpu, printed)

    def wait_a_moment(self) -> None:
        """A process closes its files a little before it can be waited for."""
        until = monotonic() + GRACE_S
        while monotonic() < until:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            sleep(0.001)


def how_it_ended(reason: str, status: int) -> tuple[str, str]:
    """Status and words for a child that did not finish, from what the zygote saw and the wait status."""
    kind, _, text = reason.partition(":")
    if kind != "ended":
        return kind, text
    if os.WIFEXITED(status):
        return "crashed", f"the program ended its process (exit status {os.WEXITSTATUS(status)}) without a result"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return "crashed", "the program closed its result channel, or the system killed it"
    return "crashed", f"the program ended by {signal.Signals(number).name}"
