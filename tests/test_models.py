"""Finding and loading models: what is no model is told before anything heavy happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from minizero.config.schema import ModelConfig
from minizero.models import load, locate, style_for
from minizero.types import Message, ModelError, Prompt


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
    assert loaded.tokens.eos_ids == (256,)
    assert style_for(loaded) == "r1"


def test_prompts_without_a_chat_template_are_concatenated(random_model: Path) -> None:
    tokens = load(ModelConfig(name=str(random_model), device="cpu")).tokens
    ids = tokens.encode(Prompt((Message("user", "a"), Message("user", "b")), prefill="c"))
    assert tokens.decode(ids) == "a\nbc"


def test_a_chat_prompt_needs_a_chat_template(random_model: Path) -> None:
    tokens = load(ModelConfig(name=str(random_model), device="cpu")).tokens
    with pytest.raises(ModelError, match=r"no chat template\. Try --set prompt\.style=r1"):
        tokens.encode(Prompt((Message("user", "a"),), chat=True))


def test_the_tiny_model_is_built_in() -> None:
    loaded = load(ModelConfig(name="tiny", device="cpu"))
    assert style_for(loaded) == "compact"
    assert loaded.parameters < 6_000_000
