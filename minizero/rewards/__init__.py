"""From an outcome to a reward: fixed numbers for what failed, a base combined with weighted terms for what did not.

Reading order: Reward, reward_proposal, reward_answer; how terms combine; solve_rate and evaluation_score; load_terms.
Then terms.py (the terms), diversity.py (what the buffer counts for them), plugins.py (a user's file.py:function).
The tables they reproduce: docs/algorithm.md 5.2 (proposals) and 5.3 (answers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from minizero.config.reward import (
    ALL,
    PROPOSE_TERMS,
    SOLVE_TERMS,
    Extremes,
    ProposeReward,
    RewardConfig,
    SolveReward,
    Term,
    is_own_function,
    known_name,
)
from minizero.formatting import number
from minizero.rewards import terms as builtin
from minizero.rewards.exact import exact_float
from minizero.rewards.plugins import load_function, source_of
from minizero.types import AnswerOutcome, MiniZeroError, ProposalOutcome, RewardError, TaskType, Verdict

__all__ = [
    "Part", "Reward", "evaluation_score", "load_term", "load_terms", "reward_answer", "reward_proposal", "solve_rate",
]  # fmt: skip

DUPLICATE = "duplicate"  # tasks.REASONS names it so
CUT = "cut by the token limit (reward.cut)"
Cut = float | Literal["wrong"]


@dataclass(frozen=True, slots=True)
class Part:
    """One measured term: its raw value, and what of it enters the reward, min(weight x value, max); None: nothing."""

    name: str
    value: float
    weight: float
    counts: float | None


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward, the rule that decided it in words, and the terms that were measured, the base first."""

    value: float
    rule: str
    parts: tuple[Part, ...]

    @property
    def terms(self) -> dict[str, float]:
        """The raw value of the base and of every term measured, by name."""
        return {part.name: part.value for part in self.parts}


def reward_proposal(outcome: ProposalOutcome, config: ProposeReward, cut: Cut = "wrong") -> Reward:
    """The reward of one proposal. `cut` is reward.cut.

    A duplicate: `duplicate`. Cut by the token limit before its form was complete: `cut`, or `invalid`. Not admitted:
    `invalid`. Nothing is measured of what is no new task. Broken wrapper: `malformed`. Base <= 0: `extremes`. Else the
    base combined with the weighted terms (docs/algorithm.md 5.2). Preset azr, solve rate 2/8 -> 0.75.
    """
    if outcome.reason == DUPLICATE:
        return Reward(config.duplicate, "a duplicate (reward.propose.duplicate)", ())
    is_cut = outcome.cut and not outcome.format_ok
    if outcome.reason or outcome.task is None:
        if is_cut and cut != "wrong":
            return Reward(cut, CUT, ())
        return Reward(config.invalid, "not a task (reward.propose.invalid)", ())
    values = _measure(outcome, outcome.type, config.base, config.terms, builtin.PROPOSE, PROPOSE_TERMS)
    if is_cut:
        return _fixed(config.invalid if cut == "wrong" else cut, CUT, values, config.terms)
    if not outcome.format_ok:
        return _fixed(config.malformed, "a broken wrapper (reward.propose.malformed)", values, config.terms)
    if values[config.base] <= 0:
        ends = config.extremes
        value = ends if not isinstance(ends, Extremes) else ends.always if outcome.solve_rate else ends.never
        return _fixed(value, f"{config.base} is 0 (reward.propose.extremes)", values, config.terms)
    return _combine(values, config.base, config.terms, config.combine)


def reward_answer(outcome: AnswerOutcome, config: SolveReward, cut: Cut = "wrong") -> Reward:
    """The reward of one answer. `cut` is reward.cut.

    Cut by the token limit before its form was complete: `cut`, or `wrong`. Broken wrapper, or induction without a
    program: `malformed`, even if right. Accuracy 0: `wrong`. Else the accuracy combined with the weighted terms.
    Preset azr: 1.0 right, -0.5 wrong, -1.0 malformed (docs/algorithm.md 5.3).
    """
    values = _measure(outcome, outcome.task.type, config.induction, config.terms, builtin.SOLVE, SOLVE_TERMS)
    if outcome.cut and not outcome.format_ok:
        return _fixed(config.wrong if cut == "wrong" else cut, CUT, values, config.terms)
    without_program = outcome.task.type == TaskType.INDUCTION and outcome.answer is None
    if not outcome.format_ok or without_program:
        rule = "a broken wrapper or no program (reward.solve.malformed)"
        return _fixed(config.malformed, rule, values, config.terms)
    if values[config.induction] <= 0:
        return _fixed(config.wrong, "not right (reward.solve.wrong)", values, config.terms)
    return _combine(values, config.induction, config.terms, config.combine)


def _fixed(value: float, rule: str, values: Mapping[str, float], terms: Mapping[str, Term]) -> Reward:
    """A number from the config, whatever was measured."""
    parts = (Part(name, raw, terms[name].weight if name in terms else 1.0, None) for name, raw in values.items())
    return Reward(value, rule, tuple(parts))


