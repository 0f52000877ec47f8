"""The reward tables of the configuration: presets, changes to them, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from minizero.config.reward import PROPOSE_TERMS, SOLVE_TERMS, ProposeReward, RewardConfig, Term, unusable_terms
from minizero.rewards import terms as builtin
from minizero.types import TaskType


def test_a_preset_is_a_word_and_can_be_changed_in_one_place() -> None:
    paper = RewardConfig.model_validate("paper")
    assert (paper.propose.extremes, paper.solve.wrong) == (0.0, -0.5)
    changed = RewardConfig.model_validate({"preset": "paper", "propose": {"invalid": -2}})
    assert (changed.propose.extremes, changed.propose.invalid) == (0.0, -2.0)
    assert ProposeReward.model_validate({"preset": "paper", "extremes": -0.1}).extremes == -0.1


def test_the_default_is_azr() -> None:
    assert RewardConfig() == RewardConfig.model_validate("azr") == RewardConfig.model_validate({})


def test_a_resolved_table_reads_back_to_itself() -> None:
    config = RewardConfig.model_validate(
        {"preset": "paper", "propose": {"terms": {"halstead": {"weight": 1, "max": 0.5}}}}
    )
    assert RewardConfig.model_validate(config.model_dump(exclude_none=True)) == config


def test_what_a_cut_completion_earns_is_a_number_or_what_a_wrong_one_does() -> None:
    assert RewardConfig().cut == RewardConfig.model_validate("paper").cut == "wrong"
    assert RewardConfig.model_validate({"preset": "paper", "cut": 0}).cut == 0.0
    for other in ("right", True):
        with pytest.raises(ValidationError, match=r'cut\n.* expected a number, or "wrong"'):
            RewardConfig.model_validate({"cut": other})


def test_a_number_is_a_weight() -> None:
    assert Term.model_validate(0.2) == Term(weight=0.2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"terms": {"complexty": 1}}, "Did you mean complexity"),
        ({"base": "learnabilty"}, "Did you mean learnability"),
        ({"base": "answer_diversity"}, "a base must"),
        ({"terms": {"novelty": True}}, "neither a weight nor a table"),
        ({"terms": {"novelty": float("nan")}}, "finite"),
        ({"terms": {"novelty": {"weight": 1, "max": 0}}}, "greater than 0"),
        ({"terms": {"novelty": {"wight": 1}}}, "wight"),
        ({"terms": {"novelty": {"target": 0.3}}}, "only the term difficulty"),
        ({"terms": {"answer_diversity": {"types": ["induction"]}}}, "cannot apply to induction"),
        ({"terms": {"learnability": {"weight": 1, "types": ["deduction"]}}}, "is the base"),
        ({"combine": "add"}, "sum_multiply"),
        ({"preset": "arz"}, "azr"),
        ({"extremes": float("inf")}, "finite"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProposeReward.model_validate(table)


def test_a_weight_that_no_task_type_of_the_run_can_earn_is_a_problem() -> None:
    config = RewardConfig.model_validate({"propose": {"terms": {"input_diversity": 0.1, "output_diversity": 0}}})
    (problem,) = unusable_terms(config, [TaskType.DEDUCTION])
    assert problem.startswith("reward.propose.terms.input_diversity = 0.1: it applies to induction")
    assert unusable_terms(config, [TaskType.DEDUCTION, TaskType.INDUCTION]) == []


def test_every_term_in_the_list_has_a_function_and_every_function_is_in_the_list() -> None:
    functions = {
        name: function
        for name, function in vars(builtin).items()
        if inspect.isfunction(function) and function.__module__ == builtin.__name__ and not name.startswith("_")
    }
    assert set(functions) == {*PROPOSE_TERMS, *SOLVE_TERMS}
    assert all(builtin.PROPOSE[name] is functions[name] for name in PROPOSE_TERMS)
    assert all(builtin.SOLVE[name] is functions[name] for name in SOLVE_TERMS)
