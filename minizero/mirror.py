"""Metrics mirrored to Weights & Biases when asked; the run directory stays the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from minizero.config.schema import Config
from minizero.run import RunDirectory
from minizero.types import MissingPackage


class Mirror(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class NoMirror:
    """Metrics stay in the run directory."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class WandbMirror:
    """Weights & Biases, online or into files under the run directory (offline). The run id survives a resume."""

    def __init__(self, config: Config, run: RunDirectory) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingPackage("wandb", f"run.wandb = {config.run.wandb}", "pip install 'minizero[wandb]'") from None
        self._run: Any = wandb.init(
            project=config.run.wandb_project,
            id=run.manifest["run_id"],
            name=run.path.name,
            dir=str(run.path),
            mode=config.run.wandb if config.run.wandb != "off" else "disabled",
            resume="allow",
            config=config.model_dump(mode="json"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def open_mirror(config: Config, run: RunDirectory) -> Mirror:
    """The mirror that run.wandb asks for."""
    return NoMirror() if config.run.wandb == "off" else WandbMirror(config, run)
