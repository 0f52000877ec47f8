"""Composite functions: what may be built on, what must be called, when they are asked for, and the whole step."""

from __future__ import annotations

import random

import pytest

from minizero import prompts
from minizero.config import load_config
from minizero.config.tasks import CompositesConfig, PromptConfig
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.scoring import rollout_row
from minizero.tasks.composites import Ask, compose, renamed, schedule
from minizero.tasks.programs import statement_lines
from minizero.tasks.rows import task_from_json, task_to_json
from minizero.types import ConfigError, Pair, ParseError, Proposal, Request, StyleError, Task, TaskType
from sandbox import Sandbox
from tests.azr_departures import COMPOSITES as AZR_DEPARTURES
from tests.test_selfplay import game

DEDUCTION = TaskType.DEDUCTION
G_0 = "def g_0(x):\n    return x + 1"
G_1 = "import math\ndef g_1(x):\n    return math.floor(x)"


def task(program: str, **fields: object) -> Task:
    return Task(DEDUCTION, program, (Pair("1", "2"),), **fields)  # type: ignore[arg-type]


def test_programs_are_renamed_with_their_recursive_calls_and_keep_their_text() -> None:
    tasks = [
        task("def f(n):\n    return n if n < 2 else f(n - 1) + n  # sum"),
        task("import math\ndef f(x):\n    return math.floor(x)"),
    ]
    assert renamed(tasks, 2) == ("def g_0(n):\n    return n if n < 2 else g_0(n - 1) + n  # sum", G_1)


@pytest.mark.parametrize(
    "program",
    [
        "def h(x):\n    return x\ndef f(x):\n    return h(x)",
        "K = 3\ndef f(x):\n    return x + K",
        "class A:\n    pass\ndef f(x):\n    return 1",
        "from __future__ import annotations\ndef f(x):\n    return x",
        "def f(g_0):\n    return g_0",
        "def f(x) return x",
    ],
)
def test_what_could_clash_with_others_is_not_built_on(program: str) -> None:
    assert renamed([task(program), task("def f(x):\n    return x + 1")], 1) == (G_0,)


def test_a_program_that_builds_on_others_is_not_built_on_and_none_is_given_twice() -> None:
    plain = task("def f(x):\n    return x + 1")
    composed = task(f"{G_0}\n\ndef f(x):\n    return g_0(x)", composites=(G_0,))
    assert renamed([composed, plain, plain], 2) == (G_0,)


def test_the_proposal_stands_under_what_it_was_given() -> None:
    found = compose(Proposal(DEDUCTION, "def f(x):\n    return g_1(g_0(x)) * 2", ("3",)), (G_0, G_1))
    assert isinstance(found, Proposal)
    assert found.program == f"{G_0}\n\n{G_1}\n\ndef f(x):\n    return g_1(g_0(x)) * 2"
    made = task(found.program, composites=found.composites)
    assert made.own_program == "def f(x):\n    return g_1(g_0(x)) * 2"
    assert statement_lines(made.program) == 1
    assert task_from_json(task_to_json(made)) == made


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x):\n    return g_0(x)", ParseError("composite_unused", "g_1")),
        ("def f(x):\n    return [g_0, g_1]", ParseError("composite_unused", "g_0, g_1")),
        ("def g_0(x):\n    return 1\ndef f(x):\n    return g_0(g_1(x))", ParseError("composite_redefined", "g_0")),
        ("def f(x, g_1=abs):\n    return g_0(g_1(x))", ParseError("composite_redefined", "g_1")),
        ("from math import floor as g_0\ndef f(x):\n    return g_0(g_1(x))", ParseError("composite_redefined", "g_0")),
        ("def f(x):\n    g_1 = abs\n    return g_0(g_1(x))", ParseError("composite_redefined", "g_1")),
    ],
)
def test_every_given_function_must_be_called_and_none_redefined(program: str, expected: ParseError) -> None:
    assert compose(Proposal(DEDUCTION, program, ("3",)), (G_0, G_1)) == expected


def test_where_azr_judges_otherwise_is_listed() -> None:
    found = {text: isinstance(compose(Proposal(DEDUCTION, text, ("3",)), (G_0,)), Proposal) for text in AZR_DEPARTURES}
    assert found == {text: here for text, (_, here, _) in AZR_DEPARTURES.items()}


def test_calls_in_helpers_and_loops_count() -> None:
    program = "def h(x):\n    return g_0(x)\ndef f(xs):\n    return [h(g_1(x)) for x in xs]"
    assert isinstance(compose(Proposal(DEDUCTION, program, ("[3]",)), (G_0, G_1)), Proposal)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (4, None),
        (5, Ask(0.5, 1, 1)),
        (150, Ask(0.5, 1, 1)),
        (151, Ask(0.51, 1, 2)),
        (201, Ask(0.52, 1, 3)),
        (501, Ask(0.58, 1, 3)),
        (5001, Ask(0.8, 1, 3)),
    ],
)
def test_the_scheduler_grows_number_and_chance_as_the_official_one(step: int, expected: Ask | None) -> None:
    settings = CompositesConfig.model_validate({"start_step": 5, "scheduler": {"enabled": True}})
    found = schedule(settings, step)
    assert found == expected or (found and expected and found.chance == pytest.approx(expected.chance))
    assert (found and (found.n_min, found.n_max)) == (expected and (expected.n_min, expected.n_max))


def test_without_the_scheduler_nothing_grows_and_off_is_off() -> None:
    assert schedule(CompositesConfig(start_step=1, chance=0.2, n_max=2), 900) == Ask(0.2, 1, 2)
    assert schedule(CompositesConfig(), 900) is None


