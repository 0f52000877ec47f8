"""The planner: its formulas count what torch keeps, its sizes are those of real adapters, it says what would fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from minizero.config import load_config
from minizero.metrics import metric_for
from minizero.models.attention import register
from minizero.planner import check_fits, expected_of, kv_bytes, make_plan, resolve_for_machine
from minizero.planner.cards import CARDS, GEFORCE, Card, find_card, free_at_start, is_part, known_card, this_card
from minizero.planner.fill import ENOUGH_SEQUENCES, budget_of
from minizero.planner.memory import kv_token_bytes, layer_bytes, longest, memory, peak
from minizero.planner.pace import seconds, work_done, work_of
from minizero.planner.shapes import KNOWN, find_shape, shape_of
from minizero.types import Completion, ConfigError, ModelError
from tests.card_configs import CARD_CONFIGS

ROOT = Path(__file__).parent.parent
CODER_3B = ("model.name=Qwen/Qwen2.5-Coder-3B",)
SMALL = ("optim.gradient_checkpointing=true", "optim.logits_chunk=256", "optim.micro_batch_tokens=8192")


def built(kind: str, layers: int, rank: int) -> tuple[Any, Any]:
    """A random model with an adapter on all linear layers, in bfloat16, and its config."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    register()
    sizes: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": layers, "head_dim": 32,
        "num_attention_heads": 8, "num_key_value_heads": 2, "tie_word_embeddings": True,
        "attn_implementation": "minizero_attention",
    }  # fmt: skip
    model = Qwen2ForCausalLM(Qwen2Config(**sizes)) if kind == "qwen2" else Qwen3ForCausalLM(Qwen3Config(**sizes))
    lora = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(model.to(torch.bfloat16), lora, autocast_adapter_dtype=False)
    return model, model.config


