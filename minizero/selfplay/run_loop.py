"""A whole run: step after step, written down, validated and saved; continued where a killed one stopped.

Reading order: start and resume (what the command line and minizero.train call), follow (what they are on every rank but
the first), RunLoop.run, step and finish, validate; then saving and restoring. build.py makes the parts. The sandbox
starts before torch is imported: its processes then stay small and inherit nothing of the trainer.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from minizero.config import Config, config_from, to_toml
from minizero.config.named import known_models
from minizero.formatting import shell
from minizero.learn.ranks import Ranks, leads
from minizero.models.names import check_name
from minizero.rewards import load_terms
from minizero.rewards.plugins import look_in
from minizero.rewards.trial import try_terms
from minizero.selfplay.buffer import Entry, entry_line, read_entries
from minizero.selfplay.build import Parts, build, sandbox_settings
from minizero.selfplay.manifest import code_digest, commit, make_manifest
from minizero.selfplay.meeting import met, tell_ranks
from minizero.selfplay.record import Record
from minizero.selfplay.run_directory import NoDirectory, RunDirectory, State
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.seeds import seed_tasks
from minizero.selfplay.signals import ends_it_at_ctrl_c, stopping
from minizero.selfplay.trackers import Tracker, Trackers, open_trackers
from minizero.selfplay.validation import Validation, check_pairing, held_out_tasks, validate
from minizero.selfplay.version import VERSION, code_change, refuse_another
from minizero.types import EvaluationError, MiniZeroError, Progress, Quiet, RunError, Task
from sandbox import Sandbox

SMALL_STATE, MOST_LOST_S = 2**27, 1800.0  # with run.state_every = auto: bytes saved every step; seconds lost by a kill
VALIDATIONS = 8  # of a run with eval.every = auto, the one before the first step not counted

OnStep = Callable[[dict[str, float]], object]  # gets the row that metrics.jsonl gets


class Stopped(Exception):
    """Ctrl-C: the run stopped in good order and can be resumed. `path` is its directory."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        super().__init__(
            f"Stopped after step {step}. Continue with:\n  {shell('minizero', 'selfplay', '--resume', path)}"
        )


def start(
    config: Config,
    *,
    path: Path | None = None,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
    origin: str = "",
) -> Path:
    """Run self-play from the start in a new directory (runs/<date>-<model>-<name>); returns the directory.

    `on_step` gets each row of metrics.jsonl. `origin`: where the settings come from, a sentence for the manifest.
    Started in several processes by accelerate or torchrun, only the first writes, talks and calls `on_step`.
    """
    if not leads():
        return follow(config)
    path, progress = path or default_path(config), progress or Quiet()
    check_name(config.model.name, known_models())  # a wrong name and a broken reward file are told first
    sources = load_terms(config.reward)
    with Sandbox(**sandbox_settings(config)) as box:
        seeds = try_first(config, box, progress)
        manifest = make_manifest(config, box) | {"settings": origin or "Settings: given from Python."}
        run = RunDirectory.create(path, config_toml=to_toml(config), manifest=manifest)
        for name, text in sources.items():
            run.write_text(name, text)
        try:
            with run.locked():
                ranks = tell_ranks(config, config, seeds)
                _play(config, run, box, progress, on_step, seeds, ranks)
        except MiniZeroError:
            if not run.has_steps() and run.newest_state(lambda text: None) is None:
                shutil.rmtree(path)  # nothing was done yet, so there is nothing to continue
            raise
    return path


def resume(
    path: Path, *, progress: Progress | None = None, steps: int | None = None, on_step: OnStep | None = None
) -> Path:
    """Continue a run from its newest whole state, bit for bit (transformers sampler). `steps`: a new, larger total.

    Raises RunError for a run of another minor version. Other code of the same one goes on; console and manifest say so.
    The number of processes may be another than before.
    """
    if not leads():
        return follow(None)
    run, progress = RunDirectory.open(path), progress or Quiet()
    refuse_another(path, run.manifest)
    look_in(path)
    with run.locked():
        tree = run.settings
        state = run.newest_state(progress.say)
        for problem in run.problems():
            progress.say(f"! {problem}")
        if steps is not None:
            done = state.step if state else 0
            if steps < done:
                raise RunError(f"--steps {steps}: {path} has {done} steps already. Give a larger total, or none.")
            tree.setdefault("selfplay", {})["steps"] = steps
        config = config_from(tree)
        load_terms(config.reward)  # a function whose kept text is not enough says so before the model loads
        with Sandbox(**sandbox_settings(config)) as box:
            if steps is not None:
                run.write_text("config.toml", to_toml(config))
            run.rewind(state)
            if words := code_change(run.manifest, code_digest()):
                progress.say(words)
                now = {"after_step": state.step if state else 0, "minizero": VERSION, "commit": commit()}
                run.note(resumed=[*run.manifest.get("resumed", []), now | {"code": code_digest()}])
            begin = state or try_first(config, box, progress)
            _play(config, run, box, progress, on_step, begin, tell_ranks(None, config, begin))
    return path


