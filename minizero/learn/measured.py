"""What an optimiser batch measured of its tokens, as policy/ metrics: of all, and of each of several adapters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from minizero.learn.losses import mismatch

NAMES = {
    "mismatch_mean": "sampler_gap_mean",
    "mismatch_max": "sampler_gap_max",
    "kl_sampler": "kl_sampler",
    "effective_frac": "effective_sample_frac",
    "importance_clipped_frac": "corrected_frac",
}
OF_EACH = ("policy/kl_sampler", "policy/sampler_gap_mean", "policy/entropy", "policy/trained_tokens")


def metrics_of(values: Mapping[str, Tensor], members: tuple[str, ...] = ("",)) -> dict[str, float]:
    """values: name -> one number for each token; "member": of several, the place of the one that wrote it, for metrics
    such as policy/kl_sampler/solve, which tell whose adapter the sampler has not got."""
    found = _of(values)
    for place, member in enumerate(members):
        if len(members) > 1 and "member" in values:
            own = values["member"] == place
            if own.any():
                of_own = _of({name: each[own] for name, each in values.items()})
                found |= {f"{name}/{member}": of_own[name] for name in OF_EACH}
    return found


def _of(values: Mapping[str, Tensor]) -> dict[str, float]:
    if not values:
        return {"policy/trained_tokens": 0.0}
    apart = mismatch(values["trainer"], values["sampler"], values["correction"], values["clipped"])
    metrics = {f"policy/{NAMES[name]}": value for name, value in apart.items()}
    for name in ("entropy", "clip_frac", "dual_frac", "kl_old", "kl_ref"):
        if name in values:
            metrics[f"policy/{name}"] = float(values[name].double().mean())
    return metrics | {"policy/trained_tokens": float(len(values["trainer"]))}