def saved_bytes(model: Any, tokens: int) -> int:
    """Bytes of all storages that the forward pass keeps for the backward pass, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # alive, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_a_layers_formula_is_within_five_percent_of_what_torch_keeps(kind: str) -> None:
    tokens, rank = 128, 8
    # The difference of two depths is one layer, without embedding and last norm.
    (three, config), (two, _) = (built(kind, layers, rank) for layers in (3, 2))
    measured = (saved_bytes(three, tokens) - saved_bytes(two, tokens)) / tokens
    assert layer_bytes(shape_of(config.to_dict(), kind), rank) == pytest.approx(measured, rel=0.05)


def test_parameters_and_adapter_are_those_of_the_built_model() -> None:
    model, config = built("qwen2", 2, 8)
    shape = shape_of(config.to_dict(), "built")
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert shape.lora(8) == trained
    assert shape.parameters == pytest.approx(frozen, rel=0.005)  # norms and biases are left out


@pytest.mark.parametrize(
    ("name", "billions", "adapter_millions"),
    [
        ("qwen2.5-1.5b", 1.54, 36.9),
        ("qwen2.5-3b", 3.09, 59.9),
        ("qwen2.5-7b", 7.62, 80.7),
        ("llama-3.1-8b", 8.03, 83.9),
    ],
)
def test_known_shapes_have_the_parameters_that_their_makers_name(
    name: str, billions: float, adapter_millions: float
) -> None:
    assert KNOWN[name].parameters / 1e9 == pytest.approx(billions, rel=0.005)
    assert KNOWN[name].lora(32) / 1e6 == pytest.approx(adapter_millions, rel=0.005)


def test_the_cache_of_a_token_is_key_and_value_in_every_layer() -> None:
    assert kv_token_bytes(KNOWN["qwen2.5-3b"]) == 2 * 2 * 256 * 36  # 36 kB


def test_hub_names_find_their_shape_without_a_download() -> None:
    assert find_shape("Qwen/Qwen2.5-Coder-3B-Instruct") == KNOWN["qwen2.5-3b"]
    assert find_shape("meta-llama/Llama-3.1-8B") == KNOWN["llama-3.1-8b"]
    assert find_shape("Qwen/Qwen3-4B-Base") == KNOWN["qwen3-4b"]


def test_what_cannot_be_planned_is_told() -> None:
    with pytest.raises(ModelError, match="sizes are not known"):
        find_shape("nobody/no-such-model")
    with pytest.raises(ModelError, match="mixture of experts"):
        shape_of({"num_experts": 8, "hidden_size": 64}, "moe")
    with pytest.raises(ConfigError, match="There are rtx3090"):
        find_card("voodoo2")


def test_a_plan_that_fits_uses_what_is_left_for_the_cache() -> None:
    plan = make_plan(load_config(overrides=[*CODER_3B, *SMALL]), "rtx3090")
    assert plan.fits
    assert plan.total == pytest.approx(22.5)  # of 23.5, 1 stays unplanned
    assert plan.parts["weights, of both"] == pytest.approx(5.75, abs=0.01)  # 3.09 B x 2 bytes, once
    assert 9 < sum(plan.expected.values()) / 60 < 12
    assert sum(plan.floor.values()) < sum(plan.expected.values())
    assert "no run on a card has confirmed" in plan.text()


def test_a_plan_that_does_not_fit_names_the_smallest_change_that_would() -> None:
    seven = ("model.name=Qwen/Qwen2.5-7B", "run.vram_gib=20", *SMALL)
    plan = make_plan(load_config(overrides=seven), "rtx3090")
    assert not plan.fits
    assert plan.change == ("model.quantization=nf4",)
    assert "It would with:  --set model.quantization=nf4" in plan.text()
    changed = load_config(overrides=[*seven, *plan.change])
    assert make_plan(changed, "rtx3090").fits


def test_one_dial_bounds_the_plan_and_all_that_follows_from_it() -> None:
    plans = [make_plan(load_config(overrides=[*CODER_3B, f"run.vram_gib={gib}"]), "rtx3090") for gib in (80, 20, 12, 8)]
    for plan, gib in zip(plans[:3], (80, 20, 12), strict=True):
        assert plan.fits
        assert plan.total <= gib + 1e-9
    optims = [plan.config.optim for plan in plans]
    assert [o.gradient_checkpointing for o in optims] == [False, True, True, True]
    assert optims[0].micro_batch_tokens >= optims[1].micro_batch_tokens >= optims[2].micro_batch_tokens
    assert [plan.released for plan in plans] == [False, False, True, True]
    assert not plans[3].fits


def test_a_hub_name_without_a_config_file_fits_a_24_gib_card() -> None:
    plan = make_plan(load_config(overrides=[*CODER_3B]), "rtx3090")
    assert plan.fits
    assert plan.cache_tokens >= ENOUGH_SEQUENCES * longest(plan.config)
    assert (plan.config.optim.gradient_checkpointing, plan.released) == (True, False)


def test_what_the_user_set_is_not_changed_by_the_plan() -> None:
    asked = ("optim.micro_batch_tokens=7000", "optim.gradient_checkpointing=false", "sampler.release_kv=true")
    config = make_plan(load_config(overrides=[*CODER_3B, *asked, "optim.logits_chunk=99"]), "a100-80g").config
    assert (config.optim.micro_batch_tokens, config.optim.gradient_checkpointing) == (7000, False)
    assert (config.optim.logits_chunk, config.sampler.release_kv) == (99, True)


def test_the_tiny_model_is_given_on_a_cpu_what_it_was_measured_with(random_model: Path) -> None:
    config = load_config(overrides=[f"model.name={str(random_model)!r}", "model.device=cpu"])
    found = resolve_for_machine(config, find_shape_config(random_model)).optim
    assert (found.micro_batch_tokens, found.gradient_checkpointing, found.logits_chunk) == (16384, False, 1024)


def find_shape_config(path: Path) -> dict[str, Any]:
    import json

    return dict(json.loads((path / "config.json").read_text()))


def test_a_model_that_the_formulas_do_not_describe_is_trained_with_care() -> None:
    config = resolve_for_machine(load_config(overrides=["model.device=cpu"]), {"num_experts": 8, "vocab_size": 151936})
    assert (config.optim.micro_batch_tokens, config.optim.gradient_checkpointing) == (4096, True)
    assert (config.optim.logits_chunk, config.sampler.release_kv) == (441, False)


def test_sampling_and_learning_take_turns() -> None:
    parts = {"weights, of both": 6.0, "learning from a micro-batch": 4.0, "vLLM, a batch": 0.5}
    assert peak(parts, 5.0, released=False) == 6 + 4 + 5
    assert peak(parts, 5.0, released=True) == 6 + 5.5
    assert peak(parts, 1.0, released=True) == 6 + 4


def test_weights_exist_once_where_they_are_shared() -> None:
    shape = KNOWN["qwen2.5-3b"]
    once, twice, nf4 = (
        memory(load_config(overrides=[*CODER_3B, *more]), shape, device="cuda", vllm=True)
        for more in ((), ("sampler.share_weights=false",), ("model.quantization=nf4",))
    )
    assert "weights, sampler" not in once
    assert twice["weights, sampler"] == once["weights, of both"]
    # Packed differently on each side: with its scales, vLLM's takes 4.5 bits a weight, the trainer's 4.127.
    assert nf4["weights, sampler"] - nf4["weights, trainer"] == pytest.approx(shape.linear * 0.373 / 8 / 2**30)


def test_3b_learns_from_8k_answers_within_13_and_a_half_gib() -> None:
    long = ("selfplay.propose_max_tokens=8192", "selfplay.solve_max_tokens=8192", "selfplay.max_prompt_tokens=1024")
    chosen = ("optim.micro_batch_tokens=9216", "optim.gradient_checkpointing=true", "sampler.release_kv=true")
    plan = make_plan(load_config(overrides=[*CODER_3B, *long, *chosen, "optim.logits_chunk=256"]), "rtx3090")
    assert plan.beside_cache < 13.5


@pytest.mark.parametrize(
    ("name", "gib", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", 79.2, "a100-80g"),
        ("NVIDIA A100-PCIE-40GB", 39.4, "a100-40g"),
        ("NVIDIA A10", 22.0, "a10"),
        ("NVIDIA GeForce RTX 3090", 23.7, "rtx3090"),
        ("NVIDIA H200", 139.7, "h200"),
        ("NVIDIA L40S", 44.0, None),
    ],
)
def test_a_card_is_known_by_what_torch_calls_it(name: str, gib: float, expected: str | None) -> None:
    found = known_card(name, gib)
    assert (found.name if found else None) == expected


def test_what_does_not_fit_is_told_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    big = load_config(overrides=["model.name=Qwen/Qwen2.5-7B"])
    on(monkeypatch, CARDS["rtx3060-12g"])
    with pytest.raises(ConfigError, match=r"does not fit into 10\.6 GiB on rtx3060-12g"):
        check_fits(big)
    check_fits(load_config(overrides=["model.name=Qwen/Qwen2.5-Coder-1.5B"]))
    check_fits(load_config(overrides=["model.name=nobody/unknown"]))
    on(monkeypatch, None)
    with pytest.raises(ConfigError, match="GiB of weights"):
        check_fits(load_config(overrides=["model.name=Qwen/Qwen2.5-7B", "model.device=cpu", "run.vram_gib=4"]))


def test_the_tiny_model_fits_a_laptop() -> None:
    plan = make_plan(load_config([ROOT / "configs" / "tiny.toml"]))
    assert plan.fits
    assert plan.expected == {}  # no formula for the speed of a CPU


def test_recomputation_costs_time_and_saves_memory() -> None:
    shape, card = KNOWN["qwen2.5-3b"], CARDS["rtx3090"]
    plain, careful = (
        load_config(overrides=[*CODER_3B, f"optim.gradient_checkpointing={v}"]) for v in ("false", "true")
    )
    part = "learning from a micro-batch"
    assert (
        memory(careful, shape, device="cuda", vllm=True)[part]
        < 0.2 * memory(plain, shape, device="cuda", vllm=True)[part]
    )
    times = [
        seconds(config, shape, card, work_of(config), kv_gib=5, weights_gib=5.75, floor=True)["update"]
        for config in (plain, careful)
    ]
    assert times[1] == pytest.approx(1.5 * times[0])


def test_the_floor_of_a_step_of_3b_on_a_3090_is_that_of_the_hand_calculation() -> None:
    # 1,152,000 tokens at 71e12 / (2 x 3.09e9) = 11.5 k tokens a second; 595,200 trained tokens x 6 x 3.09e9 / 71e12.
    config = load_config(overrides=[*CODER_3B, *SMALL])
    work = work_of(config)
    assert (work.generated, work.trained) == (1_152_000, 595_200)
    found = seconds(config, KNOWN["qwen2.5-3b"], CARDS["rtx3090"], work, kv_gib=8, weights_gib=5.75, floor=True)
    # and 441,600 prompt tokens x 2 x 3.09e9 / 71e12 = 38 s
    assert found["propose"] + found["attempts"] + found["solve"] == pytest.approx(100 + 38, rel=0.03)
    assert found["update"] == pytest.approx(155, rel=0.03)


def test_a_cache_that_holds_no_sequence_is_told_before_the_engine_starts() -> None:
    config = load_config(overrides=["model.device=cpu", "sampler.kv_gib=0.001"])
    sizes = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True}  # fmt: skip
    with pytest.raises(ConfigError, match="one sequence of 6144 tokens needs"):
        kv_bytes(config, sizes)


def test_the_command_exits_with_1_when_a_config_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    from minizero.cli import plan

    plan("tiny")
    assert "GiB  in all" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        plan("Qwen2.5-7B", card="rtx3090", set=("model.quantization=none", "run.vram_gib=18"))
    assert stopped.value.code == 1
    assert "It would with:  --set" in capsys.readouterr().out


def test_a_run_on_a_card_records_the_plan_beside_what_it_measures() -> None:
    expected = expected_of(load_config(overrides=[*CODER_3B, *SMALL]), "rtx3090")
    wrote = [Completion("a", i, (1,) * 400, (2,) * 600, (0.0,) * 600, "", "stop") for i in range(100)]
    found = expected.metrics(20.0, wrote, wrote[:50])
    assert found["memory/planned_gib"] == pytest.approx(22.5)
    assert found["time/planned_s"] > 60
    # 50,000 trained tokens x 6 x 3.09e9 / 71e12 = 13.0 s; 60,000 new ones at 11.5 k/s = 5.2 s; the prompt 0.03 s
    assert found["time/floor_s"] == pytest.approx(18.3, rel=0.03)
    assert found["time/floor_frac"] == pytest.approx(found["time/floor_s"] / 20)
    assert expected_of(load_config([ROOT / "configs" / "tiny.toml"])).metrics(1.0, wrote, wrote) == {}
    assert all(metric_for(name) for name in found)


def test_a_shared_prompt_is_read_once_and_learned_from_each_time() -> None:
    wrote = [Completion("a", i, (1,) * 10, (2,) * 4, (0.0,) * 4, "", "stop") for i in range(3)]
    work = work_done(wrote, wrote[:2])
    assert (work.generated, work.prompts, work.trained, work.sequences, work.trained_sequences) == (12, 10, 28, 3, 2)


@pytest.mark.parametrize("path", CARD_CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_fits_the_card_that_it_names(path: Path) -> None:
    text = path.read_text()
    plan = make_plan(load_config([path]), "rtx3090")
    assert plan.fits
    assert f"{plan.beside_cache:.1f} GiB without the key-value cache" in text
    assert f"Micro-batches of {plan.config.optim.micro_batch_tokens} tokens" in text
    assert ("given back while" in text) == plan.released
    assert "formula, never measured" in text


def test_on_a_cpu_a_quarter_of_the_memory_is_left_to_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's memory is not ours alone; who knows better says so by the dial."""
    monkeypatch.setattr("minizero.planner.fill.memory_gib", lambda: 24.0)
    assert budget_of(load_config(overrides=CODER_3B), None) == 18.0
    assert budget_of(load_config(overrides=(*CODER_3B, "run.vram_gib=22")), None) == 22.0


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("rtx2080ti", 53), ("rtx3060-12g", 25), ("rtx3080-10g", 59), ("rtx3090", 71), ("rtx4080", 97),
        ("rtx4090", 165), ("rtx5080", 112), ("rtx5090", 209),
    ],
)  # fmt: skip
def test_operations_follow_from_multiprocessors_and_clock_as_in_the_data_sheets(name: str, tflops: int) -> None:
    assert CARDS[name].flops / 1e12 == tflops


