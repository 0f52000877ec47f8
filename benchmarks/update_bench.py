"""One update on the same sequences: minizero against trl 1.16's GRPOTrainer. Bytes, tokens a second, and the same loss.

    python benchmarks/update_bench.py --trl-env DIR [--make] [--pairs 5] [--scale 0.25] [--out benchmarks/update.md]

DIR is a virtual environment that holds trl (--make makes it; trl pins other versions than we do, so it is one of its
own). Both train the same random Qwen2 with the same rank-32 adapter in float32 on the CPU, on sequences whose lengths
are benchmarks/lengths.csv times --scale, with the same old log-probabilities and advantages, one optimiser step, PPO
clip 0.2, mean over all tokens (trl's loss "dapo"). Every measurement is a fresh process with one thread; contenders
take turns, in another order each round. A short step before warms up and makes Adam's state.

Bytes: highest resident memory during the step (VmHWM, set back before it) less resident memory before it, so weights
and optimiser state are left out, and gradients, activations and logits counted. Reading order: main, contenders, then
ours and theirs (what a fresh process does).
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROMPTS, VOCABULARY, RANK = 8, 151936, 32
OURS = {  # name -> settings
    "minizero, recomputing": ("optim.gradient_checkpointing=true",),
    "minizero": ("optim.gradient_checkpointing=false",),
}
THEIRS = {  # name -> arguments of GRPOConfig
    "trl, defaults": {},  # 8 sequences at once, recomputing
    "trl, least memory": {"per_device_train_batch_size": 1},
    "trl, fastest": {"per_device_train_batch_size": 1, "gradient_checkpointing": False},
}


# -- what both learn from ---------------------------------------------------------------------------------------------


def lengths(scale: float, count: int) -> list[tuple[int, int]]:
    with (ROOT / "benchmarks" / "lengths.csv").open() as file:
        rows = [(int(row["prompt"]), int(row["completion"])) for row in csv.DictReader(file)]
    return [(max(4, int(p * scale)), max(4, int(c * scale))) for p, c in rows[:count]]


def build(folder: Path, hidden: int, layers: int) -> None:
    """A random Qwen2 with Qwen's vocabulary and the tiny model's tokenizer."""
    import shutil

    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    for file in (ROOT / "minizero" / "tiny" / "weights").glob("tokenizer*"):
        shutil.copy(file, folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=hidden * 5, num_hidden_layers=layers, head_dim=64,
        num_attention_heads=max(2, hidden // 64), num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=1,
        pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)


def sequences(scale: float, count: int) -> dict[str, Any]:
    """Random tokens with these lengths, rewards, and the seed of the old policy's distance."""
    rng = random.Random(0)
    made = [
        {
            "prompt": [rng.randrange(10, VOCABULARY) for _ in range(p)],
            "ids": [rng.randrange(10, 9999) for _ in range(c)],
        }
        for p, c in lengths(scale, count)
    ]
    return {"sequences": made, "advantages": [rng.choice((-1.0, 0.5, 1.5)) for _ in made]}


# -- one measurement, in a process of its own -------------------------------------------------------------------------


