"""The processes of one run: one, or several that each hold the whole model and share a step's work (data parallel).

Reading order: Ranks (what one process is among them, and what they say to each other), ALONE, join (after the launcher,
accelerate or torchrun, has started them), then check_equal.

All hold the same state, draw the same prompts and make the same updates; what is dealt out is the sampling and the
gradients. So whatever every rank computes from gathered results is equal on all of them, and only rank 0 writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from minizero.types import ConfigError, RunError

T = TypeVar("T")


def launched() -> int:
    """How many processes the launcher has started for this run; 1 without one."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def on_this_machine() -> int:
    """How many of them share this machine, its cores and its cards."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if launched() > 1 else 1


def cores(processes: int) -> int:
    """The share of the machine's cores that each of so many processes has, at least one."""
    return max(1, (os.cpu_count() or 1) // processes)


def threads() -> int:
    """CPU threads of this process: what OMP_NUM_THREADS says, or its share of the machine's cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else cores(on_this_machine())


def leads() -> bool:
    """Whether this process is the one that writes and talks."""
    return launched() == 1 or int(os.environ.get("RANK", "0")) == 0


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run. Every method but `deal` is a meeting: all ranks must call it, in the same
    order."""

    number: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.number == 0

    def gather(self, value: T) -> list[T]:
        """What every rank holds, in the order of the ranks."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[T] = gather_object([value])
        return found

    def given(self, value: T) -> T:
        """What rank 0 holds."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        held = [value]
        broadcast_object_list(held, from_process=0)
        return held[0]

    def any(self, flag: bool) -> bool:
        """Whether it holds on any rank."""
        return any(self.gather(flag))

    def add_up(self, tensors: Iterable[Any]) -> None:
        """Each tensor becomes its sum over the ranks, in place and to the bit the same on all."""
        if self.count == 1:
            return
        import torch

        for tensor in tensors:
            torch.distributed.all_reduce(tensor)

    def share(self, tensors: Iterable[Any]) -> None:
        """Each tensor becomes what rank 0 holds, in place."""
        if self.count == 1:
            return
        import torch

        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)

    def deal(self, items: Sequence[T], weights: Sequence[float]) -> list[T]:
        """This rank's part of the items, in their order: the heaviest first, each to the rank with the least so far."""
        if self.count == 1:
            return list(items)
        loads, mine = [0.0] * self.count, []
        for place in sorted(range(len(items)), key=lambda place: (-weights[place], place)):
            least = loads.index(min(loads))
            loads[least] += weights[place]
            if least == self.number:
                mine.append(place)
        return [items[place] for place in sorted(mine)]


ALONE = Ranks()


def join(*, cpu: bool) -> Ranks:
    """Meet the other processes that the launcher has started; alone where there was none. Raises RunError when there
    are more processes than cards."""
    if launched() == 1:
        return ALONE
    if not cpu:
        _check_cards()
    from accelerate import PartialState

    # The launcher ends all when one dies, so none has to suspect another that is only slow.
    state = PartialState(cpu=cpu, timeout=timedelta(days=1))
    if cpu:  # the threads of a group that is still there when the interpreter ends abort it now and then
        atexit.register(state.destroy_process_group)
    return Ranks(state.process_index, state.num_processes)


def _check_cards() -> None:
    import torch

    cards, local = torch.cuda.device_count(), on_this_machine()
    if local > cards:
        raise RunError(
            f"{local} processes on this machine, which has {cards} card{'s' if cards != 1 else ''}: start at most one "
            "a card, GPUS=N, or --set model.device=cpu"
        )


def check_equal(ranks: Ranks, facts: Mapping[str, Any]) -> None:
    """Raise ConfigError on all ranks, by name, unless these facts (versions, settings) are the same on each."""
    for number, others in enumerate(ranks.gather(dict(facts))):
        differing = sorted(name for name in facts.keys() | others.keys() if facts.get(name) != others.get(name))
        if differing:
            name = differing[0]
            raise ConfigError(
                f"ranks {ranks.number} and {number} differ in {name}: {facts.get(name)!r} and {others.get(name)!r}"
                f"{f', and in {len(differing) - 1} more' if differing[1:] else ''}. Start all processes of a run with "
                "the same code, packages and settings."
            )
