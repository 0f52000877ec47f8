"""Stages that are runs: the tiny model, one that is killed and resumed, and steps of the model that was named.

Reading order: tiny, kill_and_resume, steps; then how a run is started and read.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minizero.config.disk import SIX_DIGITS
from minizero.formatting import duration
from minizero.report.first_light.child import Job, Log, Unmet
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import ModelError

UNSTEADY = ("time/", "memory/", "rollout/tokens_per_s", "sandbox/wait_s", "eval/")  # the clock's, or not in both runs
TINY = ("run.name=first-light", "eval.every=0", "run.checkpoint_every=0", "run.rollouts_every=0")
QUICK = (
    "selfplay.proposals=2", "selfplay.solves=8", "selfplay.attempts=2", "eval.tasks=none", "sandbox.workers=1",
    "sandbox.wall_s=60",
)  # fmt: skip
LESS = ("eval.limit=60",)
# Two steps of a real model in minutes: a tenth of the paper's completions, of a quarter of their length.
SHORT = (
    "selfplay.proposals=8", "selfplay.solves=8", "selfplay.attempts=4", "selfplay.propose_max_tokens=512",
    "selfplay.solve_max_tokens=512", "eval.tasks=none",
)  # fmt: skip
# Metrics of the second step that the report keeps.
TOLD = (
    "time/step_s", "time/planned_s", "time/floor_s", "time/step_s/push", "memory/peak_gib", "memory/planned_gib",
    "policy/trained_tokens", "rollout/tokens_per_s", "propose/admitted_frac",
)  # fmt: skip
POLL_S = 0.02


def tiny(job: Job, log: Log) -> None:
    """Steps of the built-in model, on the card where there is one."""
    count = 3 if job.quick else 20
    log.phase(f"{count} steps of the tiny model")
    path = _start(job, "tiny", _tiny(job, count))
    rows = _rows(path)
    _expect(rows, count)
    timed = [row["time/step_s"] for row in rows[-(count // 2) :]]
    log.facts(steps=count, step_s=_round(sum(timed) / len(timed)))
    evals = [row["eval/greedy"] for row in _all_rows(path) if "eval/greedy" in row]
    log.say(f"{count} steps, {sum(timed) / len(timed):.1f} s each")
    if len(evals) > 1:
        log.facts(solved_before=evals[0], solved_after=evals[-1])
        log.say(f"held-out tasks solved: {evals[0]:.1%} before, {evals[-1]:.1%} after")


def kill_and_resume(job: Job, log: Log) -> None:
    """A run that is killed in a step and continued: every step once, and on a CPU the same numbers as in the run that
    nobody killed."""
    stop, count = (1, 3) if job.quick else (2, 4)
    settings, folder = _tiny(job, count), Path(job.folder) / "runs-resume"
    log.phase(f"a run of the tiny model, to be killed after step {stop}")
    command = _command(folder, ["selfplay", "tiny", *settings])
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None and not _is_saved(folder, stop):
            time.sleep(POLL_S)
    finally:
        process.kill()
        process.wait()
    if process.returncode != -signal.SIGKILL:
        raise Unmet(f"the run ended with status {process.returncode} before it could be killed after step {stop}")
    (path,) = folder.iterdir()
    done = len(_rows(path))
    log.phase("resuming it")
    _run(_command(None, ["selfplay", "--resume", str(path)]))
    rows = _rows(path)
    _expect(rows, count)
    log.facts(steps=count, killed_after=done)
    log.say(f"killed after step {done}, resumed, and every one of {count} steps is there once")
    whole = next((Path(job.folder) / "runs-tiny").glob("*"), None)
    if whole is None:
        log.say("the run that nobody killed is not there to compare with")
        return
    same = [_steady(row) for row in _rows(whole)[:count]] == [_steady(row) for row in rows]
    log.facts(same_as_uninterrupted=same)
    log.say(f"its numbers are {'those' if same else 'not those'} of the run that nobody killed")
    if not same and job.device == "cpu":
        raise Unmet("a resumed run continues bit for bit on a CPU, and this one did not")


def steps(job: Job, log: Log) -> None:
    """Two whole steps of self-play with the model, beside the plan of the same settings."""
    log.phase(f"two steps of {job.name}")
    settings = ("selfplay.steps=2", "run.name=first-light", *(() if job.made and not job.base else SHORT))
    path = _start(job, "steps", job.command(*settings)[1:])
    rows = _rows(path)
    _expect(rows, 2)
    last = rows[-1]
    found = {name: _round(last[name]) for name in TOLD if name in last}
    log.facts(**found)
    planned = f", at most {found['time/planned_s']:.0f} planned" if "time/planned_s" in found else ""
    log.say(f"two steps of {job.name}; the second took {last['time/step_s']:.1f} s{planned}")
    if "memory/planned_gib" in found:
        log.say(
            f"{found['memory/peak_gib']:.2f} GiB given out by torch at most, {found['memory/planned_gib']:.2f} planned"
        )
    _whole_step(job, log)
    if not last.get("policy/trained_tokens"):
        log.say(
            "nothing was learned from: every answer of a role and task type earned the same, as with random weights"
        )


def _whole_step(job: Job, log: Log) -> None:
    """What a step takes as the settings say, by what the stages engine and update measured and by what was assumed."""
    from minizero.planner import make_plan
    from minizero.report.first_light.constants import constants, full_step
    from minizero.report.first_light.stage import facts_in, read_events

    try:
        plan = make_plan(job.config())
    except ModelError:
        return  # the stage engine has said that this model cannot be planned
    folder = Path(job.folder)
    facts = {name: facts_in(read_events(folder / f"{name}.jsonl")) for name in ("machine", "engine", "update")}
    measured, assumed = full_step(plan, constants(facts, ""))
    if measured:
        by_sheet = f"; {duration(assumed)} by the assumed ones" if assumed else ""
        log.facts(whole_step_s=_round(measured), assumed_step_s=_round(assumed))
        log.say(f"a whole step as the settings say: {duration(measured)} by the measured constants{by_sheet}")


def _tiny(job: Job, count: int) -> list[str]:
    settings = (*TINY, *(QUICK if job.quick else LESS), f"selfplay.steps={count}", f"model.device={job.device}")
    return [f"--set={text}" for text in settings]


def _start(job: Job, name: str, arguments: Sequence[str]) -> Path:
    """Run self-play to its end in a folder of the job; the run's directory."""
    folder = Path(job.folder) / f"runs-{name}"
    model = ["tiny"] if name == "tiny" else []
    _run(_command(folder, ["selfplay", *model, *arguments]))
    (path,) = folder.iterdir()
    return path


def _command(folder: Path | None, arguments: Sequence[str]) -> list[str]:
    place = [f"--set=run.dir={str(folder)!r}"] if folder else []
    return [sys.executable, "-m", "minizero", *arguments, *place]


def _run(command: Sequence[str]) -> None:
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if status:
        raise Unmet(f"minizero selfplay ended with status {status}; its last words are below")


def _all_rows(path: Path) -> list[dict[str, Any]]:
    return RunDirectory.open(path).metrics()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that are steps."""
    return [row for row in _all_rows(path) if row["step"] > 0]


def _expect(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    found = [row["step"] for row in rows]
    if found != list(range(1, count + 1)):
        raise Unmet(f"expected steps 1 to {count} once each, found {found}")
    odd = [name for row in rows for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    if odd:
        raise Unmet(f"not finite: {', '.join(sorted(set(odd)))}")


def _steady(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith(UNSTEADY)}


def _is_saved(folder: Path, step: int) -> bool:
    """Whether the run in this folder has saved the state after that step, or a later one."""
    states = folder.glob(f"*/state/step-{SIX_DIGITS}/state.json")
    return any(int(path.parent.name.removeprefix("step-")) >= step for path in states)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
