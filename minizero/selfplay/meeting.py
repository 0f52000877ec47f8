"""How the processes of a run find each other at its start, and agree on what they do.

Reading order: tell_ranks (rank 0) and met (all), meet (where there is nothing to tell), then same_on_all. Only rank 0
sees the run directory: settings, seed tasks and a saved state come from it.
"""

from __future__ import annotations

from typing import Any

from minizero.config import Config
from minizero.learn.ranks import ALONE, Ranks, check_equal, join, launched
from minizero.models.processor import device_of
from minizero.selfplay.manifest import code_digest, versions
from minizero.selfplay.run_directory import State
from minizero.selfplay.version import VERSION
from minizero.types import Task


def tell_ranks(asked: Config | None, config: Config, begin: State | list[Task]) -> Ranks:
    """Send the other processes what to do; returns rank 0. Called by rank 0 alone, the others call `met`.

    asked: the settings that each process was given; None where they come from a run directory. begin: a saved state, or
    the seed tasks of a new run.
    """
    return met(asked, (config.model_dump(mode="json"), begin))[0]


def met(asked: Config | None, told: Any) -> tuple[Ranks, Any]:
    """Join the processes of the run; returns this one's rank, and what rank 0 sends. Raises ConfigError when they
    differ in what must be equal, and RunError for more processes than cards."""
    if launched() == 1:
        return ALONE, told
    ranks = join(cpu=device_of(asked.model.device if asked else "auto") == "cpu")
    check_equal(ranks, same_on_all(asked))
    return ranks, ranks.given(told)


def meet() -> Ranks:
    """Join the processes that were started together; returns this one's rank. Raises as `met` does."""
    return met(None, None)[0]


def same_on_all(config: Config | None) -> dict[str, Any]:
    """What the processes of a run must agree on, by name: code, packages and, of a new run, settings."""
    settings = config.model_dump(mode="json") if config else {}
    by_name = {f"{section}.{name}": value for section, values in settings.items() for name, value in values.items()}
    return {"minizero": VERSION, "the code": code_digest()} | versions() | by_name
