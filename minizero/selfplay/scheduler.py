"""The traffic of one step: requests go to the sampler and programs to the sandbox, and what comes back goes on at once.

Streaming: a completion is parsed and executed while others still decode, and what follows from it is asked at once.
With a sampler that promises reproducibility, new requests wait until the sampler and the sandbox are idle and are then
submitted in order of their ids: the sandbox answers in no fixed order, and the composition of a batch can change the
last bit of a logit. Where several ranks share a step, they meet at these moments: what one has admitted is known to
all before anything follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from minizero.rollout.protocol import Sampler
from minizero.selfplay.progress import sampled_so_far
from minizero.tasks.event_loop import EventLoop, Job, Promise, result
from minizero.types import Completion, Request

T = TypeVar("T")
Tick = Callable[[int, str], None]  # given the number of pending completions, and sampled_so_far; a few times a second


class Scheduler(EventLoop):
    """An event loop whose coroutines may also wait for completions of one sampler."""

    def __init__(
        self,
        sampler: Sampler,
        *,
        tick: Tick = lambda pending, words: None,
        meet: Callable[[bool], bool] = lambda more: more,
    ) -> None:
        """meet: called when sampler and sandbox are idle, with whether requests wait here; returns whether to go on,
        which is so while any rank has requests."""
        super().__init__()
        self._sampler, self._tick, self._meet = sampler, tick, meet
        self._turns: list[tuple[str, Promise[None]]] = []  # request id, what its coroutine waits for
        self._completions: dict[tuple[str, int], Promise[Completion]] = {}
        self.completed = 0
        self.sampling_s = 0.0
        self.waiting_s = 0.0  # with nothing to generate, for the sandbox alone

    async def sample(
        self, request: Request, read: Callable[[Completion], Job[T]], *, unless: Callable[[], bool] = lambda: False
    ) -> list[T]:
        """Sample a request and `read` each of its completions as it arrives; returns what `read` returned, by index. []
        without sampling when `unless()` holds at the time of submission."""
        turn: Promise[None] = Promise()
        self._turns.append((request.id, turn))
        await result(turn)
        if unless():
            return []
        self._sampler.submit(request)
        promises = [self.start(self._read(request.id, index, read)) for index in range(request.n)]
        return [await result(promise) for promise in promises]

    async def _read(self, name: str, index: int, read: Callable[[Completion], Job[T]]) -> T:
        promise = self._completions[name, index] = Promise()
        return await read(await result(promise))

    def run(self) -> None:
        """Until every request is completed and every coroutine has returned."""
        while True:
            is_idle = not (self._sampler.pending or self._outside)
            if is_idle and not self._meet(bool(self._turns)):
                break
            if is_idle or not self._sampler.is_reproducible:
                self._submit()
                self._tell()  # reading the prompts may take a minute by itself
            self._decode()
            self.waiting_s += self.collect(block=not self._sampler.pending)
            self._tell()
        super().run()

    def _tell(self) -> None:
        pending = self._sampler.pending
        self._tick(pending, sampled_so_far(self.completed, pending, self._sampler.generated, self.sampling_s))

    def _submit(self) -> None:
        turns, self._turns = self._turns, []
        for _, turn in sorted(turns, key=lambda pair: pair[0]):
            self.keep(turn, None)

    def _decode(self) -> None:
        started = time.perf_counter()
        completions = self._sampler.poll()
        self.sampling_s += time.perf_counter() - started
        self.completed += len(completions)
        for completion in completions:
            self.keep(self._completions.pop((completion.request_id, completion.index)), completion)
