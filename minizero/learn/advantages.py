"""Advantage estimators: rewards[N], lengths[N], groups -> A[N]; a baseline is subtracted, a deviation may divide.

Reading order: estimate (rollouts in, advantages out), advantages (the pure function), the scales and pass_rewards, then
group statistics.
Presets such as trrpp and grpo are rows of config/learning.py. PPO with a critic is not offered: a value head and its
optimiser state do not fit beside the policy on one card.
"""
# N rollouts

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence

import torch
from torch import Tensor

from minizero.config.learning import AdvantageConfig, Estimator
from minizero.learn.sums import group_sum
from minizero.rewards.plugins import load_function, source_of
from minizero.types import Completion, EstimatorError, Role, Rollout, TaskType

EPS = 1e-8  # added to the variance, as the official code does (docs/algorithm.md 6.1)


def estimate(
    rollouts: Sequence[Rollout], config: AdvantageConfig, running: MutableMapping[str, float] | None = None
) -> Tensor:
    """A[N] in float32 for the rollouts of one optimiser batch, in their order.

    Each role has its own estimator and sees its own rollouts; two equal estimators see all rollouts as one, so that
    grouping by batch means the whole batch. `running` holds the means of baseline = running by group, which move on
    with each call.
    """
    running = {} if running is None else running
    if config.propose == config.solve:
        return _estimate(rollouts, config.propose, running, "")
    result = torch.zeros(len(rollouts))
    for role, estimator in ((Role.PROPOSE, config.propose), (Role.SOLVE, config.solve)):
        places = [i for i, rollout in enumerate(rollouts) if rollout.role is role]
        result[places] = _estimate([rollouts[i] for i in places], estimator, running, f"{role}:")
    return result


def load_estimators(config: AdvantageConfig) -> dict[str, str]:
    """Load the user's own estimators before the run starts; returns file name -> text for the run directory."""
    sources = {}
    for name in {config.propose.function, config.solve.function} - {""}:
        load_function(name, EstimatorError)
        file, text = source_of(name, EstimatorError)
        sources[file] = text
    return sources


def try_estimators(config: AdvantageConfig) -> None:
    """Ask the user's own estimators once, before a run starts, about four made-up rollouts of each role.

    Raises EstimatorError where they raise or return something else than one finite number a rollout.
    """
    if not (config.propose.function or config.solve.function):
        return
    estimate([_made_up(role, place) for role in Role for place in range(4)], config)


def _made_up(role: Role, place: int) -> Rollout:
    ids = tuple(range(3 + place))
    completion = Completion(f"{role}/{place // 2}", place % 2, (0,), ids, (-1.0,) * len(ids), "", "stop")
    return Rollout(role, TaskType.DEDUCTION, completion.request_id, completion, float(place % 2), {}, baseline=0.5)


def _estimate(
    rollouts: Sequence[Rollout], estimator: Estimator, running: MutableMapping[str, float], prefix: str
) -> Tensor:
    """`prefix` tells the running means of this estimator from those of the other role's."""
    if not rollouts:
        return torch.zeros(0)
    groups = {
        "role": _ids([rollout.role for rollout in rollouts]),
        "task_type": _ids([rollout.task_type for rollout in rollouts]),
        "prompt": _ids([rollout.prompt_key for rollout in rollouts]),
    }
    rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64)
    lengths = torch.tensor([len(rollout.completion.ids) for rollout in rollouts])
    baseline = None
    if estimator.baseline == "greedy" and not estimator.function:
        missing = [rollout.prompt_key for rollout in rollouts if rollout.baseline is None]
        if missing:
            raise EstimatorError(
                f"baseline = greedy: {len(missing)} of {len(rollouts)} rollouts have no greedy completion of their "
                f"prompt (first: {missing[0]}). Set another baseline for this role, for example trrpp"
            )
    if estimator.baseline == "running" and not estimator.function:
        weights = _weights(rewards, lengths, estimator)
        baseline = _running_means(rollouts, rewards, weights, estimator, running, prefix)
    elif all(rollout.baseline is not None for rollout in rollouts):
        baseline = torch.tensor([rollout.baseline for rollout in rollouts], dtype=torch.float64)
    return advantages(rewards, lengths, groups, estimator, baseline).float()


