"""Reasons, verdicts and rewards in words, shared by the report and the replay.

Reading order: rejection_words and verdict_words, then earned: a reward term by term.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minizero.config.reward import ProposeReward, SolveReward, Term
from minizero.config.schema import Config
from minizero.formatting import number
from minizero.tasks import admission as tasks
from minizero.tasks import parsing


def rejection_words(reason: str) -> str:
    """The sentence behind the reason why a proposal is no task; "" for a reason that nobody defined."""
    return parsing.REASONS.get(reason) or tasks.REASONS.get(reason) or ""


def verdict_words(verdict: str) -> str:
    """The sentence behind the verdict of an answer; "" for one that nobody defined."""
    return tasks.VERDICTS.get(verdict, "")


def asked_lines(row: Mapping[str, Any]) -> str:
    """The length that a propose prompt asked for, in words; "" when none. Induction is given its program."""
    lines = row.get("requested_lines")
    return f"{lines} line{'' if lines == 1 else 's'}" if lines and row["type"] != "induction" else ""


@dataclass(frozen=True, slots=True)
class Part:
    """One term of a reward. `counts` is what it adds or multiplies with, None where it was only measured."""

    name: str
    value: float
    weight: float
    counts: float | None


@dataclass(frozen=True, slots=True)
class Earned:
    """A reward explained: the rule that decided, the terms, and whether they give the reward that was written down."""

    reward: float
    rule: str
    parts: tuple[Part, ...]
    adds_up: bool


def earned(row: Mapping[str, Any], config: Config | None) -> Earned:
    """Explain the reward of a row of rollouts/ by the run's config (None: terms only)."""
    reward = float(row["reward"])
    terms = {str(name): float(value) for name, value in row["terms"].items()}
    if config is None:
        return Earned(reward, "", tuple(Part(name, value, 0.0, None) for name, value in terms.items()), False)
    table: ProposeReward | SolveReward
    if row["role"] == "propose":
        fixed, base, table = _proposal_rule(row, terms, config.reward.propose)
    else:
        fixed, base, table = _answer_rule(row, terms, config.reward.solve)
    if fixed:
        rule, expected = fixed
        parts = tuple(Part(name, value, 0.0, None) for name, value in terms.items())
    else:
        rule, expected, parts = _combined(terms, base, table)
    return Earned(reward, rule, parts, math.isclose(expected, reward, rel_tol=1e-9, abs_tol=1e-9))


Fixed = tuple[str, float] | None


def _proposal_rule(
    row: Mapping[str, Any], terms: Mapping[str, float], table: ProposeReward
) -> tuple[Fixed, str, ProposeReward]:
    fixed: Fixed = None
    if row["reason"] == "duplicate":
        fixed = ("a duplicate (reward.propose.duplicate)", table.duplicate)
    elif row["reason"]:
        fixed = ("not a task (reward.propose.invalid)", table.invalid)
    elif not row["format_ok"]:
        fixed = ("a broken wrapper (reward.propose.malformed)", table.malformed)
    elif terms.get(table.base, 0.0) <= 0:
        ends = table.extremes
        always = bool(row.get("solve_rate"))
        value = ends if isinstance(ends, float | int) else ends.always if always else ends.never
        fixed = (f"{table.base} is 0 (reward.propose.extremes)", float(value))
    return fixed, table.base, table


def _answer_rule(
    row: Mapping[str, Any], terms: Mapping[str, float], table: SolveReward
) -> tuple[Fixed, str, SolveReward]:
    fixed: Fixed = None
    if not row["format_ok"] or (row["type"] == "induction" and row.get("answer") is None):
        fixed = ("a broken wrapper or no program (reward.solve.malformed)", table.malformed)
    elif terms.get(table.induction, 0.0) <= 0:
        fixed = ("not right (reward.solve.wrong)", table.wrong)
    return fixed, table.induction, table


def _combined(
    terms: Mapping[str, float], base: str, table: ProposeReward | SolveReward
) -> tuple[str, float, tuple[Part, ...]]:
    """The same sums as rewards._combine, kept apart so that a report shows it when the two ever differ."""
    parts, joining = [], []
    for name, value in terms.items():
        term = table.terms.get(name, Term(weight=1.0 if name == base else 0.0))
        counts = None
        if term.weight or name == base:
            counts = term.weight * value if term.max is None else min(term.weight * value, term.max)
        parts.append(Part(name, value, term.weight, counts))
        if name != base and counts is not None:
            joining.append((name, counts))
    first = next((part.counts for part in parts if part.name == base and part.counts is not None), 0.0)
    rule = f"{base} {number(first)}"
    if not joining:
        return rule, first, tuple(parts)
    is_sum, is_added = table.combine in ("sum", "multiply_sum"), table.combine in ("sum", "sum_multiply")
    joined = sum(counts for _, counts in joining) if is_sum else math.prod(counts for _, counts in joining)
    others = (" + " if is_sum else " × ").join(f"{name} {number(counts)}" for name, counts in joining)
    if is_sum and not is_added and len(joining) > 1:
        others = f"({others})"
    total = first + joined if is_added else first * joined
    return f"{rule} {'+' if is_added else '×'} {others}", total, tuple(parts)
