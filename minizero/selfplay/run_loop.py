"""A whole run: assemble the rooms, step after step, save, validate, tell; continue where a killed one stopped.

Reading order: start and resume (what the command line calls), Session.run (the loop), Session.save and restore,
_assemble. The sandbox starts before torch is imported: its processes then stay small and inherit nothing of the
trainer.
"""

from __future__ import annotations

import os
import platform
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.config import Config, config_from, difference, read_toml, to_toml
from minizero.models.load import locate
from minizero.rewards import load_terms
from minizero.rollout.protocol import stream_seed
from minizero.selfplay.buffer import TaskBuffer, entry_line, read_entries
from minizero.selfplay.manifest import code_digest, commit, versions
from minizero.selfplay.round import task_key
from minizero.selfplay.run_directory import RunDirectory, State
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.seeds import seed_tasks
from minizero.selfplay.step import SelfPlay
from minizero.selfplay.trackers import open_trackers
from minizero.selfplay.validation import Validation, held_out_keys, held_out_tasks, validate
from minizero.types import MiniZeroError, Progress, Quiet
from sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from minizero.learn.policy import Policy


class Stopped(Exception):
    """Ctrl-C: the run stopped in good order and can be resumed."""


def start(config: Config, *, path: Path | None = None, progress: Progress | None = None, origin: str = "") -> Path:
    """Run self-play from the start in a new directory (runs/<date>-<model>-<name>); returns the directory.

    `origin`: where the settings come from, a sentence for the manifest.
    """
    path = path or default_path(config)
    locate(config.model.name)  # a wrong model name and a broken reward file are told before anything else starts
    sources = load_terms(config.reward)
    with Sandbox(**sandbox_settings(config)) as box:
        manifest = make_manifest(config, box) | {"settings": origin or "Settings: given from Python."}
        run = RunDirectory.create(path, config_toml=to_toml(config), manifest=manifest)
        for name, text in sources.items():
            run.write_text(name, text)
        try:
            with Session(config, run, box, progress or Quiet()) as session:
                session.run()
        except MiniZeroError:
            if run.newest_state(lambda text: None) is None:
                shutil.rmtree(path)  # nothing was done yet, so there is nothing to continue
            raise
    return path


def resume(path: Path, *, progress: Progress | None = None, steps: int | None = None) -> Path:
    """Continue a run from its newest whole state, bit for bit (transformers sampler). `steps`: a new, larger total."""
    run = RunDirectory.open(path)
    tree = read_toml(path / "config.toml")
    if steps is not None:
        tree.setdefault("selfplay", {})["steps"] = steps
    config = config_from(tree)
    if steps is not None:
        run.write_text("config.toml", to_toml(config))
    progress = progress or Quiet()
    with Sandbox(**sandbox_settings(config)) as box:
        state = run.newest_state(progress.say)
        run.rewind(state)
        with Session(config, run, box, progress, state=state) as session:
            session.run()
    return path


