"""Every command that is suggested can be pasted: a path with a space and a quote in it stays one word."""

from __future__ import annotations

import errno
import re
import shlex
from pathlib import Path

import pytest

from minizero.evaluation.command import evaluate_command
from minizero.evaluation.entries import read_entries
from minizero.evaluation.generate import SamplingSettings
from minizero.formatting import shell
from minizero.report.suggest import command
from minizero.report.verdict import closing_words
from minizero.selfplay.run_data import newest_checkpoint
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_loop import Stopped
from minizero.types import EvaluationError, Quiet, RunError, RunExists
from tests.made_run import make_run

AWKWARD = "it's a run"


def commands(text: str) -> list[list[str]]:
    """The words of every command in a text: from the name of a program to the next double space or the line's end."""
    return [shlex.split(found) for found in re.findall(r"(?:^|  )((?:minizero|make|hf) .*?)(?=  |$)", text, flags=re.M)]


def pasted(words: list[str]) -> list[str]:
    """What the program gets: of a make target, what the recipe's shell reads once more."""
    if words[0] != "make":
        return words
    values = [word.partition("=")[2].replace("$$", "$") for word in words if "=" in word]
    return [*words[:2], *(part for value in values for part in shlex.split(value))]


@pytest.fixture(params=["console script", "make"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    if request.param == "make":
        (tmp_path / "Makefile").write_text("selfplay:\n")
    return tmp_path


@pytest.mark.parametrize("options", [{"done": 1}, {"gain": -0.4}, {"gain": 0.3}, {"gain": 0.0}])
def test_the_last_words_of_a_run_hold_commands_with_its_path_in_one_word(
    place: Path, options: dict[str, float]
) -> None:
    path = make_run(Path(AWKWARD), steps=2, tasks=120, **options).path  # type: ignore[arg-type]
    found = [pasted(words) for words in commands(closing_words(path).replace("Rollouts:", ""))]
    assert len(found) == 2  # to read the rollouts, and what to try next
    assert found[0][1:] == ["replay", AWKWARD]
    assert "it's" not in found[1]
    if "--resume" in found[1]:
        assert found[1][found[1].index("--resume") + 1] == AWKWARD


def test_the_folder_of_another_project_is_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").write_text("all:\n\ttrue\n")
    assert command("replay", run=Path("runs/a")) == "minizero replay runs/a"


def test_a_suggested_resume_names_no_model_because_the_run_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_run(Path("run"), done=1, settings={"model": {"name": "Qwen/Qwen2.5-Coder-3B"}}).path
    assert ["minizero", "selfplay", "--resume", "run"] in commands(closing_words(path))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--resume", "runs/a b"), """make selfplay ARGS="--resume 'runs/a b'\""""),
        (("--set", "run.dir=a$b"), """make selfplay ARGS='--set '"'"'run.dir=a$$b'"'"''"""),
        (("--steps", 4), 'make selfplay ARGS="--steps 4"'),
    ],
)
def test_what_make_hands_on_is_quoted_twice(
    place: Path, request: pytest.FixtureRequest, words: tuple[str, ...], shown: str
) -> None:
    made = command("selfplay", *words)
    if (place / "Makefile").is_file():
        assert made == shown
    assert pasted(shlex.split(made))[2:] == [str(word) for word in words]


def test_errors_and_stops_suggest_commands_with_the_path_in_one_word(tmp_path: Path) -> None:
    path = tmp_path / AWKWARD
    run = make_run(path, steps=2, tasks=20)
    resume = ["minizero", "selfplay", "--resume", str(path)]
    assert commands(str(Stopped(path, 3))) == [resume]
    with pytest.raises(RunExists) as exists:
        RunDirectory.create(path, config_toml="", manifest={})
    assert resume in commands(str(exists.value))
    with pytest.raises(RunError) as nothing:
        newest_checkpoint(path)
    assert resume in commands(str(nothing.value))
    with pytest.raises(RunError) as full, run._writing("the state"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert resume in commands(str(full.value))
    run.checkpoint(2, lambda directory: None)
    with pytest.raises(RunError) as torn:
        run.newest_state(lambda text: None)
    checkpoint = str(path / "checkpoints" / "step-000002")
    assert ["minizero", "selfplay", "--from-checkpoint", checkpoint] in commands(str(torn.value))


def test_an_evaluation_says_how_to_compare_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(Quiet):
        def say(self, text: str) -> None:
            told.append(text)

    told: list[str] = []
    monkeypatch.setattr("minizero.evaluation.command.evaluate", lambda *given, **named: None)
    monkeypatch.setattr("minizero.evaluation.command.external.export", lambda *given: [])
    out = tmp_path / AWKWARD
    evaluate_command("tiny", SamplingSettings(("auto",), "auto", 0), out, None, (), "minizero", Told())
    assert commands("\n".join(told)) == [["minizero", "compare", str(out)]]
    with pytest.raises(EvaluationError, match="no finished evaluation") as unfinished:
        read_entries([out])
    assert shell("--out", out) in str(unfinished.value)
