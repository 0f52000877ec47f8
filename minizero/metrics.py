"""Every metric, defined once: name, unit, direction, sentence, alarm. The console, the report and wandb read this
table.

Names are group/name; a task type or a term may follow as one more part (solve/correct_frac/deduction,
reward/propose/novelty).

Reading order: Metric, METRICS; metric_for and alarms, which ask the table; binned, for curves that are too long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """`better` tells which way is progress; `alarm` returns a sentence for a value that should worry, else ""."""

    name: str
    unit: str
    better: Literal["up", "down", "neither"]
    sentence: str
    alarm: Callable[[float], str] = lambda value: ""


def _above(limit: float, words: str) -> Callable[[float], str]:
    return lambda value: words if value > limit else ""


def _below(limit: float, words: str) -> Callable[[float], str]:
    return lambda value: words if value < limit else ""


_ALL = [
    Metric(
        "propose/admitted_frac",
        "",
        "up",
        "Share of proposals that became tasks.",
        _below(0.2, "four of five proposals are wasted: read `minizero replay RUN --role propose`"),
    ),
    Metric("propose/rejected", "", "down", "Share of proposals lost, by reason."),
    Metric(
        "propose/duplicate_frac",
        "",
        "down",
        "Share of proposals that repeat a task of the buffer or of this batch.",
        _above(0.5, "the proposer repeats itself: collapse"),
    ),
    Metric(
        "propose/unique_frac",
        "",
        "up",
        "Different programs among this step's parsed proposals.",
        _below(0.5, "the proposer writes the same programs over and over: collapse"),
    ),
    Metric(
        "propose/program_lines",
        "lines",
        "neither",
        "Mean statement lines of admitted programs.",
        _below(1.2, "programs shrink to one-liners: collapse"),
    ),
    Metric("propose/leaked_frac", "", "neither", "Admitted tasks without a known answer (admission.leak)."),
    Metric("propose/composite_frac", "", "neither", "Admitted programs that build on functions they were given."),
    Metric(
        "propose/solve_rate",
        "",
        "neither",
        "Mean solve rate of admitted tasks. Never evidence of skill: the proposer chooses the tasks.",
    ),
    Metric(
        "propose/never_frac",
        "",
        "neither",
        "Admitted tasks that no attempt solved.",
        _above(0.9, "tasks are too hard to learn from"),
    ),
    Metric(
        "propose/always_frac",
        "",
        "neither",
        "Admitted tasks that every attempt solved.",
        _above(0.9, "tasks are too easy to learn from"),
    ),
    Metric(
        "propose/learnable_frac",
        "",
        "up",
        "Admitted tasks with a solve rate between 0 and 1.",
        _below(0.05, "hardly any task can be learned from"),
    ),
    Metric("solve/correct_frac", "", "up", "Share of right answers to tasks drawn from the buffer."),
    Metric("solve/verdict", "", "neither", "Share of answers by verdict."),
    Metric("solve/gated_frac", "", "neither", "Answers that are not learned from: their task was solved before."),
    Metric(
        "solve/malformed_frac",
        "",
        "down",
        "Share of answers whose wrapper or block is broken.",
        _above(0.5, "most answers cannot be read"),
    ),
    Metric("solve/answer_tokens", "tokens", "neither", "Mean length of an answer, with its reasoning."),
    Metric("solve/answer_tokens_by_lines", "tokens", "neither", "The same, by the statement lines of the program."),
    Metric("solve/reasoned_frac", "", "neither", "Share of answers that reason in <think> tags."),
    Metric("solve/reasoned_correct_frac", "", "up", "Share of right answers among those that reason."),
    Metric("solve/at_once_correct_frac", "", "up", "Share of right answers among those that answer at once."),
    Metric("reward/propose", "", "up", "Mean reward of proposals; with a term's name, that term's mean value."),
    Metric("reward/solve", "", "up", "Mean reward of answers; with a term's name, that term's mean value."),
    Metric(
        "advantage/zero_frac",
        "",
        "down",
        "Rollouts with advantage zero: they teach nothing.",
        _above(0.95, "nearly nothing is learned from"),
    ),
    Metric("advantage/std", "", "neither", "Standard deviation of the advantages."),
    Metric("policy/loss", "", "neither", "The policy loss. Near 0 by construction; not a measure of progress."),
    Metric("policy/grad_norm", "", "neither", "Gradient norm before clipping; of several adapters also each one's."),
    Metric(
        "policy/skipped_updates",
        "",
        "down",
        "Updates skipped for a non-finite gradient.",
        _above(0, "a gradient was not finite"),
    ),
    Metric(
        "adapter/rating",
        "Elo points",
        "neither",
        "Of a population, each member's rating; the best solver's is the one that is validated.",
    ),
    Metric("adapter/earned", "", "up", "Of a population, what each proposer earned over about the last ten steps."),
    Metric("adapter/replaced", "", "neither", "Of a population, members replaced by mutated copies after this step."),
    Metric("policy/lr", "", "neither", "Learning rate of the last update."),
    Metric(
        "policy/entropy",
        "nats",
        "neither",
        "Mean entropy of the token distribution over trained tokens.",
        _below(0.02, "the policy is almost deterministic: collapse"),
    ),
    Metric(
        "policy/staleness",
        "updates",
        "neither",
        "Updates between the policy that wrote what is learned from and the one that learns (selfplay.ahead).",
    ),
    Metric("policy/clip_frac", "", "neither", "Tokens whose ratio was clipped."),
    Metric("policy/dual_frac", "", "neither", "Tokens with a negative advantage whose loss met the dual clip's bound."),
    Metric(
        "policy/kl_old",
        "nats",
        "neither",
        "Mean of old minus new log-probability (k1) in the step's last update; 0 in its first.",
    ),
    Metric(
        "policy/kl_ref",
        "nats",
        "neither",
        "KL to the reference policy.",
        _above(0.5, "the policy has moved far from the base"),
    ),
    Metric(
        "policy/kl_base",
        "nats",
        "neither",
        "KL to the base model per sampled token (k3), on a sample of the step's tokens (eval.kl_base_tokens), before "
        "the step's update.",
        _above(0.5, "the policy has moved far from the base"),
    ),
    Metric(
        "policy/kl_sampler",
        "nats",
        "down",
        "KL between sampler and trainer on the same weights (k3); about 0 when they agree.",
        _above(0.05, "sampler and trainer disagree: is the adapter loaded?"),
    ),
    Metric(
        "policy/sampler_gap_mean",
        "nats",
        "down",
        "Mean absolute difference of sampler's and trainer's log-probabilities.",
    ),
    Metric("policy/sampler_gap_max", "nats", "down", "Largest such difference."),
    Metric(
        "policy/effective_sample_frac",
        "",
        "up",
        "Effective sample size of the importance weights over their number.",
        _below(0.5, "importance weights are dominated by few tokens"),
    ),
    Metric("policy/corrected_frac", "", "down", "Tokens whose importance weight was truncated or masked."),
    Metric("policy/trained_tokens", "tokens", "neither", "Completion tokens that entered the loss."),
    Metric(
        "policy/masked_frac",
        "",
        "down",
        "Rollouts left out of the step's last update because the token limit cut them (loss.mask_cut).",
    ),
    Metric("rollout/completion_tokens", "tokens", "neither", "Mean length of completions, by role."),
    Metric(
        "rollout/hit_token_limit_frac",
        "",
        "down",
        "Completions cut by the token limit, by role.",
    ),
    Metric("rollout/generated_tokens", "tokens", "neither", "Tokens generated in this step."),
    Metric("rollout/tokens_per_s", "tokens/s", "up", "Generated tokens per second of sampling."),
    Metric("buffer/tasks", "tasks", "neither", "Tasks in the buffer."),
    Metric("sandbox/jobs", "jobs", "neither", "Programs run in this step."),
    Metric(
        "sandbox/timeout_frac",
        "",
        "down",
        "Runs that hit a time limit.",
        _above(0.2, "many programs run into the time limit"),
    ),
    Metric("sandbox/wait_s", "s", "down", "Time the step waited for the sandbox with nothing to generate."),
    Metric("time/step_s", "s", "down", "The whole step; with a part's name (sample, update, push), that part."),
    Metric("ahead/learner_waits_s", "s", "down", "With selfplay.ahead: how long learning waited for the next step."),
    Metric("ahead/sampler_waits_s", "s", "down", "With selfplay.ahead: how long sampling waited for the update."),
    Metric("time/planned_s", "s", "neither", "What the plan expected of a step in which every proposal is admitted."),
    Metric("time/floor_s", "s", "neither", "What this step's tokens take at least, by the card's data sheet."),
    Metric("time/floor_frac", "", "up", "That floor over the step's time: 1 would be a card that never waits."),
    Metric("memory/checked_gib", "GiB", "neither", "Peak of the largest micro-batch, tried before the first step."),
    Metric("memory/planned_gib", "GiB", "neither", "What the plan expected of memory/peak_gib."),
    Metric("memory/peak_gib", "GiB", "down", "Peak memory: of the card, or resident memory of the process on a CPU."),
    Metric(
        "eval/solve_rate",
        "",
        "up",
        "Held-out tasks solved at temperature 1 (mean over samples), and by task type. The evidence.",
    ),
    Metric("eval/answer_tokens", "tokens", "neither", "Mean length of a sampled answer to held-out tasks."),
    Metric("eval/reasoned_frac", "", "neither", "Share of sampled answers to held-out tasks that reason."),
    Metric("eval/greedy", "", "up", "Held-out tasks solved greedily, and by task type."),
    Metric("eval/entropy", "nats", "neither", "Mean entropy of a token of the held-out answers at temperature 1."),
    Metric("eval/change", "points", "up", "Paired change of the held-out solve rate since step 0, in points."),
    Metric("eval/held_out_answers", "", "down", "Induction answers that equal a held-out program."),
]
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
_CUT = "most {} are cut: raise selfplay.{}"
ROLE_ALARMS: dict[str, Callable[[float], str]] = {
    "rollout/hit_token_limit_frac/propose": _above(0.5, _CUT.format("proposals", "propose_max_tokens")),
    "rollout/hit_token_limit_frac/solve": _above(0.5, _CUT.format("answers", "solve_max_tokens")),
    "rollout/hit_token_limit_frac/attempt": _above(0.5, _CUT.format("attempts", "solve_max_tokens")),
}
"""Alarms of suffixed names: each role has a limit of its own."""


def metric_for(name: str) -> Metric:
    """The definition behind a metric's name, with or without a suffix. Raises KeyError for an undefined one."""
    base = name
    while base not in METRICS:
        base, slash, _ = base.rpartition("/")
        if not slash:
            raise KeyError(name)
    return METRICS[base]


def alarms(values: Mapping[str, float]) -> dict[str, str]:
    """Metric name -> words, for every value that should worry its reader. Of suffixed names only ROLE_ALARMS count."""
    known = {name: METRICS[name].alarm for name in METRICS} | ROLE_ALARMS
    raised = {name: known[name](value) for name, value in values.items() if name in known}
    return {name: words for name, words in raised.items() if words}


def binned(points: Sequence[tuple[float, float]], most: int) -> tuple[tuple[float, float], ...]:
    """A curve's finite points (step, value); where they are more than `most`, means of equal bins, each at its last
    step.

    >>> binned([(1, 1.0), (2, math.nan), (3, 3.0), (4, 8.0)], 2)
    ((3, 2.0), (4, 8.0))
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    size = max(1, -(-len(finite) // most))
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return tuple((group[-1][0], sum(y for _, y in group) / len(group)) for group in groups)
