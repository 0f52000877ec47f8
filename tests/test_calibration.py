"""Measured constants: the plan reads the line that suits it, says so, and names a line that is damaged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from minizero.config import load_config
from minizero.models.processor import processor_name
from minizero.planner.calibration import Measured, append, beyond_plan_gib, is_of, measured_for, read, where
from minizero.planner.cards import CARDS, Card
from minizero.planner.fill import budget_of
from minizero.planner.pace import seconds, work_of
from minizero.planner.plan import make_plan
from minizero.planner.shapes import KNOWN
from minizero.types import ConfigError

CODER_3B = ("model.name=Qwen/Qwen2.5-Coder-3B", "optim.gradient_checkpointing=true", "optim.micro_batch_tokens=8192")
N = 36 * (2048 * (2048 + 2 * 256) + 2048 * 2048 + 3 * 2048 * 11008) + 151936 * 2048  # of 3B, a token: 3.09e9
LINE = Measured(
    "NVIDIA GeForce RTX 3090", "2026-11-29", "Qwen/Qwen2.5-Coder-3B", float(N), 2, "none", "lora", "vllm",
    bandwidth=1e18, decode=2 * N * 1000.0, prefill=2 * N * 10_000.0, train=6 * N * 500.0, overhead_s=3.0,
    versions="torch 2.13.0, vllm 0.32.0",
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calibration file of this test, with no line yet."""
    path = tmp_path / "deep" / "calibration.jsonl"
    monkeypatch.setenv("MINIZERO_CALIBRATION", str(path))
    return path


def chosen(**more: Any) -> Measured | None:
    wanted = {"value_bytes": 2, "vllm": True} | more
    return measured_for(load_config(overrides=CODER_3B), KNOWN["qwen2.5-3b"], CARDS["rtx3090"], **wanted)


def test_the_file_is_a_users_own_and_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MINIZERO_CALIBRATION")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert where() == tmp_path / "minizero" / "calibration.jsonl"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert where() == tmp_path / ".config" / "minizero" / "calibration.jsonl"
    monkeypatch.setenv("MINIZERO_CALIBRATION", "")
    assert where() is None
    assert read(where()) == []


def test_a_line_is_added_and_what_was_there_stays(file: Path) -> None:
    append(file, LINE)
    before = file.read_text()
    append(file, replace(LINE, train=None))
    assert file.read_text().startswith(before)
    assert read(file) == [LINE, replace(LINE, train=None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 2: "),
        ("[]", "line 2: expected an object, not list"),
        ('{"device": "x"}', "line 2: date, model, parameters, value_bytes, quantization, trains, sampler missing"),
        (json.dumps(asdict(LINE) | {"train": "fast"}), "line 2: train = 'fast' is no finite number"),
        (json.dumps(asdict(LINE) | {"train": float("nan")}), "line 2: train = nan is no finite number"),
        (json.dumps(asdict(LINE) | {"decode": 0}), "line 2: decode = 0 would make a step endless"),
        (json.dumps(asdict(LINE) | {"overhead_s": None}), "line 2: overhead_s = None is no finite number"),
        (json.dumps(asdict(LINE) | {"device": 3}), "line 2: device = 3 is no text"),
    ],
)
def test_a_damaged_line_is_named_with_what_to_do(file: Path, text: str, words: str) -> None:
    append(file, LINE)
    with file.open("a") as opened:
        opened.write(text + "\n")
    with pytest.raises(ConfigError) as stopped:
        make_plan(load_config(overrides=CODER_3B), "rtx3090")
    assert words in str(stopped.value)
    assert "delete the line, and run  make first-light" in str(stopped.value)


def test_names_of_a_later_version_are_left_out(file: Path) -> None:
    append(file, LINE)
    file.write_text(json.dumps(asdict(LINE) | {"watts": 350}) + "\n\n")
    assert read(file) == [LINE]


def test_the_newest_line_of_this_card_and_this_kind_of_run_counts(file: Path) -> None:
    append(file, LINE)
    for other in (
        {"device": "NVIDIA GeForce RTX 4090"}, {"value_bytes": 4}, {"quantization": "nf4"}, {"trains": "full"},
        {"sampler": "transformers"}, {"parameters": N / 9}, {"parameters": N * 9.0}, {"parameters": 0.0},
    ):  # fmt: skip
        append(file, replace(LINE, date="other", **other))
    assert chosen() == LINE
    append(file, replace(LINE, date="newer"))
    append(file, replace(LINE, date="newest, but of another size", parameters=N / 2))
    found = chosen()
    assert found
    assert found.date == "newer"
    assert chosen(vllm=False) == replace(LINE, date="other", sampler="transformers")


