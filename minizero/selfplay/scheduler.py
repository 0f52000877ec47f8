"""The traffic of one step: requests go to the sampler, programs to the sandbox, and whatever comes back has a
consequence.

Streaming: a finished completion is parsed and executed while others still decode, and what follows from it is asked at
once. With a sampler that promises reproducibility the consequences wait until the sampler is idle and are asked in
order of their ids, because the sandbox answers in no fixed order and the composition of a batch can change the last
bit of a logit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from minizero.rollout.protocol import Sampler
from minizero.types import Completion, Request

Tick = Callable[[int], None]  # told how many completions are pending; called a few times a second


class Scheduler:
    """Runs a sampler and sandbox futures until nothing is pending, calling back for each result."""

    def __init__(self, sampler: Sampler, *, tick: Tick = lambda pending: None) -> None:
        self._sampler, self._tick = sampler, tick
        self._consequences: dict[str, Callable[[Completion], None]] = {}
        self._asked: list[tuple[Request, Callable[[], bool]]] = []
        self._running: dict[Future[Any], list[Callable[[Any], None]]] = {}
        self.sampling_s = 0.0
        self.waiting_s = 0.0  # with nothing to generate, for the sandbox alone

    def ask(
        self, request: Request, then: Callable[[Completion], None], *, unless: Callable[[], bool] = lambda: False
    ) -> None:
        """Have a request completed; `then` gets each completion. Dropped if `unless()` holds when its turn comes."""
        self._consequences[request.id] = then
        self._asked.append((request, unless))

    def await_result(self, future: Future[Any], then: Callable[[Any], None]) -> None:
        """Call `then` with the future's result; its exception is raised from `run`."""
        self._running.setdefault(future, []).append(then)

    def run(self) -> None:
        """Until every request is completed and every future done."""
        while True:
            if not self._sampler.is_reproducible or not (self._sampler.pending or self._running):
                self._submit()
            if not (self._sampler.pending or self._running):
                return
            self._decode()
            self._collect(block=not self._sampler.pending)
            self._tick(self._sampler.pending)

    def _submit(self) -> None:
        asked, self._asked = self._asked, []
        for request, unless in sorted(asked, key=lambda pair: pair[0].id):
            if not unless():
                self._sampler.submit(request)

    def _decode(self) -> None:
        started = time.perf_counter()
        completions = self._sampler.poll()
        self.sampling_s += time.perf_counter() - started
        for completion in completions:
            self._consequences[completion.request_id](completion)

    def _collect(self, *, block: bool) -> None:
        if not self._running:
            return
        started = time.perf_counter()
        done, _ = wait(self._running, timeout=0.25 if block else 0, return_when=FIRST_COMPLETED)
        if block:
            self.waiting_s += time.perf_counter() - started
        for future in done:
            for then in self._running.pop(future):
                then(future.result())
