"""A signal handled otherwise for a while: what Ctrl-C and SIGTERM mean to a run, a set of runs, and first light."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def handling(number: signal.Signals, handler: Callable[..., None]) -> Iterator[None]:
    """Inside, the handler takes the signal; after it, who took it before. Outside the main thread nothing changes:
    whoever started us there sees to it."""
    try:
        before = signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)


def like_ctrl_c(*_: object) -> None:
    """A handler that makes any signal a Ctrl-C."""
    raise KeyboardInterrupt