def _combine(values: Mapping[str, float], base: str, terms: Mapping[str, Term], how: str) -> Reward:
    """b + sum c, b x product c, b + product c or b x sum c, with c = min(weight x value, max). docs/algorithm.md 5.4.

    No weighted term: b alone. The base's own weight, if it is named among the terms, scales b.
    """
    parts = [
        _part(name, value, terms.get(name, Term(weight=1)), is_base=name == base) for name, value in values.items()
    ]
    first = next(part for part in parts if part.name == base)
    joining = [(part.name, part.counts) for part in parts if part.counts is not None and part is not first]
    b = first.counts if first.counts is not None else 0.0
    if not joining:
        return Reward(b, f"{base} {number(b)}", tuple(parts))
    is_sum, is_added = how in ("sum", "multiply_sum"), how in ("sum", "sum_multiply")
    joined = sum(c for _, c in joining) if is_sum else math.prod(c for _, c in joining)
    others = (" + " if is_sum else " × ").join(f"{name} {number(c)}" for name, c in joining)
    if is_sum and not is_added and len(joining) > 1:
        others = f"({others})"
    rule = f"{base} {number(b)} {'+' if is_added else '×'} {others}"
    return Reward(b + joined if is_added else b * joined, rule, tuple(parts))


def _part(name: str, value: float, term: Term, *, is_base: bool) -> Part:
    """A term of weight 0 is only measured; the base always counts."""
    weighted = term.weight * value
    counts = weighted if term.max is None else min(weighted, term.max)
    return Part(name, value, term.weight, counts if term.weight or is_base else None)


def _measure(
    outcome: ProposalOutcome | AnswerOutcome,
    of_type: TaskType,
    base: str,
    terms: Mapping[str, Term],
    functions: Mapping[str, Callable[..., Any]],
    types: Mapping[str, tuple[TaskType, ...]],
) -> dict[str, float]:
    values = {}
    for name in dict.fromkeys([base, *terms]):
        term = terms.get(name, Term(weight=1))
        if name != base and of_type not in (term.types or types.get(name, ALL)):
            continue
        given = {"target": term.target, "range": term.range}
        options = {key: value for key, value in given.items() if value is not None}
        values[name] = _finite(name, load_term(name, functions), outcome, options)
    return values


def _finite(
    name: str, term: Callable[..., Any], outcome: ProposalOutcome | AnswerOutcome, options: Mapping[str, Any]
) -> float:
    """The term's value, or a RewardError that names the term and its outcome: a silent 0 would train on noise."""
    try:
        return exact_float(term(outcome, **options), term)
    except MiniZeroError as error:
        if not isinstance(error, RewardError):
            raise  # a missing package says itself what to do
        raise RewardError(f"reward term {name}: {error}\nOn: {_brief(outcome)}") from error
    except Exception as error:
        raise RewardError(
            f"reward term {name} raised {type(error).__name__}: {error}\nOn: {_brief(outcome)}"
        ) from error


def _brief(outcome: ProposalOutcome | AnswerOutcome) -> str:
    if isinstance(outcome, AnswerOutcome):
        task = f"{outcome.task.type} task {outcome.task.id}"
        return f"answer to {task}, verdict {outcome.verdict.reason}: {outcome.text[:300]!r}"
    named = outcome.task.id if outcome.task else "none"
    return f"{outcome.type} proposal, task {named}, solve rate {outcome.solve_rate}: {outcome.text[:300]!r}"


def solve_rate(verdicts: Iterable[Verdict], induction: str = "binary") -> float | None:
    """Mean accuracy of the attempts, in [0, 1]; None without attempts. `induction` is reward.solve.induction.

    Eight attempts, two right -> 0.25. Departs from AZR: a verdict that could not be reached counts 0.
    """
    if induction == "binary":
        scores = [float(verdict.correct) for verdict in verdicts]
    else:
        scores = [verdict.score if induction == "accuracy" else float(verdict.score > 0) for verdict in verdicts]
    return sum(scores) / len(scores) if scores else None


def evaluation_score(outcome: AnswerOutcome, config: SolveReward) -> float:
    """1 when well-formed with an accuracy above 0, else 0: AZR's evaluation split (docs/algorithm.md 5.3)."""
    return float(outcome.format_ok and builtin.SOLVE[config.induction](outcome) > 0)


def load_term(name: str, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function behind a term's name: a built-in one, or a user's `file.py:function` (loaded once)."""
    if name in functions:
        return functions[name]
    if is_own_function(name):
        return load_function(name)
    try:
        known_name(name, functions, "reward term")
    except ValueError as error:
        raise RewardError(str(error)) from None
    raise AssertionError(name)


def load_terms(config: RewardConfig) -> dict[str, str]:
    """Load every term that the config names, before the run starts; returns file name -> text of own files."""
    sources = {}
    for base, terms, functions in (
        (config.propose.base, config.propose.terms, builtin.PROPOSE),
        (config.solve.induction, config.solve.terms, builtin.SOLVE),
    ):
        for name in (base, *terms):
            load_term(name, functions)
            if is_own_function(name):
                file, text = source_of(name)
                sources[file] = text
    return sources
