"""Runs of another minor version are refused by name where they would go on, and read with a caution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import minizero
from minizero.report.verdict import judge
from minizero.selfplay.manifest import versions
from minizero.selfplay.run_data import read_run
from minizero.selfplay.run_loop import resume
from minizero.selfplay.version import VERSION, caution, code_change, is_another, refuse_another
from minizero.types import RunError
from tests.made_run import make_run


def of(version: Any) -> dict[str, Any]:
    return {"versions": {"minizero": version}, "commit": "3f2a9c1"}


def a_run(path: Path, version: Any) -> Path:
    return make_run(path, steps=4, done=2, tasks=30, manifest=of(version)).path


def test_the_version_is_the_packages_own_and_stands_in_the_manifest() -> None:
    assert minizero.__version__ == VERSION
    assert versions()["minizero"] == VERSION


@pytest.mark.parametrize(
    ("theirs", "ours", "other"),
    [
        ("0.1.0", "0.1.0", False), ("0.1.7", "0.1.0", False), ("0.1.0.dev3", "0.1.0", False),
        ("0.2.0", "0.1.0", True), ("0.10.0", "0.1.0", True), ("1.1.0", "0.1.0", True), ("?", "0.1.0", True),
        ("", "0.1.0", False), (None, "0.1.0", False),
    ],
)  # fmt: skip
def test_a_patch_is_the_same_version_and_a_minor_one_is_not(theirs: Any, ours: str, other: bool) -> None:
    assert is_another(of(theirs), ours) is other


def test_a_run_of_another_minor_version_is_not_continued_and_stays_as_it_is(tmp_path: Path) -> None:
    path = a_run(tmp_path / "run", "0.0.9")
    (path / "checkpoints" / "step-000002" / "adapter").mkdir(parents=True)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(RunError) as caught:
        resume(path)
    words = str(caught.value)
    assert f"was made by minizero 0.0.9, and this is {VERSION}" in words
    assert "Continue it with minizero 0.0.9 (commit 3f2a9c1)" in words
    assert words.endswith(f"minizero selfplay --from-checkpoint {path}/checkpoints/step-000002")
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_without_a_checkpoint_a_new_run_is_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"commit 3f2a9c1\), or start a new run\.$"):
        refuse_another(tmp_path, of("0.0.9"))
    refuse_another(tmp_path, of(VERSION))


def test_a_report_of_another_version_says_so_before_the_numbers(tmp_path: Path) -> None:
    found = judge(read_run(a_run(tmp_path / "run", "0.0.9")))
    assert found.cautions[0].startswith(f"The run was made by minizero 0.0.9 and is read by {VERSION}")
    assert caution(of(VERSION)) == ""
    assert not any("minizero" in words for words in judge(read_run(a_run(tmp_path / "own", VERSION))).cautions)


def test_a_manifest_that_is_no_json_says_so(tmp_path: Path) -> None:
    path = a_run(tmp_path / "run", VERSION)
    (path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json cannot be read"):
        resume(path)
    assert "manifest.json cannot be read" in read_run(path).problems[0]


def test_other_code_of_the_same_version_goes_on_and_says_so(tmp_path: Path) -> None:
    assert code_change(of(VERSION) | {"code": "abc"}, "abc") == ""
    assert code_change(of(VERSION), "abc") == ""  # a manifest of before the digest
    words = code_change(of("0.1.3") | {"code": "abc"}, "def")
    assert words.startswith("the code has changed since this run began (minizero 0.1.3, code abc; now")


def test_a_resume_with_other_code_is_written_into_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minizero.selfplay import run_loop

    class Said:
        lines: list[str] = []  # noqa: RUF012

        def say(self, text: str) -> None:
            self.lines.append(text)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    run = make_run(tmp_path / "run", steps=4, done=0, tasks=9, manifest=of(VERSION) | {"code": "0" * 12})
    run.save_state(0, {"rng": []}, lambda directory: None)
    monkeypatch.setattr(run_loop, "_play", lambda *_: None)  # loads the model: nothing here is about it
    said = Said()
    run_loop.resume(run.path, progress=said)
    (noted,) = json.loads((run.path / "manifest.json").read_text())["resumed"]
    assert (noted["after_step"], noted["minizero"]) == (0, VERSION)
    assert any("the code has changed since this run began" in line for line in said.lines)
