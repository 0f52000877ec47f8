"""Tasks, their prompts and a sandboxed verifier, exported by minizero as an environment of the package `verifiers`.

    import verifiers.v1 as vf
    environment = load_environment()          # or vf.load_taskset, vf.load_environment with this package's name as id

Reading order: load_environment; VERIFIER, rows and reward, which need no `verifiers`; taskset.py.
This file is the `__init__` of every exported package.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from minizero.rewards.verifier import Verifier

__all__ = ["MiniZeroEnv", "MiniZeroTaskset", "load_environment", "reward", "rows", "verifier"]  # noqa: F822


def load_environment(**settings: Any) -> Any:
    """The environment as `verifiers` makes it; settings: of its EnvConfig, such as taskset={"types": ["deduction"]}."""
    return __getattr__("load")(__name__, settings)


@cache
def verifier() -> Verifier:
    """The tasks and what answers to them earn."""
    return Verifier.read(Path(__file__).parent / "data")


def rows() -> list[dict[str, Any]]:
    """The tasks as rows of a data set, with the columns id, type and prompt: Dataset.from_list(rows()) for TRL."""
    return verifier().rows()


def reward(completions: Sequence[Any], id: Sequence[str], **columns: object) -> list[float]:
    """What each completion earns, as TRL's trainers ask it: GRPOTrainer(reward_funcs=reward, ...)."""
    return verifier().reward(completions, id)


def __getattr__(name: str) -> Any:
    """What needs the package `verifiers` is loaded when it is asked for."""
    if name not in ("MiniZeroEnv", "MiniZeroTaskset", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from minizero.report.export.environment import taskset
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "verifiers":
            raise
        raise ImportError(f"{__name__} needs the package verifiers. Run:  pip install 'verifiers>=0.4,<0.5'") from error
    return getattr(taskset, name)
