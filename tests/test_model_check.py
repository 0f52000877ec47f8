"""minizero doctor MODEL: the facts of a model, and whether sampler and trainer agree with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minizero.cli.runs import doctor
from minizero.config import load_config
from minizero.models.made import write_byte_tokenizer
from minizero.planner.doctor import Check
from minizero.rollout.model_check import examine_model


def examine(model: Path, *settings: str) -> dict[str, Check]:
    base = (f"model.name={str(model)!r}", "adapter.rank=4", "model.device=cpu", "run.threads=1")
    return {check.name: check for check in examine_model(load_config(overrides=[*base, *settings]))}


def test_a_good_model_is_told_by_its_facts(random_model: Path) -> None:
    checks = examine(random_model)
    assert {name for name, check in checks.items() if check.state != "ok"} == {"chat template"}
    assert checks["model"].seen == "Qwen2ForCausalLM, 0.1 million parameters in float32"
    assert checks["layers"].seen == "2 full_attention"
    assert checks["head"].seen == "a matrix, 258 tokens"
    assert checks["memory of a token"].seen == "0.5 KiB of keys and values"
    assert checks["adapter"].seen == "2 down_proj, 2 gate_proj, 2 k_proj, 2 o_proj, 2 q_proj, 2 up_proj, 2 v_proj"
    assert checks["tokenizer"].seen == "ends with 256 <eos>; pads with 257; no BOS before a text"
    assert checks["agreement"].seen.startswith("sampler, random ")


def test_a_template_is_shown_by_its_end(random_model: Path, tmp_path: Path) -> None:
    shutil.copytree(random_model, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant><think>\n{{ enable_thinking }}"
    )
    end, _, rest = examine(tmp_path, "prompt.think=on")["chat template"].seen.partition(": ")
    assert end == r"ends in 'o<assistant><think>\nTrue'"
    assert rest == "the prompt opens a think part; it has enable_thinking (prompt.think)"


@pytest.mark.filterwarnings("ignore")
def test_an_encoder_is_bad(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    sizes = {"vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(**sizes, intermediate_size=32, eos_token_id=256)).save_pretrained(tmp_path)
    write_byte_tokenizer(tmp_path)
    (check,) = examine(tmp_path).values()
    assert check.state == "bad"
    assert "BertLMHeadModel is no causal language model" in check.seen


@pytest.mark.parametrize("kind", ["t5", "qwen2_5_vl", "llava"])
def test_a_model_without_a_causal_head_is_bad_before_anything_loads(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    write_byte_tokenizer(tmp_path)
    (check,) = examine(tmp_path).values()
    assert check.state == "bad"
    assert f"transformers has no causal language model for {kind!r}" in check.seen


@pytest.mark.parametrize(("settings", "status"), [((), None), (("sampler.tolerance=1e-12",), 1)])
def test_the_command_ends_with_1_when_something_is_off(
    random_model: Path, settings: tuple[str, ...], status: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("adapter.rank=4", "model.device=cpu", "run.threads=1", *settings)
    try:
        doctor(str(random_model), set=given)
        ended = None
    except SystemExit as end:
        ended = end.code
    assert ended == status
    assert "agreement" in capsys.readouterr().out


def test_a_disagreement_is_bad(random_model: Path) -> None:
    checks = examine(random_model, "sampler.tolerance=1e-12")
    assert checks["agreement"].state == "bad"
    assert "expected at most" in checks["agreement"].seen
    assert checks["agreement"].fix
