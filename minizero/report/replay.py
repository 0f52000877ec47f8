"""Rollouts in the terminal: what the model wrote, what became of it, what it earned; and a view of a running run.

Reading order: show and its filters, then how one rollout is drawn; watch. Model text is hostile: it is never read as
markup, and control characters are written as escapes before anything reaches the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from minizero.formatting import number, short
from minizero.report.console import step_line
from minizero.report.words import REASONS, VERDICTS, requested_lines, reward_of
from minizero.selfplay.run_data import find_tasks, read_run
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_files import JsonRow
from minizero.types import RunError, TaskType

ROLES = ("propose", "solve", "attempt")
LONGEST = 1600  # characters shown of one text
POLL_S = 0.5


def show(
    path: Path,
    *,
    step: int | None = None,
    role: str = "",
    task_type: str = "",
    reason: str = "",
    limit: int = 10,
    console: Console | None = None,
) -> None:
    """Show rollouts of one step (default: the last that has any). Raises RunError when nothing can be shown."""
    console = console or Console(highlight=False)
    run = RunDirectory.open(path)
    filters = {"role": role, "type": task_type, "reason": reason}
    for name, allowed in (("role", ROLES), ("type", [kind.value for kind in TaskType])):
        if filters[name] and filters[name] not in allowed:
            raise RunError(f"--{name} {filters[name]}: expected one of {', '.join(allowed)}.")
    steps = run.rollout_steps()
    if step is None:
        if not steps:
            raise RunError(f"{path}: no step has rollouts yet (run.rollouts_every, or no step is finished).")
        step = steps[-1]
    rows = run.rollouts(step)
    _check(rows, step)
    chosen = [row for row in rows if _passes(row, filters)]
    if not chosen:
        raise RunError(_nothing(step, rows, filters))
    wanted = {row["task"] for row in chosen[:limit] if row["role"] != "propose"}
    tasks = {row["task"]: row["task_content"] for row in rows if row.get("task_content") and row["task"] in wanted}
    kept, problems = find_tasks(path, wanted - set(tasks))
    tasks |= kept
    for row in chosen[:limit]:
        console.print(_rollout(row, tasks.get(row.get("task", ""))))
    shown = f"step {step} of {steps[0]} to {steps[-1]}: {min(limit, len(chosen))} of {len(rows)} rollouts"
    more = f", {len(chosen) - limit} more with --limit {len(chosen)}" if len(chosen) > limit else ""
    console.print(Rule(style="dim"), Text(shown + more))
    for problem in problems:
        console.print(Text(f"! {problem}"))


def _check(rows: Sequence[JsonRow], step: int) -> None:
    """Raise RunError for rows that no version of minizero wrote."""
    for line, row in enumerate(rows, 1):
        outcome = "reason" if row.get("role") == "propose" else "verdict"
        lacking = [name for name in ("role", "type", "id", "text", outcome) if not isinstance(row.get(name), str)]
        if lacking:
            raise RunError(
                f"rollouts of step {step}, line {line}: no rollout, {lacking[0]} is {row.get(lacking[0])!r:.40}. "
                "Another step is shown with --step N."
            )


def _passes(row: JsonRow, filters: Mapping[str, str]) -> bool:
    values = {"role": row["role"], "type": row["type"], "reason": _outcome(row)}
    return all(value in ("", values[name]) for name, value in filters.items())


def _outcome(row: JsonRow) -> str:
    """The reason of a rejection ("" for an admitted task) or the verdict of an answer."""
    return str(row["reason"] if row["role"] == "propose" else row["verdict"])


def _nothing(step: int, rows: Sequence[JsonRow], filters: Mapping[str, str]) -> str:
    if not rows:
        return f"step {step} has no rollouts."
    asked = " ".join(f"--{name} {value}" for name, value in filters.items() if value)
    others = {**filters, "reason": ""}
    there = sorted({_outcome(row) for row in rows if _passes(row, others)} - {""})
    hint = f" Reasons and verdicts there: {', '.join(there)}." if filters["reason"] and there else ""
    return f"step {step}: none of {len(rows)} rollouts has {asked}.{hint}"


# -- one rollout ------------------------------------------------------------------------------------------------------


Line = tuple[str, str, str]  # label, text, style


def _rollout(row: JsonRow, task: JsonRow | None) -> RenderableType:
    """A heading, and label and text side by side. Nothing of a text is markup, and it is visible to the last sign."""
    head = Rule(Text(f"{row['role']} {row['type']}  {row['id']}", style="bold"), align="left", style="dim")
    body = Table.grid(padding=(0, 2, 0, 0))
    body.add_column(min_width=9, justify="right", style="dim")
    body.add_column(overflow="fold")
    for label, text, style in (*(_proposal(row) if row["role"] == "propose" else _answer(row, task)), *_reward(row)):
        body.add_row(label, Text(short(text.strip("\n"), LONGEST), style=style))
    return Group(head, body, Text(""))


def _proposal(row: JsonRow) -> Iterator[Line]:
    yield from [("asked for", lines, "")] if (lines := requested_lines(row)) else []
    yield "wrote", row["text"], ""
    if row["reason"]:
        yield "rejected", f"{row['reason']}: {REASONS.get(row['reason'], '')}", "red"
        return
    yield "admitted", f"as task {row['task']}", "green"
    yield from _task(row["task_content"])
    if row["solve_rate"] is not None:
        yield "solve rate", f"{row['solve_rate']:.0%}, estimated by the attempts", ""


def _answer(row: JsonRow, task: JsonRow | None) -> Iterator[Line]:
    yield from _task(task) if task else [("", "the task is not in this run's files", "dim")]
    yield "wrote", row["text"], ""
    if row["answer"] is None:
        yield "parsed", "no answer", "red"
    elif row["answer"].strip() != row["text"].strip():
        yield "parsed", row["answer"], ""
    score = f" (score {number(row['score'])})" if 0 < row["score"] < 1 else ""
    style = "green" if row["verdict"] == "correct" else "red"
    yield "verdict", f"{row['verdict']}{score}: {VERDICTS.get(row['verdict'], '')}", style
    yield from [("", row["detail"], "dim")] if row["detail"] else []


def _task(task: JsonRow) -> Iterator[Line]:
    yield "program", task["program"], ""
    if task["type"] != TaskType.INDUCTION:
        (given, answer), *_ = task["pairs"]
        yield "input", given, ""
        yield "raises" if task["type"] == TaskType.ERROR else "output", answer, ""
        return
    yield from [("message", task["message"], "")] if task.get("message") else []
    shown = int(task.get("shown", 0))
    pairs = [f"{'shown ' if i < shown else 'hidden'}  {a} -> {b}" for i, (a, b) in enumerate(task["pairs"])]
    yield "pairs", "\n".join(pairs), ""


def _reward(row: JsonRow) -> Iterator[Line]:
    cut = ", cut by the token limit" if row["finish"] == "length" else ""
    yield "length", f"{row['tokens']} tokens{cut}{'' if row['format_ok'] else ', wrapper broken'}", ""
    reward = reward_of(row)
    rule = f" = {reward.rule}" if reward.rule else ""
    if reward.value == row["reward"]:
        yield "earned", f"{row['reward']:+.3g}{rule}", "bold"
    else:
        yield "earned", f"{row['reward']:+.3g}", "bold"
        yield "", f"rewards were shuffled (selfplay.shuffle_rewards); its own was {reward.value:+.3g}{rule}", "dim"
    for part in reward.parts:
        counts = f", counts {number(part.counts)}" if part.counts is not None else ", measured only"
        weight = f" x {number(part.weight)}" if part.counts is not None and part.weight != 1 else ""
        yield "", f"{part.name}: {number(part.value)}{weight}{counts if reward.rule else ''}", "dim"


# -- following a run --------------------------------------------------------------------------------------------------


def watch(
    path: Path, *, console: Console | None = None, wait: Callable[[], object] = lambda: time.sleep(POLL_S)
) -> None:
    """Print the line of every step, then of new ones as they are written, until the run is over or Ctrl-C.

    `wait` is called between two looks; when it returns True, watching ends.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    found = read_run(path)
    config = found.config
    for problem in found.problems:
        console.print(Text(f"! {problem}"))
    total = config.selfplay.steps if config else 0
    is_validated = bool(config and config.eval.tasks != "none")
    run, seen, last = RunDirectory.open(path), 0, 0
    try:
        while True:
            rows = run.metrics() if (path / "metrics.jsonl").is_file() else []
            for row in rows[min(seen, len(rows)) :]:  # a resume cuts the file back to the step that it goes on from
                if "time/step_s" in row:
                    console.print(Text(step_line(row["step"], total, row)))
                if "eval/greedy" in row:
                    console.print(Text(_eval_line(row)))
                last = row["step"]
                if total and last >= total and ("eval/greedy" in row or not is_validated):
                    return
            seen = len(rows)
            if wait():
                return
    except KeyboardInterrupt:
        console.print(Text(f"no longer watching, after step {last}; the run goes on"))


def _eval_line(row: JsonRow) -> str:
    parts = [f"held-out after step {row['step']}:"]
    if "eval/solve_rate" in row:
        parts.append(f"{row['eval/solve_rate']:.1%} at temperature 1,")
    parts.append(f"{row['eval/greedy']:.1%} greedily")
    if "eval/change" in row:
        parts.append(f"({row['eval/change']:+.1f} points)")
    return " ".join(parts)
