"""One step of self-play with a scripted policy: who is asked what, what enters the buffer, what is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from minizero.config import load_config
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.seeds import zero_tasks
from minizero.selfplay.step import SelfPlay, StepResult
from minizero.tasks.admission import task_key
from minizero.tasks.programs import program_key
from minizero.types import ConfigError, Request, Rollout, TaskType
from sandbox import Sandbox


class Listener:
    """A learner that only listens."""

    def __init__(self) -> None:
        self.heard: list[list[Rollout]] = []

    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        self.heard.append(rollouts)
        return {}


def game(box: Sandbox, script: Callable[[Request, int], str], *overrides: str, **settings: Any) -> SelfPlay:
    config = load_config(
        overrides=[
            "prompt.style=chat", "prompt.think=off", "selfplay.proposals=4", "selfplay.solves=4",
            "selfplay.attempts=4",
            "prompt.induction_inputs=4", "prompt.induction_shown=2", "selfplay.max_prompt_tokens=100000", *overrides,
        ]
    )  # fmt: skip
    buffer = TaskBuffer(lambda task: task_key(task, config.admission.duplicate_by), cap=config.buffer.cap)
    buffer.add((task, None) for task in zero_tasks() if task.type in config.selfplay.task_types)
    sampler = settings.pop("sampler", None) or ScriptedSampler(script)
    return SelfPlay(config, policy=Listener(), sampler=sampler, box=box, buffer=buffer, style="chat", **settings)


def clever(request: Request, index: int) -> str:
    """Proposes x + n for a different n each time; every second attempt is right; solves the identity right."""
    role, kind, name, *_ = request.id.split("/")
    if role == "propose" and kind != "induction":
        number = int(name) + request.seed % 997
        return f"def f(x):\n    return x + {number}\n```\n\n```input\n1\n```"
    if role == "propose":
        return "1\n```\n\n```input\n4\n```\n```input\n2\n```\n```input\n3\n```\n```message\nsay it back\n```"
    text = request.prompt.messages[-1].content
    if role == "attempt" and index % 2:
        return "0\n```"
    if kind == "induction":
        return "def f(a):\n    return a\n```"
    if "x + " in text:
        number = int(text.rpartition("x + ")[2].partition("\n")[0])
        return f"{1 + number}\n```" if kind == "deduction" else "1\n```"
    return "'Hello world'\n```"


def roles(result: StepResult) -> Counter[str]:
    return Counter(rollout_row(s)["role"] for s in result.scored)


def test_a_step_proposes_attempts_and_solves_every_type(box: Sandbox) -> None:
    play = game(box, clever)
    result = play.step(1)
    assert roles(result)["propose"] == 12
    assert roles(result)["solve"] == 12
    assert result.metrics["propose/admitted_frac/deduction"] == 1
    assert result.metrics["propose/solve_rate/deduction"] == 0.5
    assert result.metrics["propose/learnable_frac/deduction"] == 1
    assert result.metrics["reward/propose/learnability"] > 0


def test_attempts_tell_the_solve_rate_but_are_not_trained_on(box: Sandbox) -> None:
    play = game(box, clever)
    play.step(1)
    (heard,) = play.policy.heard  # type: ignore[attr-defined]
    assert {r.completion.request_id.split("/")[0] for r in heard} == {"propose", "solve"}


def test_attempts_are_trained_on_when_asked(box: Sandbox) -> None:
    play = game(box, clever, "selfplay.train_on_attempts=true")
    play.step(1)
    heard = Counter(r.completion.request_id.split("/")[0] for r in play.policy.heard[0])  # type: ignore[attr-defined]
    assert heard["attempt"] >= 32


def test_solver_only_training_still_proposes_and_buffers(box: Sandbox) -> None:
    play = game(box, clever, "selfplay.train_propose=false")
    result = play.step(1)
    assert {r.role.value for r in play.policy.heard[0]} == {"solve"}  # type: ignore[attr-defined]
    assert result.stored


def test_the_solver_works_on_what_the_step_before_proposed(box: Sandbox) -> None:
    play = game(box, clever, 'selfplay.task_types=["deduction"]')
    asked = []
    for number in (1, 2):
        result = play.step(number)
        asked.append({s.outcome.task.step for s in result.scored if rollout_row(s)["role"] == "solve"})  # type: ignore[union-attr]
    assert asked == [{0}, {1}]


def test_or_on_what_the_same_step_proposed(box: Sandbox) -> None:
    play = game(box, clever, 'selfplay.task_types=["deduction"]', "selfplay.solve_from=same")
    result = play.step(1)
    assert {s.outcome.task.step for s in result.scored if rollout_row(s)["role"] == "solve"} == {1}  # type: ignore[union-attr]


def same_program(request: Request, index: int) -> str:
    if request.id.startswith("propose"):
        return "def f(x):\n    return x * 2\n```\n```input\n1\n```"
    return "2\n```"


def test_equal_proposals_of_one_step_are_duplicates_but_for_the_first(box: Sandbox) -> None:
    play = game(box, same_program, 'selfplay.task_types=["deduction"]')
    result = play.step(1)
    rows = [rollout_row(s) for s in result.scored if rollout_row(s)["role"] == "propose"]
    assert [row["reason"] for row in rows] == ["", "duplicate", "duplicate", "duplicate"]
    assert [row["reward"] for row in rows[1:]] == [-0.5] * 3
    assert len(result.stored) == 1
    again = play.step(2)
    assert again.metrics["propose/duplicate_frac"] == 1
    assert again.stored == []


def test_without_the_rule_nothing_is_a_duplicate(box: Sandbox) -> None:
    play = game(box, same_program, 'selfplay.task_types=["deduction"]', "admission.duplicate_by=none")
    assert len(play.step(1).stored) == 4


def test_a_duplicate_by_program_is_attempted_once(box: Sandbox) -> None:
    def other_inputs(request: Request, index: int) -> str:
        if request.id.startswith("propose"):
            return f"def f(x):\n    return x * 2\n```\n```input\n{request.id[-1]}\n```"
        return "2\n```"

    play = game(box, other_inputs, 'selfplay.task_types=["deduction"]', "admission.duplicate_by=program")
    result = play.step(1)
    assert roles(result)["attempt"] == 4
    assert len(result.stored) == 1


def test_streaming_gives_what_the_ordered_exchange_gives(box: Sandbox) -> None:
    streaming = ScriptedSampler(clever, per_poll=3)
    streaming.is_reproducible = False
    one, two = game(box, clever).step(1), game(box, clever, sampler=streaming).step(1)
    assert [rollout_row(s) for s in one.scored] == [rollout_row(s) for s in two.scored]
    assert one.stored == two.stored


def test_a_proposal_equal_to_a_held_out_program_is_rejected(box: Sandbox) -> None:
    held_out = frozenset({program_key("def f(x):\n    return x * 2")})
    play = game(box, same_program, 'selfplay.task_types=["deduction"]', held_out=held_out)
    result = play.step(1)
    assert result.metrics["propose/rejected/held_out"] == 1
    assert result.stored == []


def test_induction_answers_that_hit_a_held_out_program_are_counted(box: Sandbox) -> None:
    held_out = frozenset({program_key("def f(a):\n    return a")})
    play = game(box, clever, 'selfplay.task_types=["induction"]', "selfplay.proposals=0", held_out=held_out)
    assert play.step(1).metrics["eval/held_out_answers"] == 4


def test_warm_up_steps_only_solve(box: Sandbox) -> None:
    play = game(box, clever, "selfplay.solver_warmup_steps=1")
    assert roles(play.step(1))["propose"] == 0
    assert roles(play.step(2))["propose"] == 12


def test_prompts_that_are_too_long_are_left_out(box: Sandbox) -> None:
    play = game(box, clever, "selfplay.max_prompt_tokens=16")
    assert play.step(1).scored == []


def test_shuffled_rewards_are_the_same_rewards_elsewhere(box: Sandbox) -> None:
    plain = game(box, clever, "selfplay.train_on_attempts=true").step(1)
    mixed = game(box, clever, "selfplay.train_on_attempts=true", "selfplay.shuffle_rewards=true").step(1)
    left, right = ([s.rollout.reward for s in result.scored] for result in (plain, mixed))
    assert left != right
    assert sorted(left) == sorted(right)


def test_remax_compares_with_the_greedy_answer(box: Sandbox) -> None:
    play = game(box, clever, "advantage.solve=remax", 'selfplay.task_types=["deduction"]')
    play.step(1)
    solves = [r for r in play.policy.heard[0] if r.role.value == "solve"]  # type: ignore[attr-defined]
    assert {r.baseline for r in solves} == {1.0}


def test_remax_compares_trained_attempts_with_the_greedy_answer_too(box: Sandbox) -> None:
    settings = ("advantage.solve=remax", 'selfplay.task_types=["deduction"]', "selfplay.train_on_attempts=true")
    play = game(box, clever, *settings)
    play.step(1)
    attempts = [r for r in play.policy.heard[0] if r.prompt_key.startswith("attempt/")]  # type: ignore[attr-defined]
    assert attempts
    assert {r.baseline for r in attempts} == {1.0}


def test_a_text_without_a_program_is_a_parse_error_with_its_reward(box: Sandbox) -> None:
    play = game(box, lambda request, index: "I would rather not.", 'selfplay.task_types=["deduction"]')
    result = play.step(1)
    row = rollout_row(result.scored[0])
    assert row["reason"] == "no_program"
    assert row["reward"] == -1.0


@pytest.mark.parametrize(("settings", "reward"), [((), -0.5), (("reward.cut=-0.25",), -0.25)])
def test_what_the_token_limit_cut_is_known_as_such(box: Sandbox, settings: tuple[str, ...], reward: float) -> None:
    def endless(request: Request, index: int) -> str:
        return "'Hello" + "o" * 500 if request.id.startswith("solve") else clever(request, index)

    play = game(box, endless, 'selfplay.task_types=["deduction"]', "selfplay.solve_max_tokens=40", *settings)
    result = play.step(1)
    answers = [s for s in result.scored if s.outcome.cut]
    assert [s.rollout.role.value for s in answers] == ["solve"] * 4
    assert {s.rollout.reward for s in answers} == {reward}
    assert {s.earned.rule for s in answers} == {"cut by the token limit (reward.cut)"}
    assert result.metrics["rollout/hit_token_limit_frac/solve"] == 1
    assert not any(rollout_row(s)["role"] == "propose" for s in answers)


def test_an_answer_that_ends_at_the_limit_counts_when_its_block_is_closed(box: Sandbox) -> None:
    def talkative(request: Request, index: int) -> str:
        return clever(request, index) + " " * 500 if request.id.startswith("solve") else clever(request, index)

    result = game(box, talkative, 'selfplay.task_types=["deduction"]', "selfplay.solve_max_tokens=40").step(1)
    answers = [s for s in result.scored if s.outcome.cut]
    assert [s.rollout.reward for s in answers] == [1.0] * 4


def test_the_greedy_answer_of_a_baseline_may_be_cut_too(box: Sandbox) -> None:
    def endless(request: Request, index: int) -> str:
        return "1" * 500 if request.temperature == 0 else clever(request, index)

    settings = ("advantage.solve=remax", 'selfplay.task_types=["deduction"]', "reward.cut=0.125")
    play = game(box, endless, *settings, "selfplay.solve_max_tokens=40")
    play.step(1)
    solves = [r for r in play.policy.heard[0] if r.role.value == "solve"]  # type: ignore[attr-defined]
    assert {r.baseline for r in solves} == {0.125}


def test_a_style_that_cannot_do_what_prompt_think_asks_is_an_error(box: Sandbox) -> None:
    sampler, config = ScriptedSampler(clever), load_config(overrides=["prompt.think=off", "model.name=any"])
    with pytest.raises(ConfigError, match=r"prompt\.think = off, but the style r1 always reasons"):
        SelfPlay(config, sampler=sampler, box=box, style="r1")


def test_the_same_seed_gives_the_same_step(box: Sandbox) -> None:
    one, two = (game(box, clever).step(1) for _ in range(2))
    assert [rollout_row(s) for s in one.scored] == [rollout_row(s) for s in two.scored]


@pytest.mark.parametrize("kind", [TaskType.DEDUCTION, TaskType.ABDUCTION])
def test_a_task_type_can_be_played_alone(box: Sandbox, kind: TaskType) -> None:
    play = game(box, clever, f'selfplay.task_types=["{kind}"]')
    assert play.step(1).metrics[f"propose/admitted_frac/{kind}"] == 1


def test_induction_alone_can_only_be_solved(box: Sandbox) -> None:
    play = game(box, clever, 'selfplay.task_types=["induction"]', "selfplay.proposals=0")
    assert play.step(1).metrics["solve/correct_frac/induction"] == 1
