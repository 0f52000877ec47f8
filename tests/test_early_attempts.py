"""Attempts that stop early: the expected reward of the full count for every difficulty, the very same ends, and what is
asked of the sampler."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from minizero.config import Config, load_config
from minizero.config.early import LEAST, MOST
from minizero.rewards import reward_proposal
from minizero.rewards.attempts import expected_attempts, is_settled, rate_of_some
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.step import SelfPlay
from minizero.types import ConfigError, Pair, ProposalOutcome, Request, Task, TaskType
from sandbox import Sandbox

TASK = Task(TaskType.DEDUCTION, "def f(x):\n    return x + 1", (Pair("1", "2"),))
ALLOWED = [(first, n) for n in range(2 * LEAST, MOST + 1) for first in range(LEAST, n // 2 + 1)]
DIFFICULTIES = [i / 20 for i in range(21)]  # more points than the degree 8 has coefficients


def of_all(outcomes: tuple[bool, ...]) -> float:
    return sum(outcomes) / len(outcomes)


def stopped(first: int) -> Callable[[tuple[bool, ...]], float]:
    """The rate of a sequence of which no more is looked at than is asked for."""

    def rate(outcomes: tuple[bool, ...]) -> float:
        made = outcomes[:first] if is_settled(outcomes[:first]) else outcomes
        return rate_of_some(sum(made), len(made), first, len(outcomes))

    return rate


def expected(value: Callable[[float], float], rate: Callable[[tuple[bool, ...]], float], n: int, p: float) -> float:
    """The mean of value(rate) over all 2^n sequences of attempts at a task that is solved with probability p."""
    total = 0.0
    for outcomes in itertools.product((False, True), repeat=n):
        k = sum(outcomes)
        total += p**k * (1 - p) ** (n - k) * value(rate(outcomes))
    return total


def reward_of(config: Config) -> Callable[[float], float]:
    """The reward of a valid proposal by its solve rate."""

    def reward(rate: float) -> float:
        outcome = ProposalOutcome(TaskType.DEDUCTION, "", True, "", task=TASK, solve_rate=rate)
        return reward_proposal(outcome, config.reward.propose).value

    return reward


@pytest.mark.once
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("reward=paper",),
        ("reward.propose.base=inverse",),
        ("reward.propose.extremes={never = 0.25, always = -1.0}", "reward.propose.terms.requested_length=0.5"),
        ("reward.propose.terms.learnability=2.0", "reward.propose.combine=multiply_sum"),
    ],
)
@pytest.mark.parametrize("p", DIFFICULTIES)
def test_the_expected_reward_is_that_of_all_eight_attempts(p: float, settings: tuple[str, ...]) -> None:
    config = load_config(overrides=["selfplay.first_attempts=4", *settings])
    reward = reward_of(config)
    assert expected(reward, stopped(4), 8, p) == pytest.approx(expected(reward, of_all, 8, p), abs=1e-12)


def test_a_smaller_count_would_expect_another_reward() -> None:
    """What the test above would say of half the attempts: ends are more likely there."""
    reward = reward_of(load_config())
    assert expected(reward, of_all, 8, 0.1) - expected(reward, of_all, 4, 0.1) > 0.25


@pytest.mark.parametrize(("first", "n"), [(3, 6), (3, 7), (3, 8), (5, 10)])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_the_rate_is_unbiased_for_other_counts_too(first: int, n: int, p: float) -> None:
    assert expected(lambda rate: rate, stopped(first), n, p) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize(("first", "n"), ALLOWED)
def test_a_rate_is_an_end_exactly_when_all_attempts_were_made_and_agree(first: int, n: int) -> None:
    assert [rate_of_some(k, n, first, n) for k in (0, n)] == [0.0, 1.0]
    assert all(0 < rate_of_some(k, first, first, n) < 1 for k in range(1, first))
    reached = [k for k in range(1, n) if k <= n - first or k >= first]
    assert all(0 < rate_of_some(k, n, first, n) < 1 for k in reached)


def test_four_of_eight_by_hand() -> None:
    assert [rate_of_some(k, 4, 4, 8) for k in (1, 2, 3)] == [3 / 16, 1 / 2, 13 / 16]
    assert [rate_of_some(k, 8, 4, 8) for k in range(9)] == pytest.approx(
        [0, 1 / 16, 1 / 6, 5 / 16, 1 / 2, 11 / 16, 5 / 6, 15 / 16, 1]
    )


def test_even_solve_rates_save_thirty_percent() -> None:
    assert (expected_attempts(4, 8), expected_attempts(3, 8), expected_attempts(0, 8)) == (5.6, 5.5, 8.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["selfplay.first_attempts=5"], "at least 3 come first and at most half"),
        (["selfplay.first_attempts=2"], "at least 3 come first"),
        (["selfplay.first_attempts=4", "selfplay.attempts=24"], "of 6 to 16 in all"),
        (["selfplay.first_attempts=4", "selfplay.train_on_attempts=true"], "every attempt is learned from"),
        (["selfplay.first_attempts=4", "reward.solve.induction=accuracy"], "an attempt may be partly right"),
        (["selfplay.first_attempts=4", "reward.propose.base=difficulty"], "only where it is linear"),
        (["selfplay.first_attempts=4", "reward.propose.terms.difficulty=0.1"], "with the term difficulty"),
        (["selfplay.first_attempts=4", "reward.propose.terms.learnability={max = 0.5}"], "its max bends it"),
        (["selfplay.first_attempts=4", 'reward.propose.terms."mine.py:f"=0.1'], r"with the term mine\.py:f"),
    ],
)
def test_settings_for_which_the_reward_would_change_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(overrides=settings)
    assert "--set selfplay.first_attempts=0" in str(refused.value)


def test_a_term_that_reads_no_solve_rate_is_allowed() -> None:
    assert load_config(overrides=["selfplay.first_attempts=4", "reward.propose.terms.novelty=0.1"])


def played(box: Sandbox, is_right: Callable[[int, bool], bool]) -> tuple[Counter[str], list[float | None]]:
    """Attempts asked by the part of their request, and solve rates of one step whose 3 proposals are x + n."""
    asked: Counter[str] = Counter()

    def script(request: Request, index: int) -> str:
        role, _, name, *more = request.id.split("/")
        if role == "propose":
            return f"def f(x):\n    return x + {int(name) + 1}\n```\n\n```input\n1\n```"
        asked["others" if more else "first"] += 1
        number = next(n for n in (1, 2, 3) if f"x + {n}" in request.prompt.messages[-1].content)
        return f"{1 + number}\n```" if is_right(index, bool(more)) else "0\n```"

    config = load_config(
        overrides=[
            "prompt.style=chat", "prompt.think=off", "selfplay.proposals=3", "selfplay.solves=0",
            "selfplay.task_types=deduction", "selfplay.attempts=8", "selfplay.first_attempts=4",
            "selfplay.max_prompt_tokens=100000", "admission.vary_outputs=false",
        ]
    )  # fmt: skip
    play = SelfPlay(config, sampler=ScriptedSampler(script), box=box, style="chat")
    outcomes = [s.outcome for s in play.step(1).scored if isinstance(s.outcome, ProposalOutcome)]
    assert [o.reason for o in outcomes] == ["", "", ""]
    return asked, [o.solve_rate for o in outcomes]


def test_attempts_that_differ_are_enough(box: Sandbox) -> None:
    assert played(box, lambda index, _: index == 2) == (Counter(first=12), [3 / 16] * 3)


def test_where_the_first_agree_the_others_are_asked(box: Sandbox) -> None:
    asked = Counter(first=12, others=12)
    assert played(box, lambda _, others: False) == (asked, [0.0] * 3)
    assert played(box, lambda _, others: True) == (asked, [1.0] * 3)
    assert played(box, lambda index, others: others and index < 2) == (asked, [pytest.approx(1 / 6)] * 3)
