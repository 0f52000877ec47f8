"""The plan of a run on a card: does it fit, how long is a step, and if it does not fit, the smallest change that would.

Reading order: make_plan, Plan.text, Expected (the plan beside what a run measures), then _smallest_change. What a run
makes of it before anything loads: fits.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from minizero.config import Config, config_from
from minizero.config.fp8 import fp8_settings
from minizero.formatting import duration, shell
from minizero.planner.calibration import Measured, beyond_plan_gib, measured_for, where
from minizero.planner.cards import Card, card_of, find_card, is_part
from minizero.planner.fill import CPU_SHARE, LEAST_SEQUENCES, UNPLANNED_GIB, budget_of, filled
from minizero.planner.members import further_adapters, one_adapter
from minizero.planner.memory import (
    LEARNING,
    STATE,
    cache_value_bytes,
    kv_gib,
    kv_token_bytes,
    longest,
    memory,
    peak,
    releases,
    sampled_weights,
    uses_vllm,
    value_bytes,
)
from minizero.planner.pace import Work, bounds, seconds, step_in_words, work_done, work_of
from minizero.planner.servers import Served, sampled_by, server_of
from minizero.planner.shapes import GIB, Shape, find_shape
from minizero.types import Completion, ConfigError, MiniZeroError

Metrics = dict[str, float]
NIGHT_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class Plan:
    """What a config needs, and whether the machine has it. `config` has a value for every setting that was "auto" or 0;
    `change` holds the settings of the smallest change that would fit. Memory in GiB, times in seconds."""

    config: Config
    shape: Shape
    card: Card | None
    budget: float
    parts: dict[str, float]
    cache: float
    work: Work
    expected: dict[str, float]
    floor: dict[str, float]
    bounds: dict[str, float]
    change: tuple[str, ...] = ()
    measured: Measured | None = None  # what the minutes are calibrated by

    @property
    def device(self) -> str:
        return "cuda" if self.card else "cpu"

    @property
    def total(self) -> float:
        """GiB that exist at once; sampling and learning take turns."""
        return peak(self.parts, self.cache, released=self.released)

    @property
    def released(self) -> bool:
        """Whether the cache's memory is free while the policy learns."""
        return releases(self.config, uses_vllm(self.config, self.device))

    @property
    def fits(self) -> bool:
        if self.total > self.budget + 1e-9:
            return False
        return self.served is not None or self.cache_tokens >= LEAST_SEQUENCES * longest(self.config)

    @property
    def served(self) -> Served | None:
        """Where servers sample: one of their cards, if it is like the trainer's."""
        if self.config.sampler.backend != "server":
            return None
        return server_of(self.config, self.shape, self.budget)

    @property
    def beside_cache(self) -> float:
        """The largest GiB in use at one time without the key-value cache."""
        return peak(self.parts, 0.0, released=self.released)

    @property
    def learning(self) -> float:
        """GiB that the largest micro-batch takes while it is learned from."""
        return sum(self.parts.get(name, 0.0) for name in LEARNING)

    @property
    def state(self) -> float:
        """GiB of adapter, masters, gradient sums and moments."""
        return self.parts[STATE]

    def total_with(self, learning: float, state: float) -> float:
        """`total`, with these GiB in the place of those that were planned."""
        parts = {name: gib for name, gib in self.parts.items() if name not in LEARNING}
        return peak(parts | {LEARNING[0]: learning, STATE: state}, self.cache, released=self.released)

    def _of_card(self) -> str:
        assert self.card
        if self.card.free:
            return f"{self.card.free:.1f} are free"
        return f"it has {self.card.gib:.1f}; a desktop takes 0.5 to 1.5 of them, Windows under WSL2 about 1"

    @property
    def weights(self) -> float:
        """GiB that every decoded token reads."""
        return sampled_weights(self.parts)

    @property
    def cache_tokens(self) -> int:
        size = cache_value_bytes(self.config, self.shape, self.device)
        return int(self.cache * GIB / kv_token_bytes(self.shape, size))

    def text(self) -> str:
        """The plan for a reader: GiB of each part, tokens of a step, minutes, and what to change."""
        where = self.card.name if self.card else "this machine's memory (CPU)"
        if not self.card and not self.config.run.vram_gib:
            where = f"{CPU_SHARE:.0%} of {where}"
        lines = [f"{self.config.model.name} on {where}: {self.budget:.1f} GiB"]
        if self.card and not self.config.run.vram_gib:
            beyond = beyond_plan_gib(self.card)
            more = f" and {beyond:.1f} that first-light found beyond the plan" if beyond else ""
            lines[0] += f" ({self._of_card()}, less {UNPLANNED_GIB:.0f} that stays unplanned{more})"
        lines += [f"  {gib:6.2f} GiB  {name}" for name, gib in self.parts.items()]
        lines += self._of_sampling()
        optim = self.config.optim
        lines.append(
            f"micro-batches of {optim.micro_batch_tokens} tokens, "
            f"{'activations computed again' if optim.gradient_checkpointing else 'no recomputation'}, "
            f"logits of {optim.logits_chunk} positions at a time"
        )
        lines += step_in_words(self.config, self.work, self.expected, self.floor, self.bounds)
        if (one := one_adapter(self.config)) is not self.config:
            lines.append(further_adapters(self.config, _plan(one, self.shape, self.card), self))
        lines += self._of_the_run() if self.fits else []
        if not self.has_its_type:
            lines.append(f"! {without_bfloat16(self)}")
        if problem := without_fp8(self.config, self.card):
            lines.append(f"! {problem}")
        lines.append(self._where_from())
        if not self.fits:
            lines.append("does not fit." + ("" if self.change else " No change that minizero knows would make it fit."))
            if self.change:
                lines.append(f"It would with:  {self.change_given}")
        return "\n".join(lines)

    def _of_sampling(self) -> list[str]:
        """GiB of the key-value cache and in all, and where sampling goes on."""
        in_all = f"  {self.total:6.2f} GiB  in all at once; {self._left()}"
        if self.served:
            return [in_all, self.served.words(self.config)]
        rows = self.cache_tokens // max(1, longest(self.config))
        words = f"{self.cache_tokens:,} tokens, {rows} of the longest sequences ({longest(self.config)} tokens)"
        released = "; the cache is given back while the policy learns" if self.released else ""
        return [
            f"  {self.cache:6.2f} GiB  key-value cache: {words}",
            in_all,
            f"(sampling and learning take turns{released})",
        ]

    def _where_from(self) -> str:
        """How far the numbers can be trusted."""
        if self.measured is None:
            return "These numbers are formulas; no run on a card has confirmed them yet."
        kept = {"bandwidth": "decoding's bandwidth", "decode": "decoding's operations", "train": "training's"}
        assumed = [words for name, words in kept.items() if not getattr(self.measured, name)]
        still = f" {', '.join(assumed)}: not measured, so assumed." if assumed else ""
        return f"{self.measured.words(where())}{still} GiB are formulas."

    @property
    def change_given(self) -> str:
        """`change` as arguments of the command line."""
        return " ".join(shell("--set", setting) for setting in self.change)

    @property
    def has_its_type(self) -> bool:
        """Whether the card computes the type of the weights: bfloat16 is emulated on the RTX 20 series."""
        return not self.card or self.card.has_bfloat16 or self.config.model.dtype in ("float16", "float32")

    def _left(self) -> str:
        """What the rest of the memory is for, in words."""
        left = self.budget - self.total
        if left < -1e-9:
            return f"{-left:.2f} GiB more than there are"
        if left < 0.01 and not self.config.sampler.kv_gib:
            return "the cache takes what the other parts leave"
        return f"{left:.2f} GiB stay free"

    @property
    def minutes(self) -> float:
        """Of a step; 0 where nothing is known of the speed."""
        return sum(self.expected.values()) / 60

    def _of_the_run(self) -> list[str]:
        """The whole run: hours, and what they buy."""
        play, work = self.config.selfplay, self.work
        proposals = play.steps * play.proposals * len(play.task_types)
        answers, learned = play.steps * work.sequences - proposals, play.steps * work.trained_sequences
        step_s = sum(self.expected.values())
        how_long = f" in about {duration(play.steps * step_s)}, validations not counted" if step_s else ""
        lines = [
            f"the run: {play.steps:,} steps{how_long}. They buy "
            f"{play.steps * self.config.optim.updates_per_step:,} updates: the model proposes {proposals:,} tasks, "
            f"writes {answers:,} answers, and learns from at most {learned:,} of these texts."
        ]
        night = int(NIGHT_S / step_s) if step_s else 0
        if 0 < night < play.steps:
            lines.append(f"8 hours reach step {night:,}:  --set selfplay.steps={night}  ends the run there.")
        if not step_s:
            part = ""
            if self.card and is_part(self.card.name):
                part = "This is a part of a card (MIG), whose speed no data sheet tells. "
            lines.append(
                f"{part}How long that takes is not planned here: the bar of a run says so after the first step, and "
                "make first-light  measures what the plan then counts with."
            )
        return lines


