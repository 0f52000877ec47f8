"""GGUF files that we write: read back they give the same logits and the same tokens, and what cannot be is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minizero.config.schema import ModelConfig
from minizero.models.gguf_vocabulary import SPLITS, pre_tokenizer_name
from minizero.models.gguf_write import check_writable, in_pairs, write_gguf
from minizero.models.load import load
from minizero.models.names import TINY
from minizero.types import ModelError

gguf = pytest.importorskip("gguf", reason="gguf is not installed: pip install 'minizero[gguf]'")
SIZES = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "eos_token_id": 257, "pad_token_id": 258, "bos_token_id": 256,
    "max_position_embeddings": 512,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
TEXTS = (
    "def f(x):\n    return [x, 1234]\n",
    "an <|eos|> in the text, the then other",
    "  \n\n\tπ ≠ 3,14 – 日本語",
    "a",
)


def tokenizer(split: str = "qwen2", *, bos: bool = False) -> Any:
    """Bytes, a few merges, three special tokens, and a plain added one."""
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors
    from tokenizers import Tokenizer as Core
    from transformers import PreTrainedTokenizerFast

    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("1", "2"), ("12", "3"), ("e", "r")]
    for number, (left, right) in enumerate(merges):
        vocabulary[left + right] = 259 + number
    core = Core(models.BPE(vocab=vocabulary | {"<s>": 256, "<|eos|>": 257, "<|pad|>": 258}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "gpt-2")
    if split == "gpt-2":
        core.pre_tokenizer = byte_level
    elif split == "smollm":
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    else:
        pattern = next((regex for regex, name in SPLITS.items() if name == split), split)
        core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ("<s>", "<|eos|>", "<|pad|>")]
    )
    core.add_tokens([AddedToken("return", normalized=False)])
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 256)])
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|eos|>", pad_token="<|pad|>", bos_token="<s>")
    made.chat_template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|eos|>{% endfor %}"
    return made


def model(kind: str, path: Path, made: Any, **more: Any) -> Path:
    """A random model of a kind, far from uniform, with its tokenizer."""
    import transformers

    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}Config")(**(SIZES | more))
    network = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((4.0 * parameter).bfloat16())  # numbers that bfloat16 and float16 both hold
    network.save_pretrained(path)
    made.save_pretrained(path)
    return path


def logits(directory: Path, texts: list[list[int]]) -> list[torch.Tensor]:
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        return [network(torch.tensor([ids])).logits[0] for ids in texts]


def numbers_of(path: Path) -> Any:
    """A reading of the file by the gguf package alone."""
    return gguf.GGUFReader(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIZERO_CACHE", str(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore")  # of transformers' reader
@pytest.mark.parametrize(
    ("kind", "more", "split"),
    [
        ("Qwen2", {"tie_word_embeddings": True}, "qwen2"),
        ("Qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "gpt-2"),
        ("Llama", {"tie_word_embeddings": True}, "gpt-2"),
        ("Llama", {"tie_word_embeddings": False}, "llama-bpe"),
        ("Llama", {"head_dim": 32, "tie_word_embeddings": True}, "qwen2"),
        ("Qwen3", {"head_dim": 128, "tie_word_embeddings": True}, "qwen2"),
    ],
)  # fmt: skip
def test_a_written_file_read_back_gives_the_same_logits_and_tokens(
    tmp_path: Path, kind: str, more: dict[str, Any], split: str
) -> None:
    from transformers import AutoTokenizer

    source = model(kind, tmp_path / "model", tokenizer(split), **more)
    made = AutoTokenizer.from_pretrained(source)  # of a Qwen it splits as Qwen does, whatever its file says
    file = tmp_path / "model.gguf"
    write_gguf(source, file, "f16", name="a model")
    back = load(ModelConfig(name=str(file), device="cpu", dtype="float32"))
    texts = [made(text)["input_ids"] for text in TEXTS]
    assert [back.tokenizer.backend(text)["input_ids"] for text in TEXTS] == texts
    assert back.tokenizer.backend.chat_template == made.chat_template
    assert (back.tokenizer.backend.eos_token_id, back.tokenizer.backend.pad_token_id) == (257, 258)
    for ours, theirs in zip(logits(source, texts), logits(Path(back.source), texts), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
        assert float(ours.std()) > 1.0


@pytest.mark.parametrize(
    ("kind", "step"), [("f16", 2.0**-11), ("bf16", 2.0**-8), ("q8_0", 1 / 127)]
)  # the largest relative error: of a number in f16 and bf16, of its block's largest in q8_0
def test_tensors_lie_in_the_file_within_the_precision_of_their_type(tmp_path: Path, kind: Any, step: float) -> None:
    source = model("Qwen2", tmp_path / "model", tokenizer(), tie_word_embeddings=True)
    file = tmp_path / "model.gguf"
    write_gguf(source, file, kind, name="a model")
    from safetensors.torch import load_file

    there = {tensor.name: tensor for tensor in numbers_of(file).tensors}
    ours = load_file(source / "model.safetensors")
    assert len(there) == len(ours) == 2 + 2 * 12
    for theirs, name in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
        ("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight"),
    ):
        assert there[theirs].tensor_type.name == kind.upper()
        read = gguf.quants.dequantize(there[theirs].data, there[theirs].tensor_type).reshape(ours[name].shape)
        expected = ours[name].float().numpy()
        assert np.abs(read - expected).max() <= step * np.abs(expected).max()
    for theirs, name in (
        ("blk.1.attn_q.bias", "model.layers.1.self_attn.q_proj.bias"), ("output_norm.weight", "model.norm.weight"),
    ):  # fmt: skip
        assert there[theirs].tensor_type.name == "F32"
        assert np.array_equal(there[theirs].data, ours[name].float().numpy())


def test_rows_that_no_block_of_32_divides_stay_in_f16(tmp_path: Path) -> None:
    source = model("Qwen2", tmp_path / "model", tokenizer(), intermediate_size=72)
    write_gguf(source, tmp_path / "model.gguf", "q8_0", name="a model")
    types = {tensor.name: tensor.tensor_type.name for tensor in numbers_of(tmp_path / "model.gguf").tensors}
    assert types["blk.0.ffn_down.weight"] == "F16"
    assert types["blk.0.ffn_up.weight"] == "Q8_0"


def test_llamas_rows_are_put_in_pairs() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert in_pairs(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert in_pairs(rows, 1)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_the_scaled_positions_of_llama_3_1_stand_in_the_file(tmp_path: Path) -> None:
    source = model("Llama", tmp_path / "model", tokenizer(bos=True), rope_parameters=LLAMA3)
    write_gguf(source, tmp_path / "model.gguf", "f16", name="a model")
    reader = numbers_of(tmp_path / "model.gguf")
    (found,) = (tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight")
    # Llama 3.1: wavelengths above the old context / 1 are stretched 8 times, those below old context / 4 not at all.
    waves = [2 * math.pi * 500000.0 ** (i / 16) for i in range(0, 16, 2)]
    for wave, factor in zip(waves, found.tolist(), strict=True):
        smooth = (64 / wave - 1) / 3
        expected = 8.0 if wave > 64 else 1.0 if wave < 16 else 1 / ((1 - smooth) / 8 + smooth)
        assert factor == pytest.approx(expected, rel=1e-4)
    assert len({round(float(factor), 3) for factor in found}) >= 3
    assert reader.get_field("tokenizer.ggml.add_bos_token").contents() is True
    assert reader.get_field("llama.rope.freq_base").contents() == 500000.0


def test_rows_without_a_token_and_a_vocabulary_without_merges_have_a_place(tmp_path: Path) -> None:
    write_gguf(TINY, tmp_path / "tiny.gguf", "f16", name="tiny")
    reader = numbers_of(tmp_path / "tiny.gguf")
    tokens, types = (reader.get_field(f"tokenizer.ggml.{name}").contents() for name in ("tokens", "token_type"))
    assert (len(tokens), tokens[258], types[258], types[0]) == (448, "\n```\n", 4, 3)
    last = tokens.index("99")
    assert tokens[last : last + 3] == ["99", "ÿÿ", f"[PAD{last + 2}]"]
    assert reader.get_field("tokenizer.ggml.merges").contents() == ["ÿ ÿ"]


@pytest.mark.parametrize(
    ("kind", "more", "split", "words"),
    [
        ("Gemma", {}, "qwen2", "its architecture is GemmaForCausalLM; minizero writes LlamaForCausalLM"),
        ("Llama", {"attention_bias": True}, "qwen2", r"its attention has biases \(attention_bias\)"),
        ("Llama", {"mlp_bias": True}, "qwen2", "its feed-forward layers have biases"),
        ("Llama", {}, r"\w+|\W+", "its tokenizer splits text in none of the ways"),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "qwen2", "sliding"),
        ("Llama", {"rope_parameters": LLAMA3 | {"rope_type": "yarn"}}, "qwen2", "its positions are scaled by yarn"),
    ],
)  # fmt: skip
def test_what_would_not_be_written_rightly_is_refused_by_name(
    tmp_path: Path, kind: str, more: dict[str, Any], split: str, words: str
) -> None:
    source = model(kind, tmp_path / "model", tokenizer(split), **more)
    with pytest.raises(ModelError, match=words) as caught:
        write_gguf(source, tmp_path / "model.gguf", "f16", name="a model")
    assert "minizero export RUN --merged  and convert it with llama.cpp's convert_hf_to_gguf.py" in str(caught.value)
    assert not (tmp_path / "model.gguf").exists()


def test_ways_of_splitting_are_known_by_llama_cpps_names(tmp_path: Path) -> None:
    for name in ("qwen2", "llama-bpe", "smollm", "gpt-2"):
        assert pre_tokenizer_name(tokenizer(name)) == name
    core = json.loads(tokenizer("gpt-2").backend_tokenizer.to_str())
    assert core["pre_tokenizer"]["use_regex"] is True
    check_writable(model("Qwen2", tmp_path / "model", tokenizer("smollm")))