def follow(config: Config | None) -> Path:
    """The same steps on a rank that is not the first: it samples and learns its part, and writes nothing.

    config: as this process was asked; None where the run directory has it, which only rank 0 needs to see.
    """
    ranks, (tree, begin) = met(config, None)
    given = config_from(tree)
    load_terms(given.reward)
    with Sandbox(**sandbox_settings(given)) as box:
        _play(given, NoDirectory(), box, Quiet(), None, begin, ranks)
    return Path()


def _play(
    config: Config,
    run: RunDirectory,
    box: Sandbox,
    progress: Progress,
    on_step: OnStep | None,
    begin: State | list[Task],
    ranks: Ranks,
) -> None:
    """From a saved state, or from the seed tasks of a new run."""
    from minizero.learn.advantages import load_estimators

    for name, text in load_estimators(config.advantage).items():
        run.write_text(name, text)
    parts = build(config, box, progress=progress, ranks=ranks)
    style = parts.selfplay.style
    asked = parts.config.prompt.style != "auto"
    words = f"prompt style {style}, because {'prompt.style says so' if asked else parts.policy.style_reason}"
    progress.say(words)
    run.note(agreement=parts.agreement.as_dict(), style=words)
    open_ones = open_trackers(parts.config, run) if ranks.leads else Trackers([])
    with closing(parts.sampler), closing(open_ones) as trackers:
        loop = RunLoop(parts, run, progress=progress, trackers=trackers, on_step=on_step)
        if isinstance(begin, State):
            loop.restore(begin)
        else:
            loop.begin(begin)
        loop.run()


def try_first(config: Config, box: Sandbox, progress: Progress) -> list[Task]:
    """Find out what is wrong with files and functions of the user before the model loads; the seed tasks of the run.

    Raises SeedsError, ConfigError (held-out tasks), RewardError or EstimatorError.
    """
    from minizero.learn.advantages import try_estimators

    buffer, types = config.buffer, config.selfplay.task_types
    seeds, left_out = seed_tasks(buffer.seeds, buffer.seed_tasks, types, box=box, settings=config.admission)
    if left_out:
        progress.say(f"{left_out} seed rows were left out: their output is no value.")
    held_out_tasks(config)
    try_terms(config, seeds)
    try_estimators(config.advantage)
    return seeds