class Session:
    """One sitting of a run, with everything it holds open."""

    def __init__(
        self, config: Config, run: RunDirectory, box: Sandbox, progress: Progress, *, state: State | None = None
    ) -> None:
        self.config, self.directory, self.box, self.progress = config, run, box, progress
        self.state, self.done = state, state.step if state else 0
        self._stack = ExitStack()
        self._interrupted = False
        self._saved = -1  # the step of the newest state of this sitting

    def __enter__(self) -> Session:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        config, progress = self.config, self.progress
        progress.phase(f"loading {config.model.name}")
        from minizero.learn.advantages import load_estimators
        from minizero.learn.policy import Policy
        from minizero.planner import check_fits, expected_of
        from minizero.rollout.make import check_sampler, make_sampler

        for name, text in load_estimators(config.advantage).items():
            self.directory.write_text(name, text)
        check_sampler(config)
        check_fits(config)
        self.policy: Policy = Policy(config, tick=lambda: progress.tick(0))
        self.style = self.policy.style if config.prompt.style == "auto" else config.prompt.style
        self.config = config = self.policy.config  # with nothing left open
        self.expected = expected_of(config)
        self.sampler = make_sampler(config, self.policy)
        self._stack.callback(self.sampler.close)
        self.memory_checked = self._check_memory()
        self.held_out = held_out_tasks(config)
        by = config.admission.duplicate_by
        self.buffer = TaskBuffer(
            lambda task: task_key(task, by), cap=config.buffer.cap, evict=config.buffer.evict, keep=config.buffer.keep
        )
        self.game = SelfPlay(
            config, policy=self.policy, sampler=self.sampler, box=self.box, buffer=self.buffer, style=self.style,
            held_out=held_out_keys(config), tick=progress.tick,
        )  # fmt: skip
        self.trackers = open_trackers(config, self.directory)
        self._stack.callback(self.trackers.close)
        if self.state:
            self._restore(self.state)
        else:
            self._begin()

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def run(self) -> None:
        """Steps until the last one. Ctrl-C finishes the step and raises Stopped; pressed twice, KeyboardInterrupt."""
        with self._interruptible():
            while self.done < self.config.selfplay.steps:
                self.step()
                if self._interrupted:
                    self._save_state()
                    raise Stopped(f"stopped after step {self.done}. Continue with  --resume {self.directory.path}")
        self.finish()

    def step(self) -> None:
        """One self-play step, written down: rollouts, buffer, metrics, then the state that a resume starts from."""
        number, config = self.done + 1, self.config
        self.progress.phase(f"step {number}/{config.selfplay.steps}")
        started = time.perf_counter()
        result = self.game.step(number)
        pushing = time.perf_counter()
        self.sampler.load(self.policy)
        pushed_s = time.perf_counter() - pushing
        every = config.run.rollouts_every
        if every and number % every == 0:
            self.directory.write_rollouts(number, [rollout_row(s) for s in result.scored])
        self.directory.append("tasks.jsonl", "".join(entry_line(task, rate) for task, rate in result.stored))
        values = result.metrics | self.memory_checked | {"memory/peak_gib": peak_gib(self.policy.device)}
        values |= {"time/step_s": time.perf_counter() - started, "time/step_s/push": pushed_s}
        wrote = [(s.rollout.completion, s.is_trained) for s in result.scored]
        values |= self.expected.metrics(
            values["time/step_s"], [c for c, _ in wrote], [c for c, trained in wrote if trained]
        )
        if config.eval.every and number % config.eval.every == 0 and number < config.selfplay.steps:
            values |= self.validation(number)
        self.directory.log(number, values)
        self.trackers.log(number, values)
        self.done = number
        self.progress.step(number, config.selfplay.steps, values)
        if number % config.run.state_every == 0:
            self._save_state()
        if config.run.checkpoint_every and number % config.run.checkpoint_every == 0:
            self._checkpoint(number)

    def finish(self) -> None:
        """After the last step: the checkpoint that is the run's result, and the last validation. Safe to repeat."""
        if self.held_out and self.done and not self._validated(self.done):
            values = self.validation(self.done)
            self.directory.log(self.done, values)
            self.trackers.log(self.done, values)
        self._checkpoint(self.done)
        self._save_state()

    def _checkpoint(self, step: int) -> None:
        with self.policy.averaged():
            self.directory.checkpoint(step, self.policy.save_adapter)

    def validation(self, step: int) -> dict[str, float]:
        """Validate, write eval/step-N.json, and return the eval/ metrics with the paired change since step 0."""
        self.progress.phase(f"validating on {len(self.held_out)} held-out tasks")
        with self._sampling_the_average():
            found = validate(
                self.held_out, self.config, step=step, sampler=self.sampler, box=self.box, style=self.style,
                tick=self.progress.tick,
            )  # fmt: skip
        self.sampler.take_usage()
        self.directory.write_text(f"eval/step-{step:06d}.json", found.to_json())
        values = found.metrics()
        first = self.directory.path / "eval" / "step-000000.json"
        if step and first.is_file() and found.samples:
            before = Validation.from_json(first.read_text()).solve_rates()
            changes = [b - a for a, b in zip(before, found.solve_rates(), strict=True)]
            values["eval/change"] = 100 * sum(changes) / len(changes)
        return values

    @contextmanager
    def _sampling_the_average(self) -> Iterator[None]:
        with self.policy.averaged():
            if self.config.optim.ema_decay:
                self.sampler.load(self.policy)
            yield
        if self.config.optim.ema_decay:
            self.sampler.load(self.policy)

    def _check_memory(self) -> dict[str, float]:
        """The largest micro-batch before the first step, where optim.check_memory says so; what it took as metrics."""
        wanted, device = self.config.optim.check_memory, self.policy.device
        if not (device != "cpu" if wanted == "auto" else wanted):
            return {}
        from minizero.learn.memory_check import check_memory

        self.progress.phase("trying the largest micro-batch")
        self.sampler.release()
        found = check_memory(self.policy)
        self.sampler.resume()
        peak = f", {found.peak_gib:.1f} GiB at most" if found.peak_gib else ""
        self.progress.say(f"the largest micro-batch, {found.tokens} tokens, took {found.seconds:.1f} s{peak}")
        return {"memory/checked_gib": found.peak_gib} if found.peak_gib else {}

    # -- saving and restoring -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Step 0: seed tasks, the first validation, the state from which even a run killed in step 1 continues."""
        config = self.config
        seeds, left_out = seed_tasks(config.buffer.seeds, config.buffer.seed_tasks, config.selfplay.task_types)
        if left_out:
            self.progress.say(f"{left_out} seed rows were left out: their output is no value.")
        stored = self.buffer.add((task, None) for task in seeds)
        self.directory.append("tasks.jsonl", "".join(entry_line(task, rate) for task, rate in stored))
        if self.held_out:
            values = self.validation(0)
            self.directory.log(0, values)
            self.trackers.log(0, values)
        self._save_state()

    def _save_state(self) -> None:
        if self._saved == self.done:
            return
        version, words, gauss = self.game.rng.getstate()
        data = {"rng": [version, list(words), gauss]}
        self.directory.save_state(self.done, data, self.policy.save_state)
        self._saved = self.done

    def _restore(self, state: State) -> None:
        self.progress.say(f"continuing {self.directory.path} after step {state.step}")
        self.policy.load_state(state.path)
        version, words, gauss = state.data["rng"]
        self.game.rng.setstate((version, tuple(words), gauss))
        size = int(state.data["sizes"]["tasks.jsonl"])
        self.buffer.add(read_entries(self.directory.path / "tasks.jsonl", size))
        self.sampler.load(self.policy)

    def _validated(self, step: int) -> bool:
        return any(row["step"] == step and "eval/greedy" in row for row in self.directory.metrics())

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        def on_signal(*_: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            self.progress.say("finishing this step; press Ctrl-C again to stop at once (the run resumes either way)")

        try:
            old = signal.signal(signal.SIGINT, on_signal)
        except ValueError:  # not in the main thread: whoever started us there handles Ctrl-C
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, old)


