"""The runs of a set: each a `minizero selfplay` of its own, as many at once as cores or cards; what is done stays done.

Reading order: Job and plan_jobs (what is missing), run_jobs (seed by seed: start, poll, keep, look), Failure; then one
child. A variant that crashes is named and the rest goes on. Ctrl-C lets every run finish its step; the same command
goes on from there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from minizero.ablate.live_table import LiveTable
from minizero.ablate.sets import AblationSet, Variant
from minizero.ablate.summary import read_summary, settings_of, stale, summarise, write_summary
from minizero.config import Config, config_from, read_toml, to_toml
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.signals import handling, like_ctrl_c
from minizero.types import MiniZeroError, RunError

POLL_S = 0.3
Look = Callable[[], Collection[str]]  # reads the summaries; the variants that need no further seed


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that crashed, and where it said why."""

    name: str
    reason: str
    log: Path


@dataclass(slots=True)
class Job:
    """One run: its settings, its place, and the process while there is one."""

    variant: Variant
    seed: int
    config: Config
    model: str
    home: Path  # holds the run's directory, its settings and its log
    keep: Path
    process: subprocess.Popen[bytes] | None = field(default=None)
    card: str = ""  # the one card that it sees, as CUDA_VISIBLE_DEVICES names it; "": whatever there is

    @property
    def name(self) -> str:
        return f"{self.variant.name}-{self.seed}"

    @property
    def summary(self) -> Path:
        return self.keep / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.home / "console.log"

    def run(self) -> Path | None:
        """The newest run directory of this job that was begun with these settings."""
        begun = [path.parent for path in sorted(self.home.glob("*/config.toml"), reverse=True)]
        wanted = settings_of(self.config)
        return next((path for path in begun if _settings_in(path) == wanted), None)

    def done(self) -> int:
        """Steps that are finished."""
        path = self.run()
        rows = RunDirectory(path).metrics() if path else []
        return max((int(row["step"]) for row in rows), default=0)


def plan_jobs(asked: AblationSet, *, seeds: int, home: Path, keep: Path) -> list[Job]:
    """Every run of a set, seed by seed, so that a set that is stopped early has whole rows.

    Raises RunError when kept summaries answer another question than the one asked now.
    """
    if seeds < 1:
        raise RunError(f"--seeds {seeds}: at least one seed is needed; three or more say something of the next one.")
    jobs = []
    for seed in range(seeds):
        for variant in asked.variants:
            place = home / "runs" / f"{variant.name}-{seed}"
            config = _placed(asked.config(variant, seed), place)
            jobs.append(Job(variant, seed, config, asked.model, place, keep))
    other = []
    for job in jobs:
        if job.summary.is_file() and (why := stale(read_summary(job.summary), job.config)):
            other.append(f"  {job.summary}: {why}")
    if other:
        raise RunError(
            f"{len(other)} kept summaries were made with other settings than those asked for now:\n"
            + "\n".join(other[:8])
            + ("\n  ..." if len(other) > 8 else "")
            + "\nRemove them to run them again, or give this comparison a place of its own with --out."
        )
    return jobs


def run_jobs(
    jobs: Sequence[Job], *, jobs_at_once: int = 0, console: Console, look: Look | None = None
) -> list[Failure]:
    """Run what has no summary yet. Returns what crashed; raises KeyboardInterrupt after a Ctrl-C, all steps saved.

    Seed by seed, the default and the controls with every seed that a variant gets: from the second seed on `look` is
    asked before each further one, and what it names is not run. Where it names every variant, the set is done.
    """
    at_once = jobs_at_once or default_jobs(jobs)
    failures: list[Failure] = []
    steps = {job.name: job.config.selfplay.steps for job in jobs}
    rows = list(dict.fromkeys(job.variant.name for job in jobs))
    # SIGTERM too lets the runs finish their step: without us they would go on alone, and a second sitting beside.
    ended = handling(signal.SIGTERM, like_ctrl_c)
    with LiveTable(rows, sorted({job.seed for job in jobs}), steps, console, at_once) as progress, ended:
        for job in jobs:
            if job.summary.is_file():
                progress.kept(job.name, read_summary(job.summary))
        for wave in _waves(jobs) if look else [list(jobs)]:
            waiting = [job for job in wave if not job.summary.is_file()]
            if look and waiting and min(job.seed for job in wave) > 1:
                decided = look()
                undecided = {job.variant.name for job in wave if job.variant.kind == "variant"} - set(decided)
                for job in [job for job in waiting if job.variant.name in decided or not undecided]:
                    progress.not_needed(job.name)
                    waiting.remove(job)
            failures += _run(waiting, at_once, progress, console)
    return failures


