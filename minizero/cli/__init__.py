"""The command line; `minizero COMMAND --help` explains each command.

Reading order: main, then runs.py (commands that make something), serve.py, first_light.py, results.py (commands that
read it) and chat.py (with conversation.py).
"""

from __future__ import annotations

import os
import sys

import tyro

from minizero.cli.chat import chat
from minizero.cli.first_light import first_light
from minizero.cli.results import compare, evaluate, replay, report, settings, watch
from minizero.cli.runs import ablate, doctor, export, export_environment, plan, seed, selfplay
from minizero.cli.serve import serve
from minizero.formatting import visible
from minizero.learn.ranks import leads
from minizero.types import MiniZeroError
from sandbox import SandboxError


def version() -> str:
    """Version and commit, for a report of a fault: "minizero 0.1.0 (3f2a9c1)"."""
    import minizero
    from minizero.selfplay.manifest import commit

    return f"minizero {minizero.__version__}" + (f" ({commit()})" if commit() else "")


def main() -> None:
    """Entry point. Errors that a user can mend are one message and exit status 1."""
    commands = (
        plan, doctor, first_light, selfplay, replay, watch, report, evaluate, chat, compare, ablate, export,
        export_environment, seed, serve, settings,
    )  # fmt: skip
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(version())
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            {command.__name__.replace("_", "-"): command for command in commands},
            prog="minizero",
            description="Absolute-Zero self-play for one person with one graphics card.",
        )
    except (MiniZeroError, SandboxError) as error:
        who = f"minizero, rank {rank}" if (rank := os.environ.get("RANK", "0")) != "0" else "minizero"
        print(f"{who}: {visible(str(error))}", file=sys.stderr)  # it may quote a file that a model wrote
        raise SystemExit(1) from None
    except BrokenPipeError:  # `minizero settings | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"minizero: {error.filename}: {error.strerror}. Give another place, one that you may read and write.",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        if not leads():
            raise SystemExit(130) from None
        print("\nminizero: stopped. A run continues with  --resume RUN", file=sys.stderr)
        raise SystemExit(130) from None
