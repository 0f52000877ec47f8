"""What is rewarded: `[reward.propose]` and `[reward.solve]`.

Reading order: the terms that exist (PROPOSE_TERMS, SOLVE_TERMS), Term, ProposeReward, SolveReward, RewardConfig; then
unusable_terms, a check that needs another section.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from minizero.config.base import Section
from minizero.config.presets import for_both_roles, from_preset
from minizero.formatting import did_you_mean
from minizero.types import Role, TaskType

ALL = tuple(TaskType)
ONE_PAIR = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.ERROR)  # types whose task has one input and one output

# The built-in terms and the task types they can apply to: the only list. rewards/terms.py has a function of each
# name.
PROPOSE_TERMS: Mapping[str, tuple[TaskType, ...]] = {
    "learnability": ALL,
    "inverse": ALL,
    "difficulty": ALL,
    "band": ALL,
    "admitted": ALL,
    "complexity": ALL,
    "edit_distance": ONE_PAIR,
    "halstead": ALL,
    "answer_diversity": ONE_PAIR,
    "answer_diversity_by_type": ONE_PAIR,
    "input_diversity": (TaskType.INDUCTION,),
    "input_diversity_by_type": (TaskType.INDUCTION,),
    "output_diversity": (TaskType.INDUCTION,),
    "output_diversity_by_type": (TaskType.INDUCTION,),
    "novelty": ALL,
    "memory": ALL,
    "repetition": ALL,
    "requested_length": ALL,
}
SOLVE_TERMS: Mapping[str, tuple[TaskType, ...]] = {
    "binary": ALL,
    "accuracy": ALL,
    "any": ALL,
}

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Combine = Literal["sum", "multiply", "sum_multiply", "multiply_sum"]


def is_own_function(name: str) -> bool:
    """Whether a name means a user's own function, `file.py:function`."""
    file, colon, function = name.rpartition(":")
    return bool(colon) and file.endswith(".py") and function.isidentifier()


def known_name(name: str, allowed: Iterable[str], what: str) -> str:
    """The name itself, or a ValueError that lists the allowed ones and the nearest."""
    allowed = sorted(allowed)
    if name in allowed or is_own_function(name):
        return name
    hint = did_you_mean(name, allowed)
    raise ValueError(f"{name!r} is not a {what}.{hint} Allowed: {', '.join(allowed)}, or your own as file.py:function")


