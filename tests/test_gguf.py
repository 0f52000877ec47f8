"""GGUF files: dequantised once into the cache, and what cannot be read is told before any weights load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from minizero.config.schema import ModelConfig
from minizero.models.gguf import directory_of, unpack
from minizero.models.load import load
from minizero.models.names import locate
from minizero.types import ModelError

gguf = pytest.importorskip("gguf", reason="gguf is not installed: pip install 'minizero[gguf]'")
HIDDEN, MLP, HEADS, KV = 64, 128, 4, 2
PARTS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(random_model: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32).state_dict())


@pytest.fixture
def file(weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random model as a GGUF file: matrices in 8 bits, a byte-level vocabulary."""
    monkeypatch.setenv("MINIZERO_CACHE", str(tmp_path / "cache"))
    return write(tmp_path / "random.gguf", "qwen2", weights)


def write(path: Path, architecture: str, weights: dict[str, torch.Tensor]) -> Path:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    symbols = [*sorted(bytes_to_unicode().values()), "<eos>"]
    symbols.append(symbols[1] + symbols[2])  # the reader wants at least one merge, and its result in the vocabulary
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(symbols)
    writer.add_token_types([1] * 256 + [3, 1])
    writer.add_token_merges([f"{symbols[1]} {symbols[2]}"])
    writer.add_eos_token_id(256)
    writer.add_pad_token_id(256)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"].numpy())
    for layer in range(2):
        for theirs, ours in PARTS.items():
            for kind in ("weight", "bias"):
                tensor = weights.get(f"model.layers.{layer}.{ours}.{kind}")
                if tensor is None:
                    continue
                name, data = f"blk.{layer}.{theirs}.{kind}", tensor.numpy().astype(np.float32)
                if data.ndim == 2:
                    packed = gguf.quants.quantize(data, gguf.GGMLQuantizationType.Q8_0)
                    writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
                else:
                    writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.filterwarnings("ignore")  # of transformers' reader
def test_a_gguf_file_loads_like_any_model_and_is_unpacked_once(file: Path, weights: dict[str, torch.Tensor]) -> None:
    loaded = load(ModelConfig(name=str(file), device="cpu"))
    name = "model.layers.1.mlp.down_proj.weight"
    found = loaded.model.state_dict()[name]
    assert torch.allclose(found.float(), weights[name], atol=0.02 * float(weights[name].abs().max()))
    assert loaded.tokenizer.decode(loaded.tokenizer._ids("def f(x): return x")) == "def f(x): return x"
    assert 256 in loaded.tokenizer.eos_ids
    made = directory_of(file)
    assert locate(str(file)) == str(made)
    written = (made / "config.json").stat().st_mtime_ns
    assert unpack(file) == made
    assert (made / "config.json").stat().st_mtime_ns == written


def test_an_architecture_that_cannot_be_read_is_named(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = write(tmp_path / "odd.gguf", "hyena", weights)
    with pytest.raises(ModelError, match="its architecture is hyena"):
        load(ModelConfig(name=str(path), device="cpu"))


def test_what_is_no_gguf_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("no model " * 100)
    with pytest.raises(ModelError, match="not a GGUF file"):
        load(ModelConfig(name=str(path), device="cpu"))
    with pytest.raises(ModelError, match="no such file"):
        locate(str(tmp_path / "none.gguf"))
