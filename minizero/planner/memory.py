"""GiB of every part of a run, in closed form.

Reading order: memory (all parts), then layer_bytes (what training keeps of a token), learning_bytes and engine_bytes,
peak (what exists at once), kv_gib (what the cache gets). Counted on the CPU by tests/test_planner.py and test_prove.py:
layer_bytes, adapter sizes and learning_bytes. The constants of a CUDA process (context, graphs, fragmentation) are
estimates that no card has confirmed.
"""
# h hidden width, i width of the MLP, q and k widths of queries and keys, r rank, s bytes of a value

from __future__ import annotations

from collections.abc import Mapping

from minizero.config.adapters import names
from minizero.config.schema import Config
from minizero.models.processor import takes_float32
from minizero.planner.shapes import GIB, Shape

CONTEXT_GIB, GRAPHS_GIB, FRAGMENTS_GIB = 0.7, 0.6, 0.8  # a CUDA process with vLLM; estimates
# 4 bits, and the scales of 64 values, themselves quantised (arXiv 2305.14314, section 3); vLLM's plugin keeps them in
# float32.
NF4_BITS, NF4_BITS_VLLM = 4.127, 4.5
CHUNK, CHUNK_LOGITS = 1024, 2**26  # optim.logits_chunk = 0: so many positions, or fewer for a large vocabulary
CPU_KV_GIB = 1.0  # vLLM's key-value cache on a CPU where sampler.kv_gib is 0
STATE = "adapter, masters, Adam"
LEARNING, SAMPLING = ("learning from a micro-batch",), ("vLLM, a batch",)  # never at the same time


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
    """Whether the trainer's base consists of views of vLLM's weights. A 4-bit base does not, since vLLM packs it in
    another way, nor one of 8-bit floats, with which the trainer does not compute."""
    if not uses_vllm(config, device) or config.model.quantization != "none" or config.sampler.weights == "fp8":
        return False
    wanted = config.sampler.share_weights
    return device == "cuda" if wanted == "auto" else wanted


def value_bytes(config: Config, shape: Shape, device: str) -> int:
    """Bytes of a weight in the compute type: model.dtype, and what auto makes of it."""
    if config.model.dtype == "auto":
        return 4 if device == "cpu" and takes_float32(shape.hidden) else 2
    return {"float64": 8, "float32": 4}.get(config.model.dtype, 2)


def cache_value_bytes(config: Config, shape: Shape, device: str) -> int:
    """Bytes of a key's or a value's number in the cache: sampler.kv_dtype, else the compute type."""
    is_fp8 = config.sampler.kv_dtype == "fp8" and uses_vllm(config, device)
    return 1 if is_fp8 else value_bytes(config, shape, device)


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


