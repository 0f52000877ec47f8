"""Proof that what is sampled from is what is trained, and that both are the model.

Reading order: check_agreement, Agreement (its numbers), then how one state is measured: sample, and compare the
model's own plain forward pass with the sampler, and with the trainer in a shared row and alone; evidence asks whether
the tokens themselves were drawn from that distribution. A random adapter is needed because a fresh one has B = 0: with
it nobody would see whether the adapter is applied.
"""
# T tokens of a completion · V vocabulary

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from minizero.config.fp8 import fp8_settings
from minizero.formatting import shell
from minizero.models.adapter import adapter_layers
from minizero.models.architecture import TOLERANCE, describe, log_softmax, text_sizes, trial_ids
from minizero.models.attention import ATTENTION, EXACT
from minizero.rollout.protocol import Sampler, drain
from minizero.types import ConfigError, Message, Prompt, Request, Role, Rollout, SamplerError, TaskType

if TYPE_CHECKING:
    from minizero.learn.policy import Policy

TEXTS = ("def f(numbers):\n    return sorted(numbers)[::-1]\n", "What does this program return for [3, 1, 2]?")
TOKENS, SAMPLES = 8, 2
LONG = 1024  # tokens whose eager scores take 128 MiB for 32 heads
WINDOWS = ("sliding_window", "attention_chunk_size", "index_topk")  # how configs call the keys that a layer sees
POWER = 5.0  # the random adapter must move log-probabilities by this many tolerances, or the test would see nothing
# Two engines magnify rounding where an adapter moves much: 0.11 nats in bfloat16 where a random adapter moved
# Qwen2.5-Coder-1.5B by 4. One that is wrongly scaled is off by about the same part of the power as of the scale.
SHARE = 0.05
# Odds against the sampler's draws at which a run does not start. Draws from the model reach them once in a million.
ODDS = 1e6
STRAY = 0.1  # share of tokens that an engine might draw from anywhere, such as one with faulty speculative decoding
ROUNDING = 3.0  # times what is expected; a gap beyond is hardly rounding (1.1 is the most that was seen)
PACKED = 2.0  # a base of 4 or 8 bits is computed by other kernels in each engine; estimated, sampler.tolerance sets it

SENTENCES = {
    "sampler, random": "with a random adapter, what is sampled from is not the model",
    "sampler, base": "with the adapter off, what is sampled from is not the base model",
    "sampler, policy": "what is sampled from is not the policy",
    "trainer, random": "with a random adapter, the trainer computes other log-probabilities than the model",
    "trainer, base": "with the adapter off, the trainer computes other log-probabilities than the base model",
    "trainer, policy": "the trainer computes other log-probabilities than the model",
    "alone, random": "with a random adapter, the trainer's rows of one completion are not the model",
    "alone, base": "with the adapter off, the trainer's rows of one completion are not the base model",
    "alone, policy": "the trainer's rows of one completion are not the model",
}


class Disagreement(SamplerError):
    """What is sampled from is not what is trained, or one of both is not the model."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean absolute differences in nats from the model's own forward pass, as "who, state".

    who: sampler; trainer (completions of a prompt share a row where the model allows it); alone (a row each). state:
    random (a random adapter), base (adapter off), policy (as it is); of several adapters each has its own, "solve
    random". power: how far the random adapter moves the model (of several the one that moves it least); 0 where all
    parameters are trained. odds: against the sampler's tokens being draws from the model, the
    largest of all states (`evidence`).
    """

    gaps: dict[str, float]
    power: float
    tolerance: float
    tokens: int
    seconds: float
    odds: float = 0.0

    @property
    def largest(self) -> tuple[str, float]:
        """The comparison that is furthest beyond what is allowed, and its gap."""
        return max(self.gaps.items(), key=lambda item: item[1] / self.allowed(item[0]))

    def allowed(self, name: str) -> float:
        """The largest gap that passes: the tolerance; for a random adapter a share of its power, if that is more."""
        return max(self.tolerance, SHARE * self.power) if name.endswith("random") else self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def check_agreement(policy: Policy, sampler: Sampler) -> Agreement:
    """Compare sampler and trainer with the model's own forward pass, at the adapter's zero and with a random adapter.

    Raises Disagreement, with the numbers, when one differs by more than the tolerance of the compute type
    (sampler.tolerance). Policy and sampler are left as they were. A sampler that was proven when it was made (vLLM) is
    not asked again: it holds the result as `agreement`.
    """
    proven: Agreement | None = getattr(sampler, "agreement", None)
    return proven or measure(policy, sampler)


