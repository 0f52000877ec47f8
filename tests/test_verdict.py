"""The verdict on a run: numbers from its validations, words that say no more than they show, a command that works."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from minizero.config import load_config
from minizero.report.verdict import Findings, closing_words, judge
from minizero.selfplay.run_data import read_run
from minizero.selfplay.validation import Validation
from minizero.types import RunError
from tests.made_run import make_run


def verdict(path: Path) -> Findings:
    return judge(read_run(path))


def test_a_clear_gain_is_told_with_its_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gain=0.25, tasks=200)
    found = verdict(run.path)
    assert found.kind == "better"
    assert found.solve_rate[0].difference.low > 0
    assert "95 % interval" in found.sentences[0]
    assert "above zero" in found.sentences[1]


def test_the_numbers_are_those_of_the_validation_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=90)
    files = sorted((run.path / "eval").iterdir())
    before, after = (Validation.from_json(file.read_text()).metrics() for file in (files[0], files[-1]))
    found = verdict(run.path)
    for changes, name in ((found.solve_rate, "eval/solve_rate"), (found.greedy, "eval/greedy")):
        for change in changes:
            full = name if change.label == "all" else f"{name}/{change.label}"
            assert change.before == pytest.approx(before[full])
            assert change.after == pytest.approx(after[full])
            assert change.difference.value == pytest.approx(change.after - change.before)
            assert change.difference.low <= change.difference.value <= change.difference.high


def test_an_interval_with_zero_in_it_is_called_noise(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gain=0.0)
    found = verdict(run.path)
    assert found.kind == "unclear"
    assert "no change can be told from noise" in found.sentences[1]
    assert "got better" not in closing_words(run.path)


def test_a_loss_is_called_a_loss_and_a_lower_rate_is_suggested(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gain=-0.3, tasks=200)
    found = verdict(run.path)
    assert found.kind == "worse"
    assert "--set optim.lr=0.00015" in found.suggestion.command


def test_a_rate_of_the_norm_gains_is_lowered_with_the_other(tmp_path: Path) -> None:
    optim = {"lr": 1e-5, "norm_lr": 0.02}
    run = make_run(tmp_path / "run", gain=-0.3, tasks=200, settings={"optim": optim})
    assert "--set optim.lr=5e-06 --set optim.norm_lr=0.01" in verdict(run.path).suggestion.command


def test_two_tasks_are_too_few_to_call_anything_better(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=2, gain=0.9)
    found = verdict(run.path)
    assert found.kind == "unclear"
    assert any("too few" in caution for caution in found.cautions)


def test_without_held_out_tasks_nothing_was_measured_and_it_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", validate_at=[], settings={"eval": {"tasks": "none"}})
    words = closing_words(run.path)
    assert verdict(run.path).kind == "unmeasured"
    assert "Nothing was measured on held-out tasks." in words
    assert "is no evidence" in " ".join(words.split())
    assert "eval.tasks=tiny" in words
    real = make_run(tmp_path / "real", validate_at=[], settings={"eval": {"tasks": "none"}, "model": {"name": "x/y"}})
    assert "eval.tasks=cruxeval" in " ".join(closing_words(real.path).split())


def test_one_validation_is_nothing_to_compare(tmp_path: Path) -> None:
    found = verdict(make_run(tmp_path / "run", steps=9, done=4, validate_at=[0]).path)
    assert found.kind == "unmeasured"
    assert "nothing to compare yet" in found.sentences[0]


def test_an_unfinished_run_says_where_it_stands_and_how_to_continue(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=9, done=4)
    found = verdict(run.path)
    assert "The run is not finished: step 4 of 9." in found.cautions
    assert f"--resume {run.path}" in found.suggestion.command


def test_a_run_of_no_steps_has_a_verdict(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, done=0)
    assert verdict(run.path).kind == "unmeasured"


def test_a_validation_that_the_metrics_do_not_know_is_not_used(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4)
    row = {"id": "other", "type": "deduction", "lines": 1, "greedy": True, "correct": 4, "tokens": 9, "nats": 1.0}
    left_over = Validation(9, 4, (row,))
    run.write_text("eval/step-000009.json", left_over.to_json())
    assert verdict(run.path).solve_rate[0].tasks == 120


def test_validations_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    file = run.path / "eval" / "step-000006.json"
    data = json.loads(file.read_text())
    data["rows"].reverse()
    file.write_text(json.dumps(data))
    found = verdict(run.path)
    assert found.kind == "unmeasured"
    assert any("different tasks" in caution for caution in found.cautions)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"selfplay": {"shuffle_rewards": True}}, "shuffled"), ({"optim": {"freeze": True}}, "never moved")],
)
def test_a_control_is_called_a_control(tmp_path: Path, settings: dict[str, dict[str, bool]], word: str) -> None:
    words = " ".join(closing_words(make_run(tmp_path / "run", settings=settings).path).split())
    assert "This run is a control" in words
    assert word in words


def test_an_unsafe_run_is_called_unsafe(tmp_path: Path) -> None:
    assert "! unsafe:" in closing_words(make_run(tmp_path / "run", manifest={"unsafe": True}).path)


def test_an_alarm_in_most_steps_is_told_once_with_its_count(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4)
    for step in (1, 2, 3):
        run.log(step, {"policy/entropy": 0.001})
    words = " ".join(closing_words(run.path).split())
    assert "! policy/entropy, in 3 of 4 steps: the policy is almost deterministic: collapse" in words


def test_the_words_fit_a_terminal_of_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    *lines, command = closing_words(make_run(Path("runs/one"), gain=0.25).path).splitlines()
    assert command.startswith("  minizero ")  # stays one line, to be copied: it names a file of this checkout
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("gain", [-0.3, 0.0, 0.3])
def test_what_is_suggested_is_a_command_that_works(
    tmp_path: Path, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no Makefile here: the console script's form
    words = shlex.split(verdict(make_run(Path("run"), gain=gain, tasks=200).path).suggestion.command)
    assert words[:2] == ["minizero", "selfplay"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert set(options) <= {"--set", "--config", "--resume", "--steps"}
    load_config(
        [options["--config"]] if "--config" in options else [], [options["--set"]] if "--set" in options else []
    )


def test_in_a_checkout_the_command_is_a_make_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").write_text("selfplay:\n")
    found = verdict(make_run(Path("run"), steps=9, done=4).path)
    assert found.suggestion.command == 'make selfplay ARGS="--resume run"'


def overlays(**files: str) -> None:
    """Write overlays of configs/ablations in the present directory."""
    folder = Path("configs/ablations")
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_an_overlay_that_changes_something_is_suggested_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overlays(
        a="# The same as now.\n[optim]\nlr = 3e-4\n",
        aa="# This collapses.\n[admission]\nduplicate_by = 'none'\n",
        b="# Without induction.\n[selfplay]\ntask_types = ['deduction']\n",
    )
    found = verdict(make_run(Path("run"), gain=0.0).path)
    assert found.suggestion.words == "To try next (Without induction):"
    assert found.suggestion.command == "minizero selfplay --config configs/ablations/b.toml"


def test_a_style_that_answers_at_once_is_not_asked_to_answer_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overlays(
        a="# At once.\n[prompt]\nthink = 'off'\n",
        b="# Without induction.\n[selfplay]\ntask_types = ['deduction']\n",
    )
    settings = {"prompt": {"style": "direct"}}
    found = verdict(make_run(Path("run"), gain=0.0, settings=settings).path)
    assert found.suggestion.words == "To try next (Without induction):"


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        verdict(tmp_path)
