"""How surprising each side's answers are to the other: perplexity per token, adapter on and off, completions only.

Reading order: cross_perplexity, perplexity. A trained model whose answers the base finds as likely as its own moved
probability to answers that the base already had (arXiv 2504.13837, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from minizero.types import Completion, Role, Rollout, TaskType


def perplexity(nats: float, tokens: int) -> float:
    """exp of the mean negative log-probability of a token, at least 1.  perplexity(2 ln 2, 2) -> 2."""
    return math.exp(nats / tokens) if tokens else math.nan


def cross_perplexity(policy: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """{answers of side: {under side: perplexity}} for sampled rows that hold `prompt_ids` and `ids`.

    The prompt is context only. Temperature is the policy's (1). Pooled over tokens, as in arXiv 2504.13837.
    """
    found: dict[str, dict[str, float]] = {}
    for side in sorted({row["side"] for row in rows}):
        mine = [row for row in rows if row["side"] == side and row["draw"] == "sampled" and row["ids"]]
        rollouts = [_rollout(row) for row in mine]
        tokens = sum(len(row["ids"]) for row in mine)
        found[side] = {}
        for under in ("base", "trained") if rollouts else ():
            with policy.adapter_off() if under == "base" else nullcontext():
                nats = -sum(float(part.double().sum()) for part in policy.log_probs(rollouts))
            found[side][under] = perplexity(nats, tokens)
    return found


def _rollout(row: Mapping[str, Any]) -> Rollout:
    ids = tuple(row["ids"])
    completion = Completion("", 0, tuple(row["prompt_ids"]), ids, (0.0,) * len(ids), "", "stop")
    return Rollout(Role.SOLVE, TaskType.DEDUCTION, "", completion, 0.0, {})
