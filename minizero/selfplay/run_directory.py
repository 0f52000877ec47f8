"""The run directory: what a run was asked, what it measured, and states from which it continues bit for bit.

Reading order: RunDirectory.create, open and locked, then log and write_rollouts (append-only), then save_state,
newest_state, rewind.

    config.toml        the resolved settings              metrics.jsonl   one line per step (and per validation)
    manifest.json      versions, machine, seeds, command  tasks.jsonl     the task buffer, append-only
    rollouts/          step-000001.jsonl.gz               state/          the last two steps, for --resume
    checkpoints/       step-000050/adapter (plain PEFT)   eval/           report.html

Crash safety: files that grow are cut back on resume to the sizes that the state names; everything else is written
beside its place and renamed. A state counts only with its seal, the checksums of its files, which is written last.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.config import Config, read_toml
from minizero.config.disk import SIX_DIGITS, checkpoints, write_whole
from minizero.formatting import shell
from minizero.selfplay.run_files import read_manifest, read_metrics, read_rollouts
from minizero.types import CheckpointError, ConfigError, RunError, RunExists

GROWING = ("metrics.jsonl", "tasks.jsonl")
LAST_SECTION = list(Config.model_fields)[-1]
KEPT_STATES = 2


@dataclass(frozen=True, slots=True)
class State:
    """A whole saved state: its directory, its step and what was stored as JSON."""

    path: Path
    step: int
    data: Mapping[str, Any]


class RunDirectory:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, config_toml: str, manifest: Mapping[str, Any]) -> RunDirectory:
        """Make a new run directory. Raises RunExists when there is one."""
        run = cls(path)
        if path.exists():
            raise RunExists(
                f"{path} exists. Continue it with  {_resume(path)}  or give this run another name, --set run.name=NAME"
            )
        with run._writing("the run directory"):
            try:
                path.mkdir(parents=True)
            except OSError as error:
                if _is_full_disk(error):
                    raise
                raise RunError(
                    f"{path} cannot be made: {error.strerror or error}. Give another place, "
                    "--set run.dir=DIR , that is a directory you may write to"
                ) from None
            for name in ("rollouts", "checkpoints", "state", "eval"):
                (path / name).mkdir()
            for name in GROWING:
                (path / name).touch()
            run.write_text("config.toml", config_toml)
            run.write_text("manifest.json", json.dumps(manifest, indent=1) + "\n")
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run directory. Raises RunError when it is none."""
        if not (path / "config.toml").is_file():
            raise RunError(f"{path} is not a run directory: it has no config.toml. `ls runs` shows the runs there are.")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for writing. Raises RunError when a living process, here or on another machine that locks
        the same file system, holds it; a killed one leaves no lock behind."""
        with (self.path / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunError(
                    f"{file.read().strip() or 'another process'} has been writing {self.path}. Wait for it, or end it "
                    "(Ctrl-C there finishes its step); minizero watch shows how far it is"
                ) from None
            file.truncate(0)
            file.write(
                f"process {os.getpid()} on host {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},\n"
            )
            file.flush()
            yield

    @property
    def settings(self) -> dict[str, Any]:
        """config.toml, section by section. Raises ConfigError when it is no TOML, or was cut off."""
        file = self.path / "config.toml"
        tree = read_toml(file)
        if not isinstance(tree.get(LAST_SECTION), dict):
            raise ConfigError(
                f"{file}: there is no section [{LAST_SECTION}], the last one of a run's settings, so it is not whole. "
                "Restore it from a copy; the manifest's `difference` has the settings that are not defaults."
            )
        return tree

    @property
    def manifest(self) -> dict[str, Any]:
        """Raises RunError when manifest.json is missing or damaged."""
        return read_manifest(self.path)

    def note(self, **values: Any) -> None:
        """Add to the manifest what is known only once the model is loaded."""
        self.write_text("manifest.json", json.dumps(self.manifest | values, indent=1) + "\n")

    # -- what grows ---------------------------------------------------------------------------------------------------

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line {"step": ..., name: value, ...} to metrics.jsonl."""
        self.append("metrics.jsonl", json.dumps({"step": step, **values}) + "\n")

    def append(self, name: str, text: str) -> None:
        with self._writing(name), (self.path / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; torn and damaged lines are left out. Raises RunError when the file is missing."""
        return read_metrics(self.path)[0]

    def problems(self) -> list[str]:
        """A sentence on damaged lines of metrics.jsonl, which a run goes on without. Raises RunError where it, or
        manifest.json, cannot be read at all."""
        read_manifest(self.path)
        return read_metrics(self.path)[1]

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """rollouts/step-N.jsonl.gz. The same rows give the same bytes (no time stamp inside)."""
        text = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
        with self._writing("rollouts"):
            path = self.path / "rollouts" / f"step-{step:06d}.jsonl.gz"
            write_whole(path, gzip.compress(text.encode(), 5, mtime=0))

    def rollouts(self, step: int) -> list[dict[str, Any]]:
        """The rows of one step's rollouts. Raises RunError when there are none, or when their file is damaged."""
        path = self.path / "rollouts" / f"step-{step:06d}.jsonl.gz"
        try:
            return read_rollouts(path)
        except FileNotFoundError:
            have = self.rollout_steps()
            raise RunError(f"{path.name}: not written. Steps with rollouts: {_ranges(have) or 'none'}.") from None

    def rollout_steps(self) -> list[int]:
        return sorted(int(p.name[5:11]) for p in (self.path / "rollouts").glob(f"step-{SIX_DIGITS}.jsonl.gz"))

    def write_text(self, name: str, text: str) -> None:
        """Write a whole file at once: readers see the old one or the new one."""
        with self._writing(name):
            write_whole(self.path / name, text.encode("utf-8", "surrogatepass"))

    # -- states -------------------------------------------------------------------------------------------------------

    def save_state(self, step: int, data: Mapping[str, Any], save: Callable[[Path], None]) -> Path:
        """Save what a resume needs: `data` as JSON, and whatever `save(directory)` writes. Keeps the last two."""
        sizes = {name: (self.path / name).stat().st_size for name in GROWING}
        final = self.path / "state" / f"step-{step:06d}"
        partial = final.with_name(final.name + ".partial")
        with self._writing("the state"):
            _make_empty(partial)
            save(partial)
            (partial / "state.json").write_text(json.dumps({"step": step, "sizes": sizes, **data}))
            seal = {file.name: _digest(file) for file in sorted(partial.iterdir())}
            _write_synced(partial / "seal.json", json.dumps(seal).encode())
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        for old in self._states()[KEPT_STATES:]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def newest_state(self, notice: Callable[[str], None]) -> State | None:
        """The newest whole state; torn ones are passed over with a notice. None when no step was ever finished.

        Raises CheckpointError when there are states and none is whole, or steps and no state; it says what can be done.
        """
        candidates = self._states()
        for path in candidates:
            problem = _torn(path)
            if not problem:
                data = json.loads((path / "state.json").read_text())
                return State(path, int(data["step"]), data)
            notice(f"{path}: {problem}. Falling back to the state before it.")
        problem = f"none of {len(candidates)} states is whole" if candidates else "there is no saved state"
        if candidates or self.has_steps():
            raise CheckpointError(
                f"{self.path / 'state'}: {problem}, so the run cannot be continued where it was. {self._what_is_left()}"
            )
        return None

    def has_steps(self) -> bool:
        """Whether anything of a self-play step is written here: a resume without a state would overwrite it."""
        written = bool(self.rollout_steps()) or bool(checkpoints(self.path))
        return written or any(row["step"] for row in self.metrics())

    def _what_is_left(self) -> str:
        steps = max((int(row["step"]) for row in self.metrics()), default=0)
        saved = checkpoints(self.path)
        there = f"Metrics of {steps} steps are there, and {len(saved)} checkpoints"
        if not saved:
            return f"{there}. Start a new run; this directory stays as it is."
        again = shell("minizero", "selfplay", "--from-checkpoint", saved[-1])
        return f"{there}. A new run starts from the newest with  {again}"

    def rewind(self, state: State | None) -> None:
        """Cut the growing files back to the state, and remove what was written after it (None: back to the very
        start)."""
        step = state.step if state else 0
        for name in GROWING:
            size = int(state.data["sizes"][name]) if state else 0
            there = (self.path / name).stat().st_size if (self.path / name).is_file() else 0
            if there < size:
                raise CheckpointError(
                    f"{self.path / name}: {there} bytes, but the state of step {step} counts {size}. "
                    f"{self._what_is_left()}"
                )
            with (self.path / name).open("ab") as file:
                file.truncate(size)
        for old in self.rollout_steps():
            if old > step:
                (self.path / "rollouts" / f"step-{old:06d}.jsonl.gz").unlink()
        for path in (self.path / "eval").glob(f"step-{SIX_DIGITS}.json"):
            if int(path.stem[5:]) > step:
                path.unlink()
        for path in self._states():
            if int(path.name[5:]) > step:
                shutil.rmtree(path)
        for path in (self.path / "checkpoints").glob(f"step-{SIX_DIGITS}*"):
            if int(path.name[5:11]) > step:
                shutil.rmtree(path)

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> Path:
        """checkpoints/step-N/, written by `save(directory)`, whole or not at all."""
        final = self.path / "checkpoints" / f"step-{step:06d}"
        partial = final.with_name(final.name + ".partial")
        with self._writing("the checkpoint"):
            _make_empty(partial)
            save(partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        return final

    def _states(self) -> list[Path]:
        """State directories, newest first."""
        return sorted((self.path / "state").glob(f"step-{SIX_DIGITS}"), reverse=True)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _is_full_disk(error):
                raise
            raise RunError(
                f"the disk is full: {what} of {self.path} could not be written. Nothing saved before is lost. "
                f"Make room, then continue with  {_resume(self.path)}"
            ) from error


def _resume(path: Path) -> str:
    return shell("minizero", "selfplay", "--resume", path)


def _make_empty(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def _is_full_disk(error: Exception) -> bool:
    """Also as libraries put it that write files on their own, such as safetensors ("... (os error 28)")."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _torn(path: Path) -> str:
    """What is wrong with a state directory, or ""."""
    try:
        seal = json.loads((path / "seal.json").read_text())
        if not isinstance(seal, dict) or "state.json" not in seal:
            return "seal.json names no state.json"
        for name, expected in seal.items():
            if _digest(path / name) != expected:
                return f"{name} is not what was sealed"
    except (OSError, ValueError) as error:
        return f"not whole ({error})"
    return ""


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _ranges(numbers: list[int]) -> str:
    """[1, 2, 3, 7] -> "1-3, 7"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


class NoDirectory(RunDirectory):
    """What a rank other than the first has instead: nothing is written, and nothing is read."""

    def __init__(self) -> None:
        super().__init__(Path())

    def note(self, **values: Any) -> None:
        pass

    def append(self, name: str, text: str) -> None:
        pass

    def metrics(self) -> list[dict[str, Any]]:
        return []

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        pass

    def write_text(self, name: str, text: str) -> None:
        pass
