"""What a run's tasks are about: how many inputs are numbers only, have texts, lists or dictionaries, how often the same
inputs come again, how long programs are and how often they are solved.

    python benchmarks/task_kinds.py RUN [RUN ...] [--every 10]

Reads RUN/tasks.jsonl, the tasks that were admitted; seed tasks (step 0) are left out. Prints a Markdown table for each
run, a row for every so many steps. docs/small-model.md was made with it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from minizero.formatting import percent
from minizero.selfplay.buffer import Entry, read_entries
from minizero.tasks.programs import statement_lines
from sandbox.text import parse_arguments

COLUMNS = (
    "numbers only", "texts", "lists", "dicts", "ten commonest inputs", "statement lines", "learnable", "always solved",
)  # fmt: skip
LISTS = (list, tuple, set, frozenset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=10, help="steps of one row")
    options = parser.parse_args()
    for run in options.runs:
        entries = [entry for entry in read_entries(run / "tasks.jsonl") if entry[0].step]
        stock = {text for text, _ in Counter(map(first_input, entries)).most_common(10)}
        print(f"{run.name}: {len(entries)} tasks\n\n| steps | tasks | {' | '.join(COLUMNS)} |")
        print(f"|{'---|' * (len(COLUMNS) + 2)}")
        for start in range(1, max((task.step for task, _ in entries), default=0) + 1, options.every):
            rows = [entry for entry in entries if start <= entry[0].step < start + options.every]
            if rows:
                print(f"| {start}-{start + options.every - 1} | {len(rows)} | {' | '.join(describe(rows, stock))} |")
        print()


def first_input(entry: Entry) -> str:
    """The task's only input, or the first of an induction task."""
    return entry[0].pairs[0].input


def describe(entries: list[Entry], stock: set[str]) -> list[str]:
    """The cells of one row, in the order of COLUMNS."""
    kinds = [kinds_of(first_input(entry)) for entry in entries]
    rates = [rate for _, rate in entries if rate is not None]
    return [
        share(not kind for kind in kinds),
        *(share(which in kind for kind in kinds) for which in (str, list, dict)),
        share(first_input(entry) in stock for entry in entries),
        f"{sum(statement_lines(task.program) for task, _ in entries) / len(entries):.1f}",
        share(0 < rate < 1 for rate in rates),
        share(rate == 1 for rate in rates),
    ]


def kinds_of(text: str) -> set[type]:
    """Which of str, list and dict stand anywhere in these arguments; tuples and sets count as lists, bytes as str."""
    positional, named = parse_arguments(text)
    found, open_values = set[type](), [*positional, *named.values()]
    while open_values:
        value = open_values.pop()
        if isinstance(value, str | bytes):
            found.add(str)
        elif isinstance(value, LISTS):
            found.add(list)
            open_values += value
        elif isinstance(value, dict):
            found.add(dict)
            open_values += [*value, *value.values()]
    return found


def share(flags: Iterable[bool]) -> str:
    """A share of true values; "" of none."""
    values = list(flags)
    return percent(sum(values) / len(values), 0) if values else ""


if __name__ == "__main__":
    main()