def _running_means(
    rollouts: Sequence[Rollout], rewards: Tensor, weights: Tensor, estimator: Estimator,
    running: MutableMapping[str, float], prefix: str,
) -> Tensor:  # fmt: skip
    """The mean of each rollout's group in earlier steps, decay b + (1 - decay) mean; in its first step, of that step.

    SPIRAL, arXiv 2506.24119, section 3 (role-conditioned advantage estimation).
    """
    keys = [prefix + "/".join(_named(rollout, key) for key in estimator.baseline_by) for rollout in rollouts]
    ids = _ids(keys)
    of_step = group_sum(weights * rewards, ids) / group_sum(weights, ids).clamp(min=1)
    means = dict(zip(keys, of_step.tolist(), strict=True))
    baseline = torch.tensor([running.get(key, means[key]) for key in keys], dtype=torch.float64)
    for key, mean in means.items():
        running[key] = estimator.decay * running.get(key, mean) + (1 - estimator.decay) * mean
    return baseline


def _named(rollout: Rollout, key: str) -> str:
    return {"role": rollout.role.value, "task_type": rollout.task_type.value}.get(key, key)


def advantages(
    rewards: Tensor, lengths: Tensor, groups: Mapping[str, Tensor], config: Estimator, baseline: Tensor | None = None
) -> Tensor:
    """A_i = (R_i - b_i) / s_i, one number for every token of rollout i.

    rewards[N] float, lengths[N] completion tokens, groups: "role", "task_type", "prompt" -> ids[N]; baseline[N] greedy.
    Weights: w = length (statistics = token) or 1 (sequence). With sums over a group:
      mean: b = sum wR / sum w.  leave_one_out: the same without i.  greedy, running: baseline.  none: 0.
      s = sqrt(sum w (D - mean D)^2 / (sum w - 1) + 1e-8), D = R - b, over the groups of scale_by; without them s = 1.
    A scale group of equal D, or of at most one token, gives 0 (the official code raises for one token). With pass_k, R
    is pass_rewards(R), and s may be sqrt(m (1 - m)) or m, m its mean in the scale group.

    Sources: TRR++ is docs/algorithm.md 6.1, paper Eq. 8; GRPO arXiv 2402.03300, section 4.1.2; Dr.GRPO 2503.20783; RLOO
    2402.14740; ReMax 2310.10505; REINFORCE++ 2501.03262; pass@k 2508.10751, section 2.4; MaxRL 2602.02710.
    Example, trrpp: lengths 1 and 9, rewards 1 and -0.5 -> m = -0.35, v = 2.025 / 9 = 0.225, A = 2.846 and -0.316.
    """
    if config.function:
        return _own(config.function, rewards, lengths, groups, baseline)
    if not torch.isfinite(rewards).all():
        raise EstimatorError(f"rewards hold a value that is not finite: {rewards.tolist()}")
    _check_prompts(config, groups["prompt"])
    if config.pass_k:
        rewards = pass_rewards(rewards, groups["prompt"], config.pass_k)
    weights = _weights(rewards, lengths, config)
    centred = rewards - _baseline(rewards, weights, groups, config, baseline)
    if config.baseline_by and config.baseline in ("mean", "leave_one_out"):
        # All equal: rounding of the mean must not leave a residue that a tiny deviation would blow up.
        equal = _is_constant(rewards, _group_ids(config.baseline_by, groups, len(rewards)))
        centred = torch.where(equal, 0.0, centred)
    if not config.scale_by:
        return centred
    ids = _group_ids(config.scale_by, groups, len(rewards))
    total = group_sum(weights, ids)
    if config.scale != "deviation":
        m = group_sum(weights * rewards, ids) / total.clamp(min=1)
        scale = m if config.scale == "mean" else torch.sqrt((m * (1 - m)).clamp(min=0))
        return torch.where((scale > 0) & ~_is_constant(centred, ids), centred / scale.clamp(min=1e-30), 0.0)
    mean = group_sum(weights * centred, ids) / total.clamp(min=1)
    variance = group_sum(weights * (centred - mean) ** 2, ids) / (total - 1).clamp(min=1e-30)
    usable = (total > 1) & ~_is_constant(centred, ids)
    return torch.where(usable, centred * torch.rsqrt(variance + EPS), 0.0)


def _weights(rewards: Tensor, lengths: Tensor, config: Estimator) -> Tensor:
    return lengths.to(rewards.dtype) if config.statistics == "token" else torch.ones_like(rewards)


