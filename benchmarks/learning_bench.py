"""Does self-play teach the tiny model something? Seeds, controls, paired intervals on held-out tasks it never met.

    python benchmarks/learning_bench.py run [--variants default frozen shuffled] [--seeds 0 1 2] [--jobs 2]
    python benchmarks/learning_bench.py table

Resumable: every finished (variant, seed) leaves a summary in benchmarks/learning/, and a finished one is not run
again. `table` prints benchmarks/learning.md from the summaries alone. Settings were chosen on the validation set; this
script looks at the held-out set. Reading order: VARIANTS, run_one (self-play, then measure), measure, table.
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
STEPS = 60
# Overlays and settings over configs/tiny.toml; controls run the same number of steps.
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "frozen": ["--set", "optim.freeze=true"],
    "shuffled": ["--set", "selfplay.shuffle_rewards=true"],
    "azr": ["--config", "configs/ablations/azr.toml"],
    "lora": ["--config", "configs/ablations/lora.toml"],
    "grpo": ["--config", "configs/ablations/estimators/grpo.toml"],
}
CURVES = (
    "propose/admitted_frac", "propose/unique_frac", "propose/duplicate_frac", "propose/program_lines",
    "propose/never_frac",
    "propose/always_frac", "propose/learnable_frac", "propose/solve_rate", "policy/entropy", "policy/grad_norm",
    "eval/solve_rate",
    "eval/greedy", "time/step_s", "eval/held_out_answers",
)  # fmt: skip


def run_one(variant: str, seed: int, steps: int) -> None:
    """One self-play run in its own process, then the held-out measurement in another; writes the summary."""
    out = HOME / f"{variant}-{seed}.json"
    if out.exists():
        print(f"{variant} {seed}: done before", flush=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = [
            f"run.dir={scratch!r}", "run.name=bench", f"run.rng_seed={seed}", "run.threads=1",
            f"selfplay.steps={steps}",
            "eval.limit=150", "run.rollouts_every=0", "run.checkpoint_every=0", "sandbox.workers=1", "eval.every=0",
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
        found = subprocess.run(
            [sys.executable, __file__, "measure", str(run), "--seed", str(seed)],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        curves = {name: [[r["step"], round(r[name], 4)] for r in rows if name in r] for name in CURVES}
        manifest = json.loads((run / "manifest.json").read_text())
        summary = {
            "variant": variant, "seed": seed, "steps": steps, "run_s": round(seconds), "settings": VARIANTS[variant],
            "versions": manifest["versions"], "machine": manifest["machine"], "commit": manifest["commit"],
            "trained": json.loads(found.stdout.splitlines()[-1]), "curves": curves,
        }  # fmt: skip
        out.write_text(json.dumps(summary) + "\n")
        log.unlink()
    print(f"{variant} {seed}: {seconds:.0f} s", flush=True)


def measure(run: Path | None, seed: int, temperature: float = 1.0) -> dict[str, Any]:
    """Greedy and 8 samples on every held-out task, of a run's last checkpoint or (None) of the unchanged base."""
    from minizero.config import load_config
    from minizero.selfplay.build import sandbox_settings
    from minizero.selfplay.validation import held_out_tasks, validate
    from sandbox import Sandbox

    overrides = ["eval.split=heldout", "eval.limit=100000", f"eval.samples={SAMPLES}", "run.threads=1"]
    model = [] if run is None else [f"model.name={str(next(run.glob('checkpoints/*/*')))!r}"]
    if run is not None and (adapters := list(run.glob("checkpoints/*/adapter"))):
        model = [f"model.name={_merged(adapters[0])!r}"]
    config = load_config([ROOT / "configs" / "tiny.toml"], [*overrides, *model])
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
        "greedy": "".join(str(int(row["greedy"])) for row in rows),
        "correct": "".join(str(row["correct"]) for row in rows),
        "types": "".join(row["type"][0] for row in rows),
        "lines": "".join(str(row["lines"]) for row in rows),
        "entropy": round(found.entropy, 4),
        "temperature": temperature,
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


def measure_base() -> dict[str, Any]:
    """The unchanged base at temperature 1, and at the temperature whose entropy matches that of the trained models."""
    path = HOME / "base.json"
    base = json.loads(path.read_text()) if path.exists() else {"plain": measure(None, 1_000)}
    trained = [json.loads(p.read_text())["trained"]["entropy"] for p in sorted(HOME.glob("default-*.json"))]
    if trained:
        target = sum(trained) / len(trained)
        # Secant: the entropy of the base rises almost straight with the temperature.
        before, now = base["plain"], base.get("matched") or measure(None, 1_001, 0.6)
        for _ in range(6):
            if abs(now["entropy"] - target) <= 0.005:
                break
            slope = (before["entropy"] - now["entropy"]) / (before["temperature"] - now["temperature"])
            temperature = now["temperature"] + (target - now["entropy"]) / slope
            before, now = now, measure(None, 1_001, temperature)
        base["matched"] = now
    path.write_text(json.dumps(base) + "\n")
    return base