def measure(policy: Policy, sampler: Sampler) -> Agreement:
    """As check_agreement, always anew."""
    started = time.perf_counter()
    refuse_uncorrected(policy, sampler)
    tolerance, gaps, power = tolerance_of(policy), dict[str, float](), 0.0
    compared: list[tuple[int, float]] = []  # tokens and odds, of each state
    if policy.has_adapter:
        scale = _scale_with_power(policy, tolerance)
        # All random at once and each in another way: one that is taken for another shows.
        with random_adapter(policy, scale):
            _push(sampler)
            power = _power(policy)
            compared += [_compare(policy, sampler, "random", gaps, member=member) for member in policy.members.names]
        compared.append(_compare(policy, sampler, "base", gaps, adapter=False, member=policy.members.on))
        _push(sampler)
    compared += [_compare(policy, sampler, "policy", gaps, member=member) for member in policy.members.names]
    sampler.take_usage()  # the tokens of the test belong to no step
    tokens, odds = sum(count for count, _ in compared), max(odds for _, odds in compared)
    found = Agreement(gaps, power, tolerance, tokens, time.perf_counter() - started, odds)
    if policy.has_adapter and power < POWER * tolerance:
        raise SamplerError(
            f"the test of sampler and trainer has no power: a random adapter moves the model's log-probabilities by "
            f"{power:.3g} nats only. Is adapter.targets right?"
        )
    name, gap = found.largest
    if not gap <= found.allowed(name):
        dtype = str(policy.model.dtype).removeprefix("torch.")
        raise Disagreement(
            f"Sampler, trainer and model disagree: {_sentence(name)}. The log-probabilities differ by {gap:.3g} nats "
            f"on average, expected at most {found.allowed(name):.3g} in {dtype} "
            f"({', '.join(f'{key} {value:.3g}' for key, value in gaps.items())}; power {power:.3g}).\n"
            "Training would follow another policy than the one that is sampled. Try "
            f"{_advice(name, sampler)}{_if_rounding(policy, name, gap / found.allowed(name))}, and report this with "
            "the output of  "
            f"{shell('minizero', 'doctor', policy.config.model.name)}"
        )
    if found.odds >= ODDS:
        raise Disagreement(
            "The sampler's log-probabilities are the model's, but its tokens are not drawn from them: the odds against "
            f"are {found.odds:.1g} to 1. Training would follow texts that the policy did not write. Does the engine "
            "draft tokens (speculative decoding), or keep some out? Start it without, or try "
            f"{_advice('sampler', sampler)}"
        )
    return found


def tolerance_of(policy: Policy) -> float:
    """sampler.tolerance; 0: measured for the compute type, and twice that for a packed base."""
    packed = PACKED if _is_packed(policy) else 1.0
    return policy.config.sampler.tolerance or packed * TOLERANCE[policy.model.dtype]


def refuse_uncorrected(policy: Policy, sampler: Sampler) -> None:
    """A packed base is rounded differently by an engine of its own, as is one with 8-bit floats of the engine's alone
    (sampler.weights, sampler.kv_dtype), so its samples need the importance correction."""
    loss = policy.config.loss
    own_engine = getattr(sampler, "model", None) is not policy.model
    if _is_packed(policy) and own_engine and loss.correction == "none" and loss.old_policy == "trainer":
        raise ConfigError(
            'loss.correction = "none" with a quantised base in another engine: it samples from a policy that is '
            "rounded differently. Try --set loss.correction=token_truncate, or --set sampler.backend=transformers"
        )


def _is_packed(policy: Policy) -> bool:
    """Whether an engine of its own rounds the policy: 4 or 8 bits in the base, or in the engine's copy or cache."""
    if fp8_settings(policy.config):
        return True
    return policy.config.model.quantization != "none" or hasattr(policy.model.config, "quantization_config")


