"""Random Qwen2 models, written on the spot: what memory and time need is the shape, and nobody has to wait for weights.

Reading order: SMALL, then write_random_model. The tokenizer is of single bytes, whatever the vocabulary's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
SPREAD = 3.0  # of a small model's weights: far from uniform, so that a wrong position or mask shows


def write_random_model(folder: Path, sizes: Mapping[str, int] = SMALL, *, seed: int = 7) -> Path:
    """A directory with a random Qwen2 of these sizes that loads like any model: float32 where it is small, else
    bfloat16, made on the card where there is one. `folder` must not exist yet; returns it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True)
    _write_tokenizer(folder)
    is_small = sizes["hidden_size"] <= SMALL["hidden_size"]
    shape: dict[str, Any] = dict(sizes)
    config = Qwen2Config(
        **shape, tie_word_embeddings=True, eos_token_id=EOS, pad_token_id=PAD, bos_token_id=None,
        dtype=torch.float32 if is_small else torch.bfloat16,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() and not is_small else "cpu"
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        model: Any = Qwen2ForCausalLM._from_config(config, dtype=config.dtype)
        if is_small:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(SPREAD)
    model.save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)} | {"<eos>": EOS, "<pad>": PAD}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    core.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder)
