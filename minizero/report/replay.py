"""Rollouts in the terminal: what the model wrote, what became of it, what it earned; and a view of a running run.

Reading order: show and its filters, then how one rollout is drawn; watch. Model text is hostile: it is never read as
markup, and control characters are written as escapes before anything reaches the terminal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from minizero.formatting import number, short
from minizero.report.console import step_line
from minizero.report.words import rejection_words, requested_lines, reward_of, verdict_words
from minizero.selfplay.run_data import Row, find_tasks, read_run
from minizero.selfplay.run_directory import RunDirectory
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
    _check_filter("role", role, ROLES)
    _check_filter("type", task_type, [kind.value for kind in TaskType])
    steps = run.rollout_steps()
    if step is None:
        if not steps:
            raise RunError(f"{path}: no step has rollouts yet (run.rollouts_every, or no step is finished).")
        step = steps[-1]
    rows = run.rollouts(step)
    chosen = [row for row in rows if _passes(row, role, task_type, reason)]
    if not chosen:
        raise RunError(_nothing(step, rows, role, task_type, reason))
    wanted = {row["task"] for row in chosen[:limit] if row["role"] != "propose"}
    tasks = {row["task"]: row["task_content"] for row in rows if row.get("task_content") and row["task"] in wanted}
    tasks |= find_tasks(path, wanted - set(tasks))
    for row in chosen[:limit]:
        console.print(_rollout(row, tasks.get(row.get("task", ""))))
    left = len(chosen) - limit
    more = f", {left} more with --limit {len(chosen)}" if left > 0 else ""
    console.print(Rule(style="dim"))
    console.print(
        Text(f"step {step} of {steps[0]} to {steps[-1]}: {min(limit, len(chosen))} of {len(rows)} rollouts{more}")
    )


def _check_filter(name: str, value: str, allowed: Sequence[str]) -> None:
    if value and value not in allowed:
        raise RunError(f"--{name} {value}: expected one of {', '.join(allowed)}.")


def _passes(row: Row, role: str, task_type: str, reason: str) -> bool:
    return (
        (not role or row["role"] == role)
        and (not task_type or row["type"] == task_type)
        and (not reason or _outcome(row) == reason)
    )


def _outcome(row: Row) -> str:
    """The reason of a rejection ("" for an admitted task) or the verdict of an answer."""
    return str(row["reason"] if row["role"] == "propose" else row["verdict"])


def _nothing(step: int, rows: Sequence[Row], role: str, task_type: str, reason: str) -> str:
    asked = " ".join(
        f"--{name} {value}" for name, value in (("role", role), ("type", task_type), ("reason", reason)) if value
    )
    there = sorted({_outcome(row) for row in rows if _passes(row, role, task_type, "")} - {""})
    if not rows:
        return f"step {step} has no rollouts."
    hint = f" Reasons and verdicts there: {', '.join(there)}." if reason and there else ""
    return f"step {step}: none of {len(rows)} rollouts has {asked}.{hint}"


# -- one rollout ------------------------------------------------------------------------------------------------------


def _rollout(row: Row, task: Row | None) -> RenderableType:
    parts: list[RenderableType] = [
        Rule(Text(f"{row['role']} {row['type']}  {row['id']}", style="bold"), align="left", style="dim")
    ]
    if row["role"] == "propose":
        if lines := requested_lines(row):
            parts.append(_line("asked for", lines))
        parts += _block("wrote", row["text"]) + _proposal(row)
    else:
        parts += (_task(task) if task else [_note("the task is not in this run's files")]) + _block(
            "wrote", row["text"]
        )
        if row["answer"] is None:
            parts.append(_line("parsed", "no answer", "red"))
        elif row["answer"].strip() != row["text"].strip():
            parts += _block("parsed", row["answer"])
        style = "green" if row["verdict"] == "correct" else "red"
        score = f" (score {number(row['score'])})" if 0 < row["score"] < 1 else ""
        parts.append(_line("verdict", f"{row['verdict']}{score}: {verdict_words(row['verdict'])}", style))
        if row["detail"]:
            parts.append(_note(row["detail"]))
    cut = ", cut by the token limit" if row["finish"] == "length" else ""
    wrapper = "" if row["format_ok"] else ", wrapper broken"
    parts.append(_line("length", f"{row['tokens']} tokens{cut}{wrapper}"))
    return Group(*parts, *_reward(row), Text(""))


def _proposal(row: Row) -> list[RenderableType]:
    if row["reason"]:
        return [_line("rejected", f"{row['reason']}: {rejection_words(row['reason'])}", "red")]
    parts: list[RenderableType] = [_line("admitted", f"as task {row['task']}", "green"), *_task(row["task_content"])]
    if row["solve_rate"] is not None:
        parts.append(_line("solved", f"{row['solve_rate']:.0%} of the attempts"))
    return parts


def _task(task: Row) -> list[RenderableType]:
    parts = _block("program", task["program"])
    if task["type"] == TaskType.INDUCTION:
        shown = int(task.get("shown", 0))
        pairs = [f"{'shown ' if i < shown else 'hidden'}  {a} -> {b}" for i, (a, b) in enumerate(task["pairs"])]
        return (
            parts
            + (_block("message", task["message"]) if task.get("message") else [])
            + _block("pairs", "\n".join(pairs))
        )
    (given, answer), *_ = task["pairs"]
    return [*parts, *_block("input", given), *_block("raises" if task["type"] == TaskType.ERROR else "output", answer)]


def _reward(row: Row) -> list[RenderableType]:
    reward = reward_of(row)
    rule = f" = {reward.rule}" if reward.rule else ""
    parts: list[RenderableType] = [_line("earned", f"{row['reward']:+.3g}{rule}", "bold")]
    if reward.value != row["reward"]:
        parts = [
            _line("earned", f"{row['reward']:+.3g}", "bold"),
            _note(f"rewards were shuffled (selfplay.shuffle_rewards); its own was {reward.value:+.3g}{rule}"),
        ]
    for part in reward.parts:
        counts = f", counts {number(part.counts)}" if part.counts is not None else ", measured only"
        weight = f" x {number(part.weight)}" if part.counts is not None and part.weight != 1 else ""
        parts.append(_note(f"{part.name}: {number(part.value)}{weight}{counts if reward.rule else ''}"))
    return parts


def _block(label: str, text: str) -> list[RenderableType]:
    """Label and model text; a short text stands beside its label."""
    shown = short(text.strip("\n"), LONGEST)
    if "\n" not in shown and len(shown) <= 66:
        return [_line(label, shown)]
    return [Text(f"{label:>9}", style="dim"), Padding(Text(shown, overflow="fold"), (0, 0, 0, 11))]


def _line(label: str, text: str, style: str = "") -> RenderableType:
    body = Text(short(text, LONGEST), style=style, overflow="fold")
    first, *rest = body.wrap(Console(width=200), 69)
    lines = [Text.assemble((f"{label:>9}", "dim"), "  ", first)]
    return Group(*lines, *(Padding(line, (0, 0, 0, 11)) for line in rest))


def _note(text: str) -> RenderableType:
    return Padding(Text(short(text, 400), style="dim", overflow="fold"), (0, 0, 0, 11))


# -- following a run --------------------------------------------------------------------------------------------------


def watch(
    path: Path, *, console: Console | None = None, wait: Callable[[], object] = lambda: time.sleep(POLL_S)
) -> None:
    """Print the line of every step, then of new ones as they are written, until the run is over or Ctrl-C.

    `wait` is called between two looks; when it returns True, watching ends.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    config = read_run(path).config
    total = config.selfplay.steps if config else 0
    is_validated = bool(config and config.eval.tasks != "none")
    position, last = 0, -1
    try:
        while True:
            rows, position = _new_rows(path / "metrics.jsonl", position)
            for row in rows:
                for line in _lines(row, total):
                    console.print(Text(line))
                last = row["step"]
                is_over = last >= total and ("eval/greedy" in row or not is_validated)
                if total and is_over:
                    return
            if wait():
                return
    except KeyboardInterrupt:
        console.print(Text(f"no longer watching, after step {max(0, last)}; the run goes on"))


def _new_rows(path: Path, position: int) -> tuple[list[Row], int]:
    """The whole lines after `position`, and where they end. From the start when a resume has cut the file back."""
    if not path.is_file():
        return [], 0
    if path.stat().st_size < position:
        position = 0
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], position + len(whole)


def _lines(row: Row, total: int) -> list[str]:
    steps = [step_line(row["step"], total, row)] if "time/step_s" in row else []
    return [*steps, *([_eval_line(row)] if "eval/greedy" in row else [])]


def _eval_line(row: Row) -> str:
    parts = [f"held-out after step {row['step']}:"]
    if "eval/solve_rate" in row:
        parts.append(f"{row['eval/solve_rate']:.1%} at temperature 1,")
    parts.append(f"{row['eval/greedy']:.1%} greedily")
    if "eval/change" in row:
        parts.append(f"({row['eval/change']:+.1f} points)")
    return " ".join(parts)
