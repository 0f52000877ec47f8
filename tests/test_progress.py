"""A slow model is never silent: tokens are counted as they are written, and what is rejected is said meanwhile."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console as RichConsole

from minizero.config import load_config
from minizero.report.console import Console
from minizero.rollout.scripted import ScriptedSampler
from minizero.rollout.vllm_internals import InternalsMoved, open_tokens
from minizero.selfplay.seeding import grow_seeds
from minizero.selfplay.seeds import zero_tasks
from minizero.selfplay.step import SelfPlay
from minizero.selfplay.validation import validate
from minizero.types import Completion, Quiet, Request, SeedsError
from sandbox import Sandbox

STEP = load_config(overrides=["selfplay.proposals=4", "selfplay.solves=2", "selfplay.attempts=2", "prompt.style=chat"])
LONG = 4  # polls in which nothing is finished


class Slow(ScriptedSampler):
    """Writes one token of every open completion in each of LONG polls, then ends two completions a poll."""

    def __init__(self, script: Callable[[Request, int], str] = lambda request, index: "no") -> None:
        super().__init__(script, per_poll=2)
        self._polls = 0

    def poll(self) -> list[Completion]:
        self._polls += 1
        if self._polls > LONG:
            return super().poll()
        self._usage["completion_tokens"] += self.pending
        return []


class Told(Quiet):
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.details: list[str] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def tick(self, pending: int, detail: str = "") -> None:
        self.details.append(detail)


def test_tokens_are_counted_before_the_first_completion_ends(box: Sandbox) -> None:
    told = Told()
    SelfPlay(STEP, sampler=Slow(), box=box, progress=told).step(1)
    assert told.details[:5] == [
        "0 completions, 18 open, reading prompts",
        "0 completions, 18 open, 18 tokens",
        "0 completions, 18 open, 36 tokens",
        "0 completions, 18 open, 54 tokens",
        "0 completions, 18 open, 72 tokens",
    ]
    assert told.details[-1].startswith("18 completions, ")


def test_why_nothing_is_admitted_is_said_while_others_are_still_written(box: Sandbox) -> None:
    told = Told()
    SelfPlay(STEP, sampler=Slow(), box=box, progress=told).step(1)
    meanwhile = [detail for detail in told.details if " open, " in detail and "none of" in detail]
    assert meanwhile
    assert "; none of 6 admitted: no_program " in meanwhile[0] or "; none of 6 admitted: no_blocks" in meanwhile[0]


def test_validation_counts_tokens_too(box: Sandbox) -> None:
    found: list[str] = []
    validate(
        zero_tasks()[:2], STEP, step=0, sampler=Slow(), box=box, style="chat",
        tick=lambda pending, words: found.append(words),
    )  # fmt: skip
    assert found[0].endswith("open, reading prompts")
    assert found[1].startswith("0 completions, ")
    assert found[1].endswith(" tokens")


def test_seeding_shows_its_round_and_the_counts_of_it(box: Sandbox) -> None:
    told = Told()
    with pytest.raises(SeedsError):
        grow_seeds(STEP, 2, sampler=Slow(), box=box, style="chat", progress=told)
    assert all(phase.startswith("seeding, round ") for phase in told.phases)
    assert "0 completions, 8 open, 8 tokens" in told.details
    assert any("; none of 8 admitted: " in detail for detail in told.details)


def shown(console: Console, width: int) -> list[str]:
    """The lines of the bar as a terminal has them now."""
    assert console._bar is not None
    out = io.StringIO()
    RichConsole(file=out, width=width, force_terminal=True, color_system=None).print(console._bar.get_renderable())
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_has_phase_and_time_left_in_one_line_and_counts_below(width: int) -> None:
    console = Console(RichConsole(file=io.StringIO(), width=width, force_terminal=True))
    with console:
        console.steps(3, 500)
        console.step(4, 500, {"time/step_s": 630.0})
        console.phase("step 5: sampling")
        counts = "0 completions, 1920 open, 51,234 tokens, 1,234 tok/s; none of 24 admitted: no_program 20, syntax 4"
        console._spoke = 0.0
        console.tick(1920, counts)
        bar, below = shown(console, width)
    assert bar.startswith("step 5: sampling (0 s)")
    assert bar.rstrip().endswith("4/500, 86 h 48 min left")
    assert below.startswith("  0 completions, 1920 open, 51,234 tokens, 1,234 tok/s; none of 24 admitted")
    assert max(len(bar), len(below)) <= width


def test_what_vllm_has_written_of_open_completions_is_counted() -> None:
    def state(tokens: int) -> SimpleNamespace:
        return SimpleNamespace(detokenizer=SimpleNamespace(num_output_tokens=lambda: tokens))

    states = {"1": state(3), "2": state(4), "3": SimpleNamespace(detokenizer=None)}
    engine = SimpleNamespace(output_processor=SimpleNamespace(request_states=states))
    assert open_tokens(SimpleNamespace(llm_engine=engine)) == 7
    with pytest.raises(InternalsMoved):
        open_tokens(SimpleNamespace(llm_engine=SimpleNamespace()))
