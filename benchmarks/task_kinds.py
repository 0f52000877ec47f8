"""What a run's tasks are about: how many inputs are numbers only, have texts, lists or dictionaries, how often the same
inputs come again, how long programs are and how often they are solved.

    python benchmarks/task_kinds.py RUN [RUN ...] [--every 10]

Reads RUN/tasks.jsonl, the tasks that were admitted; seed tasks (step 0) are left out. Prints a Markdown table for each
run, a row for every so many steps. docs/small-model.md was made with it.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

COLUMNS = ("numbers only", "texts", "lists", "dicts", "ten commonest inputs", "lines", "learnable", "always solved")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=10, help="steps of one row")
    options = parser.parse_args()
    for run in options.runs:
        tasks = [task for line in (run / "tasks.jsonl").read_text().splitlines() if (task := json.loads(line))["step"]]
        stock = {text for text, _ in Counter(first_input(task) for task in tasks).most_common(10)}
        print(f"{run.name}: {len(tasks)} tasks\n\n| steps | tasks | {' | '.join(COLUMNS)} |")
        print(f"|{'---|' * (len(COLUMNS) + 2)}")
        for start in range(1, max((task["step"] for task in tasks), default=0) + 1, options.every):
            rows = [task for task in tasks if start <= task["step"] < start + options.every]
            if rows:
                cells = " | ".join(describe(rows, stock))
                print(f"| {start}-{start + options.every - 1} | {len(rows)} | {cells} |")
        print()


def first_input(task: dict[str, Any]) -> str:
    """The task's only input, or the first of an induction task."""
    return str(task["pairs"][0][0])


def describe(tasks: list[dict[str, Any]], stock: set[str]) -> list[str]:
    """The cells of one row, in the order of COLUMNS."""
    kinds = [kinds_of(first_input(task)) for task in tasks]
    rates = [rate for task in tasks if (rate := task.get("solve_rate")) is not None]
    return [
        percent(not kind & {str, list, dict} for kind in kinds),
        *(percent(which in kind for kind in kinds) for which in (str, list, dict)),
        percent(first_input(task) in stock for task in tasks),
        f"{sum(len(task['program'].splitlines()) - 1 for task in tasks) / len(tasks):.1f}",
        percent(0 < rate < 1 for rate in rates),
        percent(rate == 1 for rate in rates),
    ]


def kinds_of(text: str) -> set[type]:
    """Which of str, list and dict stand anywhere in these arguments; tuples and sets count as lists."""
    classes: dict[type[ast.AST], type] = {ast.List: list, ast.Tuple: list, ast.Set: list, ast.Dict: dict}
    found: set[type] = set()
    for argument in ast.parse(f"f({text})", mode="eval").body.args:  # type: ignore[attr-defined]
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                found.add(str)
            elif type(node) in classes:
                found.add(classes[type(node)])
    return found


def percent(flags: Any) -> str:
    """A share of true values."""
    values = list(flags)
    return f"{100 * sum(values) / len(values):.0f} %" if values else ""


if __name__ == "__main__":
    main()