def make_plan(config: Config, card: str = "") -> Plan:
    """The plan for a named card, for this machine's, or (on a CPU) for its memory."""
    chosen = find_card(card) if card else card_of(config)
    return plan_on(config, chosen)


def plan_on(config: Config, card: Card | None) -> Plan:
    """The plan for this card; None: a CPU."""
    plan = _plan(config, find_shape(config.model.name), card)
    return plan if plan.fits else replace(plan, change=_smallest_change(plan))


def without_fp8(config: Config, card: Card | None) -> str:
    """Why 8-bit floats cannot be had there; "" where they can, or where nobody asks for them."""
    chosen = fp8_settings(config)
    if not chosen or (card and card.has_fp8):
        return ""
    where = f"{card.name} does not multiply them" if card else "there is no card, and vLLM has them on cards only"
    return (
        f"{' and '.join(chosen)}: 8-bit floats need an RTX of the 40 or 50 series, an L4, H100 or H200 (compute "
        f"capability 8.9); {where}. Leave it out"
    )


def without_bfloat16(plan: Plan) -> str:
    """Why the plan's type of weights is not computed by its card, and what is."""
    name = plan.card.name if plan.card else ""
    return (
        f"model.dtype = {plan.config.model.dtype} is bfloat16, which {name} does not compute (its series has compute "
        "capability 7.5, bfloat16 needs 8). Try --set model.dtype=float16 , whose small gradients may vanish: no run "
        "has confirmed it."
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """The planned memory and time of a step, logged beside what is measured. `plan` is None where nothing is planned:
    on a CPU, on an unknown card, for an unknown model."""

    plan: Plan | None

    def metrics(self, step_s: float, completions: Sequence[Completion], trained: Sequence[Completion]) -> Metrics:
        """Planned GiB and seconds, the least seconds that the card's data sheet allows for the work of this step, and
        their share of the `step_s` seconds that it took."""
        plan = self.plan
        if plan is None or plan.card is None or not plan.expected:
            return {}
        work = work_done(completions, trained)
        planned = {"memory/planned_gib": plan.total, "time/planned_s": sum(plan.expected.values())}
        if not plan.floor:
            return planned
        known: dict[str, Any] = {"kv_gib": plan.cache, "weights_gib": plan.weights, "floor": True}
        floor = sum(seconds(plan.config, plan.shape, plan.card, work, **known).values())
        return planned | {"time/floor_s": floor, "time/floor_frac": floor / step_s if step_s > 0 else 0.0}


def expected_of(config: Config, card: str = "") -> Expected:
    """The plan that a run's steps are compared with; without a plan on a CPU and for unknown models."""
    try:
        plan = make_plan(config, card)
    except MiniZeroError:
        return Expected(None)
    return Expected(plan if plan.expected else None)


def _plan(asked: Config, shape: Shape, card: Card | None) -> Plan:
    device, budget = "cuda" if card else "cpu", budget_of(asked, card)
    config, vllm = filled(asked, shape, device=device, budget=budget), uses_vllm(asked, device)
    parts = memory(config, shape, device=device, vllm=vllm)
    cache = kv_gib(config, shape, device=device, vllm=vllm, budget=budget)
    work = work_of(config)
    in_sheet = card is not None and card.flops > 0
    by_servers = asked.sampler.backend == "server"
    measured = measured_for(config, shape, card, value_bytes=value_bytes(config, shape, device), vllm=vllm)
    sizes: dict[str, Any] = {"kv_gib": cache, "weights_gib": sampled_weights(parts)}
    timed = (cache > 0 or (by_servers and in_sheet)) and (in_sheet or (measured is not None and measured.is_whole))
    expected, floor, limits = Metrics(), Metrics(), Metrics()
    if timed and by_servers and card:
        servers: dict[str, Any] = {"servers": max(1, len(asked.sampler.url)), "budget": budget}
        expected = sampled_by(config, shape, card, work, **servers, measured=measured, floor=False)
        floor = sampled_by(config, shape, card, work, **servers, floor=True)
    elif timed:
        expected = seconds(config, shape, card, work, **sizes, measured=measured, floor=False)
        floor = seconds(config, shape, card, work, **sizes, floor=True) if in_sheet else {}
        limits = bounds(config, shape, card, work, **sizes) if card and in_sheet else {}
    kept = measured if timed else None
    return Plan(config, shape, card, budget, parts, cache, work, expected, floor, limits, measured=kept)


def _smallest_change(plan: Plan) -> tuple[str, ...]:
    """The settings of the smallest change that makes the plan fit; () if none does.

    Candidates in order of their cost: cache given back, recomputation, smaller chunks and micro-batches, fewer rows,
    4 bits, shorter sequences. First each alone, then the first two together, the first three, and so on. Settings that
    were left at "auto" or 0 are at their smallest already."""
    config, play = plan.config, plan.config.selfplay
    steps: list[str] = []
    if plan.card and not plan.released:
        steps.append("sampler.release_kv=true")
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
    for settings in [(step,) for step in steps] + [tuple(steps[:n]) for n in range(2, len(steps) + 1)]:
        try:
            if _plan(_changed(config, settings), plan.shape, plan.card).fits:
                return settings
        except ConfigError:
            continue
    return ()


def _changed(config: Config, settings: tuple[str, ...]) -> Config:
    tree = config.model_dump(mode="json")
    for setting in settings:
        (section, name), value = setting.partition("=")[0].split("."), setting.partition("=")[2]
        tree[section][name] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    return config_from(tree)
