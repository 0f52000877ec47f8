"""The run directory: nothing half written counts, nothing whole is lost."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from minizero.selfplay.run_directory import RunDirectory
from minizero.types import CheckpointError, RunError, RunExists


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", config_toml="", manifest={"rng_seed": 1})


def save(run: RunDirectory, step: int) -> Path:
    return run.save_state(step, {"rng": [step]}, lambda path: (path / "policy").write_bytes(b"x" * step) and None)


def test_an_existing_directory_is_refused_with_both_ways_out(run: RunDirectory) -> None:
    with pytest.raises(RunExists, match=r"--resume.*run\.name"):
        RunDirectory.create(run.path, config_toml="", manifest={})


def test_a_directory_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        RunDirectory.open(tmp_path)


def test_the_last_two_states_are_kept(run: RunDirectory) -> None:
    for step in (1, 2, 3):
        save(run, step)
    assert sorted(p.name for p in (run.path / "state").iterdir()) == ["step-000002", "step-000003"]


@pytest.mark.parametrize("damage", ["cut", "missing", "unsealed", "flipped"])
def test_a_torn_state_falls_back_to_the_one_before_and_says_so(run: RunDirectory, damage: str) -> None:
    save(run, 4)
    newest = save(run, 5)
    if damage == "cut":
        (newest / "policy").write_bytes(b"x")
    elif damage == "flipped":
        (newest / "policy").write_bytes(b"y" * 5)
    elif damage == "missing":
        (newest / "policy").unlink()
    else:
        (newest / "seal.json").unlink()
    said: list[str] = []
    state = run.newest_state(said.append)
    assert state is not None
    assert (state.step, state.data["rng"]) == (4, [4])
    assert "Falling back" in said[0]


def test_without_one_whole_state_the_run_cannot_continue(run: RunDirectory) -> None:
    (save(run, 1) / "seal.json").unlink()
    with pytest.raises(CheckpointError, match="none of 1 states is whole"):
        run.newest_state(lambda text: None)


def test_a_run_killed_before_its_first_state_starts_over(run: RunDirectory) -> None:
    run.log(0, {"a": 1.0})
    assert run.newest_state(lambda text: None) is None
    run.rewind(None)
    assert run.metrics() == []


def test_a_run_whose_states_were_deleted_is_not_started_over(run: RunDirectory) -> None:
    run.log(7, {"a": 1.0})
    with pytest.raises(CheckpointError, match=r"no saved state.*Metrics of 7 steps are there, and 0 checkpoints"):
        run.newest_state(lambda text: None)
    run.checkpoint(7, lambda path: None)
    with pytest.raises(CheckpointError, match=r"minizero selfplay --from-checkpoint .*step-000007"):
        run.newest_state(lambda text: None)
    assert run.metrics() == [{"step": 7, "a": 1.0}]


def test_a_second_writer_is_refused_and_a_killed_one_leaves_no_lock(run: RunDirectory) -> None:
    import subprocess
    import sys

    code = (
        "import sys, time; from pathlib import Path; from minizero.selfplay.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).locked():\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=rf"process {holder.pid} on host .*, since 20.* has been writing"), run.locked():
        pass
    holder.kill()
    holder.communicate()
    with run.locked():
        pass


def test_a_place_where_no_directory_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/run cannot be made: Not a directory\. Give another place"):
        RunDirectory.create(tmp_path / "file" / "run", config_toml="", manifest={})


def test_what_was_written_after_the_state_is_cut_away(run: RunDirectory) -> None:
    run.log(1, {"a": 1.0})
    run.write_rollouts(1, [{"x": 1}])
    save(run, 1)
    run.log(2, {"a": 2.0})
    run.append("metrics.jsonl", '{"torn')
    run.append("tasks.jsonl", "more\n")
    run.write_rollouts(2, [{"x": 2}])
    run.checkpoint(2, lambda path: None)
    run.rewind(run.newest_state(lambda text: None))
    assert run.metrics() == [{"step": 1, "a": 1.0}]
    assert (run.path / "tasks.jsonl").read_text() == ""
    assert run.rollout_steps() == [1]
    assert list((run.path / "checkpoints").iterdir()) == []


def test_a_growing_file_shorter_than_its_state_is_an_error(run: RunDirectory) -> None:
    run.log(1, {"a": 1.0})
    save(run, 1)
    (run.path / "metrics.jsonl").write_text("")
    state = run.newest_state(lambda text: None)
    with pytest.raises(CheckpointError, match="0 bytes, but the state"):
        run.rewind(state)


def test_an_unfinished_state_is_never_seen(run: RunDirectory) -> None:
    save(run, 1)

    def die(path: Path) -> None:
        (path / "policy").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.save_state(2, {}, die)
    state = run.newest_state(lambda text: None)
    assert state is not None
    assert state.step == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),  # as safetensors says it
    ],
)
def test_a_full_disk_says_what_to_do_and_loses_nothing(run: RunDirectory, error: Exception) -> None:
    save(run, 1)

    def full(path: Path) -> None:
        raise error

    with pytest.raises(RunError, match=r"disk is full.*Make room, then continue with  minizero selfplay --resume"):
        run.save_state(2, {}, full)
    state = run.newest_state(lambda text: None)
    assert state is not None
    assert state.step == 1


def test_rollouts_of_equal_rows_are_equal_bytes(run: RunDirectory) -> None:
    run.write_rollouts(1, [{"a": "é\ud800"}])
    first = (run.path / "rollouts" / "step-000001.jsonl.gz").read_bytes()
    run.write_rollouts(1, [{"a": "é\ud800"}])
    assert (run.path / "rollouts" / "step-000001.jsonl.gz").read_bytes() == first
    assert run.rollouts(1) == [{"a": "é\ud800"}]


def test_a_step_without_rollouts_names_those_there_are(run: RunDirectory) -> None:
    for step in (1, 2, 3, 7):
        run.write_rollouts(step, [])
    with pytest.raises(RunError, match="1-3, 7"):
        run.rollouts(5)


def test_the_manifest_reads_back(run: RunDirectory) -> None:
    assert run.manifest == json.loads((run.path / "manifest.json").read_text()) == {"rng_seed": 1}
