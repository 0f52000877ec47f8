"""Train from Python, with reward terms and estimators that are plain functions.

Reading order: train, resume; then how functions become names that a run directory can keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from minizero.api.run import Run
from minizero.api.settings import Settings, StrPath, load_config
from minizero.config import Config, config_from
from minizero.config.named import MODEL, origin
from minizero.rewards.plugins import look_in, register, source_of
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import ConfigError, EstimatorError, MiniZeroError, Progress, Quiet, RewardError, RunError

Function = Callable[..., Any]
Term = float | Mapping[str, Any]  # a weight, or a table: {"weight": 0.2, "max": 0.5, "types": ["deduction"]}
Terms = Mapping[Any, Term]  # by the name of a built-in term, file.py:function, or the function itself


def train(
    model: str | Config = MODEL,
    *,
    steps: int | None = None,
    rewards: Terms | None = None,
    solver_rewards: Terms | None = None,
    estimator: str | Function | None = None,
    settings: Settings = (),
    files: Iterable[StrPath] = (),
    path: StrPath | None = None,
    on_step: Callable[[dict[str, float]], object] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a model by Absolute-Zero self-play, in a new run directory.

    Args:
        model: tiny, the name of a file in configs/, a hub name or a model directory; or a whole Config.
        steps: Self-play steps; without it, what the config says.
        rewards: Reward terms of the proposer beside the config's, with their weights (0 measures only): functions
            f(ProposalOutcome) -> float, or names of built-in terms.
        solver_rewards: The same for the solver, f(AnswerOutcome) -> float.
        estimator: Of both roles: a preset such as "grpo", or a function
            f(rewards[N], lengths[N], groups, baseline[N] | None) -> advantages[N], see learn/advantages.py.
        settings: Single settings by dotted name, as for load_config.
        files: TOML files of settings, as for load_config.
        path: The run directory; without it, runs/<date>-<model>.
        on_step: Called with each row of metrics.jsonl: after a step, and after a validation.
        progress: Receives phase messages, such as an entered minizero.Console(); without it, nothing does.

    Returns the run, with its report.html. Ctrl-C finishes the step and raises Stopped; `resume` goes on from there, and
    so does the command line: the run directory keeps the text of functions with what they use.
    Raises a MiniZeroError with what to mend; RunExists when there is something at `path`.
    """
    from minizero.selfplay.run_loop import start

    if isinstance(model, Config) and (settings or files):
        raise ConfigError("A Config is complete: give settings and files to load_config.")
    config = model if isinstance(model, Config) else load_config(model, settings, files=files)
    look_in(None)
    tree = config.model_dump(mode="json", exclude_none=True)
    if steps is not None:
        tree["selfplay"]["steps"] = steps
    names = _registered([*(rewards or ()), *(solver_rewards or ())], estimator)
    for role, terms in (("propose", rewards), ("solve", solver_rewards)):
        tree["reward"][role]["terms"] |= {names.get(key, key): term for key, term in (terms or {}).items()}
    if callable(estimator):
        for role in ("propose", "solve"):
            tree["advantage"][role]["function"] = names[estimator]
    elif estimator is not None:
        tree["advantage"] = estimator
    words = "Settings: given from Python." if isinstance(model, Config) else origin(model, tuple(map(Path, files)))
    made = start(
        config_from(tree),
        path=None if path is None else Path(path),
        progress=progress or Quiet(),
        on_step=on_step,
        origin=words,
    )
    return _reported(made)


def resume(
    run: StrPath | Run,
    *,
    steps: int | None = None,
    functions: Iterable[Function] = (),
    on_step: Callable[[dict[str, float]], object] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Continue a run that was stopped or killed, bit for bit with the transformers sampler; or go on to more steps.

    Args:
        run: A run or its directory.
        steps: A new, larger total.
        functions: Of those that `train` was given, the ones whose kept text is not enough (an error says so) or that
            were mended since. A new text replaces the kept one, which stays beside it as NAME.py.before.
        on_step: As for `train`.
        progress: As for `train`.

    Raises RunError or another MiniZeroError with what to mend, and Stopped at Ctrl-C.
    """
    from minizero.selfplay.run_loop import resume as continue_run

    path = Path(run)
    for function in functions:
        _replace(path, function)
    return _reported(continue_run(path, progress=progress or Quiet(), steps=steps, on_step=on_step))


def _reported(path: Path) -> Run:
    run = Run(path)
    run.report()
    return run


def _registered(terms: Iterable[str | Function], estimator: str | Function | None) -> dict[str | Function, str]:
    """Function -> the name under which the run knows it. Raises for what cannot be kept, and for two of one name."""
    asked: list[tuple[Function, type[MiniZeroError]]]
    asked = [(term, RewardError) for term in terms if callable(term)]
    asked += [(estimator, EstimatorError)] if callable(estimator) else []
    names: dict[str | Function, str] = {}
    for function, error in asked:
        name = register(function, error)
        if name in names.values() and function not in names:
            raise ConfigError(
                f"Two functions are called {function.__name__}, and a run keeps each by name. Rename one."
            )
        names[function] = name
    return names


def _replace(path: Path, function: Function) -> None:
    """Let a run that goes on use this function from now on."""
    run, config = RunDirectory.open(path), Run(path).config
    estimators = {config.advantage.propose.function, config.advantage.solve.function} - {""}
    known = {*config.reward.propose.terms, *config.reward.solve.terms, *estimators}
    asked = getattr(function, "__name__", repr(function))
    name = f"{asked}.py:{asked}"
    if name not in known:
        own = ", ".join(sorted(one.rpartition(":")[2] for one in known if ":" in one)) or "none"
        raise RunError(f"functions: {path} was not given a function called {asked}. It was given: {own}.")
    register(function, EstimatorError if name in estimators else RewardError)
    file, text = source_of(name)
    with run.locked():
        old = (path / file).read_text(encoding="utf-8") if (path / file).is_file() else text
        if old != text:
            run.write_text(f"{file}.before", old)
            run.write_text(file, text)
