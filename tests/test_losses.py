"""The loss per token, its weights and corrections: the official PPO loss, and numbers worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from minizero.config.learning import LossConfig
from minizero.learn.losses import aggregation_weights, importance_weights, kl_penalty, mismatch, token_loss
from minizero.learn.sums import group_sum
from tests.azr_vectors import azr_records

LN2 = math.log(2)


def official(record: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(log_probs [K] with gradient, old [K], advantages [K], row [K], mask [B, T]) of a recorded call."""
    given = record["input"]
    mask = torch.tensor(given["response_mask"]).bool()
    new, old, advantage = (torch.tensor(given[name])[mask] for name in ("log_prob", "old_log_prob", "advantages"))
    return new.requires_grad_(), old, advantage, mask.nonzero()[:, 0], mask


MODES = {"token-mean": "token_mean", "seq-mean-token-mean": "sequence_mean"}
PPO = LossConfig(clip="ppo")


def test_dual_clip_equals_the_newest_official_branch_in_value_gradient_and_metrics() -> None:
    checked = 0
    for record in azr_records("ppo_loss.json"):
        if "config" not in record["input"]:
            continue
        new, old, advantage, row, mask = official(record)
        weights = aggregation_weights(
            mask.sum(1), torch.zeros(len(mask)), MODES[record["input"]["config"]["loss_agg_mode"]]
        )
        loss, metrics = token_loss(new, old, advantage, row, LossConfig(clip="dual"))
        total = (weights[row] * loss).sum()
        total.backward()
        expected = record["output"]
        assert float(total.detach()) == pytest.approx(expected["pg_loss"], abs=1e-6), record["label"]
        assert new.grad is not None
        assert torch.allclose(new.grad, torch.tensor(expected["grad_log_prob"])[mask], atol=1e-6), record["label"]
        means = {name: float(values.mean()) for name, values in metrics.items()}
        assert means["clip_frac"] == pytest.approx(expected["pg_clipfrac"], abs=1e-6)
        assert means["dual_frac"] == pytest.approx(expected["pg_clipfrac_lower"], abs=1e-6)
        assert means["kl_old"] == pytest.approx(expected["ppo_kl"], abs=1e-6)
        checked += 1
    assert checked == 10


def test_ppo_clip_equals_the_paper_branch() -> None:
    for record in azr_records("ppo_loss.json"):
        if "config" not in record["input"]:
            continue
        new, old, advantage, row, mask = official(record)
        weights = aggregation_weights(mask.sum(1), torch.zeros(len(mask)), "token_mean")
        loss, metrics = token_loss(new, old, advantage, row, PPO)
        expected = record["output"]["paper_branch(clip 0.2 symmetric, no dual clip)"]
        assert (weights[row] * loss).sum().item() == pytest.approx(expected["pg_loss"], abs=1e-6), record["label"]
        assert float(metrics["clip_frac"].mean()) == pytest.approx(expected["pg_clipfrac"], abs=1e-6)


def test_group_token_mean_is_the_official_accumulation_over_homogeneous_micro_batches() -> None:
    (record,) = (r for r in azr_records("ppo_loss.json") if r["label"].startswith("micro_batch_accumulation"))
    new, old, advantage, row, mask = official(record)
    micro = torch.arange(len(mask)) // record["input"]["micro_batch_size"]
    loss, _ = token_loss(new, old, advantage, row, LossConfig(clip="dual"))
    by_group = aggregation_weights(mask.sum(1), micro, "group_token_mean")
    assert (by_group[row] * loss).sum().item() == pytest.approx(record["output"]["accumulated_loss"], abs=1e-6)
    by_token = aggregation_weights(mask.sum(1), micro, "token_mean")
    assert (by_token[row] * loss).sum().item() == pytest.approx(record["output"]["single_batch_token_mean"], abs=1e-6)


def one(ratio: float, advantage: float, **config: Any) -> tuple[float, float]:
    """(loss, d loss / d log_prob) of a single token."""
    new = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    old, a, row = (
        torch.zeros(1, dtype=torch.float64),
        torch.tensor([advantage], dtype=torch.float64),
        torch.zeros(1).long(),
    )
    loss, _ = token_loss(new, old, a, row, LossConfig(**config))
    loss.sum().backward()
    assert new.grad is not None
    return float(loss.detach()[0]), float(new.grad[0])


