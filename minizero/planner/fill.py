"""Values for the settings that a user left at "auto" or 0: micro-batch, recomputation, chunk, release of the cache.

Reading order: filled (the choice), resolve_for_machine, kv_bytes (the size of vLLM's cache).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from minizero.config.schema import Config
from minizero.planner.calibration import beyond_plan_gib
from minizero.planner.cards import Card, card_of
from minizero.planner.memory import (
    CONTEXT_GIB,
    CPU_KV_GIB,
    cache_value_bytes,
    chunk_of,
    kv_gib,
    kv_token_bytes,
    longest,
    memory,
    peak,
    releases,
    uses_vllm,
)
from minizero.planner.shapes import GIB, Shape, shape_of
from minizero.types import ConfigError, ModelError

LEAST_SEQUENCES = 4  # of the longest must fit into vLLM's cache; with fewer a step takes hours
ENOUGH_SEQUENCES = 32  # with fewer, giving the cache back while the policy learns is worth the seconds it takes
MICRO_BATCHES = (16384, 8192, 4096)
# Other programs use a machine's memory too: planned with all of it, a run of Qwen2.5-Coder-1.5B was killed at 21.4 of
# 23.5 GiB when others took 2.
CPU_SHARE = 0.75
# Of a card: the formulas leave something out, and the desktop on it may take more while the run goes on.
UNPLANNED_GIB = 1.0


def cache_rows(config: Config, shape: Shape, *, device: str, cache: float) -> float:
    """How many of the longest sequences a cache of so many GiB holds."""
    return cache * GIB / (kv_token_bytes(shape, cache_value_bytes(config, shape, device)) * longest(config))


def filled(config: Config, shape: Shape, *, device: str, budget: float) -> Config:
    """The config with a value for every setting that was "auto" or 0. What the user set stays. `budget` in GiB.

    Chosen is the fastest combination with which vLLM's cache holds enough sequences; if there is none, the one with
    which it holds most. The cache of the transformers sampler is not counted: it exists only while nothing is trained,
    and sampler.max_cache_tokens limits it.
    """
    vllm = uses_vllm(config, device)
    enough = min(ENOUGH_SEQUENCES, config.sampler.max_rows) if vllm else 0
    choices = list(_choices(config, shape, device))

    def rows(choice: Config) -> float:
        parts = memory(choice, shape, device=device, vllm=vllm)
        cache = kv_gib(choice, shape, device=device, vllm=True, budget=budget) if vllm else 0.0
        if peak(parts, cache, released=releases(choice, vllm)) > budget + 1e-9:
            return -1.0
        return cache_rows(choice, shape, device=device, cache=cache)

    held = [rows(choice) for choice in choices]
    good = next((choice for choice, count in zip(choices, held, strict=True) if count >= enough), None)
    return good or (choices[held.index(max(held))] if max(held) >= 0 else choices[-1])


def _choices(config: Config, shape: Shape, device: str) -> Iterator[Config]:
    """Every combination of values for the settings left at "auto" or 0, the fastest first, the smallest last."""
    optim, sampler = config.optim, config.sampler
    least = longest(config)
    tokens = [optim.micro_batch_tokens] if optim.micro_batch_tokens else [n for n in MICRO_BATCHES if n > least]
    if not optim.micro_batch_tokens:
        tokens.append(min(least, MICRO_BATCHES[0]))
    recomputations = [False, True] if optim.gradient_checkpointing == "auto" else [optim.gradient_checkpointing]
    if sampler.release_kv != "auto":
        releases_kv = [bool(sampler.release_kv)]
    else:
        releases_kv = [False, True] if device == "cuda" and uses_vllm(config, device) else [False]
    chunk = chunk_of(config, shape.vocabulary)
    for release_kv in releases_kv:
        for recompute in recomputations:
            for budget in tokens:
                changed = {"micro_batch_tokens": budget, "gradient_checkpointing": recompute, "logits_chunk": chunk}
                yield config.model_copy(
                    update={
                        "optim": optim.model_copy(update=changed),
                        "sampler": sampler.model_copy(update={"release_kv": release_kv}),
                    }
                )


def _with_least_memory(config: Config, vocabulary: int) -> Config:
    """Recomputation and the smallest micro-batch, for a model whose memory cannot be computed."""
    optim, sampler = config.optim, config.sampler
    chosen = {
        "micro_batch_tokens": optim.micro_batch_tokens or MICRO_BATCHES[-1],
        "gradient_checkpointing": optim.gradient_checkpointing is not False,
        "logits_chunk": chunk_of(config, vocabulary),
    }
    release = {"release_kv": sampler.release_kv is True}
    update = {"optim": optim.model_copy(update=chosen), "sampler": sampler.model_copy(update=release)}
    return config.model_copy(update=update)


def budget_of(config: Config, card: Card | None) -> float:
    """GiB that a run may use: run.vram_gib; else all but UNPLANNED_GIB (and what first-light measured beyond the plan)
    of what the card has, of this machine's card of what was free at the start; on a CPU CPU_SHARE of the machine's
    memory."""
    if config.run.vram_gib or card is None:
        return config.run.vram_gib or CPU_SHARE * memory_gib()
    return max(0.0, (card.free or card.gib) - UNPLANNED_GIB - beyond_plan_gib(card))


def resolve_for_machine(config: Config, sizes: Mapping[str, Any]) -> Config:
    """The config with a value for every setting left at "auto" or 0, on this machine, for a model with these sizes (its
    config.json). A model that the formulas do not describe gets the values that need least memory."""
    card = card_of(config)
    device = "cuda" if card else "cpu"
    try:
        shape = shape_of(sizes, config.model.name)
    except ModelError:
        return _with_least_memory(config, int(sizes.get("vocab_size") or MICRO_BATCHES[0]))
    return filled(config, shape, device=device, budget=budget_of(config, card))


def kv_bytes(config: Config, sizes: Mapping[str, Any]) -> int:
    """Bytes of vLLM's key-value cache for a model with these sizes on this machine. Raises ConfigError when the longest
    sequence does not fit into it, and for a model that the formulas do not describe, unless sampler.kv_gib is set."""
    card = card_of(config)
    device = "cuda" if card else "cpu"
    config = resolve_for_machine(config, sizes)
    try:
        shape = shape_of(sizes, config.model.name)
    except ModelError as error:
        if not config.sampler.kv_gib and device == "cuda":
            raise ConfigError(
                f"{error} So the size of vLLM's key-value cache is not known. Try --set sampler.kv_gib=4"
            ) from None
        return int((config.sampler.kv_gib or CPU_KV_GIB) * GIB)  # vLLM says itself when a sequence does not fit
    gib = kv_gib(config, shape, device=device, vllm=True, budget=budget_of(config, card))
    need = longest(config) * kv_token_bytes(shape, cache_value_bytes(config, shape, device)) / GIB
    if gib < need:
        raise ConfigError(
            f"{gib:.2f} GiB are left for the key-value cache, and one sequence of {longest(config)} tokens needs "
            f"{need:.2f}. See  minizero plan  for what would fit."
        )
    return int(gib * GIB)


def bound_memory(config: Config) -> None:
    """Keep torch within run.vram_gib on a card. Not where the cache is given back: torch goes on counting it then."""
    import torch

    if config.run.vram_gib and config.sampler.release_kv is not True:
        total = torch.cuda.get_device_properties().total_memory / GIB
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, config.run.vram_gib - CONTEXT_GIB) / total))


def memory_gib() -> float:
    """This machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
