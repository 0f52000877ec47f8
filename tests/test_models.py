"""Finding and loading models: what is no model is told before anything heavy happens."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minizero.config.schema import ModelConfig
from minizero.models.load import load, locate, style_for
from minizero.models.tokenizer import check_tokenizer
from minizero.types import Message, MissingPackage, ModelError, Prompt


def test_a_directory_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"without config\.json"):
        locate(str(tmp_path))


def test_a_path_that_does_not_exist_is_told() -> None:
    with pytest.raises(ModelError, match="no such directory"):
        locate("./nowhere")


def test_a_directory_with_a_broken_config_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded as a model"):
        load(ModelConfig(name=str(tmp_path)))


def test_a_hub_name_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(ModelError, match="hub did not give it"):
        load(ModelConfig(name="nobody/no-such-model"))


def test_a_local_model_loads_in_float32_on_the_cpu(random_model: Path) -> None:
    loaded = load(ModelConfig(name=str(random_model), device="cpu"))
    assert str(loaded.model.dtype) == "torch.float32"
    assert loaded.tokenizer.eos_ids == (256,)
    assert style_for(loaded) == "r1"


def test_prompts_without_a_chat_template_are_concatenated(random_model: Path) -> None:
    tokenizer = load(ModelConfig(name=str(random_model), device="cpu")).tokenizer
    ids = tokenizer.encode(Prompt((Message("user", "a"), Message("user", "b")), prefill="c"))
    assert tokenizer.decode(ids) == "a\nbc"


def test_a_chat_prompt_needs_a_chat_template(random_model: Path) -> None:
    tokenizer = load(ModelConfig(name=str(random_model), device="cpu")).tokenizer
    with pytest.raises(ModelError, match=r"no chat template\. Try --set prompt\.style=r1"):
        tokenizer.encode(Prompt((Message("user", "a"),), chat=True))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading weights fails the test: what is asked for must be told before."""
    from transformers import AutoModelForCausalLM

    def load_weights(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load_weights)


def changed(model: Path, path: Path, file: str, **values: Any) -> ModelConfig:
    """A copy of a model directory with other values in one of its JSON files; None takes one out."""
    shutil.copytree(model, path, dirs_exist_ok=True)
    told = json.loads((path / file).read_text()) | values
    (path / file).write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    return ModelConfig(name=str(path), device="cpu")


@pytest.mark.usefixtures("no_weights")
def test_the_chat_style_without_a_template_is_told_before_weights_load(random_model: Path) -> None:
    with pytest.raises(ModelError, match=r"no chat template\. Try --set prompt\.style=r1"):
        load(ModelConfig(name=str(random_model), device="cpu"), "chat")


def test_a_tokenizer_without_an_end_is_told() -> None:
    silent = SimpleNamespace(eos_token_id=None, vocab_size=258)
    with pytest.raises(ModelError, match="names an end-of-sequence token"):
        check_tokenizer(silent, silent, {}, "r1")
    assert check_tokenizer(silent, silent, {"eos_token_id": [7, 9]}, "r1") == (7, 9)


@pytest.mark.usefixtures("no_weights")
def test_a_tokenizer_of_another_model_is_told_before_weights_load(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has id 256, but the model knows 100 tokens"):
        load(changed(random_model, tmp_path, "config.json", vocab_size=100))


@pytest.mark.usefixtures("no_weights")
def test_a_missing_bitsandbytes_is_named_before_weights_load(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackage, match=r"minizero\[qlora\]"):
        load(ModelConfig(name=str(random_model), quantization="nf4", device="cpu"))


@pytest.mark.usefixtures("no_weights")
def test_a_missing_gguf_is_named_before_weights_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingPackage, match=r"minizero\[gguf\]"):
        load(ModelConfig(name=str(tmp_path / "model.gguf"), device="cpu"))


def test_the_tiny_model_is_built_in() -> None:
    loaded = load(ModelConfig(name="tiny", device="cpu"))
    assert style_for(loaded) == "compact"
    assert loaded.parameters < 6_000_000