def default_path(config: Config) -> Path:
    """runs/<date>-<model>-<name>, made unique by a number where that exists."""
    parts = [time.strftime("%Y-%m-%d-%H%M"), Path(config.model.name).name, config.run.name]
    base = Path(config.run.dir) / "-".join(part for part in parts if part)
    candidates = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 1000))]
    return next(path for path in candidates if not path.exists()) if not config.run.name else base


def sandbox_settings(config: Config) -> dict[str, Any]:
    """Keyword arguments of Sandbox."""
    limits = Limits(cpu_s=config.sandbox.cpu_s, wall_s=config.sandbox.wall_s, memory_mib=config.sandbox.memory_mib)
    workers = config.sandbox.workers or os.cpu_count() or 1
    return {"workers": workers, "limits": limits, "unsafe": config.sandbox.unsafe}


def make_manifest(config: Config, box: Sandbox, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What a reader needs to repeat the run: versions, machine, command, seeds, what differs from the defaults."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join(["minizero", *(argv or sys.argv[1:])]),
        "rng_seed": config.run.rng_seed,
        "run_id": f"{stream_seed(time.time_ns(), os.getpid(), random.random()):016x}",
        "versions": versions(),
        "commit": commit(),
        "code": code_digest(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "sandbox": box.report.as_data(),
        "unsafe": config.sandbox.unsafe,
        "difference": {name: [old, new] for name, (old, new) in difference(config).items()},
    }


def peak_gib(device: str) -> float:
    """Peak memory: of the card, or of this process."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
