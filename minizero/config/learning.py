"""How rewards become advantages and which loss they enter: `[advantage]` and `[loss]`; `[reward]` stands in reward.py.

Reading order: the presets, Estimator, AdvantageConfig; LossConfig; then a check that needs another section.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from minizero.config.base import Section
from minizero.config.presets import for_both_roles, from_preset
from minizero.config.reward import ProposeReward, RewardConfig, SolveReward, is_own_function, unusable_terms
from minizero.types import Role

__all__ = [
    "AdvantageConfig",
    "Estimator",
    "LossConfig",
    "ProposeReward",
    "RewardConfig",
    "SolveReward",
    "unusable_terms",
]

Key = Literal["role", "task_type", "prompt", "batch"]

_ESTIMATORS: Mapping[str, Mapping[str, Any]] = {
    "trrpp": {"baseline_by": ("role", "task_type"), "scale_by": ("role", "task_type"), "statistics": "token"},
    "reinforce++": {"baseline_by": ("batch",), "scale_by": ("batch",), "statistics": "token"},
    "reinforce++-baseline": {"baseline_by": ("prompt",), "scale_by": ("batch",), "statistics": "sequence"},
    "grpo": {"baseline_by": ("prompt",), "scale_by": ("prompt",), "statistics": "sequence"},
    "drgrpo": {"baseline_by": ("prompt",), "scale_by": (), "statistics": "sequence"},
    "rloo": {"baseline": "leave_one_out", "baseline_by": ("prompt",), "scale_by": (), "statistics": "sequence"},
    "remax": {"baseline": "greedy", "baseline_by": (), "scale_by": (), "statistics": "sequence"},
    "running": {"baseline": "running", "baseline_by": ("role", "task_type"), "scale_by": (), "statistics": "sequence"},
    "pass@k": {
        "pass_k": 4, "baseline_by": ("prompt",),
        "scale_by": ("prompt",), "scale": "bernoulli", "statistics": "sequence",
    },
    "maxrl": {
        "pass_k": 1, "baseline_by": ("prompt",), "scale_by": ("prompt",), "scale": "mean", "statistics": "sequence",
    },
}  # fmt: skip


def _as_keys(value: Any) -> Any:
    if value == "none":
        return ()
    return (value,) if isinstance(value, str) else value


class Estimator(Section):
    """How the rewards of one role become advantages: `advantage.solve = "grpo"`, or a table that changes a preset."""

    preset: Literal[
        "trrpp", "reinforce++", "reinforce++-baseline", "grpo", "drgrpo", "rloo", "remax", "running", "pass@k", "maxrl"
    ] = "trrpp"
    """The table that unnamed settings come from. trrpp is AZR's own (paper Eq. 8); running is SPIRAL's role-conditioned
    advantage (arXiv 2506.24119); pass@k: arXiv 2508.10751; maxrl: arXiv 2602.02710."""

    baseline: Literal["mean", "leave_one_out", "greedy", "running", "none"] = "mean"
    """What is subtracted: the group's mean, the mean of its others, the greedy completion's reward, the running mean of
    the group in earlier steps, or nothing."""

    decay: float = Field(default=0.95, ge=0, lt=1)
    """baseline = running: what of it stays after each step (SPIRAL: 0.95)."""

    baseline_by: Annotated[tuple[Key, ...], BeforeValidator(_as_keys)] = ("role", "task_type")
    """Groups of the baseline: any of role, task_type, prompt; or batch. TRR++: role and task type."""

    scale_by: Annotated[tuple[Key, ...], BeforeValidator(_as_keys)] = ("role", "task_type")
    """Groups whose standard deviation divides; none (empty) leaves the scale. TRR++: role and task type."""

    scale: Literal["deviation", "bernoulli", "mean"] = "deviation"
    """What divides, in the groups of scale_by: their standard deviation; or of pass_k's rewards with mean m, the
    deviation of k answers' success, sqrt(m (1 - m)), or m itself (MaxRL: rare successes weigh more)."""

    pass_k: int = Field(default=0, ge=0)
    """k >= 1: a reward above 0 is a success, and each answer earns the share of the sets of k answers to its prompt
    that it is in and of which at least one succeeds (arXiv 2508.10751); 0: its own reward (AZR)."""

    statistics: Literal["token", "sequence"] = "token"
    """Mean and deviation over tokens (long completions weigh more; official code) or over sequences."""

    function: str = ""
    """Your own estimator as file.py:function, f(rewards, lengths, groups, baseline); it replaces all of the above."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str) and is_own_function(value):
            value = {"function": value}
        return from_preset(value, _ESTIMATORS, "trrpp")

    @property
    def groups_by_prompt(self) -> bool:
        """Whether a prompt needs at least two samples for this estimator to say anything."""
        by_prompt = "prompt" in self.baseline_by or "prompt" in self.scale_by
        return not self.function and (by_prompt or self.pass_k > 0)

    @field_validator("function")
    @classmethod
    def _function(cls, value: str) -> str:
        if value and not is_own_function(value):
            raise ValueError(f"{value!r} names no function. Write it as file.py:function")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Estimator:
        if self.baseline in ("mean", "leave_one_out", "running") and not self.baseline_by:
            raise ValueError(f'baseline = "{self.baseline}" needs baseline_by. Try baseline_by = "batch"')
        for name in ("baseline_by", "scale_by"):
            keys = getattr(self, name)
            if "batch" in keys and len(keys) > 1:
                raise ValueError(f'{name}: batch means all rollouts together and stands alone. Try {name} = "batch"')
        if self.baseline == "running" and "prompt" in self.baseline_by:
            raise ValueError(
                'baseline = "running" by prompt: a prompt seldom comes again, so its mean would not run. Try '
                'baseline_by = ["role", "task_type"]'
            )
        if self.scale != "deviation" and not self.pass_k:
            raise ValueError(
                f'scale = "{self.scale}" is about the share of successes, and pass_k = 0 leaves rewards as they are, '
                "which may be negative. Try pass_k = 1"
            )
        if self.pass_k and self.statistics == "token":
            raise ValueError(
                f'pass_k = {self.pass_k} counts answers, and statistics = "token" counts tokens. Try statistics = '
                '"sequence"'
            )
        return self


class AdvantageConfig(Section):
    """`advantage = "grpo"` for both roles, or one of its own each in `[advantage.propose]` and `[advantage.solve]`."""

    propose: Estimator = Estimator()
    """Estimator of propose rollouts."""

    solve: Estimator = Estimator()
    """Estimator of solve rollouts. Equal estimators see both roles as one batch."""

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return for_both_roles(value)


class LossConfig(Section):
    """The policy loss as four small choices: ratio level x clip rule x aggregation x importance correction."""

    ratio: Literal["token", "sequence"] = "token"
    """Level of the probability ratio: per token (PPO), or the sequence's geometric mean (GSPO, arXiv 2507.18071)."""

    clip: Literal["ppo", "clip_higher", "dual", "cispo", "none"] = "dual"
    """Clip rule. `dual` with 0.2 / 0.28 / 3 is the official code's newest branch; `ppo` is the paper's."""

    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """The ratio is clipped at 1 - clip_low. Official: 0.2. (`ppo` clips at 1 + clip_low above.)"""

    clip_high: float = Field(default=0.28, gt=0)
    """clip_higher and dual clip at 1 + clip_high. DAPO (arXiv 2503.14476) and the official code: 0.28."""

    dual_max: float = Field(default=3.0, gt=1)
    """dual: with a negative advantage the loss is at most dual_max x |A|. arXiv 1912.09729 and the official code: 3."""

    cispo_max: float = Field(default=5.0, gt=0)
    """cispo: upper bound of the detached ratio. 5 in ScaleRL (arXiv 2510.13786); CISPO is arXiv 2506.13585."""

    aggregation: Literal["group_token_mean", "token_mean", "sequence_mean", "constant"] = "group_token_mean"
    """Weights of tokens. group_token_mean: each (role, task type) weighs the same, as official batching has it."""

    propose_weight: float = Field(default=1.0, ge=0)
    """Factor on the loss of propose rollouts (AZR: 1). Proposals are few and long, so they bring little signal and much
    noise; a small weight lets the proposer drift more slowly than the solver learns."""

    mask_cut: bool = False
    """true: completions that the token limit cut are left out of the loss (overlong filtering in DAPO, arXiv
    2503.14476). Their rewards still count in the baselines. false: they are learned from like any other (AZR)."""

    constant_tokens: int = Field(default=8096, gt=0)
    """constant: a sequence's sum is divided by this (Dr.GRPO, arXiv 2503.20783). AZR's longest response: 8096."""

    old_policy: Literal["trainer", "sampler"] = "trainer"
    """Whose log-probabilities are the old ones. trainer: recomputed, as AZR does; sampler saves that pass."""

    correction: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "none"] = "token_truncate"
    """Importance weight trainer / sampler. token_truncate is stable for long responses (docs/engine-and-memory.md)."""

    correction_max: float = Field(default=2.0, gt=1)
    """Upper bound C of that weight; masks drop what lies above it. veRL's rollout_is_threshold: 2."""

    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the KL to the reference policy (the adapter switched off). AZR: 0."""

    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of that KL (Schulman 2020, joschu.net/blog/kl-approx.html). k3 in GRPO (arXiv 2402.03300, Eq. 4)."""

    entropy_weight: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus. Official newest branch: 0; the paper's table: 0.001."""

    @model_validator(mode="after")
    def _consistent(self) -> LossConfig:
        if self.old_policy == "sampler" and self.correction != "none":
            raise ValueError(
                'old_policy = "sampler" already measures the ratio against the sampler, and a correction would count '
                'it twice. Set loss.correction = "none"'
            )
        return self


def prompt_group_problems(estimator: Estimator, role: Role, samples_per_prompt: int) -> list[str]:
    """What is wrong with grouping by prompt when each prompt has so many samples."""
    needed = max(2, estimator.pass_k)
    if not estimator.groups_by_prompt or samples_per_prompt >= needed:
        return []
    why = "groups by prompt" if estimator.pass_k < 2 else f"asks for sets of {estimator.pass_k} answers (pass_k)"
    return [
        f"advantage.{role} {why}, and selfplay.{role}_samples = {samples_per_prompt}: a group "
        f"needs at least {needed}. Try --set selfplay.{role}_samples={max(4, needed)} or --set advantage.{role}=trrpp"
    ]
