"""The policy loss of one token as small choices: ratio level x clip rule x aggregation x importance correction.

Reading order: aggregation_weights (once for the whole optimiser batch), token_loss, importance_weights with mismatch,
kl_penalty. Log-probabilities themselves are in log_probs.py.

How they go together, for every micro-batch of an optimiser batch:
    weights = aggregation_weights(lengths, groups, ...)                      # before the loop: no split changes them
    loss, metrics = token_loss(new, old, advantages[row], row, config)       # per token
    (weights[row] * correction * loss).sum().backward()
"""
# N rollouts of the optimiser batch, K completion tokens of a micro-batch, row[K] the rollout of each token

from __future__ import annotations

import torch
from torch import Tensor

from minizero.config.learning import LossConfig
from minizero.learn.sums import group_sum

MAX_LOG_RATIO = 20.0  # log-ratios are clamped here, as in veRL: exp(20) times any advantage is finite


def aggregation_weights(lengths: Tensor, groups: Tensor, aggregation: str, constant_tokens: int = 0) -> Tensor:
    """w[N], so that the loss of the batch is sum_i w_i sum_t loss_it.

    lengths[N] completion tokens, groups[N] ids of (role, task type). L_i length, T all tokens, T_g tokens of group g.
      group_token_mean  1 / (G T_g)               AZR, by its batching (docs/algorithm.md 6.3)
      token_mean        1 / T                     DAPO, arXiv 2503.14476, section 3.3
      sequence_mean     1 / (N L_i)               GRPO, arXiv 2402.03300, Eq. 3
      constant          1 / (N constant_tokens)   Dr.GRPO, arXiv 2503.20783
    Groups and sequences without tokens weigh nothing and are not counted in G and N.
    Example: lengths 1, 3, 4 in groups 0, 0, 1: group_token_mean 1/8, 1/8, 1/8; sequence_mean 1/3, 1/9, 1/12.
    """
    tokens = lengths.to(torch.float64)
    written = tokens > 0
    if aggregation == "group_token_mean":
        ids = torch.unique(groups, return_inverse=True)[1]
        of_group = torch.zeros(int(ids.max()) + 1 if len(ids) else 0, dtype=torch.float64, device=lengths.device)
        of_group = of_group.index_add(0, ids, tokens)
        weights = 1 / (of_group.count_nonzero() * of_group[ids])
    elif aggregation == "token_mean":
        weights = torch.ones_like(tokens) / tokens.sum()
    elif aggregation == "sequence_mean":
        weights = 1 / (written.sum() * tokens)
    elif aggregation == "constant":
        weights = torch.ones_like(tokens) / (written.sum() * constant_tokens)
    else:
        raise ValueError(
            f"aggregation {aggregation!r} is none of group_token_mean, token_mean, sequence_mean, constant"
        )
    return torch.where(written, weights, 0.0).float()