@pytest.mark.parametrize(
    ("clip", "ratio", "advantage", "loss", "slope"),
    [
        ("none", 1.5, 2.0, -3.0, -3.0),  # -r A; slope the same, as d r / d log r = r
        ("ppo", 1.1, 1.0, -1.1, -1.1),
        ("ppo", 1.25, 1.0, -1.2, 0.0),
        ("ppo", 0.7, -1.0, 0.8, 0.0),
        ("ppo", 0.7, 1.0, -0.7, -0.7),  # a good token that became rarer is always pulled back
        ("ppo", 5.0, -1.0, 5.0, 5.0),
        ("clip_higher", 1.25, 1.0, -1.25, -1.25),
        ("clip_higher", 1.3, 1.0, -1.28, 0.0),
        ("clip_higher", 5.0, -1.0, 5.0, 5.0),
        ("dual", 5.0, -1.0, 3.0, 0.0),
        ("dual", 2.0, -1.0, 2.0, 2.0),
        ("cispo", 2.0, 1.0, -2.0 * LN2, -2.0),  # min(2, 5) x 1 x -log_prob: the weight is detached
        ("cispo", 10.0, 1.0, -5.0 * math.log(10), -5.0),
    ],
)
def test_clip_rules_by_hand(clip: str, ratio: float, advantage: float, loss: float, slope: float) -> None:
    assert one(ratio, advantage, clip=clip) == pytest.approx((loss, slope))


def test_the_sequence_ratio_is_the_geometric_mean_and_spreads_its_gradient() -> None:
    # log-ratios ln 2 and ln 8 in row 0: mean ln 4, ratio 4; row 1: ratio 1
    new = torch.tensor([LN2, 3 * LN2, 0.0], dtype=torch.float64, requires_grad=True)
    loss, _ = token_loss(
        new,
        torch.zeros(3).double(),
        torch.ones(3).double(),
        torch.tensor([0, 0, 1]),
        LossConfig(clip="none", ratio="sequence"),
    )
    assert loss.tolist() == pytest.approx([-4, -4, -1])
    loss.sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([-4, -4, -1])  # two tokens x 4 x 1/2 each


def test_a_wild_log_ratio_stays_finite() -> None:
    assert one(math.exp(500), -1.0, clip="none") == pytest.approx((math.exp(20), 0.0))


def test_a_positive_advantage_raises_the_log_probability() -> None:
    for clip in ("none", "ppo", "clip_higher", "dual", "cispo"):
        assert one(1.0, 1.0, clip=clip)[1] == pytest.approx(-1.0)  # descending the loss raises log_prob
        assert one(1.0, -1.0, clip=clip)[1] == pytest.approx(1.0)


# Lengths 1, 3, 4 in groups 0, 0, 1.
@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("group_token_mean", [1 / 8, 1 / 8, 1 / 8]),  # two groups of four tokens
        ("token_mean", [1 / 8, 1 / 8, 1 / 8]),
        ("sequence_mean", [1 / 3, 1 / 9, 1 / 12]),
        ("constant", [1 / 30, 1 / 30, 1 / 30]),  # three sequences x 10 tokens
    ],
)
def test_aggregation_by_hand(aggregation: str, expected: list[float]) -> None:
    weights = aggregation_weights(torch.tensor([1, 3, 4]), torch.tensor([0, 0, 1]), aggregation, 10)
    assert weights.tolist() == pytest.approx(expected)


def test_group_token_mean_gives_each_group_the_same_weight() -> None:
    lengths, groups = torch.tensor([1, 1, 98]), torch.tensor([7, 7, 3])
    weights = aggregation_weights(lengths, groups, "group_token_mean")
    assert (weights * lengths).tolist() == pytest.approx([0.25, 0.25, 0.5])


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=12).filter(
        lambda r: any(n for n, _ in r)
    ),
    st.sampled_from(["group_token_mean", "token_mean", "sequence_mean"]),
)
def test_weights_of_all_tokens_sum_to_one(rows: list[tuple[int, int]], aggregation: str) -> None:
    lengths, groups = (torch.tensor(column) for column in zip(*rows, strict=True))
    weights = aggregation_weights(lengths, groups, aggregation)
    assert float((weights.double() * lengths).sum()) == pytest.approx(1, abs=1e-5)
    assert (weights[lengths == 0] == 0).all()


