"""Estimators and losses beside verl's own (verl.trainer.ppo.core_algos), the public package that AZR is built on.

Skipped where verl is not installed: it brings Ray and much else, so it is no test dependency. To run it:
    pip install verl && pytest tests/test_reference.py          (last run with verl 0.9.1)
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from minizero.config.learning import Estimator, LossConfig
from minizero.learn.advantages import advantages
from minizero.learn.losses import aggregation_weights, kl_penalty, token_loss

# Its imports warn of this and that; what is compared is plain tensor code.
pytestmark = pytest.mark.filterwarnings("ignore")
LENGTHS = torch.tensor([3, 7, 1, 5, 4, 6, 2, 5])
PROMPTS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
MASK = (torch.arange(int(LENGTHS.max())) < LENGTHS[:, None]).double()
ROW = MASK.nonzero()[:, 0]


@pytest.fixture(scope="module")
def verl() -> Any:
    reason = "verl is not installed; pip install verl makes this run"
    return pytest.importorskip("verl.trainer.ppo.core_algos", reason=reason, exc_type=ImportError)


def rewards(seed: int) -> Tensor:
    return torch.rand(len(LENGTHS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def ours(preset: str, given: Tensor, lengths: Tensor = LENGTHS, baseline: Tensor | None = None) -> list[float]:
    same = torch.zeros(len(given), dtype=torch.long)
    groups = {"role": same, "task_type": same, "prompt": PROMPTS}
    return advantages(given, lengths, groups, Estimator.model_validate(preset), baseline).tolist()


def theirs(function: Any, given: Tensor, mask: Tensor = MASK, **options: Any) -> list[float]:
    """verl puts the reward on the last token and gives every token its advantage: that of the first is taken."""
    at_the_end = torch.zeros_like(mask)
    at_the_end[torch.arange(len(mask)), mask.sum(1).long() - 1] = given
    found = function(token_level_rewards=at_the_end, response_mask=mask, **options)[0]
    assert torch.allclose(found, found[:, :1] * mask)
    return found[:, 0].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_grpo_drgrpo_and_rloo(verl: Any, seed: int) -> None:
    given, index = rewards(seed), PROMPTS.numpy()
    # It divides by the deviation + 1e-6, we by sqrt(variance + 1e-8): 1e-4 apart at most where the deviation is 0.1
    assert ours("grpo", given) == pytest.approx(
        theirs(verl.compute_grpo_outcome_advantage, given, index=index), rel=1e-4, abs=1e-5
    )
    plain = theirs(verl.compute_grpo_outcome_advantage, given, index=index, norm_adv_by_std_in_grpo=False)
    assert ours("drgrpo", given) == pytest.approx(plain)
    assert ours("rloo", given) == pytest.approx(theirs(verl.compute_rloo_outcome_advantage, given, index=index))


@pytest.mark.parametrize("seed", range(5))
def test_reinforcepp_and_its_form_with_a_baseline(verl: Any, seed: int) -> None:
    given = rewards(seed)
    config = SimpleNamespace(gamma=1.0)
    function = verl.compute_reinforce_plus_plus_outcome_advantage
    assert ours("reinforce++", given) == pytest.approx(theirs(function, given, config=config), abs=1e-6)
    assert ours("trrpp", given) == pytest.approx(theirs(function, given, config=config), abs=1e-6)
    # Ours counts completions here and verl tokens: with one token each they are the same.
    single = torch.ones(len(given), 1, dtype=torch.float64)
    found = theirs(verl.compute_reinforce_plus_plus_baseline_outcome_advantage, given, single, index=PROMPTS.numpy())
    assert ours("reinforce++-baseline", given, torch.ones(len(given))) == pytest.approx(found, abs=1e-6)


def test_remax(verl: Any) -> None:
    given, greedy = rewards(1), rewards(2)
    found = theirs(verl.compute_remax_outcome_advantage, given, reward_baselines=greedy)
    assert ours("remax", given, baseline=greedy) == pytest.approx(found)


# preset of ours, verl's loss, and the bounds that make them the same rule
LOSSES = {
    "dual": ({"clip": "dual"}, "vanilla", (0.2, 0.28, 3.0)),
    "clip_higher": ({"clip": "clip_higher"}, "vanilla", (0.2, 0.28, 1e9)),
    "ppo": ({"clip": "ppo"}, "vanilla", (0.2, 0.2, 1e9)),
    "gspo": (
        {"clip": "clip_higher", "ratio": "sequence", "clip_low": 3e-2, "clip_high": 4e-2}, "gspo", (3e-2, 4e-2, 3.0),
    ),
    "cispo": ({"clip": "cispo", "cispo_max": 1.5}, "cispo", (1.0, 0.5, 3.0)),  # ours has no lower bound, and 1 - 1 = 0
}  # fmt: skip
AGGREGATIONS = {
    "token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm",
}  # fmt: skip


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_losses_with_their_gradients(verl: Any, name: str, aggregation: str, seed: int) -> None:
    from verl.workers.config import ActorConfig

    settings, loss_name, (low, high, dual) = LOSSES[name]
    generator = torch.Generator().manual_seed(seed)
    old = torch.randn(MASK.shape, generator=generator, dtype=torch.float64) - 2
    new = (old + torch.randn(MASK.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    given = rewards(seed)
    mine = new.detach()[MASK.bool()].requires_grad_()
    per_token, metrics = token_loss(mine, old[MASK.bool()], given[ROW], ROW, LossConfig(**settings))
    weights = aggregation_weights(LENGTHS, torch.zeros(len(LENGTHS)), aggregation, 64).double()
    total = (weights[ROW] * per_token).sum()
    total.backward()

    config = ActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio=low, clip_ratio_low=low,
        clip_ratio_high=high, clip_ratio_c=dual, global_batch_info={"loss_scale_factor": 64},
    )  # fmt: skip
    loss, told = verl.get_policy_loss_fn(loss_name)(
        old, new, given[:, None] * MASK, MASK, loss_agg_mode=AGGREGATIONS[aggregation], config=config
    )
    loss.backward()
    assert float(total.detach()) == pytest.approx(float(loss.detach()), abs=1e-7)
    assert new.grad is not None
    assert mine.grad is not None
    assert torch.allclose(mine.grad, new.grad[MASK.bool()], atol=1e-7)
    assert float(metrics["clip_frac"].mean()) == pytest.approx(told["actor/pg_clipfrac"], abs=1e-6)
    assert float(metrics["clip_frac"].mean()) > 0  # the bounds were met, so the rule was seen


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_kl_estimates(verl: Any, kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    new, reference = (torch.randn(64, generator=generator, dtype=torch.float64) for _ in range(2))
    mine = kl_penalty(new, reference, kind)
    # verl cuts k3 off at 10; we only bound the difference of the logarithms, as it does too
    assert torch.allclose(mine.clamp(max=10) if kind == "k3" else mine, verl.kl_penalty(new, reference, kind))