def micro_batch(config: Config) -> tuple[int, int]:
    """Tokens of the largest micro-batches: as rows of one sequence, and as one prompt with as many of the longest
    answers as may share its row (0 where only one does). The same counts as in learn/memory_check.py."""
    play, budget = config.selfplay, config.optim.micro_batch_tokens
    prompt, answer = play.max_prompt_tokens, max(play.propose_max_tokens, play.solve_max_tokens)
    single = max(1, budget // (prompt + answer)) * (prompt + answer)
    answers = (budget - prompt) // min(prompt, answer)
    return single, prompt + answers * min(prompt, answer) if answers > 1 else 0


def learning_bytes(config: Config, shape: Shape, size: int) -> float:
    """The most that forward and backward pass over the largest micro-batch add, in bytes. Per token:

    recomputing  s h L inputs of the layers, one layer's own, and s (2 i + h) gradients inside its MLP
    else         all layers' own, and the larger of 20 h (float32 copies in the last norm) and s i + 14 h
    the head     the same inputs or layers, 7 h, and once 8 bytes for each logit of a chunk
    shared rows  (1 + s) T^2 bytes more for the mask of T tokens

    `minizero plan --prove` counts it on the model's own operations; tests/test_prove.py holds both together.
    """
    h, i, full = shape.hidden, shape.intermediate, config.adapter.kind == "full"
    layer = layer_bytes(shape, 0 if full else config.adapter.rank, size)
    if full:
        layer += 2 * size * h  # trained norms keep their outputs too
    if config.optim.gradient_checkpointing is True:
        kept, body = size * h * shape.layers, layer + size * (2 * i + h)
    else:
        kept, body = shape.layers * layer, max(20 * h, size * i + 14 * h)
    logits = 8.0 * chunk_of(config, shape.vocabulary) * shape.vocabulary
    gradients = size * shape.parameters if full else 0  # of the weights, before they go into the float32 sums

    def most(tokens: int, mask: int) -> float:
        return tokens * kept + max(tokens * body, tokens * 7 * h + logits) + (1 + size) * mask

    single, shared = micro_batch(config)
    return max(most(single, 0), most(shared, shared**2)) + gradients


def engine_bytes(config: Config, shape: Shape, size: int, device: str) -> float:
    """What vLLM computes at once: s (3 i + 4 h) for each token of a batch (the MLP's two halves and their product;
    input, output and residual), 12 V for each row that is sampled (logits, probabilities and log-probabilities in
    float32), and of a 4-bit base the largest weight, unpacked (gate and up in one): 2 s h i."""
    h, i = shape.hidden, shape.intermediate
    unpacked = 2 * size * h * i if config.model.quantization == "nf4" else 0
    rows = 12.0 * config.sampler.max_rows * shape.vocabulary
    return batched_tokens(config, device) * size * (3 * i + 4 * h) + rows + unpacked


def memory(config: Config, shape: Shape, *, device: str, vllm: bool) -> dict[str, float]:
    """Part -> GiB, without the key-value cache. With vLLM the weights exist twice unless they are shared."""
    size = value_bytes(config, shape, device)
    adapters, full = adapter_parameters(config, shape), config.adapter.kind == "full"
    trained = shape.parameters if full else adapters
    moment = 4.0 if config.optim.adam_bits == 32 else 1 + 4 / 256  # 8 bits, and a float32 for 256 of them
    held = 8 + 2 * moment + (4 if config.optim.ema_decay else 0)  # gradient, master, moments, perhaps a mean
    weights = sampled = float(size * shape.parameters)
    if config.model.quantization == "nf4":
        weights, sampled = (shape.linear * bits / 8 + size * shape.embedding for bits in (NF4_BITS, NF4_BITS_VLLM))
    if config.sampler.weights == "fp8":
        sampled = float(shape.linear + size * shape.embedding)
    shared = vllm and shares_weights(config, device)
    parts = {
        "weights, of both" if shared else "weights, trainer": weights,
        "weights, sampler": sampled if vllm and not shared else 0.0,
        STATE: trained * (held + (0 if full else size)),
        "adapter in vLLM": 2.0 * adapters if vllm else 0.0,
        LEARNING[0]: learning_bytes(config, shape, size),
    }
    in_gib = {name: value / GIB for name, value in parts.items() if value}
    if device == "cuda":
        in_gib |= {"CUDA context": CONTEXT_GIB, "fragments": FRAGMENTS_GIB}
        if vllm:
            in_gib |= {"CUDA graphs": GRAPHS_GIB, SAMPLING[0]: engine_bytes(config, shape, size, device) / GIB}
    return in_gib


def peak(parts: Mapping[str, float], cache: float, *, released: bool) -> float:
    """The largest GiB in use at one time. Sampling and learning take turns; the cache is in use during both, or, when
    `released`, during sampling only."""
    learning, sampling = (sum(parts.get(name, 0.0) for name in names) for names in (LEARNING, SAMPLING))
    held = sum(parts.values()) - learning - sampling
    return held + (max(learning, sampling + cache) if released else max(learning, sampling) + cache)


def adapter_parameters(config: Config, shape: Shape) -> int:
    """Of all adapters together."""
    return len(names(config.adapter)) * shape.lora(config.adapter.rank)


def sampled_weights(parts: Mapping[str, float]) -> float:
    """GiB that every decoded token reads: the sampler's, where the weights exist twice."""
    return parts.get("weights, sampler") or next(gib for name, gib in parts.items() if name.startswith("weights"))


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
    if config.sampler.backend == "server":
        return 0.0  # the servers have it
    if not vllm:
        tokens = config.sampler.max_cache_tokens or config.sampler.max_rows * longest(config)
        return tokens * kv_token_bytes(shape, cache_value_bytes(config, shape, device)) / GIB
    if config.sampler.kv_gib:
        return config.sampler.kv_gib
    if device == "cpu":
        return CPU_KV_GIB
    token = kv_token_bytes(shape, cache_value_bytes(config, shape, device))
    fill = config.sampler.max_rows * longest(config) * token / GIB
    parts = memory(config, shape, device=device, vllm=True)
    if releases(config, vllm):
        parts = {name: gib for name, gib in parts.items() if name not in LEARNING}
    return max(0.0, min(fill, budget - peak(parts, 0.0, released=False)))
