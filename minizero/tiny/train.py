"""Make the tiny model: `python -m minizero.tiny.train --out DIR`; seeded, the same weights on the same machine.

Reading order: Settings, `main`, `train`, then a batch, its loss and the optimisers. Letters: N rows, T tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from minizero.prompts import compact
from minizero.prompts.compact import Think
from minizero.tiny import sets
from minizero.tiny.model import build_model, save
from minizero.tiny.quick import quick_scores
from minizero.tiny.sequences import AT_ONCE, Curriculum, PromptTree
from minizero.tiny.tokenizer import EOS, build_tokenizer
from minizero.types import Task

REPORT_EVERY = 20  # steps
HABIT_LR_FACTOR = 0.25  # of the learning rates, in the steps that teach the habit


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is made of. `steps` fixes its length, so that the result does not depend on the speed."""

    steps: int = 5000
    seed: int = 0
    minutes: float | None = None  # the schedule follows the clock instead of the steps: for trials, not reproducible
    batch: int = 24  # rows a step
    ranks: int = 2  # processes that share them, a core each; another number gives other weights
    micro_rows: int = 4  # rows of like length in one pass, so that little is padding
    matrix_lr: float = 2e-3  # Muon for the matrices, its updates scaled to the size of AdamW's
    other_lr: float = 2e-3  # AdamW for embeddings, norms and biases
    warmup_steps: int = 50
    decay_frac: float = 0.8  # the last part of the run, in which the learning rate falls to 2 %
    prompt_weight: float = 0.2  # loss weight of the outputs shown in induction prompts: they tell what the program does
    induce_weight: float = 1.5  # loss weight of programs in answer to induction, the hardest type
    propose_weight: float = 0.6  # and of proposals: mostly free choice, which would drown what there is to learn
    save_every: int = 1000  # steps; also measures
    validation_tasks: int = 300  # asked then and at the end, each in three ways
    habit_steps: int = 150  # then of answering at once (sequences.AT_ONCE), at a quarter of the rates, falling to 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and write the model with its training.json to --out."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description="Train the built-in tiny model. The default takes about an hour on two cores."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for weights, tokenizer and training.json")
    parser.add_argument("--steps", type=int, default=default.steps, help="length of the run")
    parser.add_argument("--minutes", type=float, help="length by the clock instead (not reproducible)")
    parser.add_argument(
        "--habit-steps", type=int, default=default.habit_steps, help="then so many that teach the habit"
    )
    parser.add_argument("--start", type=Path, help="begin with this model's weights; --steps 0 trains the habit alone")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--validation-tasks", type=int, default=default.validation_tasks, help="0 measures nothing")
    parser.add_argument("--ranks", type=int, default=default.ranks, help="processes, a core each, that share a step")
    options = parser.parse_args(arguments)
    settings = Settings(
        steps=options.steps,
        seed=options.seed,
        minutes=options.minutes,
        habit_steps=options.habit_steps,
        ranks=options.ranks,
        validation_tasks=options.validation_tasks,
    )
    if settings.ranks == 1:
        _train_rank(0, settings, options.out, options.start, "")
        return
    with tempfile.TemporaryDirectory() as meeting:
        args = (settings, options.out, options.start, f"file://{meeting}/ranks")
        spawn(_train_rank, args, nprocs=settings.ranks)  # type: ignore[no-untyped-call]


def _train_rank(rank: int, settings: Settings, out: Path, start_from: Path | None, meeting: str) -> None:
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if meeting:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=settings.ranks)
    train(settings, out, start_from=start_from, rank=rank)
    if meeting:
        dist.destroy_process_group()


