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

from sandbox import dates

EPOCH_S: Final = 1_700_000_000
"""What the clock says when a job starts, in seconds since 1970 (variant 0)."""
TICK_NS: Final = 1_000_000
"""How far each reading moves the clock on (variant 0), so that loops which wait for time to pass end."""


_POOL, _POOL_HEAD, _BYTES_HEAD = 1 << 14, 48, 33
"""CPython's allocator hands out places of one size from pools of 16 KiB; bytes take this much besides their content."""
_MANY: Final = 20_000
"""More free places of one size than loading leaves."""

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
    captured = _steady_time(clock) | _steady_os(variant)
    replace(captured)
    # Another layout even where the system does not randomise addresses: later allocations land elsewhere.
    # Private: a mapping is shared by default, and later jobs would read what an earlier one has written there.
    layout = mmap.mmap(-1, (1 + variant * 5) << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _kept.append(layout)
    settle(variant)
    return clock


def settle(variant: int) -> None:
    """Use up the free places of each size up to 512 bytes, so that new ones come side by side, from another start.

    Before and after loading: otherwise what is loaded, and the free places that it leaves, would lie the same in every
    zygote but for whole pages. Nothing that is held here may be tracked by the collector, which would move its place.
    It also saves a job some ten page faults.
    """
    makers: list[Callable[[int], object]] = [lambda number: object(), lambda number: (1 << 31) + number]
    for maker in (*makers, *map(_bytes_of, range(48, 513, 16))):
        for number in range(_MANY):
            _kept.append(place := maker(number))
            if id(place) % _POOL == _POOL_HEAD:  # the first of a pool that was free
                break
        _kept.extend(map(maker, range(variant * 7)))


def _bytes_of(size: int) -> Callable[[int], object]:
    return lambda number: bytes(size - _BYTES_HEAD)


def replace(captured: dict[int, tuple[Any, Any]]) -> None:
    """In modules that are loaded already and took the real ones for themselves (id: the real one, the steady one)."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "sandbox" and module is not None:
            for own, value in list(vars(module).items()):
                if id(value) in captured:
                    setattr(module, own, captured[id(value)][1])


def after_loading(variant: int, clock: Clock) -> None:
    """Steady modules that have been loaded; those that have not are skipped."""
    for name, apply in (("random", _steady_random), ("datetime", _steady_datetime), ("asyncio", _steady_asyncio),
                        ("threading", _steady_threads), ("uuid", _steady_uuid), ("numpy", _steady_numpy),
                        ("concurrent.futures.thread", _steady_futures)):  # fmt: skip
        if name in sys.modules:
            apply(sys.modules[name], variant, clock)


def _steady_time(clock: Clock) -> dict[int, tuple[Any, Any]]:
    seconds: Any = lambda: clock.elapsed_ns() / 10**9  # noqa: E731
    steady: dict[str, Any] = {
        "time": lambda: clock.now_ns() / 10**9,
        "time_ns": clock.now_ns,
        "clock_gettime": lambda which: clock.now_ns() / 10**9,
        "clock_gettime_ns": lambda which: clock.now_ns(),
        "sleep": clock.sleep,
        "pthread_getcpuclockid": lambda thread_id: -6,  # a real one is made of the thread's number
    }
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        steady |= {name: seconds, name + "_ns": clock.elapsed_ns}

    def localtime(seconds: float | None = None) -> time.struct_time:
        return dates.localtime(steady["time"]() if seconds is None else seconds)

    steady |= {
        "localtime": localtime,
        "gmtime": localtime,
        "asctime": lambda at=None: dates.asctime(localtime() if at is None else at),
        "ctime": lambda seconds=None: dates.asctime(localtime(seconds)),
        "strftime": lambda form, at=None: dates.strftime(form, localtime() if at is None else at),
    }
    return _put(time, steady)


def _put(module: Any, steady: dict[str, Any]) -> dict[int, tuple[Any, Any]]:
    """Replace these of a module; returns what they have replaced."""
    there = {name: new for name, new in steady.items() if hasattr(module, name)}
    replaced = {id(getattr(module, name)): (getattr(module, name), new) for name, new in there.items()}
    for name, new in there.items():
        setattr(module, name, new)
    return replaced


def _steady_os(variant: int) -> dict[int, tuple[Any, Any]]:
    blocks = _stream(variant)
    steady = {
        "urandom": lambda size: bytes(itertools.islice(blocks, size)),
        "getrandom": lambda size, flags=0: bytes(itertools.islice(blocks, size)),
        "getpid": lambda: 1000 + variant,
        "getppid": lambda: 900 + variant,
        "process_cpu_count": os.cpu_count,  # Python 3.13's asks the system for its cores, which is refused to a job
    }
    thread = {"get_native_id": lambda: 1000 + variant}  # a real one counts the jobs of its zygote
    return _put(os, steady) | _put(sys.modules["posix"], steady) | _put(sys.modules["_thread"], thread)


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

    make = _maker(base)

    def new(cls: Any, *arguments: Any, **named: Any) -> Any:
        made = make(cls, (), None)
        base_seed(made, f"unseeded {variant}")
        return made

    # A generator takes its seed from the system when it is made, even if __init__ is never called.
    base.__new__ = new
    # Both: the base class seeds itself from the system when it is made, and when it is told to without a seed.
    base.__init__ = base.seed = base_steady
    module.seed = module._inst.seed
    module.seed()


def _maker(kind: type) -> Any:
    """What C calls to make an object of this type; its __new__ could not be called once another has taken its place."""
    slot: Any = ctypes.pythonapi.PyType_GetSlot
    slot.argtypes, slot.restype = (ctypes.py_object, ctypes.c_int), ctypes.c_void_p
    new = 65  # Py_tp_new
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(slot(kind, new))


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


def _steady_futures(module: Any, variant: int, clock: Clock) -> None:
    """A pool of such threads does its work when it is given it: its own threads would wait for more to come."""
    future = module._base.Future

    def submit(self: Any, fn: Any, /, *arguments: Any, **named: Any) -> Any:
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        done = future()
        done.set_running_or_notify_cancel()
        try:
            prepare, self._initializer = self._initializer, None
            if prepare is not None:
                prepare(*self._initargs)
            result = fn(*arguments, **named)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)
        return done

    module.ThreadPoolExecutor.submit = submit


def _steady_uuid(module: Any, variant: int, clock: Clock) -> None:
    module._generate_time_safe = module._UuidCreate = None
    module._node = 0x0242AC110002 + variant
    for name in ("generate_time_safe", "UuidCreate"):
        vars(sys.modules.get("_uuid", module)).pop(name, None)


def _steady_numpy(module: Any, variant: int, clock: Clock) -> None:
    module.random.seed(variant + 1)
