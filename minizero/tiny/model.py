"""The tiny model's architecture and its files: a Qwen2 of a few million parameters.

Reading order: `build_model`, `save`.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from minizero.tiny.tokenizer import VOCABULARY

MAX_TOKENS = 1024
# The smallest that is worth watching: training, and self-play after it, shall take minutes on one core.
WIDTH = 128
LAYERS = 6
INNER_WIDTH = 384


def build_model(*, seed: int) -> Qwen2ForCausalLM:
    """An untrained model in fp32, the same for the same seed."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // 32,  # heads of 32: a size that every attention kernel takes
        num_key_value_heads=1,  # what a decoded token reads is the cache: a quarter of it, and of its copies
        max_position_embeddings=MAX_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)  # type: ignore[no-untyped-call,unused-ignore]


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write bf16 weights, config and tokenizer, as AutoModelForCausalLM and AutoTokenizer read them."""
    directory.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).bfloat16().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
