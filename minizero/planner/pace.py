"""Seconds of a step, in closed form: the least that the card's data sheet allows (`floor`), and what measured rates
(calibration.py), or without them usual efficiencies, make of it. plan.py says which to the reader.

Reading order: Texts and Work (what a step does), work_of (what the settings ask for), work_done (what a step did), then
seconds, and bounds (which of the card's two limits sets the floor), step_in_words (all of it for a reader).
"""
# B sequences decoded together, N parameters that a token passes, F operations per second, W bytes of weights

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minizero.config.adapters import names
from minizero.config.schema import Config
from minizero.planner.calibration import Measured, matmul_parameters
from minizero.planner.cards import Card
from minizero.planner.memory import (
    adapter_parameters,
    batched_tokens,
    cache_value_bytes,
    kv_token_bytes,
    releases,
    value_bytes,
)
from minizero.planner.shapes import Shape
from minizero.rewards.attempts import expected_attempts
from minizero.types import Completion

COMPLETION, PROPOSE_PROMPT, SOLVE_PROMPT = 600, 1500, 400  # mean tokens; assumed, a run's report has its own
BANDWIDTH, DECODE, TRAIN = 0.70, 0.50, 0.45  # shares of the floor that good engines reach; assumed
# Programs a second on a core: 728 on two, measured (benchmarks/sandbox.md). A proposal is run twice, an answer once.
PROGRAMS, CORES = 364, 4  # cores beside a card: assumed
RELEASE_S = 1.0  # to unmap and map the cache's memory; assumed
LEAST_MIN = 0.05  # minutes of a part that is shown by itself
KINDS = ("propose", "attempts", "solve")


@dataclass(frozen=True, slots=True)
class Texts:
    """Completions of one kind, the tokens in them, and those of their prompts, each read once for its samples."""

    sequences: float = 0.0
    generated: float = 0.0
    prompts: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one step when every proposal is admitted: the most that it can be.

    trained: prompt and completion of every sequence learned from. computed: what of it passes through the model, where
    completions of one prompt share a row (learn/batching.py does so where the prompt is the longer part).
    """

    kinds: Mapping[str, Texts]
    trained: int
    computed: int
    trained_sequences: int
    mean_context: float

    @property
    def generated(self) -> int:
        return round(sum(texts.generated for texts in self.kinds.values()))

    @property
    def prompts(self) -> int:
        return round(sum(texts.prompts for texts in self.kinds.values()))

    @property
    def sequences(self) -> int:
        return round(sum(texts.sequences for texts in self.kinds.values()))

    @property
    def programs(self) -> float:
        """Programs that run in the sandbox."""
        return sum(texts.sequences * (2 if name == "propose" else 1) for name, texts in self.kinds.items())


def work_of(config: Config, completion: int = COMPLETION) -> Work:
    """Counts from the selfplay settings; lengths from means, cut at the settings' limits. Where attempts stop early,
    the mean for solve rates that are all equally likely."""
    play = config.selfplay
    types = len(play.task_types)
    proposals, solves = play.proposals * types, play.solves * types
    attempts = proposals * expected_attempts(play.first_attempts, play.attempts)
    long, short = (min(mean, play.max_prompt_tokens) for mean in (PROPOSE_PROMPT, SOLVE_PROMPT))
    proposed, solved = (min(completion, most) for most in (play.propose_max_tokens, play.solve_max_tokens))
    kinds = {
        "propose": Texts(proposals, proposals * proposed, proposals // play.propose_samples * long),
        "attempts": Texts(attempts, attempts * solved, proposals * short if attempts else 0),
        "solve": Texts(solves, solves * solved, solves // play.solve_samples * short),
    }
    learned = {
        "propose": (proposals if play.train_propose else 0, long, proposed),
        "attempts": (round(attempts) if play.train_on_attempts else 0, short, solved),
        "solve": (solves, short, solved),
    }
    samples = {"propose": play.propose_samples, "attempts": max(1, play.attempts), "solve": play.solve_samples}
    trained = sum(count * (prompt + wrote) for count, prompt, wrote in learned.values())
    saved = sum(
        (count - count // samples[name]) * prompt for name, (count, prompt, wrote) in learned.items() if wrote <= prompt
    )
    sequences = proposals + solves + attempts
    context = (proposals * (long + proposed / 2) + (solves + attempts) * (short + solved / 2)) / max(1, sequences)
    return Work(kinds, trained, trained - saved, sum(count for count, _, _ in learned.values()), context)


def work_done(completions: Sequence[Completion], trained: Sequence[Completion]) -> Work:
    """What a step did, from what it wrote and what of it was learned from."""
    by_kind: dict[str, list[Completion]] = defaultdict(list)
    for completion in completions:
        by_kind[_kind(completion)].append(completion)
    kinds = {
        name: Texts(len(texts), sum(len(c.ids) for c in texts), sum(map(len, {c.prompt_ids for c in texts})))
        for name, texts in by_kind.items()
    }
    context = sum(len(c.prompt_ids) + len(c.ids) / 2 for c in completions) / max(1, len(completions))
    learned = sum(len(c.prompt_ids) + len(c.ids) for c in trained)
    return Work(kinds, learned, learned - _shared_prompts(trained), len(trained), context)


def _kind(completion: Completion) -> str:
    """By the first part of its request's name (selfplay/round.py): propose, attempt or solve."""
    name = completion.request_id.partition("/")[0]
    return {"propose": "propose", "attempt": "attempts"}.get(name, "solve")