def _sentence(name: str) -> str:
    """What a gap by this name says, and of which adapter."""
    who, _, state = name.partition(", ")
    member, _, kind = state.rpartition(" ")
    return (f"of the adapter {member}: " if member else "") + SENTENCES[f"{who}, {kind}"]


def _advice(name: str, sampler: Sampler) -> str:
    is_trainers = type(sampler).__name__ == "TransformersSampler"
    if name.startswith("sampler") and not is_trainers:
        return "--set sampler.backend=transformers"
    return "--set model.dtype=float32, or another model"


def _if_rounding(policy: Policy, name: str, excess: float) -> str:
    """How to go on with a gap that may be rounding: the sampler's, in few bits, and not many times what is expected."""
    is_coarse = policy.model.dtype != torch.float32 or _is_packed(policy)
    if not is_coarse or not name.startswith("sampler") or excess > ROUNDING:
        return ""
    enough = 1.2 * excess * tolerance_of(policy)
    return f"; if you know it for rounding,  --set sampler.tolerance={enough:.2g}  lets it pass"


# -- one state --------------------------------------------------------------------------------------------------------


def _compare(
    policy: Policy, sampler: Sampler, state: str, gaps: dict[str, float], *, adapter: bool = True, member: str = ""
) -> tuple[int, float]:
    """Sample in this state and add its three gaps; returns how many tokens are compared, and the odds against them."""
    rollouts = _sample(policy, sampler, adapter=adapter, member=member)
    policy.members.use(member)
    if adapter and member:
        state = f"{member} {state}"
    with nullcontext() if adapter else policy.adapter_off():
        shared = torch.cat(policy.log_probs(rollouts))
        alone = torch.cat([policy.log_probs([rollout])[0] for rollout in rollouts])
        rows = _plain(policy, rollouts)
    ids = [torch.tensor(rollout.completion.ids) for rollout in rollouts]
    expected = torch.cat([row.gather(1, drawn[:, None])[:, 0] for row, drawn in zip(rows, ids, strict=True)])
    sampled = torch.tensor([value for r in rollouts for value in r.completion.log_probs])
    for who, values in (("sampler", sampled), ("trainer", shared), ("alone", alone)):
        gaps[f"{who}, {state}"] = float((values - expected).abs().mean())
    return len(expected), evidence(zip(rows, ids, strict=True))


def _sample(policy: Policy, sampler: Sampler, *, adapter: bool, member: str) -> list[Rollout]:
    temperature = policy.config.sampler.temperature
    for i, text in enumerate([*TEXTS, *_long_texts(policy, sampler)]):
        prompt = Prompt((Message("user", text),))
        sampler.submit(
            Request(
                f"agreement/{i}", prompt, TOKENS, i, SAMPLES, temperature=temperature, adapter=adapter, member=member
            )
        )
    done = sorted(drain(sampler), key=lambda completion: (completion.request_id, completion.index))
    return [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in done]


