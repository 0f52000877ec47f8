"""What a loaded model is, found out by running it: where its body ends, what its layers see, which rows it can share.

Reading order: Architecture (the facts, and how hidden states are computed), choose_attention (at loading), describe
(how the facts are found), then the trials. Each trial compares two ways of computing the same log-probabilities, on the
model itself and with a few dozen tokens. A way that fails its trial is not used. rollout/decode.py tries the ways to
decode.
"""
# B rows · T tokens · H hidden width · V vocabulary

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minizero.models.attention import ATTENTION, EXACT, Rows, layout, recording
from minizero.models.head import Head, find_base, hidden_states
from minizero.types import ModelError

# Mean absolute difference in nats between two computations that differ in rounding alone. Measured on a CPU: 4e-6 in
# float32, 3e-2 in bfloat16.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}
# A state that is kept a little wrong goes on being wrong: Zamba2's own cache is 1.3e-4 off after four tokens and 0.04
# after fifty, all others of its kind up to 3e-6.
STRICT = 20
TRIAL = 24  # tokens of the longest sequence tried
LEAK = {torch.float32: 1e-4, torch.float64: 1e-4}  # share of the change of later predictions that earlier ones may show
ROUNDED_LEAK = 0.02  # the same in half precision
# What the code of a model raises when it is called in a way that it was not made for.
REFUSALS = (AttributeError, TypeError, RuntimeError, ValueError, LookupError, AssertionError, NotImplementedError)


