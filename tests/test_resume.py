"""A run killed at any moment continues and ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from minizero.config import load_config
from minizero.rollout.transformers import TransformersSampler
from minizero.selfplay import run_loop
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_loop import RunLoop, Stopped, resume, start
from minizero.selfplay.validation import Validation, validate
from minizero.types import RunExists
from tests.in_process import command as command_line

ROOT = Path(__file__).parent.parent
SMALL = [
    "selfplay.steps=4", "selfplay.proposals=4", "selfplay.solves=4", "selfplay.solve_samples=4", "selfplay.attempts=3",
    "eval.limit=3", "eval.samples=2", "run.threads=1", "run.checkpoint_every=2", "run.name=test",
    "selfplay.propose_max_tokens=48", "selfplay.solve_max_tokens=24",
    "sandbox.workers=1", "sandbox.wall_s=60",
]  # fmt: skip
UNSTEADY = ("time/", "memory/", "rollout/tokens_per_s", "sandbox/wait_s")  # the clock's, not the run's


def command(run_dir: Path, *more: str) -> list[str]:
    settings = [f"--set={text}" for text in [*SMALL, f"run.dir={str(run_dir)!r}"]]
    return [sys.executable, "-m", "minizero", "selfplay", "tiny", *settings, *more]


def the_run(run_dir: Path) -> Path:
    (path,) = run_dir.iterdir()
    return path


def outcome(path: Path) -> dict[str, Any]:
    """All that a run leaves behind but clock readings: metrics, buffer, rollouts, weights, optimiser, generators."""
    run = RunDirectory.open(path)
    rows = [{k: v for k, v in row.items() if not k.startswith(UNSTEADY)} for row in run.metrics()]
    state = json.loads((path / "state" / "step-000004" / "state.json").read_text())
    files = [
        *path.glob("rollouts/*"),
        *path.glob("eval/*"),
        path / "tasks.jsonl",
        *path.glob("state/*04/*.safetensors"),
    ]
    files += path.glob("checkpoints/*/*/*.safetensors")
    return {
        "metrics": rows,
        "rng": state["rng"],
        "files": {str(file.relative_to(path)): file.read_bytes() for file in files},
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run_dir = tmp_path_factory.mktemp("whole")
    start(load_config([ROOT / "configs" / "tiny.toml"], [*SMALL, f"run.dir={str(run_dir)!r}"]))
    path = the_run(run_dir)
    assert sum(row.get("propose/admitted_frac", 0) > 0 for row in RunDirectory.open(path).metrics()) > 1
    return outcome(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 8))
def test_a_run_killed_at_random_moments_ends_where_an_uninterrupted_one_ends(
    tmp_path: Path, uninterrupted: dict[str, Any], seed: int
) -> None:
    rng, kills, most = random.Random(seed), 0, 2 if seed == 1 else 4
    while True:
        begun = tmp_path.exists() and any(tmp_path.iterdir())
        again = [sys.executable, "-m", "minizero", "selfplay", "--resume"]
        asked = [*again, str(the_run(tmp_path))] if begun else command(tmp_path)
        with (tmp_path.parent / f"errors-{seed}").open("w") as errors:
            process = subprocess.Popen(asked, cwd=ROOT, stdout=errors, stderr=errors, start_new_session=True)
        try:
            # The first time soon after something was written, however fast the machine; later at any moment.
            while not kills and process.poll() is None and not list(tmp_path.glob("*/metrics.jsonl")):
                time.sleep(0.02)
            process.wait(timeout=300 if kills == most else rng.uniform(3, 10) if kills else rng.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0, (tmp_path.parent / f"errors-{seed}").read_text()
        break
    assert kills > 0
    assert outcome(the_run(tmp_path)) == uninterrupted


@pytest.mark.parametrize("moment", ["log", "append", "write_rollouts", "save_state", "checkpoint", "rename"])
def test_a_run_killed_while_writing_continues_exactly(
    tmp_path: Path, uninterrupted: dict[str, Any], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def dying(method: Any) -> Any:
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                if moment == "append":  # torn in the middle of a line
                    with (self.path / arguments[0]).open("a") as file:
                        file.write(arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return method(self, *arguments, **named)

        return call

    owner: Any = Path if moment == "rename" else RunDirectory
    config = load_config([ROOT / "configs" / "tiny.toml"], [*SMALL, f"run.dir={str(tmp_path)!r}"])
    with monkeypatch.context() as patched:
        patched.setattr(owner, moment, dying(getattr(owner, moment)))
        with pytest.raises(Killed):
            start(config)
    resume(the_run(tmp_path))
    assert outcome(the_run(tmp_path)) == uninterrupted


def test_ctrl_c_finishes_the_step_and_leaves_a_resumable_run(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = load_config([ROOT / "configs" / "tiny.toml"], [*SMALL, f"run.dir={str(tmp_path)!r}"])
    step = RunLoop.step

    def interrupted(self: RunLoop) -> None:
        if self.done == 1:
            os.kill(os.getpid(), signal.SIGINT)
        step(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RunLoop, "step", interrupted)
        with pytest.raises(Stopped, match=r"Stopped after step 2\. Continue with:\n  minizero selfplay --resume"):
            start(config)
    resume(the_run(tmp_path))
    assert outcome(the_run(tmp_path)) == uninterrupted


def test_ctrl_c_twice_stops_at_once_and_leaves_a_resumable_run(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    process = subprocess.Popen(
        command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step   1/4"):
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in (0, 130)
    process.stdout.close()
    resume(the_run(tmp_path))
    assert outcome(the_run(tmp_path)) == uninterrupted


def test_more_steps_can_be_asked_of_a_finished_run(tmp_path: Path) -> None:
    few = [*SMALL, "selfplay.steps=1", "eval.tasks=none", f"run.dir={str(tmp_path)!r}"]
    path = start(load_config([ROOT / "configs" / "tiny.toml"], few))
    resume(path, steps=2)
    assert [row["step"] for row in RunDirectory.open(path).metrics()] == [1, 2]


def test_checkpoint_and_validation_are_of_the_mean_of_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def looking(held_out: Any, config: Any, *, sampler: TransformersSampler, **more: Any) -> Validation:
        seen.append({name: p.detach().clone() for name, p in sampler.model.named_parameters()})
        return validate(held_out, config, sampler=sampler, **more)

    monkeypatch.setattr(run_loop, "validate", looking)
    some = [*SMALL, "selfplay.steps=2", "eval.limit=3", "optim.lr=1e-3", "optim.ema_decay=0.5"]
    path = start(load_config([ROOT / "configs" / "tiny.toml"], [*some, f"run.dir={str(tmp_path)!r}"]))
    state = load_file(path / "state" / "step-000002" / "policy.safetensors")
    saved = load_file(path / "checkpoints" / "step-000002" / "model" / "model.safetensors")
    means = {name.removeprefix("mean/"): tensor for name, tensor in state.items() if name.startswith("mean/")}
    assert means
    _, *_, validated = seen  # before the first step, on the way, and after the last
    for name, mean in means.items():
        assert torch.equal(validated[name], mean)
        assert torch.equal(saved[name], mean)
        assert not torch.equal(state[f"master/{name}"], mean)


def test_starting_into_an_existing_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(RunExists, match="--resume"):
        start(load_config(), path=tmp_path / "there")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resume", "runs/there", "--set", "optim.lr=1e-3"), "goes on with the settings in its config.toml"),
        (("Qwen2.5-Coder-3B", "--resume", "runs/there"), "a model, --config and --set have no place"),
        (("tiny", "--steps", "5"), "--set selfplay.steps=5"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments: tuple[str, ...], words: str) -> None:
    done = command_line("selfplay", *arguments, cwd=ROOT)
    assert (done.returncode, words in " ".join(done.stderr.split())) == (1, True), done.stderr


def test_a_large_state_is_saved_once_in_half_an_hour_and_a_small_one_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 10_000.0
    monkeypatch.setattr(run_loop.time, "monotonic", lambda: now)
    loop = run_loop.RunLoop.__new__(run_loop.RunLoop)
    loop.config, loop._saved_at = load_config(), now
    due = []
    for size, seconds in ((2**27, 0), (2**27 + 1, 0), (2**30, 1799), (2**30, 1800)):
        loop._state_bytes, now = size, 10_000.0 + seconds
        due.append(loop._state_is_due(1))
    assert due == [True, False, False, True]
    loop.config = load_config(overrides=["run.state_every=3"])
    assert [loop._state_is_due(step) for step in (1, 2, 3)] == [False, False, True]
