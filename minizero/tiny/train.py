"""Make the tiny model: `python -m minizero.tiny.train --out DIR`; seeded, the same weights on the same machine.

Reading order: Settings, `main`, `train`, then a batch, its loss and the optimisers. Letters: N rows, T tokens.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from minizero.prompts import compact
from minizero.tiny import sets
from minizero.tiny.model import build_model, save
from minizero.tiny.quick import quick_scores
from minizero.tiny.sequences import Curriculum, PromptTree
from minizero.tiny.tokenizer import EOS, build_tokenizer

REPORT_EVERY = 20  # steps
NOISE_LR_FACTOR = 0.25  # of the learning rates, in the steps with label noise


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is made of. `steps` fixes its length, so that the result does not depend on the speed."""

    steps: int = 1400
    seed: int = 0
    minutes: float | None = None  # the schedule follows the clock instead of the steps: for trials, not reproducible
    batch: int = 48  # rows a step
    micro_batches: int = 4  # of like length each, so that little is padding
    matrix_lr: float = 2e-3  # Muon for the matrices, its updates scaled to the size of AdamW's
    other_lr: float = 2e-3  # AdamW for embeddings, norms and biases
    warmup_steps: int = 50
    decay_frac: float = 0.8  # the last part of the run, in which the learning rate falls to 2 %
    prompt_weight: float = 0.2  # loss weight of the outputs shown in induction prompts: they tell what the program does
    induce_weight: float = 1.5  # loss weight of programs in answer to induction, the hardest type
    propose_weight: float = 0.6  # and of proposals: mostly free choice, which would drown what there is to learn
    save_every: int = 350  # steps; also measures 240 validation tasks
    noise_steps: int = 100  # after the rest, with label noise (label_noise.py), at a quarter of the rates, falling to 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and write the model with its training.json to --out."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description="Train the built-in tiny model. The default takes about a quarter of an hour on one core."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for weights, tokenizer and training.json")
    parser.add_argument("--steps", type=int, default=default.steps, help="length of the run")
    parser.add_argument("--minutes", type=float, help="length by the clock instead (not reproducible)")
    parser.add_argument("--noise-steps", type=int, default=default.noise_steps, help="then so many with label noise")
    parser.add_argument("--start", type=Path, help="begin with this model's weights; --steps 0 trains the noise alone")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; another number may change the last bits")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    settings = Settings(
        steps=options.steps, seed=options.seed, minutes=options.minutes, noise_steps=options.noise_steps
    )
    train(settings, options.out, start_from=options.start)


