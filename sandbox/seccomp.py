"""The system calls that a child may make: a short list, everything else refused by the kernel.

Reading order: ALLOWED, Filter (build once, install in each child), then the assembler with named jump targets.
A program can compute, get memory and write to the descriptors it was left with. It cannot open, connect, fork, exec,
signal, trace, map executable memory, or change a limit or a signal handler: those fail with EPERM, which Python shows
as PermissionError. A call from another architecture's table ends the process.
"""

import ctypes
import errno
import struct
from typing import Final

from sandbox import libc

ALLOWED: Final = (
    "read", "write", "readv", "writev", "pread64", "lseek", "close", "fstat", "brk", "munmap", "mremap", "madvise",
    "futex", "exit", "exit_group", "rt_sigreturn", "restart_syscall", "clock_gettime", "gettimeofday", "sched_yield",
    "getpid", "gettid",
)  # fmt: skip
WITHOUT_EXEC: Final = ("mmap", "mprotect")
"""Allowed unless the memory is to be executable: native code of one's own is where kernel exploits begin."""

AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT: Final = 0x40000000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NR_AT, _ARCH_AT, _PROTECTION_AT = 0, 4, 32  # offsets in struct seccomp_data; the third is args[2]'s low half
_PROT_EXEC: Final = 4
_MODE_FILTER: Final = 2

Step = tuple[str | None, int, int, str | None, str | None]
"""label of this step, code, operand, label to jump to if true, label if false (None: the next step)."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


class Filter:
    """A filter for this machine. Raises OSError where seccomp's numbers are not known."""

    def __init__(self) -> None:
        self._code = assemble(steps(libc.MACHINE))
        self._buffer = ctypes.create_string_buffer(self._code)
        self._program = _Program(len(self._code) // 8, ctypes.addressof(self._buffer))
        self._pointer = ctypes.byref(self._program)

    def install(self) -> None:
        """Bind this process, for good. Needs no_new_privs. Raises OSError."""
        libc.prctl(libc.PR_SET_SECCOMP, _MODE_FILTER, self._pointer)


def steps(machine: str) -> list[Step]:
    """The filter as labelled steps, for a machine of libc.MACHINES."""
    column = libc.MACHINES.index(machine) if machine in libc.MACHINES else -1
    if column < 0:
        raise OSError(errno.ENOSYS, f"no system call numbers for {machine}")
    program: list[Step] = [
        (None, _LOAD, _ARCH_AT, None, None),
        (None, _JUMP_EQUAL, AUDIT_ARCH[machine], None, "kill"),
        (None, _LOAD, _NR_AT, None, None),
        (None, _JUMP_AT_LEAST, X32_BIT, "kill", None),
    ]
    for name in ALLOWED:
        number = libc.NUMBERS[name][column]
        assert number is not None
        program.append((None, _JUMP_EQUAL, number, "allow", None))
    for name in WITHOUT_EXEC:
        number = libc.NUMBERS[name][column]
        assert number is not None
        program.append((None, _JUMP_EQUAL, number, "protection", None))
    return [
        *program,
        (None, _RETURN, _REFUSE, None, None),
        ("protection", _LOAD, _PROTECTION_AT, None, None),
        (None, _JUMP_ANY_BIT, _PROT_EXEC, "refuse", "allow"),
        ("refuse", _RETURN, _REFUSE, None, None),
        ("allow", _RETURN, _ALLOW, None, None),
        ("kill", _RETURN, _KILL, None, None),
    ]


def assemble(program: list[Step]) -> bytes:
    """Classic BPF. Jumps count from the step after the jump; labels keep us from counting by hand."""
    place = {label: number for number, (label, *_) in enumerate(program) if label}
    code = b""
    for number, (_, opcode, operand, if_true, if_false) in enumerate(program):
        jumps = [place[target] - number - 1 if target else 0 for target in (if_true, if_false)]
        assert all(0 <= jump <= 255 for jump in jumps), "a jump out of range"
        code += struct.pack("=HBBI", opcode, *jumps, operand)
    return code


def decide(program: bytes, machine_word: int, number: int, protection: int = 0) -> int:
    """What the filter returns for a call, by walking it here: for tests and for reading, not for enforcement."""
    data = struct.pack("=IIQ6Q", number, machine_word, 0, 0, 0, protection, 0, 0, 0)
    at = accumulator = 0
    while True:
        opcode, if_true, if_false, operand = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if opcode == _RETURN:
            return int(operand)
        if opcode == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        else:
            tests = {_JUMP_EQUAL: accumulator == operand, _JUMP_AT_LEAST: accumulator >= operand}
            at += if_true if tests.get(opcode, bool(accumulator & operand)) else if_false
