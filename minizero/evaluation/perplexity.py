"""How surprising each side's answers are to the other: perplexity per token, adapter on and off, completions only.

Reading order: cross_perplexity, perplexity. A trained model whose answers the base finds as likely as its own moved
probability to answers that the base already had (arXiv 2504.13837, section 4.1).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from minizero.types import Completion, Role, Rollout, TaskType

AT_ONCE = 16  # answers between two reports of progress


def perplexity(nats: float, tokens: int) -> float:
    """exp of the mean negative log-probability of a token, at least 1.  perplexity(2 ln 2, 2) -> 2."""
    return math.exp(nats / tokens) if tokens else math.nan


def cross_perplexity(
    policy: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    tick: Callable[[int, int, float], None] = lambda done, total, eta_s: None,
) -> dict[str, dict[str, float]]:
    """{answers of side: {under side: perplexity}} for sampled rows that hold `prompt_ids` and `ids`.

    The prompt is context only. Temperature is the policy's (1). Pooled over tokens, as in arXiv 2504.13837. `tick` gets
    (tokens done, tokens in all, seconds left).
    """
    # The longest first, as the policy sorts too: its micro-batches stay as full as with all answers at once.
    sampled = sorted((row for row in rows if row["draw"] == "sampled" and row["ids"]), key=_length, reverse=True)
    perplexities: dict[str, dict[str, float]] = {}
    done, total, started = 0, 2 * sum(map(_length, sampled)), time.monotonic()
    for side in sorted({row["side"] for row in rows}):
        mine = [row for row in sampled if row["side"] == side]
        tokens = sum(len(row["ids"]) for row in mine)
        perplexities[side] = {}
        for under in ("base", "trained") if mine else ():
            nats = 0.0
            with policy.adapter_off() if under == "base" else nullcontext():
                for first in range(0, len(mine), AT_ONCE):
                    some = mine[first : first + AT_ONCE]
                    rollouts = [_rollout(row) for row in some]
                    nats -= sum(float(part.double().sum()) for part in policy.log_probs(rollouts))
                    done += sum(map(_length, some))
                    tick(done, total, (time.monotonic() - started) / done * (total - done))
            perplexities[side][under] = perplexity(nats, tokens)
    return perplexities


def _length(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + len(row["ids"])


def _rollout(row: Mapping[str, Any]) -> Rollout:
    ids = tuple(row["ids"])
    completion = Completion("", 0, tuple(row["prompt_ids"]), ids, (0.0,) * len(ids), "", "stop")
    return Rollout(Role.SOLVE, TaskType.DEDUCTION, "", completion, 0.0, {})
