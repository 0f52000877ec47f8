"""The lanes of tests are what they say: the light one loads no torch and misses no part that needs none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.light import LIGHT, TESTS, light_files

ROOT = Path(__file__).parent.parent
# What a wing without torch is tested by, at least.
WITHOUT_TORCH = (
    "sandbox/test_attacks", "sandbox/test_determinism", "sandbox/test_interface", "sandbox/test_values",
    "test_buffer", "test_composites", "test_config", "test_config_files", "test_parsing", "test_passk", "test_presets",
    "test_prompts", "test_prompts_compact", "test_rewards", "test_rewards_azr", "test_rewards_terms", "test_seeds",
    "test_tasks", "test_error_tasks", "evaluation/test_functions", "evaluation/test_sanitise", "evaluation/test_suites",
)  # fmt: skip


def test_the_light_lane_has_the_tests_of_what_needs_no_torch() -> None:
    assert {f"{name}.py" for name in WITHOUT_TORCH} <= {path.relative_to(TESTS).as_posix() for path in light_files()}


def test_a_test_of_the_trainer_is_not_in_the_light_lane() -> None:
    names = {path.relative_to(TESTS).as_posix() for path in light_files()}
    # One imports torch itself, one through what it tests, one asks for a fixture that does.
    assert not names & {"test_losses.py", "test_resume.py", "test_memory_check.py", "test_overlays.py"}


@pytest.mark.once
def test_the_light_lane_is_collected_where_only_its_packages_are() -> None:
    blocked = "torch transformers peft accelerate safetensors tokenizers huggingface_hub rich tyro"
    assert not set(blocked.split()) & LIGHT
    code = (
        "import sys; sys.modules |= dict.fromkeys(sys.argv[1].split()); import pytest; "
        "raise SystemExit(pytest.main(['--light', '--collect-only', '-p', 'no:cacheprovider', '-p', 'no:xdist']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, blocked], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "tests/test_tasks.py::" in done.stdout


def test_the_workflow_calls_what_a_developer_runs_before_a_change_lands() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert 'python: ["3.11", "3.12", "3.13"]' in workflow
    assert "- run: .ci/run\n" in workflow
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_commit_is_checked_as_make_check_does() -> None:
    makefile, hooks = (ROOT / "Makefile").read_text(), (ROOT / ".pre-commit-config.yaml").read_text()
    (line,) = re.findall(r"^check:.*\n\t@(.*)$", makefile, flags=re.MULTILINE)
    for command in line.split(" && "):
        assert command.replace("$(BIN)", ".venv/bin").removesuffix(" .") in hooks