def _waves(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """What is run before each look: the first two seeds together, for there is no look after one, then seed by seed."""
    for first in sorted({max(1, job.seed) for job in jobs}):
        yield [job for job in jobs if max(1, job.seed) == first]


def _run(waiting: list[Job], at_once: int, progress: LiveTable, console: Console) -> list[Failure]:
    running: list[Job] = []
    failures: list[Failure] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_started(_on_a_card(waiting.pop(0), running)))
            time.sleep(POLL_S)
            for job in list(running):
                assert job.process is not None
                if job.process.poll() is None:
                    progress.moved(job.name, job.done())
                    continue
                running.remove(job)
                failure = _finished(job, progress)
                failures += [failure] if failure else []
    finally:
        if running:
            console.print("\nthe running ones finish their step; Ctrl-C again stops them at once", markup=False)
            _stop(running)
    return failures


def default_jobs(jobs: Sequence[Job]) -> int:
    """One on each card, where runs would share its memory; else one per core."""
    if any(_wants_card(job.config) for job in jobs):
        return max(1, len(_cards()))
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _on_a_card(job: Job, running: Sequence[Job]) -> Job:
    """The job with the card that the fewest of the others use, where it wants one and there are several."""
    if _wants_card(job.config) and len(cards := _cards()) > 1:
        job.card = min(cards, key=lambda card: sum(other.card == card for other in running))
    return job


def _cards() -> list[str]:
    """The cards of this machine that we may use, by the names that a child is given."""
    import torch

    allowed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return allowed or [str(number) for number in range(torch.cuda.device_count())]


def _placed(config: Config, home: Path) -> Config:
    """The same run in its own place. On the CPU it gets one thread and one sandbox worker, as its neighbours do."""
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["run"] |= {"dir": str(home), "name": ""}
    if config.model.name == "tiny" and config.model.device == "auto":
        tree["model"]["device"] = "cpu"  # many small runs side by side are faster there than one by one on a card
    if not _wants_card(config_from(tree)):
        tree["run"]["threads"] = tree["sandbox"]["workers"] = 1
    return config_from(tree)


def _wants_card(config: Config) -> bool:
    if config.model.device != "auto":
        return config.model.device == "cuda"
    if config.model.name == "tiny":
        return False
    import torch

    return torch.cuda.is_available()


def _settings_in(path: Path) -> object:
    try:
        return settings_of(config_from(read_toml(path / "config.toml")), path)
    except (MiniZeroError, OSError):
        return None  # of another version, or half written: a new run is begun beside it


def _started(job: Job) -> Job:
    job.home.mkdir(parents=True, exist_ok=True)
    job.keep.mkdir(parents=True, exist_ok=True)
    own = {"OMP_NUM_THREADS": "1"} if job.config.run.threads == 1 else {}
    own |= {"CUDA_VISIBLE_DEVICES": job.card} if job.card else {}
    with job.log.open("ab") as log:
        # In a session of its own: Ctrl-C reaches it once, from us, and not a second time from the terminal.
        job.process = subprocess.Popen(
            child_command(job), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | own, start_new_session=True,
        )  # fmt: skip
    return job


def child_command(job: Job) -> list[str]:
    """`minizero selfplay`, from the start or from where a run with these settings stopped."""
    command = [sys.executable, "-m", "minizero", "selfplay"]
    begun = job.run()
    if begun:
        return [*command, "--resume", str(begun)]
    settings = job.home / "settings.toml"
    settings.write_text(to_toml(job.config), encoding="utf-8")
    return [*command, job.model, "--config", str(settings)]


def _finished(job: Job, progress: LiveTable) -> Failure | None:
    assert job.process is not None
    code = job.process.returncode
    if code == 0:
        path = job.run()
        try:
            if path is None:
                raise RunError("it ended well but left no run directory with its settings")
            summary = summarise(path, job.variant)
        except RunError as error:
            failure = Failure(job.name, str(error), job.log)
        else:
            write_summary(summary, job.keep)
            progress.finished(job.name, summary)
            return None
    else:
        failure = Failure(job.name, _last_words(job.log, code), job.log)
    progress.crashed(failure.name, failure.reason)
    return failure


def _last_words(log: Path, code: int) -> str:
    """The line of a child's console that says why it ended."""
    if code < 0:
        return f"ended by signal {-code}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line.removeprefix("minizero: ") for line in lines if line.startswith("minizero: ")]
    return (said or lines or [f"exit status {code}, and nothing was said"])[-1][:300]


def _stop(running: Sequence[Job]) -> None:
    """Ask every run to finish its step; a second Ctrl-C ends them."""
    processes = [job.process for job in running if job.process]
    for process in processes:
        process.send_signal(signal.SIGINT)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
            process.wait()
