"""GiB of every part of a run, in closed form.

Reading order: memory (all parts), then layer_bytes (what training keeps of a token), kv_bytes (what the engine is
given). Counted on the CPU by tests/test_planner.py: layer_bytes and adapter sizes. The constants of a CUDA process
(context, graphs, fragmentation) are estimates that no card has confirmed.
"""
# h hidden width, i width of the MLP, q and k widths of queries and keys, r rank, s bytes of a value

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minizero.config.schema import Config
from minizero.planner.shapes import GIB, Shape, shape_of, this_card
from minizero.types import ConfigError

CONTEXT_GIB, GRAPHS_GIB, FRAGMENTS_GIB, ENGINE_GIB = 0.7, 0.4, 0.8, 0.6  # a CUDA process with vLLM; estimates
NF4_BITS = 4.127  # 4 bits, and the scales of 64 values, themselves quantised (arXiv 2305.14314, section 3)


def longest(config: Config) -> int:
    """Tokens of the longest sequence that a run may meet."""
    play = config.selfplay
    return play.max_prompt_tokens + max(play.propose_max_tokens, play.solve_max_tokens)


def value_bytes(config: Config, shape: Shape, device: str) -> int:
    """Bytes of a weight in the compute type: model.dtype, and what auto makes of it."""
    if config.model.dtype == "auto":
        return 4 if device == "cpu" and shape.hidden <= 512 else 2
    return 4 if config.model.dtype == "float32" else 2


def layer_bytes(shape: Shape, rank: int, size: int = 2) -> int:
    """Bytes that one layer keeps of a token for its backward pass, with an adapter on all linear layers.

    8 h (inputs of the two norms, float32) + s (2 h (inputs of q, k, v and of gate, up) + 4 q (queries, keys and values
    copied to every head, output) + 4 i (gate, its silu, up, their product) + 7 r) + 4 heads + 8, s bytes a value;
    queries and keys with norms of their own (Qwen3): 4 (q + k) + 4 (heads + kv_heads) more.
    Example: 1.5B, r = 32 in bfloat16: 102,904 bytes.
    """
    h, i, q, k = shape.hidden, shape.intermediate, shape.q, shape.k
    kept = 8 * h + size * (2 * h + 4 * q + 4 * i + 7 * rank) + 4 * shape.heads + 8
    return kept + (4 * (q + k) + 4 * (shape.heads + shape.kv_heads) if shape.qk_norm else 0)


def memory(config: Config, shape: Shape, *, device: str, vllm: bool) -> dict[str, float]:
    """Part -> GiB, without the key-value cache. Weights exist twice with vLLM: trainer and sampler do not share them
    yet."""
    size = value_bytes(config, shape, device)
    rank, full = config.adapter.rank, config.adapter.kind == "full"
    trained = shape.parameters if full else shape.lora(rank)
    weights = float(size * shape.parameters)
    if config.model.quantization == "nf4":
        weights = shape.linear * NF4_BITS / 8 + size * shape.embedding + 2 * shape.hidden * shape.intermediate
    tokens = max(config.optim.micro_batch_tokens, longest(config))
    layer = layer_bytes(shape, 0 if full else rank, size)
    if full:
        layer += 2 * size * shape.hidden  # trained norms keep their outputs too
    kept = size * shape.hidden * shape.layers + 2 * layer if config.optim.gradient_checkpointing else 0
    kept = kept or (shape.layers + 1) * layer
    training = tokens * kept
    parts = {
        "weights, trainer": weights,
        "weights, sampler": weights if vllm else 0.0,
        "adapter, masters, Adam": trained * (16.0 + (0 if full else size)),  # gradient, master, two moments in float32
        "adapter in vLLM": 2.0 * shape.lora(rank) if vllm else 0.0,
        "training a micro-batch": float(training),
        "logits of a chunk": config.optim.logits_chunk * shape.vocabulary * (size + 8.0),
    }
    found = {name: value / GIB for name, value in parts.items() if value}
    if device == "cuda":
        found |= {"CUDA context": CONTEXT_GIB, "fragments": FRAGMENTS_GIB}
        if vllm:
            found |= {"CUDA graphs": GRAPHS_GIB, "vLLM, a batch": ENGINE_GIB}
    return found


def kv_token_bytes(shape: Shape, size: int = 2) -> int:
    """Key and value of one token in all layers: 2 s k L. Example: 3B in bfloat16: 36 kB."""
    return 2 * size * shape.k * shape.layers


def kv_gib(config: Config, shape: Shape, *, device: str, vllm: bool, budget: float) -> float:
    """GiB of the key-value cache: the setting; else what the other parts leave of the budget, at most what the rows can
    fill; on a CPU 1."""
    if not vllm:
        tokens = config.sampler.max_cache_tokens or config.sampler.max_rows * longest(config)
        return tokens * kv_token_bytes(shape, value_bytes(config, shape, device)) / GIB
    if config.sampler.kv_gib:
        return config.sampler.kv_gib
    if device == "cpu":
        return 1.0
    fill = config.sampler.max_rows * longest(config) * kv_token_bytes(shape) / GIB
    return max(0.0, min(fill, budget - sum(memory(config, shape, device=device, vllm=True).values())))


def kv_bytes(config: Config, sizes: Mapping[str, Any]) -> int:
    """Bytes of vLLM's key-value cache for a model with these sizes (its config.json) on this machine. Raises
    ConfigError when the longest sequence does not fit into it."""
    shape = shape_of(sizes, config.model.name)
    card = this_card() if config.model.device != "cpu" else None
    device = "cuda" if card else "cpu"
    budget = config.run.vram_gib or (card.gib if card else 0.0)
    gib = kv_gib(config, shape, device=device, vllm=True, budget=budget)
    size = value_bytes(config, shape, device)
    need = longest(config) * kv_token_bytes(shape, size) / GIB
    if gib < need:
        raise ConfigError(
            f"{gib:.2f} GiB are left for the key-value cache, and one sequence of {longest(config)} tokens needs "
            f"{need:.2f}. See  minizero plan  for what would fit."
        )
    return int(gib * GIB)
