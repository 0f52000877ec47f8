"""Stages that sample and learn with the model, each in the parts that a run makes: the engine, an update, memory.

Reading order: engine (start, sync, self-test, speed of sampling), update (speed of learning), memory (all of it under a
cap, against the plan).
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from minizero.config import Config
from minizero.config.adapters import names
from minizero.report.first_light.child import Job, Log, Unmet
from minizero.types import ModelError

if TYPE_CHECKING:
    from minizero.learn.policy import Policy
    from minizero.planner import Plan
    from minizero.rollout.protocol import Sampler

CAP_GIB = 24.0  # of a larger card so much is used: the card that most people have
PLANNED_GIB = 22.5  # of those: what the plan of a 24 GiB card spends
PUSHES = 3
SYNC = {"push": "the adapter's way to the sampler", "release": "the cache given back and taken again"}


def _policy(job: Job, log: Log, *more: str) -> tuple[Config, Plan | None, Policy]:
    """The settings, their plan (None for a model whose sizes the planner does not know) and the loaded policy."""
    from minizero.planner.driver import prepare_allocator

    config = job.config(*more)
    prepare_allocator(config)  # before torch is imported
    if job.quick and job.device == "cpu":
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # vLLM's CPU build would compile for longer than all the rest
    from minizero.learn.policy import Policy
    from minizero.planner import check_fits, make_plan
    from minizero.planner.calibration import matmul_parameters
    from minizero.planner.memory import uses_vllm
    from minizero.rollout.make import check_sampler

    log.phase("planning")
    try:
        plan = make_plan(config)
    except ModelError as error:
        log.say(f"{error} So nothing is compared with a plan, and nothing calibrates it.")
        plan = None
    if plan:
        log.facts(calibrates={
            "model": job.name, "parameters": float(matmul_parameters(plan.shape)), "value_bytes": _value_bytes(plan),
            "quantization": config.model.quantization, "trains": config.adapter.kind,
            "sampler": "vllm" if uses_vllm(config, plan.device) else "transformers",
        })  # fmt: skip
    check_sampler(config)
    check_fits(config)
    log.phase(f"loading {job.name}")
    started = time.perf_counter()
    policy = Policy(config)
    log.facts(load_s=_round(time.perf_counter() - started))
    return policy.config, plan, policy


def engine(job: Job, log: Log) -> None:
    """Start the sampler on the policy, compare both with the model, push the adapter, measure how fast it writes."""
    config, plan, policy = _policy(job, log)
    from minizero.rollout.agreement import check_agreement
    from minizero.rollout.make import backend, make_sampler

    kind = backend(config, policy.device)
    log.facts(sampler=kind, precision=str(policy.model.dtype).removeprefix("torch."))
    log.phase(f"starting the sampler ({kind})")
    started = time.perf_counter()
    sampler = make_sampler(config, policy)
    with closing(sampler):
        took = time.perf_counter() - started
        log.facts(start_s=_round(took))
        log.say(f"{job.name}, sampler {kind}: started in {took:.1f} s")
        log.phase("comparing sampler and trainer with the model (self-test)")
        found = check_agreement(policy, sampler)
        name, gap = found.largest
        log.facts(self_test_nats=found.gaps, power_nats=found.power, tolerance_nats=found.tolerance)
        log.say(f"self-test: at most {gap:.2g} nats apart ({name}), {found.allowed(name):.2g} allowed")
        _sync(policy, sampler, log)
        log.phase("measuring how fast it samples")
        _sampling(job, config, plan, sampler, log)
    log.phase("closing")


def _sync(policy: Policy, sampler: Sampler, log: Log) -> None:
    """The way of an adapter into the sampler, as after every step, and the cache given back and taken again."""

    def give_back() -> None:
        sampler.release()
        sampler.resume()

    log.phase("pushing the adapter to the sampler (sync)")
    for name, act in (("push", lambda: sampler.load(policy)), ("release", give_back)):
        times = []
        for _ in range(PUSHES):
            started = time.perf_counter()
            act()
            times.append(time.perf_counter() - started)
        log.facts(**{f"{name}_s": _round(min(times))})
        log.say(f"{SYNC[name]}: {1000 * min(times):.1f} ms")


def _sampling(job: Job, config: Config, plan: Plan | None, sampler: Sampler, log: Log) -> None:
    from minizero.report.first_light.rates import prefill_rate, sample

    play, tokens = config.selfplay, 16 if job.quick else 128
    tokens = min(tokens, play.solve_max_tokens)
    rows = (
        config.sampler.max_rows if plan is None else min(config.sampler.max_rows, plan.cache_tokens // (tokens + 512))
    )
    member = names(config.adapter)[0]
    sample(sampler, 2, 4, "warm-up", member)
    one = sample(sampler, 1, tokens, "one", member)
    many = sample(sampler, max(1, rows), tokens, "many", member)
    log.facts(
        tokens_per_s=_round(many.tokens / many.seconds), rows=_round(many.rows), one_token_s=_round(one.token_s),
        token_s=_round(many.token_s),
    )  # fmt: skip
    log.say(
        f"sampling: {many.tokens / many.seconds:,.0f} tokens a second in {many.rows:.0f} rows, "
        f"{1 / one.token_s:,.0f} in one"
    )
    if plan is None:
        return
    size = _value_bytes(plan)
    found = {"bandwidth": one.bandwidth(plan.shape, size, plan.weights), "decode": many.operations(plan.shape)}
    length = min(256 if job.quick else 1024, play.max_prompt_tokens - 64)
    found["prefill"], count, took = prefill_rate(sampler, plan.shape, length, 2 if job.quick else 16, member)
    log.facts(rates={name: _round(value) for name, value in found.items()})
    log.say(f"prompts: {count / took:,.0f} tokens a second")


def update(job: Job, log: Log) -> None:
    """One whole update of full micro-batches, timed beside the plan."""
    _config, plan, policy = _policy(job, log)
    if plan is None:
        raise Unmet("the planner does not know this model's sizes, so an update cannot be measured in its terms")
    from minizero.planner.pace import TRAIN
    from minizero.report.first_light.rates import update_rate

    log.phase("updating twice, the second time against the clock")
    rate, tokens, took = update_rate(policy, plan.shape, 1 if job.quick else 2)
    log.facts(update_s=_round(took), tokens_per_s=_round(tokens / took), rates={"train": _round(rate)})
    words = f"update: {tokens / took:,.0f} tokens a second, {rate / 1e12:.3g} TFLOPS by the plan's count"
    if plan.card and plan.card.flops:
        words += f", {rate / plan.card.flops:.0%} of the data sheet where {TRAIN:.0%} were assumed"
    log.say(words)


def memory(job: Job, log: Log) -> None:
    """Everything at once as in a run, under the cap: engine, cache, the largest micro-batch; its peak against the
    plan's."""
    log.phase("looking at what is in use before")
    before, own = _device_gib(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more: tuple[str, ...] = ()
    if job.device == "cuda":
        import torch

        total = torch.cuda.get_device_properties().total_memory / 2**30
        if total > CAP_GIB + 1 and not any(text.startswith("run.vram_gib") for text in job.settings):
            more = (f"run.vram_gib={PLANNED_GIB}",)
            log.say(f"capped: {PLANNED_GIB} of {total:.0f} GiB, as a card of {CAP_GIB:.0f} GiB has for a plan")
    _config, plan, policy = _policy(job, log, *more)
    from minizero.learn.memory_check import check_memory
    from minizero.report.first_light.rates import sample
    from minizero.rollout.make import make_sampler

    log.phase("starting the sampler")
    sampler: Any = make_sampler(policy.config, policy)
    with closing(sampler):
        peak = Peak(policy.device, sampler)
        log.phase("sampling")
        rows = policy.config.sampler.max_rows
        sample(sampler, rows, min(64, policy.config.selfplay.solve_max_tokens), "memory")
        peak.note()
        log.phase("trying the largest micro-batch")
        sampler.release()
        took = check_memory(policy, getattr(sampler, "released", 0))
        peak.note()
        sampler.resume()
        log.say(f"the largest micro-batch, {took.tokens:,} tokens, took {took.seconds:.1f} s")
        if policy.device == "cuda":
            _compare_on_card(plan, peak, before, log)
        else:
            _compare_on_cpu(plan, own, log)


class Peak:
    """The most that torch had given out, and had taken of the card, when it was noted; a cache that was given back,
    which torch goes on counting, left out."""

    def __init__(self, device: str, sampler: Any) -> None:
        self._device, self._sampler = device, sampler
        self.allocated = self.reserved = 0.0
        self.note()

    def note(self) -> None:
        if self._device != "cuda":
            return
        import torch

        released = getattr(self._sampler, "released", 0)
        self.allocated = max(self.allocated, (torch.cuda.max_memory_allocated() - released) / 2**30)
        self.reserved = max(self.reserved, (torch.cuda.max_memory_reserved() - released) / 2**30)


def _compare_on_card(plan: Plan | None, peak: Peak, before: float | None, log: Log) -> None:
    import torch

    now, held = _device_gib(), torch.cuda.memory_reserved() / 2**30
    outside = None if now is None or before is None else max(0.0, now - before - held)
    measured = max(peak.reserved, peak.allocated) + (outside or 0.0)
    log.facts(
        allocated_gib=_round(peak.allocated), reserved_gib=_round(peak.reserved), measured_gib=_round(measured),
        outside_torch_gib=None if outside is None else _round(outside),
    )  # fmt: skip
    if outside is None:
        log.say("nvidia-smi is not here, so what CUDA takes outside torch is not counted")
    if plan is None:
        return
    log.facts(
        planned_gib=_round(plan.total), budget_gib=_round(plan.budget),
        parts_gib={name: _round(gib) for name, gib in plan.parts.items()} | {"key-value cache": _round(plan.cache)},
        beyond_gib=_round(max(0.0, measured - plan.total)),
    )  # fmt: skip
    log.say(
        f"memory: {measured:.2f} GiB at the peak, {plan.total:.2f} planned, of {plan.budget:.1f} "
        f"(torch gave out {peak.allocated:.2f})"
    )
    if measured > plan.budget:
        raise Unmet(f"{measured:.2f} GiB at the peak are more than the {plan.budget:.1f} that the plan may spend")


def _compare_on_cpu(plan: Plan | None, before: int, log: Log) -> None:
    """Of a process's memory only the largest is known, with what Python and torch themselves take."""
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    log.facts(grown_gib=_round(grown))
    words = f"the process grew by {grown:.2f} GiB, Python's packages included"
    if plan is None:
        log.say(words)
        return
    log.facts(planned_gib=_round(plan.total), budget_gib=_round(plan.budget))
    log.say(f"{words}; {plan.total:.2f} planned without them")
    if grown > plan.budget:
        raise Unmet(f"the process grew by {grown:.2f} GiB, more than the {plan.budget:.1f} that the plan may spend")


def _device_gib() -> float | None:
    """GiB of the first card that are in use by anyone, as nvidia-smi says, which needs no CUDA here."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits", f"--id={_first_card()}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return float(done.stdout.split()[0]) / 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _first_card() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"


def _value_bytes(plan: Plan) -> int:
    from minizero.planner.memory import value_bytes

    return value_bytes(plan.config, plan.shape, plan.device)


def _round(value: float) -> float:
    """Four digits: more was not measured."""
    return float(f"{value:.4g}")
