"""Metrics mirrored to Weights & Biases, trackio or TensorBoard when asked; the run directory stays the original.

Reading order: Tracker, open_trackers; then one class per place. A run keeps its id across resumes: it stands in the
manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from minizero.config.schema import Config
from minizero.formatting import install
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import MissingPackage


class Tracker(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


def open_trackers(config: Config, run: RunDirectory) -> Tracker:
    """The trackers that run.wandb, run.trackio and run.tensorboard ask for, as one."""
    trackers: list[Tracker] = []
    if config.run.wandb != "off":
        trackers.append(WandbTracker(config, run))
    if config.run.trackio:
        trackers.append(TrackioTracker(config, run))
    if config.run.tensorboard:
        trackers.append(TensorboardTracker(run))
    return Trackers(trackers)


class Trackers:
    """Any number of trackers, also none."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, values)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


class _Board:
    """A tracker whose run has wandb's interface."""

    _run: Any

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class WandbTracker(_Board):
    """Weights & Biases, online or into files under the run directory (offline)."""

    def __init__(self, config: Config, run: RunDirectory) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingPackage("wandb", f"run.wandb = {config.run.wandb}", install("wandb")) from None
        self._run = wandb.init(
            project=config.run.wandb_project,
            id=run.manifest["run_id"],
            name=run.path.name,
            dir=str(run.path),
            mode=config.run.wandb if config.run.wandb != "off" else "disabled",
            resume="allow",
            config=config.model_dump(mode="json"),
        )


class TrackioTracker(_Board):
    """trackio: a local database, shown by `trackio show`. It knows runs by name, so the id is part of the name."""

    def __init__(self, config: Config, run: RunDirectory) -> None:
        try:
            import trackio
        except ImportError:
            raise MissingPackage("trackio", "run.trackio = true", "pip install trackio") from None
        self._run = trackio.init(
            project=config.run.wandb_project,
            name=f"{run.path.name}-{run.manifest['run_id'][:6]}",
            resume="allow",
            config=config.model_dump(mode="json"),
        )


class TensorboardTracker:
    """TensorBoard's event files under the run directory: `tensorboard --logdir RUN/tensorboard` shows them."""

    def __init__(self, run: RunDirectory) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingPackage("tensorboard", "run.tensorboard = true", install("tensorboard")) from None
        self._make: Any = SummaryWriter
        self._path = run.path / "tensorboard"
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:  # what a resume does again takes the place of what was written after that step
            self._writer = self._make(str(self._path), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
