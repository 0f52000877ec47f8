"""The examples run, and what they say about themselves holds. The notebook needs the extra minizero[notebook]."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.in_process import script

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = [
    "selfplay.proposals=2", "selfplay.solves=8", "selfplay.attempts=2", "run.threads=1", "sandbox.workers=1",
    "sandbox.wall_s=60", "selfplay.propose_max_tokens=64", "selfplay.solve_max_tokens=32",
]  # fmt: skip


def printed(script: str, *arguments: str, cwd: Path) -> str:
    """What a script prints, run as a user runs it."""
    env = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def printed_here(name: str, *arguments: str, cwd: Path) -> str:
    """What a script prints, in this process."""
    done = script(EXAMPLES / name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert set(re.findall(r"\]\(([^)]+)\)", text)) == names


# -- azr_in_200_lines.py ----------------------------------------------------------------------------------------------


def test_absolute_zero_takes_at_most_200_lines() -> None:
    assert len((EXAMPLES / "azr_in_200_lines.py").read_text().splitlines()) <= 200


def test_its_step_runs(tmp_path: Path) -> None:
    lines = printed("azr_in_200_lines.py", "--steps", "1", "--tasks", "6", cwd=tmp_path).splitlines()
    assert re.fullmatch(r"before: \d+\.\d% of the answers to 6 held-out tasks are right", lines[0])
    assert re.fullmatch(r"step  1: \d+ of 24 proposals are new tasks, \d+% of the answers right, \d+ s", lines[1])
    assert re.fullmatch(r"after:  \d+\.\d%, [+-]\d+\.\d points \(95 % interval \+-\d+\.\d\)", lines[2])


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    last = printed("azr_in_200_lines.py", cwd=tmp_path).splitlines()[-1]
    found = re.search(r"([+-]\d+\.\d) points \(95 % interval \+-(\d+\.\d)\)", last)
    assert found, last
    gained, noise = map(float, found.groups())
    assert gained > max(3.0, noise), last


def test_its_rewards_are_those_of_the_official_code() -> None:
    reward, task = module("azr_in_200_lines").reward_proposal, object()
    assert [reward(task, p) for p in (0.25, 0.75)] == [0.75, 0.25]
    assert [reward(task, p) for p in (0.0, 1.0, None)] == [-0.5, -0.5, -0.5]
    assert reward(None, None) == -1.0


def test_its_advantages_are_normalised_by_role_and_task_type() -> None:
    from minizero.types import Completion, Role, Rollout, TaskType

    text = Completion("", 0, (1,), (1,), (0.0,), "", "stop")
    groups = [(Role.SOLVE, TaskType.DEDUCTION), (Role.PROPOSE, TaskType.DEDUCTION), (Role.SOLVE, TaskType.ABDUCTION)]
    rewards = [(1.0, -0.5), (0.75, -1.0), (1.0, 1.0)]
    rollouts = [
        Rollout(role, kind, "", text, reward, {})
        for (role, kind), pair in zip(groups, rewards, strict=True)
        for reward in pair
    ]
    advantages = module("azr_in_200_lines").trrpp(rollouts)
    torch.testing.assert_close(advantages, torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0, 0.0]))


# -- own_reward.py, own_estimator.py ----------------------------------------------------------------------------------


def test_a_reward_of_ones_own_is_compared_with_the_default(tmp_path: Path) -> None:
    said = printed_here("own_reward.py", "--steps", "2", "--set", *SMALL, cwd=tmp_path)
    ends = r"\d+\.\d characters a program at first, +\d+\.\d at last   \(runs/"
    assert re.search(rf"^default +{ends}", said, re.MULTILINE)
    assert re.search(rf"^short_program +{ends}", said, re.MULTILINE)
    kept = list(tmp_path.glob("runs/*/short_program.py"))
    assert len(kept) == 1


def test_an_estimator_of_ones_own_has_a_worked_example() -> None:
    assert module("own_estimator").worked_example().tolist() == pytest.approx([1, 1, -0.5, -0.5, 1, -0.5], abs=1e-5)


def test_and_trains(tmp_path: Path) -> None:
    said = printed_here("own_estimator.py", "--steps", "1", "--set", *SMALL, cwd=tmp_path)
    assert "four answers, two proposals: +1.00 +1.00 -0.50 -0.50 +1.00 -0.50" in said
    assert re.search(r"^step 1: \d+% solved, advantages spread by \d\.\d\d$", said, re.MULTILINE)
    (run,) = (tmp_path / "runs").iterdir()
    assert 'function = "forgiving.py:forgiving"' in (run / "config.toml").read_text()


# -- wind_tunnel.ipynb ------------------------------------------------------------------------------------------------


def cells() -> list[dict[str, Any]]:
    return list(json.loads((EXAMPLES / "wind_tunnel.ipynb").read_text())["cells"])


def test_the_notebook_is_committed_without_outputs() -> None:
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert len(code) == 6
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * 6


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    for package in ("nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(package, reason="pip install 'minizero[notebook]'")
    # In a process of its own: what notebooks need warns of much that is not ours.
    script = (
        "import sys, nbformat; from nbclient import NotebookClient\n"
        f"notebook = nbformat.read({str(EXAMPLES / 'wind_tunnel.ipynb')!r}, as_version=4)\n"
        "nbformat.validate(notebook)\n"
        "NotebookClient(notebook, timeout=600, resources={'metadata': {'path': sys.argv[1]}}).execute()\n"
        "nbformat.write(notebook, sys.argv[1] + '/executed.ipynb')\n"
    )
    small = {"WIND_TUNNEL_STEPS": "2", "WIND_TUNNEL_TASKS": "9", "OMP_NUM_THREADS": "1"}
    env = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)} | small
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executed = json.loads((tmp_path / "executed.ipynb").read_text())["cells"]
    outputs = json.dumps([cell["outputs"] for cell in executed if cell["cell_type"] == "code"])
    assert "image/png" in outputs
    assert "2 of 2 steps" in outputs
    assert "2 steps of self-play" in outputs
    (run,) = (tmp_path / "runs").iterdir()
    assert "return 1 - len(outcome.task.program) / 400" in (run / "short_program.py").read_text()