def train(settings: Settings, out: Path, *, start_from: Path | None = None) -> Qwen2ForCausalLM:
    """Train from scratch, or from a model's weights. Weights are saved every `save_every` steps, so a run that is cut
    short leaves a model."""
    tokenizer = build_tokenizer()
    model = build_model(seed=settings.seed)
    if start_from is not None:
        model.load_state_dict(Qwen2ForCausalLM.from_pretrained(start_from, dtype=torch.float32).state_dict())
    model.set_attn_implementation("eager")  # short sequences in bf16: twice as fast as the fused kernel on a CPU
    optimisers = _optimisers(model, settings)
    curriculum = Curriculum(random.Random(settings.seed))
    validation = sets.load("validation")[:240]
    start, cpu_start = time.monotonic(), time.process_time()
    step, tokens, losses = 0, 0, 0.0
    while (progress := _progress(settings, step, time.monotonic() - start)) < 1:
        _set_learning_rates(optimisers, settings, step, progress)
        loss, size = _update(model, optimisers, _draw_batch(curriculum, tokenizer, settings, progress))
        step, tokens, losses = step + 1, tokens + size, losses + loss
        if step % REPORT_EVERY == 0:
            seconds = time.monotonic() - start
            speed = f"{tokens / seconds:.0f} tokens/s {seconds:.0f} s"
            _say(f"step {step} {progress:4.0%} loss {losses / REPORT_EVERY:.4f} {speed}")
            losses = 0.0
        if step % settings.save_every == 0:
            save(model, tokenizer, out)
            scores = quick_scores(model, tokenizer, validation, samples=4, seed=1)
            shown = " ".join(f"{key} {100 * rate:.1f}" for key, (rate, _) in scores.items())
            _say(f"  validation, % at temperature 1: {shown}")
    noisy = Curriculum(random.Random(settings.seed), label_noise=True)
    for noise_step in range(settings.noise_steps):
        factor = NOISE_LR_FACTOR * min((noise_step + 1) / 10, 1 - noise_step / settings.noise_steps)
        _scale_learning_rates(optimisers, settings, factor)
        loss, size = _update(model, optimisers, _draw_batch(noisy, tokenizer, settings, 1.0))
        tokens += size
        if (noise_step + 1) % REPORT_EVERY == 0:
            _say(f"label noise, step {noise_step + 1} loss {loss:.4f} {time.monotonic() - start:.0f} s")
    save(model, tokenizer, out)
    record: dict[str, Any] = {
        **asdict(settings),
        "steps": step,
        "rows": (step + settings.noise_steps) * settings.batch,
        "tokens": tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
        "wall_s": round(time.monotonic() - start),
        "cpu_s": round(time.process_time() - cpu_start),
        "threads": torch.get_num_threads(),
        "bf16": _has_bf16(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    if start_from is not None and (start_from / "training.json").is_file():
        record["start"] = json.loads((start_from / "training.json").read_text())
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    return model


def _progress(settings: Settings, step: int, seconds: float) -> float:
    if settings.minutes is not None:
        return seconds / 60 / settings.minutes
    return step / settings.steps if settings.steps else 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right. A token sees what stands before it in its own branch and in the stem (branch 0)."""

    ids: Tensor  # [N, T]
    weights: Tensor  # [N, T] loss weight of predicting this token
    positions: Tensor  # [N, T] each branch counts on from the stem
    branches: Tensor  # [N, T]


WeightedTokens = list[tuple[int, float, int, int]]  # id, weight, position, branch


def _draw_batch(
    curriculum: Curriculum, tokenizer: PreTrainedTokenizerBase, settings: Settings, progress: float
) -> list[Batch]:
    """The micro-batches of one step, rows of like length together."""
    rows = [_tokens(curriculum.draw(progress), tokenizer, settings) for _ in range(settings.batch)]
    rows.sort(key=len)
    size = settings.batch // settings.micro_batches
    return [_pad(rows[k : k + size]) for k in range(0, len(rows), size)]


def _tokens(row: PromptTree, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> WeightedTokens:
    encode = tokenizer.backend_tokenizer.encode
    eos = tokenizer.convert_tokens_to_ids(EOS)
    weight = {"run": 1.0, "induce": settings.induce_weight, "propose": settings.propose_weight}[row.kind]
    stem = encode(row.stem).ids
    tokens = [(token, 0.0, position, 0) for position, token in enumerate(stem)]
    for number, branch in enumerate(row.branches, 1):
        prompt, completion = encode(branch.prompt).ids, [*encode(branch.completion).ids, eos]
        weights = _prompt_weights(prompt, tokenizer, settings.prompt_weight) + [weight] * len(completion)
        tokens += [
            (token, w, len(stem) + k, number)
            for k, (token, w) in enumerate(zip(prompt + completion, weights, strict=True))
        ]
    return tokens


def _prompt_weights(ids: list[int], tokenizer: PreTrainedTokenizerBase, weight: float) -> list[float]:
    """Loss weights of a prompt: 0, but `weight` in the outputs of induction prompts, which alone start with inputs."""
    weights = [0.0] * len(ids)
    tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(ids)]
    if tokens[0] != compact.INPUT:
        return weights
    inside = False
    for place, token in enumerate(tokens):
        if inside:
            weights[place] = weight
        if token.startswith(compact.CLOSE):
            inside = token == compact.CLOSE + compact.OUTPUT
    return weights


def _pad(rows: Sequence[WeightedTokens]) -> Batch:
    longest = max(map(len, rows))
    padded = [[*row, *[(0, 0.0, 0, -1)] * (longest - len(row))] for row in rows]
    ids, weights, positions, branches = (torch.tensor([[t[part] for t in row] for row in padded]) for part in range(4))
    return Batch(ids, weights, positions, branches)


def _update(
    model: Qwen2ForCausalLM, optimisers: Sequence[torch.optim.Optimizer], batches: Sequence[Batch]
) -> tuple[float, int]:
    """One optimiser step; returns the weighted mean loss in nats and the number of tokens, padding included."""
    total = sum(float(batch.weights.sum()) for batch in batches)
    loss_sum = 0.0
    for batch in batches:
        loss = _loss_sum(model, batch) / total
        torch.autograd.backward(loss)
        loss_sum += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return loss_sum, sum(batch.ids.numel() for batch in batches)


def _loss_sum(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Weighted sum of -log p(id) in nats. What is learned never begins a branch, so the token before it predicts it."""
    before, after = batch.branches[:, None, :, None], batch.branches[:, None, None, :]
    causal = torch.ones(batch.ids.shape[1], batch.ids.shape[1], dtype=torch.bool).tril()
    sees = causal & ((after == before) | (after == 0))
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    targets, weights = batch.ids[:, 1:], batch.weights[:, 1:]
    learned = weights > 0
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_has_bf16()):
        hidden = model.model(
            input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False
        ).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[learned]).float()
    return (F.cross_entropy(logits, targets[learned], reduction="none") * weights[learned]).sum()


def _optimisers(model: Qwen2ForCausalLM, settings: Settings) -> list[torch.optim.Optimizer]:
    def is_matrix(name: str, parameter: Tensor) -> bool:
        return parameter.ndim == 2 and "embed" not in name

    matrices = [p for name, p in model.named_parameters() if is_matrix(name, p)]
    others = [p for name, p in model.named_parameters() if not is_matrix(name, p)]
    return [
        torch.optim.Muon(matrices, lr=settings.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=settings.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _set_learning_rates(
    optimisers: Sequence[torch.optim.Optimizer], settings: Settings, step: int, progress: float
) -> None:
    factor = min(1.0, (step + 1) / settings.warmup_steps, max(0.02, (1 - progress) / settings.decay_frac))
    _scale_learning_rates(optimisers, settings, factor)


def _scale_learning_rates(optimisers: Sequence[torch.optim.Optimizer], settings: Settings, factor: float) -> None:
    for optimiser, lr in zip(optimisers, (settings.matrix_lr, settings.other_lr), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = lr * factor


def _has_bf16() -> bool:
    """Whether the processor multiplies in bf16; where it only imitates it, fp32 is several times faster."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
