r"""The judge of mathematics: whether an expression equals the right one, by math-verify, after a plain comparison.

Reading order: MathJudge. math-verify parses LaTeX with sympy; it is imported when the first answer needs it. Answers
that are equal as text, or as plain numbers, need no library.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from minizero.evaluation.problems import PASS, Judgement, Problem
from minizero.types import MissingPackage
from sandbox import Sandbox

LONGEST = 400  # characters of an answer that is given to a parser; longer ones are no answer


class MathJudge:
    """Judges the last boxed expression (formats.py reads it) against problem.data["answer"]."""

    def __init__(self, level: str) -> None:
        self._level = level

    def judge(self, problem: Problem, answer: str) -> Judgement:
        return Judgement({self._level: _status(answer, problem.data["answer"])})

    def cost(self, problem: Problem) -> float:
        return 0.0


def make(level: str) -> Any:
    """A maker of judges for a Suite."""

    def judge(problems: list[Problem], box: Sandbox, store: Path | None) -> MathJudge:
        return MathJudge(level)

    return judge


def _status(answer: str, right: str) -> str:
    if not answer.strip() or len(answer) > LONGEST:
        return "unparsable"
    if _tidy(answer) == _tidy(right):
        return PASS
    given, expected = plain_number(answer), plain_number(right)
    if given is not None and expected is not None:
        return PASS if given == expected else "wrong"
    try:
        from math_verify import parse, verify
    except ImportError:
        raise MissingPackage("math-verify", "comparing formulas", "pip install math-verify") from None
    # Its own timeouts use signals, which work in the main thread only.
    gold = parse(f"${right}$", parsing_timeout=None)
    said = parse(f"${answer}$", parsing_timeout=None)
    return PASS if verify(gold, said, timeout_seconds=None) else "wrong"


def plain_number(text: str) -> Decimal | None:
    """The number that the text is, without thousands separators, dollar and percent signs; None when it is none.

    >>> plain_number("$1,234.50"), plain_number("x + 1")
    (Decimal('1234.50'), None)
    """
    bare = text.strip().strip("$").replace("\\$", "").replace("\\%", "").rstrip("%.").replace(",", "").replace(" ", "")
    try:
        number = Decimal(bare)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _tidy(text: str) -> str:
    return "".join(text.strip().strip("$").split())