@pytest.mark.parametrize("name", GEFORCE)
def test_the_numbers_of_every_card_are_plausible(name: str) -> None:
    gigabytes, speed, processors, mhz = GEFORCE[name]
    assert 0.88 * gigabytes <= CARDS[name].gib < gigabytes
    assert 150 <= speed <= 1800
    assert processors % 2 == 0
    assert 16 <= processors <= 170
    assert 1300 <= mhz <= 2700
    assert CARDS[name].has_bfloat16 == (not name.startswith("rtx20"))


def test_within_a_generation_a_dearer_card_is_no_slower() -> None:
    for series in ("20", "30", "40", "50"):
        order = [name for name in ("60-12g", "60", "70", "80-10g", "80", "90") if f"rtx{series}{name}" in GEFORCE]
        cards = [CARDS[f"rtx{series}{name}"] for name in order]
        assert [card.flops for card in cards] == sorted(card.flops for card in cards)
        assert [card.bandwidth for card in cards] == sorted(card.bandwidth for card in cards)


def test_every_generation_is_whole() -> None:
    ranges = {"20": "60 70 80", "30": "50 60 70 80 90", "40": "60 70 80 90", "50": "50 60 70 80 90"}
    for series, numbers in ranges.items():
        for number in numbers.split():
            assert any(name.startswith(f"rtx{series}{number}") and "laptop" not in name for name in GEFORCE)
            assert any(name.startswith(f"rtx{series}{number}") and "laptop" in name for name in GEFORCE) or (
                number == "90" and series == "30"  # there was none
            )


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("3060 12GB", "rtx3060-12g"), ("rtx 4070 ti super", "rtx4070tisuper"), ("RTX-4090 laptop", "rtx4090-laptop"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"), ("rtx3090 24gb", "rtx3090"), ("4060 ti 16 gb", "rtx4060ti-16g"),
        ("RTX_2080_Ti", "rtx2080ti"), ("a100 80GB", "a100-80g"), ("rtx 3080 laptop 16gb", "rtx3080-laptop-16g"),
        ("GeForce RTX 4080 Mobile", "rtx4080-laptop"), ("H200", "h200"),
    ],
)  # fmt: skip
def test_a_card_is_found_however_it_is_spelled(spelled: str, name: str) -> None:
    assert find_card(spelled).name == name


