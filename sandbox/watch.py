"""Watching one child: fork it sealed, hand it its job, pass its claims on, end it in time, say how it ended.

Reading order: Watch (fork, become_child, until_end, relay, reap), then how_it_ended. Job and claims only pass through
the kernel on their way between host and child (splice): a zygote's memory, which every later job gets a copy of, never
holds another job's program, inputs or results. Processor time is read from the child's own clock, so limits are exact
to milliseconds, hold for each input, and there is no timer in the child that it could stop.
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
from sandbox.layers import Layers, seal_child

if TYPE_CHECKING:
    import socket
    from typing import Protocol

    class Parent(Protocol):
        """What a watch asks of the zygote that it belongs to."""

        channel: socket.socket
        layers: Layers
        stage: child.Stage
        pid: int
        silent: int
        base_bytes: int

        def tell(self, kind: str, text: str, wall_s: float, cpu_s: float, size: int = 0) -> None: ...


CLAIM_ROOM: Final = 64 << 10
"""Bytes that a claim may have beyond its result and stdout: names, messages, framing."""
GRACE_S: Final = 0.5
"""How long a child that closed its channel may take to exit before it counts as hiding."""
HANGUP: Final = getattr(select, "POLLRDHUP", select.POLLHUP)


class Watch:
    """One child, from fork to reaping. `job` is the request's head: limits, wanted (claims), script, size (bytes), and
    shift_every where addresses are to differ: after so many inputs."""

    def __init__(
        self, zygote: "Parent", job: dict[str, Any], run: Callable[["Watch", int], None] | None = None
    ) -> None:
        self.zygote, self.job, self.limits = zygote, job, job["limits"]
        self.socket = zygote.channel.fileno()
        self.printed: int | None = os.memfd_create("stdout") if job["script"] else None
        self.nonce = urandom(frames.NONCE_BYTES)
        self.pipe, claims = os.pipe()
        feed, self.feed = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.become_child(claims, feed, run)
        os.close(claims)
        os.close(feed)
        for _ in frames.moved(self.socket, self.feed, job["size"]):
            pass
        os.close(self.feed)
        self.started, self.cpu_before = monotonic(), 0.0
        self.poll = select.poll()
        self.poll.register(self.pipe, select.POLLIN)
        self.poll.register(self.socket, HANGUP)

    def become_child(self, claims: int, feed: int, run: Callable[["Watch", int], None] | None) -> None:
        """Read the job, put on every protection, then run. Never returns."""
        try:
            zygote, job = self.zygote, self.job
            request = frames.read_exactly(feed, job["size"])
            channel = child.seal_descriptors(claims, zygote.silent, self.printed)
            task = child.open_request(request)
            file_bytes = self.limits["result_bytes"] + 1 if job["script"] else 0
            # What the request takes is not the program's doing.
            base = zygote.base_bytes + 6 * len(request)
            seal_child(zygote.layers, zygote.pid, self.limits, base, job["wanted"], file_bytes)
            if run is not None:
                run(self, channel)
                os._exit(0)
            chance = urandom(8 * job["wanted"]) if job.get("shift_every") else b""
            if zygote.layers.filter is not None:
                zygote.layers.filter.install()
            gc.enable()
            child.run_task(task, channel, self.nonce, zygote.stage, job.get("shift_every", 0), chance)
            os._exit(0)
        finally:
            os._exit(99)

    def until_end(self) -> None:
        """Pass claims on until all have come or the child is over; the last message tells how, if not with a claim."""
        reason, claimed, head = "", 0, b""
        while claimed < self.job["wanted"] and not reason:
            reason = self.wait()
            if reason and not self.late_claim(head):
                break
            part = os.read(self.pipe, frames.HEAD_BYTES - len(head))
            head += part
            reason = "" if part else "ended"
            if len(head) == frames.HEAD_BYTES:
                try:
                    size = frames.claimed_size(head, self.nonce, self.claim_cap())
                except frames.BadFrame as error:
                    reason = f"crashed:{error}"
                    break
                head, claimed = b"", claimed + 1
                if not self.relay(size):
                    return self.reap("")  # the host has been told by the claim that is not whole
        self.reap(reason)

    def late_claim(self, head: bytes) -> bool:
        """Whether (more of) a claim lies ready although time is up: on a busy machine it is we who are late."""
        return not head and any(descriptor == self.pipe for descriptor, _ in self.poll.poll(0))

    def wait(self) -> str:
        """Wait until the child has written something; the reason to end it, if it ran out of time before."""
        while True:
            wall, cpu = monotonic() - self.started, self.cpu() - self.cpu_before
            if wall >= self.limits["wall_s"]:
                return f"timeout:{self.limits['wall_s']:g} s by the clock"
            if cpu >= self.limits["cpu_s"]:
                return f"timeout:{self.limits['cpu_s']:g} s of processor time"
            # One thread cannot use processor time faster than the clock runs, so there is no need to look earlier.
            left_s = min(self.limits["wall_s"] - wall, self.limits["cpu_s"] - cpu)
            for descriptor, _ in self.poll.poll(int(left_s * 1000) + 1):
                if descriptor == self.socket:
                    os._exit(0)  # the host is gone, and PDEATHSIG takes the child along
                return ""

    def cpu(self) -> float:
        """Processor seconds of the child: the clock id of another process is made of its pid (see clock_getres(2))."""
        return clock_gettime((~self.pid << 3) | 2)

    def relay(self, size: int) -> bool:
        """Pass the body of one claim on to the host; False if the child did not finish it in time.

        The next input's time begins when all of it has come: a head alone is no reason to wait longer.
        """
        self.zygote.tell("claim", "", monotonic() - self.started, self.cpu() - self.cpu_before, size)
        left = size
        while left and (not self.wait() or self.late_claim(b"")):
            count = next(frames.moved(self.pipe, self.socket, left), 0)
            left -= count
            if not count:
                break
        self.started, self.cpu_before = monotonic(), self.cpu()
        self.zygote.channel.sendall(bytes(left) + (b"\0" if left else b"\1"))
        return not left

    def claim_cap(self) -> int:
        return int(self.limits["result_bytes"] + self.limits["stdout_bytes"] * 2 + CLAIM_ROOM)

    def reap(self, reason: str) -> None:
        """Make sure that the child is over; tell how it ended, if it did not finish, and what a script has printed."""
        if reason == "ended":
            self.wait_a_moment()
        os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pipe)
        wall, cpu = monotonic() - self.started, usage.ru_utime + usage.ru_stime - self.cpu_before
        if reason:
            self.zygote.tell(*how_it_ended(reason, status), wall, cpu)
        if self.printed is not None:
            size = os.fstat(self.printed).st_size
            kept = min(size, self.limits["result_bytes"])
            self.zygote.tell("printed", "too much" if size > kept else "", wall, cpu, kept)
            frames.send_file(self.zygote.channel, self.printed, kept)
            self.zygote.channel.sendall(b"\1")
            os.close(self.printed)

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
        code = os.WEXITSTATUS(status)
        if code == 0:
            return "exited", "the program ended its process before its result was out"
        return "crashed", f"the program ended its process (exit status {code}) before its result was out"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return "crashed", "the program closed its result channel, or the system killed it"
    return "crashed", f"the program ended by {signal.Signals(number).name}"
