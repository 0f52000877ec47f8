"""Replay: readable at 80 columns, its filters, and model text that stays text whatever it holds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from minizero.formatting import visible
from minizero.report.replay import show, watch
from minizero.report.words import REASONS, reward_of
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import RunError
from tests.made_run import make_run


def shown(path: Path, **options: object) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=False)
    show(path, console=console, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("runs") / "run", steps=3, tasks=30)


def test_a_rollout_shows_text_outcome_and_reward_term_by_term(run: RunDirectory) -> None:
    row = next(
        r for r in run.rollouts(3) if r["role"] == "propose" and "learnability" in r["terms"] and r["reward"] > 0
    )
    text = shown(run.path, role="propose", limit=100)
    assert row["id"] in text
    assert f"as task {row['task']}" in text
    assert "learnability" in text
    assert "novelty" in text
    assert "measured only" in text


def test_a_rejected_proposal_says_why_and_what_was_asked_for(run: RunDirectory) -> None:
    row = next(r for r in run.rollouts(3) if r["role"] == "propose" and r["reason"] and r["type"] != "induction")
    text = " ".join(shown(run.path, role="propose", reason=row["reason"], limit=100).split())
    assert f"rejected {row['reason']}: {REASONS[row['reason']]}" in text
    assert "asked for 2 lines" in text


def test_the_last_step_is_shown_unless_another_is_asked_for(run: RunDirectory) -> None:
    assert "step 3 of 1 to 3" in shown(run.path)
    assert "step 1 of 1 to 3" in shown(run.path, step=1)


def test_nothing_is_wider_than_80_columns(run: RunDirectory) -> None:
    assert max(map(len, shown(run.path, limit=500).splitlines())) <= 80


def test_filters_keep_what_they_name(run: RunDirectory) -> None:
    text = shown(run.path, role="attempt", task_type="induction", reason="correct", limit=100)
    assert "attempt induction" in text
    assert "deduction" not in text
    assert "verdict  correct" in text
    assert "verdict  wrong" not in text


def test_an_answer_is_shown_with_its_task(run: RunDirectory) -> None:
    text = shown(run.path, role="solve", task_type="deduction", limit=1)
    assert "program" in text
    assert "def f(x):" in text


def test_a_limit_says_how_many_more_there_are(run: RunDirectory) -> None:
    count = sum(row["role"] == "solve" for row in run.rollouts(3))
    assert f"{count - 2} more with --limit {count}" in shown(run.path, role="solve", limit=2)


def test_a_step_that_is_not_there_names_the_steps_that_are(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="Steps with rollouts: 1-3"):
        shown(run.path, step=8)


def test_a_reason_that_is_not_there_names_the_ones_that_are(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"none of \d+ rollouts has --role solve --reason typo.* correct"):
        shown(run.path, role="solve", reason="typo")


@pytest.mark.parametrize("filters", [{"role": "proposer"}, {"task_type": "deduct"}])
def test_a_mistyped_filter_names_the_allowed_ones(run: RunDirectory, filters: dict[str, str]) -> None:
    with pytest.raises(RunError, match="expected one of"):
        shown(run.path, **filters)


def test_a_run_without_rollouts_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no step has rollouts yet"):
        shown(make_run(tmp_path / "run", steps=3, done=0).path)


HOSTILE = "[bold red]x[/bold red] [link=http://evil]y[/link]\x1b[2J\x1b]0;owned\x07\x9b31m\r\x00\u202etxt\ud800"


def test_markup_and_control_sequences_of_a_model_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2, tasks=30, text=HOSTILE)
    file = io.StringIO()
    show(run.path, limit=500, console=Console(file=file, width=80, force_terminal=True, color_system="truecolor"))
    text = file.getvalue()
    assert "[bold red]x[/bold red]" in text
    assert "\\x1b[2J" in text
    for harmful in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\r", "\x00", "\u202e", "\ud800"):
        assert harmful not in text
    text.encode("utf-8")


@given(st.text(st.characters(), max_size=200))
def test_visible_text_is_printable_and_can_be_encoded(text: str) -> None:
    safe = visible(text)
    assert all(c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160) for c in safe)
    safe.encode("utf-8")


def test_every_row_has_its_reward_with_the_rule_and_the_parts_that_give_it(run: RunDirectory) -> None:
    # The made run: base learnability, 0.2 x novelty added, admitted only measured; answers: binary.
    for step in run.rollout_steps():
        for row in run.rollouts(step):
            reward = reward_of(row)
            assert reward.value == row["reward"]
            assert reward.terms == row["terms"]
            counts = [part.counts for part in reward.parts if part.counts is not None]
            if counts:
                assert reward.value == pytest.approx(sum(counts))
                assert all(part.counts == part.weight * part.value for part in reward.parts if part.counts is not None)
            else:
                assert reward.value in (-0.5, -1.0)
                assert "(reward." in reward.rule


@pytest.mark.parametrize("combine", ["sum", "multiply", "sum_multiply", "multiply_sum"])
def test_every_way_to_combine_terms_is_shown_as_it_was_recorded(tmp_path: Path, combine: str) -> None:
    reward = {"propose": {"combine": combine, "terms": {"novelty": {"weight": 0.5, "max": 0.3}, "admitted": 0.2}}}
    run = make_run(tmp_path / "run", steps=1, tasks=9, settings={"reward": reward})
    rules = [reward_of(row).rule for row in run.rollouts(1)]
    assert any("novelty" in rule and "admitted" in rule for rule in rules)
    text = " ".join(shown(run.path, limit=500).split())
    assert all(rule in text for rule in rules)


def test_rows_of_an_older_version_are_shown_with_their_terms_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, tasks=9)
    rows = [{key: value for key, value in row.items() if key != "earned"} for row in run.rollouts(1)]
    run.write_rollouts(1, rows)
    text = shown(run.path, limit=500)
    assert "learnability: " in text
    assert "earned" in text
    assert " = " not in text.replace(" -> ", "").replace("total = ", "").replace("x = ", "").replace("+= ", "")
    assert "measured only" not in text


def test_shuffled_rewards_are_said_to_be_shuffled_beside_the_row_s_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, tasks=9, settings={"selfplay": {"shuffle_rewards": True}})
    rows = run.rollouts(1)
    text = shown(run.path, limit=500)
    assert text.count("rewards were shuffled") == sum(reward_of(row).value != row["reward"] for row in rows) > 0


def test_watching_a_finished_run_tells_all_steps_and_ends(run: RunDirectory) -> None:
    file = io.StringIO()
    watch(run.path, console=Console(file=file, width=200), wait=lambda: pytest.fail("it is over"))
    text = file.getvalue()
    assert [f"step {n}/3" in text for n in (1, 2, 3)] == [True] * 3
    assert "held-out after step 0" in text
    assert "held-out after step 3" in text


def test_watching_follows_lines_as_they_are_written_and_never_a_torn_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, done=1, tasks=9, validate_at=[0])
    line = json.dumps({"step": 2, "time/step_s": 1.0}) + "\n"
    looks = iter(
        [lambda: run.append("metrics.jsonl", line[:9]), lambda: run.append("metrics.jsonl", line[9:]), lambda: True]
    )
    file = io.StringIO()
    watch(run.path, console=Console(file=file, width=200), wait=lambda: next(looks)())
    assert file.getvalue().count("step 2/3") == 1
    assert file.getvalue().count("step 1/3") == 1


def test_ctrl_c_ends_watching_in_good_order(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    file = io.StringIO()
    run = make_run(tmp_path / "run", steps=3, done=1, tasks=9, validate_at=[0])
    watch(run.path, console=Console(file=file, width=200), wait=interrupted)
    assert "no longer watching, after step 1" in file.getvalue()
