"""Small switches after papers on self-play: gates, replay, a leak, votes, memories. Each with a scripted policy."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minizero.config import load_config
from minizero.config.reward import ProposeReward
from minizero.rewards import diversity, reward_proposal, terms
from minizero.rollout.make import make_sampler
from minizero.rollout.protocol import drain
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.record import Record
from minizero.selfplay.run_loop import resume, start
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.step import SelfPlay, StepResult
from minizero.selfplay.vocabulary import masked_tokens
from minizero.selfplay.votes import rates, voted
from minizero.types import (
    Answer,
    AnswerOutcome,
    Completion,
    ConfigError,
    Message,
    Pair,
    Prompt,
    ProposalOutcome,
    Request,
    Role,
    Rollout,
    Task,
    TaskType,
    Verdict,
)
from sandbox import Sandbox
from tests.test_policy import make_policy
from tests.test_resume import ROOT, SMALL
from tests.test_resume import outcome as resumed
from tests.test_selfplay import clever, game

ALONE = 'selfplay.task_types=["deduction"]'
RIGHT, WRONG = Verdict(True, 1.0, "correct"), Verdict(False, 0.0, "wrong")


def problem(*overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(overrides=overrides)
    return str(refused.value)


def rows(result: StepResult, role: str) -> list[dict[str, Any]]:
    return [row for s in result.scored if (row := rollout_row(s))["role"] == role]


def heard(play: SelfPlay) -> list[set[str]]:
    """Of each step: the first parts of the requests that were learned from."""
    steps = play.policy.heard  # type: ignore[attr-defined]
    return [{r.completion.request_id.split("/")[0] for r in step} for step in steps]


# Boundary gating and replay.


def outcome_of(task: Task, verdict: Verdict) -> AnswerOutcome:
    return AnswerOutcome(task, "", True, verdict)


def numbered(number: int) -> Task:
    return Task(TaskType.DEDUCTION, f"def f(x):\n    return x + {number}", (Pair("1", str(1 + number)),))


def test_a_record_counts_answers_and_comes_back_from_its_json() -> None:
    seldom, often, never, new = map(numbered, range(4))
    record = Record()
    record.note(outcome_of(seldom, verdict) for verdict in (RIGHT, WRONG, WRONG, WRONG))
    record.note([outcome_of(often, RIGHT), outcome_of(never, WRONG)])
    again = Record(record.to_json())
    assert [again.is_solved(task) for task in (seldom, often, never, new)] == [True, True, False, False]
    assert again.rarely_solved([seldom, often, never, new], 0.25) == [seldom]
    assert again.rarely_solved([seldom], 0.2) == []


def test_the_boundary_gate_leaves_out_answers_to_tasks_that_were_solved_before(box: Sandbox) -> None:
    # clever solves every second attempt: in step 2 all tasks to solve, those of step 1, have been solved.
    play = game(box, clever, ALONE, "selfplay.gate=boundary", "selfplay.train_on_attempts=true")
    first, second = play.step(1), play.step(2)
    assert heard(play) == [{"propose", "solve", "attempt"}, {"propose", "attempt"}]
    assert "solve/gated_frac" not in first.metrics
    assert second.metrics["solve/gated_frac"] == 1
    assert second.metrics["solve/correct_frac"] == 1  # what is not learned from is told as ever
    assert heard(game_of_two_steps(box)) == [{"propose", "solve", "attempt"}] * 2


def game_of_two_steps(box: Sandbox) -> SelfPlay:
    play = game(box, clever, ALONE, "selfplay.train_on_attempts=true")
    play.step(1)
    play.step(2)
    return play


def test_replay_draws_what_was_solved_rarely_and_only_so_much_of_it(box: Sandbox) -> None:
    def seldom(request: Request, index: int) -> str:
        if request.id.startswith("propose") or (request.id.startswith("attempt") and index == 0):
            return clever(request, index)
        return "0\n```"

    play = game(box, seldom, ALONE, "buffer.replay=0.5", "buffer.mix=max_new")
    results = [play.step(number) for number in range(1, 5)]  # one of four attempts is right: every new task is rare
    steps = [[s.outcome.task.step for s in result.scored if rollout_row(s)["role"] == "solve"] for result in results]  # type: ignore[union-attr]
    assert steps[0] == [0] * 4  # nothing to replay yet
    assert [len(asked) for asked in steps] == [4] * 4
    assert steps[3][2:] == [3, 3]  # the other half as ever: the newest
    assert steps[3][:2] != [3, 3]  # of twelve rare ones (by this seed not two of the newest four)


def test_gate_replay_memory_and_running_means_come_back_at_a_resume(tmp_path: Path) -> None:
    levers = [
        *SMALL, "eval.tasks=none", "selfplay.train_on_attempts=true", "selfplay.gate=boundary", "buffer.replay=0.5",
        "advantage.solve=running", "buffer.memory=50", "reward.propose.terms.memory=0.5",
    ]  # fmt: skip
    runs = {}
    for name, steps in (("whole", 4), ("parts", 2)):
        settings = [*levers, f"selfplay.steps={steps}", f"run.dir={str(tmp_path / name)!r}"]
        runs[name] = start(load_config([ROOT / "configs" / "tiny.toml"], settings))
    resume(runs["parts"], steps=4)
    assert resumed(runs["parts"]) == resumed(runs["whole"])


# A leaking gate.


def broken(request: Request, index: int) -> str:
    """Proposals whose run raises."""
    if request.id.startswith("propose"):
        return f"def f(x):\n    return x / 0 + {int(request.id[-1]) + 10 * request.seed}\n```\n```input\n1\n```"
    return "7\n```"


def test_a_leak_admits_what_running_refused_and_no_answer_to_it_is_right(box: Sandbox) -> None:
    tight = game(box, broken, ALONE).step(1)
    assert [row["reason"] for row in rows(tight, "propose")] == ["error"] * 4
    leaking = game(box, broken, ALONE, "admission.leak=1").step(1)
    assert [row["reason"] for row in rows(leaking, "propose")] == [""] * 4
    assert leaking.metrics["propose/leaked_frac"] == 1
    assert leaking.metrics["propose/solve_rate"] == 0
    assert {row["detail"] for row in rows(leaking, "attempt")} == {"the task has no known answer (admission.leak)"}
    assert [task.output for task, _ in leaking.stored] == [""] * 4


def test_a_leak_of_a_half_lets_a_half_through_the_same_half_each_time(box: Sandbox) -> None:
    runs = [game(box, broken, ALONE, "admission.leak=0.5", "selfplay.proposals=40").step(1) for _ in range(2)]
    let_through = [[row["reason"] == "" for row in rows(run, "propose")] for run in runs]
    assert let_through[0] == let_through[1]
    assert 8 <= sum(let_through[0]) <= 32  # a binomial of 40 and 1/2 leaves this range in one of 10,000 seeds


def test_nothing_leaks_that_its_text_forbids(box: Sandbox) -> None:
    def hostile(request: Request, index: int) -> str:
        return "import os\ndef f(x):\n    return os.getpid()\n```\n```input\n1\n```"

    reasons = {row["reason"] for row in rows(game(box, hostile, ALONE, "admission.leak=1").step(1), "propose")}
    assert reasons == {"forbidden"}


def test_abduction_does_not_leak(box: Sandbox) -> None:
    result = game(box, broken, 'selfplay.task_types=["abduction"]', "admission.leak=1").step(1)
    assert {row["reason"] for row in rows(result, "propose")} == {"error"}


# Rewards by majority.


def answered(
    task: Task, text: str | None, verdict: Verdict = WRONG, index: int = 0
) -> tuple[AnswerOutcome, Completion]:
    answer = None if text is None else Answer(task.type, text)
    return AnswerOutcome(task, "", True, verdict, answer), Completion("a", index, (), (1,), (0.0,), "", "stop")


def test_the_majority_is_right_whatever_the_executor_found() -> None:
    task, other = numbered(1), numbered(2)
    pairs = [answered(task, "3"), answered(task, "3 "), answered(task, "4", RIGHT), answered(task, None)]
    told = voted([*pairs, answered(other, "[1,2]"), answered(other, "[1, 2]"), answered(other, "9")])
    assert [outcome.verdict.correct for outcome, _ in told] == [True, True, False, False, True, True, False]
    assert rates(told) == {task.id: 0.5, other.id: 2 / 3}


def test_of_equal_votes_the_earliest_wins() -> None:
    told = voted([answered(numbered(1), text) for text in ("5", "6", "6", "5")])
    assert [outcome.verdict.correct for outcome, _ in told] == [True, False, False, True]


def test_programs_vote_by_their_syntax_trees() -> None:
    task = Task(TaskType.INDUCTION, "def f(x):\n    return x", (Pair("1", "1"), Pair("2", "2")), "", 1)
    told = voted(
        [answered(task, text) for text in ("def f(x): return x", "def f(x):\n    return x", "def f(y): return y")]
    )
    assert [outcome.verdict.correct for outcome, _ in told] == [True, True, False]


def test_rewards_follow_the_majority_and_everything_else_the_executor(box: Sandbox) -> None:
    def agreed(request: Request, index: int) -> str:
        return clever(request, index) if request.id.startswith("propose") else "0\n```"  # all wrong, all the same

    result = game(box, agreed, ALONE, "reward.solve.truth=majority", "selfplay.solve_samples=4").step(1)
    assert result.metrics["solve/correct_frac"] == 0
    assert result.metrics["propose/solve_rate"] == 0
    assert {row["reward"] for row in rows(result, "attempt")} == {1.0}
    assert {row["reward"] for row in rows(result, "propose")} == {-0.5}  # all agree: learnability is 0
    assert {rate for _, rate in result.stored} == {0.0}


def test_a_vote_of_fewer_than_three_is_refused() -> None:
    said = problem("reward.solve.truth=majority")
    assert "a majority needs at least 3 answers. Try --set selfplay.solve_samples=8" in said


# Terms: a band, a memory by program, repetition within a step.


def outcome(program: str = "def f(x):\n    return x * x", rate: float = 0.5, **known: float) -> ProposalOutcome:
    task = Task(TaskType.DEDUCTION, program, (Pair("3", "9"),))
    return ProposalOutcome(TaskType.DEDUCTION, "", True, "", task=task, solve_rate=rate, known=known)


def test_a_band_earns_one_inside_and_nothing_outside() -> None:
    assert [terms.band(outcome(rate=p)) for p in (0, 0.25, 0.5, 0.75, 0.875)] == [0, 1, 1, 1, 0]
    config = ProposeReward.model_validate({"base": "band", "terms": {"band": {"weight": 1, "range": [0, 0.25]}}})
    assert [reward_proposal(outcome(rate=p), config).value for p in (0, 0.25, 0.5)] == [1, 1, -0.5]


@pytest.mark.parametrize("band", ["[0.5, 0.25]", "[-0.1, 0.5]", "[0.5, 1.5]"])
def test_a_band_outside_of_zero_to_one_is_refused(band: str) -> None:
    said = problem(f"reward.propose.terms.band={{weight = 1, range = {band}}}")
    assert "two numbers between 0 and 1, the lower first. Try [0.25, 0.75]" in said


def test_a_range_belongs_to_the_term_band() -> None:
    assert "only the term band has a range" in problem("reward.propose.terms.novelty={weight = 1, range = [0, 1]}")


def test_programs_are_alike_whose_trees_are_whatever_their_names_and_numbers() -> None:
    one, renamed, other = map(
        diversity.shape_of,
        ("def f(x):\n    return x + 1", "def g(y):\n    return y + 22", "def f(x):\n    return x[::-1]"),
    )
    assert diversity.likeness(one, renamed) == pytest.approx(1)
    assert 0 < diversity.likeness(one, other) < 0.9
    assert diversity.likeness(one, diversity.shape_of("not python (")) == 0


def test_the_memory_holds_the_newest_programs_only() -> None:
    def added(text: str) -> tuple[Task, None]:
        return Task(TaskType.DEDUCTION, f"def f(x):\n    return {text}", (Pair("1", "1"),)), None

    buffer = TaskBuffer(lambda task: task.program, memory=2)
    buffer.add([added("x + 1"), added("x[0]"), added("sorted(x)")])
    alike = [buffer.describe(added(text)[0])[diversity.MOST_ALIKE] for text in ("x[7]", "sorted(x)", "x + 5")]
    assert alike[:2] == pytest.approx([1, 1])
    assert alike[2] < 0.95  # x + 1 is forgotten
    assert terms.memory(outcome(most_alike=0.75)) == 0.25


def test_a_memory_must_be_there_and_no_larger_than_the_buffer() -> None:
    term = "reward.propose.terms.memory=0.5"
    assert "Try --set buffer.memory=512" in problem(term)
    assert "buffer.memory = 9 is more than a buffer holds (buffer.cap = 4)" in problem(
        term, "buffer.memory=9", "buffer.cap=4"
    )
    assert load_config(overrides=[term, "buffer.memory=4", "buffer.cap=4"]).buffer.memory == 4


def test_repetition_counts_the_others_of_the_step_with_much_the_same_text(box: Sandbox) -> None:
    shares = diversity.repeated(["return x + 1 - 2", "return x + 1 - 3", "for y in x : print ( y )"])
    assert shares == pytest.approx([1 / 3, 1 / 3, 0])
    assert terms.repetition(outcome(repeated=0.25)) == -0.25
    result = game(box, clever, ALONE, "reward.propose.terms.repetition=1").step(1)
    # x + n four times with other numbers: each repeats three of four; learnability of 2 in 4 is 0.5
    assert [row["reward"] for row in rows(result, "propose")] == [0.5 - 0.75] * 4


def test_without_the_term_nobody_counts_repetition(box: Sandbox) -> None:
    result = game(box, clever, ALONE).step(1)
    assert all("repeated" not in s.outcome.known for s in result.scored if isinstance(s.outcome, ProposalOutcome))


# Vocabulary dropout.


def test_masked_tokens_are_some_of_those_that_tasks_are_made_of_and_not_of_the_form() -> None:
    def encode(prompt: Prompt) -> list[int]:
        return list(prompt.messages[0].content.encode())

    tasks = [numbered(number) for number in range(10, 20)]  # return x + 10 ... return x + 19
    everything = masked_tokens([tasks], encode, 1.0, random.Random(0))
    assert {chr(token) for token in everything} == set("023456789")  # the others are in all of them
    some = masked_tokens([tasks], encode, 0.5, random.Random(0))
    assert set(some) < set(everything)
    assert len(some) == 4
    assert list(some) == sorted(some)
    assert masked_tokens([[]], encode, 0.5, random.Random(0)) == ()


def test_a_steps_proposals_share_a_mask_that_the_next_step_draws_anew(box: Sandbox) -> None:
    play = game(box, clever, "selfplay.vocabulary_dropout=0.5")
    masks = []
    for number in (1, 2, 3):
        by_role: dict[str, set[tuple[int, ...]]] = {}
        scored = play.step(number).scored
        for s in scored:
            by_role.setdefault(rollout_row(s)["role"], set()).add(s.rollout.completion.masked)
        assert by_role["solve"] == by_role["attempt"] == {()}
        (mask,) = by_role["propose"]
        masks.append(mask)
    assert masks[0] == ()  # the first tasks are one program: all its tokens are form
    assert all(masks[1:])
    assert masks[1] != masks[2]
    again = game(box, clever, "selfplay.vocabulary_dropout=0.5")
    again.step(1)
    assert again.step(2).scored[0].rollout.completion.masked == masks[1]


def test_sampler_and_trainer_agree_on_what_was_written_under_a_mask(random_model: Path) -> None:
    policy = make_policy(random_model, "adapter.kind=full")
    sampler = make_sampler(policy.config, policy)
    masked = tuple(range(0, 256, 2))
    for i in range(4):
        prompt = Prompt((Message("user", "abc" * (i + 1)),))
        sampler.submit(Request(f"r{i}", prompt, 12, i, 3, masked=masked if i % 2 else ()))
    completions = list(drain(sampler))
    written = {c.masked: {token for d in completions if d.masked == c.masked for token in d.ids} for c in completions}
    assert not written[masked] & set(masked)
    assert written[()] & set(masked)
    batch = [Rollout(Role.PROPOSE, TaskType.DEDUCTION, c.request_id, c, 1.0, {}) for c in completions]
    for rollout, trained in zip(batch, policy.log_probs(batch), strict=True):
        assert trained.tolist() == pytest.approx(rollout.completion.log_probs, abs=1e-4)
    without = [replace(r, completion=replace(r.completion, masked=())) for r in batch]
    gaps = [
        abs(float(values.sum()) - sum(r.completion.log_probs))
        for r, values in zip(batch, policy.log_probs(without), strict=True)
    ]
    assert [gap > 1 for gap in gaps] == [bool(c.masked) for c in completions]  # half of the tokens: ln 2 for each


def test_an_update_under_a_mask_is_on_policy(random_model: Path) -> None:
    policy = make_policy(random_model, "adapter.kind=full")
    sampler = make_sampler(policy.config, policy)
    masked = tuple(range(0, 256, 2))
    sampler.submit(Request("r", Prompt((Message("user", "abc"),)), 12, 0, 4, masked=masked))
    batch = [Rollout(Role.PROPOSE, TaskType.DEDUCTION, "r", c, float(c.index % 2), {}) for c in drain(sampler)]
    told = policy.update(batch)
    assert told["policy/sampler_gap_max"] < 1e-4
    assert told["policy/effective_sample_frac"] == pytest.approx(1, abs=1e-3)
