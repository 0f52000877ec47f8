"""A fake server that computes: what it writes comes from a real model and the adapter that it was given."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from minizero.config import load_config
from minizero.evaluation.subject import load_adapter
from minizero.learn.policy import Policy
from minizero.rollout.protocol import drain
from minizero.rollout.transformers import TransformersSampler
from minizero.types import Prompt, Request
from tests.fake_server import FakeServer


class _Model:
    def __init__(self, path: Path, *overrides: str) -> None:
        config = load_config(overrides=[f"model.name={str(path)!r}", "model.device=cpu", "run.threads=1", *overrides])
        self.policy = Policy(config)
        self.loaded, self.lock = "", threading.Lock()

    def write(self, body: dict[str, Any], adapter: str) -> tuple[list[int], list[float]]:
        with self.lock:
            if adapter and adapter != self.loaded:
                load_adapter(self.policy, Path(adapter))
                self.loaded = adapter
            return self._write(body, on=bool(adapter))

    def _write(self, body: dict[str, Any], *, on: bool) -> tuple[list[int], list[float]]:
        policy = self.policy
        as_given: Any = SimpleNamespace(
            encode=lambda prompt: list(body["prompt"]), decode=policy.tokenizer.decode,
            eos_ids=policy.tokenizer.eos_ids, pad_id=policy.tokenizer.pad_id,
        )  # fmt: skip
        sampler = TransformersSampler(policy.model, as_given, max_rows=1, adapter_off=policy.adapter_off)
        seed = int(torch.randint(2**31, ()).item())
        heat, most = body["temperature"], body["max_tokens"]
        masked = tuple(map(int, body.get("logit_bias") or ()))
        sampler.submit(Request("r", Prompt(()), most, seed, temperature=heat, adapter=on, masked=masked))
        (done,) = drain(sampler)
        return list(done.ids), list(done.log_probs)


def model_server(path: Path, *overrides: str, **settings: Any) -> FakeServer:
    """Serves the model in this directory."""
    return FakeServer(write=_Model(path, *overrides).write, model=str(path), tokens=4096, **settings)
