"""minizero doctor MODEL: what a model is, and whether sampler and trainer agree with it on this machine.

Reading order: examine_model, then the facts in the order in which they are printed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minizero.models.adapter import adapter_layers
from minizero.models.architecture import describe, text_sizes
from minizero.models.attention import ATTENTION
from minizero.models.tokenizer import CHOICES, Tokenizer
from minizero.planner.doctor import Check
from minizero.planner.memory import kv_token_bytes
from minizero.planner.shapes import shape_of
from minizero.rollout.agreement import check_agreement
from minizero.rollout.make import check_sampler, make_sampler
from minizero.types import Message, MiniZeroError, ModelError, Prompt

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.learn.policy import Policy
    from minizero.rollout.protocol import Sampler


def examine_model(config: Config) -> Iterator[Check]:
    """Load the model of a config and check it as a run would before its first step; one line a fact.

    A line is "bad" where a run would not start or would train another policy than it samples; after one about loading
    or sampling nothing more can be said.
    """
    from minizero.learn.policy import Policy

    try:
        check_sampler(config)
        policy = Policy(config)
    except MiniZeroError as error:
        yield Check("model", "bad", *_seen_and_fix(error))
        return
    yield from _facts(policy)
    yield from _tokenizer_facts(policy.tokenizer)
    sampler: Sampler | None = None
    try:
        sampler = make_sampler(config, policy)
        yield Check("sampler", "ok", _how_sampled(sampler))
        found = check_agreement(policy, sampler)
    except MiniZeroError as error:
        yield Check("agreement", "bad", *_seen_and_fix(error))
        return
    finally:
        if sampler is not None:
            sampler.close()
    gaps = ", ".join(f"{name} {gap:.1e}" for name, gap in found.gaps.items())
    power = f", which a random adapter moves by {found.power:.2g}" if found.power else ""
    yield Check(
        "agreement",
        "ok",
        f"{gaps} nats from the model's own forward pass{power}; up to {found.tolerance:g} is rounding "
        f"({found.tokens} tokens, {found.seconds:.1f} s)",
    )


def _facts(policy: Policy) -> Iterator[Check]:
    architecture, model = describe(policy.model), policy.model
    sizes = text_sizes(model)
    count = sum(p.numel() for p in model.parameters())
    dtype = str(model.dtype).removeprefix("torch.")
    yield Check("model", "ok", f"{type(model).__name__}, {count / 1e6:,.1f} million parameters in {dtype}")
    kinds = Counter(getattr(sizes, "layer_types", None) or ["attention"] * architecture.layers)
    windows = [f"{name} {value}" for name in ("sliding_window", "attention_chunk_size") if (value := _of(sizes, name))]
    yield Check("layers", "ok", ", ".join([*(f"{number} {kind}" for kind, number in kinds.items()), *windows]))
    attention = "scaled_dot_product_attention" if model.config._attn_implementation == ATTENTION else "the model's own"
    rows = "completions of a prompt share a row" if architecture.shares_rows else "every completion has its own row"
    yield Check("training", "ok", f"attention: {attention}; {rows}")
    head = "a matrix" if architecture.head.is_matrix else "the model's own pass (bias, scale or soft-capping)"
    yield Check("head", "ok", f"{head}, {int(sizes.vocab_size):,} tokens")
    yield Check("memory of a token", "ok", _token_memory(policy, sizes))
    members = policy.members.names
    if policy.has_adapter:
        layers = adapter_layers(model, members[0])
        names = Counter(name.rpartition(".")[2] for name in layers)
        words = ", ".join(f"{number} {name}" for name, number in sorted(names.items()))
        several = f"; {len(members)}, one a role or member: {', '.join(members)}" if len(members) > 1 else ""
        yield Check("adapter", "ok", words + several)


def _of(sizes: Any, name: str) -> Any:
    return getattr(sizes, name, None)


def _token_memory(policy: Policy, sizes: Any) -> str:
    try:
        size = kv_token_bytes(shape_of(sizes.to_dict(), policy.config.model.name), policy.model.dtype.itemsize)
    except ModelError as error:
        return f"not known: {error}"
    return f"{size / 2**10:,.1f} KiB of keys and values"


def _tokenizer_facts(tokenizer: Tokenizer) -> Iterator[Check]:
    names = tokenizer.backend.convert_ids_to_tokens(list(tokenizer.eos_ids))
    ends = ", ".join(f"{i} {name}" for i, name in zip(tokenizer.eos_ids, names, strict=True))
    begins = "begins with BOS" if tokenizer.begins else "no BOS before a text"
    yield Check("tokenizer", "ok", f"ends with {ends}; pads with {tokenizer.pad_id}; {begins}")
    template = getattr(tokenizer.backend, "chat_template", None)
    if not template:
        yield Check("chat template", "note", "none", "prompt.style = r1 needs none; chat does")
        return
    try:
        shown = tokenizer.encode(Prompt((Message("system", "Be brief."), Message("user", "Hello")), chat=True))
    except ModelError as error:
        yield Check("chat template", "bad", *_seen_and_fix(error))
        return
    text = tokenizer.backend.decode(shown)
    thinks = "the prompt opens a think part" if text.rfind("<think>") > text.rfind("</think>") else "no open think part"
    names = [name for name in CHOICES if re.search(rf"\b{name}\b", str(template))]
    choice = f"; it has {' and '.join(names)} (prompt.think)" if names else ""
    yield Check("chat template", "ok", f"ends in {text[-24:]!r}: {thinks}{choice}")


def _how_sampled(sampler: Sampler) -> str:
    mixes = getattr(sampler, "mixes_lengths", None)
    if mixes is None:
        return "vLLM"
    return "transformers, " + ("prompts of any length side by side" if mixes else "prompts of one length at a time")


def _seen_and_fix(error: MiniZeroError) -> tuple[str, str]:
    seen, _, fix = str(error).partition("Try ")
    return seen.strip(), f"Try {fix}" if fix else "take another model, or another sampler.backend"