def memory_now(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


class Meter:
    """Peak bytes, wall and processor seconds between start and stop."""

    def start(self) -> None:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM := VmRSS
        self.before, self.wall, self.cpu = memory_now("VmRSS"), time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return {"bytes": memory_now("VmHWM") - self.before, "wall_s": wall, "cpu_s": cpu}


def ours(folder: Path, name: str) -> dict[str, float]:
    import torch

    sys.path.insert(0, str(ROOT))
    from minizero.config import load_config
    from minizero.learn.policy import Policy
    from minizero.types import Completion, Role, Rollout, TaskType

    data = json.loads((folder / "batch.json").read_text())
    longest = max(len(s["prompt"]) + len(s["ids"]) for s in data["sequences"])
    policy = Policy(load_config(overrides=[
        f"model.name={str(folder)!r}", "model.device=cpu", "model.dtype=float32", f"adapter.rank={RANK}",
        f"adapter.alpha={2 * RANK}", "run.threads=1", "optim.lr=1e-6", f"optim.micro_batch_tokens={longest}",
        "loss.clip=ppo", "loss.clip_low=0.2", "loss.aggregation=token_mean", "loss.old_policy=sampler",
        "loss.correction=none", *OURS[name],
    ]))  # fmt: skip
    _same_adapter(policy.model)

    def rollout(i: int, some: int) -> Rollout:
        made = data["sequences"][i]
        ids, old = tuple(made["ids"][:some]), tuple(made.get("old", [0.0] * len(made["ids"]))[:some])
        completion = Completion(str(i), 0, tuple(made["prompt"][: 2 * some]), ids, old, "", "stop")
        return Rollout(Role.SOLVE, TaskType.DEDUCTION, str(i), completion, 0.0, {})

    def batch(some: int) -> list[Rollout]:
        return [rollout(i, some) for i in range(len(data["sequences"]))]

    whole = batch(10**9)
    if name == "old":  # the policy that both measure their ratios against: this one, with a little noise
        noise = torch.Generator().manual_seed(0)
        for made, values in zip(data["sequences"], policy.log_probs(whole), strict=True):
            made["old"] = (values + 0.2 * torch.randn(values.shape, generator=noise)).tolist()
        (folder / "batch.json").write_text(json.dumps(data))
        return {}
    advantages, meter = torch.tensor(data["advantages"]), Meter()
    policy._learn(batch(2), advantages, None)
    _same_adapter(policy.model)
    meter.start()
    told = policy._learn(whole, advantages, None)
    return meter.stop() | {"loss": told["policy/loss"], "grad_norm": told["policy/grad_norm"]}


def theirs(folder: Path, name: str) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    data = json.loads((folder / "batch.json").read_text())
    count, meter, found = len(data["sequences"]), Meter(), {"loss": 0.0}
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    given: dict[str, Any] = {"per_device_train_batch_size": 8} | THEIRS[name]

    def padded(rows: list[list[Any]], *, left: bool, fill: Any = 0) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([[fill] * (width - len(r)) + r if left else r + [fill] * (width - len(r)) for r in rows])

    class Given(GRPOTrainer):  # type: ignore[misc]
        """What it learns from is given instead of generated, padded as it pads; the first step gets short ones."""

        rounds = 0

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, torch.Tensor]:
            some = 2 if self.rounds == 0 else 10**9
            prompts = [s["prompt"][: 2 * some] for s in data["sequences"]]
            ids = [s["ids"][:some] for s in data["sequences"]]
            mask = padded([[1] * len(row) for row in ids], left=False)
            made = {
                "prompt_ids": padded(prompts, left=True),
                "prompt_mask": padded([[1] * len(row) for row in prompts], left=True),
                "completion_ids": padded(ids, left=False),
                "completion_mask": mask,
                "advantages": torch.tensor(data["advantages"]),
                "num_items_in_batch": mask.sum(),
                "old_per_token_logps": padded([s["old"][:some] for s in data["sequences"]], left=False, fill=0.0),
            }
            if self.rounds:
                _same_adapter(self.model)
                meter.start()
            self.rounds += 1
            return made

        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            if self.rounds == 2:
                found["loss"] += float(loss.detach())
            return loss

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                found.update(meter.stop())

    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out, **given, gradient_accumulation_steps=count // given["per_device_train_batch_size"],
            num_generations=8, max_steps=2, use_cpu=True, bf16=False, report_to="none", save_strategy="no",
            logging_steps=1, disable_tqdm=True, learning_rate=1e-6, lr_scheduler_type="constant", beta=0.0,
            loss_type="dapo", epsilon=0.2, max_completion_length=10**6, dataloader_pin_memory=False,
        )  # fmt: skip
        dataset = Dataset.from_dict({"prompt": ["a"] * count})
        trainer = Given(
            model=model, reward_funcs=lambda **k: [0.0] * len(k["prompts"]), args=config, train_dataset=dataset,
            processing_class=tokenizer, callbacks=[Stop()],
        )  # fmt: skip
        trainer.train()
        found["grad_norm"] = next(row["grad_norm"] for row in reversed(trainer.state.log_history) if "grad_norm" in row)
    return found


