"""Rewards: how they combine, and their errors. Terms: test_rewards_terms.py; AZR's tables: test_rewards_azr.py."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.config import Config, config_from
from minizero.config.reward import ProposeReward, SolveReward
from minizero.rewards import (
    Part,
    Reward,
    evaluation_score,
    load_term,
    load_terms,
    reward_answer,
    reward_proposal,
    solve_rate,
)
from minizero.rewards import terms as builtin
from minizero.rewards.trial import try_terms
from minizero.types import Answer, AnswerOutcome, Pair, ProposalOutcome, RewardError, Task, TaskType, Verdict

TASK = Task(TaskType.DEDUCTION, "def f(x):\n    return x * x", (Pair("3", "9"),))
INDUCTION = Task(TaskType.INDUCTION, TASK.program, tuple(Pair(str(i), str(i * i)) for i in range(4)), "square", shown=2)
RIGHT, WRONG = Verdict(True, 1.0, "correct"), Verdict(False, 0.0, "wrong")


def proposal(rate: float | None, *, format_ok: bool = True, reason: str = "", known: dict[str, float] | None = None):
    task = None if reason else TASK
    return ProposalOutcome(
        TaskType.DEDUCTION,
        "text",
        format_ok,
        reason,
        task=task,
        solve_rate=rate,
        known=known or {"answer_surprise": 0.5},
    )


def answer(score: float, *, task: Task = TASK, format_ok: bool = True, parsed: bool = True) -> AnswerOutcome:
    verdict = Verdict(score == 1, score, "correct" if score == 1 else "wrong")
    return AnswerOutcome(task, "text", format_ok, verdict, Answer(task.type, "9") if parsed else None)


def pair(reward: Reward) -> tuple[float, dict[str, float]]:
    return reward.value, reward.terms


def test_a_proposal_that_is_rejected_earns_invalid_and_measures_nothing() -> None:
    assert pair(reward_proposal(proposal(None, reason="banned-name"), ProposeReward())) == (-1.0, {})


def test_a_duplicate_earns_a_number_of_its_own() -> None:
    assert pair(reward_proposal(proposal(None, reason="duplicate"), ProposeReward(duplicate=-0.25))) == (-0.25, {})


def test_a_valid_proposal_in_a_broken_wrapper_earns_malformed_but_is_measured() -> None:
    assert pair(reward_proposal(proposal(0.5, format_ok=False), ProposeReward())) == (-1.0, {"learnability": 0.5})


@pytest.mark.parametrize(("rate", "reward"), [(0.0, -0.5), (0.125, 0.875), (0.5, 0.5), (0.875, 0.125), (1.0, -0.5)])
def test_azr_rewards_one_minus_the_solve_rate_and_minus_a_half_at_the_extremes(rate: float, reward: float) -> None:
    assert pair(reward_proposal(proposal(rate), ProposeReward())) == (
        reward,
        {"learnability": 0.0 if rate in (0, 1) else reward},
    )


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_paper_rewards_extremes_with_zero(rate: float) -> None:
    assert reward_proposal(proposal(rate), ProposeReward(preset="paper")).value == 0.0


def test_the_two_extremes_can_be_told_apart() -> None:
    config = ProposeReward.model_validate({"extremes": {"never": 0.25, "always": -0.75}})
    assert reward_proposal(proposal(0.0), config).value == 0.25
    assert reward_proposal(proposal(1.0), config).value == -0.75


def test_inverse_rewards_a_task_that_nobody_solved() -> None:
    assert reward_proposal(proposal(0.0), ProposeReward(base="inverse")).value == 1.0
    assert reward_proposal(proposal(1.0), ProposeReward(base="inverse")).value == -0.5


def test_a_proposal_without_attempts_counts_as_never_solved() -> None:
    assert reward_proposal(proposal(None), ProposeReward()).value == -0.5


# base: solve rate 0.25 -> 0.75; terms: answer_diversity 0.5 x 0.8 = 0.4 and admitted 1 x 2 capped at 0.5.
@pytest.mark.parametrize(
    ("combine", "reward"),
    [
        ("sum", 0.75 + 0.4 + 0.5),
        ("multiply", 0.75 * 0.4 * 0.5),
        ("sum_multiply", 0.75 + 0.4 * 0.5),
        ("multiply_sum", 0.75 * (0.4 + 0.5)),
    ],
)
def test_terms_join_the_base_in_four_ways(combine: str, reward: float) -> None:
    table = {"combine": combine, "terms": {"answer_diversity": 0.8, "admitted": {"weight": 2, "max": 0.5}}}
    total, values = pair(reward_proposal(proposal(0.25), ProposeReward.model_validate(table)))
    assert total == pytest.approx(reward)
    assert values == {"learnability": 0.75, "answer_diversity": 0.5, "admitted": 1.0}  # raw, before weight and maximum


@pytest.mark.parametrize(
    ("combine", "rule"),
    [
        ("sum", "learnability 0.75 + answer_diversity 0.4 + admitted 0.5"),
        ("multiply", "learnability 0.75 × answer_diversity 0.4 × admitted 0.5"),
        ("sum_multiply", "learnability 0.75 + answer_diversity 0.4 × admitted 0.5"),
        ("multiply_sum", "learnability 0.75 × (answer_diversity 0.4 + admitted 0.5)"),
    ],
)
def test_a_reward_says_how_it_came_about(combine: str, rule: str) -> None:
    terms = {"answer_diversity": 0.8, "admitted": {"weight": 2, "max": 0.5}, "inverse": 0}
    reward = reward_proposal(proposal(0.25), ProposeReward.model_validate({"combine": combine, "terms": terms}))
    assert reward.rule == rule
    assert reward.parts == (
        Part("learnability", 0.75, 1.0, 0.75),
        Part("answer_diversity", 0.5, 0.8, 0.4),
        Part("admitted", 1.0, 2.0, 0.5),  # at most 0.5
        Part("inverse", 0.75, 0.0, None),  # only measured
    )


@pytest.mark.parametrize(
    ("outcome", "setting"),
    [
        (proposal(None, reason="duplicate"), "reward.propose.duplicate"),
        (proposal(None, reason="syntax"), "reward.propose.invalid"),
        (proposal(0.5, format_ok=False), "reward.propose.malformed"),
        (proposal(1.0), "learnability is 0 (reward.propose.extremes)"),
        (answer(0.0), "reward.solve.wrong"),
        (answer(1.0, format_ok=False), "reward.solve.malformed"),
    ],
)
def test_a_fixed_reward_names_its_setting_and_no_term_counts(
    outcome: ProposalOutcome | AnswerOutcome, setting: str
) -> None:
    if isinstance(outcome, AnswerOutcome):
        reward = reward_answer(outcome, SolveReward())
    else:
        reward = reward_proposal(outcome, ProposeReward())
    assert setting in reward.rule
    assert {part.counts for part in reward.parts} <= {None}


@given(
    st.sampled_from(["sum", "multiply", "sum_multiply", "multiply_sum"]),
    st.tuples(*[st.tuples(st.floats(-9, 9), st.floats(0.1, 9) | st.none())] * 2),
    st.integers(1, 7),
)
def test_a_reward_is_what_its_parts_give(
    combine: str, terms: tuple[tuple[float, float | None], ...], solved: int
) -> None:
    names = ("answer_diversity", "inverse")
    table = {n: {"weight": w} | ({"max": m} if m else {}) for n, (w, m) in zip(names, terms, strict=True)}
    config = ProposeReward.model_validate({"combine": combine, "terms": table})
    reward = reward_proposal(proposal(solved / 8), config)
    b, *others = [part.counts for part in reward.parts if part.counts is not None]
    joined = sum(others) if combine in ("sum", "multiply_sum") else math.prod(others)
    expected = b + joined if combine in ("sum", "sum_multiply") else b * joined
    assert reward.value == pytest.approx(expected if others else b)


@pytest.mark.parametrize("combine", ["sum", "multiply", "sum_multiply", "multiply_sum"])
def test_a_term_of_weight_zero_is_measured_and_changes_nothing(combine: str) -> None:
    config = ProposeReward.model_validate({"combine": combine, "terms": {"answer_diversity": 0}})
    assert pair(reward_proposal(proposal(0.25), config)) == (0.75, {"learnability": 0.75, "answer_diversity": 0.5})


def test_terms_are_not_added_where_the_base_is_zero() -> None:
    config = ProposeReward.model_validate(
        {"terms": {"answer_diversity": 1}}
    )  # docs/algorithm.md 5.4: only added when r > 0
    assert reward_proposal(proposal(1.0), config).value == -0.5


def test_a_term_is_left_out_for_other_task_types() -> None:
    config = ProposeReward.model_validate({"terms": {"admitted": {"weight": 1, "types": ["abduction"]}}})
    assert pair(reward_proposal(proposal(0.25), config)) == (0.75, {"learnability": 0.75})


def test_the_base_can_be_weighted_among_the_terms() -> None:
    config = ProposeReward.model_validate({"terms": {"learnability": 0.2}})
    assert reward_proposal(proposal(0.25), config).value == pytest.approx(0.15)


def test_a_right_answer_earns_one_a_wrong_one_minus_a_half_and_a_malformed_one_minus_one() -> None:
    assert pair(reward_answer(answer(1.0), SolveReward())) == (1.0, {"binary": 1.0})
    assert pair(reward_answer(answer(0.0), SolveReward())) == (-0.5, {"binary": 0.0})
    assert pair(reward_answer(answer(1.0, format_ok=False), SolveReward())) == (-1.0, {"binary": 1.0})


def test_an_induction_answer_without_a_program_is_malformed_and_an_empty_deduction_answer_is_wrong() -> None:
    assert reward_answer(answer(0.0, task=INDUCTION, parsed=False), SolveReward()).value == -1.0
    assert reward_answer(answer(0.0, parsed=False), SolveReward()).value == -0.5


@pytest.mark.parametrize(("induction", "reward"), [("binary", -0.5), ("accuracy", 0.5), ("any", 1.0)])
def test_induction_is_scored_in_three_ways(induction: str, reward: float) -> None:
    config = SolveReward.model_validate({"induction": induction})
    assert reward_answer(answer(0.5, task=INDUCTION), config).value == reward


def test_an_answer_that_the_limit_cut_earns_what_a_wrong_one_does_or_a_number_of_its_own() -> None:
    cut = replace(answer(1.0, format_ok=False), cut=True)  # what stands before the cut may even be right
    assert pair(reward_answer(cut, SolveReward())) == (-0.5, {"binary": 1.0})
    assert reward_answer(cut, SolveReward(wrong=-0.1)).value == -0.1
    assert reward_answer(cut, SolveReward(), 0.25).value == 0.25
    assert reward_answer(cut, SolveReward()).rule == "cut by the token limit (reward.cut)"
    without_program = replace(answer(0.0, task=INDUCTION, format_ok=False, parsed=False), cut=True)
    assert reward_answer(without_program, SolveReward()).value == -0.5


def test_an_answer_that_was_complete_before_the_limit_is_read_as_any_other() -> None:
    for score, reward in ((1.0, 1.0), (0.0, -0.5)):
        assert reward_answer(replace(answer(score), cut=True), SolveReward(), 0.25).value == reward


def test_a_proposal_that_the_limit_cut_earns_what_an_invalid_one_does_or_a_number_of_its_own() -> None:
    lost = replace(proposal(None, reason="no_program", format_ok=False), cut=True)
    assert [reward_proposal(lost, ProposeReward(invalid=-0.75), *more).value for more in ((), (0.25,))] == [-0.75, 0.25]
    admitted = replace(proposal(0.5, format_ok=False), cut=True)  # a program that is complete without its closing fence
    found = [reward_proposal(admitted, ProposeReward(invalid=-0.75, malformed=-2), *more) for more in ((), (0.25,))]
    assert [pair(reward) for reward in found] == [(-0.75, {"learnability": 0.5}), (0.25, {"learnability": 0.5})]
    assert reward_proposal(replace(proposal(0.5), cut=True), ProposeReward(), 0.25).value == 0.5
    repeated = replace(proposal(None, reason="duplicate", format_ok=False), cut=True)
    assert reward_proposal(repeated, ProposeReward(), 0.25).value == -0.5


def test_evaluation_counts_well_formed_right_answers() -> None:
    scores = [evaluation_score(a, SolveReward()) for a in (answer(1.0), answer(0.0), answer(1.0, format_ok=False))]
    assert scores == [1.0, 0.0, 0.0]


def test_the_solve_rate_is_the_mean_over_attempts() -> None:
    half = Verdict(False, 0.5, "wrong")
    assert solve_rate([RIGHT, WRONG, WRONG, WRONG]) == 0.25
    assert solve_rate([RIGHT, half, WRONG, WRONG], "accuracy") == 0.375  # (1 + 0.5) / 4
    assert solve_rate([RIGHT, half, WRONG, WRONG], "any") == 0.5
    assert solve_rate([]) is None


@given(st.integers(0, 8), st.sampled_from(["azr", "paper"]), st.booleans())
def test_without_terms_a_reward_lies_in_minus_one_to_one(solved: int, preset: str, format_ok: bool) -> None:
    reward = reward_proposal(proposal(solved / 8, format_ok=format_ok), ProposeReward.model_validate(preset)).value
    assert -1 <= reward < 1


# A user's own terms.


def own(tmp_path: Path, body: str, name: str = "mine") -> str:
    file = tmp_path / f"{name}.py"
    file.write_text(f"import math\n\ndef term(outcome):\n    {body}\n")
    return f"{file}:term"


def test_an_own_function_is_a_term_like_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, "return len(outcome.task.program.splitlines()) / 10")
    monkeypatch.chdir(tmp_path)  # names are relative to the working directory
    config = ProposeReward.model_validate({"terms": {"mine.py:term": 0.5}})
    assert pair(reward_proposal(proposal(0.25), config)) == (0.75 + 0.1, {"learnability": 0.75, "mine.py:term": 0.2})


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("return None", "None (NoneType)"),
        ("return 1 << 2000", "(int)"),
        ("return (1 << 53) + 1", "9007199254740993 (int)"),
        ("return '0.5'", "'0.5' (str)"),
        ("return __import__('numpy').zeros(1)", "array([0.]) (ndarray)"),
        ("return __import__('decimal').Decimal('0.1')", "Decimal('0.1') (Decimal)"),
        ("return [1.0]", "[1.0] (list)"),
        ("return math.nan", "nan (float)"),
        ("return -math.inf", "-inf (float)"),
        ("return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_bad_term_stops_the_run_and_names_file_value_and_outcome(tmp_path: Path, body: str, seen: str) -> None:
    name = own(tmp_path, body)
    config = ProposeReward.model_validate({"terms": {name: 0}})  # weight 0: measured, so it must be sound all the same
    with pytest.raises(RewardError) as error:
        reward_proposal(proposal(0.25), config)
    assert name in str(error.value)
    assert seen in str(error.value)
    if "ZeroDivision" not in seen:
        assert f"Wrap it in float() ({name.removesuffix(':term')}, line 3)" in str(error.value)
    assert TASK.id in str(error.value)


def test_missing_files_and_functions_are_named_with_what_there_is(tmp_path: Path) -> None:
    name = own(tmp_path, "return 0.0")
    with pytest.raises(RewardError, match="there is no file"):
        load_term("absent.py:term", builtin.PROPOSE)
    with pytest.raises(RewardError, match=r"defines no function tern\. It defines: term"):
        load_term(name[:-1] + "n", builtin.PROPOSE)
    with pytest.raises(RewardError, match="Did you mean complexity"):
        load_term("complexty", builtin.PROPOSE)


def test_a_file_that_fails_to_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(RewardError, match=r"broken\.py fails when loaded: ModuleNotFoundError"):
        load_term(f"{tmp_path}/broken.py:term", builtin.PROPOSE)


def test_load_terms_returns_the_text_of_own_files_for_the_run_directory(tmp_path: Path) -> None:
    from minizero.config.reward import RewardConfig

    name = own(tmp_path, "return 0.0")
    config = RewardConfig.model_validate({"propose": {"terms": {name: 0, "novelty": 0}}})
    assert list(load_terms(config)) == ["mine.py"]
    assert "def term(outcome)" in load_terms(config)["mine.py"]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("return True", 1.0),
        ("return __import__('numpy').float32(0.25)", 0.25),
        ("return __import__('numpy').bool_(False)", 0.0),
        ("return __import__('numpy').int64(3)", 3.0),
        pytest.param("return __import__('torch').tensor(0.25)", 0.25, marks=pytest.mark.full),
    ],
)
def test_what_becomes_a_float_without_loss_is_a_reward(tmp_path: Path, body: str, value: float) -> None:
    name = own(tmp_path, body)
    config = ProposeReward.model_validate({"terms": {name: 0}})
    assert reward_proposal(proposal(0.25), config).terms == {"learnability": 0.75, name: value}


def config_of(table: dict[str, object], *types: str) -> Config:
    play = {"task_types": types or ("deduction", "induction")}
    buffer = {"memory": 8}  # which the term of this name asks for
    sections = {"model": {"name": "any"}, "prompt": {"style": "r1"}, "buffer": buffer}
    return config_from(sections | {"reward": table, "selfplay": play})


def test_every_term_is_tried_before_a_run_starts(tmp_path: Path) -> None:
    pytest.importorskip("complexipy", reason="pip install 'minizero[rewards]'")
    pytest.importorskip("radon", reason="pip install 'minizero[rewards]'")
    try_terms(config_of({"propose": {"terms": dict.fromkeys(builtin.PROPOSE, 0.1)}}, "deduction", "induction", "error"))
    bad = own(tmp_path, "return outcome.task.pairs[1].output and None")  # works on no deduction task
    with pytest.raises(RewardError, match="raised IndexError"):
        try_terms(config_of({"propose": {"terms": {bad: 0}}}))
    only = {"weight": 0, "types": ["induction"]}
    with pytest.raises(RewardError, match=r"returned None[^\n]*\nOn: induction proposal"):
        try_terms(config_of({"propose": {"terms": {bad: only}}}))


def test_an_answers_term_is_tried_on_a_right_and_on_a_wrong_answer_to_a_seed_task(tmp_path: Path) -> None:
    only_right = own(tmp_path, "return 1 / outcome.verdict.score")
    with pytest.raises(RewardError, match="raised ZeroDivisionError"):
        try_terms(config_of({"solve": {"terms": {only_right: 0}}}))
    seed = own(tmp_path, "return float(outcome.task.output == '9')", "seen")
    try_terms(config_of({"solve": {"terms": {seed: 0}}}), [TASK])
    strict = own(tmp_path, "return 1 / (outcome.task.output == '9')", "strict")
    try_terms(config_of({"solve": {"terms": {strict: 0}}}, "deduction"), [TASK])
    with pytest.raises(RewardError, match="raised ZeroDivisionError"):
        try_terms(config_of({"solve": {"terms": {strict: 0}}}, "deduction"))
