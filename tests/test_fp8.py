"""8-bit floats in vLLM: which cards and settings they need, what the engine is started with, and what they do to the
plan. Without such a card nothing here computes with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from minizero.config import Config, load_config
from minizero.planner import check_fits, make_plan, shares_weights
from minizero.planner.cards import CARDS, Card
from minizero.planner.plan import Plan
from minizero.rollout import vllm_settings
from minizero.rollout.agreement import refuse_uncorrected, tolerance_of
from minizero.types import ConfigError

CODER_3B = ("model.name=Qwen/Qwen2.5-Coder-3B", "sampler.max_rows=128", "selfplay.max_prompt_tokens=2048")
CACHE, WEIGHTS = "sampler.kv_dtype=fp8", "sampler.weights=fp8"


def config(*settings: str) -> Config:
    return load_config(overrides=[*CODER_3B, *settings])


def planned(card: str, *settings: str) -> Plan:
    return make_plan(config(*settings), card)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((CACHE, "loss.correction=none"), r"sampler\.kv_dtype=fp8 with loss\.correction = \"none\""),
        ((CACHE, WEIGHTS, "loss.correction=none"), r"sampler\.kv_dtype=fp8 and sampler\.weights=fp8 with loss"),
        ((WEIGHTS, "sampler.backend=transformers"), "from the trainer's own weights and cache"),
        ((WEIGHTS, "model.quantization=nf4"), "vLLM's weights have 4 bits"),
        ((WEIGHTS, "sampler.share_weights=true"), "vLLM's weights are a copy"),
    ],
)
def test_what_contradicts_them_is_told(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(*settings)


def test_a_ratio_to_the_sampler_itself_needs_no_correction() -> None:
    assert config(CACHE, "loss.correction=none", "loss.old_policy=sampler").sampler.kv_dtype == "fp8"


def test_the_cards_that_have_them_are_ada_and_later() -> None:
    has = {name for name, card in CARDS.items() if card.has_fp8}
    assert {"rtx4060", "rtx4090", "rtx4050-laptop", "rtx5090", "l4", "h100", "h200"} <= has
    assert not {"rtx3090", "rtx3050-laptop", "rtx2080ti", "a10", "a100-80g"} & has


def here(monkeypatch: pytest.MonkeyPatch, card: Card | None) -> None:
    monkeypatch.setattr("minizero.planner.cards.this_card", lambda: card)


@pytest.mark.parametrize("setting", [CACHE, WEIGHTS])
def test_a_card_without_them_is_told_before_anything_loads(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, CARDS["rtx3090"])
    with pytest.raises(ConfigError, match=r"compute capability 8\.9\); rtx3090 does not multiply them"):
        check_fits(config(setting))
    here(monkeypatch, None)
    with pytest.raises(ConfigError, match="there is no card"):
        check_fits(config(setting))
    with pytest.raises(ConfigError, match="there is no card"):  # sizes that nobody knows change nothing about it
        check_fits(load_config(overrides=["model.name=nobody/unknown", setting]))
    assert "! sampler" in planned("rtx3090", setting).text()
    assert "! sampler" not in planned("rtx4090", setting).text()


def test_a_cache_of_8_bits_holds_twice_the_tokens() -> None:
    plain, packed = (planned("rtx4090", "sampler.kv_gib=4", *more) for more in ((), (CACHE,)))
    assert packed.cache_tokens == 2 * plain.cache_tokens
    assert packed.total == plain.total


def test_where_the_cache_is_what_a_step_waits_for_8_bits_shorten_it() -> None:
    small = ("model.name=Qwen/Qwen3-4B-Base", "sampler.kv_gib=2.5", "optim.micro_batch_tokens=8192")
    plain, packed = (planned("rtx4090", *small, *more) for more in ((), (CACHE,)))
    assert packed.expected["attempts"] < 0.65 * plain.expected["attempts"]
    assert packed.expected["update"] == plain.expected["update"]


def test_weights_of_8_bits_are_a_copy_that_decodes_faster() -> None:
    plain, packed = (planned("rtx4090", *more) for more in ((), (WEIGHTS,)))
    linear, embedding = plain.shape.linear, plain.shape.embedding
    assert packed.parts["weights, trainer"] == plain.parts["weights, of both"]
    assert packed.parts["weights, sampler"] == pytest.approx((linear + 2 * embedding) / 2**30)
    assert packed.weights == packed.parts["weights, sampler"]
    assert not shares_weights(packed.config, "cuda")
    # 128 rows wait for memory there: 6.17 GB of weights and 3.82 of cache a token, then 3.40 and 3.82
    assert packed.expected["attempts"] == pytest.approx(0.72 * plain.expected["attempts"], rel=0.02)
    # 1.594 M sampled tokens at 2 (2.775 / 2 + 0.311) and not 2 x 3.086 operations, 0.595 M learned ones at 6 x 3.086
    assert packed.bounds["arithmetic"] == pytest.approx(0.788 * plain.bounds["arithmetic"], rel=0.002)
    assert packed.expected["update"] == plain.expected["update"]


def engine(*settings: str) -> dict[str, Any]:
    sizes = SimpleNamespace(to_dict=dict)
    model = SimpleNamespace(dtype=torch.bfloat16, config=SimpleNamespace(get_text_config=lambda decoder: sizes))
    policy: Any = SimpleNamespace(device="cuda", model=model)
    return vllm_settings.engine_settings(config(*settings), policy)


def test_the_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_settings, "kv_bytes", lambda config, sizes: 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (18 * 2**30, 24 * 2**30))
    assert engine(CACHE)["kv_cache_dtype"] == "fp8"
    assert "quantization" not in engine(CACHE)
    assert engine(WEIGHTS)["quantization"] == "fp8"
    assert "kv_cache_dtype" not in engine(WEIGHTS)


@pytest.mark.parametrize("setting", [CACHE, WEIGHTS])
def test_the_self_test_allows_what_two_engines_round_and_wants_the_correction(setting: str) -> None:
    model = SimpleNamespace(dtype=torch.bfloat16, config=SimpleNamespace())

    def policy(*more: str) -> Any:
        return SimpleNamespace(model=model, config=config(*more))

    sampler: Any = SimpleNamespace(model=None)
    assert tolerance_of(policy()) == 0.1
    assert tolerance_of(policy(setting)) == 0.2
    refuse_uncorrected(policy(setting), sampler)
    uncorrected = config(setting).model_copy(update={"loss": config("loss.correction=none").loss})
    with pytest.raises(ConfigError, match="quantised base in another engine"):
        refuse_uncorrected(SimpleNamespace(model=model, config=uncorrected), sampler)  # type: ignore[arg-type]


def test_this_machines_card_says_by_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    from minizero.planner import cards

    for name, value in {"is_available": True, "get_device_name": "NVIDIA GeForce RTX 4090"}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=24 * 2**30))
    monkeypatch.setattr(cards, "free_at_start", lambda: 23.0)
    found: list[Card | None] = []
    for capability in ((8, 6), (8, 9), (12, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_, capability=capability: capability)
        found.append(cards.this_card())
    assert [card.has_fp8 for card in found if card] == [False, True, True]


def test_the_settings_are_the_files_own_names(tmp_path: Path) -> None:
    file = tmp_path / "fp8.toml"
    file.write_text('[sampler]\nkv_dtype = "fp8"\nweights = "fp8"\n')
    assert load_config([file]).sampler.weights == "fp8"
