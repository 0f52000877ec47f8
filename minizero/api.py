"""The front door: what the command line does, from Python.

Reading order: train and Run (what it leaves), load_config, evaluate, compare. `import minizero` finds these names and
the parts they are made of; torch is loaded when a model is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.config import Config, config_from
from minizero.config.named import MODEL, origin, resolve
from minizero.rewards.plugins import register
from minizero.selfplay.buffer import read_entries
from minizero.selfplay.run_data import RunData, read_run
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.validation import Validation
from minizero.types import ConfigError, Progress, Quiet, RunError, Task

if TYPE_CHECKING:
    from minizero.evaluation.generate import SamplingSettings

Settings = Mapping[str, Any] | Iterable[str]  # {"optim.lr": 2e-5}, or ["optim.lr=2e-5"]
Term = float | Mapping[str, Any]  # a weight, or a table: {"weight": 0.2, "max": 0.5, "types": ["deduction"]}
Named = str | Callable[..., Any]  # a built-in name or file.py:function, or the function itself


def load_config(model: str = MODEL, settings: Settings = (), *, files: Iterable[str | Path] = ()) -> Config:
    """The settings of a run: the model's own in configs/, under the files, under single settings.

    Raises ConfigError with every problem at once.

    >>> load_config("tiny", {"selfplay.steps": 3}).selfplay.steps
    3
    """
    return resolve(model, tuple(map(Path, files)), _overrides(settings))


def train(
    model: str | Config = MODEL,
    *,
    steps: int | None = None,
    rewards: Mapping[Named, Term] | None = None,
    solver_rewards: Mapping[Named, Term] | None = None,
    estimator: Named | None = None,
    settings: Settings = (),
    files: Iterable[str | Path] = (),
    path: str | Path | None = None,
    on_step: Callable[[dict[str, float]], object] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a model by Absolute-Zero self-play, in a new run directory; the run.

    model: tiny, the name of a file in configs/, a hub name, a model directory, or a whole Config.
    steps: self-play steps; without it, what the config says.
    rewards, solver_rewards: reward terms of the proposer and the solver, beside the config's: functions of an outcome
        (ProposalOutcome, AnswerOutcome), or names of built-in ones, with their weights (0 measures only).
    estimator: an advantage preset such as "grpo", or a function f(rewards, lengths, groups, baseline) -> advantages,
        for both roles.
    settings, files: as for load_config.
    path: the run directory; without it, runs/<date>-<model>.
    on_step: called after each step and validation with its metrics, a row of metrics.jsonl.
    progress: where phases are told, such as minizero.Console(); without it, nowhere.

    Ctrl-C finishes the step and raises Stopped; `resume` goes on. Functions are kept as text in the run directory, so
    that a resume from the command line finds them; it does not find what they use of their surroundings.
    Raises MiniZeroError with what to mend.
    """
    from minizero.selfplay.run_loop import start

    config = model if isinstance(model, Config) else load_config(model, settings, files=files)
    if isinstance(model, Config) and (settings or files):
        raise ConfigError("a Config is complete: give settings and files to load_config instead.")
    tree = config.model_dump(mode="json", exclude_none=True)
    if steps is not None:
        tree["selfplay"]["steps"] = steps
    for role, terms in (("propose", rewards), ("solve", solver_rewards)):
        for name, term in (terms or {}).items():
            value = {"weight": term} if isinstance(term, int | float) else dict(term)
            tree["reward"][role]["terms"][name if isinstance(name, str) else register(name)] = value
    if callable(estimator):
        for role in ("propose", "solve"):
            tree["advantage"][role]["function"] = register(estimator)
    elif estimator is not None:
        tree["advantage"] = estimator
    words = "Settings: given from Python." if isinstance(model, Config) else origin(model, tuple(map(Path, files)))
    made = start(
        config_from(tree),
        path=Path(path) if path else None,
        progress=progress or Quiet(),
        on_step=on_step,
        origin=words,
    )
    return Run(made)


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    functions: Iterable[Callable[..., Any]] = (),
    on_step: Callable[[dict[str, float]], object] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Continue a run that was stopped or killed, bit for bit with the transformers sampler; or go on to more `steps`.

    functions: the reward terms and estimators that `train` was given, where their text alone is not enough.
    """
    from minizero.selfplay.run_loop import resume as continue_run

    for function in functions:
        register(function)
    path = run.path if isinstance(run, Run) else Path(run)
    return Run(continue_run(path, progress=progress or Quiet(), steps=steps, on_step=on_step))


class Run:
    """A run directory, read: finished, stopped or still going on.

    Raises RunError when there is none. Nothing is kept in memory: each access reads what is there now.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        RunDirectory.open(self.path)

    def __repr__(self) -> str:
        data = self._data
        return f"Run({str(self.path)!r}, {data.done} of {data.total or '?'} steps)"

    @property
    def _data(self) -> RunData:
        return read_run(self.path)

    @property
    def config(self) -> Config:
        """The settings that it ran with."""
        data = self._data
        if data.config is None:
            raise RunError("; ".join(data.problems))
        return data.config

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, commit, command, seeds, machine, sandbox layers."""
        return self._data.manifest

    @property
    def done(self) -> int:
        """Steps that are finished."""
        return self._data.done

    @property
    def is_finished(self) -> bool:
        """Whether all steps are."""
        return self._data.is_finished

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict per step, ascending, with "step" and the metrics of minizero/metrics.py; step 0 is a validation.
        `pandas.DataFrame(run.metrics)` is a frame."""
        return list(self._data.rows)

    @property
    def tasks(self) -> list[Task]:
        """Every task that entered the buffer, seed tasks first (their `step` is 0)."""
        return [task for task, _ in read_entries(self.path / "tasks.jsonl")]

    @property
    def solve_rates(self) -> dict[str, float]:
        """Task id -> the share of attempts that solved it when it was proposed; seed tasks have none."""
        entries = read_entries(self.path / "tasks.jsonl")
        return {task.id: rate for task, rate in entries if rate is not None}

    def rollouts(self, step: int) -> list[dict[str, Any]]:
        """Every completion of a step: role, type, text, what became of it, reward, rule and terms."""
        return RunDirectory(self.path).rollouts(step)

    @property
    def validation(self) -> list[Validation]:
        """The validations on held-out tasks, ascending by step."""
        return list(self._data.validations)

    @property
    def adapter(self) -> Path:
        """The newest checkpoint: a plain PEFT adapter, or a model directory where all parameters were trained."""
        checkpoints = sorted((self.path / "checkpoints").glob("step-*[0-9]"))
        for name in ("adapter", "model"):
            if checkpoints and (checkpoints[-1] / name).is_dir():
                return checkpoints[-1] / name
        raise RunError(f"{self.path} has no checkpoint yet: the first comes after run.checkpoint_every steps.")

    def report(self) -> Path:
        """Write report.html; its path."""
        from minizero.report.run_page import write_report

        return write_report(self.path)

    @property
    def verdict(self) -> str:
        """In words, whether the model got better at tasks that it never trained on."""
        from minizero.report.verdict import closing_words

        return closing_words(self.path)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation: its directory, and what results.json holds."""

    path: Path
    results: dict[str, Any]


def evaluate(
    subject: str | Path | Run,
    *,
    suite: str = "auto",
    n: int = 0,
    path: str | Path | None = None,
    data: str | Path | None = None,
    settings: Settings = (),
    progress: Progress | None = None,
    **sampling: Any,
) -> Evaluation:
    """Ask a model benchmark problems and score its answers in the sandbox; an adapter is asked beside its base.

    subject: a run, an adapter directory, a model directory, a hub name, or "tiny".
    suite: one or more, separated by commas; auto is humaneval+, and for the tiny model its own held-out tasks.
    n: sampled answers to each problem, beside the greedy one.
    path: where it is kept. data: where the benchmarks lie. settings: of the engine.
    sampling: style, temperature, top_p, max_tokens, limit, rng_seed, as in SamplingSettings.

    Killed, the same call goes on where it was. Raises EvaluationError or another MiniZeroError with what to mend.
    """
    from minizero.evaluation.command import evaluate_command

    asked: SamplingSettings = _sampling(suite, n, sampling)
    what = str(subject.path if isinstance(subject, Run) else subject)
    directory = evaluate_command(
        what,
        asked,
        Path(path) if path else None,
        Path(data) if data else None,
        _overrides(settings),
        "minizero",
        progress or Quiet(),
    )
    return Evaluation(directory, json.loads((directory / "results.json").read_text(encoding="utf-8")))


def _sampling(suite: str, n: int, others: Mapping[str, Any]) -> SamplingSettings:
    from minizero.evaluation.generate import SamplingSettings

    return SamplingSettings(tuple(suite.split(",")), **{"style": "auto", "n": n, **others})


def compare(*evaluations: str | Path | Evaluation, path: str | Path = "comparison") -> list[str]:
    """Compare finished evaluations; what can be concluded, a sentence each. Writes comparison.html and .json.

    The first one's base is what the others are compared with.
    """
    from minizero.report.comparison import write_comparison

    paths = [item.path if isinstance(item, Evaluation) else Path(item) for item in evaluations]
    return write_comparison(paths, Path(path))


def _overrides(settings: Settings) -> tuple[str, ...]:
    """{"optim.lr": 2e-5, "loss.correction": "none"} as the texts that --set takes."""
    if not isinstance(settings, Mapping):
        return (settings,) if isinstance(settings, str) else tuple(settings)
    return tuple(f"{name}={_toml(value)}" for name, value in settings.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value)  # nan and inf as TOML spells them
    return json.dumps(str(value) if isinstance(value, Path) else value)
