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
    """Context manager: `handler` handles the signal inside; afterwards the previous handler does again. Outside the
    main thread nothing changes: whoever started us there handles signals."""
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
    """Whether the launcher that started us repeats Ctrl-C to each process, and kills it half a minute later."""
    handled = environment.get("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGINT")
    return launched() > 1 and "SIGINT" in handled.split(",")


@dataclass
class Stop:
    """Whether someone has asked to stop."""

    is_asked: bool = False


@contextmanager
def stopping(say: Callable[[str], None], *, ended_soon: bool = False) -> Iterator[Stop]:
    """Context manager: the first Ctrl-C inside asks to stop after the step, the second raises KeyboardInterrupt.

    ended_soon: started by accelerate or torchrun, which repeat the signal to every process and kill what is left half a
    minute later. So a second signal within ECHO_S counts as the first one, and a step that lasts longer than PATIENCE_S
    is interrupted.
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
