"""From outcomes to rewards and rollouts, and from those to the metrics of a step.

Reading order: score (one Scored per completion), step_metrics, rollout_row (what is written down of each).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from minizero.config.schema import Config
from minizero.rewards import Reward, reward_answer, reward_proposal
from minizero.selfplay.record import Record
from minizero.selfplay.votes import by_majority
from minizero.tasks.blocks import is_reasoned
from minizero.tasks.programs import program_key, statement_lines
from minizero.tasks.rows import task_to_json
from minizero.types import AnswerOutcome, Completion, ProposalOutcome, Role, Rollout, TaskType

Outcome = ProposalOutcome | AnswerOutcome


@dataclass(frozen=True, slots=True)
class Scored:
    """One completion with its outcome and reward. Attempts are scored as answers; `is_attempt` tells them apart.

    `rollout.reward` is `earned.value`, except in the control that shuffles rewards.
    """

    outcome: Outcome
    rollout: Rollout
    earned: Reward
    is_trained: bool
    is_attempt: bool = False


def score(
    proposals: Sequence[tuple[ProposalOutcome, Completion]],
    answers: Sequence[tuple[AnswerOutcome, Completion]],
    attempts: Sequence[tuple[AnswerOutcome, Completion]],
    greedy: Mapping[str, AnswerOutcome],
    config: Config,
    rng: random.Random,
) -> list[Scored]:
    """Reward every completion. Raises RewardError for a term that raises or returns no finite number."""
    play, scored = config.selfplay, []
    rewarded = proposals, answers, attempts  # the same, with the verdicts and solve rates that are rewarded
    if config.reward.solve.truth == "majority":
        rewarded = by_majority(proposals, answers, attempts)
    for (outcome, completion), (as_judged, _) in zip(proposals, rewarded[0], strict=True):
        earned = reward_proposal(as_judged, config.reward.propose, config.reward.cut)
        rollout = Rollout(
            Role.PROPOSE, outcome.type, completion.request_id, completion, earned.value, earned.terms
        )  # fmt: skip
        scored.append(Scored(outcome, rollout, earned, play.train_propose))
    for is_attempt, pairs, judged in ((False, answers, rewarded[1]), (True, attempts, rewarded[2])):
        for (answer, completion), (as_voted, _) in zip(pairs, judged, strict=True):
            earned = reward_answer(as_voted, config.reward.solve, config.reward.cut)
            baseline = greedy.get(completion.request_id)
            rollout = Rollout(
                Role.SOLVE, answer.task.type, completion.request_id, completion, earned.value, earned.terms,
                None if baseline is None else reward_answer(baseline, config.reward.solve, config.reward.cut).value,
            )  # fmt: skip
            scored.append(Scored(answer, rollout, earned, not is_attempt or play.train_on_attempts, is_attempt))
    return _shuffled(scored, rng) if play.shuffle_rewards else scored


def gated(scored: list[Scored], record: Record, gate: str) -> list[Scored]:
    """With selfplay.gate = boundary, answers to tasks that were solved before are not learned from, nor counted in the
    baselines. Their outcomes and rewards stay as they are."""
    if gate == "none":
        return scored
    return [
        replace(s, is_trained=s.is_trained and not record.is_solved(s.outcome.task))
        if isinstance(s.outcome, AnswerOutcome)
        else s
        for s in scored
    ]


def _shuffled(scored: list[Scored], rng: random.Random) -> list[Scored]:
    """The control: rewards permuted inside each role and task type, so that they carry no information."""
    result = list(scored)
    groups: dict[tuple[Role, TaskType, bool], list[int]] = defaultdict(list)
    for i, item in enumerate(scored):
        groups[item.rollout.role, item.rollout.task_type, item.is_attempt].append(i)
    for places in groups.values():
        rewards = [scored[i].rollout.reward for i in places]
        rng.shuffle(rewards)
        for i, reward in zip(places, rewards, strict=True):
            result[i] = replace(scored[i], rollout=replace(scored[i].rollout, reward=reward))
    return result


def step_metrics(scored: Sequence[Scored], held_out: frozenset[str] = frozenset()) -> dict[str, float]:
    """The propose/, solve/, reward/ and rollout/ metrics of one step (metrics.py defines each)."""
    proposals = [s for s in scored if isinstance(s.outcome, ProposalOutcome)]
    answers = [s for s in scored if isinstance(s.outcome, AnswerOutcome) and not s.is_attempt]
    attempts = [s for s in scored if s.is_attempt]
    values = _propose_metrics(proposals) | _solve_metrics(answers) | _reasoning_metrics([*answers, *attempts])
    for role, group in ((Role.PROPOSE, proposals), (Role.SOLVE, answers)):
        values |= means(f"reward/{role}", [(s.rollout.task_type, s.rollout.reward) for s in group])
        for name in sorted({name for s in group for name in s.rollout.terms}):
            values[f"reward/{role}/{name}"] = _mean([s.rollout.terms[name] for s in group if name in s.rollout.terms])
    for name, group in (("propose", proposals), ("solve", answers), ("attempt", attempts)):
        if group:
            values[f"rollout/completion_tokens/{name}"] = _mean([len(s.rollout.completion.ids) for s in group])
            cut = [s.rollout.completion.finish == "length" for s in group]
            values[f"rollout/hit_token_limit_frac/{name}"] = _mean(cut)
    if held_out:
        programs = [text for s in [*answers, *attempts] if (text := _induction_answer(s)) is not None]
        values["eval/held_out_answers"] = float(sum(program_key(text) in held_out for text in programs))
    return values


def _propose_metrics(proposals: Sequence[Scored]) -> dict[str, float]:
    if not proposals:
        return {}
    outcomes = [s.outcome for s in proposals if isinstance(s.outcome, ProposalOutcome)]
    values = means("propose/admitted_frac", [(o.type, float(not o.reason)) for o in outcomes])
    reasons = Counter(o.reason for o in outcomes if o.reason)
    values |= {f"propose/rejected/{reason}": n / len(outcomes) for reason, n in sorted(reasons.items())}
    values["propose/duplicate_frac"] = reasons["duplicate"] / len(outcomes)
    written = [(o.type, o.proposal.program, o.proposal.inputs) for o in outcomes if o.proposal]
    if written:
        different = {(kind, program, inputs if kind is TaskType.INDUCTION else ()) for kind, program, inputs in written}
        values["propose/unique_frac"] = len(different) / len(written)
    own = [o.task.program for o in outcomes if o.task and o.type is not TaskType.INDUCTION]
    if own:
        values["propose/program_lines"] = _mean([statement_lines(program) for program in own])
        without_answer = [not o.task.output for o in outcomes if o.task]
        if any(without_answer):
            values["propose/leaked_frac"] = _mean(without_answer)
        composed = [bool(o.task.composites) for o in outcomes if o.task]
        if any(composed):
            values["propose/composite_frac"] = _mean(composed)
    rated = [(o.type, o.solve_rate) for o in outcomes if o.task and o.solve_rate is not None]
    if rated:
        values |= means("propose/solve_rate", rated)
        values |= means("propose/learnable_frac", [(kind, float(0 < rate < 1)) for kind, rate in rated])
        values["propose/never_frac"] = _mean([rate == 0 for _, rate in rated])
        values["propose/always_frac"] = _mean([rate == 1 for _, rate in rated])
    return values


def _solve_metrics(answers: Sequence[Scored]) -> dict[str, float]:
    if not answers:
        return {}
    outcomes = [s.outcome for s in answers if isinstance(s.outcome, AnswerOutcome)]
    values = means("solve/correct_frac", [(o.task.type, float(o.verdict.correct)) for o in outcomes])
    verdicts = Counter(o.verdict.reason for o in outcomes)
    values |= {f"solve/verdict/{reason}": n / len(outcomes) for reason, n in sorted(verdicts.items())}
    values["solve/malformed_frac"] = _mean([not o.format_ok for o in outcomes])
    if gated_out := sum(not s.is_trained for s in answers):
        values["solve/gated_frac"] = gated_out / len(answers)
    return values


def _reasoning_metrics(answers: Sequence[Scored]) -> dict[str, float]:
    """Of answers and attempts: how long they are, how many reason, and how often each kind is right."""
    rows = [(s.outcome, len(s.rollout.completion.ids)) for s in answers if isinstance(s.outcome, AnswerOutcome)]
    values = means("solve/answer_tokens", [(o.task.type, float(tokens)) for o, tokens in rows])
    by_lines: dict[int, list[float]] = defaultdict(list)
    for outcome, tokens in rows:
        by_lines[statement_lines(outcome.task.program)].append(float(tokens))
    values |= {f"solve/answer_tokens_by_lines/{lines}": _mean(by_lines[lines]) for lines in sorted(by_lines)}
    values |= means("solve/reasoned_frac", [(o.task.type, float(is_reasoned(o.text))) for o, _ in rows])
    for name, kind in (("solve/reasoned_correct_frac", True), ("solve/at_once_correct_frac", False)):
        values |= means(name, [(o.task.type, float(o.verdict.correct)) for o, _ in rows if is_reasoned(o.text) is kind])
    return values


def _induction_answer(scored: Scored) -> str | None:
    outcome = scored.outcome
    if isinstance(outcome, AnswerOutcome) and outcome.task.type is TaskType.INDUCTION and outcome.answer:
        return outcome.answer.text
    return None


def means(name: str, pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean over all, and one per task type; {} of nothing."""
    by_type: dict[str, list[float]] = defaultdict(list)
    for kind, value in pairs:
        by_type[kind].append(value)
    if not by_type:
        return {}
    return {name: _mean([v for values in by_type.values() for v in values])} | {
        f"{name}/{kind}": _mean(values) for kind, values in sorted(by_type.items())
    }