def _shared_prompts(trained: Iterable[Completion]) -> int:
    """Prompt tokens that are read once less, because a completion shares the row of another with its prompt."""
    seen, saved = set(), 0
    for completion in trained:
        prompt = completion.prompt_ids
        if len(completion.ids) <= len(prompt):
            saved += len(prompt) if prompt in seen else 0
            seen.add(prompt)
    return saved


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

    propose, attempts, solve
             decoding: one token for B sequences takes max((W + B context KV) / bandwidth, 2 N B / F); and reading
             prompts: 2 N / F a prompt token. With 8-bit weights the layers' part of N counts half. Of several
             adapters W counts each beyond the first, since the rows of all are decoded together; the transformers
             sampler decodes those of one at a time instead
    update   6 N / F a token (2 forward, 2 backward to activations, 2 recomputed), 4 without recomputation; 2 more for
             the weights' own gradients, which LoRA does not need; 2 more where old log-probabilities have their pass
    sandbox  what its programs take longer than sampling, beside which they run
    sync     the adapter's copy into the engine, and the cache's way out and back

    Bandwidth and F are those of the data sheet (`floor`), measured ones, or assumed shares of the data sheet.
    """
    kept = None if floor else measured
    bandwidth, decode, prefill, train = _rates(card, kept, floor)
    n = matmul_parameters(shape)
    rows, read = _batch(config, shape, work, kv_gib=kv_gib, weights_gib=weights_gib)
    written = _passed(shape, fp8=config.sampler.weights == "fp8")
    token_s = max(read / bandwidth, 2 * written * rows / decode) / rows
    parts = {
        name: texts.generated * token_s + 2 * written * texts.prompts / prefill
        for name, texts in ((name, work.kinds.get(name, Texts())) for name in KINDS)
    }
    sampling = sum(parts.values())
    is_adapter = config.adapter.kind == "lora"
    copied = 2 * value_bytes(config, shape, "cuda") * adapter_parameters(config, shape) if is_adapter else 0
    gives_back = is_adapter and releases(config, True) and not floor
    return parts | {
        "update": train_passes(config) * n * work.computed / train,
        "sandbox": max(0.0, work.programs / PROGRAMS / CORES - sampling),
        "sync": kept.overhead_s if kept else copied / bandwidth + (RELEASE_S if gives_back else 0.0),
    }


def bounds(
    config: Config, shape: Shape, card: Card, work: Work, *, kv_gib: float, weights_gib: float
) -> dict[str, float]:
    """Seconds of a step if the card had only one of its limits: arithmetic (operations without memory traffic), and
    memory (weights and cache read at every decoded token, the weights once for each batch of prompts, and once for each
    pass over a micro-batch). The floor is the larger of both in each part, so at least either."""
    n, weights = matmul_parameters(shape), weights_gib * 2**30
    rows, read = _batch(config, shape, work, kv_gib=kv_gib, weights_gib=weights_gib)
    passes = train_passes(config)
    written = _passed(shape, fp8=config.sampler.weights == "fp8")
    operations = 2 * written * (work.generated + work.prompts) + n * passes * work.computed
    batches = work.prompts / batched_tokens(config, "cuda")
    updates = passes / 2 * work.computed / max(1, config.optim.micro_batch_tokens)
    moved = work.generated / rows * read + (batches + updates) * weights
    return {"arithmetic": operations / card.flops, "memory": moved / card.bandwidth}


def chain_seconds(config: Config, card: Card | None, *, weights_gib: float, measured: Measured | None) -> float:
    """Seconds of the longest proposal and then the longest attempt at it, with nothing decoded beside them: reading the
    weights for each token. Among thousands of completions some reach their limits, and no number of cards helps."""
    play, (bandwidth, *_) = config.selfplay, _rates(card, measured, False)
    tokens = play.propose_max_tokens + (play.solve_max_tokens if play.attempts else 0)
    return max(tokens, play.solve_max_tokens) * weights_gib * 2**30 / bandwidth


def _passed(shape: Shape, *, fp8: bool) -> float:
    """Parameters that a token passes, the layers' at half their number where they are 8-bit floats."""
    return matmul_parameters(shape) - (shape.linear / 2 if fp8 else 0)


