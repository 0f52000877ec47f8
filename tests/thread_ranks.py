"""Ranks without a launcher: threads of one process that meet at a barrier."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from minizero.learn.ranks import Ranks


@dataclass
class Threads:
    """A number of ranks as threads of this process: what they gather, without a launcher."""

    count: int
    barrier: threading.Barrier = field(init=False)
    held: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.barrier, self.held = threading.Barrier(self.count), [None] * self.count

    def ranks(self) -> Iterator[Ranks]:
        threads = self

        class InThread(Ranks):
            def gather(self, value: Any) -> list[Any]:
                threads.held[self.number] = value
                threads.barrier.wait(60)
                found = list(threads.held)
                threads.barrier.wait(60)
                return found

            def given(self, value: Any) -> Any:
                return self.gather(value)[0]

            def add_up(self, tensors: Iterable[Any]) -> None:
                for tensor in tensors:
                    tensor.copy_(sum(self.gather(tensor.clone())))

        return (InThread(number, self.count) for number in range(self.count))

    def each(self, do: Callable[[Ranks], Any]) -> list[Any]:
        with ThreadPoolExecutor(self.count) as pool:
            return [future.result() for future in [pool.submit(do, ranks) for ranks in self.ranks()]]