def _mean(values: Sequence[float]) -> float:
    return float(sum(values)) / len(values)


def rollout_row(scored: Scored) -> dict[str, Any]:
    """What rollouts/step-N.jsonl.gz keeps of a completion: enough to read it, and to see why it earned what it
    earned."""
    outcome, rollout = scored.outcome, scored.rollout
    row: dict[str, Any] = {
        "id": f"{rollout.completion.request_id}/{rollout.completion.index}",
        "role": "attempt" if scored.is_attempt else rollout.role.value,
        "type": rollout.task_type.value,
        "text": outcome.text,
        "format_ok": outcome.format_ok,
        "tokens": len(rollout.completion.ids),
        "finish": rollout.completion.finish,
        "reward": rollout.reward,
        "terms": dict(rollout.terms),
        "earned": asdict(scored.earned),
    }
    if rollout.completion.version is not None:
        row["version"] = rollout.completion.version
    if rollout.completion.member:
        row["adapter"] = rollout.completion.member
    if isinstance(outcome, ProposalOutcome) and outcome.attempted_by:
        row["attempted_by"] = outcome.attempted_by
    if isinstance(outcome, AnswerOutcome):
        verdict = outcome.verdict
        return row | {
            "task": outcome.task.id,
            "answer": outcome.answer.text if outcome.answer else None,
            "verdict": verdict.reason,
            "score": verdict.score,
            "detail": verdict.detail,
        }
    row |= {
        "reason": outcome.reason,
        "detail": outcome.detail,
        "solve_rate": outcome.solve_rate,
        "requested_lines": outcome.requested_lines,
    }
    if outcome.task:
        row |= {"task": outcome.task.id, "task_content": task_to_json(outcome.task)}
    elif outcome.proposal:
        row |= {"program": outcome.proposal.program, "inputs": list(outcome.proposal.inputs)}
    return row