class RunLoop:
    """Steps of self-play, written into a run directory. `done` steps are finished."""

    def __init__(
        self,
        parts: Parts,
        directory: RunDirectory,
        *,
        progress: Progress,
        trackers: Tracker,
        on_step: OnStep | None = None,
    ) -> None:
        self.parts, self.directory, self.config, self.done = parts, directory, parts.config, 0
        self.progress, self.trackers, self.on_step = progress, trackers, on_step
        self._saved, self._saved_at, self._state_bytes = -1, time.monotonic(), 0  # step, time, size of the newest state

    def run(self) -> None:
        """Steps until the last one. Ctrl-C finishes the step and raises Stopped; pressed twice, KeyboardInterrupt."""
        self.progress.steps(self.done, self.config.selfplay.steps)
        ranks = self.parts.ranks
        with stopping(self.progress.say, ended_soon=ends_it_at_ctrl_c()) as stop:
            while self.done < self.config.selfplay.steps:
                self.step()
                if ranks.any(stop.is_asked):
                    self._save_state()
                    raise Stopped(self.directory.path, self.done)
        self.finish()

    def step(self) -> None:
        """One self-play step, written down: rollouts, buffer, metrics, then the state that a resume starts from."""
        number, run, parts = self.done + 1, self.config.run, self.parts
        started = time.perf_counter()
        result = parts.selfplay.step(number)
        parts.policy.check_ranks()
        pushing = time.perf_counter()
        parts.sampler.load(parts.policy)
        pushed_s = time.perf_counter() - pushing
        if _is_due(number, run.rollouts_every):
            self.directory.write_rollouts(number, [rollout_row(s) for s in result.scored])
        self.directory.append("tasks.jsonl", "".join(entry_line(task, rate) for task, rate in result.stored))
        metrics = result.metrics | parts.memory | {"memory/peak_gib": peak_gib(parts.policy.device, parts.sampler)}
        metrics |= {"time/step_s": time.perf_counter() - started, "time/step_s/push": pushed_s}
        completions = [(s.rollout.completion, s.is_trained) for s in result.scored]
        metrics |= parts.expected.metrics(
            metrics["time/step_s"], [c for c, _ in completions], [c for c, is_trained in completions if is_trained]
        )
        if self.parts.held_out and (_is_due(number, self._eval_every()) or number == self.config.selfplay.steps):
            metrics |= self.validate(number)
        self._log(number, metrics)
        self.done = number
        self.progress.step(number, self.config.selfplay.steps, metrics)
        if self._state_is_due(number):
            self._save_state()
        if _is_due(number, run.checkpoint_every):
            self._checkpoint(number)

    def finish(self) -> None:
        """After the last step: the checkpoint that is the run's result. Safe to repeat."""
        if self.parts.held_out and self.done and not self.parts.ranks.given(self._is_validated(self.done)):
            self._log(self.done, self.validate(self.done))
        self._checkpoint(self.done)
        self._save_state()

    def validate(self, step: int) -> dict[str, float]:
        """Validate, write eval/step-N.json, and return the eval/ metrics with the paired change since step 0."""
        parts = self.parts
        self.progress.phase(f"validating on {len(parts.held_out)} held-out tasks")
        with self._sampling_the_average():
            validation = validate(
                parts.held_out,
                self.config,
                step=step,
                sampler=parts.sampler,
                box=parts.box,
                style=parts.selfplay.style,
                tick=self.progress.tick,
                ranks=parts.ranks,
                member=parts.selfplay.league.judged,
            )
        parts.sampler.take_usage()
        self.directory.write_text(f"eval/step-{step:06d}.json", validation.to_json())
        metrics = validation.metrics()
        first = self.directory.path / "eval" / "step-000000.json"
        if step and validation.samples:
            try:
                before = Validation.read(first)
                check_pairing(before, validation)
            except (RunError, EvaluationError) as error:
                self.progress.say(f"! eval/change is left out: {error}")
                return metrics
            changes = [b - a for a, b in zip(before.solve_rates(), validation.solve_rates(), strict=True)]
            metrics["eval/change"] = 100 * sum(changes) / len(changes)
        return metrics

    @contextmanager
    def _sampling_the_average(self) -> Iterator[None]:
        policy, sampler, is_other = self.parts.policy, self.parts.sampler, bool(self.config.optim.ema_decay)
        with policy.averaged():
            if is_other:
                sampler.load(policy)
            yield
        if is_other:
            sampler.load(policy)

    def _eval_every(self) -> int:
        every, steps = self.config.eval.every, self.config.selfplay.steps
        return max(1, -(-steps // VALIDATIONS)) if every == "auto" else every

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.directory.log(step, metrics)
        self.trackers.log(step, metrics)
        if self.on_step:
            self.on_step({"step": step, **metrics})

    # -- saving and restoring -----------------------------------------------------------------------------------------

    def begin(self, seeds: Sequence[Task]) -> None:
        """Step 0: seed tasks, the first validation, the state from which even a run killed in step 1 continues."""
        stored = self.parts.buffer.add((task, None) for task in seeds)
        self.directory.append("tasks.jsonl", "".join(entry_line(task, rate) for task, rate in stored))
        if self.parts.held_out:
            self._log(0, self.validate(0))
        self._save_state()

    def restore(self, state: State) -> None:
        """Everything as it was when the state was saved."""
        parts = self.parts
        self.progress.say(f"continuing {self.directory.path} after step {state.step}")
        self.done = state.step
        entries: list[Entry] = []
        if parts.ranks.leads:
            parts.policy.load_state(state.path)
            entries = read_entries(self.directory.path / "tasks.jsonl", int(state.data["sizes"]["tasks.jsonl"]))
        parts.policy.share_state()
        version, words, gauss = state.data["rng"]
        parts.selfplay.rng.setstate((version, tuple(words), gauss))
        parts.selfplay.record = Record(state.data.get("record"))
        parts.selfplay.league.restore(state.data)
        parts.policy.running |= state.data.get("running", {})
        parts.buffer.add(parts.ranks.given(entries))
        parts.sampler.load(parts.policy)

    def _state_is_due(self, number: int) -> bool:
        every = self.config.run.state_every
        if every != "auto":
            return _is_due(number, every)
        return self._state_bytes <= SMALL_STATE or time.monotonic() - self._saved_at >= MOST_LOST_S

    def _save_state(self) -> None:
        if self._saved == self.done or not self.parts.ranks.leads:
            return
        version, words, gauss = self.parts.selfplay.rng_state()
        play = self.parts.selfplay
        data = {"rng": [version, list(words), gauss], "record": play.record.to_json()} | play.league.state()
        data |= {"running": self.parts.policy.running}
        path = self.directory.save_state(self.done, data, self.parts.policy.save_state)
        self._saved, self._saved_at = self.done, time.monotonic()
        self._state_bytes = sum(file.stat().st_size for file in path.iterdir())

    def _checkpoint(self, step: int) -> None:
        if not self.parts.ranks.leads:
            return
        policy, judged = self.parts.policy, self.parts.selfplay.league.judged
        with policy.averaged():
            self.directory.checkpoint(step, lambda directory: policy.save_adapter(directory, judged))

    def _is_validated(self, step: int) -> bool:
        return any(row["step"] == step and "eval/greedy" in row for row in self.directory.metrics())


def default_path(config: Config) -> Path:
    """runs/<date>-<model>-<name>, made unique by a number where that exists."""
    parts = [time.strftime("%Y-%m-%d-%H%M"), Path(config.model.name).name, config.run.name]
    base = Path(config.run.dir) / "-".join(part for part in parts if part)
    candidates = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 1000))]
    return next(path for path in candidates if not path.exists()) if not config.run.name else base


def peak_gib(device: str, sampler: Any = None) -> float:
    """Peak memory: of the card, or of this process. A sampler that gives memory back knows more than torch."""
    if device != "cpu":
        import torch

        peak: int = getattr(sampler, "peak_bytes", None) or torch.cuda.max_memory_allocated()
        return peak / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30


def _is_due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
