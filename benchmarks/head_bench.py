"""The head and its log-probabilities, forward and backward: minizero's chunks beside fused kernels of others.

    python benchmarks/head_bench.py                          on the CPU: 512 tokens of a 0.5B's head in float32
    python benchmarks/head_bench.py --device cuda --tokens 8192 --hidden 2048     a 3B's, bfloat16, on a card
        [--rounds 5] [--warm 1] [--out benchmarks/head.md]

    pip install triton cut-cross-entropy liger-kernel        what it is compared with; what is missing is left out

Contenders take turns in fresh processes, each with the same random hidden states, frozen head, tokens and gradients of
the log-probabilities. Seconds: by the clock on a card, of the processor (one thread) on a CPU. Bytes: the highest of
the process (VmHWM) or the card, less what the inputs take. Error: the largest of the gradient, over its largest entry,
against float64. minizero's rows give the entropies too, the others none. Reading order: main, contenders, one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from update_bench import Meter

ROOT = Path(__file__).parent.parent
VOCABULARY = 151936  # Qwen2.5's


def contenders(device: str) -> list[str]:
    names = ["minizero", "minizero, with an entropy bonus", "all logits"]
    if importlib.util.find_spec("cut_cross_entropy"):
        names += ["cut-cross-entropy, torch.compile"]
        names += ["cut-cross-entropy", "cut-cross-entropy, unfiltered"] if device == "cuda" else []
    return names + (["Liger"] if importlib.util.find_spec("liger_kernel") else [])


def function_of(name: str) -> Callable[..., Any]:
    """(hidden[T, h], weight[V, h], targets[T]) -> log_probs[T]."""
    import torch

    if name.startswith("minizero"):
        from minizero.learn.log_probs import chunked_log_probs

        bonus = name != "minizero"
        return lambda *given: chunked_log_probs(*given, entropy_gradient=bonus)[0]
    if name == "all logits":
        return lambda hidden, weight, targets: (
            -torch.nn.functional.cross_entropy((hidden @ weight.T).float(), targets, reduction="none")
        )
    if name == "Liger":
        from liger_kernel.chunked_loss.fused_linear_ppo import LigerFusedLinearPPOBase

        return lambda hidden, weight, targets: LigerFusedLinearPPOBase.chunk_forward(
            hidden[None], weight, targets[None]
        )[0]
    from cut_cross_entropy import linear_cross_entropy

    settings: dict[str, Any] = {"reduction": "none", "impl": "torch_compile" if "compile" in name else "cce"}
    settings |= {"filter_eps": None} if "unfiltered" in name else {}
    return lambda hidden, weight, targets: -linear_cross_entropy(hidden, weight, targets, **settings)


def one(name: str, device: str, tokens: int, hidden_size: int, warm: int) -> dict[str, float]:
    """Of this process: seconds of the last pass, MiB beyond the inputs, error of the gradient."""
    import torch

    torch.manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    # Logits with a deviation of 4: a model that is sure of some tokens, as trained ones are.
    hidden = (4 * torch.randn(tokens, hidden_size)).to(device, dtype).requires_grad_()
    weight = (torch.randn(VOCABULARY, hidden_size) / hidden_size**0.5).to(device, dtype)
    targets = torch.randint(VOCABULARY, (tokens,), device=device)
    grads = torch.randn(tokens, device=device)
    function = function_of(name)
    for _ in range(warm):
        function(hidden, weight, targets).backward(grads)
        hidden.grad = None
    meter = Meter() if device == "cpu" else CardMeter()
    meter.start()
    function(hidden, weight, targets).backward(grads)
    found = meter.stop()
    assert hidden.grad is not None
    few = slice(0, 64)
    exact = torch.log_softmax(hidden[few].detach().double() @ weight.double().T, -1).exp_()
    gradient = weight.double()[targets[few]] - exact @ weight.double()
    gradient *= grads[few, None]
    error = float((hidden.grad[few].double() - gradient).abs().max() / gradient.abs().max())
    seconds = found["cpu_s" if device == "cpu" else "wall_s"]
    return {"seconds": seconds, "mib": found["bytes"] / 2**20, "error": error}


class CardMeter(Meter):
    """The same of a card: bytes that torch's allocator gave out, and no processor seconds."""

    def start(self) -> None:
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self.before, self.wall = torch.cuda.memory_allocated(), time.perf_counter()

    def stop(self) -> dict[str, float]:
        import torch

        torch.cuda.synchronize()
        return {
            "bytes": torch.cuda.max_memory_allocated() - self.before, "wall_s": time.perf_counter() - self.wall,
        }  # fmt: skip


def measure(name: str, asked: argparse.Namespace) -> dict[str, float]:
    given = [f"--{key}={getattr(asked, key)}" for key in ("device", "tokens", "hidden", "warm")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, *given], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{name}: {done.stderr[-600:]}", flush=True)
        return {}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(name, {key: float(f"{value:.4g}") for key, value in found.items()}, flush=True)
    return found


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    lines = [
        "| | seconds | minizero's over it | MiB beyond the inputs | error of the gradient |",
        "|---|---|---|---|---|",
    ]
    ours = [run["seconds"] for run in rows["minizero"]]
    for name, runs in rows.items():
        if not runs:
            continue
        seconds, mib = ([run[key] for run in runs] for key in ("seconds", "mib"))
        ratios = [mine / its for mine, its in zip(ours, seconds, strict=True)]
        lines.append(
            f"| {name} | {statistics.median(seconds):.3g} ({min(seconds):.3g} to {max(seconds):.3g}) "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
            f"| {statistics.median(mib):,.0f} | {max(run['error'] for run in runs):.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.device, asked.tokens, asked.hidden, asked.warm)))
        return
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in contenders(asked.device)}
    for number in range(asked.rounds):
        for name in list(rows)[:: 1 if number % 2 else -1]:
            if found := measure(name, asked):
                rows[name].append(found)
    text = table({name: runs for name, runs in rows.items() if len(runs) == asked.rounds})
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
