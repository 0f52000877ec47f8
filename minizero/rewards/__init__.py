"""From an outcome to a reward: fixed numbers for what failed, a base combined with weighted terms for what did not.

Reading order: reward_proposal, reward_answer; how terms combine; solve_rate and evaluation_score; load_terms. Then
terms.py (the terms), diversity.py (what the buffer counts for them), own.py (a user's file.py:function).
The tables they reproduce: docs/algorithm.md 5.2 (proposals) and 5.3 (answers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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
from minizero.rewards import terms as builtin
from minizero.rewards.plugins import load_function, source_of
from minizero.types import AnswerOutcome, MiniZeroError, ProposalOutcome, RewardError, TaskType, Verdict

__all__ = ["evaluation_score", "load_term", "load_terms", "reward_answer", "reward_proposal", "solve_rate"]

DUPLICATE = "duplicate"  # tasks.REASONS names it so


def reward_proposal(outcome: ProposalOutcome, config: ProposeReward) -> tuple[float, dict[str, float]]:
    """(reward, raw value of the base and of every term measured) of one proposal.

    Not admitted: `duplicate` or `invalid`, nothing measured. Broken wrapper: `malformed`. Base <= 0: `extremes`.
    Else the base combined with the weighted terms (docs/algorithm.md 5.2). Preset azr, solve rate 2/8 -> 0.75.
    """
    if outcome.reason or outcome.task is None:
        return (config.duplicate if outcome.reason == DUPLICATE else config.invalid), {}
    values = _measure(outcome, outcome.type, config.base, config.terms, builtin.PROPOSE, PROPOSE_TERMS)
    if not outcome.format_ok:
        return config.malformed, values
    if values[config.base] <= 0:
        if isinstance(config.extremes, Extremes):
            return (config.extremes.always if outcome.solve_rate else config.extremes.never), values
        return config.extremes, values
    return _combine(values, config.base, config.terms, config.combine), values


def reward_answer(outcome: AnswerOutcome, config: SolveReward) -> tuple[float, dict[str, float]]:
    """(reward, raw value of the accuracy and of every term) of one answer.

    Broken wrapper, or induction without a program: `malformed`, even if right. Accuracy 0: `wrong`. Else the accuracy
    combined with the weighted terms. Preset azr: 1.0 right, -0.5 wrong, -1.0 malformed (docs/algorithm.md 5.3).
    """
    values = _measure(outcome, outcome.task.type, config.induction, config.terms, builtin.SOLVE, SOLVE_TERMS)
    without_program = outcome.task.type == TaskType.INDUCTION and outcome.answer is None
    if not outcome.format_ok or without_program:
        return config.malformed, values
    if values[config.induction] <= 0:
        return config.wrong, values
    return _combine(values, config.induction, config.terms, config.combine), values


def _combine(values: Mapping[str, float], base: str, terms: Mapping[str, Term], how: str) -> float:
    """b + sum c, b x product c, b + product c or b x sum c, with c = min(weight x value, max). docs/algorithm.md 5.4.

    No weighted term: b alone. The base's own weight, if it is named among the terms, scales b.
    """
    own = terms.get(base, Term(weight=1))
    joining = {name: term for name, term in terms.items() if term.weight and name in values and name != base}
    parts = [_part(values[name], term) for name, term in joining.items()]
    b = _part(values[base], own)
    if not parts:
        return b
    joined = sum(parts) if how in ("sum", "multiply_sum") else math.prod(parts)
    return b + joined if how in ("sum", "sum_multiply") else b * joined


def _part(value: float, term: Term) -> float:
    weighted = term.weight * value
    return weighted if term.max is None else min(weighted, term.max)


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
        options = {"target": term.target} if term.target is not None else {}
        values[name] = _finite(name, load_term(name, functions), outcome, options)
    return values


def _finite(
    name: str, term: Callable[..., Any], outcome: ProposalOutcome | AnswerOutcome, options: Mapping[str, Any]
) -> float:
    """The term's value, or a RewardError that names the term and its outcome: a silent 0 would train on noise."""
    try:
        value = term(outcome, **options)
    except MiniZeroError as error:
        if not isinstance(error, RewardError):
            raise  # a missing package says itself what to do
        raise RewardError(f"reward term {name}: {error}\nOn: {_brief(outcome)}") from error
    except Exception as error:
        raise RewardError(
            f"reward term {name} raised {type(error).__name__}: {error}\nOn: {_brief(outcome)}"
        ) from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        seen = f"{value!r:.80} ({type(value).__name__})"
        raise RewardError(f"reward term {name} returned {seen}; expected a finite float.\nOn: {_brief(outcome)}")
    return float(value)


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
