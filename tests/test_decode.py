"""Two ways to decode rows: both give what the model's forward pass gives, and neither is used without a trial."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from minizero.config import load_config
from minizero.config.schema import ModelConfig
from minizero.models.architecture import describe
from minizero.models.load import LoadedModel, load
from minizero.rollout import decode, transformers
from minizero.rollout.decode import EqualRows, PaddedRows, check_has_cache, choose_decoder
from minizero.rollout.make import check_sampler
from minizero.rollout.protocol import drain
from minizero.rollout.transformers import TransformersSampler
from minizero.types import Completion, Message, ModelError, Prompt, Request

# Prompts of three lengths, some of them twice; rows end at many places.
REQUESTS = [
    Request(f"r{i}", Prompt((Message("user", "ab" * (1 + i % 3)),)), 5 + 3 * i, i, n=1 + i % 3, adapter=i != 4)
    for i in range(7)
]


@pytest.fixture(scope="module")
def loaded(random_model: Path) -> LoadedModel:
    return load(ModelConfig(name=str(random_model), dtype="float32", device="cpu"))


def run(loaded: LoadedModel, max_rows: int = 256) -> dict[tuple[str, int], Completion]:
    sampler = TransformersSampler(loaded.model, loaded.tokenizer, max_rows=max_rows, adapter_off=nullcontext)
    for request in REQUESTS:
        sampler.submit(request)
    done = list(drain(sampler))
    assert sampler.pending == 0
    return {(c.request_id, c.index): c for c in done}


@pytest.mark.parametrize("max_rows", [256, 3])
def test_rows_of_one_length_at_a_time_write_what_rows_side_by_side_do(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, max_rows: int
) -> None:
    padded = run(loaded)
    assert len(padded) == sum(request.n for request in REQUESTS)
    monkeypatch.setattr(transformers, "choose_decoder", lambda architecture: EqualRows)
    equal = run(loaded, max_rows)
    assert {place: c.ids for place, c in equal.items()} == {place: c.ids for place, c in padded.items()}
    for place, completion in equal.items():
        assert completion.log_probs == pytest.approx(padded[place].log_probs, abs=1e-4)


def test_the_faster_way_is_chosen_where_it_is_right(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = describe(loaded.model)
    assert choose_decoder(architecture) is PaddedRows
    align = decode.BatchCache.align_right
    monkeypatch.setattr(decode.BatchCache, "align_right", lambda self, lengths: align(self, lengths.flip(0)))
    assert choose_decoder(architecture) is EqualRows
    monkeypatch.setattr(EqualRows, "select", lambda self, rows: None)
    with pytest.raises(ModelError, match=r"Qwen2ForCausalLM cannot be sampled .* --set sampler\.backend=vllm"):
        choose_decoder(architecture)


def test_an_architecture_without_a_cache_is_refused_before_weights_load(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "openai-gpt"}))
    config = load_config(overrides=[f"model.name={str(tmp_path)!r}", "model.device=cpu"])
    with pytest.raises(ModelError, match=r"OpenAIGPTLMHeadModel cannot .* its code has no cache.*vllm"):
        check_sampler(config)
    check_has_cache("tiny")
    check_has_cache("nobody/not-here-yet")  # a download may come
