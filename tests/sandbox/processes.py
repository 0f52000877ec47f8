"""Looking at processes through /proc, for tests that say none is left.

Reading order: parent, then what is made of it.
"""

from pathlib import Path


def parent(pid: int) -> int:
    """The parent's pid, or 0 for a process that is gone or a zombie."""
    try:
        state, ppid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if state == "Z" else int(ppid)


def alive(pid: int) -> bool:
    return parent(pid) != 0


def children(pid: int) -> list[int]:
    running = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [other for other in running if parent(other) == pid]


def offspring(pid: int) -> list[int]:
    return [below for child in children(pid) for below in (child, *offspring(child))]


def generations(pid: int) -> int:
    """How many generations of living processes there are below pid."""
    return max((1 + generations(child) for child in children(pid)), default=0)
