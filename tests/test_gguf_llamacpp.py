"""llama.cpp itself reads the GGUF files that we write: the same tokens, the same log-probabilities as transformers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from minizero.models.gguf_write import write_gguf
from tests.test_gguf_write import LLAMA3, TEXTS, model, tokenizer

pytest.importorskip("gguf", reason="gguf is not installed: pip install 'minizero[gguf]'")
xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not there: pip install xllamacpp")


@contextmanager
def llama_cpp(file: Path) -> Iterator[Any]:
    """Ask llama.cpp's server, on this machine: a function of path and values."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.warmup, settings.port = 512, 1, False, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.n_gpu_layers = 0
    server = xllamacpp.Server(settings)

    def ask(path: str, **values: Any) -> Any:
        request = urllib.request.Request(
            f"{server.listening_address}/{path}", json.dumps(values).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    yield ask


def compare(source: Path, file: Path, texts: tuple[str, ...]) -> float:
    """Mean difference of the log-probabilities of the ten likeliest next tokens; the tokens are compared too."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = AutoTokenizer.from_pretrained(source)
    network = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    apart: list[float] = []
    with llama_cpp(file) as ask:
        for text in texts:
            ids = made(text)["input_ids"]
            assert ask("tokenize", content=text, add_special=True, parse_special=True)["tokens"] == ids
            with torch.no_grad():
                expected = network(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            # A token that is text by itself, whatever is likeliest: half a character would be held back.
            forced = {"temperature": 0.0, "logit_bias": [[made.convert_tokens_to_ids("a"), 1000.0]]}
            found = ask("completion", prompt=ids, n_predict=1, n_probs=10, cache_prompt=False, **forced)
            for row in found["completion_probabilities"][0]["top_logprobs"]:
                apart.append(abs(row["logprob"] - float(expected[row["id"]])))
    return sum(apart) / len(apart)


@pytest.mark.parametrize(
    ("kind", "more", "split"),
    [
        ("Qwen2", {"tie_word_embeddings": True}, "qwen2"),
        ("Llama", {"tie_word_embeddings": False}, "llama-bpe"),
        ("Llama", {"rope_parameters": LLAMA3, "head_dim": 32}, "llama-bpe"),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, "smollm"),
        ("Qwen3", {"head_dim": 128}, "qwen2"),
    ],
)
def test_llama_cpp_computes_what_transformers_computes(
    tmp_path: Path, kind: str, more: dict[str, Any], split: str
) -> None:
    source = model(kind, tmp_path / "model", tokenizer(split, bos=kind == "Llama"), **more)
    write_gguf(source, tmp_path / "model.gguf", "f16", name="a model")
    assert compare(source, tmp_path / "model.gguf", (*TEXTS, 10 * TEXTS[0])) < 0.05
