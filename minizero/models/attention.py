"""The attention that models are loaded with: a fast path for plain attention, each model's own function for all else.

Reading order: attend (the fast path and when it is left), attend_exactly (what it is compared with), Rows (rows in
which several completions share a prompt, or which end in the same column), masks_for_rows (transformers' own mask
functions, by position instead of by column), register, then Recorder (what a forward pass asked for, read by
architecture.py).

transformers asks for attention by name (config._attn_implementation) and gives the function whatever the layer needs:
a sliding window (it is in the mask already), soft-capping, sinks, a position bias. What the fast path does not know is
never dropped: such a layer goes to the eager function of its own model.
"""
# B rows · H query heads, K key-value heads · Q queries, L keys · D head width

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minizero.types import ModelError

ATTENTION = "minizero_attention"
EXACT = "minizero_exact_attention"
# Arguments of a layer that change nothing in the fast path: the mask holds the window, the others name outputs.
HARMLESS = {
    "sliding_window", "position_ids", "cache_position", "use_cache", "is_causal",
    "output_attentions", "output_hidden_states", "output_router_logits", "return_dict",
}  # fmt: skip


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **asked: Any,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention that does not copy shared key-value heads while decoding.

    query [B, H, Q, D], key and value [B, K, L, D] with H a multiple of K -> [B, Q, H, D]. With one query the H/K query
    heads of a key-value head are laid out as its queries: the same numbers, and no H/K-fold copy of the cache per
    token. Raises ModelError for a layer that asks for more and whose model has no eager function.
    """
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    if _recorder is not None:
        _recorder.attended.append(attention_mask)
    if any(argument is not None for name, argument in asked.items() if name not in HARMLESS):
        if _recorder is not None:
            _recorder.is_fast = False
        return _own_attention(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **asked)
    rows, heads, positions, width = query.shape
    shared = heads // key.shape[1]
    if positions == 1 and (attention_mask is None or attention_mask.shape[1] == 1):
        grouped = query.reshape(rows, key.shape[1], shared, width)
        out = sdpa(grouped, key, value, attn_mask=attention_mask, scale=scaling)
        return out.reshape(rows, 1, heads, value.shape[-1]), None
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    causal = attention_mask is None and _is_causal(module, asked)
    out = sdpa(query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=causal, dropout_p=dropout)
    return out.transpose(1, 2).contiguous(), None


def _is_causal(module: Any, asked: dict[str, Any]) -> bool:
    """As transformers decides it: the call's word, else the layer's. The image encoder of a vision model is not."""
    said = asked.get("is_causal")
    return bool(getattr(module, "is_causal", True) if said is None else said)


def _own_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **asked: Any
) -> tuple[Tensor, Tensor | None]:
    """The eager function of the model's own file, which computes everything that the layer can ask for."""
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if own is None:
        known = HARMLESS | {"scaling", "dropout"}
        extra = sorted(name for name, argument in asked.items() if argument is not None and name not in known)
        raise ModelError(
            f"{type(module).__name__} asks its attention for {', '.join(extra)}, which minizero does not compute, and "
            "transformers has no eager function for it. Take another model."
        )
    if mask is None and query.shape[2] > 1 and _is_causal(module, asked):
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()[None, None]
    if mask is not None and mask.dtype == torch.bool:
        mask = additive(mask, query.dtype)
    out: tuple[Tensor, Tensor | None] = own(module, query, key, value, mask, **asked)
    return out


def attend_exactly(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **asked: Any
) -> tuple[Tensor, Tensor | None]:
    """The eager function of the model's own file on float32 inputs: what a layer means, without the rounding of scores.

    In bfloat16 the eager functions round every score to 8 bits, kernels do not. The keys of Qwen2.5-Coder-1.5B reach
    356 and its scores hundreds, where rounding is off by one or two.
    """
    exact = torch.promote_types(query.dtype, torch.float32)
    states = query.to(exact), key.to(exact), value.to(exact)
    out, weights = _own_attention(module, *states, attention_mask, **asked)
    return out.to(query.dtype), weights


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `allowed` is True, elsewhere the lowest number: a mask to add to the scores."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, torch.finfo(dtype).min)


# -- masks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in which a token's column is not its position, so that masks must be made by position.

    visible [B, 1, Q, L] bool: which keys belong to a query's own sequence, and come before it; queries [B, Q] and keys
    [B, L]: positions in that sequence.
    """

    visible: Tensor
    queries: Tensor
    keys: Tensor


_rows: Rows | None = None


@contextmanager
def layout(rows: Rows) -> Iterator[None]:
    """Context manager: the masks that a model makes inside are made for these rows."""
    global _rows
    assert _rows is None, "one layout at a time"
    _rows = rows
    try:
        yield
    finally:
        _rows = None


def masks_for_rows(mask_function: Callable[..., Any], **asked: Any) -> Tensor | None:
    """transformers' mask interface: [B, 1, Q, L] bool, or None for plain causal attention.

    `mask_function(row, head, query, key)` is what a kind of layer allows (all before; a window; a chunk). Inside a
    layout it is asked about positions, and what belongs to another sequence is taken out.
    """
    from transformers.masking_utils import sdpa_mask

    if _rows is None:
        if _recorder is not None:
            asked["allow_is_causal_skip"] = False  # a mask for every kind of layer, to tell them apart
        made: Tensor | None = sdpa_mask(mask_function=mask_function, **asked)
        if _recorder is not None and made is not None:
            _recorder.made.append((made, mask_function))
        return made
    row = torch.arange(len(_rows.queries), device=_rows.queries.device)[:, None, None, None]
    allowed = mask_function(row, torch.zeros_like(row), _rows.queries[:, None, :, None], _rows.keys[:, None, None, :])
    return _rows.visible & allowed


def register() -> None:
    """Make ATTENTION and EXACT names that transformers knows."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    for name, function, masks in ((ATTENTION, attend, masks_for_rows), (EXACT, attend_exactly, eager_mask)):
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, masks)


# -- looking on -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Recorder:
    """The masks that one forward pass made, each with its function, and the mask of every call of `attend`."""

    made: list[tuple[Tensor, Callable[..., Any]]] = field(default_factory=list)
    attended: list[Tensor | None] = field(default_factory=list)
    is_fast: bool = True  # no call went to a model's own function

    @property
    def is_plain(self) -> bool:
        """Whether every call saw all that comes before it, however far: neither windows nor chunks."""
        device = self.made[0][0].device if self.made else None
        zero = torch.zeros((), dtype=torch.long, device=device)
        far = zero + 10**9

        def sees_far(function: Callable[..., Any]) -> bool:
            try:
                return bool(function(zero, zero, far, zero))
            except IndexError:  # it looks tokens up one by one, as those of an image
                return False

        unlimited = [made for made, function in self.made if sees_far(function)]
        return all(any(mask is made for made in unlimited) for mask in self.attended)


_recorder: Recorder | None = None


@contextmanager
def recording() -> Iterator[Recorder]:
    """Context manager: records what the forward passes inside ask for."""
    global _recorder
    _recorder = Recorder()
    try:
        yield _recorder
    finally:
        _recorder = None
