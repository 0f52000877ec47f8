"""Finding and loading models: what is no model is told before anything heavy happens."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minizero.config import load_config
from minizero.config.schema import ModelConfig
from minizero.models.load import load
from minizero.models.names import check_name, check_positions, locate, positions_change_after
from minizero.models.style import style_of
from minizero.models.tokenizer import check_tokenizer
from minizero.rollout.transformers import TransformersSampler, longest_text
from minizero.types import Message, MissingPackage, ModelError, Prompt, Request
from tests.architectures import write_model


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
    assert loaded.style.name == "r1"


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
    with pytest.raises(MissingPackage, match=r"make install EXTRAS=qlora"):
        load(ModelConfig(name=str(random_model), quantization="nf4", device="cpu"))


@pytest.mark.usefixtures("no_weights")
def test_a_missing_gguf_is_named_before_weights_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingPackage, match=r"make install EXTRAS=gguf"):
        load(ModelConfig(name=str(tmp_path / "model.gguf"), device="cpu"))


def test_the_tiny_model_is_built_in() -> None:
    loaded = load(ModelConfig(name="tiny", device="cpu"))
    assert loaded.style.name == "compact"
    assert loaded.parameters < 6_000_000


# -- which prompts suit a model ---------------------------------------------------------------------------------------

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


class Spoken:
    """A tokenizer with a chat template and two special tokens: 1 ends a text, 2 a turn."""

    chat_template: str | None = CHATML
    all_special_ids = (1, 2)

    def apply_chat_template(self, turns: Any, **_: Any) -> str:
        return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [2 if part == "<|im_end|>" else 9 for part in text.split("\n") if part]}

    def convert_ids_to_tokens(self, token: int) -> str:
        return {1: "<|endoftext|>", 2: "<|im_end|>"}[token]


def test_a_model_whose_answers_end_as_its_template_ends_a_turn_chats_whatever_its_directory_is_called() -> None:
    style = style_of("models/smollm2", Spoken(), (2, 1))
    assert (style.name, style.reason) == (
        "chat",
        "its chat template ends a turn with <|im_end|>, and so do its answers",
    )


def test_a_base_model_with_a_template_does_not_chat_even_when_its_name_says_so() -> None:
    style = style_of("base-of-chat-instruct-it", Spoken(), (1,))
    assert style.name == "r1"
    assert "its own texts do not" in style.reason


def test_a_template_that_cannot_be_rendered_is_not_used() -> None:
    broken = Spoken()
    broken.apply_chat_template = lambda *_, **__: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    assert style_of("x", broken, (2,)).name == "r1"


def test_a_prompt_and_answer_beyond_the_positions_are_refused_before_weights_load(random_model: Path) -> None:
    config = load_config(
        overrides=[
            f"model.name={str(random_model)!r}",
            "selfplay.max_prompt_tokens=99999",
            "selfplay.solve_max_tokens=64",
        ]
    )
    with pytest.raises(ModelError, match=r"together, but .* reads \d+\. Try  --set selfplay\.max_prompt_tokens="):
        check_positions(config)


LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [
        ({}, None),
        ({"rope_parameters": None}, None),
        ({"rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 64}}, None),
        ({"rope_parameters": LONGROPE | {"original_max_position_embeddings": 64}}, 64),
        ({"rope_parameters": {"full_attention": LONGROPE | {"original_max_position_embeddings": 32}, "other": {}}}, 32),
    ],
)
def test_the_length_at_which_longrope_changes_every_position_is_known(sizes: Any, limit: int | None) -> None:
    assert positions_change_after(SimpleNamespace(**sizes)) == limit


def test_what_an_index_chooses_is_not_decoded_beyond_its_size() -> None:
    assert longest_text(SimpleNamespace()) == (0, "")
    indexed = SimpleNamespace(index_topk=2048)
    assert longest_text(indexed) == (2048, "chooses the tokens that it sees by an index (index_topk)")
    rope = LONGROPE | {"original_max_position_embeddings": 64}
    assert longest_text(SimpleNamespace(index_topk=2048, rope_parameters=rope))[0] == 64


@pytest.mark.filterwarnings("ignore")
def test_texts_beyond_that_length_are_refused_before_weights_load_and_by_the_sampler(tmp_path: Path) -> None:
    sizes = {"rope_parameters": LONGROPE, "original_max_position_embeddings": 48}
    write_model("phi3", tmp_path, sizes)
    settings = [f"model.name={str(tmp_path)!r}", "selfplay.max_prompt_tokens=32", "selfplay.propose_max_tokens=16"]
    with pytest.raises(ModelError, match=r"computes other positions in texts of more than 48 .*max_prompt_tokens=28"):
        check_positions(load_config(overrides=[*settings, "selfplay.solve_max_tokens=20"]))
    check_positions(load_config(overrides=[*settings, "selfplay.solve_max_tokens=16"]))
    loaded = load(ModelConfig(name=str(tmp_path), device="cpu"))
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    sampler.submit(Request("fits", Prompt((Message("user", "a" * 40),)), 8, 0))
    with pytest.raises(ModelError, match="long: 40 prompt tokens and 9 new ones, but in texts of more than 48 tokens"):
        sampler.submit(Request("long", Prompt((Message("user", "a" * 40),)), 9, 0))


def test_a_mistyped_hub_name_without_a_network_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(
        ModelError, match=r"not in the local cache.*\(ConnectionError\)\. Did you mean Qwen2\.5-Coder-3B\?"
    ):
        check_name("Qwen2.5-Codr-3B", ["Qwen2.5-Coder-3B", "Qwen3-4B-Base"])


def test_a_name_that_the_hub_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    from huggingface_hub.errors import RepositoryNotFoundError

    def unknown(*_: Any, **__: Any) -> None:
        raise RepositoryNotFoundError(
            "none", response=httpx2.Response(404, request=httpx2.Request("GET", "https://hub"))
        )

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unknown)
    with pytest.raises(ModelError, match="no directory here and no model on the hub"):
        check_name("nobody/nothing")


def test_a_made_model_is_the_qwen2_that_transformers_would_make_and_its_tokenizer_is_of_bytes(tmp_path: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, Qwen2ForCausalLM

    from minizero.models.made import SMALL, write_random_model

    path = write_random_model(tmp_path / "model")
    model, told = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert isinstance(model, Qwen2ForCausalLM)
    assert not any(told.values())  # nothing is missing, unexpected or of another shape
    fresh = Qwen2ForCausalLM(AutoConfig.from_pretrained(path)).state_dict()
    assert {name: p.shape for name, p in model.state_dict().items()} == {name: p.shape for name, p in fresh.items()}
    assert model.dtype == torch.float32
    loaded = load(ModelConfig(name=str(path), device="cpu"))
    text = "def f(x):\n    return 'é'"
    ids = loaded.tokenizer.encode(Prompt((Message("user", text),)))
    assert len(ids) == len(text.encode())
    assert loaded.tokenizer.decode([*ids, 256, 257]) == text
    assert (loaded.tokenizer.eos_ids, loaded.tokenizer.pad_id) == ((256,), 257)
    logits = loaded.model(input_ids=torch.tensor([ids])).logits.detach()
    assert logits.std() > 0.3  # far from uniform
    with pytest.raises(FileExistsError):
        write_random_model(path, SMALL)
