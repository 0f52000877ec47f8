"""The documents do what they say: the walk-through of docs/rewards.md is extracted and run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minizero.ablate.sets import read_set
from minizero.config import load_config
from minizero.rewards import reward_proposal
from minizero.types import Pair, ProposalOutcome, Task, TaskType

ROOT = Path(__file__).parent.parent
REWARDS = ROOT / "docs" / "rewards.md"
BASE = (ROOT / "configs" / "tiny.toml",)
SMALL = (
    "selfplay.steps=1", "selfplay.proposals=4", "selfplay.solves=8", "selfplay.attempts=2", "eval.limit=9",
    "eval.samples=2", "run.threads=1", "sandbox.workers=1",
)  # fmt: skip


def blocks(language: str) -> Iterator[str]:
    text = REWARDS.read_text(encoding="utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files of the walk-through; the first line of a block names its file."""
    for text in (*blocks("python"), *blocks("toml")):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_reward_of_the_walk_through_gives_what_it_says(workplace: Path) -> None:
    config = load_config(BASE, ['reward.propose.terms."my_rewards.py:uses_input"=0.3']).reward.propose
    program = "def f(x):\n    return x + x + x"  # three reads: (3 - 1) / 3
    task = Task(TaskType.DEDUCTION, program, (Pair("1", "3"),))
    outcome = ProposalOutcome(TaskType.DEDUCTION, program, True, "", task=task, solve_rate=0.25)
    reward = reward_proposal(outcome, config)
    assert reward.terms["my_rewards.py:uses_input"] == pytest.approx(2 / 3)
    assert reward.value == pytest.approx(0.75 + 0.3 * 2 / 3)


def test_the_set_of_the_walk_through_is_valid(workplace: Path) -> None:
    asked = read_set(workplace / "idea.toml", files=BASE)
    assert [v.name for v in asked.variants] == ["default", "bonus", "product", "shuffled", "frozen"]
    assert asked.config(asked.variants[2]).reward.propose.combine == "multiply"


def test_every_path_that_the_walk_through_names_is_there() -> None:
    names = re.findall(r"`((?:minizero|configs|tests)/[\w/.*]+)`", REWARDS.read_text(encoding="utf-8"))
    assert len(names) >= 4
    assert [name for name in names if not list(ROOT.glob(name.rstrip("/")))] == []


@pytest.mark.slow
def test_the_walk_through_runs_as_printed(workplace: Path) -> None:
    small = " ".join(shlex.quote(f"--set={text}") for text in SMALL)
    python = shlex.quote(sys.executable)
    # The commands as they are printed, but for smaller settings and one seed.
    start = (
        f'minizero() {{ case $1 in selfplay|ablate) {python} -m minizero "$@" {small};; '
        f'*) {python} -m minizero "$@";; esac; }}\n'
    )
    script = start + "\n".join(blocks("bash")).replace("--seeds 3", "--seeds 1")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, env=os.environ | {"COLUMNS": "80"},
        capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    home = workplace / "runs" / "ablate-idea"
    assert {path.stem for path in home.glob("*-0.json")} == {
        "default-0", "bonus-0", "product-0", "shuffled-0", "frozen-0",
    }  # fmt: skip
    assert "| bonus | 1 |" in (home / "table.md").read_text()
    assert "my_rewards.py:uses_input" in (next((workplace / "runs").glob("*-look")) / "report.html").read_text()
