"""AdamW on float32 master weights: the trained parameters may be bfloat16; gradient sums, moments and masters are not.

Reading order: MasterAdamW.accumulate (after each backward), step, averaged (the mean of the weights along the way),
then tensors and load (what a checkpoint keeps). With optim.adam_bits = 8 the moments are bitsandbytes' 8-bit ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minizero.config.schema import OptimConfig
from minizero.formatting import install
from minizero.learn.ranks import ALONE, Ranks
from minizero.types import ConfigError, MissingPackage

# Name in a checkpoint -> name in the optimiser's state of a parameter. Each block of 8-bit moments has a scale;
# parameters of fewer than 4,096 numbers have moments in float32 and no scales.
MOMENTS = {
    32: {"first": "exp_avg", "second": "exp_avg_sq", "count": "step"},
    8: {
        "first": "state1", "second": "state2", "first_scale": "absmax1", "second_scale": "absmax2", "count": "step",
    },
}  # fmt: skip


class MasterAdamW:
    """AdamW over named parameters. Gradients are summed in float32 over micro-batches, whatever the parameters' type
    is; an update smaller than a bfloat16 step is kept in the master weights instead of being rounded away."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: OptimConfig) -> None:
        self.parameters, self.config = dict(parameters), config
        self.masters = {name: p.detach().to(_precise(p.dtype), copy=True) for name, p in self.parameters.items()}
        self.means: dict[str, Tensor] = {}  # of the masters after each update; empty without optim.ema_decay
        self._sums: dict[str, Tensor] = {}
        self.adam = self._make_adam()
        self._begin_moments()
        self.updates = 0

    def _make_adam(self) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": group, "rate": rate} for rate, group in self._by_rate().items()]
        given: dict[str, Any] = {"betas": self.config.betas, "weight_decay": self.config.weight_decay}
        if self.config.adam_bits == 8:
            return _adam_of_8_bits()(groups, **given)  # type: ignore[no-any-return]
        # On a card one kernel updates all; the usual way there makes copies of a whole moment on its way.
        fused = any(master.is_cuda for master in self.masters.values()) or None
        return torch.optim.AdamW(groups, **given, fused=fused)

    def _begin_moments(self) -> None:
        """Adam's moments, zero, from the start: the memory that a run needs is then all there before its first step,
        and not in pieces between what the first backward pass left in the allocator's cache."""
        adam: Any = self.adam
        for place, group in enumerate(adam.param_groups):
            for index, master in enumerate(group["params"]):
                if self.config.adam_bits == 8:
                    adam.state[master] = {}
                    adam.init_state(group, master, place, index)
                    continue
                adam.state[master] = {
                    "step": torch.zeros((), device=master.device if master.is_cuda else "cpu"),
                    "exp_avg": torch.zeros_like(master),
                    "exp_avg_sq": torch.zeros_like(master),
                }

    def moments(self, master: Tensor) -> dict[str, Tensor]:
        """Adam's state of one parameter, by the names that a checkpoint has for it; the count of updates is in it."""
        state = self.adam.state[master]
        named = {name: state[key] for name, key in MOMENTS[self.config.adam_bits].items() if key in state}
        return named | {"count": torch.as_tensor(named["count"], dtype=torch.float32)}

    def accumulate(self) -> None:
        """Move the parameters' gradients into the float32 sums."""
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            if name in self._sums:
                self._sums[name] += parameter.grad
            else:
                self._sums[name] = parameter.grad.to(self.masters[name].dtype, copy=True)
            parameter.grad = None

    @property
    def size(self) -> int:
        """Trained parameters."""
        return sum(master.numel() for master in self.masters.values())

    def forget(self) -> None:
        """Drop the gradients summed so far."""
        self._sums = {}
        for parameter in self.parameters.values():
            parameter.grad = None

    def step(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Clip and apply the gradients, summed over all ranks; a non-finite norm skips the update. Returns grad_norm,
        lr, skipped."""
        sums, self._sums = self._over(ranks), {}
        warm = min(1.0, (self.updates + 1) / max(1, self.config.warmup_steps))
        if not sums:
            return {"grad_norm": 0.0, "lr": warm * self.config.lr, "skipped": 0.0}
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in sums.values()]))
        finite = bool(torch.isfinite(norm))
        if finite:
            self.apply(sums, min(1.0, self.config.grad_clip / (float(norm) + 1e-6)), warm)
        return {"grad_norm": float(norm), "lr": warm * self.config.lr, "skipped": float(not finite)}

    def _over(self, ranks: Ranks) -> dict[str, Tensor]:
        """The gradient sums of all ranks by name; a rank may have had nothing to learn some of them from."""
        if ranks.count == 1:
            return self._sums
        named = {name for names in ranks.gather(list(self._sums)) for name in names}
        sums = {
            name: self._sums[name] if name in self._sums else torch.zeros_like(master)
            for name, master in self.masters.items()
            if name in named
        }
        ranks.add_up(sums.values())
        return sums

    def checksum(self) -> int:
        """Of the master weights, bit for bit: what all ranks must agree on."""
        bits = {4: torch.int32, 8: torch.int64}
        return sum(
            place * int(master.view(bits[master.element_size()]).sum(dtype=torch.int64))
            for place, master in enumerate(self.masters.values(), 1)
        )

    def apply(self, sums: Mapping[str, Tensor], scale: float, warm: float = 1.0) -> None:
        """One update from these gradients by name, times `scale`, at `warm` times the learning rate."""
        for name, master in self.masters.items():
            master.grad = sums[name] * scale if name in sums else None
        for group in self.adam.param_groups:
            group["lr"] = warm * group["rate"]
        if not self.config.freeze:
            self.adam.step()
            self._write(self.masters)
        self.adam.zero_grad(set_to_none=True)
        self.updates += 1
        self._average()

    def _by_rate(self) -> dict[float, list[Tensor]]:
        """The masters by learning rate: norm gains have one of their own where optim.norm_lr names it."""
        groups: dict[float, list[Tensor]] = {}
        for name, master in self.masters.items():
            is_gain = master.ndim == 1 and "norm" in name
            rate = self.config.norm_lr if is_gain and self.config.norm_lr else self.config.lr
            groups.setdefault(rate, []).append(master)
        return groups

    def _average(self) -> None:
        """means += (masters - means) max(1 - decay, 1 / updates): a plain mean at first, then one that forgets."""
        decay = self.config.ema_decay
        if not decay:
            return
        if not self.means:
            self.means = {name: master.clone() for name, master in self.masters.items()}
            return
        weight = max(1 - decay, 1 / self.updates)
        for name, mean in self.means.items():
            mean.lerp_(self.masters[name], weight)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The parameters hold the running mean of the weights inside, where one is kept; afterwards they are as
        before, to the bit."""
        if not self.means:
            yield
            return
        self._write(self.means)
        try:
            yield
        finally:
            self._write(self.masters)

    def tensors(self) -> dict[str, Tensor]:
        """All state by name: master/<p>, mean/<p> where one is kept, and after an update Adam's moments first/<p>,
        second/<p>, count/<p>, with first_scale/<p> and second_scale/<p> where they have 8 bits."""
        state = {f"master/{name}": master for name, master in self.masters.items()}
        state |= {f"mean/{name}": mean for name, mean in self.means.items()}
        for name, master in self.masters.items():
            moments = self.moments(master)
            if moments["count"] > 0:
                state |= {f"{what}/{name}": tensor for what, tensor in moments.items()}
        return state

    def load(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Back to what `tensors` returned; the parameters are rewritten from the masters.

        Raises ConfigError for moments of another number of bits.
        """
        self.updates = updates
        self._begin_moments()
        for name, master in self.masters.items():
            master.copy_(state[f"master/{name}"])
            if f"mean/{name}" in state:
                self.means[name] = state[f"mean/{name}"].to(master.device).clone()
            own = self.adam.state[master]
            for what, key in MOMENTS[self.config.adam_bits].items():
                if f"{what}/{name}" not in state:
                    continue
                given = state[f"{what}/{name}"]
                if not isinstance(own.get(key), Tensor):
                    own[key] = int(given)
                elif own[key].dtype != given.dtype or own[key].shape != given.shape:
                    raise ConfigError(
                        f"optim.adam_bits: expected moments of {self.config.adam_bits} bits as this run has them, saw "
                        f"{given.dtype} for {name}; go on with the run's own optim.adam_bits."
                    )
                else:
                    own[key].copy_(given)
        self._write(self.masters)

    def share(self, ranks: Ranks) -> None:
        """All ranks go on with the state of rank 0."""
        if ranks.count == 1:
            return
        own = {name: tensor.to(self._device) for name, tensor in self.tensors().items()}
        forms, updates = ranks.given(({name: (t.shape, t.dtype) for name, t in own.items()}, self.updates))
        state = {
            name: own[name] if ranks.leads else torch.empty(shape, dtype=dtype, device=self._device)
            for name, (shape, dtype) in forms.items()
        }
        ranks.share(state[name] for name in sorted(state))
        if not ranks.leads:
            self.load(state, updates)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.masters.values())).device

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])


def _precise(dtype: torch.dtype) -> torch.dtype:
    """What is summed and kept of parameters of this type: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def _adam_of_8_bits() -> Any:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise MissingPackage("bitsandbytes", "optim.adam_bits = 8", install("qlora")) from None
    return AdamW8bit
