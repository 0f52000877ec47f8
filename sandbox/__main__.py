"""`python -m sandbox PROGRAM ARGUMENTS` runs f and prints its value; `--self-test` shows what protects it.

Reading order: main, then how a program's words are shown.
Exit status: 0 with a value (or a passed self-test), 1 without.
"""

import argparse
import re
import sys
from typing import Final

from sandbox import Job, Limits, Sandbox, Unprotected
from sandbox.values import render


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Run a program that nobody has read.")
    parser.add_argument("program", nargs="?", help="source text, or @FILE, that defines the entry function")
    parser.add_argument("args", nargs="?", default="", help="its arguments as source text, e.g. '41, [2], n=3'")
    parser.add_argument("--entry", default="f", help="function to call (f)")
    parser.add_argument("--stdin", help="run the program as a script with this standard input instead")
    parser.add_argument("--imports", choices=("training", "stdlib"), default="training")
    parser.add_argument("--cpu-s", type=float, default=1.0, help="processor seconds (1)")
    parser.add_argument("--memory-mib", type=int, default=512, help="memory in MiB (512)")
    parser.add_argument("--self-test", action="store_true", help="try one forbidden act per layer and print a table")
    parser.add_argument("--unsafe", action="store_true", help="go on where the machine cannot contain a program")
    chosen = parser.parse_args(arguments)
    if not chosen.self_test and chosen.program is None:
        parser.error("expected a program, or --self-test")
    try:
        limits = Limits(cpu_s=chosen.cpu_s, wall_s=4 * chosen.cpu_s, memory_mib=chosen.memory_mib)
    except ValueError as error:
        parser.error(str(error))
    try:
        with Sandbox(workers=1, limits=limits, unsafe=chosen.unsafe) as box:
            if chosen.self_test:
                print(box.report.table(), box.report, sep="\n")
                return 1 if box.report.unprotected else 0
            return _run(box, chosen)
    except Unprotected as error:
        print(error, file=sys.stderr)
        return 1


def _run(box: Sandbox, chosen: argparse.Namespace) -> int:
    program = chosen.program
    if program.startswith("@"):
        with open(program[1:], encoding="utf-8") as file:
            program = file.read()
    if chosen.stdin is None:
        job = Job(program, entry=chosen.entry, args=chosen.args, imports=chosen.imports)
    else:
        job = Job(program, stdin=chosen.stdin, imports=chosen.imports)
    result = box.run(job)
    if result.ok:
        print(shown(result.value if job.args is None else render(result.value, max_bytes=1 << 30)))
    else:
        print(shown(f"{result.status}: {result.error_type} {result.message}".rstrip(": ")))
    times = f"{result.wall_s * 1000:.1f} ms, {result.cpu_s * 1000:.1f} ms of processor time"
    print(times, box.report, sep="\n", file=sys.stderr)
    return 0 if result.ok else 1


_OBEYED: Final = r"\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""What a terminal obeys or cannot print: controls but for tab and newline, marks of direction, halves of characters."""


def shown(text: str) -> str:
    """A program's words, with what a terminal would obey escaped."""
    return re.sub(f"[{_OBEYED}]", lambda found: ascii(found[0])[1:-1], text)


if __name__ == "__main__":
    raise SystemExit(main())
