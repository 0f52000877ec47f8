"""The built-in reward terms: plain functions from an outcome to a finite float.

Reading order: difficulty of the task, the program's own qualities, its distance to what is known, the solver's terms;
last the tables PROPOSE and SOLVE. Propose terms see admitted tasks only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from minizero.config.reward import PROPOSE_TERMS, SOLVE_TERMS
from minizero.formatting import install
from minizero.rewards import diversity
from minizero.rewards.trees import similarity
from minizero.tasks.programs import statement_lines
from minizero.types import AnswerOutcome, MissingPackage, ProposalOutcome, RewardError


def learnability(outcome: ProposalOutcome) -> float:
    """1 - p for a solve rate 0 < p, else 0; in [0, 1). Paper Eq. 4; docs/algorithm.md 5.1, one_minus.

    solve_rate 0.25 -> 0.75. No attempts count as solve rate 0, as in AZR when the solve prompt is too long.
    """
    rate = outcome.solve_rate or 0.0
    return 1 - rate if rate > 0 else 0.0


def inverse(outcome: ProposalOutcome) -> float:
    """1 - p, also for a task that nobody solved: p = 0 -> 1. docs/algorithm.md 5.1, inverse."""
    return 1 - (outcome.solve_rate or 0.0)


def difficulty(outcome: ProposalOutcome, target: float = 0.5) -> float:
    """1 at the target solve rate, falling linearly to 0 at both 0 and 1; in [0, 1]. minizero's own.

    target 0.5: p = 0.25 -> 0.5;  target 0.25: p = 0.625 -> (1 - 0.625) / 0.75 = 0.5.
    """
    rate = outcome.solve_rate or 0.0
    return rate / target if rate <= target else (1 - rate) / (1 - target)


def band(outcome: ProposalOutcome, range: tuple[float, float] = (0.25, 0.75)) -> float:
    """1 for a solve rate in the range, ends included, else 0. minizero's own, after the bands that R-Zero keeps for its
    solver (arXiv 2508.05004, section 3.3).

    range (0.25, 0.75): p = 0.25 -> 1;  p = 0.875 -> 0.
    """
    low, high = range
    return float(low <= (outcome.solve_rate or 0.0) <= high)


def admitted(outcome: ProposalOutcome) -> float:
    """1: as a base it rewards validity alone, and terms may be compared without learnability."""
    return 1.0


def complexity(outcome: ProposalOutcome) -> float:
    """Cognitive complexity of the program / 15, at least 0 (docs/algorithm.md 5.4). Ten nested points -> 0.667.

    Departs from AZR in complexipy's release: 8 counts some constructs differently than the one AZR pinned.
    """
    try:
        from complexipy import code_complexity
    except ImportError:
        raise MissingPackage("complexipy", "the reward term complexity", install("rewards")) from None
    with _model_text():
        return float(code_complexity(_program(outcome)).complexity) / 15
    return 0.0


def halstead(outcome: ProposalOutcome) -> float:
    """0.5 min(effort / 10000, 1) + 0.3 min(cyclomatic / 10, 1) + 0.2 min(volume / 500, 1), rounded to 3; in [0, 1].

    Source: docs/algorithm.md 5.4.
    `def f(x): return x*x`: effort 3, cyclomatic 1, volume 3 -> 0.00015 + 0.03 + 0.0012 -> 0.031.
    """
    try:
        from radon.complexity import cc_visit
        from radon.metrics import h_visit
    except ImportError:
        raise MissingPackage("radon", "the reward term halstead", install("rewards")) from None
    with _model_text():
        total = h_visit(_program(outcome)).total
        cyclomatic = max((block.complexity for block in cc_visit(_program(outcome))), default=0)
        value = 0.5 * min(total.effort / 10000, 1) + 0.3 * min(cyclomatic / 10, 1) + 0.2 * min(total.volume / 500, 1)
        return round(float(value), 3)
    return 0.0


def requested_length(outcome: ProposalOutcome) -> float:
    """1 - |lines - requested| / requested, at least 0; 1 when nothing was requested. minizero's own.

    Lines are statement_lines of the program: 4 requested, 3 written -> 0.75.
    """
    if outcome.requested_lines is None:
        return 1.0
    return max(0.0, 1 - abs(statement_lines(_program(outcome)) - outcome.requested_lines) / outcome.requested_lines)


def edit_distance(outcome: ProposalOutcome) -> float:
    """Mean over the shown examples of 1 - similarity of the two syntax trees; in [0, 1]; 0 when none was shown.

    Similarity is difflib's ratio of the trees written as sorted JSON (docs/algorithm.md 5.4, mean_edit_distance), and
    for larger ones of their nodes, which departs from AZR: see trees.similarity. x*x against the identity -> 0.452.
    """
    if not outcome.examples:
        return 0.0
    with _model_text():
        ratios = [similarity(_program(outcome), example.own_program) for example in outcome.examples]
        return sum(1 - ratio for ratio in ratios) / len(ratios)
    return 0.0


def novelty(outcome: ProposalOutcome) -> float:
    """1 / sqrt(1 + n), n buffered programs of the same skeleton; in (0, 1]. n = 3 -> 0.5.

    Count-based exploration bonus of arXiv 1611.04717, section 2.2, with the program's skeleton as the state's hash.
    """
    return float((1 + _known(outcome, diversity.SAME_SKELETON)) ** -0.5)


def memory(outcome: ProposalOutcome) -> float:
    """1 - the likeness to the most alike of the last buffer.memory programs of each type; in [0, 1]; 1 without any.

    Programs are compared, not texts: the idea of R-Diverse (arXiv 2602.13103, memory-augmented penalty and skill-aware
    measurement), with diversity.likeness instead of an embedding of code.
    """
    return 1 - _known(outcome, diversity.MOST_ALIKE)


def repetition(outcome: ProposalOutcome) -> float:
    """-(n - 1) / N: of this step's N admitted tasks of the type, n with much the same text, this one included; in
    (-1, 0].

    R-Zero's penalty (arXiv 2508.05004, section 3.2) with diversity.text_overlap instead of clusters by BLEU.
    3 of 12 alike -> -0.167.
    """
    return -_known(outcome, diversity.REPEATED)


def answer_diversity(outcome: ProposalOutcome) -> float:
    """Surprise of the text to be predicted: 1 - count / total. docs/algorithm.md 5.4; see diversity.Counts.surprise."""
    return _known(outcome, diversity.ANSWER_SURPRISE)


def answer_diversity_by_type(outcome: ProposalOutcome) -> float:
    """The same, half for the type and half inside it (hierarchical); see diversity.Counts.surprise_by_type."""
    return _known(outcome, diversity.ANSWER_SURPRISE_BY_TYPE)


def input_diversity(outcome: ProposalOutcome) -> float:
    """Mean surprise of an induction task's inputs. docs/algorithm.md 5.4, f_input_answer_diversity."""
    return _known(outcome, diversity.INPUT_SURPRISE)


