"""How far the policy is from its base model: which rollouts of a step are measured, so that it costs little.

Reading order: to_measure. Policy.kl_base reads them twice, once with the base, and estimates the KL on their tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from minizero.types import Rollout

AUTO_TOKENS = 2048
AUTO_SHARE = 20  # of a step's tokens auto reads at most a twentieth: two forward passes beside a whole update


def to_measure(rollouts: Sequence[Rollout], tokens: int | Literal["auto"]) -> list[int]:
    """Places of some rollouts, drawn without regard to what they hold: prompts and completions together have at most
    `tokens` tokens (but one rollout is always taken); auto: 2,048, and at most a twentieth of all.

    The draw depends on the number of rollouts alone, so a resumed run measures what an uninterrupted one does.
    Example: four rollouts of 300 tokens each, tokens = 700: two of them.
    """
    lengths = [len(r.completion.prompt_ids) + len(r.completion.ids) for r in rollouts]
    limit = min(AUTO_TOKENS, sum(lengths) // AUTO_SHARE) if tokens == "auto" else tokens
    if not limit:
        return []
    order = list(range(len(rollouts)))
    random.Random(len(order)).shuffle(order)
    chosen: list[int] = []
    read = 0
    for place in order:
        read += lengths[place]
        if chosen and read > limit:
            break
        chosen.append(place)
    return chosen
