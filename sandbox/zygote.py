"""The zygote: a clean interpreter that forks one child per job, watches it, and passes its claims to the host.

Reading order: main (start, then one job after another), Zygote (load, confine, self-test, run), then watch.py.
The zygote never runs a program, never decodes what a child wrote, and lives exactly as long as the host's end of its
socket.
"""

import contextlib
import errno
import gc
import importlib
import os
import signal
import socket
import sys
import types
import warnings
from os import getpid  # as it is before steady.py replaces it
from typing import Any, Final

from sandbox import addresses, codec, frames, modules, reach, selftest, steady
from sandbox.child import Stage, run_task
from sandbox.layers import Layers
from sandbox.task import Task, pack
from sandbox.watch import Watch

SLACK_BYTES: Final = 16 << 20
"""Address space that a zygote may grow by without a job noticing."""


def main(descriptor: int) -> None:
    """Serve the host on this socket until it is closed."""
    channel = socket.socket(fileno=descriptor)
    try:
        setup = codec.decode(frames.receive(channel), max_bytes=1 << 32)
        layers = Layers(setup["without"])
        if layers.before_loading():
            _keep(channel)
        zygote = Zygote(channel, setup, layers)
        frames.send(channel, codec.encode(zygote.greeting()))
        while True:
            zygote.run(codec.decode(frames.receive(channel), max_bytes=1 << 32))
    except EOFError:
        os._exit(0)
    except BaseException as error:
        frames.send(channel, codec.encode({"failure": f"{type(error).__name__}: {error}"}))
        os._exit(1)


def _keep(channel: socket.socket) -> None:
    """Go on in a child, which is the first process of the new pid namespace; the parent waits for it and ends."""
    if pid := os.fork():
        channel.close()
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class Zygote:
    """State that every fork shares: loaded modules, applied layers, the address space that the interpreter takes."""

    def __init__(self, channel: socket.socket, setup: dict[str, Any], layers: Layers) -> None:
        self.channel, self.layers, self.pid = channel, layers, getpid()
        self.unsafe = setup["unsafe"]
        _load(setup)
        allowed = modules.allowed_modules(setup["imports"], tuple(setup["packages"]))
        self.stage = Stage(allowed, more_elsewhere=setup["at_hand"])
        self.silent = os.open(os.devnull, os.O_RDWR)
        # Held open, since the file systems that it could be opened from are about to go.
        self.sizes = os.open("/proc/self/statm", os.O_RDONLY) if os.path.exists("/proc/self/statm") else None
        self.rehearse()
        self.base_bytes = self.own_bytes() + SLACK_BYTES
        layers.after_loading()
        self.probe()
        _hide()
        gc.collect()
        if setup["variant"]:
            addresses.mask()
            addresses.settle()
        steady.settle(setup["variant"])
        gc.freeze()
        gc.disable()

    def rehearse(self) -> None:
        """Run a job of our own a few times here: code that has run before writes to fewer pages in a child."""
        inputs = [codec.encode(((1,), {}))] * 20
        task = Task("def f(x): return x + 1", "f", inputs, None, True, None, 1 << 16, 1 << 16)
        streams = sys.stdin, sys.stdout
        run_task(task, self.silent, bytes(16), self.stage)
        sys.stdin, sys.stdout = streams
        self.stage.module = types.ModuleType("program")

    def probe(self) -> None:
        """Fork one child as for a job and let it try what no job may do."""
        limits = {"cpu_s": 5.0, "wall_s": 20.0, "memory_mib": 64, "result_bytes": 1 << 16, "stdout_bytes": 0}
        request = pack(Task("", "", [], None, True, None, 1 << 16, 0))
        # The zygote plays the host, on a socket of its own.
        ours, self.channel, real = *socket.socketpair(), self.channel
        with ours, self.channel:
            ours.sendall(request)
            Watch(self, {"limits": limits, "wanted": 1, "script": False, "size": len(request)}, _try_acts).until_end()
            kind, reason, _, _, size = codec.decode(frames.receive(ours))
            if kind != "claim":
                raise RuntimeError(f"the self-test's child did not answer: {reason}")
            rows = codec.decode(frames.receive_exactly(ours, size))
        self.channel = real
        self.layers.trials += [selftest.Trial(*row) for row in rows]

    def greeting(self) -> dict[str, Any]:
        layers = self.layers
        return {
            "in_force": layers.in_force,
            "missing": layers.missing,
            "trials": [trial._asdict() for trial in layers.trials],
            "unprotected": layers.unprotected(),
            "private_bytes": self.own_bytes(1) - self.own_bytes(2),
        }

    def own_bytes(self, column: int = 0) -> int:
        """Bytes of address space (column 0), resident (1) or shared (2) memory of this process."""
        if self.sizes is None:
            return 1 << 28
        return int(os.pread(self.sizes, 200, 0).split()[column]) * os.sysconf("SC_PAGESIZE")

    def run(self, job: dict[str, Any]) -> None:
        """Run one job, whose request follows its head on the socket. Sends one message per claim, and one for the end
        if there were fewer claims than wanted; for a script one more, with what it has printed.
        """
        Watch(self, job).until_end()

    def tell(self, kind: str, text: str, wall_s: float, cpu_s: float, size: int = 0) -> None:
        """Send one message; `size` bytes and a byte that is 1 if they are whole are to follow."""
        frames.send(self.channel, codec.encode((kind, text, wall_s, cpu_s, size)))


def _load(setup: dict[str, Any]) -> None:
    """Import everything that programs may, with steady clocks and chance, and then lose the way to more modules."""
    clock = steady.before_loading(setup["variant"])
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # When memory runs out on this machine, the kernel is to end a job or a zygote, never the training beside them.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    # Modules that want to be told of forks (random would seed itself anew, threading counts threads) are not told.
    really, os.register_at_fork = os.register_at_fork, lambda **_: None
    if setup["imports"] == "training":
        sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio would load it, and half as much again with it
    sys.path.extend(setup["package_paths"])
    packages = [each for name in setup["packages"] for each in (name, *modules.SUBMODULES.get(name, ()))]
    if setup["at_hand"]:
        packages = []
    for name in (*modules.preloaded_modules(setup["imports"], setup["at_hand"]), *packages):
        try:
            importlib.import_module(name)
        except ImportError:
            if name in packages:
                raise
    if setup["imports"] == "training":
        del sys.modules["ssl"]
    os.register_at_fork = really
    steady.after_loading(setup["variant"], clock)
    reach.guard(steady.replace)
    sys.path.clear()
    sys.path_importer_cache.clear()


def _hide() -> None:
    """Take this package, which holds real clocks and process numbers, from where a program looks for modules."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv[:] = sys.orig_argv[:] = ["program"]


def _try_acts(watch: Watch, channel: int) -> None:
    """In a sealed child, before and after its seccomp filter."""
    layers = watch.zygote.layers
    trials = [trial for name in selftest.CHILD_ACTS for trial in selftest.try_acts(name, selftest.CHILD_ACTS[name])]
    if layers.filter is not None:
        layers.filter.install()
        trials += selftest.try_acts("seccomp", selftest.SECCOMP_ACTS, only=errno.EPERM)
    rows = [(trial.layer, trial.act, trial.refused, trial.answer) for trial in trials]
    frames.write_all(channel, frames.claim(watch.nonce, codec.encode(rows)))