def test_a_device_is_the_card_of_its_name_and_no_part_of_one() -> None:
    assert is_of("NVIDIA GeForce RTX 3090", CARDS["rtx3090"])
    assert not is_of("NVIDIA GeForce RTX 3090 Ti", CARDS["rtx3090"])
    assert not is_of("NVIDIA A100-SXM4-80GB MIG 2g.20gb", CARDS["a100-80g"])
    here = Card("NVIDIA A100-SXM4-80GB MIG 2g.20gb", 19.0, 0.0, 0.0, free=18.0)
    assert is_of("NVIDIA A100-SXM4-80GB MIG 2g.20gb", here)
    assert not is_of("NVIDIA A100-SXM4-80GB", here)
    assert is_of(processor_name(), None)
    assert not is_of("another processor", None)


def test_seconds_follow_from_the_measured_rates() -> None:
    config = load_config(overrides=CODER_3B)
    work = work_of(config)
    known: dict[str, Any] = {"kv_gib": 8.0, "weights_gib": 5.75}
    found = seconds(config, KNOWN["qwen2.5-3b"], None, work, **known, floor=False, measured=LINE)
    # 2 N B operations at 2000 N a second: a thousand tokens a second; ten thousand prompt tokens; 500 trained ones.
    sampling = {
        name: pytest.approx(texts.generated / 1000 + texts.prompts / 10_000) for name, texts in work.kinds.items()
    }
    assert found == sampling | {"update": pytest.approx(work.computed / 500), "sandbox": 0.0, "sync": 3.0}
    floor = seconds(config, KNOWN["qwen2.5-3b"], CARDS["rtx3090"], work, **known, floor=True, measured=LINE)
    assert floor["update"] == pytest.approx(6 * N * work.computed / 71e12)  # the data sheet's, whatever was measured
    assert floor["sync"] < 0.1


def test_what_was_not_measured_is_assumed_and_prompts_are_read_as_an_update_is() -> None:
    config, card = load_config(overrides=CODER_3B), CARDS["rtx3090"]
    work = work_of(config)
    known: dict[str, Any] = {"kv_gib": 8.0, "weights_gib": 5.75, "floor": False}
    part = replace(LINE, bandwidth=None, decode=None, prefill=None, overhead_s=0.0)
    found = seconds(config, KNOWN["qwen2.5-3b"], card, work, **known, measured=part)
    assumed = seconds(config, KNOWN["qwen2.5-3b"], card, work, **known)
    assert found["update"] == pytest.approx(work.computed / 500)
    prompts = 2 * N * work.kinds["solve"].prompts
    decoded = assumed["solve"] - prompts / (0.45 * 71e12)
    assert found["solve"] == pytest.approx(decoded + prompts / (6 * N * 500))


def test_a_plan_says_what_it_is_calibrated_by(file: Path) -> None:
    config = load_config(overrides=CODER_3B)
    assert "no run on a card has confirmed them" in make_plan(config, "rtx3090").text()
    append(file, replace(LINE, prefill=None))
    plan = make_plan(config, "rtx3090")
    assert plan.expected["update"] == pytest.approx(plan.work.computed / 500)
    assert (
        f"Calibrated by {file}: measured on 2026-11-29 with Qwen/Qwen2.5-Coder-3B on NVIDIA GeForce RTX 3090. GiB are "
        "formulas."
    ) in plan.text()
    assert "no run on a card" not in plan.text()
    assert "no run on a card has confirmed" in make_plan(config, "rtx4090").text()
    append(file, replace(LINE, train=None))
    assert "training's: not measured, so assumed. GiB are formulas." in make_plan(config, "rtx3090").text()


def test_a_measured_cpu_has_minutes_without_a_floor(file: Path) -> None:
    config = load_config(overrides=[*CODER_3B, "model.device=cpu", "model.dtype=bfloat16"])
    assert make_plan(config).expected == {}
    append(file, replace(LINE, device=processor_name(), sampler="transformers"))
    plan = make_plan(config)
    assert plan.expected["update"] == pytest.approx(plan.work.computed / 500)
    assert plan.floor == {}
    assert "minutes of a step: " in plan.text()
    assert "physical floor" not in plan.text()
    append(file, replace(LINE, device=processor_name(), sampler="transformers", decode=None))
    assert make_plan(config).expected == {}  # without a data sheet a part is not enough


def test_memory_that_was_measured_beyond_the_plan_is_spared(file: Path) -> None:
    config, card = load_config(overrides=CODER_3B), CARDS["rtx3090"]
    assert budget_of(config, card) == 22.5
    append(file, replace(LINE, beyond_gib=0.75))
    assert beyond_plan_gib(card) == 0.75
    assert budget_of(config, card) == 21.75
    plan = make_plan(config, "rtx3090")
    assert plan.total <= 21.75 + 1e-9
    assert "less 1 that stays unplanned and 0.8 that first-light found beyond the plan" in plan.text()
    append(file, replace(LINE, beyond_gib=0.0))  # measured again, with a better plan
    assert budget_of(config, card) == 22.5
    assert beyond_plan_gib(None) == 0.0
