"""Rewards without an executor: the answer that most attempts gave counts as right (reward.solve.truth = "majority").

Reading order: by_majority, voted, rates. Self-consistency as a reward (TTRL, arXiv 2504.16084; R-Zero, arXiv
2508.05004): what "Survive or Collapse" (arXiv 2605.22217) trains on, to show what a leaking gate does. Only rewards are
made from it: outcomes, metrics and the buffer keep the executor's verdicts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from minizero.tasks.programs import program_key
from minizero.types import AnswerOutcome, Completion, ProposalOutcome, TaskType, Verdict
from sandbox.values import InvalidValue, parse_value, render

Proposed = tuple[ProposalOutcome, Completion]
Answered = tuple[AnswerOutcome, Completion]


def by_majority(
    proposals: Sequence[Proposed], answers: Sequence[Answered], attempts: Sequence[Answered]
) -> tuple[Sequence[Proposed], Sequence[Answered], Sequence[Answered]]:
    """The outcomes as they are rewarded: verdicts by vote; a solve rate is the share of attempts that agree with it."""
    tried = voted(attempts)
    solved = rates(tried)
    proposed = [
        (replace(o, solve_rate=solved.get(o.task.id, o.solve_rate)) if o.task else o, completion)
        for o, completion in proposals
    ]
    return proposed, voted(answers), tried


def voted(answers: Sequence[Answered]) -> list[Answered]:
    """The same answers with verdicts by vote: right is what most of a task's answers say, the earliest of equals.

    Answers are equal as texts of values (1.0 and 1 are two), programs as syntax trees; what cannot be read has no vote
    and is wrong. 3, 3, 4 and no answer: right, right, wrong, wrong.
    """
    said = [_said(outcome) for outcome, _ in answers]
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for (outcome, _), text in zip(answers, said, strict=True):
        if text:
            votes[outcome.task.id][text] += 1
    winners = {name: counts.most_common(1)[0][0] for name, counts in votes.items()}
    return [
        (replace(outcome, verdict=_verdict(bool(text) and text == winners[outcome.task.id])), completion)
        for (outcome, completion), text in zip(answers, said, strict=True)
    ]


def rates(attempts: Sequence[Answered]) -> dict[str, float]:
    """Task id -> share of its attempts that count as right. Takes what `voted` gives."""
    by_task: dict[str, list[bool]] = defaultdict(list)
    for outcome, _ in attempts:
        by_task[outcome.task.id].append(outcome.verdict.correct)
    return {name: sum(right) / len(right) for name, right in by_task.items()}


def _said(outcome: AnswerOutcome) -> str:
    if outcome.answer is None:
        return ""
    text = outcome.answer.text
    if outcome.task.type is TaskType.INDUCTION:
        return program_key(text)
    try:
        return render(parse_value(text))
    except InvalidValue:
        return text.strip()


def _verdict(agrees: bool) -> Verdict:
    return Verdict(agrees, float(agrees), "correct" if agrees else "wrong", "by majority")
