"""The self-test: one forbidden act or more per layer, tried where the layer is supposed to hold.

Reading order: Trial, ZYGOTE_ACTS (tried right after a layer is applied, before the next one could hide a hole), then
CHILD_ACTS (tried in a sealed child, seccomp last). An act returns when it succeeded and raises when it was refused. A
filter with one wrong jump allows everything while every honest job still works; only trying shows it.
"""

import ctypes
import errno
import mmap
import os
import re
import resource
import signal
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from sandbox import libc
from sandbox.confine import NEW_USER, NEW_UTS

Act = Callable[[], object]


class Trial(NamedTuple):
    """One forbidden act and what became of it."""

    layer: str
    act: str
    refused: bool
    answer: str
    """The error that refused it, or what it returned when it succeeded."""


def try_acts(layer: str, acts: Iterable[Act], only: int | None = None) -> list[Trial]:
    """Commit each act; an error of the system counts as refusal, or only the one error number that is given."""
    trials = []
    for act in acts:
        words = (act.__doc__ or act.__name__).strip().rstrip(".")
        try:
            answer = act()
        except (OSError, MemoryError, ValueError) as error:
            number = getattr(error, "errno", None)
            answer = errno.errorcode.get(number or 0, type(error).__name__)
            trials.append(Trial(layer, words, only in (None, number), answer))
        else:
            trials.append(Trial(layer, words, False, f"returned {answer!r}"[:80]))
    return trials


def _require(holds: bool, seen: object) -> object:
    """Acts that look rather than do: refused when the state is as it should be."""
    if holds:
        raise OSError(errno.EPERM, "as it should be")
    return seen


def leave_notes() -> object:
    """write to memory that later jobs share"""
    with open("/proc/self/maps") as maps:
        shared = [line.split()[0] for line in maps if re.fullmatch(".w.s", line.split()[1])]
    return _require(not shared, shared)


def be_seen() -> object:
    """see the host's processes"""
    return _require(_pid() == 1, _pid())


def reach_the_host() -> object:
    """reach a port of the host"""
    with socket.socket() as probe:
        answer = probe.connect_ex(("127.0.0.1", 9))
        return _require(answer == errno.ENETUNREACH, errno.errorcode.get(answer, answer))


def list_the_root() -> object:
    """list the root directory"""
    return _require(os.listdir("/") == [], "files")


def become_root() -> object:
    """become root"""
    os.setuid(0)
    return os.getuid()


def gain_privileges() -> object:
    """gain rights by starting a program"""
    return _require(libc.prctl(libc.PR_GET_NO_NEW_PRIVS) == 1, 0)


def use_a_capability() -> object:
    """make a namespace with a capability"""
    return libc.call("unshare", NEW_UTS)


def open_a_directory() -> object:
    """open a directory"""
    return os.open("/", os.O_RDONLY)


def be_dumped() -> object:
    """be read by a debugger"""
    return _require(libc.prctl(libc.PR_GET_DUMPABLE) == 0, 1)


def outlive_the_parent() -> object:
    """outlive the parent"""
    number = ctypes.c_int(0)
    libc.prctl(libc.PR_GET_PDEATHSIG, ctypes.addressof(number))
    return _require(number.value == signal.SIGKILL, number.value)


def use_an_inherited_descriptor() -> object:
    """use an inherited descriptor"""
    for descriptor in range(4, 1024):
        try:
            os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError as error:
            if error.errno != errno.EBADF:
                return descriptor
        else:
            return descriptor
    raise OSError(errno.EBADF, "none is open")


def take_too_much_memory() -> object:
    """take more memory than allowed"""
    # Not reserved, so that only a limit can refuse it.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    return len(mmap.mmap(-1, 16 << 30, flags=flags))


def open_another_file() -> object:
    """hold one more open file"""
    return os.dup(0)


def be_without_limits() -> object:
    """run without limits"""
    cpu, size = resource.getrlimit(resource.RLIMIT_CPU)[0], resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return _require(cpu > 0 and size == 0, (cpu, size))


def _read_a_file() -> object:
    """open a file for reading"""
    return os.open(os.__file__, os.O_RDONLY)


def _write_a_file() -> object:
    """open a file for writing"""
    return os.open(os.devnull, os.O_WRONLY)


def _fork() -> object:
    """fork"""
    if (pid := os.fork()) == 0:
        os._exit(0)
    return pid


def _execute() -> object:
    """start a program"""
    return os.execv("/bin/true", ["true"])


def _connect() -> object:
    """make a socket"""
    return socket.socket()


def _signal_the_parent() -> object:
    """signal the parent"""
    os.kill(_ppid(), 0)
    return _ppid()


def _handle_signals() -> object:
    """ignore a signal"""
    return signal.signal(signal.SIGXCPU, signal.SIG_IGN)


def _make_code() -> object:
    """map executable memory"""
    return len(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))


def _raw(name: str, *arguments: Any) -> Act:
    def act() -> object:
        return libc.syscall(name, *arguments)

    act.__doc__ = name
    return act


def _unknown_call() -> object:
    """a system call that does not exist"""
    return libc.call("syscall", 4000)


_pid, _ppid = os.getpid, os.getppid  # as they are before steady.py replaces them

ZYGOTE_ACTS: Final[dict[str, tuple[Act, ...]]] = {
    "descriptors": (leave_notes,),
    "namespaces": (be_seen, reach_the_host),
    "empty_root": (list_the_root,),
    "nobody": (become_root,),
    "no_new_privs": (gain_privileges,),
    "capabilities": (use_a_capability,),
    "landlock": (open_a_directory,),
    "undumpable": (be_dumped,),
    "parent_death": (outlive_the_parent,),
}
CHILD_ACTS: Final[dict[str, tuple[Act, ...]]] = {
    "parent_death": (outlive_the_parent,),
    "descriptors": (use_an_inherited_descriptor,),
    "limits": (take_too_much_memory, open_another_file, be_without_limits),
}
# Without a filter each of these succeeds or fails with something else than EPERM, which means that it got through.
SECCOMP_ACTS: Final[tuple[Act, ...]] = (
    _read_a_file, _write_a_file, _fork, _execute, _connect, _signal_the_parent, _handle_signals, _make_code,
    _unknown_call, _raw("ptrace", 0, 0, 0, 0), _raw("prlimit64", 0, resource.RLIMIT_CPU, None, None),
    _raw("io_uring_setup", 1, None),
    _raw("memfd_create", b"x", 0), _raw("unshare", NEW_USER), _raw("process_vm_readv", 1, None, 0, None, 0, 0),
    _raw("bpf", 0, None, 0), _raw("userfaultfd", 0), _raw("keyctl", 0, 0), _raw("perf_event_open", None, 0, 0, 0, 0),
    _raw("pidfd_open", 1, 0), _raw("personality", 0xFFFFFFFF),
)  # fmt: skip