# Differences trainer - sampler: 0, ln 4 in row 0; -ln 2 in row 1. Sums: ln 4, -ln 2. Bound 2.
@pytest.mark.parametrize(
    ("kind", "weights", "clipped"),
    [
        ("none", [1, 1, 1], [False, False, False]),
        ("token_truncate", [1, 2, 0.5], [False, True, False]),
        ("token_mask", [1, 0, 0.5], [False, True, False]),
        ("sequence_truncate", [2, 2, 0.5], [True, True, False]),
        ("sequence_mask", [0, 0, 0.5], [True, True, False]),
    ],
)
def test_importance_weights_by_hand(kind: str, weights: list[float], clipped: list[bool]) -> None:
    trainer, sampler = torch.tensor([-1.0, -1.0, -1.0 - LN2]), torch.tensor([-1.0, -1.0 - 2 * LN2, -1.0])
    got, beyond = importance_weights(trainer, sampler, torch.tensor([0, 0, 1]), kind, 2.0 if kind != "none" else 0)
    assert got.tolist() == pytest.approx(weights)
    assert beyond.tolist() == clipped


def test_importance_weights_pass_no_gradient() -> None:
    trainer = torch.zeros(2, requires_grad=True)
    assert not importance_weights(trainer, torch.ones(2), torch.zeros(2).long(), "token_truncate", 2.0)[0].requires_grad


def test_a_group_s_sum_is_given_back_to_each_of_its_elements() -> None:
    sums = group_sum(torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0, 2, 0, 2]))
    assert sums.tolist() == [5.0, 10.0, 5.0, 10.0]
    assert group_sum(torch.tensor([]), torch.tensor([], dtype=torch.long)).tolist() == []


def test_mismatch_by_hand() -> None:
    trainer, sampler = torch.tensor([0.0, LN2]), torch.zeros(2)
    metrics = mismatch(trainer, sampler, torch.tensor([1.0, 2.0]), torch.tensor([False, True]))
    assert metrics == pytest.approx(
        {
            "mismatch_mean": LN2 / 2,
            "mismatch_max": LN2,
            "kl_sampler": (2 - 1 - LN2) / 2,
            "effective_frac": 9 / 10,  # (1 + 2)^2 / (2 x (1 + 4))
            "importance_clipped_frac": 0.5,
        },
        abs=1e-6,
    )
    assert mismatch(torch.zeros(0), torch.zeros(0), torch.zeros(0), torch.zeros(0)) == {}


@pytest.mark.parametrize(("estimator", "value"), [("k1", -LN2), ("k2", LN2**2 / 2), ("k3", 1 - LN2)])
def test_kl_estimators_by_hand(estimator: str, value: float) -> None:
    assert float(kl_penalty(torch.tensor(-1.0), torch.tensor(-1.0 + LN2), estimator)) == pytest.approx(value)


def test_k1_and_k3_are_unbiased_and_k2_has_the_gradient_of_the_true_kl() -> None:
    logits = torch.tensor([0.3, -1.0, 0.7, 0.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-0.2, 0.4, 0.1, 0.6], dtype=torch.float64).log_softmax(0)
    log_p = logits.log_softmax(0)
    kl = (log_p.exp() * (log_p - reference)).sum()
    p = log_p.detach().exp()  # every token with its probability: the exact mean over samples
    for name in ("k1", "k3"):
        assert float((p * kl_penalty(log_p, reference, name)).sum().detach()) == pytest.approx(float(kl.detach()))
    (true,) = torch.autograd.grad(kl, logits, retain_graph=True)
    (k2,) = torch.autograd.grad((p * kl_penalty(log_p, reference, "k2")).sum(), logits, retain_graph=True)
    (k1,) = torch.autograd.grad((p * kl_penalty(log_p, reference, "k1")).sum(), logits)
    assert torch.allclose(k2, true)
    assert torch.allclose(k1, torch.zeros_like(k1))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_k3_is_never_negative(values: list[float]) -> None:
    d = torch.tensor(values, dtype=torch.float64)
    assert (kl_penalty(torch.zeros_like(d), d, "k3") >= 0).all()


def test_a_correction_beside_the_bypass_is_refused() -> None:
    with pytest.raises(ValidationError, match="twice"):
        LossConfig(old_policy="sampler")
    assert LossConfig(old_policy="sampler", correction="none").old_policy == "sampler"
