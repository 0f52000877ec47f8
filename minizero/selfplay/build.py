"""The parts of a run, made from its config: policy, sampler, buffer, self-play; nothing is trained or written here.

Reading order: Parts, build; then sandbox_settings and check_memory_first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minizero.config import Config
from minizero.learn.ranks import ALONE, Ranks, cores, on_this_machine
from minizero.models.names import check_positions
from minizero.rollout.protocol import Sampler
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.step import SelfPlay
from minizero.selfplay.validation import held_out_keys, held_out_tasks
from minizero.tasks.admission import result_bytes
from minizero.types import Progress, Quiet, Task
from sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from minizero.learn.policy import Policy
    from minizero.planner import Expected
    from minizero.rollout.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of. `config` is the resolved one: nothing in it is left open."""

    config: Config
    policy: Policy
    sampler: Sampler
    box: Sandbox
    buffer: TaskBuffer
    selfplay: SelfPlay
    held_out: list[Task]  # the tasks of validations
    expected: Expected  # what the plan says of a step, to measure it against
    agreement: Agreement  # of sampler and trainer with the model's own forward pass
    ranks: Ranks  # the processes that share each step
    memory: dict[str, float] = field(default_factory=dict)  # memory/ metrics of the check of the largest micro-batch


def build(config: Config, box: Sandbox, *, progress: Progress | None = None, ranks: Ranks = ALONE) -> Parts:
    """Load the model and put the parts together, on each of the `ranks`. The caller closes the sampler.

    Raises ConfigError, ModelError, SamplerError, OutOfMemory or MissingPackage when the config cannot be served.
    """
    progress = progress or Quiet()
    progress.phase(f"loading {config.model.name}")
    from minizero.planner.driver import prepare_allocator

    prepare_allocator(config)
    from minizero.learn.policy import Policy
    from minizero.planner import check_fits, expected_of
    from minizero.rollout.agreement import check_agreement
    from minizero.rollout.make import check_sampler, make_sampler

    check_positions(config)
    check_sampler(config)
    check_fits(config)
    held_out = held_out_tasks(config)
    policy = Policy(config, tick=lambda: progress.tick(0), ranks=ranks)
    config = policy.config
    progress.phase("starting the sampler")
    sampler = make_sampler(config, policy)
    try:
        memory = check_memory_first(policy, sampler, progress.phase, progress.say)
        buffer = TaskBuffer.of(config)
        progress.phase("comparing sampler and trainer with the model")
        agreement = check_agreement(policy, sampler)
        selfplay = SelfPlay(
            config,
            policy=policy,
            sampler=sampler,
            box=box,
            buffer=buffer,
            style=config.prompt.style_or(policy.style),
            held_out=held_out_keys(config),
            progress=progress,
            ranks=ranks,
        )
    except BaseException:
        sampler.close()
        raise
    expected = expected_of(config)
    return Parts(config, policy, sampler, box, buffer, selfplay, held_out, expected, agreement, ranks, memory)


def sandbox_settings(config: Config) -> dict[str, Any]:
    """Keyword arguments of Sandbox."""
    limits = Limits(
        cpu_s=config.sandbox.cpu_s,
        wall_s=config.sandbox.wall_s,
        memory_mib=config.sandbox.memory_mib,
        result_bytes=result_bytes(config.admission),
    )
    from minizero.planner.driver import expects_card

    # On a card one core is the engine's: it launches every decoded token's kernels.
    workers = config.sandbox.workers or max(1, cores(on_this_machine()) - expects_card(config))
    return {
        "workers": workers, "limits": limits, "unsafe": config.sandbox.unsafe, "packages": config.sandbox.packages,
    }  # fmt: skip


def check_memory_first(
    policy: Policy, sampler: Sampler, phase: Callable[[str], None], say: Callable[[str], None]
) -> dict[str, float]:
    """Try the largest micro-batch before the first step, where optim.check_memory says so; its memory/ metrics."""
    wanted = policy.config.optim.check_memory
    if not (policy.device != "cpu" if wanted == "auto" else wanted):
        return {}
    from minizero.learn.memory_check import check_memory

    phase("trying the largest micro-batch")
    sampler.release()
    took = check_memory(policy, getattr(sampler, "released", 0))
    sampler.resume()
    peak = f", {took.peak_gib:.1f} GiB at most" if took.peak_gib else ""
    say(f"the largest micro-batch, {took.tokens} tokens, took {took.seconds:.1f} s{peak}")
    return {"memory/checked_gib": took.peak_gib} if took.peak_gib else {}
