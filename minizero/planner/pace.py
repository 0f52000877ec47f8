"""Seconds of a step, in closed form: the least that the card's data sheet allows (`floor`), and what measured rates
(calibration.py), or without them usual efficiencies, make of it. plan.py says which to the reader.

Reading order: Work (what a step does), work_of (what the settings ask for), work_done (what a step did), then seconds.
"""
# B sequences decoded together, N parameters that a token passes, F operations per second, W bytes of weights

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minizero.config.schema import Config
from minizero.planner.calibration import Measured, matmul_parameters
from minizero.planner.cards import Card
from minizero.planner.memory import kv_token_bytes
from minizero.planner.shapes import Shape
from minizero.types import Completion

COMPLETION, PROPOSE_PROMPT, SOLVE_PROMPT = 600, 1500, 400  # mean tokens; assumed, a run's report has its own
BANDWIDTH, DECODE, TRAIN = 0.70, 0.50, 0.45  # shares of the floor that good engines reach; assumed


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one step when every proposal is admitted: the most that it can be."""

    generated: int
    prompts: int  # each prompt once: its samples share the prefill
    trained: int
    sequences: int
    trained_sequences: int
    mean_context: float


def work_of(config: Config, completion: int = COMPLETION) -> Work:
    """Counts from the selfplay settings; lengths from means, cut at the settings' limits."""
    play = config.selfplay
    kinds = len(play.task_types)
    proposals, solves = play.proposals * kinds, play.solves * kinds
    attempts = proposals * play.attempts
    long, short = (min(mean, play.max_prompt_tokens) for mean in (PROPOSE_PROMPT, SOLVE_PROMPT))
    proposed, solved = (min(completion, most) for most in (play.propose_max_tokens, play.solve_max_tokens))
    generated = proposals * proposed + (solves + attempts) * solved
    prompts = (
        proposals // play.propose_samples * long
        + (solves // play.solve_samples + (proposals if attempts else 0)) * short
    )
    learned = solves + (attempts if play.train_on_attempts else 0)
    proposing = proposals if play.train_propose else 0
    sequences = proposals + solves + attempts
    context = (proposals * (long + proposed / 2) + (solves + attempts) * (short + solved / 2)) / max(1, sequences)
    trained = proposing * (long + proposed) + learned * (short + solved)
    return Work(generated, prompts, trained, sequences, proposing + learned, context)


def work_done(completions: Sequence[Completion], trained: Sequence[Completion]) -> Work:
    """What a step did, from what it wrote and what of it was learned from."""
    prompts = {c.prompt_ids for c in completions}
    generated = sum(len(c.ids) for c in completions)
    context = sum(len(c.prompt_ids) + len(c.ids) / 2 for c in completions) / max(1, len(completions))
    learned = sum(len(c.prompt_ids) + len(c.ids) for c in trained)
    return Work(generated, sum(map(len, prompts)), learned, len(completions), len(trained), context)


def seconds(
    config: Config,
    shape: Shape,
    card: Card | None,
    work: Work,
    *,
    kv_gib: float,
    weights_gib: float,
    floor: bool,
    measured: Measured | None = None,
) -> dict[str, float]:
    """Part of a step -> seconds.

    decode   one token for B sequences takes max((W + B context KV) / bandwidth, 2 N B / F)
    prefill  2 N / F a prompt token
    train    6 N / F a token (2 forward, 2 backward to activations, 2 recomputed), 4 without recomputation; 2 more for
             the weights' own gradients, which LoRA does not need; 2 more where old log-probabilities have their pass
    other    what was measured beside them: the adapter's way to the sampler

    Bandwidth and F are those of the data sheet (`floor`), measured ones, or assumed shares of the data sheet.
    """
    bandwidth, decode, prefill, train = _rates(card, None if floor else measured, floor)
    n = matmul_parameters(shape)
    token = kv_token_bytes(shape)
    room = kv_gib * 2**30 / (token * max(1.0, work.mean_context))
    rows = max(1.0, min(config.sampler.max_rows, room, work.sequences))
    step = max((weights_gib * 2**30 + rows * work.mean_context * token) / bandwidth, 2 * n * rows / decode)
    parts = {
        "decode": work.generated / rows * step,
        "prefill": 2 * n * work.prompts / prefill,
        "train": train_passes(config) * n * work.trained / train,
    }
    other = measured.overhead_s if measured and not floor else 0.0
    return parts | ({"other": other} if other else {})


def train_passes(config: Config) -> int:
    """Operations of an update for each parameter and token; see `seconds`."""
    passes = 6 if config.optim.gradient_checkpointing else 4
    passes += 2 if config.adapter.kind == "full" else 0
    return passes + (2 if config.optim.updates_per_step > 1 and config.loss.old_policy == "trainer" else 0)


def _rates(card: Card | None, measured: Measured | None, floor: bool) -> tuple[float, float, float, float]:
    """Bytes a second, and operations a second while decoding, reading prompts and training."""
    sheet_bandwidth, sheet_flops = (card.bandwidth, card.flops) if card else (0.0, 0.0)
    bandwidth = sheet_bandwidth * (1.0 if floor else BANDWIDTH)
    decode, train = (sheet_flops * (1.0 if floor else share) for share in (DECODE, TRAIN))
    prefill = train
    if measured:
        bandwidth, decode = measured.bandwidth or bandwidth, measured.decode or decode
        train = measured.train or train
        prefill = measured.prefill or measured.train or prefill
    return bandwidth, decode, prefill, train
