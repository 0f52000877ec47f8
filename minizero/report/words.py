"""Numbers and model text in words that are safe to show: shared by the report, the replay and the verdict.

Reading order: visible (model text is hostile), number, percent and points, rejection_words and verdict_words; then
earned: a reward term by term.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minizero import parsing, tasks
from minizero.config.reward import ProposeReward, SolveReward, Term
from minizero.config.schema import Config

# Control characters move cursors and recolour terminals; bidirectional marks make code read as other code; lone
# surrogates cannot be written as UTF-8; tags and the last planes are invisible. All are shown as the escape that names
# them.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


def visible(text: str) -> str:
    """The text with everything but printable characters, newlines and tabs written as an escape.

    >>> visible("a\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _HOSTILE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short(text: str, limit: int) -> str:
    """The visible text, cut after `limit` characters, saying how much was cut."""
    cut = len(text) - limit
    return visible(text) if cut <= 0 else f"{visible(text[:limit])} … ({cut} more characters)"


def percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def points(value: float) -> str:
    """A difference in percentage points, signed by a true minus sign or plus, zero by neither.

    >>> points(-0.04), points(4.61)
    ('0.0', '+4.6')
    """
    rounded = round(value, 1)
    return f"{'−' if rounded < 0 else '+' if rounded > 0 else ''}{abs(rounded):.1f}"


def number(value: float) -> str:
    """A number at a length that reads well.

    >>> number(12345.6), number(2.5), number(0.00031)
    ('12,346', '2.5', '0.00031')
    """
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−", 1) if value < 0 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """
    >>> duration(42), duration(130), duration(7320)
    ('42 s', '2 min 10 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 or not seconds else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
