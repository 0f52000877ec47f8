"""What each further adapter on the base costs (adapter.roles): GiB, and seconds of a step."""

from __future__ import annotations

from typing import Any

from minizero.config.adapters import names
from minizero.config.schema import Config
from minizero.planner.cards import Card
from minizero.planner.memory import memory, uses_vllm
from minizero.planner.pace import Work, seconds
from minizero.planner.shapes import Shape


def further_adapters(
    config: Config, shape: Shape, card: Card | None, work: Work, step_s: float, **sizes: Any
) -> list[str]:
    """A line on the adapters beyond the first, in the mean; [] where there is only one. `step_s`: seconds of a planned
    step, 0 where nothing is known of the speed; `sizes`: kv_gib, weights_gib and measured, as in pace.seconds."""
    count = len(names(config.adapter))
    if count == 1:
        return []
    gib, took = further(config, shape, card, work, known=step_s > 0, **sizes)
    line = f"{count} adapters on one base: each beyond the first takes {gib:.2f} GiB"
    return [line + (f" and {took:.1f} s of a step ({100 * took / step_s:.1f} %)" if step_s else "")]


def further(
    config: Config, shape: Shape, card: Card | None, work: Work, *, known: bool, **sizes: Any
) -> tuple[float, float]:
    """(GiB, seconds of a step) of one more adapter. Example: 3B, rank 32 in bfloat16 with vLLM: 1.12 GiB."""
    one = config.model_copy(update={"adapter": config.adapter.model_copy(update={"roles": "shared"})})
    more, device = len(names(config.adapter)) - 1, "cuda" if card else "cpu"
    vllm = uses_vllm(config, device)
    less, all_of_them = (sum(memory(each, shape, device=device, vllm=vllm).values()) for each in (one, config))
    if not known:
        return (all_of_them - less) / more, 0.0
    faster, slower = (sum(seconds(each, shape, card, work, floor=False, **sizes).values()) for each in (one, config))
    return (all_of_them - less) / more, (slower - faster) / more
