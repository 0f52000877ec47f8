"""A signal handled otherwise for a while: what Ctrl-C and SIGTERM mean to a run, a set of runs, and first light.

Reading order: handling, like_ctrl_c, ends_it_at_ctrl_c, then stopping (a run's Ctrl-C).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from minizero.learn.ranks import launched

ECHO_S, PATIENCE_S = 5.0, 25  # of a launcher: it passes Ctrl-C on within the one, and kills a little after the other


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


def ends_it_at_ctrl_c(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what has started us sends Ctrl-C on to each process, again, and kills it half a minute later."""
    handled = environment.get("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGINT")
    return launched() > 1 and "SIGINT" in handled.split(",")


@dataclass
class Stop:
    """Whether someone has asked to stop."""

    is_asked: bool = False


@contextmanager
def stopping(say: Callable[[str], None], *, ended_soon: bool = False) -> Iterator[Stop]:
    """Inside, Ctrl-C asks to stop after the step; pressed twice, it is a KeyboardInterrupt.

    ended_soon: by accelerate or torchrun, which sends the signal again to all that it has started, and kills what is
    still there half a minute later. So the second one within some seconds is no other, and a step that takes longer is
    given up before.
    """
    stop, pressed = Stop(), 0.0

    def on_signal(*_: object) -> None:
        nonlocal pressed
        if stop.is_asked and not (ended_soon and time.monotonic() - pressed < ECHO_S):
            raise KeyboardInterrupt
        if stop.is_asked:
            return
        stop.is_asked, pressed = True, time.monotonic()
        if ended_soon:
            signal.alarm(PATIENCE_S)
        say("finishing this step; press Ctrl-C again to stop at once (the run resumes either way)")

    with handling(signal.SIGINT, on_signal), handling(signal.SIGALRM, like_ctrl_c):
        try:
            yield stop
        finally:
            if ended_soon:
                signal.alarm(0)
