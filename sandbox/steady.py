"""Clocks and chance made repeatable, so that a job gives the same result every time in one kind of zygote.

Reading order: steady (applied once per zygote, before other modules are loaded), then one function per source of
chance. Each kind of zygote (variant) has a clock and random streams of its own, so that a program which depends on
them gives two results when it is checked for determinism, instead of agreeing by accident.
"""

import ctypes
import gc
import itertools
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

EPOCH_S: Final = 1_700_000_000
"""What the clock says when a job starts, in seconds since 1970 (variant 0)."""
TICK_NS: Final = 1_000_000
"""How far each reading moves the clock on (variant 0), so that loops which wait for time to pass end."""


_kept: list[object] = []
"""What takes up addresses for as long as the zygote lives."""


class Clock:
    """Nanoseconds that pass by being read, or slept through."""

    def __init__(self, variant: int) -> None:
        self.tick = TICK_NS + variant * 370_001
        self.start = (EPOCH_S + variant * 40_000_000) * 10**9 + variant * 123_457
        self.passed = 0

    def elapsed_ns(self) -> int:
        self.passed += self.tick
        return self.passed

    def now_ns(self) -> int:
        return self.start + self.elapsed_ns()

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.passed += int(seconds * 10**9)


def before_loading(variant: int) -> Clock:
    """Steady what other modules take from time and os when they are loaded."""
    clock = Clock(variant)
    _steady_time(clock)
    _steady_os(variant)
    # Another layout even where the system does not randomise addresses: later allocations land elsewhere.
    # Private: a mapping is shared by default, and later jobs would read what an earlier one has written there.
    layout = mmap.mmap(-1, (1 + variant * 5) << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _kept.append(layout)
    return clock


def after_loading(variant: int, clock: Clock) -> None:
    """Steady modules that have been loaded; those that have not are skipped."""
    for name, apply in (("random", _steady_random), ("datetime", _steady_datetime), ("asyncio", _steady_asyncio),
                        ("threading", _steady_threads), ("uuid", _steady_uuid), ("numpy", _steady_numpy)):  # fmt: skip
        if name in sys.modules:
            apply(sys.modules[name], variant, clock)


def _steady_time(clock: Clock) -> None:
    module: Any = time
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(module, name, lambda: clock.elapsed_ns() / 10**9)
        setattr(module, name + "_ns", clock.elapsed_ns)
    module.time, module.time_ns = (lambda: clock.now_ns() / 10**9), clock.now_ns
    module.clock_gettime, module.clock_gettime_ns = (lambda _: clock.now_ns() / 10**9), (lambda _: clock.now_ns())
    module.sleep = clock.sleep
    for name in ("localtime", "gmtime", "ctime"):
        setattr(module, name, _at(getattr(time, name), module))
    strftime, localtime, asctime = time.strftime, module.localtime, time.asctime
    module.strftime = lambda form, at=None: strftime(form, localtime() if at is None else at)
    module.asctime = lambda at=None: asctime(localtime() if at is None else at)


def _at(convert: Callable[[float], Any], module: Any) -> Callable[..., Any]:
    return lambda seconds=None: convert(module.time() if seconds is None else seconds)


def _steady_os(variant: int) -> None:
    module: Any = os
    posix: Any = sys.modules["posix"]
    blocks = _stream(variant)
    for name, steady in (
        ("urandom", lambda size: bytes(itertools.islice(blocks, size))),
        ("getrandom", lambda size, flags=0: bytes(itertools.islice(blocks, size))),
        ("getpid", lambda: 1000 + variant),
        ("getppid", lambda: 900 + variant),
    ):
        setattr(module, name, steady)
        setattr(posix, name, steady)


def _stream(variant: int) -> Iterator[int]:
    from random import Random  # not before os is steady: it takes urandom from there

    blocks = Random(0xE17 + variant)
    while True:
        yield blocks.getrandbits(8)


def _steady_random(module: Any, variant: int, clock: Clock) -> None:
    seed = module.Random.seed

    def steady_seed(self: Any, a: Any = None, version: int = 2) -> None:
        seed(self, f"unseeded {variant}" if a is None else a, version)

    module.Random.seed = steady_seed
    base = module.Random.__bases__[0]
    base_seed = base.seed

    def base_steady(self: Any, a: Any = None) -> None:
        base_seed(self, f"unseeded {variant}" if a is None else a)

    # Both: the base class seeds itself from the system when it is made, and when it is told to without a seed.
    base.__init__ = base.seed = base_steady
    module.seed = module._inst.seed
    module.seed()


def _steady_datetime(module: Any, variant: int, clock: Clock) -> None:
    """In the type itself, which a subclass would only hide: a program could still ask its base class."""
    kind: Any = module.datetime

    def now(cls: Any, tz: Any = None) -> Any:
        return cls.fromtimestamp(clock.now_ns() / 10**9, tz)

    methods = {
        "now": now,
        "today": lambda cls: now(cls),
        "utcnow": lambda cls: now(cls, module.timezone.utc).replace(tzinfo=None),
    }
    own = gc.get_referents(vars(kind))[0]  # a type written in C lets nobody set its attributes, but has a dict
    own.update({name: classmethod(method) for name, method in methods.items()})
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _steady_asyncio(module: Any, variant: int, clock: Clock) -> None:
    """An event loop without sockets: waiting moves the clock on, and waiting for nothing is an error."""

    class Selector:
        def select(self, timeout: float | None = None) -> list[Any]:
            if timeout is None:
                raise RuntimeError("every task of the event loop waits for something that will never happen")
            clock.sleep(max(timeout, 0))
            return []

    class Loop(module.base_events.BaseEventLoop):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._selector = Selector()

        def _process_events(self, events: Any) -> None:
            pass

        def _write_to_self(self) -> None:
            pass

    policy: Any = type(module.events.get_event_loop_policy())
    policy._loop_factory = Loop
    module.events.new_event_loop = module.new_event_loop = Loop


def _steady_threads(module: Any, variant: int, clock: Clock) -> None:
    """Threads run to their end when they are started: enough for scripts that want a deeper stack, and repeatable."""

    def start(self: Any) -> None:
        self._started.set()
        self.run()

    module.Thread.start = start
    module.Thread.join = lambda self, timeout=None: None
    module.Thread.is_alive = lambda self: False


def _steady_uuid(module: Any, variant: int, clock: Clock) -> None:
    module._generate_time_safe = module._UuidCreate = None
    module._node = 0x0242AC110002 + variant


def _steady_numpy(module: Any, variant: int, clock: Clock) -> None:
    module.random.seed(variant + 1)
