"""Coroutines that wait for futures: what happens to a completion is written from top to bottom, and many run at once.

Reading order: result (what a coroutine awaits), EventLoop (start, run), run_all. One thread runs every coroutine; only
the futures are completed elsewhere, in the sandbox's threads. Not asyncio: a step must know when nothing but the
sampler can go on, which decides when new prompts enter (selfplay/scheduler.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Job = Coroutine[Any, None, T]
WAIT_S = 0.25  # the longest look at futures that are not done yet


@coroutine
def result(future: Future[T]) -> Generator[Future[T], None, T]:
    """`await result(future)`: the future's result, once there is one. Raises what the future raises."""
    if not future.done():
        yield future
    return future.result()


class Promise(Future[T]):
    """A future that the loop itself completes: the result of a coroutine, or a completion."""


class EventLoop:
    """Runs coroutines until all of them have returned. What one of them raises, `run` (or `start`) raises."""

    def __init__(self) -> None:
        self._promised: dict[Future[Any], list[Callable[[], None]]] = {}  # what waits for each promise
        self._outside: dict[Future[Any], list[Callable[[], None]]] = {}  # what waits for each other future

    def start(self, job: Job[T]) -> Promise[T]:
        """Run a coroutine up to its first wait; the promise of what it returns."""
        promise: Promise[T] = Promise()

        def go_on() -> None:
            try:
                future = job.send(None)
            except StopIteration as end:
                self.keep(promise, end.value)
            else:
                waiting = self._promised if isinstance(future, Promise) else self._outside
                waiting.setdefault(future, []).append(go_on)

        go_on()
        return promise

    def keep(self, promise: Promise[T], value: T) -> None:
        """Complete a promise, and let go on what waited for it."""
        promise.set_result(value)
        for go_on in self._promised.pop(promise, ()):
            go_on()

    def collect(self, *, block: bool) -> float:
        """Let go on what waited for futures that are done by now; seconds spent blocking until the first of them."""
        if not self._outside:
            return 0.0
        started = time.perf_counter()
        done, _ = wait(self._outside, timeout=WAIT_S if block else 0, return_when=FIRST_COMPLETED)
        waited_s = time.perf_counter() - started if block else 0.0
        for future in done:
            for go_on in self._outside.pop(future):
                go_on()
        return waited_s

    def run(self) -> None:
        """Until every coroutine has returned."""
        while self._outside:
            self.collect(block=True)
        assert not self._promised, "a coroutine waits for a promise that nobody is going to keep"


def run_all(jobs: Iterable[Job[T]]) -> list[T]:
    """Run coroutines side by side; what they return, in their order.

    >>> async def double(future):
    ...     return 2 * await result(future)
    >>> future = Future()
    >>> future.set_result(21)
    >>> run_all([double(future)])
    [42]
    """
    loop = EventLoop()
    promises = [loop.start(job) for job in jobs]
    loop.run()
    return [promise.result() for promise in promises]
