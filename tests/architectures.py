"""Small random models of every causal language model architecture that the installed transformers has.

Reading order: SMALL (sizes by the names that configs give them), EXTRA (what single architectures need besides),
small_config, build, write_model. The weights are large: a wrong mask, position or head changes every log-probability.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from minizero.models.made import write_byte_tokenizer

# Windows are longer than what minizero tries when it loads a model (24 tokens), as in real models, and shorter than the
# longest prompt.
VOCABULARY, WINDOW, LAYERS, LARGEST = 264, 32, 4, 40_000_000

SMALL: dict[str, Any] = {
    # widths and depths
    "hidden_size": 64, "n_embd": 64, "d_model": 64, "dim_model": 64, "word_embed_proj_dim": 64, "embedding_size": 64,
    "emb_dim": 64, "num_hidden_layers": LAYERS, "n_layer": LAYERS, "n_layers": LAYERS, "num_layers": LAYERS,
    "decoder_layers": 2, "encoder_layers": 2, "num_decoder_layers": 2, "num_encoder_layers": 2,
    "intermediate_size": 96, "n_inner": 96, "ffn_dim": 96, "decoder_ffn_dim": 96, "encoder_ffn_dim": 96, "d_ff": 96,
    "ffn_hidden_size": 96, "dim_ff": 96, "block_ff_dim": 96, "block_dim": 64, "conv_dim": 64, "lru_width": 64,
    # attention
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "kv_channels": 16, "global_head_dim": 16,
    "dim_head": 16, "rotary_dim": 8, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "qk_nope_head_dim": 8, "sliding_window": WINDOW, "attention_window_size": WINDOW, "sliding_window_size": WINDOW,
    "attention_chunk_size": WINDOW, "window_size": WINDOW, "num_kv_shared_layers": 2, "index_topk": WINDOW,
    # experts
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "expert_ffn_hidden_size": 32, "num_experts": 4,
    "n_routed_experts": 4, "num_local_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2, "moe_k": 2,
    "moe_topk": 2, "top_k_experts": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1,
    "num_dense_layers": 1, "moe_layer_start_index": 0, "zero_expert_num": 2, "shared_intermediate_size": 32,
    # recurrent layers
    "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_d_ssm": 128, "mamba_expand": 2,
    "mamba_n_groups": 1, "mamba_num_heads": 4, "mamba_head_dim": 32, "mamba_ngroups": 1, "ssm_state_size": 16,
    "state_size": 16, "n_groups": 1, "time_step_rank": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_head_dim": 16, "linear_num_heads": 4,
    "n_mamba_heads": 4,
    # tokens, lengths, chance
    "vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 16,
    "max_position_embeddings": 512, "n_positions": 512, "max_seq_len": 512, "n_ctx": 512, "seq_length": 512,
    "bos_token_id": 1, "eos_token_id": 256, "pad_token_id": 257, "initializer_range": 0.2, "init_std": 0.2,
    "num_nextn_predict_layers": 0, "num_codebooks": 1,
}  # fmt: skip
HYBRID = ["mamba", "attention", "mamba", "attention"]
EXTRA: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "granitemoehybrid": {"layer_types": HYBRID, "num_key_value_heads": 2},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_5_moe_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "olmo_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "num_key_value_heads": 1},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * 2, "q_lora_rank": None},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "mamba2": {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 1},
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "gemma4_unified_text": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 4]}
            for kind in ("sliding_attention", "full_attention")
        },
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "ngram_vocab_size_base": 97,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "ple_embed_dim": 64,
        "heads_per_ngram": 2,
        "split_ngram_parts": 1,
        "make_ngram_vocab_size_divisible_by": 1,
        "eos_token_id": 256,
        "pad_token_id": 257,
    },
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local"] * 4,
        "axial_pos_embds": False,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
        "hash_seed": 0,
        "attention_head_size": 16,
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX", "is_decoder": True},
    "xlstm": {"qk_dim_factor": 1.0, "v_dim_factor": 1.0, "num_blocks": 4, "embedding_dim": 64},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_key_value_heads": 4},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_key_value_heads": 4},
    "zaya": {"num_experts_per_tok": 1, "layer_types": ["hybrid", "hybrid_sliding"] * 2, "sliding_window": WINDOW},
    "longcat_flash": {"head_dim": 8},
    "hrm_text": {"initializer_range": 0.05},  # its layers run again and again: large ones magnify rounding without end
    # transformers 5.19 bounds time steps from below in its scan and not in its cached step
    "nemotron_h": {"time_step_min": 1e-12},
}


KINDS = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small_config(kind: str, sizes: dict[str, Any] | None = None) -> Any:
    """The config of an architecture with small sizes, whatever it calls them."""
    from transformers import CONFIG_MAPPING

    return _small(CONFIG_MAPPING[kind], EXTRA.get(kind, {}) | (sizes or {}))


def _small(cls: Any, extra: dict[str, Any]) -> Any:
    parts = {
        name: _small(part, EXTRA.get(getattr(part, "model_type", ""), {}))
        for name, part in getattr(cls, "sub_configs", {}).items()
        if part.__name__ != "AutoConfig"
    }
    names = set(inspect.signature(cls.__init__).parameters) | set(getattr(cls, "__dataclass_fields__", ()))
    default = cls()
    given = {name: value for name, value in SMALL.items() if name in names and _is_set(default, name)}
    if "qk_rope_head_dim" in names:
        given.pop("head_dim", None)  # of multi-head latent attention: it follows from the parts
        given["num_key_value_heads"] = SMALL["num_attention_heads"]
    if "layer_types" in names:
        given["layer_types"] = None  # made again for the number of layers
    return cls(**(given | parts | extra))


def _is_set(default: Any, name: str) -> bool:
    try:
        return name in ("pad_token_id", "sliding_window") or getattr(default, name, 0) is not None
    except Exception:  # sizes that differ from layer to layer cannot be read from the whole
        return False


class NotSmall(Exception):
    """This suite knows no small sizes for the architecture."""


def build(kind: str, sizes: dict[str, Any] | None = None) -> Any:
    """The random model in float32. Raises NotSmall where transformers refuses our sizes, or they make it large.

    `sizes` overrides single ones of the config.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            count = sum(p.numel() for p in AutoModelForCausalLM.from_config(small_config(kind, sizes)).parameters())
        if count > LARGEST:
            raise NotSmall(f"{kind}: {count / 1e6:.0f} million parameters")
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(small_config(kind, sizes)).eval()
        with torch.no_grad():
            model(input_ids=torch.arange(20)[None])
    except NotSmall:
        raise
    except Exception as error:  # whatever the code of 178 architectures raises
        raise NotSmall(f"{kind}: {type(error).__name__}: {str(error)[:200]}") from error
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases start at 0 and gains at 1, and would hide that one is left out
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_model(kind: str, path: Path, sizes: dict[str, Any] | None = None) -> None:
    """The model's directory, with a tokenizer of bytes."""
    model = build(kind, sizes)
    path.mkdir(parents=True, exist_ok=True)
    write_byte_tokenizer(path)
    model.save_pretrained(path)
