"""The layers that confine a zygote and thereby all its children: namespaces, empty root, powerless user, Landlock.

Reading order: one function per layer, in the order in which layers.py applies them. Each raises OSError where the
machine does not offer it. What each must then prevent is tried in selftest.py.
"""

import ctypes
import os
import struct
from typing import Final

from sandbox import libc

NEW_USER, NEW_PID, NEW_NET, NEW_MOUNT = 0x10000000, 0x20000000, 0x40000000, 0x00020000
NEW_IPC, NEW_UTS, NEW_CGROUP = 0x08000000, 0x04000000, 0x02000000
NOBODY: Final = 65534

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18
_MNT_DETACH: Final = 2
_LANDLOCK_VERSION_FLAG: Final = 1


def enter_namespaces() -> str:
    """New pid, net, mount, ipc, uts and cgroup namespaces, in a user namespace unless we are root; says which way.

    The caller must fork: only its children are inside the new pid namespace.
    """
    rest = NEW_PID | NEW_NET | NEW_MOUNT | NEW_IPC | NEW_UTS | NEW_CGROUP
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            libc.call("unshare", rest)
            return "as root"
        except OSError:
            pass  # a container's root may still be allowed a user namespace
    libc.call("unshare", rest | NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return "in a user namespace"


def empty_root() -> None:
    """Replace the whole file system by an empty, read-only directory. Needs enter_namespaces."""
    null = None
    libc.call("mount", null, b"/", null, _MS_REC | _MS_PRIVATE, null)
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_RDONLY
    place = next(path for path in ("/tmp", "/var", "/usr", "/dev") if os.path.isdir(path))
    libc.call("mount", b"none", place.encode(), b"tmpfs", flags, b"size=4k,nr_inodes=4,mode=555")
    os.chdir(place)
    libc.syscall("pivot_root", b".", b".")
    libc.call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def become_nobody() -> None:
    """From root to a user without rights or groups."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def drop_capabilities() -> None:
    """Give up every capability, also those inside our own user namespace."""
    header = struct.pack("=II", 0x20080522, 0)  # version 3, this process
    libc.syscall("capset", header, b"\0" * 24)


def landlock_version() -> int:
    """The kernel's Landlock ABI. Raises OSError where there is none."""
    return libc.syscall("landlock_create_ruleset", None, 0, _LANDLOCK_VERSION_FLAG)


def landlock() -> str:
    """Refuse every file, TCP port, and every signal or abstract socket that leads outside; says which ABI."""
    version = landlock_version()
    files = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):  # refer, truncate, device ioctl
        files |= (version >= since) << bit
    attributes = struct.pack("=QQQ", files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    buffer = ctypes.create_string_buffer(attributes[:size], size)
    rules = libc.syscall("landlock_create_ruleset", buffer, size, 0)
    try:
        libc.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)
    return f"version {version}"
