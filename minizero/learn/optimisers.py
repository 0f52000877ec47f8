"""One optimiser for each adapter: its own float32 masters, moments, gradient norm and count of updates.

Reading order: Optimisers (accumulate, step), its file (save, read), renew (a member becomes a mutated copy of
another). With one adapter it is that one's MasterAdamW and nothing more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minizero.config.schema import OptimConfig
from minizero.learn.optimiser import MasterAdamW
from minizero.learn.ranks import ALONE, Ranks
from minizero.models.adapter import peft_name
from minizero.types import CheckpointError


class Optimisers(dict[str, MasterAdamW]):
    """Member -> its optimiser, over its parameters by name and no others."""

    def __init__(self, parameters: Mapping[str, Mapping[str, nn.Parameter]], config: OptimConfig) -> None:
        super().__init__({member: MasterAdamW(own, config) for member, own in parameters.items()})

    @property
    def updates(self) -> int:
        """The most that any member has seen."""
        return max(optimiser.updates for optimiser in self.values())

    def accumulate(self) -> None:
        """Move gradients into the sums of those that they are of. A backward pass reaches one member alone."""
        for optimiser in self.values():
            optimiser.accumulate()

    def forget(self) -> None:
        """Drop the gradients summed so far."""
        for optimiser in self.values():
            optimiser.forget()

    def step(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Each member's update, clipped by its own gradient norm; one that wrote nothing stays as it is. Returns
        grad_norm (of all together, and of several grad_norm/NAME), lr, skipped (how many)."""
        found = {member: optimiser.step(ranks) for member, optimiser in self.items()}
        if len(found) == 1:
            return next(iter(found.values()))
        return {
            "grad_norm": math.hypot(*(values["grad_norm"] for values in found.values())),
            "lr": max(values["lr"] for values in found.values()),
            "skipped": sum(values["skipped"] for values in found.values()),
        } | {f"grad_norm/{member}": values["grad_norm"] for member, values in found.items()}

    def checksum(self) -> list[int]:
        """Of each member's master weights, bit for bit: what all ranks must agree on."""
        return [optimiser.checksum() for optimiser in self.values()]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """All parameters hold the running mean of the weights inside, where one is kept."""
        with ExitStack() as stack:
            for optimiser in self.values():
                stack.enter_context(optimiser.averaged())
            yield

    def renew(self, weaker: str, better: str, mutation: float, generator: torch.Generator) -> None:
        """`weaker` becomes a copy of `better`, each tensor with noise of `mutation` times its own standard deviation,
        and Adam's moments begin anew. Its count of updates goes on: it numbers what a sampler holds.

        The noise is drawn on the CPU, so that all ranks and devices add the same. Of the matrices A and B a fresh
        adapter's B is zero and stays zero.
        """
        old, new = self[better], self[weaker]
        of_old, of_new = (f".{peft_name(member)}" for member in (better, weaker))
        masters: dict[str, Tensor] = {}
        for name, master in old.masters.items():
            spread = float(master.double().std(correction=0))
            noise = torch.randn(master.shape, generator=generator, dtype=torch.float32).to(master)
            masters[f"master/{name.replace(of_old, of_new)}"] = master + mutation * spread * noise
        new.means = {}
        new.load(masters, new.updates)

    # -- files --------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """All state by name; a parameter's name says whose it is."""
        return {name: tensor for optimiser in self.values() for name, tensor in optimiser.tensors().items()}

    def save(self, file: Path) -> None:
        """All state, and as metadata the updates: a number, or of several members one by name. (In one text, because
        safetensors writes two in any order.)"""
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors().items()}
        counts = {member: optimiser.updates for member, optimiser in self.items()}
        save_file(tensors, file, metadata={"updates": json.dumps(counts.get("", counts))})

    def read(self, file: Path, device: str) -> None:
        """Back to what was saved. Raises CheckpointError when it belongs to another model or other adapters."""
        tensors = load_file(file, device=device)
        expected = {f"master/{name}" for optimiser in self.values() for name in optimiser.masters}
        saved = {name for name in tensors if name.startswith("master/")}
        if saved != expected:
            odd = sorted(saved ^ expected)
            raise CheckpointError(
                f"{file} belongs to another model or adapter: {len(odd)} tensors do not match, for example {odd[0]}."
            )
        with safe_open(file, framework="pt") as opened:
            counts = json.loads(opened.metadata()["updates"])
        for member, optimiser in self.items():
            optimiser.load(tensors, int(counts[member] if member else counts))

    def share(self, ranks: Ranks) -> None:
        """All ranks go on with the state of rank 0."""
        for optimiser in self.values():
            optimiser.share(ranks)
