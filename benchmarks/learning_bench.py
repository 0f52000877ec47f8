"""Does self-play teach the tiny model something? Seeds, controls, paired intervals on held-out tasks it never met.

    python benchmarks/learning_bench.py run [--variants default frozen shuffled] [--seeds 0 1 2] [--jobs 2] [--curves]
    python benchmarks/learning_bench.py table

Resumable: every finished (variant, seed) leaves a summary in benchmarks/learning/, and a finished one is not run
again. With --curves only the runs themselves are made, with their validations of 480 held-out tasks, and nothing is
measured afterwards. `table` prints benchmarks/learning.md from the summaries alone (learning_table.py). Settings were
chosen on the validation set; this script looks at the held-out set. Reading order: VARIANTS, run_one (self-play, then
measure), measure, measure_base.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HOME = Path(__file__).parent / "learning"
SAMPLES = 8
TEMPERATURES = (1.0, 0.8, 0.6, 0.4)  # of the base, beside its greedy answers: what surer answers alone would give
# Overlays and settings over configs/tiny.toml; controls run the same number of steps.
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "frozen": ["--set", "optim.freeze=true"],
    "shuffled": ["--set", "selfplay.shuffle_rewards=true"],
    "azr": ["--config", "configs/ablations/azr.toml"],
    "lora": ["--config", "configs/ablations/lora.toml"],
    "grpo": ["--config", "configs/ablations/estimators/grpo.toml"],
    "at_once": ["--config", "configs/ablations/at_once.toml"],
    "reasoned": ["--config", "configs/ablations/reasoned.toml"],
    "validity": ["--config", "configs/ablations/rewards/validity.toml"],
}
KINDS = ("deduction", "abduction", "induction")
CURVES = (
    "propose/admitted_frac", "propose/unique_frac", "propose/duplicate_frac", "propose/program_lines",
    "propose/never_frac", "propose/always_frac", "propose/learnable_frac", "propose/solve_rate", "policy/entropy",
    "policy/grad_norm", "time/step_s", "eval/held_out_answers", "solve/reasoned_frac", "solve/answer_tokens",
    "eval/solve_rate", "eval/greedy", "eval/answer_tokens", "eval/reasoned_frac",
    *(f"solve/answer_tokens/{kind}" for kind in KINDS),
    *(f"eval/{what}/{kind}" for what in ("solve_rate", "greedy", "answer_tokens", "reasoned_frac") for kind in KINDS),
)  # fmt: skip


def run_one(variant: str, seed: int, steps: int, *, measured: bool) -> None:
    """One self-play run in its own process, then the held-out measurement in another; writes the summary."""
    out = HOME / f"{variant}-{seed}.json"
    if out.exists() and (not measured or "trained" in json.loads(out.read_text())):
        print(f"{variant} {seed}: done before", flush=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = [
            f"run.dir={scratch!r}", "run.name=bench", f"run.rng_seed={seed}", "run.threads=1",
            *([f"selfplay.steps={steps}"] if steps else []),
            "eval.split=heldout", "eval.limit=480", "run.rollouts_every=0", "run.checkpoint_every=0",
            "sandbox.workers=1",
        ]  # fmt: skip
        command = [sys.executable, "-m", "minizero", "selfplay", "tiny", *VARIANTS[variant]]
        for text in settings:
            command += ["--set", text]
        started = time.perf_counter()
        log = HOME / f"{variant}-{seed}.log"
        with log.open("w") as file:
            subprocess.run(command, cwd=ROOT, check=True, stdout=file, stderr=subprocess.STDOUT)
        seconds = time.perf_counter() - started
        (run,) = Path(scratch).iterdir()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        curves = {name: [[r["step"], round(r[name], 4)] for r in rows if name in r] for name in CURVES}
        manifest = json.loads((run / "manifest.json").read_text())
        summary = {
            "variant": variant, "seed": seed, "steps": rows[-1]["step"], "run_s": round(seconds),
            "settings": VARIANTS[variant],
            "versions": manifest["versions"], "machine": manifest["machine"], "commit": manifest["commit"],
            "curves": curves,
        }  # fmt: skip
        if measured:
            found = subprocess.run(
                [sys.executable, __file__, "measure", str(run), "--seed", str(seed)],
                cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            summary["trained"] = json.loads(found.stdout.splitlines()[-1])
        out.write_text(json.dumps(summary) + "\n")
        log.unlink()
    print(f"{variant} {seed}: {seconds:.0f} s", flush=True)


def measure(run: Path | None, seed: int, *, think: str = "auto", temperature: float = 1.0) -> dict[str, Any]:
    """Greedy answers and samples on every held-out task, of a run's last checkpoint or (None) of the unchanged base."""
    from minizero.config import load_config
    from minizero.selfplay.build import sandbox_settings
    from minizero.selfplay.validation import held_out_tasks, validate
    from sandbox import Sandbox

    overrides = ["eval.split=heldout", "eval.limit=100000", f"eval.samples={SAMPLES}", "run.threads=1"]
    model = [] if run is None else [f"model.name={str(next(run.glob('checkpoints/*/*')))!r}"]
    if run is not None and (adapters := list(run.glob("checkpoints/*/adapter"))):
        model = [f"model.name={_merged(adapters[0])!r}"]
    config = load_config([ROOT / "configs" / "tiny.toml"], [*overrides, f"prompt.think={think}", *model])
    with Sandbox(**sandbox_settings(config)) as box:
        from minizero.learn.policy import Policy
        from minizero.rollout.make import make_sampler

        policy = Policy(config)
        found = validate(
            held_out_tasks(config), config, step=0, sampler=make_sampler(config, policy), box=box, style="compact",
            temperature=temperature, stream=seed,
        )  # fmt: skip
    rows = found.rows
    return {
        "think": think,
        "temperature": temperature,
        "greedy": "".join(str(int(row["greedy"])) for row in rows),
        "correct": "".join(str(row["correct"]) for row in rows),
        "types": "".join(row["type"][0] for row in rows),
        "lines": [row["lines"] for row in rows],
        "tokens": [row["tokens"] for row in rows],  # of all samples
        "reasoned": "".join(str(row["reasoned"]) for row in rows),
        "greedy_reasoned": "".join(str(int(row["greedy_reasoned"])) for row in rows),
        "entropy": round(found.entropy, 4),
    }


