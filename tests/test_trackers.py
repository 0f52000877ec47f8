"""Trackers: off unless asked, the same numbers as metrics.jsonl, and one run id however often a run is resumed."""

from __future__ import annotations

import json
import struct
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minizero.config import Config, config_from, to_toml
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.trackers import open_trackers
from minizero.types import MissingPackage

VALUES = {"solve/correct_frac": 0.25, "time/step_s": 2.0}


class FakeBoard:
    """A module with the interface that wandb and trackio share; notes what it is told."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **options: Any) -> FakeBoard:
        self.inits.append(options)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def a_run(path: Path, **settings: Any) -> tuple[Config, RunDirectory]:
    config = config_from({"run": settings})
    manifest = {"run_id": "0123456789abcdef"}
    return config, RunDirectory.create(path / "run", config_toml=to_toml(config), manifest=manifest)


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeBoard]]:
    made = {name: FakeBoard() for name in ("wandb", "trackio")}
    for name, board in made.items():
        module = types.ModuleType(name)
        module.init = board.init  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return made  # type: ignore[return-value]


def test_nothing_is_mirrored_unless_asked(tmp_path: Path, boards: dict[str, FakeBoard]) -> None:
    tracker = open_trackers(*a_run(tmp_path))
    tracker.log(1, VALUES)
    tracker.close()
    assert not boards["wandb"].inits
    assert not boards["trackio"].inits


@pytest.mark.parametrize(("name", "setting"), [("wandb", {"wandb": "offline"}), ("trackio", {"trackio": True})])
def test_a_resumed_run_goes_on_under_its_old_name(
    tmp_path: Path, boards: dict[str, FakeBoard], name: str, setting: dict[str, Any]
) -> None:
    config, run = a_run(tmp_path, **setting)
    for step in (1, 2):  # two sittings
        tracker = open_trackers(config, RunDirectory.open(run.path))
        tracker.log(step, VALUES)
        tracker.close()
    board = boards[name]
    assert board.inits[0] == board.inits[1]
    assert board.inits[0]["resume"] == "allow"
    assert "0123456" in str(board.inits[0].get("id") or board.inits[0]["name"] + "6")
    assert board.logged == [(1, VALUES), (2, VALUES)]
    assert board.finished == 2


def test_both_mirrors_see_the_same(tmp_path: Path, boards: dict[str, FakeBoard]) -> None:
    tracker = open_trackers(*a_run(tmp_path, wandb="online", trackio=True))
    tracker.log(3, VALUES)
    tracker.close()
    assert boards["wandb"].logged == boards["trackio"].logged == [(3, VALUES)]


@pytest.mark.parametrize(("name", "setting"), [("wandb", {"wandb": "online"}), ("trackio", {"trackio": True})])
def test_a_missing_package_names_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, setting: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage, match=f"{name} is not installed.*(make install EXTRAS=|pip install ){name}"):
        open_trackers(*a_run(tmp_path, **setting))


class FakeWriter:
    """torch.utils.tensorboard.SummaryWriter, as far as it is used."""

    made: list[FakeWriter]

    def __init__(self, path: str, purge_step: int) -> None:
        self.path, self.purge_step, self.closed = path, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        FakeWriter.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_every_number_and_a_resume_replaces_what_it_does_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    FakeWriter.made = []
    config, run = a_run(tmp_path, tensorboard=True)
    for steps in ((1, 2), (2, 3)):  # the second sitting goes on from step 1
        tracker = open_trackers(config, RunDirectory.open(run.path))
        for step in steps:
            tracker.log(step, VALUES)
        tracker.close()
    first, second = FakeWriter.made
    assert (first.purge_step, second.purge_step) == (1, 2)
    assert first.path == second.path == str(run.path / "tensorboard")
    assert second.scalars == [(name, value, step) for step in (2, 3) for name, value in VALUES.items()]
    assert first.closed
    assert second.closed


def test_without_tensorboard_the_pip_line_is_named_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackage, match=r"tensorboard is not installed.*make install EXTRAS=tensorboard"):
        open_trackers(*a_run(tmp_path, tensorboard=True))


@pytest.mark.filterwarnings("default")  # wandb's own
def test_offline_wandb_files_hold_the_numbers_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed; pip install 'minizero[wandb]' makes this run")
    config, run = a_run(tmp_path, wandb="offline")
    expected = {step: {"solve/correct_frac": step / 7, "time/step_s": float(step)} for step in (1, 2, 3)}
    tracker = open_trackers(config, run)
    for step, values in expected.items():
        tracker.log(step, values)
    tracker.close()
    (file,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    assert "0123456789abcdef" in file.name
    until = time.monotonic() + 20  # its service writes the file in a process of its own
    while _history(file) != expected and time.monotonic() < until:
        time.sleep(0.2)
    assert _history(file) == expected


def _history(file: Path) -> dict[int, dict[str, float]]:
    """Step -> values, from wandb's own file."""
    from wandb.proto import wandb_internal_pb2

    found = {}
    for data in _records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            step = int(items.pop("_step", record.history.step.num))
            found[step] = {name: value for name, value in items.items() if not name.startswith("_")}
    return found


def _records(data: bytes) -> Iterator[bytes]:
    """LevelDB's log after a header of 7 bytes: blocks of 32 KiB; checksum, length, kind (whole 1, parts 2 3 4)."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if 0x8000 - place % 0x8000 < 7:  # no record begins in the last 6 bytes of a block
            place += 0x8000 - place % 0x8000
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""
