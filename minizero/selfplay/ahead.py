"""One step ahead (selfplay.ahead): the next step is sampled in a thread while the policy learns from this one.

Reading order: Background. What it may touch meanwhile is the sampler, the sandbox, the buffer and the random numbers;
learning touches none of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Work in a thread of its own, begun at once. `began` and `ended`: seconds on the clock of time.perf_counter."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._found: T | None = None
        self._error: BaseException | None = None
        self.began = self.ended = time.perf_counter()
        # A daemon: a run that fails, or is stopped at once, does not wait for what it will not use.
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self.ended = time.perf_counter()

    def wait(self) -> None:
        """Until it is done; its error, if any, is raised by `result`."""
        while self._thread.is_alive():
            self._thread.join(0.2)  # a signal is answered between two of these

    def result(self) -> T:
        """What it returned. Raises what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._found  # type: ignore[return-value]
