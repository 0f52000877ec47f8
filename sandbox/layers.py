"""All layers in one place: what each adds, how it is applied, and whether it is in force.

Reading order: LAYERS (the table that reports and README show), Layers (apply in order, remember what happened), then
seal_child, the part that each forked child goes through.
"""

import math
import os
import resource
import signal
from os import getppid  # as it is before steady.py replaces it
from typing import Any, Final

from sandbox import confine, libc, selftest
from sandbox.seccomp import Filter

LAYERS: Final = {
    "seccomp": "system calls: an allow-list; no files, processes, sockets, signals, executable memory",
    "no_new_privs": "no program that is started could gain rights",
    "limits": "address space, processor time, open files, processes, stack, file size, core dumps",
    "descriptors": "nothing is open but the result channel, and no memory is shared",
    "parent_death": "a job dies with its zygote, a zygote with its host",
    "undumpable": "no other process of the same user can read or trace a zygote or job",
    "namespaces": "processes, network, mounts and ipc of its own: nothing of the host is even visible",
    "empty_root": "the file system is an empty read-only directory",
    "nobody": "when started by root: a user without rights",
    "capabilities": "no capability, not even in its own namespace",
    "landlock": "a second lock on files, TCP, and signals and sockets that lead outside",
}
REQUIRED: Final = ("seccomp", "no_new_privs", "limits", "descriptors", "parent_death")
"""Without one of these, untrusted code is refused unless the user says unsafe."""
OPTIONAL: Final = tuple(name for name in LAYERS if name not in REQUIRED)


class Layers:
    """What was applied to this process. `missing` holds the reason for each layer that is not in force."""

    def __init__(self, without: tuple[str, ...]) -> None:
        self.without = without
        self.in_force: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.filter: Filter | None = None
        self.trials: list[selftest.Trial] = []

    def attempt(self, name: str, apply: Any, *arguments: Any) -> bool:
        """Apply one layer if the machine offers it."""
        if name in self.without:
            self.missing[name] = "switched off"
            return False
        try:
            detail = apply(*arguments)
        except (OSError, ImportError, AttributeError) as error:
            self.missing[name] = str(error)
            return False
        self.in_force[name] = detail if isinstance(detail, str) else ""
        if name != "namespaces":
            self.try_out(name)
        return True

    def try_out(self, name: str) -> None:
        """Commit the acts that this layer forbids, now, before the next layer could hide a hole in it."""
        self.trials += selftest.try_acts(name, selftest.ZYGOTE_ACTS.get(name, ()))

    def before_loading(self) -> bool:
        """What must come before modules are loaded. True: the caller has to fork to enter the new pid namespace."""
        return self.attempt("namespaces", confine.enter_namespaces)

    def after_loading(self) -> None:
        """Everything that takes the file system away or rights off; nothing can be loaded after it."""
        self.try_out("descriptors")  # while there is a /proc to look at
        if "namespaces" in self.in_force:
            self.try_out("namespaces")
            self.attempt("empty_root", confine.empty_root)
        else:
            self.missing["empty_root"] = "needs namespaces"
        if os.geteuid() == 0:
            self.attempt("nobody", confine.become_nobody)
        else:
            self.in_force["nobody"] = f"started by user {os.getuid()}, not by root"
            self.try_out("nobody")
        self.attempt("no_new_privs", libc.prctl, libc.PR_SET_NO_NEW_PRIVS, 1)
        self.attempt("capabilities", confine.drop_capabilities)
        self.attempt("landlock", confine.landlock)
        self.attempt("undumpable", libc.prctl, libc.PR_SET_DUMPABLE, 0)
        self.attempt("parent_death", libc.prctl, libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.attempt("seccomp", self.build_filter)
        self.in_force["limits"] = self.in_force["descriptors"] = ""
        for what, most in ZYGOTE_LIMITS:
            set_limit(what, most)

    def unprotected(self) -> str:
        """Why untrusted code must not run here, in words; empty when nothing speaks against it."""
        missing = [f"{name} ({self.missing[name]})" for name in REQUIRED if name in self.missing]
        broken = [f"{t.layer}: a job could {t.act} ({t.answer})" for t in self.trials if not t.refused]
        return "; ".join([*(f"missing: {name}" for name in missing), *broken])

    def build_filter(self) -> None:
        self.filter = Filter()


def seal_child(
    layers: Layers, zygote_pid: int, limits: dict[str, Any], base_bytes: int, runs: int, file_bytes: int
) -> None:
    """Bind a freshly forked child whose descriptors are sealed already: parent death and limits. Seccomp comes last."""
    if "parent_death" in layers.in_force:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if getppid() != zygote_pid:
            os._exit(98)  # the zygote died before the line above
    cpu = math.ceil(limits["cpu_s"] * runs) + 1  # the zygote's watch is exact; this is for when it is not there
    memory = base_bytes + int(limits["memory_mib"]) * (1 << 20)
    set_limit(resource.RLIMIT_CPU, cpu)
    set_limit(resource.RLIMIT_FSIZE, file_bytes)
    set_limit(resource.RLIMIT_NOFILE, 4)
    set_limit(resource.RLIMIT_NPROC, 0)
    set_limit(resource.RLIMIT_AS, memory)


def set_limit(what: int, most: int) -> None:
    """Lower one limit of this process for good. Raises OSError or ValueError where it cannot be."""
    try:
        resource.setrlimit(what, (most, most))
    except (ValueError, OSError):
        lower = resource.getrlimit(what)[1]
        if 0 <= lower < most:  # the user has set a lower one, which nobody can raise
            resource.setrlimit(what, (lower, lower))
        elif libc.LINUX:  # elsewhere only `unsafe` gets this far, and some limits do not exist
            raise


STACK_BYTES: Final = 64 << 20
"""Stack of a job. More than Python's default recursion limit needs, less than the gap the kernel leaves for it."""
ZYGOTE_LIMITS: Final = (
    (resource.RLIMIT_CORE, 0), (resource.RLIMIT_STACK, STACK_BYTES), (resource.RLIMIT_MEMLOCK, 0)
)  # fmt: skip
"""What a zygote can do without too, and its children inherit."""