def _same_adapter(model: Any) -> None:
    """The same numbers in every adapter, whatever the names around them; B is not zero, so that A has a gradient."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters(), key=lambda pair: pair[0]):
            if "lora_" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))


# -- all measurements -------------------------------------------------------------------------------------------------


def measure(python: str, folder: Path, name: str) -> dict[str, float]:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "",
        # What is freed goes back at once, so that resident memory is what is in use.
        "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536",
    }  # fmt: skip
    command = [python, __file__, "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(found: dict[str, list[dict[str, float]]], tokens: int, note: str) -> str:
    lines = [
        "# One update: minizero against trl 1.16.0", "", note, "",
        "| | MiB beyond weights and optimiser | tokens/s (wall) | tokens per processor second | loss | gradient norm |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, runs in found.items():
        mib, wall, cpu = (
            [run["bytes"] / 2**20 for run in runs], [tokens / run["wall_s"] for run in runs],
            [tokens / run["cpu_s"] for run in runs],
        )  # fmt: skip
        last = runs[-1]
        lines.append(
            f"| {name} | {spread(mib, '.0f')} | {spread(wall, '.0f')} | {spread(cpu, '.0f')} | {last['loss']:.6f} "
            f"| {last['grad_norm']:.5f} |"
        )
    lines += [
        "",
        "Ratios of a round, median and range: bytes (smaller is better), tokens by either clock (larger).",
        "",
    ]
    lines += ["| | bytes | tokens/s (wall) | tokens per processor second |", "|---|---|---|---|"]
    for mine in OURS:
        for other in THEIRS:
            pairs = list(zip(found[mine], found[other], strict=True))
            size = [a["bytes"] / b["bytes"] for a, b in pairs]
            wall, cpu = ([b[clock] / a[clock] for a, b in pairs] for clock in ("wall_s", "cpu_s"))
            lines.append(f"| {mine} / {other} | {spread(size, '.2f')} | {spread(wall, '.2f')} | {spread(cpu, '.2f')} |")
    apart = max(abs(run["loss"] - found["minizero"][0]["loss"]) for runs in found.values() for run in runs)
    lines += ["", f"Largest difference of two losses: {apart:.1e}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trl-env", type=Path, help="a virtual environment with trl 1.16")
    parser.add_argument("--make", action="store_true", help="make that environment first")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.25, help="of the lengths in lengths.csv")
    parser.add_argument("--count", type=int, default=32, help="sequences, a multiple of 8")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--out", type=Path, default=None, help="a Markdown file for the table")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        act = theirs if asked.child in THEIRS else ours
        if asked.child == "old":
            OURS["old"] = ()
        print(json.dumps(act(asked.folder, asked.child)))
        return
    if asked.trl_env is None:
        print("left out: --trl-env DIR names a virtual environment with trl 1.16 (--make makes it)")
        return
    python = str(asked.trl_env / "bin" / "python")
    if asked.make:
        subprocess.run([sys.executable, "-m", "venv", str(asked.trl_env)], check=True)
        wanted = ["torch==2.13.0", "trl==1.16.0", "peft==0.21.2", "transformers==5.19.0", "accelerate==1.15.0"]
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        build(folder, asked.hidden, asked.layers)
        data = sequences(asked.scale, asked.count)
        (folder / "batch.json").write_text(json.dumps(data))
        measure(sys.executable, folder, "old")
        names = [*OURS, *THEIRS]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for pair in range(asked.pairs):
            for name in names[pair % len(names) :] + names[: pair % len(names)]:
                run = measure(python if name in THEIRS else sys.executable, folder, name)
                found[name].append(run)
                print(pair, name, {key: round(value, 6) for key, value in run.items()}, flush=True)
    sizes = [(len(s["prompt"]), len(s["ids"])) for s in data["sequences"]]
    tokens = sum(p + c for p, c in sizes)
    padded = len(sizes) * (max(p for p, _ in sizes) + max(c for _, c in sizes))
    note = (
        f"`python benchmarks/update_bench.py --scale {asked.scale} --hidden {asked.hidden} --layers {asked.layers} "
        f"--count {asked.count} --pairs {asked.pairs}`: {len(sizes)} sequences, {tokens:,} tokens ({padded:,} if all "
        f"are padded to the longest prompt and completion), random Qwen2, hidden {asked.hidden}, {asked.layers} layers,"
        f" vocabulary {VOCABULARY:,}, float32, one thread, rank {RANK}; medians of {asked.pairs} interleaved runs with "
        "their range. Tokens are the sequences' own, without padding. On a CPU most of trl's time is in its "
        "log-probability kernel, whose tiles are made for a card (a profile says so; it has no setting for that): the "
        "seconds say little about a card, the bytes more."
    )
    told = table(found, tokens, note)
    print(told)
    if asked.out:
        asked.out.write_text(told)


if __name__ == "__main__":
    main()
