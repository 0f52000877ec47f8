"""Random Qwen2 models, written on the spot: what memory and time need is the shape, and nobody has to wait for weights.

Reading order: SMALL, write_random_model, then its parts. The tokenizer is of single bytes, whatever the vocabulary's
size. Written without transformers, whose import takes longer than all of it.
"""
# h hidden width, i width of the MLP, q and k widths of queries and of keys, V vocabulary

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

EOS, PAD, BYTES = 256, 257, 258
# For a CPU: heads 32 wide, the least that vLLM's CPU attention has.
SMALL: Mapping[str, int] = {
    "vocab_size": BYTES,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SPREAD = 0.02  # standard deviation of the weights; of a small model three times that, far from uniform, so that a
# wrong position or mask shows


def write_random_model(folder: Path, sizes: Mapping[str, int] = SMALL, *, seed: int = 7) -> Path:
    """A directory with a random Qwen2 of these sizes that loads like any model: float32 where it is small, else
    bfloat16, made on the card where there is one. `folder` must not exist yet; returns it."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    is_small = sizes["hidden_size"] <= SMALL["hidden_size"]
    dtype, spread = (torch.float32, 3 * SPREAD) if is_small else (torch.bfloat16, SPREAD)
    device = "cuda" if torch.cuda.is_available() and not is_small else "cpu"
    generator = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, shape in _shapes(sizes):
        weights[name] = torch.empty(shape, dtype=dtype, device=device)
        if name.endswith("norm.weight"):
            weights[name].fill_(1.0)
        else:
            weights[name].normal_(0.0, spread, generator=generator)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **sizes, "tie_word_embeddings": True,
        "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "use_sliding_window": False, "eos_token_id": EOS, "pad_token_id": PAD, "bos_token_id": None,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_byte_tokenizer(folder)
    return folder


def _shapes(sizes: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor, as transformers calls them; the head is the embedding."""
    h, i, heads = sizes["hidden_size"], sizes["intermediate_size"], sizes["num_attention_heads"]
    q, k = h, h // heads * sizes["num_key_value_heads"]
    yield "model.embed_tokens.weight", (sizes["vocab_size"], h)
    for layer in range(sizes["num_hidden_layers"]):
        here = f"model.layers.{layer}"
        for name, width in (("q", q), ("k", k), ("v", k)):
            yield f"{here}.self_attn.{name}_proj.weight", (width, h)
            yield f"{here}.self_attn.{name}_proj.bias", (width,)
        yield f"{here}.self_attn.o_proj.weight", (h, q)
        yield f"{here}.mlp.gate_proj.weight", (i, h)
        yield f"{here}.mlp.up_proj.weight", (i, h)
        yield f"{here}.mlp.down_proj.weight", (h, i)
        yield f"{here}.input_layernorm.weight", (h,)
        yield f"{here}.post_attention_layernorm.weight", (h,)
    yield "model.norm.weight", (h,)


def write_byte_tokenizer(folder: Path) -> None:
    """A tokenizer of single bytes into a model's directory: ids 0 to 255, EOS 256, PAD 257."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)} | {"<eos>": EOS, "<pad>": PAD}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    core.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    core.add_special_tokens(["<eos>", "<pad>"])
    core.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
