"""What a run is refused for before anything loads: memory, the card's driver and its types, a card that is not there.

Reading order: check_fits, then what its sentences advise.
"""

from __future__ import annotations

from minizero.config import Config
from minizero.config.named import known_models, resolve
from minizero.planner.cards import card_of
from minizero.planner.driver import check_driver, check_has_card
from minizero.planner.fill import LEAST_SEQUENCES
from minizero.planner.memory import uses_vllm
from minizero.planner.plan import Plan, plan_on, without_bfloat16, without_fp8
from minizero.types import ConfigError, ModelError


def check_fits(config: Config) -> None:
    """Raise ConfigError, before anything loads, for what this machine cannot hold: on a card what the plan says, on a
    CPU weights that are larger than its memory. A model whose sizes are unknown passes."""
    check_driver(config)
    card = card_of(config)
    if problem := without_fp8(config, card):
        raise ConfigError(problem)
    if card is None:
        check_has_card(config)
    try:
        plan = plan_on(config, card)
    except ModelError:
        return
    if not plan.has_its_type and uses_vllm(plan.config, plan.device):
        raise ConfigError(f"{without_bfloat16(plan)} vLLM refuses it there.")
    free = plan.card.free if plan.card else 0.0
    if free and config.run.vram_gib > free:
        raise ConfigError(
            f"run.vram_gib = {config.run.vram_gib:g}, but {free:.1f} GiB of {plan.card.name if plan.card else ''} are "
            "free: other programs, or a desktop, hold the rest. Close them, or leave run.vram_gib out, which plans for "
            "what is free"
        )
    if plan.card and not plan.fits:
        raise ConfigError(
            f"{config.model.name} does not fit into {plan.budget:.1f} GiB on {plan.card.name}: {plan.beside_cache:.1f} "
            f"GiB without the key-value cache, of which {LEAST_SEQUENCES} of the longest sequences must find room. "
            f"{_would_fit(plan)}{_overruled(plan, free)}"
        )
    if not plan.card and plan.weights > plan.budget:
        raise ConfigError(
            f"{config.model.name} has {plan.weights:.1f} GiB of weights, and {plan.budget:.1f} GiB of memory are to "
            "be used. Take a smaller model, or --set model.dtype=bfloat16"
        )


def _would_fit(plan: Plan) -> str:
    """The smallest change that would fit, else the largest model with a config that would, and with which change."""
    if plan.change:
        return f"It would with  {plan.change_given}"
    smaller = [plan_on(resolve(name, (), ()), plan.card) for name in known_models()]
    smaller = [one for one in smaller if (one.fits or one.change) and one.shape.parameters < plan.shape.parameters]
    if not smaller:
        return "No model with a config would."
    largest = max(smaller, key=lambda one: one.shape.parameters)
    return f"{largest.config.model.name} would" + (f" with  {largest.change_given}" if largest.change else ".")


def _overruled(plan: Plan, free: float) -> str:
    """How to try all the same, where the card has the memory that a more generous plan would need."""
    if plan.budget < plan.beside_cache < free:
        return f"\nThe formulas are estimates:  --set run.vram_gib={free:.1f}  plans with all that is free."
    return ""
