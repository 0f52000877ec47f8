"""GiB of every part of a run, in closed form.

Reading order: memory (all parts), then layer_bytes (what training keeps of a token), peak (what exists at once), kv_gib
(what the cache gets). Counted on the CPU by tests/test_planner.py: layer_bytes and adapter sizes. The constants of a
CUDA process (context, graphs, fragmentation) are estimates that no card has confirmed.
"""
# h hidden width, i width of the MLP, q and k widths of queries and keys, r rank, s bytes of a value

from __future__ import annotations

from collections.abc import Mapping

from minizero.config.schema import Config
from minizero.planner.shapes import GIB, Shape

CONTEXT_GIB, GRAPHS_GIB, FRAGMENTS_GIB, ENGINE_GIB = 0.7, 0.4, 0.8, 0.6  # a CUDA process with vLLM; estimates
NF4_BITS = 4.127  # 4 bits, and the scales of 64 values, themselves quantised (arXiv 2305.14314, section 3)
CHUNK, CHUNK_LOGITS = 1024, 2**26  # optim.logits_chunk = 0: so many positions, or fewer for a large vocabulary
CPU_KV_GIB = 1.0  # vLLM's key-value cache on a CPU where sampler.kv_gib is 0
LEARNING, SAMPLING = ("training a micro-batch", "logits of a chunk"), ("vLLM, a batch",)  # never at the same time


def longest(config: Config) -> int:
    """Tokens of the longest sequence that a run may meet."""
    play = config.selfplay
    return play.max_prompt_tokens + max(play.propose_max_tokens, play.solve_max_tokens)


def chunk_of(config: Config, vocabulary: int) -> int:
    """optim.logits_chunk, and what 0 means. 441 for Qwen's 152k."""
    return config.optim.logits_chunk or max(1, min(CHUNK, CHUNK_LOGITS // vocabulary))


def batched_tokens(config: Config, device: str) -> int:
    """Tokens that vLLM computes at once, at most: fewer beside a 4-bit base, which leaves less room on its card."""
    usual = 2048 if device == "cpu" else 4096 if config.model.quantization == "nf4" else 8192
    return max(usual, longest(config))


def uses_vllm(config: Config, device: str) -> bool:
    """What sampler.backend = auto means where vLLM is installed."""
    wanted = config.sampler.backend
    return wanted == "vllm" or (wanted == "auto" and device == "cuda" and config.adapter.kind == "lora")


def shares_weights(config: Config, device: str) -> bool:
    """Whether the trainer's base consists of views of vLLM's weights. A 4-bit base does not: vLLM packs it in another
    way."""
    if not uses_vllm(config, device) or config.model.quantization != "none":
        return False
    wanted = config.sampler.share_weights
    return device == "cuda" if wanted == "auto" else wanted


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
    """Part -> GiB, without the key-value cache. With vLLM the weights exist twice unless they are shared."""
    size = value_bytes(config, shape, device)
    rank, full = config.adapter.rank, config.adapter.kind == "full"
    trained = shape.parameters if full else shape.lora(rank)
    held = 20.0 if config.optim.ema_decay else 16.0  # gradient, master, two moments and perhaps a mean, in float32
    weights = float(size * shape.parameters)
    if config.model.quantization == "nf4":
        weights = shape.linear * NF4_BITS / 8 + size * shape.embedding + 2 * shape.hidden * shape.intermediate
    shared = vllm and shares_weights(config, device)
    tokens = max(config.optim.micro_batch_tokens, longest(config))
    layer = layer_bytes(shape, 0 if full else rank, size)
    if full:
        layer += 2 * size * shape.hidden  # trained norms keep their outputs too
    recomputed = config.optim.gradient_checkpointing is True
    kept = size * shape.hidden * shape.layers + 2 * layer if recomputed else (shape.layers + 1) * layer
    parts = {
        "weights, of both" if shared else "weights, trainer": weights,
        "weights, sampler": weights if vllm and not shared else 0.0,
        "adapter, masters, Adam": trained * (held + (0 if full else size)),
        "adapter in vLLM": 2.0 * shape.lora(rank) if vllm else 0.0,
        "training a micro-batch": float(tokens * kept),
        "logits of a chunk": chunk_of(config, shape.vocabulary) * shape.vocabulary * (size + 8.0),
    }
    in_gib = {name: value / GIB for name, value in parts.items() if value}
    if device == "cuda":
        in_gib |= {"CUDA context": CONTEXT_GIB, "fragments": FRAGMENTS_GIB}
        if vllm:
            in_gib |= {"CUDA graphs": GRAPHS_GIB, "vLLM, a batch": ENGINE_GIB}
    return in_gib


def peak(parts: Mapping[str, float], cache: float, *, released: bool) -> float:
    """The largest GiB in use at one time. Sampling and learning take turns; the cache is in use during both, or, when
    `released`, during sampling only."""
    learning, sampling = (sum(parts.get(name, 0.0) for name in names) for names in (LEARNING, SAMPLING))
    held = sum(parts.values()) - learning - sampling
    return held + (max(learning, sampling + cache) if released else max(learning, sampling) + cache)


def kv_token_bytes(shape: Shape, size: int = 2) -> int:
    """Key and value of one token in all layers: 2 s k L. Example: 3B in bfloat16: 36 kB."""
    return 2 * size * shape.k * shape.layers


def releases(config: Config, vllm: bool) -> bool:
    """Whether the cache's memory is free while the policy learns. The transformers sampler holds none between steps;
    vLLM gives it back with sampler.release_kv."""
    return not vllm or config.sampler.release_kv is True


def kv_gib(config: Config, shape: Shape, *, device: str, vllm: bool, budget: float) -> float:
    """GiB of the key-value cache: the setting; else what the other parts leave of the budget, at most what the rows can
    fill; on a CPU 1."""
    if not vllm:
        tokens = config.sampler.max_cache_tokens or config.sampler.max_rows * longest(config)
        return tokens * kv_token_bytes(shape, value_bytes(config, shape, device)) / GIB
    if config.sampler.kv_gib:
        return config.sampler.kv_gib
    if device == "cpu":
        return CPU_KV_GIB
    fill = config.sampler.max_rows * longest(config) * kv_token_bytes(shape) / GIB
    parts = memory(config, shape, device=device, vllm=True)
    if releases(config, vllm):
        parts = {name: gib for name, gib in parts.items() if name not in LEARNING}
    return max(0.0, min(fill, budget - peak(parts, 0.0, released=False)))
