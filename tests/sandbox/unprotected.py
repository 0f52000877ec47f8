"""An executor without any protection, to show that an attack would succeed where nothing stops it.

Reading order: run_unprotected. The program runs in a plain interpreter of its own, so that the tests survive it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

RUNNER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
source = sys.stdin.read()
namespace = {"__name__": "program"}
exec(compile(source, "<program>", "exec"), namespace)
print("VALUE", namespace["f"]())
"""


def run_unprotected(program: str, directory: Path, wall_s: float = 20.0) -> str:
    """`VALUE ...` that f returned, `HANG` when time ran out, `DIED` when it ended early, or its last error line."""
    with tempfile.TemporaryFile("w+") as source:
        source.write(program)
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, "SECRET_TOKEN": "hunter2", "PYTHONWARNINGS": "ignore"},
            start_new_session=True,
            text=True,
        )
    try:
        out, errors = process.communicate(timeout=wall_s)
    except subprocess.TimeoutExpired:
        return "HANG"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the session, with whatever the attack has started in it
        process.communicate()
    if "VALUE" in out or "owned" in out:
        return out.strip()
    return (errors.strip().splitlines() or [""])[-1] if process.returncode == 1 else "DIED"
