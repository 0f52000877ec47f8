"""The few system calls that Python's library lacks, through ctypes.

Reading order: call (raise on failure), syscall by name, then the numbers for the two machines that are known.
"""

import ctypes
import os
import sys
from typing import Any, Final

LINUX: Final = sys.platform.startswith("linux")
MACHINE: Final = os.uname().machine

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 2, 3, 4
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 22, 24, 38, 39

# name: (x86_64, aarch64); None where the machine has no such call.
NUMBERS: Final[dict[str, tuple[int | None, int]]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "readv": (19, 65), "writev": (20, 66), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233),
    "getpid": (39, 172), "exit": (60, 93), "gettimeofday": (96, 169), "ptrace": (101, 117), "pivot_root": (155, 41),
    "gettid": (186, 178), "futex": (202, 98), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "exit_group": (231, 94), "prlimit64": (302, 261), "capset": (126, 91), "seccomp": (317, 277),
    "memfd_create": (319, 279), "io_uring_setup": (425, 425), "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446), "unshare": (272, 97), "process_vm_readv": (310, 270), "bpf": (321, 280),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "perf_event_open": (298, 241), "clone": (56, 220),
    "pidfd_open": (434, 434), "personality": (135, 92),
}  # fmt: skip
MACHINES: Final = ("x86_64", "aarch64")

_libc: Any = ctypes.CDLL(None, use_errno=True)
if LINUX:
    # Bound once, with its types: every child passes here twice.
    _prctl: Any = _libc.prctl
    _prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


def call(name: str, *arguments: Any) -> int:
    """Call a libc function that returns -1 on failure. Raises OSError with its errno."""
    function = getattr(_libc, name)
    result = int(function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, *arguments: Any) -> int:
    """Make a system call by name on this machine. Raises OSError, with ENOSYS where the numbers are unknown."""
    return call("syscall", number_of(name), *arguments)


def number_of(name: str) -> int:
    """The number of a system call on this machine. Raises OSError(ENOSYS) when the machine is not a known one."""
    if not LINUX or MACHINE not in MACHINES:
        raise OSError(38, f"{name}: no system call numbers for {sys.platform} on {MACHINE}")
    number = NUMBERS[name][MACHINES.index(MACHINE)]
    if number is None:
        raise OSError(38, f"{name}: not on {MACHINE}")
    return number


def prctl(option: int, argument: Any = 0, pointer: Any = None) -> int:
    """prctl(2) with one argument, and a pointer for the option that takes one. Raises OSError."""
    if not LINUX:
        raise OSError(38, f"no prctl on {sys.platform}")
    result = int(_prctl(option, argument, pointer, 0, 0))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    return result
