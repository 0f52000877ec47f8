"""A command or a script as a user runs it, in the test's own process: the same words and exit status, without the
seconds and the memory in which a new process loads torch."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from minizero.cli import main


def command(*arguments: object, cwd: Path, stdin: str = "") -> CompletedProcess[str]:
    """`minizero` with these arguments and this standard input."""
    with patch.object(sys, "stdin", io.StringIO(stdin)):
        return _run(["minizero", *map(str, arguments)], cwd, main)


def script(path: Path, *arguments: object, cwd: Path) -> CompletedProcess[str]:
    """`python path` with these arguments."""
    return _run([str(path), *map(str, arguments)], cwd, lambda: runpy.run_path(str(path), run_name="__main__"))


def _run(asked: list[str], cwd: Path, call: Callable[[], object]) -> CompletedProcess[str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", asked), patch.dict(os.environ, COLUMNS="100"), contextlib.chdir(cwd),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
    ):  # fmt: skip
        try:
            call()
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
    return CompletedProcess(asked, status, out.getvalue(), err.getvalue())