def input_diversity_by_type(outcome: ProposalOutcome) -> float:
    """The same, half for the type and half inside it."""
    return _known(outcome, diversity.INPUT_SURPRISE_BY_TYPE)


def output_diversity(outcome: ProposalOutcome) -> float:
    """Mean surprise of an induction task's outputs. docs/algorithm.md 5.4, f_output_answer_diversity."""
    return _known(outcome, diversity.OUTPUT_SURPRISE)


def output_diversity_by_type(outcome: ProposalOutcome) -> float:
    """The same, half for the type and half inside it."""
    return _known(outcome, diversity.OUTPUT_SURPRISE_BY_TYPE)


def binary(outcome: AnswerOutcome) -> float:
    """1 when the answer is right (induction: on every hidden pair), else 0. docs/algorithm.md 3.6, binary."""
    return float(outcome.verdict.correct)


def accuracy(outcome: AnswerOutcome) -> float:
    """The verdict's score: for induction the fraction of hidden pairs. docs/algorithm.md 3.6, accuracy."""
    return float(outcome.verdict.score)


def any(outcome: AnswerOutcome) -> float:  # the setting's name; Python's own any is not used in this file
    """1 when any hidden pair is right. docs/algorithm.md 3.6, if_one_correct."""
    return float(outcome.verdict.score > 0)


# By the names that config/reward.py lists: a term has the name of its function.
PROPOSE: Mapping[str, Callable[..., Any]] = {name: globals()[name] for name in PROPOSE_TERMS}
SOLVE: Mapping[str, Callable[..., Any]] = {name: globals()[name] for name in SOLVE_TERMS}


def _model_text() -> contextlib.suppress:
    """Context manager for code metrics: an exception leaves the term at 0, as in AZR.

    A program may run and yet be too much for such a metric, for example with a thousand nested terms. A term of the
    user's own that raises ends the run instead: rewards/__init__.py names it.
    """
    return contextlib.suppress(Exception)


def _program(outcome: ProposalOutcome) -> str:
    assert outcome.task is not None, "propose terms are measured on admitted tasks only"
    return outcome.task.own_program  # AZR's use_original_code_as_ref, on in all of its scripts


def _known(outcome: ProposalOutcome, key: str) -> float:
    if key not in outcome.known:
        has = ", ".join(outcome.known) or "nothing"
        raise RewardError(f"outcome.known has no {key!r}, which the buffer must fill; it has: {has}")
    return float(outcome.known[key])