def table() -> str:
    """benchmarks/learning.md: differences to the unchanged base, paired over tasks, and what is more than
    sharpening."""
    import numpy as np

    from minizero.statistics import paired_bootstrap

    base = json.loads((HOME / "base.json").read_text())
    plain = base["plain"]
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(HOME.glob("*-*.json")):
        summary = json.loads(path.read_text())
        runs.setdefault(summary["variant"], []).append(summary)

    def rates(found: dict[str, Any], what: str) -> Any:
        if what == "greedy":
            return np.array([int(c) for c in found["greedy"]], dtype=float)
        correct = np.array([int(c) for c in found["correct"]], dtype=float)
        return correct / SAMPLES if what == "rate" else (correct > 0).astype(float)

    def change(group: list[dict[str, Any]], what: str, mask: Any = None, reference: Any = plain) -> str:
        """Mean over seeds, then paired over tasks."""
        after = np.mean([rates(s["trained"], what) for s in group], axis=0)
        before = rates(reference, what)
        keep = slice(None) if mask is None else mask
        i = paired_bootstrap(before[keep], after[keep], np.random.default_rng(0), resamples=4000)
        return f"{100 * i.value:+.1f} ({100 * i.low:+.1f} to {100 * i.high:+.1f})"

    def mean(found: dict[str, Any], what: str, mask: Any = None) -> str:
        keep = slice(None) if mask is None else mask
        return f"{100 * rates(found, what)[keep].mean():.1f}"

    count = len(plain["types"])
    lines = [
        "# What self-play teaches the tiny model",
        "",
        f"{count} held-out tasks, {SAMPLES} samples each at temperature 1 and one greedy answer. Differences in points",
        "to the unchanged base on the same tasks, mean over seeds, 95 % interval by a bootstrap over tasks. Printed by",
        "`python benchmarks/learning_bench.py table`.",
        "",
        "| variant | seeds | steps | T = 1 | greedy | pass@8 | T = 1, seed by seed | minutes a run |",
        "|---|---|---|---|---|---|---|---|",
        f"| the base itself | | | {mean(plain, 'rate')} % | {mean(plain, 'greedy')} % | {mean(plain, 'any')} % | | |",
    ]
    order = [v for v in VARIANTS if v in runs]
    for variant in order:
        group = runs[variant]
        single = ", ".join(f"{100 * (rates(s['trained'], 'rate') - rates(plain, 'rate')).mean():+.1f}" for s in group)
        minutes = ", ".join(f"{s['run_s'] / 60:.1f}" for s in group)
        lines.append(
            f"| {variant} | {len(group)} | {group[0]['steps']} | {change(group, 'rate')} | {change(group, 'greedy')} | "
            f"{change(group, 'any')} | {single} | {minutes} |"
        )
    types = np.array(list(plain["types"]))
    lengths = np.array(list(plain["lines"]))
    if "default" in runs:
        lines += [
            "",
            "## Where the gain is (default)",
            "",
            "| tasks | base, T = 1 | T = 1 | greedy |",
            "|---|---|---|---|",
        ]
        groups = {"deduction": types == "d", "abduction": types == "a", "induction": types == "i"}
        groups |= {f"{n} line{'s' if n > 1 else ''}": lengths == str(n) for n in (1, 2, 3, 4)}
        for name, mask in groups.items():
            lines.append(
                f"| {name} ({mask.sum()}) | {mean(plain, 'rate', mask)} % | {change(runs['default'], 'rate', mask)} | "
                f"{change(runs['default'], 'greedy', mask)} |"
            )
    if "matched" in base and "default" in runs:
        matched, group = base["matched"], runs["default"]
        entropy = np.mean([s["trained"]["entropy"] for s in group])
        lines += [
            "",
            "## More than sharpening?",
            "",
            f"Entropy of a token on the held-out tasks at temperature 1, in nats: trained {entropy:.3f}, base",
            f"{plain['entropy']:.3f}. A lower temperature makes the unchanged base as sure: at "
            f"{matched['temperature']:.2f} it has {matched['entropy']:.3f}.",
            f"So sharpened it solves {mean(matched, 'rate')} % (pass@8 {mean(matched, 'any')} %). Of the trained",
            f"models' {change(group, 'rate')} points at temperature 1 that leaves",
            f"{change(group, 'rate', None, matched)}; their pass@8 differs from the sharpened base's by",
            f"{change(group, 'any', None, matched)}. The rest of the gain is what a lower temperature gives too.",
        ]
    lines += ["", "## The proposer", "", "Means over seeds, first tenth of the steps and last tenth.", ""]
    names = [n for n in CURVES if n.startswith("propose/")] + ["policy/entropy"]
    lines += ["| variant | " + " | ".join(n.partition("/")[2] for n in names) + " |", "|---" * (len(names) + 1) + "|"]
    for variant in order:
        cells = []
        for name in names:
            ends = []
            for s in runs[variant]:
                values = [v for _, v in s["curves"][name]]
                tenth = max(1, len(values) // 10)
                ends.append((np.mean(values[:tenth]), np.mean(values[-tenth:])) if values else (np.nan, np.nan))
            first, last = np.mean(ends, axis=0)
            cells.append(f"{first:.2f} to {last:.2f}")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    machine = next(iter(runs.values()))[0]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if k in ("python", "torch", "transformers"))
    lines += ["", f"Machine: {machine['machine']['processor']}, one thread a run, other work beside it; {versions}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "measure", "base", "table"])
    parser.add_argument("path", nargs="?")
    parser.add_argument("--variants", nargs="+", default=["default", "frozen", "shuffled"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    HOME.mkdir(exist_ok=True)
    if asked.command == "measure":
        print(json.dumps(measure(Path(asked.path), asked.seed)))
        return
    if asked.command == "run":
        with ThreadPoolExecutor(asked.jobs) as pool:
            pairs = [(variant, seed) for seed in asked.seeds for variant in asked.variants]
            list(pool.map(lambda pair: run_one(*pair, asked.steps), pairs))
    if asked.command in ("run", "base"):
        measure_base()
    text = table()
    (Path(__file__).parent / "learning.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
