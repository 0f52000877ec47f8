"""Who plays: turns, matches, ratings, replacement; and a step of two proposers and two solvers with scripted texts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from minizero.config import load_config
from minizero.config.adapters import names
from minizero.rewards import Reward
from minizero.selfplay.league import League
from minizero.selfplay.scoring import Scored, rollout_row
from minizero.types import Completion, ConfigError, ProposalOutcome, Request, Role, Rollout, TaskType
from sandbox import Sandbox
from tests.test_selfplay import clever, game

POPULATION = ("adapter.roles=population", "adapter.proposers=2", "adapter.solvers=3")


def league(*overrides: str) -> League:
    return League(load_config(overrides=[*POPULATION, *overrides]))


def proposed(proposer: str, solver: str, solve_rate: float | None, reward: float) -> Scored:
    """A proposal that this solver has attempted."""
    outcome = ProposalOutcome(TaskType.DEDUCTION, "", True, "", solve_rate=solve_rate, attempted_by=solver)
    completion = Completion("propose/deduction/0000", 0, (1,), (2,), (-1.0,), "", "stop", member=proposer)
    rollout = Rollout(Role.PROPOSE, TaskType.DEDUCTION, "p", completion, reward, {})
    return Scored(outcome, rollout, Reward(reward, {}, {}), True)


def test_adapters_have_names_by_role() -> None:
    def of(*overrides: str) -> tuple[str, ...]:
        return names(load_config(overrides=overrides).adapter)

    assert of() == ("",)
    assert of("adapter.roles=separate") == ("propose", "solve")
    assert of(*POPULATION) == ("propose-0", "propose-1", "solve-0", "solve-1", "solve-2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["adapter.roles=separate", "adapter.kind=full"], r"roles = separate with adapter\.kind = full.*kind=lora"),
        ([*POPULATION, "adapter.kind=full"], r"share one base only while it is frozen"),
        (
            [*POPULATION, "selfplay.attempts=0", "selfplay.train_propose=false"],
            r"members are rated by attempts.*Try --set selfplay\.attempts=8",
        ),
        (
            [*POPULATION, "adapter.proposers=1", "adapter.solvers=1", "adapter.replace_every=5"],
            r"replace_every = 5 with one proposer and one solver.*--set adapter\.solvers=2",
        ),
        (["adapter.roles=both"], r"adapter\.roles = \"both\""),
    ],
)
def test_what_does_not_go_with_several_adapters_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(overrides=given)


def test_turns_give_each_member_the_same_share() -> None:
    play = league()
    assert [play.proposer(1, place) for place in range(4)] == ["propose-1", "propose-0", "propose-1", "propose-0"]
    for step in (1, 2, 3):
        assert set(Counter(play.solver(step, place) for place in range(12)).values()) == {4}
    assert [play.solver(step, 0) for step in (1, 2, 3)] == ["solve-1", "solve-2", "solve-0"]


def test_the_expected_solve_rate_is_elos() -> None:
    play = league()
    play.ratings |= {"propose-0": 1500.0, "solve-0": 1900.0, "solve-1": 1500.0, "solve-2": 1100.0}
    assert [round(play.expected("propose-0", f"solve-{i}"), 4) for i in range(3)] == [0.9091, 0.5, 0.0909]


def test_near_balanced_pairs_play_most_and_the_draw_is_repeatable() -> None:
    play = league()
    play.ratings |= {"propose-0": 1500.0, "solve-0": 1900.0, "solve-1": 1500.0, "solve-2": 1100.0}
    drawn = [play.opponent("propose-0", 1, f"propose/deduction/{i:04d}") for i in range(3000)]
    # p (1 - p): 10 / 121, 1 / 4, 10 / 121
    shares = {name: count / 3000 for name, count in Counter(drawn).items()}
    assert shares["solve-1"] == pytest.approx(0.602, abs=0.03)
    assert shares["solve-0"] == pytest.approx(0.199, abs=0.03)
    assert drawn[:50] == [play.opponent("propose-0", 1, f"propose/deduction/{i:04d}") for i in range(50)]
    assert drawn[:50] != [play.opponent("propose-0", 2, f"propose/deduction/{i:04d}") for i in range(50)]
    other = league("run.rng_seed=1")
    other.ratings = play.ratings
    assert drawn[:50] != [other.opponent("propose-0", 1, f"propose/deduction/{i:04d}") for i in range(50)]


def test_ratings_move_by_the_mean_surprise_of_a_step() -> None:
    play = league()
    play.learn(
        [
            proposed("propose-0", "solve-0", 1.0, 0.0),  # 0.5 more than expected
            proposed("propose-0", "solve-0", 0.75, 0.25),  # 0.25 more
            proposed("propose-1", "solve-1", 0.25, 0.75),  # 0.25 less
            proposed("propose-1", "solve-1", 0.0, 0.0),  # nobody solves it: no game
            proposed("propose-1", "", None, -1.0),  # rejected: no game, and it earned -1
        ]
    )
    assert play.ratings == {
        "propose-0": 1500 - 12.0, "propose-1": 1500 + 8.0,
        "solve-0": 1500 + 12.0, "solve-1": 1500 - 8.0, "solve-2": 1500.0,
    }  # fmt: skip
    assert play.earned == {"propose-0": 0.125, "propose-1": pytest.approx(-0.25 / 3)}
    play.learn([proposed("propose-0", "solve-2", None, 1.0)])
    assert play.earned["propose-0"] == pytest.approx(0.9 * 0.125 + 0.1)
    assert play.judged == "solve-0"


def test_the_weakest_of_each_role_takes_the_place_beside_the_best() -> None:
    play = league("adapter.replace_every=2")
    play.ratings |= {"solve-0": 1490.0, "solve-1": 1520.0, "solve-2": 1400.0, "propose-0": 1600.0}
    play.earned = {"propose-0": 0.1, "propose-1": 0.3}  # rated higher, and worse: nobody solves what it asks
    assert play.replacements(1) == []
    assert play.replacements(2) == [("propose-0", "propose-1"), ("solve-2", "solve-1")]
    assert play.ratings["solve-2"] == 1520.0
    assert play.ratings["propose-0"] == 1500.0
    assert play.earned["propose-0"] == 0.3
    assert play.metrics()["adapter/replaced"] == 2
    assert not league("adapter.replace_every=2", "optim.freeze=true").replaces_after(2)
    assert not league().replaces_after(2)


def test_equal_members_are_not_replaced() -> None:
    play = league("adapter.replace_every=1")
    assert play.replacements(1) == []
    play.earned = {"propose-1": 0.5}  # of one nothing is known yet
    assert play.replacements(1) == []


def test_a_saved_state_brings_back_ratings() -> None:
    play, other = league(), league()
    play.learn([proposed("propose-0", "solve-0", 0.3, 0.7)])
    other.restore(play.state())
    assert (other.ratings, other.earned) == (play.ratings, play.earned)
    for roles in ("shared", "separate"):
        plain = League(load_config(overrides=[f"adapter.roles={roles}"]))
        plain.learn([])
        assert (plain.state(), plain.metrics(), plain.replacements(1)) == ({}, {}, [])


def members_of(result: Any) -> dict[str, Counter[tuple[str, str]]]:
    found: dict[str, Counter[tuple[str, str]]] = {"propose": Counter(), "attempt": Counter(), "solve": Counter()}
    for item in result.scored:
        row = rollout_row(item)
        found[row["role"]][row.get("adapter", ""), row.get("attempted_by", "")] += 1
    return found


def test_of_separate_adapters_each_plays_its_role(box: Sandbox) -> None:
    result = game(box, clever, "adapter.roles=separate").step(1)
    found = members_of(result)
    assert set(found["propose"]) == {("propose", "solve")}
    assert {*found["attempt"], *found["solve"]} == {("solve", "")}
    plain = game(box, clever).step(1)
    assert [s.rollout.completion.request_id for s in result.scored] == [
        s.rollout.completion.request_id for s in plain.scored
    ]
    assert not any(name.startswith("adapter/") for name in result.metrics)


def test_of_a_population_proposals_are_attempted_by_the_matched_solver(box: Sandbox) -> None:
    play = game(box, clever, *POPULATION, "selfplay.proposals=8", 'selfplay.task_types=["deduction"]')
    result = play.step(1)
    by_task: dict[str, set[str]] = {}
    for item in result.scored:
        row = rollout_row(item)
        if row["role"] == "attempt":
            by_task.setdefault(row["task"], set()).add(row["adapter"])
        if row["role"] == "propose":
            name = row["id"].rpartition("/")[0]
            assert row["attempted_by"] == League(play.config).opponent(row["adapter"], 1, name)
    proposals = [rollout_row(s) for s in result.scored if rollout_row(s)["role"] == "propose"]
    assert by_task == {row["task"]: {row["attempted_by"]} for row in proposals}
    assert Counter(row["adapter"] for row in proposals) == {"propose-0": 4, "propose-1": 4}
    assert len({row["attempted_by"] for row in proposals}) > 1
    assert set(members_of(result)["solve"]) == {(f"solve-{i}", "") for i in range(3)}
    assert result.metrics["adapter/rating/solve-0"] == 1500  # half of the attempts are right, as expected
    assert result.metrics["adapter/replaced"] == 0


def test_the_same_task_of_two_proposers_is_attempted_once(box: Sandbox) -> None:
    def alike(request: Request, index: int) -> str:
        if request.id.startswith("propose/deduction"):
            return "def f(x):\n    return x + 7\n```\n\n```input\n1\n```"
        return clever(request, index)

    play = game(box, alike, *POPULATION, "selfplay.proposals=8", 'selfplay.task_types=["deduction"]')
    result = play.step(1)
    rows = [rollout_row(s) for s in result.scored]
    assert Counter(row["reason"] for row in rows if row["role"] == "propose") == {"": 1, "duplicate": 7}
    assert sum(row["role"] == "attempt" for row in rows) == 4
    (first,) = (row for row in rows if row["role"] == "propose" and not row["reason"])
    assert {row["adapter"] for row in rows if row["role"] == "attempt"} == {first["attempted_by"]}


def test_a_replacement_reaches_the_policy_after_its_update(box: Sandbox) -> None:
    told: list[Any] = []
    play = game(box, clever, *POPULATION, "adapter.replace_every=1", 'selfplay.task_types=["deduction"]')
    play.policy.renew = lambda *what: told.append((*what, len(play.policy.heard)))  # type: ignore[method-assign,attr-defined]
    play.league.ratings |= {"solve-0": 1700.0, "solve-1": 1300.0}
    metrics = play.step(1).metrics
    assert ("solve-1", "solve-0") in [(weaker, better) for weaker, better, *_ in told]
    assert {heard for *_, heard in told} == {1}
    assert metrics["adapter/replaced"] == len(told)
    assert len({seed for *_, seed, _ in told}) == len(told)