def token_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, row: Tensor, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss[K], metrics[K] each) of the tokens of a micro-batch; the loss is to be minimised.

    log_probs[K] with gradient, old_log_probs[K], advantages[K] without. r = exp(clamp(new - old, +-20)); with ratio =
    sequence (GSPO, arXiv 2507.18071) r = exp(mean over the sequence), so a sequence must be whole.
      none   -r A
      ppo    max(-r A, -clip(r, 1 - low, 1 + low) A)          arXiv 1707.06347, Eq. 7
      clip_higher   the same with 1 + high above               DAPO, arXiv 2503.14476, section 3.1
      dual   and at most dual_max |A| where A < 0              arXiv 1912.09729
      cispo  -min(r, cispo_max) A log_prob, bound detached     arXiv 2506.13585
    Example: r = 1.25, A = 1: ppo (0.2) -1.2, clip_higher (0.28) -1.25. r = 5, A = -1: ppo 5, dual 3.
    Metrics: clip_frac (the clipped branch is active), dual_frac, and kl_old = old - new (k1).
    """
    difference = log_probs - old_log_probs
    if config.ratio == "sequence":
        difference = _row_mean(difference, row)
    ratio = torch.exp(difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    plain = -advantages * ratio
    never = torch.zeros_like(plain, dtype=torch.bool)
    clipped = dual = never
    if config.clip == "none":
        loss = plain
    elif config.clip == "cispo":
        clipped = ratio > config.cispo_max
        loss = -ratio.detach().clamp(max=config.cispo_max) * advantages * log_probs
    else:
        above = config.clip_low if config.clip == "ppo" else config.clip_high
        bounded = -advantages * ratio.clamp(1 - config.clip_low, 1 + above)
        clipped, loss = bounded > plain, torch.maximum(plain, bounded)
        if config.clip == "dual":
            most = -advantages * config.dual_max
            dual = (advantages < 0) & (most < loss)
            loss = torch.where(dual, most, loss)
    metrics = {"clip_frac": clipped, "dual_frac": dual, "kl_old": old_log_probs - log_probs}
    return loss, {name: value.detach().float() for name, value in metrics.items()}


def importance_weights(
    trainer: Tensor, sampler: Tensor, row: Tensor, kind: str, maximum: float
) -> tuple[Tensor, Tensor]:
    """(w[K], clipped[K]): w corrects for tokens that were drawn by the sampler, not by the trainer's old policy.

    trainer[K] and sampler[K]: log-probabilities of the same tokens; w = exp(trainer - sampler) of the token, or of the
    sum over its sequence. `truncate` bounds w at `maximum` (veRL's rollout_is, TRL's vllm_importance_sampling), `mask`
    makes w 0 beyond it, none gives 1. No gradient passes.
    Example, maximum 2: differences 0, ln 4 -> token_truncate 1, 2; token_mask 1, 0; sequence_truncate 2, 2.
    """
    if kind == "none":
        return torch.ones_like(sampler), torch.zeros_like(sampler, dtype=torch.bool)
    level, rule = kind.split("_")
    difference = (trainer - sampler).detach()
    if level == "sequence":
        difference = group_sum(difference, row)
    weights = torch.exp(difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    beyond = weights > maximum
    return (weights.clamp(max=maximum) if rule == "truncate" else torch.where(beyond, 0.0, weights)), beyond


def mismatch(trainer: Tensor, sampler: Tensor, weights: Tensor, clipped: Tensor) -> dict[str, float]:
    """How far sampler and trainer are apart on a whole batch of K tokens: the health line of a run.

    d = trainer - sampler: mean and maximum of |d|; kl = mean(exp(d) - 1 - d), the k3 estimate of KL(sampler, trainer);
    effective_frac = (sum w)^2 / (K sum w^2), 1 when all weights are equal (Kish); clipped_frac.
    Example: d = 0, ln 2, w = 1, 2: mean 0.3466, max 0.6931, kl (1 - ln 2) / 2 = 0.1534, effective 9 / 10.
    """
    if not len(sampler):
        return {}
    d = (trainer - sampler).detach().double()
    w = weights.double()
    squares = float((w**2).sum())
    return {
        "mismatch_mean": float(d.abs().mean()),
        "mismatch_max": float(d.abs().max()),
        "kl_sampler": float((torch.expm1(d.clamp(max=MAX_LOG_RATIO)) - d).mean()),
        "effective_frac": float(w.sum()) ** 2 / (len(w) * squares) if squares else 0.0,
        "importance_clipped_frac": float(clipped.double().mean()),
    }


def kl_penalty(log_probs: Tensor, reference: Tensor, estimator: str) -> Tensor:
    """KL(policy, reference) of each token, estimated from the sampled one; with gradient to log_probs.

    d = reference - log_prob: k1 = -d (unbiased, any sign), k2 = d^2 / 2, k3 = exp(d) - 1 - d (unbiased, >= 0).
    Source: Schulman 2020, joschu.net/blog/kl-approx.html; k3 in GRPO, arXiv 2402.03300, Eq. 4.
    On policy, the mean gradient of k2 is that of the true KL, that of k1 is 0, and that of k3 differs from both.
    Example, d = ln 2: k1 -0.693, k2 0.240, k3 0.307.
    """
    d = (reference - log_probs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if estimator == "k1":
        return -d
    if estimator == "k2":
        return d**2 / 2
    if estimator == "k3":
        return torch.expm1(d) - d
    raise ValueError(f"KL estimator {estimator!r} is none of k1, k2, k3")


def _row_mean(values: Tensor, row: Tensor) -> Tensor:
    return group_sum(values, row) / group_sum(torch.ones_like(values), row)
