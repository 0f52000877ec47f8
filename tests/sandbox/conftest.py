"""What the sandbox tests share: a sandbox for all that need no other, and the things of the host that attacks aim at.

Reading order: box, target.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from target import Target

from sandbox import Limits, Sandbox

LIMITS = Limits(cpu_s=1.0, wall_s=20.0, memory_mib=256)
"""Generous by the clock, since the machine may be busy; processor time is what ends a loop."""


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    with Sandbox(workers=2, limits=LIMITS) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    name = f"sandbox-canary-{uuid.uuid4().hex}"
    directory = Path("/tmp") / name
    directory.mkdir()
    directory.chmod(0o777)
    (directory / "secret").write_text("the secret")
    (directory / "victim").write_text("victim")
    (directory / "victim").chmod(0o666)
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(directory / "socket"))
        (directory / "socket").chmod(0o777)
        abstract.bind("\0" + name)
        for listening in (tcp, unix, abstract):
            listening.listen(100)
        words = {
            "CANARY": str(directory / "canary"),
            "VICTIM": str(directory / "victim"),
            "SECRET": str(directory / "secret"),
            "UNIX": str(directory / "socket"),
            "PORT": str(tcp.getsockname()[1]),
            "PID": str(os.getpid()),
            "NAME": name,
        }
        yield Target(directory, name, words)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
