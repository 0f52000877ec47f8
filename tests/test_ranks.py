"""Several processes that share a run's steps: what they write is what one writes, whatever happens to them."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from minizero.config import load_config
from minizero.learn.ranks import ALONE, Ranks, check_equal, join, launched, leads, on_this_machine
from minizero.selfplay.launch import launch
from minizero.selfplay.meeting import same_on_all
from minizero.selfplay.run_loop import resume
from minizero.selfplay.signals import ends_it_at_ctrl_c
from minizero.types import ConfigError, RunError
from tests.thread_ranks import Threads

ROOT = Path(__file__).parent.parent
SMALL = [
    "selfplay.proposals=4", "selfplay.solves=8", "selfplay.solve_samples=4", "selfplay.attempts=4", "eval.limit=3",
    "selfplay.solve_max_tokens=32", "selfplay.propose_max_tokens=48", "run.threads=1", "sandbox.workers=1",
    "sandbox.wall_s=60", "sandbox.cpu_s=20", "run.rollouts_every=1", "model.dtype=float64",
]  # fmt: skip
EXACT = [str(ROOT / "tests" / "exact_norms.py")]


def command(count: int, *arguments: str, program: list[str]) -> list[str]:
    if count == 1:  # alone: no launcher has to load torch first
        return [sys.executable, *program, "selfplay", *arguments]
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count),
        "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "--local_addr", "127.0.0.1",
        *program, "selfplay", *arguments,
    ]  # fmt: skip


def started(count: int, cwd: Path, *arguments: str, program: list[str] | None = EXACT) -> subprocess.Popen[str]:
    """The processes of a run, by torchrun; program = None: by minizero's own --processes."""
    own = [sys.executable, "-m", "minizero", "selfplay", *arguments, "--processes", str(count)]
    asked = command(count, *arguments, program=program) if program else own
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if Path("/sys/class/net/lo").exists():  # a machine's own name need not lead anywhere
        env["GLOO_SOCKET_IFNAME"] = "lo"
    return subprocess.Popen(
        asked, cwd=cwd, env=env, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip


def settings(name: str, steps: int, *more: str) -> list[str]:
    found = ["tiny"]
    for text in [*SMALL, f"run.name={name}", f"selfplay.steps={steps}", *more]:
        found += ["--set", text]
    return found


def finished(process: subprocess.Popen[str], timeout: float = 400) -> str:
    said, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, said
    return said


def run_of(cwd: Path, name: str) -> Path:
    (path,) = (cwd / "runs").glob(f"*-{name}")
    return path


def weights(run: Path) -> dict[str, Any]:
    newest = sorted((run / "state").glob("step-*"))[-1]
    return {name: tensor for name, tensor in load_file(newest / "policy.safetensors").items() if "master" in name}


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same(run: Path, other: Path, steps: int) -> None:
    for step in range(1, steps + 1):
        files = [path / "rollouts" / f"step-{step:06d}.jsonl.gz" for path in (run, other)]
        ours, others = (gzip.decompress(file.read_bytes()) for file in files)
        assert ours == others, step
        assert len(ours.splitlines()) > 20
    assert (run / "tasks.jsonl").read_text() == (other / "tasks.jsonl").read_text()
    mine, theirs = weights(run), weights(other)
    assert mine.keys() == theirs.keys()
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 1e-9
    assert [row["step"] for row in rows_of(run)] == [row["step"] for row in rows_of(other)]
    for one, two in zip(rows_of(run), rows_of(other), strict=True):
        assert one.keys() == two.keys()
        for name in ("eval/solve_rate", "policy/loss", "policy/trained_tokens", "rollout/generated_tokens"):
            assert one.get(name) == pytest.approx(two.get(name), abs=1e-9)


# -- one run, by one process or by several ----------------------------------------------------------------------------


def test_two_processes_and_then_one_write_what_one_writes(tmp_path: Path) -> None:
    one, two = (
        started(count, tmp_path, *settings(name, steps)) for count, name, steps in ((1, "one", 2), (2, "two", 1))
    )
    finished(one)
    finished(two)
    other = run_of(tmp_path, "two")
    finished(started(1, tmp_path, "--resume", str(other), "--steps", "2"))
    assert_same(run_of(tmp_path, "one"), other, 2)


@pytest.mark.slow
def test_five_steps_of_one_two_and_three_processes_and_a_resume_by_more(tmp_path: Path) -> None:
    more = (
        "optim.updates_per_step=2", "buffer.keep=non_one", "selfplay.attempts=6", "selfplay.first_attempts=3",
        "selfplay.train_on_attempts=false",
    )  # fmt: skip
    finished(started(1, tmp_path, *settings("one", 5, *more)))
    finished(started(2, tmp_path, *settings("two", 3, *more)))
    finished(started(3, tmp_path, *settings("three", 5, *more)))
    finished(started(3, tmp_path, "--resume", str(run_of(tmp_path, "two")), "--steps", "5"))
    for name in ("two", "three"):
        assert_same(run_of(tmp_path, "one"), run_of(tmp_path, name), 5)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that the launcher started, in the order of their ranks."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            environment = status.with_name("environ").read_bytes()
        except OSError:
            continue
        if int(fields["PPid"]) == process.pid:
            variables = dict(row.split(b"=", 1) for row in environment.split(b"\0") if b"=" in row)
            found[int(variables.get(b"RANK", b"-1"))] = int(status.parent.name)
    return [found[rank] for rank in sorted(found) if rank >= 0]


def alive(sessions: set[int]) -> list[str]:
    """What still runs in the sessions of the launcher and of the processes that it started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) in sessions and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def until(holds: Callable[[], object], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.1)


def one_step_in(tmp_path: Path, name: str, program: list[str] | None) -> tuple[subprocess.Popen[str], Path]:
    """A run of two processes that has finished a step, and goes on."""
    process = started(2, tmp_path, *settings(name, 50, "eval.tasks=none"), program=program)
    until(lambda: list((tmp_path / "runs").glob(f"*-{name}/state/step-000001")))
    return process, run_of(tmp_path, name)


LAUNCHERS = pytest.mark.parametrize(
    "program", [None, pytest.param(EXACT, marks=pytest.mark.slow)], ids=["own", "torchrun"]
)


@LAUNCHERS
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_dies_ends_all_of_them_and_the_run_resumes(
    tmp_path: Path, rank: int, program: list[str] | None
) -> None:
    process, run = one_step_in(tmp_path, "killed", program)
    ranks = children(process)
    os.kill(ranks[rank], signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    if program is None:
        assert f"minizero: process {rank} of 2 was ended by SIGKILL, so all stopped." in said
        assert "Traceback" not in said
    until(lambda: not alive({process.pid, *ranks}), 20)
    done = json.loads((sorted((run / "state").glob("step-*"))[-1] / "state.json").read_text())["step"]
    resume(run, steps=done + 1)
    assert [row["step"] for row in rows_of(run)] == list(range(1, done + 2))


@pytest.mark.slow
@LAUNCHERS
def test_ctrl_c_stops_all_in_good_order(tmp_path: Path, program: list[str] | None) -> None:
    process, run = one_step_in(tmp_path, "stopped", program)
    ranks = children(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the launcher and what is in its session
    said, _ = process.communicate(timeout=60)
    assert process.returncode == (0 if program is None else process.returncode), said
    assert "Stopped after step" in said, said
    assert f"--resume {run.relative_to(tmp_path)}" in said
    until(lambda: not alive({process.pid, *ranks}), 20)


def test_a_mistake_is_told_once_and_before_anything_starts(tmp_path: Path) -> None:
    for setting in ("optim.lrr=1", "eval.tasks=nowhere.jsonl"):
        said = started(2, tmp_path, "tiny", "--set", setting, program=None).communicate(timeout=100)[0]
        assert len(re.findall("^minizero", said, re.MULTILINE)) == 1, said
        assert "Traceback" not in said
    with pytest.raises(RunError, match="--processes 0: expected 1 or more"):
        launch(0)


def test_another_launchers_processes_start_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch(1) is False
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch(1) is False
    with pytest.raises(RunError, match="--processes 2: 2 were started already"):
        launch(2)
    assert ends_it_at_ctrl_c({})
    assert not ends_it_at_ctrl_c({"TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGHUP"})
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "minizero-1")
    assert launch(2) is False


def test_processes_that_were_asked_for_different_things_are_refused_by_name(tmp_path: Path) -> None:
    script = tmp_path / "differ.py"
    script.write_text(
        "import os, sys\nfrom minizero.cli import main\n"
        "sys.argv += ['--set', f\"optim.lr={(1e-4, 2e-4)[int(os.environ['RANK'])]}\"]\nmain()\n"
    )
    process = started(2, tmp_path, *settings("differ", 1), program=[str(script)])
    said, _ = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "ranks 0 and 1 differ in optim.lr: 0.0001 and 0.0002." in said
    assert "minizero, rank 1: ranks 1 and 0 differ in optim.lr: 0.0002 and 0.0001." in said
    assert not list((tmp_path / "runs").glob("*"))  # nothing was begun


# -- the parts --------------------------------------------------------------------------------------------------------


def test_items_are_dealt_once_each_and_about_evenly() -> None:
    draw = random.Random(3)
    for count in (1, 2, 3, 8):
        items = list(range(40))
        loads = [draw.uniform(1, 50) for _ in items]
        parts = [Ranks(number, count).deal(items, loads) for number in range(count)]
        assert sorted(item for part in parts for item in part) == items
        assert all(part == sorted(part) for part in parts)
        sums = [sum(loads[item] for item in part) for part in parts]
        assert max(sums) - min(sums) <= 50
    assert Ranks(1, 4).deal(["only"], [1.0]) == []


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (launched(), on_this_machine(), leads()) == (1, 1, True)
    assert join(cpu=True) is ALONE
    assert (ALONE.gather("a"), ALONE.given("a"), ALONE.any(False), ALONE.deal([1, 2], [1, 1])) == (
        ["a"],
        "a",
        False,
        [1, 2],
    )


def test_the_group_is_gone_when_the_interpreter_ends(tmp_path: Path) -> None:
    """Under load two of twenty pairs of processes were aborted at their end, their work done."""
    program = tmp_path / "meet.py"
    program.write_text(
        "import atexit, torch\n"
        "atexit.register(lambda: print('group:', torch.distributed.is_initialized(), flush=True))\n"
        "from minizero.learn.ranks import join\n"
        "assert join(cpu=True).gather(1) == [1, 1]\n"
    )
    said = finished(started(2, tmp_path, program=[str(program)]))
    assert said.count("group: False") == 2


def test_more_processes_than_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "1"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(RunError, match="4 processes on this machine, which has 2 cards"):
        join(cpu=False)


def test_what_differs_is_named() -> None:
    facts = [same_on_all(load_config()), same_on_all(load_config(overrides=["optim.lr=0.5", "selfplay.steps=3"]))]

    def check(ranks: Ranks) -> str:
        with pytest.raises(ConfigError) as raised:
            check_equal(ranks, facts[ranks.number])
        return str(raised.value)

    said = Threads(2).each(check)
    assert said[0].startswith("ranks 0 and 1 differ in optim.lr: 1e-05 and 0.5, and in 1 more. Start all")
    assert said[1].startswith("ranks 1 and 0 differ in optim.lr: 0.5 and 1e-05")
    assert Threads(2).each(lambda ranks: check_equal(ranks, facts[0])) == [None, None]