@dataclass(slots=True)
class Architecture:
    """How to run one model. `model` is transformers' own."""

    model: Any
    base: str  # name of the body, whose output the head reads
    head: Head
    takes: frozenset[str]  # arguments of the body
    layers: int
    has_states: bool  # some layer keeps more than keys and values (recurrent, convolutional, an index): no shared rows
    is_fast: bool  # every layer's attention is ours, and asks for scaled dot products and a mask alone
    is_plain: bool  # every layer is causal attention over the whole row: no windows, no chunks, no recurrent state
    shares_rows: bool = False  # several completions may stand in one row behind their prompt

    @property
    def body(self) -> Any:
        return self.model.get_submodule(self.base)

    def hidden(self, input_ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """[B, T, H] before the head, without a cache.

        Without mask and positions every row is one sequence, padded on the right. mask [B, 1, T, T] bool (which token
        sees which) and positions [B, T] (in the token's own sequence): rows of several sequences, for shares_rows.
        """
        if mask is None or positions is None:
            return hidden_states(self.body(input_ids=input_ids, use_cache=False))
        if self.is_plain:
            out = self.body(input_ids=input_ids, use_cache=False, attention_mask=mask, position_ids=positions)
            return hidden_states(out)
        # A mask of ones: without one, transformers takes positions that start again for packed sequences.
        ones = torch.ones_like(input_ids)
        with layout(Rows(mask, positions, positions)):
            out = self.body(input_ids=input_ids, use_cache=False, attention_mask=ones, position_ids=positions)
        return hidden_states(out)

    def logits(self, hidden: Tensor) -> Tensor:
        """[C, V] of hidden states [C, H], in float32 (of a model in float64 in that)."""
        found = torch.nn.functional.linear(hidden, self.head.weight) if self.head.is_matrix else self.head(hidden)
        return found.to(torch.promote_types(found.dtype, torch.float32))


@torch.no_grad()
def choose_attention(model: Any) -> None:
    """Keep our attention where the model's layers call it and it computes what the model's own function does; else set
    the model's own (eager)."""
    if model.config._attn_implementation != ATTENTION:
        return
    ids = trial_ids(int(text_sizes(model).vocab_size), 0, next(model.parameters()).device)
    ours = None
    with recording() as seen:
        try:
            ours = plain_log_probs(model, ids)
        except torch.OutOfMemoryError:
            raise
        except REFUSALS:
            pass  # its own may do
    model.config._attn_implementation = EXACT  # of all parts; not every class lets model.set_... do it
    same = ours is not None and seen.attended and agrees(lambda: plain_log_probs(model, ids), ours, model.dtype)
    model.config._attn_implementation = ATTENTION if same else "eager"


def text_sizes(model: Any) -> Any:
    """The part of a model's config that describes its language model: the whole, or its text_config."""
    return model.config.get_text_config(decoder=True)


def describe(model: Any) -> Architecture:
    """The facts of a model, found once and kept with it. Raises ModelError for one that is no causal language model."""
    known: Architecture | None = model.__dict__.get("_minizero_architecture")
    if known is None:
        known = model.__dict__["_minizero_architecture"] = _describe(model)
    return known


@torch.no_grad()
def _describe(model: Any) -> Architecture:
    sizes = text_sizes(model)
    layers, vocabulary = int(sizes.num_hidden_layers), int(sizes.vocab_size)
    device = next(model.parameters()).device
    first, second = (trial_ids(vocabulary, n, device) for n in (0, 1))
    try:
        with recording() as seen:
            base = find_base(model, first[None])
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        raise ModelError(
            f"{type(model).__name__} does not compute logits from token ids alone ({type(error).__name__}: {error}), "
            "so minizero can neither train it nor sample from it. Take a causal language model."
        ) from error
    takes = frozenset(inspect.signature(model.get_submodule(base).forward).parameters)
    states = _has_states(model)
    plain = seen.is_plain and len(seen.attended) >= layers and not states
    try:
        head = Head(model, base)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        raise ModelError(
            f"{type(model).__name__}: its head cannot be computed from the hidden states of {base!r} alone "
            f"({type(error).__name__}: {error}), so minizero cannot train it. Take another model."
        ) from error
    fast = seen.is_fast and len(seen.attended) >= layers
    found = Architecture(model, base, head, takes, layers, states, fast, plain)
    expected = plain_log_probs(model, first)
    _check_causal(model, first, second, expected)
    if not agrees(lambda: log_softmax(found.logits(found.hidden(first[None])[0])), expected, model.dtype):
        raise ModelError(
            f"{type(model).__name__}: its logits are not what its head makes of the hidden states of {base!r}, so "
            "minizero cannot train it."
        )
    attends = len(seen.attended) >= layers and not states and {"attention_mask", "position_ids"} <= takes
    found.shares_rows = attends and agrees(
        lambda: _in_one_row(found, first, second), torch.cat([expected, plain_log_probs(model, second)]), model.dtype
    )
    return found


def trial_ids(vocabulary: int, variant: int, device: Any) -> Tensor:
    """Token ids [TRIAL]: the first half of every variant is the same, the second half differs."""
    places = torch.arange(TRIAL)
    ids = 7919 * places + 104729 * variant * (places >= TRIAL // 2) + 5
    return (ids % vocabulary).to(device)


def plain_log_probs(model: Any, ids: Tensor) -> Tensor:
    """[T, V] in nats by transformers' own forward pass over one sequence: what every other way is compared with."""
    return log_softmax(model(input_ids=ids[None], use_cache=False).logits[0])


def log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.float(), dim=-1)


def agrees(way: Callable[[], Tensor], expected: Tensor, dtype: torch.dtype, *, strict: bool = False) -> bool:
    """Whether a way computes these log-probabilities, up to rounding. A model that refuses the way does not. `strict`:
    in float32 with a twentieth of the tolerance."""
    try:
        seen = way()
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return False
    tolerance = TOLERANCE[dtype] / (STRICT if strict and dtype in LEAK else 1)
    return seen.shape == expected.shape and float((seen - expected).abs().mean()) <= tolerance


def _has_states(model: Any) -> bool:
    """Whether transformers would keep something for some layer instead of, or beside, keys and values."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicIndexedLayer, LinearAttentionCacheLayerMixin

    if getattr(model, "_is_stateful", False):
        return True
    try:
        kinds = DynamicCache(config=model.config).layers
    except REFUSALS:
        return True
    return any(isinstance(layer, LinearAttentionCacheLayerMixin | DynamicIndexedLayer) for layer in kinds)


def _check_causal(model: Any, first: Tensor, second: Tensor, expected: Tensor) -> None:
    """The predictions inside the half that two sequences share do not depend on the half in which they differ.

    Compared with how much the others differ, because random weights move everything little. What is allowed is
    rounding: experts that get other tokens are computed in other groups.
    """
    half = TRIAL // 2
    apart = (plain_log_probs(model, second) - expected).abs()
    leak = LEAK.get(model.dtype, ROUNDED_LEAK)
    if float(apart[: half - 1].mean()) > leak * float(apart[half:].mean()):
        raise ModelError(
            f"{type(model).__name__} is no causal language model as it is configured: its earlier predictions depend "
            "on later tokens. Encoders such as BERT cannot be sampled from."
        )


def _in_one_row(found: Architecture, first: Tensor, second: Tensor) -> Tensor:
    """Log-probabilities [2 T, V] of two sequences that share their first half, computed in one row."""
    half = TRIAL // 2
    segment = torch.tensor([0] * half + [1] * half + [2] * half, device=first.device)
    before = torch.ones(len(segment), len(segment), dtype=torch.bool, device=first.device).tril()
    mask = before & ((segment[:, None] == segment[None]) | (segment[None] == 0))
    places = torch.arange(half, device=first.device)
    positions = torch.cat([places, places + half, places + half])
    hidden = found.hidden(torch.cat([first, second[half:]])[None], mask[None, None], positions[None])[0]
    prompt, one, other = found.logits(hidden).split(half)
    return log_softmax(torch.cat([prompt, one, prompt, other]))