def test_the_buffer_gives_as_many_as_asked_or_none() -> None:
    buffer = TaskBuffer(lambda t: t.id)
    buffer.add((task(f"def f(x):\n    return x + {n}"), None) for n in range(3))
    found = buffer.composites(DEDUCTION, 3, random.Random(0))
    assert [text.partition("(")[0] for text in found] == ["def g_0", "def g_1", "def g_2"]
    assert len({text.rpartition("+")[2] for text in found}) == 3
    assert buffer.composites(DEDUCTION, 4, random.Random(0)) == ()
    assert buffer.composites(TaskType.ABDUCTION, 1, random.Random(0)) == ()


@pytest.mark.parametrize("style", ["r1", "chat"])
def test_the_prompt_shows_what_is_given_only_when_something_is(style: str) -> None:
    def text(*given: str) -> str:
        prompt = prompts.propose(style, DEDUCTION, [], settings=PromptConfig(), composites=given)
        return "\n".join(message.content for message in prompt.messages)

    assert G_0 in text(G_0, G_1)
    assert G_1 in text(G_0, G_1)
    assert "g_0" not in text()


def test_the_tiny_models_style_refuses_by_name_before_anything_starts() -> None:
    for override in ("composites.start_step=1", 'selfplay.task_types=["deduction", "error"]'):
        with pytest.raises(StyleError, match="the tiny model") as caught:
            load_config(overrides=["model.name=tiny", override])
        assert override.partition("=")[0] in str(caught.value)
        assert load_config(overrides=["model.name=other", override])
        with pytest.raises(StyleError):
            load_config(overrides=["model.name=other", "prompt.style=compact", override])
    with pytest.raises(StyleError, match="composite functions"):
        prompts.propose("compact", DEDUCTION, [], settings=PromptConfig(), composites=(G_0,))


def test_settings_that_contradict_each_other_are_told() -> None:
    with pytest.raises(ConfigError, match="n_min = 3 is above n_max = 2"):
        load_config(overrides=["model.name=other", "composites.n_min=3", "composites.n_max=2"])
    with pytest.raises(ConfigError, match="num_programs_max"):
        load_config(overrides=["model.name=other", "composites.n_max=4", "composites.scheduler.enabled=true"])
    with pytest.raises(ConfigError, match=r"composites\.start_step\?"):
        load_config(overrides=["composite_start_step=5"])


def builder(request: Request, index: int) -> str:
    """Builds on g_0 where it is given one; every second attempt is right."""
    if not request.id.startswith("propose"):
        return "('Hello world', 1)\n```" if index % 2 else "0\n```"
    if "def g_0" in request.prompt.messages[-1].content:
        return f"def f(x):\n    return g_0(x), {int(request.id[-4:]) + 1}\n\nf('Hello world')\n```"
    return "def f(x):\n    return x\n\nf(1)\n```"


ON = ("composites.start_step=2", "composites.chance=1.0", 'selfplay.task_types=["deduction"]', "selfplay.solves=0")


def test_a_step_hands_functions_over_and_the_task_holds_them(box: Sandbox) -> None:
    attempted: list[str] = []

    def script(request: Request, index: int) -> str:
        attempted.append(request.prompt.messages[-1].content if request.id.startswith("attempt") else "")
        return builder(request, index)

    result = game(box, script, *ON).step(2)
    made = [entry for entry, _ in result.stored]
    assert [entry.own_program for entry in made] == [f"def f(x):\n    return g_0(x), {n}" for n in (1, 2, 3, 4)]
    assert made[0].program == "def g_0(a):\n    return a\n\ndef f(x):\n    return g_0(x), 1"
    assert made[0].output == "('Hello world', 1)"
    assert result.metrics["propose/composite_frac"] == 1
    assert all("def g_0(a)" in text for text in attempted if text)
    rows = [rollout_row(s) for s in result.scored if not s.is_attempt]
    assert rows[0]["task_content"]["composites"] == ["def g_0(a):\n    return a"]
    assert [row["solve_rate"] for row in rows] == [0.5, 0, 0, 0]


def test_before_the_first_step_with_them_nothing_is_handed_over(box: Sandbox) -> None:
    result = game(box, builder, *ON).step(1)
    assert not any(entry.composites for entry, _ in result.stored)
    assert "propose/composite_frac" not in result.metrics


def test_a_proposal_that_ignores_them_is_rejected_by_name(box: Sandbox) -> None:
    def lazy(request: Request, index: int) -> str:
        return "def f(x):\n    return x\n\nf(1)\n```" if request.id.startswith("propose") else "1\n```"

    result = game(box, lazy, *ON).step(2)
    assert result.metrics["propose/rejected/composite_unused"] == 1
    assert {rollout_row(s)["reward"] for s in result.scored} == {-1.0}


def test_while_they_are_off_no_random_number_is_drawn_for_them(box: Sandbox) -> None:
    for start in (-1, 2):
        play = game(box, builder, f"composites.start_step={start}", "prompt.examples=0", *ON[2:])
        before = play.rng.getstate()
        assert play.step(1).stored
        assert play.rng.getstate() == before


def test_induction_is_never_asked_to_build_on_anything(box: Sandbox) -> None:
    asked: list[str] = []

    def listening(request: Request, index: int) -> str:
        if request.id.startswith("propose/induction"):
            asked.append(request.prompt.messages[-1].content)
        return builder(request, index)

    play = game(box, listening, "composites.start_step=1", "composites.chance=1.0", "selfplay.solves=0")
    play.step(1)
    assert asked
    assert not any("def g_0" in text for text in asked)