@pytest.mark.parametrize("name", CARDS)
def test_every_card_is_found_by_its_own_name_and_by_the_one_that_torch_says(name: str) -> None:
    assert find_card(name) == CARDS[name]
    spoken = re.sub(r"-\d+g$", "", name).replace("rtx", "NVIDIA GeForce RTX ").replace("ti", " Ti")
    spoken = spoken.replace("super", " SUPER").replace("-laptop", " Laptop GPU")
    assert known_card(spoken, CARDS[name].gib) == CARDS[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("3080", "there are several. Give rtx3080-10g or rtx3080-12g."),
        ("rtx3090 12gb", "Did you mean rtx3090?"),
        ("rtx 4070 suuper", "Did you mean rtx4070super or"),
        ("RX 7900 XTX", "minizero plans for NVIDIA's cards"),
        ("Arc B580", "minizero plans for NVIDIA's cards"),
    ],
)
def test_a_card_that_is_not_there_is_told_with_what_is_near(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        find_card(name)


def test_a_card_without_bfloat16_is_told_before_vllm_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["model.name=Qwen/Qwen2.5-Coder-0.5B"]
    plan = make_plan(load_config(overrides=small), "2080 ti")
    assert "rtx2080ti does not compute" in plan.text()
    assert "--set model.dtype=float16" in plan.text()
    assert "does not compute" not in make_plan(load_config(overrides=small), "rtx3060-12g").text()
    assert "does not compute" not in make_plan(load_config(overrides=[*small, "model.dtype=float16"]), "2080 ti").text()
    on(monkeypatch, CARDS["rtx2080ti"])
    with pytest.raises(ConfigError, match="compute capability"):
        check_fits(load_config(overrides=small))
    check_fits(load_config(overrides=[*small, "model.dtype=float16"]))


def test_a_plan_says_hours_and_what_they_buy_and_no_zero_is_left() -> None:
    text = make_plan(load_config(overrides=[*CODER_3B, *SMALL]), "rtx3090").text()
    assert "  22.50 GiB  in all at once; the cache takes what the other parts leave\n" in text
    assert "0.00" not in text
    assert re.search(
        r"the run: 500 steps in about \d+ h \d+ min, validations not counted\. They buy 500 updates: ", text
    )
    assert "proposes 96,000 tasks, writes 864,000 answers, and learns from at most 192,000 of these texts." in text
    assert re.search(r"8 hours reach step (\d+):  --set selfplay\.steps=\1  ends the run there", text)
    free = make_plan(load_config(overrides=[*CODER_3B, *SMALL, "sampler.kv_gib=4"]), "rtx3090").text()
    assert re.search(r"in all at once; \d\.\d\d GiB stay free", free)
    on_a_cpu = make_plan(load_config([ROOT / "configs" / "tiny.toml"])).text()
    assert "the run: 48 steps. They buy 48 updates" in on_a_cpu
    assert "How long that takes is not planned here" in on_a_cpu


def on(monkeypatch: pytest.MonkeyPatch, card: Card | None) -> None:
    """This machine has this card, or none."""
    monkeypatch.setattr("minizero.planner.cards.this_card", lambda: card)


def test_the_budget_of_this_machines_card_is_what_was_free_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desktop holds 2 of 23.5 GiB."""
    on(monkeypatch, Card("NVIDIA GeForce RTX 3090", 23.3, 936e9, 71e12, free=21.5))
    plan = make_plan(load_config(overrides=CODER_3B))
    assert (plan.budget, plan.fits) == (20.5, True)
    assert plan.total <= 20.5 + 1e-9
    assert "on NVIDIA GeForce RTX 3090: 20.5 GiB (21.5 are free, less 1 that stays unplanned)" in plan.text()
    named = make_plan(load_config(overrides=CODER_3B), "rtx3090").text()
    assert "22.5 GiB (it has 23.5; a desktop takes 0.5 to 1.5 of them, Windows under WSL2 about 1, less 1" in named


def test_more_memory_than_is_free_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Card("NVIDIA GeForce RTX 3090", 23.3, 936e9, 71e12, free=21.5))
    with pytest.raises(ConfigError, match=r"run\.vram_gib = 23, but 21\.5 GiB of NVIDIA GeForce RTX 3090 are free"):
        check_fits(load_config(overrides=[*CODER_3B, "run.vram_gib=23"]))


def test_a_card_of_6_gib_is_told_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Card("NVIDIA GeForce RTX 2060", 5.5, 0.0, 0.0, free=5.2))
    with pytest.raises(ConfigError) as stopped:
        check_fits(load_config(overrides=CODER_3B))
    words = str(stopped.value)
    assert "does not fit into 4.2 GiB on NVIDIA GeForce RTX 2060" in words
    # Not "a larger run.vram_gib overrules them": it needs more than is free, so that would end out of memory.
    assert words.endswith("must find room. Qwen/Qwen2.5-Coder-0.5B-Instruct would.")


def test_a_part_of_a_card_is_not_given_the_speed_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = type("Properties", (), {"total_memory": 20 * 2**30})
    for name, value in {
        "is_available": True, "get_device_capability": (8, 0),
        "get_device_name": "NVIDIA A100-SXM4-80GB MIG 2g.20gb", "memory_reserved": 0,
        "get_device_properties": properties, "mem_get_info": (19 * 2**30, 20 * 2**30),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    free_at_start.cache_clear()
    card = this_card()
    free_at_start.cache_clear()
    assert card is not None
    assert is_part(card.name)
    assert (card.flops, card.free) == (0.0, 19.0)
    on(monkeypatch, card)
    text = make_plan(load_config(overrides=CODER_3B)).text()
    assert "This is a part of a card (MIG), whose speed no data sheet tells. How long that takes is not planned" in text
    assert "make first-light  measures what the plan then counts with" in text