class Term(Section):
    """One reward term: `name = 0.2` or `name = {weight = 0.2, max = 0.5, types = ["deduction"]}`."""

    weight: Finite = 0.0
    """What the term's value is multiplied by. 0 measures it without optimising (all are off in AZR's scripts)."""

    max: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Upper bound of weight x value; none: unbounded. AZR bounds each term, its default is 0.5."""

    types: tuple[TaskType, ...] = ()
    """Task types that the term is measured on. Empty: all that it can apply to."""

    target: float | None = Field(default=None, gt=0, lt=1)
    """Only for `difficulty`: the solve rate that earns 1. None: 0.5, where a group of attempts says most."""

    range: tuple[float, float] | None = None
    """Only for `band`: the lowest and the highest solve rate that earn 1. None: [0.25, 0.75]."""

    @field_validator("range")
    @classmethod
    def _is_a_band(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1] <= 1:
            raise ValueError("a band of solve rates is two numbers between 0 and 1, the lower first. Try [0.25, 0.75]")
        return value

    @model_validator(mode="before")
    @classmethod
    def _number_is_weight(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{value} is neither a weight nor a table; 0 measures without optimising")
        return {"weight": value} if isinstance(value, int | float) else value


class Extremes(Section):
    """Different rewards at the two ends: `extremes = {never = 0.0, always = -0.5}`."""

    never: Finite
    """Reward of a valid proposal that no attempt solved."""

    always: Finite
    """Reward of a valid proposal that every attempt solved."""


def _check_terms(terms: Mapping[str, Term], allowed: Mapping[str, tuple[TaskType, ...]], what: str) -> None:
    for name, term in terms.items():
        known_name(name, allowed, what)
        if term.target is not None and name != "difficulty":
            raise ValueError(f"{name}.target = {term.target}: only the term difficulty has a target. Remove it")
        if term.range is not None and name != "band":
            raise ValueError(f"{name}.range = {list(term.range)}: only the term band has a range. Remove it")
        cannot = [t for t in term.types if t not in allowed.get(name, ALL)]
        if cannot:
            can = ", ".join(allowed[name])
            raise ValueError(f"{name}.types: {name} cannot apply to {', '.join(cannot)}. It applies to: {can}")


class ProposeReward(Section):
    """The reward of a proposal: `base` combined with the weighted terms if it is valid, else a fixed number."""

    preset: Literal["azr", "paper"] = "azr"
    """The table that unnamed settings come from: the official code's (docs/algorithm.md 5.2), or paper Eq. 4 and 6."""

    base: str = "learnability"
    """The term that the others join; where it is not above 0, `extremes` is earned. AZR: learnability."""

    combine: Combine = "sum"
    """How terms join the base: b + sum, b x product, b + product, b x sum. Paper: `sum` is the most stable (app. D)."""

    extremes: Finite | Extremes = -0.5
    """Reward when the base is 0 or less: solve rate 0 or 1. Official code: -0.5; paper: 0 (AZR issue 37)."""

    malformed: Finite = -1.0
    """Reward of a valid program in a broken wrapper (think/answer). Official code, docs/algorithm.md 5.2."""

    invalid: Finite = -1.0
    """Reward of what does not parse or is not admitted. Official code and paper."""

    duplicate: Finite = -0.5
    """Reward of a task that is in the buffer already. AZR has no such rule; -0.5 kept the tiny model from collapse."""

    terms: dict[str, Term] = Field(default_factory=dict)
    """Terms by name (or file.py:function). All are measured; those with a weight enter the reward."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        return from_preset(value, {"azr": {}, "paper": {"extremes": 0.0}}, "azr")

    @model_validator(mode="after")
    def _names(self) -> ProposeReward:
        known_name(self.base, PROPOSE_TERMS, "propose term")
        if PROPOSE_TERMS.get(self.base, ALL) != ALL:
            raise ValueError(f"base = {self.base!r} cannot apply to all task types; a base must. Try learnability")
        if self.base in self.terms and self.terms[self.base].types:
            raise ValueError(f"{self.base}.types: {self.base} is the base and applies to all task types. Remove types")
        _check_terms(self.terms, PROPOSE_TERMS, "propose term")
        return self


class SolveReward(Section):
    """The reward of an answer: its accuracy combined with the weighted terms when it is right, else a fixed number."""

    preset: Literal["azr", "paper"] = "azr"
    """The table that unnamed settings come from. The solver's are equal (docs/algorithm.md 5.3; paper Eq. 5, 6)."""

    induction: Literal["binary", "accuracy", "any"] = "binary"
    """Induction answers: all hidden pairs right, the fraction, or any. Official code_f_reward_type: binary."""

    truth: Literal["executor", "majority"] = "executor"
    """What a right answer is when it is rewarded: what the executor found (AZR), or what most answers to the task say
    (self-consistency, arXiv 2504.16084); then solve rates are rewarded as shares of that majority, too."""

    combine: Combine = "sum"
    """How terms join the accuracy, as for proposals. AZR has no solver terms."""

    wrong: Finite = -0.5
    """Reward of a well-formed answer that is wrong. Official code and paper."""

    malformed: Finite = -1.0
    """Reward of a broken wrapper (even if right), or of an induction answer without a program. Official code."""

    terms: dict[str, Term] = Field(default_factory=dict)
    """Terms by name (or file.py:function). All are measured; those with a weight enter the reward."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        return from_preset(value, {"azr": {}, "paper": {}}, "azr")

    @model_validator(mode="after")
    def _names(self) -> SolveReward:
        _check_terms(self.terms, SOLVE_TERMS, "solve term")
        return self


class RewardConfig(Section):
    """`reward = "azr"`, `reward = "paper"`, or the tables `[reward.propose]` and `[reward.solve]`.

    `preset` beside the two tables is the preset of both; `cut` is a number for both.
    """

    propose: ProposeReward = ProposeReward()
    """Rewards of proposals."""

    solve: SolveReward = SolveReward()
    """Rewards of answers."""

    cut: Finite | Literal["wrong"] = "wrong"
    """What a completion earns that the token limit cut before its form was complete. wrong: as a wrong answer
    (reward.solve.wrong) or an invalid proposal (reward.propose.invalid). AZR: -1, as any broken wrapper. One that was
    complete before the limit is read as any other."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        return for_both_roles(value)

    @field_validator("cut", mode="before")
    @classmethod
    def _cut(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, str) and value != "wrong"):
            raise ValueError('expected a number, or "wrong" for what a wrong answer earns')
        return value


def memory_problems(reward: RewardConfig, memory: int, cap: int) -> list[str]:
    """What is wrong with a memory of `memory` tasks (buffer.memory) beside the terms and buffers of `cap` tasks."""
    propose = reward.propose
    if memory > cap:
        return [
            f"buffer.memory = {memory} is more than a buffer holds (buffer.cap = {cap}). Try --set buffer.memory={cap}"
        ]
    if not memory and (propose.base == "memory" or "memory" in propose.terms):
        return [
            "reward.propose.terms.memory compares with the last admitted tasks, and buffer.memory = 0 keeps none. Try "
            "--set buffer.memory=512"
        ]
    return []


def vote_problems(reward: RewardConfig, solves: int, samples: int) -> list[str]:
    """What is wrong with rewards by majority when each task to solve has so many answers."""
    if reward.solve.truth != "majority" or not solves or samples >= 3:
        return []
    return [
        f"reward.solve.truth = majority with selfplay.solve_samples = {samples}: a majority needs at least 3 answers. "
        "Try --set selfplay.solve_samples=8"
    ]


def unusable_terms(reward: RewardConfig, types: Iterable[TaskType]) -> list[str]:
    """One sentence for each weighted term that none of the run's task types can earn."""
    run = tuple(types)
    problems = []
    for role, terms, allowed in (
        (Role.PROPOSE, reward.propose.terms, PROPOSE_TERMS),
        (Role.SOLVE, reward.solve.terms, SOLVE_TERMS),
    ):
        for name, term in terms.items():
            can = term.types or allowed.get(name, ALL)
            if term.weight and not set(can) & set(run):
                problems.append(
                    f"reward.{role}.terms.{name} = {term.weight}: it applies to {', '.join(can)}, and the run trains "
                    f"{', '.join(run)}. Set its weight to 0 or remove it"
                )
    return problems
