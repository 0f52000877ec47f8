"""A pool: zygotes of one kind, each owned by one thread that feeds it from a common queue.

Reading order: Order, Pool. A zygote that dies is replaced and its job repeated; a job is never lost in silence.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.host import Elsewhere, Setup, Zygote, ZygoteLost
from sandbox.types import Job, Limits, Result, SandboxError

ATTEMPTS: Final = 2
"""How often a job is tried when its zygote is lost under it."""
JOIN_S: Final = 10.0
"""How long close waits for a thread whose zygote is starting."""


@dataclass(slots=True)
class Order:
    """A queued job: what to run, and where its results go."""

    job: Job
    inputs: list[bytes | Result]
    """Encoded arguments, or the result for a text that is no argument list of values."""
    limits: Limits
    shift_every: int = 0
    """After so many inputs the program's objects come to lie elsewhere (addresses.py); 0: they do not."""
    future: Future[list[Result]] = field(default_factory=Future)


class Pool:
    """Zygotes of one kind, each owned by one thread that feeds it from a common queue."""

    def __init__(
        self, setup: Setup, size: int, count: Callable[[str], None], move_on: Callable[[Order], None] | None = None
    ) -> None:
        """`move_on` takes an order whose program wants a module that is not at hand in this pool's zygotes."""
        self.setup, self.count, self.move_on = setup, count, move_on
        self.orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self.closed, self.owner = False, os.getpid()
        self.zygotes: list[Zygote] = []
        self.greeting: Future[dict[str, Any]] = Future()
        self.greeted = threading.Event()
        self.threads = [
            threading.Thread(target=self.serve, args=(n < (size + 1) // 2,), daemon=True, name=f"sandbox-{n}")
            for n in range(size)
        ]
        for thread in self.threads:
            thread.start()

    def hello(self) -> dict[str, Any]:
        """Wait for the first zygote; what it says about itself. Raises SandboxError, with every process ended."""
        try:
            return self.greeting.result()
        except BaseException:
            self.close()
            raise

    def put(self, order: Order) -> None:
        """Queue an order. Raises SandboxError when the pool was closed, or its process forked away from its threads."""
        if os.getpid() != self.owner:
            raise SandboxError("this process was forked from the one that made the sandbox: make a sandbox of its own")
        if self.closed:
            raise SandboxError("the sandbox is closed")
        self.orders.put(order)

    def serve(self, at_once: bool) -> None:
        """One thread's life: start a zygote, then run orders on it, replacing it when it is lost."""
        zygote: Zygote | None = None
        if not at_once:
            self.greeted.wait()  # the first zygotes are up sooner when the others do not start beside them
        with contextlib.suppress(SandboxError, OSError):  # told by the greeting, and by every job that then fails
            zygote = self.start()
        while (order := self.orders.get()) is not None:
            if not order.future.running() and not order.future.set_running_or_notify_cancel():
                continue
            failure: Exception | None = None
            for _ in range(ATTEMPTS):
                try:
                    zygote = zygote or self.start()
                    order.future.set_result(self.execute(zygote, order))
                    failure = None
                    break
                except Elsewhere:
                    failure = self.moved_on(order)
                    break
                except ZygoteLost as lost:
                    failure = lost
                    self.count("restarted_zygotes")
                    self.discard(zygote)
                    zygote = None
                except Exception as error:
                    failure = error
                    self.discard(zygote)  # who knows what is left to read of this job
                    zygote = None
                    break
            if failure is not None:
                order.future.set_exception(failure)

    def moved_on(self, order: Order) -> Exception | None:
        """Hand an order to the pool that has all modules; what kept it from it, if anything did."""
        assert self.move_on is not None
        try:
            self.move_on(order)
        except Exception as error:  # also that no thread can be started: this one has other orders to serve
            return error
        return None

    def start(self) -> Zygote:
        """A zygote that is ready. Raises SandboxError."""
        zygote: Zygote | None = None
        try:
            if self.closed:
                raise SandboxError("the sandbox was closed before the job had run")
            zygote = Zygote(self.setup)
            self.zygotes.append(zygote)
            report = zygote.hello()
        except Exception as error:
            self.discard(zygote)
            if not self.greeting.done():
                self.greeting.set_exception(error)
            raise
        finally:
            self.greeted.set()
        with contextlib.suppress(InvalidStateError):  # another thread was first
            self.greeting.set_result(report)
        return zygote

    def discard(self, zygote: Zygote | None) -> None:
        if zygote is not None:
            zygote.close()
            with contextlib.suppress(ValueError):
                self.zygotes.remove(zygote)

    def execute(self, zygote: Zygote, order: Order) -> list[Result]:
        """Run one order. Raises ZygoteLost."""
        inputs = [one for one in order.inputs if isinstance(one, bytes)]
        ran = zygote.run(order.job, inputs, order.limits, order.shift_every)
        if order.job.args is None:
            answers = list(ran)
        else:
            answers = [next(ran) if isinstance(one, bytes) else one for one in order.inputs]
        for answer in answers:
            self.count("jobs")
            self.count(answer.status.value)
        return answers

    def close(self) -> None:
        """End every zygote with its job; orders that have not run fail with SandboxError."""
        self.closed = True
        self.greeted.set()
        for _ in self.threads:
            self.orders.put(None)
        for zygote in list(self.zygotes):
            zygote.hang_up()
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(timeout=JOIN_S)
        for zygote in list(self.zygotes):
            zygote.close()
        with contextlib.suppress(queue.Empty):
            while True:
                if (order := self.orders.get_nowait()) is not None:
                    order.future.set_exception(SandboxError("the sandbox was closed before the job had run"))