def _batch(config: Config, shape: Shape, work: Work, *, kv_gib: float, weights_gib: float) -> tuple[float, float]:
    """Sequences decoded side by side, and the bytes that one token for each of them reads."""
    token = kv_token_bytes(shape, cache_value_bytes(config, shape, "cuda"))
    room = kv_gib * 2**30 / (token * max(1.0, work.mean_context))
    members, in_turn = len(names(config.adapter)), config.sampler.backend == "transformers"
    rows = max(1.0, min(config.sampler.max_rows, room, work.sequences / (members if in_turn else 1)))
    further = 0 if in_turn else (members - 1) * value_bytes(config, shape, "cuda") * shape.lora(config.adapter.rank)
    return rows, weights_gib * 2**30 + further + rows * work.mean_context * token


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


def step_in_words(
    config: Config, work: Work, expected: Mapping[str, float], floor: Mapping[str, float], limits: Mapping[str, float]
) -> list[str]:
    """What a step generates and learns from, where its minutes go, and what the card's data sheet allows. `expected`
    and `floor` are `seconds`, {} where nothing is known of the speed; `limits` are `bounds`."""
    play = config.selfplay
    lines = [
        f"a step: {'about' if play.first_attempts else 'at most'} {work.generated:,} tokens in {work.sequences:,} "
        f"completions are generated; {work.trained:,} tokens in {work.trained_sequences:,} sequences are trained on"
    ]
    if work.computed < work.trained:
        lines[0] += f", {work.computed:,} computed, since samples share the row of their prompt"
    if play.first_attempts:
        mean = expected_attempts(play.first_attempts, play.attempts)
        lines.append(
            f"attempts stop where the first {play.first_attempts} differ: {mean:.1f} of {play.attempts} a task in the "
            "mean, if all solve rates are equally likely"
        )
    if not expected:
        return lines
    parts = [f"{name} {value / 60:.1f}" for name, value in expected.items() if value >= 60 * LEAST_MIN]
    parts += [f"{name} {value / 60:.1f}" for name, value in expected.items() if value <= -60 * LEAST_MIN]
    small = [name for name, value in expected.items() if abs(value) < 60 * LEAST_MIN]
    parts += [f"{' and '.join(small)} under {2 * LEAST_MIN:.1f}"] if small else []
    line = f"minutes of a step: {sum(expected.values()) / 60:.1f} ({', '.join(parts)})"
    if floor:
        either = ", ".join(f"{name} alone {value / 60:.1f}" for name, value in limits.items())
        line += f"; physical floor {sum(floor.values()) / 60:.1f}" + (f" ({either})" if either else "")
    lines.append(line)
    return lines
