"""The plan of a run on a card: does it fit, how long is a step, and if it does not fit, the smallest change that would.

Reading order: make_plan, Plan.text, then _smallest_change.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from minizero.config import Config, config_from
from minizero.planner.memory import kv_gib, kv_token_bytes, longest, memory, value_bytes
from minizero.planner.pace import Work, seconds, work_of
from minizero.planner.shapes import GIB, Card, Shape, find_card, find_shape, this_card
from minizero.types import ConfigError, MiniZeroError

LEAST_SEQUENCES = 4  # of the longest, side by side; with fewer a step takes hours


@dataclass(frozen=True, slots=True)
class Plan:
    """What a config needs, and whether the machine has it. `change` is the smallest one that would fit, as settings."""

    config: Config
    shape: Shape
    card: Card | None
    budget: float
    parts: dict[str, float]
    cache: float
    work: Work
    expected: dict[str, float]
    floor: dict[str, float]
    change: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.parts.values()) + self.cache

    @property
    def fits(self) -> bool:
        return self.total <= self.budget + 1e-9 and self.cache_tokens >= LEAST_SEQUENCES * longest(self.config)

    @property
    def cache_tokens(self) -> int:
        size = value_bytes(self.config, self.shape, "cuda" if self.card else "cpu")
        return int(self.cache * GIB / kv_token_bytes(self.shape, size))

    def text(self) -> str:
        """The plan for a reader: GiB of each part, tokens of a step, minutes, and what to change."""
        where = self.card.name if self.card else "this machine's memory (CPU)"
        lines = [f"{self.config.model.name} on {where}: {self.budget:.1f} GiB"]
        lines += [f"  {gib:6.2f} GiB  {name}" for name, gib in self.parts.items()]
        rows = self.cache_tokens // max(1, longest(self.config))
        words = f"{self.cache_tokens:,} tokens, {rows} of the longest sequences ({longest(self.config)} tokens)"
        lines.append(f"  {self.cache:6.2f} GiB  key-value cache: {words}")
        lines.append(f"  {self.total:6.2f} GiB  in all, {self.budget - self.total:.2f} left")
        work = self.work
        lines.append(
            f"a step: at most {work.generated:,} tokens in {work.sequences:,} completions are generated; "
            f"{work.trained:,} tokens in {work.trained_sequences:,} sequences are trained on"
        )
        if self.expected:
            parts = ", ".join(f"{name} {value / 60:.1f}" for name, value in self.expected.items())
            lines.append(
                f"minutes of a step: {sum(self.expected.values()) / 60:.1f} ({parts}); "
                f"physical floor {sum(self.floor.values()) / 60:.1f}"
            )
        lines.append("These numbers are formulas; no run on a card has confirmed them yet.")
        if not self.fits:
            lines.append("does not fit." + ("" if self.change else " No change that minizero knows would make it fit."))
            if self.change:
                lines.append("It would with:  " + " ".join(f"--set {setting}" for setting in self.change))
        return "\n".join(lines)


def make_plan(config: Config, card: str = "") -> Plan:
    """The plan for a named card, for this machine's, or (on a CPU) for its memory."""
    chosen = find_card(card) if card else (this_card() if config.model.device != "cpu" else None)
    plan = _plan(config, find_shape(config.model.name), chosen)
    if plan.fits:
        return plan
    return Plan(**{name: getattr(plan, name) for name in Plan.__slots__} | {"change": _smallest_change(plan)})


def planned_metrics(config: Config, card: str = "") -> dict[str, float]:
    """What the plan expects of each step, to stand beside what is measured; {} on a CPU and for unknown models."""
    try:
        plan = make_plan(config, card)
    except MiniZeroError:
        return {}
    if not plan.expected:
        return {}
    return {
        "memory/planned_gib": plan.total,
        "time/planned_s": sum(plan.expected.values()),
        "time/floor_s": sum(plan.floor.values()),
    }


def _plan(config: Config, shape: Shape, card: Card | None) -> Plan:
    device = "cuda" if card else "cpu"
    wanted = config.sampler.backend
    vllm = wanted == "vllm" or (wanted == "auto" and card is not None and config.adapter.kind == "lora")
    budget = config.run.vram_gib or (card.gib if card else _memory_gib())
    parts = memory(config, shape, device=device, vllm=vllm)
    cache = kv_gib(config, shape, device=device, vllm=vllm, budget=budget)
    work = work_of(config)
    timed = card is not None and card.flops > 0 and cache > 0
    known: dict[str, Any] = {"kv_gib": cache, "weights_gib": parts["weights, trainer"]}
    expected, floor = (
        seconds(config, shape, card, work, **known, floor=least) if timed and card else {} for least in (False, True)
    )
    return Plan(config, shape, card, budget, parts, cache, work, expected, floor)


def _smallest_change(plan: Plan) -> tuple[str, ...]:
    """From what costs least: recomputation, smaller chunks and micro-batches, rows, 4 bits, shorter sequences. The
    first single change that fits; else the shortest beginning of the list that does."""
    config, play = plan.config, plan.config.selfplay
    steps: list[str] = []
    if not config.optim.gradient_checkpointing:
        steps.append("optim.gradient_checkpointing=true")
    if config.optim.logits_chunk > 256:
        steps.append("optim.logits_chunk=256")
    if config.optim.micro_batch_tokens > longest(config):
        steps.append(f"optim.micro_batch_tokens={longest(config)}")
    if not plan.card and config.sampler.max_rows > 32:
        steps.append("sampler.max_rows=32")
    if config.sampler.kv_gib:
        steps.append("sampler.kv_gib=0")
    if config.model.quantization == "none" and config.adapter.kind == "lora":
        steps.append("model.quantization=nf4")
    steps += [
        f"selfplay.{name}={getattr(play, name) // 2}"
        for name in ("propose_max_tokens", "solve_max_tokens", "max_prompt_tokens")
        if getattr(play, name) > 512
    ]
    for many in [(step,) for step in steps] + [tuple(steps[:n]) for n in range(2, len(steps) + 1)]:
        try:
            if _plan(_changed(config, many), plan.shape, plan.card).fits:
                return many
        except ConfigError:
            continue
    return ()


def _changed(config: Config, settings: tuple[str, ...]) -> Config:
    tree = config.model_dump(mode="json")
    for setting in settings:
        (section, name), value = setting.partition("=")[0].split("."), setting.partition("=")[2]
        tree[section][name] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    return config_from(tree)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
