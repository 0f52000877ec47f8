"""Make the tiny model: `python -m minizero.tiny.train --out DIR`; seeded, the same weights on the same machine.

Reading order: `main`, `train`, then a batch and the optimisers. Letters: N sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from minizero.prompts import compact
from minizero.tiny import sets
from minizero.tiny.model import build_model, save
from minizero.tiny.quick import quick_scores
from minizero.tiny.sequences import Curriculum
from minizero.tiny.tokenizer import build_tokenizer

EXTRA = {}

@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is made of; `steps` fixes its length, so that it does not depend on the machine's speed."""

    out: Path
    steps: int = 1500
    seed: int = 0
    minutes: float | None = None  # stop after so long instead; the schedule then follows the clock
    batch: int = 64  # sequences a step
    micro_batches: int = 4  # each of sequences of like length
    matrix_lr: float = 3e-3  # Muon, scaled to AdamW's update size; see notes in the model card
    other_lr: float = 3e-3  # AdamW for embeddings, norms and biases
    prompt_weight: float = 0.3  # loss weight of the outputs shown in induction prompts
    width: int = 192
    layers: int = 6
    optimiser: str = "muon"


def train(settings: Settings) -> None:
    tokenizer = build_tokenizer()
    model = build_model(seed=settings.seed, width=settings.width, layers=settings.layers)
    model.set_attn_implementation("eager")  # for short sequences in bf16 on a CPU twice as fast as the fused kernel
    optimisers = _optimisers(model, settings)
    rates = [[g["lr"] for g in o.param_groups] for o in optimisers]
    curriculum = Curriculum(random.Random(settings.seed))
    validation = sets.load("validation")[:360]
    start = time.monotonic()
    step, seen_tokens, last_eval, loss_sum, loss_n = 0, 0, 0.0, 0.0, 0
    while True:
        elapsed = time.monotonic() - start
        progress = step / settings.steps if settings.minutes is None else elapsed / 60 / settings.minutes
        done = progress >= 1
        if elapsed - last_eval > 60 * EXTRA.get("every", 3) or done:
            last_eval = elapsed
            save(model, tokenizer, settings.out)
            model.eval()
            scores = quick_scores(model, tokenizer, validation, samples=4, seed=1)
            model.train()
            keys = ["all", "deduction", "abduction", "induction"] + [f"{t}/{k}" for t in ("deduction", "abduction", "induction") for k in (2, 3)]
            _say(f"  eval step {step} {elapsed:.0f}s ({time.monotonic()-start-elapsed:.0f}s): " + " ".join(f"{k}={100 * scores[k][0]:.1f}/{100 * scores[k][1]:.0f}" for k in keys))
        if done:
            break
        factor = min(1.0, (step + 1) / 50, max(0.02, (1 - progress) / 0.5))
        for optimiser, base in zip(optimisers, rates, strict=True):
            for group, lr in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = lr * factor
        batch = _draw_batch(curriculum, tokenizer, settings, progress)
        total = sum(float(w[:, 1:].sum()) for _, w in batch)
        for ids, weights in batch:
            loss = _loss(model, ids, weights) / total
            loss.backward()
            loss_sum += float(loss.detach())
            seen_tokens += ids.numel()
        loss_n += 1
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            _say(f"step {step} {progress:.3f} loss {loss_sum / loss_n:.4f} {seen_tokens / (time.monotonic() - start):.0f} tok/s {time.monotonic() - start:.0f}s")
            loss_sum, loss_n = 0.0, 0
    save(model, tokenizer, settings.out)


def _draw_batch(curriculum: Curriculum, tokenizer: PreTrainedTokenizerBase, settings: Settings, progress: float) -> list[tuple[Tensor, Tensor]]:
    texts = [curriculum.draw(progress) for _ in range(settings.batch)]
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    prompts, completions = encode([t.prompt for t in texts]), encode([t.completion for t in texts])
    rows = sorted((_row(p.ids, [*c.ids, 1], tokenizer, settings) for p, c in zip(prompts, completions, strict=True)), key=lambda r: len(r[0]))
    size = settings.batch // settings.micro_batches
    return [_pad(rows[k : k + size]) for k in range(0, len(rows), size)]


def _row(prompt: list[int], completion: list[int], tokenizer, settings) -> tuple[list[int], list[float]]:
    weights = [0.0] * len(prompt) + [1.0] * len(completion)
    if settings.prompt_weight and prompt[0] == _id(tokenizer, compact.INPUT):
        inside = False
        for k, token in enumerate(prompt):
            if inside: weights[k] = settings.prompt_weight
            if token == _id(tokenizer, compact.CLOSE + compact.OUTPUT): inside = True
            elif token in (_id(tokenizer, compact.CLOSE + compact.INPUT), _id(tokenizer, compact.CLOSE + compact.MESSAGE)): inside = False
    return [*prompt, *completion], weights

_IDS = {}
def _id(tokenizer, text):
    if text not in _IDS: _IDS[text] = tokenizer.convert_tokens_to_ids(text)
    return _IDS[text]

def _pad(rows):
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    weights = torch.tensor([w + [0.0] * (longest - len(w)) for _, w in rows])
    return ids, weights


def _loss(model: Qwen2ForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=EXTRA.get("bf16", True)):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        w = weights[:, 1:]
        mask = w > 0
        logits = model.lm_head(hidden[mask]).float()
    return (F.cross_entropy(logits, ids[:, 1:][mask], reduction="none") * w[mask]).sum()


def _optimisers(model, settings):
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    if settings.optimiser == "adamw":
        return [torch.optim.AdamW([{"params": matrices, "lr": settings.matrix_lr}, {"params": others, "lr": settings.other_lr}], betas=(0.9, 0.98), weight_decay=0.01)]
    return [
        torch.optim.Muon(matrices, lr=settings.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=settings.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, required=True)
    for f, t in dict(steps=int, seed=int, minutes=float, batch=int, micro_batches=int, matrix_lr=float, other_lr=float, prompt_weight=float, width=int, layers=int, optimiser=str).items():
        ap.add_argument("--" + f.replace("_", "-"), type=t, default=Settings.__dataclass_fields__[f].default)
    ap.add_argument("--bf16", type=int, default=1); ap.add_argument("--every", type=float, default=3)
    a = vars(ap.parse_args()); EXTRA["bf16"] = bool(a.pop("bf16")); EXTRA["every"]=a.pop("every")
    torch.set_num_threads(1)
    train(Settings(**a))