def train(settings: Settings, out: Path, *, start_from: Path | None = None, rank: int = 0) -> Qwen2ForCausalLM:
    """Train from scratch, or from a model's weights. Weights are saved every `save_every` steps, so a run that is cut
    short leaves a model. Of several ranks each draws rows of its own, and the first one writes and measures."""
    tokenizer = build_tokenizer()
    model = build_model(seed=settings.seed)
    if start_from is not None:
        model.load_state_dict(Qwen2ForCausalLM.from_pretrained(start_from, dtype=torch.float32).state_dict())
    # Of short sequences in bf16: twice as fast as the fused kernel on a CPU. In fp32 that is 1.2 times as fast.
    model.set_attn_implementation("eager" if _has_bf16() else "sdpa")
    optimisers = _optimisers(model, settings)
    say = _say if rank == 0 else lambda line: None
    dice = random.Random(settings.seed * settings.ranks + rank)
    curriculum = Curriculum(dice)
    validation = sets.load("validation")[: settings.validation_tasks]
    start, cpu_start = time.monotonic(), time.process_time()
    step, tokens, losses = 0, 0, 0.0
    while (progress := _progress(settings, step, start)) < 1:
        _set_learning_rates(optimisers, settings, step, progress)
        loss, size = _update(model, optimisers, _draw_batch(curriculum, tokenizer, settings, progress))
        step, tokens, losses = step + 1, tokens + size, losses + loss
        if step % REPORT_EVERY == 0:
            seconds = time.monotonic() - start
            speed = f"{tokens / seconds:.0f} tokens/s {seconds:.0f} s"
            say(f"step {step} {progress:4.0%} loss {losses / REPORT_EVERY:.4f} {speed}")
            losses = 0.0
        if step % settings.save_every == 0 and rank == 0:
            save(model, tokenizer, out)
            _say_scores(model, tokenizer, validation)
    # From the weights as they are saved, with dice and averages of its own: so the habit may be trained in a sitting of
    # its own (--start), to the same end.
    model.bfloat16().float()
    optimisers = _optimisers(model, settings)
    habit = Curriculum(random.Random(f"habit {settings.seed} {rank}"), AT_ONCE)
    for habit_step in range(settings.habit_steps):
        factor = HABIT_LR_FACTOR * min((habit_step + 1) / 10, 1 - habit_step / settings.habit_steps)
        _scale_learning_rates(optimisers, settings, factor)
        loss, size = _update(model, optimisers, _draw_batch(habit, tokenizer, settings, 1.0))
        tokens += size
        if (habit_step + 1) % REPORT_EVERY == 0:
            say(f"habit, step {habit_step + 1} loss {loss:.4f} {time.monotonic() - start:.0f} s")
    if rank != 0:
        return model
    _say_scores(model, tokenizer, validation)
    save(model, tokenizer, out)
    record: dict[str, Any] = {
        **asdict(settings),
        "steps": step,
        "rows": (step + settings.habit_steps) * settings.batch,
        "tokens": tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
        "wall_s": round(time.monotonic() - start),
        "cpu_s": round(time.process_time() - cpu_start) * settings.ranks,
        "bf16": _has_bf16(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "sittings": 1,
    }
    if start_from is not None and (start_from / "training.json").is_file():
        before = json.loads((start_from / "training.json").read_text())
        for name in ("steps", "rows", "tokens", "wall_s", "cpu_s", "sittings"):
            record[name] += before.get(name, 1)
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    return model


def _say_scores(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task]) -> None:
    for think in get_args(Think) if tasks else ():
        scores = quick_scores(model, tokenizer, tasks, samples=1, seed=1, think=think)
        shown = " ".join(f"{key} {100 * score.right:.0f}" for key, score in scores.items() if "/" not in key)
        _say(f"  validation, % at temperature 1, think {think}: {shown}, reasoned {100 * scores['all'].reasoned:.0f}")


def _progress(settings: Settings, step: int, start: float) -> float:
    if settings.minutes is None:
        return step / settings.steps if settings.steps else 1.0
    elapsed = torch.tensor((time.monotonic() - start) / 60 / settings.minutes)
    return float(_sum_of_ranks(elapsed)) / settings.ranks  # the ranks stop at the same step


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
    rows = [_tokens(curriculum.draw(progress), tokenizer, settings) for _ in range(settings.batch // settings.ranks)]
    rows.sort(key=len)
    return [_pad(rows[k : k + settings.micro_rows]) for k in range(0, len(rows), settings.micro_rows)]


def _tokens(row: PromptTree, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> WeightedTokens:
    encode = tokenizer.backend_tokenizer.encode
    eos = tokenizer.convert_tokens_to_ids(EOS)
    assert isinstance(eos, int)
    weight = {"run": 1.0, "induce": settings.induce_weight, "propose": settings.propose_weight}[row.kind]
    stem = encode(row.stem).ids
    tokens = [(token, 0.0, position, 0) for position, token in enumerate(stem)]
    for number, branch in enumerate(row.branches, 1):
        prompt = encode(branch.prompt).ids
        completion: list[int] = []
        weights = _prompt_weights(prompt, tokenizer, settings.prompt_weight)
        for piece in branch.completion:
            ids = encode(piece.text).ids
            completion += ids
            weights += [weight * piece.learned] * len(ids)
        completion.append(eos)
        weights.append(weight)
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
    sums = torch.zeros(3)  # of losses, weights, tokens
    for batch in batches:
        loss = _loss_sum(model, batch)
        torch.autograd.backward(loss)
        sums += torch.tensor([float(loss.detach()), float(batch.weights.sum()), batch.ids.numel()])
    _sum_of_ranks(sums)
    parameters = [p for p in model.parameters() if p.grad is not None]
    gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    for p, part in zip(parameters, _sum_of_ranks(gradient).split([p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p) / sums[1]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return float(sums[0] / sums[1]), int(sums[2])


def _sum_of_ranks(values: Tensor) -> Tensor:
    """The sum over the processes that train together, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


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
        Muon(matrices, lr=settings.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=settings.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) as torch.optim.Muon computes it with adjust_lr_fn="match_rms_adamw", but in fp32 and
    for all matrices of a shape at once: torch's computes in bf16, one by one, which took 63 % of a step on a processor
    that only imitates bf16."""

    def __init__(self, matrices: Sequence[Tensor], *, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self._step_of_a_shape(group, matrices)

    def _step_of_a_shape(self, group: dict[str, Any], matrices: Sequence[Tensor]) -> None:
        directions = []
        for matrix in matrices:
            assert matrix.grad is not None, "step() passes on matrices with gradients alone"
            average = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
            average.lerp_(matrix.grad, 1 - group["momentum"])
            directions.append(matrix.grad.lerp(average, group["momentum"]))  # Nesterov's look ahead
        rms = 0.2 * max(matrices[0].shape) ** 0.5
        for matrix, change in zip(matrices, _orthogonal(torch.stack(directions)), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-group["lr"] * rms)


def _orthogonal(matrices: Tensor) -> Tensor:
    """[K, A, B] with all singular values brought near 1 by five quintic Newton-Schulz steps."""
    a, b, c = 3.4445, -4.775, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + torch.baddbmm(b * square, square, square, alpha=c) @ x
    return x.mT if tall else x


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