def _baseline(
    rewards: Tensor, weights: Tensor, groups: Mapping[str, Tensor], config: Estimator, given: Tensor | None
) -> Tensor:
    if config.baseline == "none":
        return torch.zeros_like(rewards)
    if config.baseline in ("greedy", "running"):
        if given is None:
            what = "the reward of each prompt's greedy completion" if config.baseline == "greedy" else "earlier means"
            raise EstimatorError(f"baseline = {config.baseline} needs {what}; none was given")
        return given.to(rewards)
    ids = _group_ids(config.baseline_by, groups, len(rewards))
    total, weighted = group_sum(weights, ids), group_sum(weights * rewards, ids)
    if config.baseline == "leave_one_out":
        alone = total - weights <= 0
        total, weighted = total - weights, weighted - weights * rewards
        return torch.where(alone, rewards, weighted / total.clamp(min=1))  # no others: nothing to compare with, A = 0
    return weighted / total.clamp(min=1)


def _check_prompts(config: Estimator, prompts: Tensor) -> None:
    """A group of one says nothing. Single leftovers of larger groups are let pass: their advantage is 0."""
    if config.groups_by_prompt and len(prompts) and int(torch.bincount(prompts).max()) < 2:
        raise EstimatorError(
            f"grouping by prompt: each of the {len(prompts)} prompts has one sample, and a group needs at least 2. "
            "Set selfplay.solve_samples and selfplay.propose_samples to 2 or more, or choose trrpp"
        )


def _own(name: str, rewards: Tensor, lengths: Tensor, groups: Mapping[str, Tensor], baseline: Tensor | None) -> Tensor:
    try:
        result = load_function(name, EstimatorError)(rewards, lengths, groups, baseline)
    except EstimatorError:
        raise
    except Exception as error:
        raise EstimatorError(f"advantage estimator {name} raised {type(error).__name__}: {error}") from error
    if not isinstance(result, Tensor) or result.shape != rewards.shape:
        seen = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise EstimatorError(
            f"advantage estimator {name} returned {seen}; expected a tensor of shape {tuple(rewards.shape)}"
        )
    if not torch.isfinite(result).all():
        raise EstimatorError(f"advantage estimator {name} returned a value that is not finite: {result.tolist()}")
    return result.to(rewards)


def pass_rewards(rewards: Tensor, prompts: Tensor, k: int) -> Tensor:
    """R'[N] in [0, 1]: of the sets of k answers to rollout i's prompt that i is in, the share in which any succeeds.

    A success is a reward above 0. Of n answers f fail. A success has 1, a failure 1 - C(f - 1, k - 1) / C(n - 1, k - 1)
    and the mean over the prompt is pass@k, 1 - C(f, k) / C(n, k). Fewer than k answers: 0 each, which teaches nothing.
    Source: arXiv 2508.10751, section 2.4. Example: n = 4, k = 2, one right -> 1 and three times 1 - 2/3 = 1/3.
    """
    right = (rewards > 0).to(rewards.dtype)
    counts = group_sum(torch.ones_like(rewards), prompts).long().tolist()
    failures = group_sum(1 - right, prompts).long().tolist()
    shares = []
    for is_right, n, f in zip(right.bool().tolist(), counts, failures, strict=True):
        sets = math.comb(n - 1, k - 1)
        shares.append(0.0 if not sets else 1.0 if is_right else 1 - math.comb(f - 1, k - 1) / sets)
    return torch.tensor(shares, dtype=rewards.dtype, device=rewards.device)


# -- group statistics: every function returns one value per rollout, that of its group --


def _group_ids(keys: Sequence[str], groups: Mapping[str, Tensor], n: int) -> Tensor:
    """ids[N] of the groups that agree in all keys; batch is one group."""
    columns = [groups[key] for key in keys if key != "batch"]
    if not columns:
        return torch.zeros(n, dtype=torch.long, device=groups["prompt"].device)
    ids: Tensor = torch.unique(torch.stack(columns, dim=1), dim=0, return_inverse=True)[1]
    return ids


def _is_constant(values: Tensor, ids: Tensor) -> Tensor:
    """Whether all values of the group are equal, exactly."""
    size = int(ids.max()) + 1 if len(ids) else 0
    low = values.new_full((size,), torch.inf).scatter_reduce(0, ids, values, "amin")
    high = values.new_full((size,), -torch.inf).scatter_reduce(0, ids, values, "amax")
    return (low == high)[ids]


def _ids(names: Sequence[str]) -> Tensor:
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(name, len(numbers)) for name in names])
