"""What the console says: one line a step, a line that moves between, alarms when they begin."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console as RichConsole

from minizero.report import console as module
from minizero.report.console import Console, step_line


def plain() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(RichConsole(file=out, force_terminal=False, width=100)), out


def test_a_step_is_one_line_without_the_loss() -> None:
    values = {"propose/admitted_frac": 0.5, "solve/correct_frac": 0.25, "policy/loss": 0.1, "time/step_s": 2.0}
    assert step_line(3, 60, values) == "step  3/60  admitted  50%  solved  25%  2.0 s"


def test_a_step_tells_where_its_time_went() -> None:
    values = {
        "time/step_s": 10.0, "time/step_s/sample": 7.0, "time/step_s/update": 2.0, "time/step_s/push": 0.1,
        "sandbox/wait_s": 0.5, "rollout/tokens_per_s": 1234.0,
    }  # fmt: skip
    assert step_line(1, 2, values) == "step 1/2  10.0 s  1234 tok/s  sample 65%, update 20%, push 1%, sandbox 5%"
    assert step_line(1, 2, values | {"time/floor_frac": 0.31}, width=120).endswith("sandbox 5%, floor 31%")


def test_a_full_step_fits_80_columns_and_tells_more_where_there_is_room() -> None:
    values = {
        "propose/admitted_frac": 1.0, "propose/learnable_frac": 1.0, "solve/correct_frac": 1.0, "time/step_s": 1234.5,
        "eval/solve_rate": 0.525, "reward/propose": -0.31, "reward/solve": 0.39, "rollout/tokens_per_s": 12345.0,
        "time/step_s/sample": 800.0, "time/step_s/update": 300.0, "sandbox/wait_s": 10.0,
    }  # fmt: skip
    narrow, wide = (step_line(499, 500, values, width=width) for width in (80, 200))
    assert narrow == "step 499/500  admitted 100%  learnable 100%  solved 100%  1234.5 s  12345 tok/s"
    assert len(narrow) <= 80
    assert "held out 52.5%" in wide
    assert "reward propose -0.31, solve +0.39" in wide
    assert "sample 64%, update 24%, sandbox 1%" in wide


def test_the_progress_line_moves_while_one_call_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.05)
    console, out = plain()
    with console:
        console.phase("thinking")
        console.tick(7)
        time.sleep(0.4)
    moved = [line for line in out.getvalue().splitlines() if "thinking: 7 completions left" in line]
    assert len(moved) >= 2


def test_an_alarm_is_said_when_it_begins_and_not_every_step() -> None:
    console, out = plain()
    for admitted in (0.1, 0.1, 0.9, 0.1):
        console.step(1, 3, {"propose/admitted_frac": admitted, "time/step_s": 1.0})
    assert out.getvalue().count("! propose/admitted_frac") == 2


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("solve", "most answers are cut: raise selfplay.solve_max_tokens"),
        ("attempt", "most attempts are cut: raise selfplay.solve_max_tokens"),
        ("propose", "most proposals are cut: raise selfplay.propose_max_tokens"),
    ],
)
def test_when_most_completions_are_cut_the_setting_to_raise_is_named(role: str, words: str) -> None:
    out = io.StringIO()
    console = Console(RichConsole(file=out, width=100, soft_wrap=True))
    name = f"rollout/hit_token_limit_frac/{role}"
    console.step(1, 3, {name: 0.5, "time/step_s": 1.0})
    assert "!" not in out.getvalue()
    console.step(2, 3, {name: 0.625, "time/step_s": 1.0})
    assert f"! {name} = 0.625: {words}\n" in out.getvalue()


def test_model_text_is_not_read_as_markup() -> None:
    console, out = plain()
    console.say("[red]not a colour[/red]")
    assert "[red]not a colour[/red]" in out.getvalue()
