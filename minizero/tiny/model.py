"""The tiny model's architecture and its files: a Qwen2 of a few million parameters.

Reading order: `build_model`, `save`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from minizero.tiny.tokenizer import VOCABULARY

MAX_TOKENS = 1024


def build_model(*, seed: int, width: int = 192, layers: int = 6) -> Qwen2ForCausalLM:
    """An untrained model in fp32, the same for the same seed."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,  # heads of 32: a size that every attention kernel takes
        num_key_value_heads=width // 64 if width != 160 else 1,
        max_position_embeddings=MAX_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write bf16 weights, config and tokenizer, as AutoModelForCausalLM and AutoTokenizer read them."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    twin = Qwen2ForCausalLM(model.config).to(torch.bfloat16)
    twin.load_state_dict(weights)
    twin.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