def _merged(adapter: Path) -> str:
    """The tiny model with an adapter merged into it, as a directory beside the adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from minizero.models.names import TINY

    out = adapter.parent / "merged"
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(TINY), adapter).merge_and_unload().save_pretrained(
        out
    )
    AutoTokenizer.from_pretrained(TINY).save_pretrained(out)
    return str(out)


def measure_base() -> None:
    """The unchanged base, free, made to answer at once and made to reason, at each temperature."""
    path = HOME / "base.json"
    found = json.loads(path.read_text()) if path.exists() else []
    done = {(row["think"], row["temperature"]) for row in found}
    for think in ("auto", "on", "off"):
        for temperature in TEMPERATURES if think != "off" else (1.0,):
            if (think, temperature) not in done:
                found.append(measure(None, 1_000, think=think, temperature=temperature))
                path.write_text(json.dumps(found) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "measure", "base", "table"])
    parser.add_argument("path", nargs="?")
    parser.add_argument("--variants", nargs="+", default=["default", "frozen", "shuffled"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="default: as configs/tiny.toml has it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curves", action="store_true")
    asked = parser.parse_args()
    HOME.mkdir(exist_ok=True)
    if asked.command == "measure":
        print(json.dumps([measure(Path(asked.path), asked.seed, think=think) for think in ("auto", "on")]))
        return
    if asked.command == "run":
        with ThreadPoolExecutor(asked.jobs) as pool:
            pairs = [(variant, seed) for seed in asked.seeds for variant in asked.variants]
            list(pool.map(lambda pair: run_one(*pair, asked.steps, measured=not asked.curves), pairs))
    if asked.command == "base" or (asked.command == "run" and not asked.curves):
        measure_base()
    from learning_table import table

    text = table(HOME)
    (Path(__file__).parent / "learning.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