def _long_texts(policy: Policy, sampler: Sampler) -> list[str]:
    """A prompt longer than what the model's layers see at once, where a prompt and its answer may be that long."""
    sizes, play = text_sizes(policy.model), policy.config.selfplay
    windows = [getattr(sizes, name, None) for name in WINDOWS]
    narrow = min((w for w in windows if isinstance(w, int) and w > 0), default=0)
    longest = play.max_prompt_tokens + max(play.propose_max_tokens, play.solve_max_tokens)
    longest = min(longest, getattr(sampler, "longest", longest))
    if describe(policy.model).is_plain or not narrow or narrow + 32 > longest:
        return []
    text = TEXTS[0]
    while (missing := narrow + 8 - len(sampler.prompt_ids(Prompt((Message("user", text),))))) > 0:
        text += "x = 3\n" * max(1, missing // 8)
    return [text]


@torch.no_grad()
def _plain(policy: Policy, rollouts: list[Rollout]) -> list[Tensor]:
    """Log-probabilities [T, V] at each completion's places by transformers' own forward pass with the attention of the
    model's own file; of a long text, whose scores would fill a card, with its own sdpa where the layers ask for nothing
    else."""
    found, is_fast = [], describe(policy.model).is_fast
    for rollout in rollouts:
        prompt, ids = rollout.completion.prompt_ids, rollout.completion.ids
        whole = torch.tensor([prompt + ids], device=policy.model.device)
        with own_attention(policy.model, "sdpa" if is_fast and whole.shape[1] > LONG else ""):
            logits = _last_logits(policy.model, whole, len(ids) + 1)[:-1].float() / policy.config.sampler.temperature
        found.append(log_softmax(logits).cpu())
    return found


def evidence(drawn: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The odds against tokens [T] being draws from the distributions whose log-probabilities [T, V] stand beside them.

    The mean of two likelihood ratios, of alternatives that would be mistakes of an engine: a share STRAY of the tokens
    drawn from anywhere, and draws from the square of the distribution (temperature halved, rare tokens kept out). Under
    the distribution itself the expectation of each is 1, so by Markov's inequality odds of a million come once in a
    million times or more rarely, for any number of tokens.
    Example: one token of probability e^-20 among 448 says 0.1 / 448 e^20 / 2, more than 50,000 to 1.
    """
    stray = sharp = 0.0
    for rows, ids in drawn:
        rows = rows.double()
        own = rows.gather(1, ids[:, None])[:, 0]
        anywhere = math.log(STRAY / rows.shape[1])
        stray += float(torch.logaddexp(torch.full_like(own, math.log(1 - STRAY)), anywhere - own).sum())
        sharp += float((own - (2 * rows).logsumexp(-1)).sum())
    return math.exp(min(700.0, float(np.logaddexp(stray, sharp)) - math.log(2)))


def _last_logits(model: Any, ids: Tensor, count: int) -> Tensor:
    """[count, V] of the last positions; models of an old kind compute them all."""
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=count).logits[0]
    except TypeError:
        logits = model(input_ids=ids, use_cache=False).logits[0]
    return logits[-count:]


@contextmanager
def own_attention(model: Any, name: str = "") -> Iterator[None]:
    """transformers' own attention of this name inside, where the model has a choice; without a name the function of the
    model's own file."""
    before = model.config._attn_implementation
    model.config._attn_implementation = name or (EXACT if before == ATTENTION else "eager")
    try:
        yield
    finally:
        model.config._attn_implementation = before


# -- the random adapter -----------------------------------------------------------------------------------------------


def _push(sampler: Any) -> None:
    """The policy's adapter as it is now, to a sampler that holds a copy."""
    if hasattr(sampler, "push"):
        sampler.push()


def _scale_with_power(policy: Policy, tolerance: float) -> float:
    """The smallest power of two at which a random adapter moves the model enough to be seen, and no more: rounding
    grows with it. adapter.alpha / adapter.rank may put it far on either side of 1."""

    def seen(scale: float) -> bool:
        with random_adapter(policy, scale):
            return _power(policy) >= POWER * tolerance

    scale = 1.0
    if seen(scale):
        while scale > 2**-30 and seen(scale / 2):
            scale /= 2
        return scale
    scale = 2.0
    while scale < 4096 and not seen(scale):
        scale *= 2
    return scale


@torch.no_grad()
def _power(policy: Policy) -> float:
    """Mean absolute change, in nats, of the log-probabilities of fixed tokens by the adapter that moves them least."""
    model = policy.model
    ids = trial_ids(int(text_sizes(model).vocab_size), 0, model.device)

    def log_probs() -> Tensor:
        return log_softmax(model(input_ids=ids[None], use_cache=False).logits[0, :-1]).gather(1, ids[1:, None])

    with policy.adapter_off():
        base = log_probs()

    def moved(member: str) -> float:
        policy.members.use(member)
        return float((log_probs() - base).abs().mean())

    return min(map(moved, policy.members.names))


@contextmanager
def random_adapter(policy: Policy, scale: float) -> Iterator[None]:
    """Random A and B in the policy's own parameters, in place, others in each of its adapters; afterwards they are what
    they were, bit for bit."""
    generator = torch.Generator().manual_seed(1)
    kept: list[tuple[Tensor, Tensor]] = []
    for layer in (part for name in policy.members.names for part in adapter_layers(policy.model, name).values()):
        width, rank = layer.a.shape[1], layer.a.shape[0]
        for tensor, spread in ((layer.a, width**-0.5), (layer.b, 0.02 * scale * rank**-0.5)):
            kept.append((tensor, tensor.clone()))
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
    try:
        yield
    finally:
        for tensor, value in kept:
            tensor.copy_(value)
