"""Two ways to decode many rows at once with a transformers model, and the choice between them.

Reading order: Decoder (what both offer), PaddedRows (rows of any length side by side, in our own cache), EqualRows
(rows of one length, in the model's own cache), choose_decoder (each way is tried on the model before it is used).
"""
# B rows · T prompt tokens · L columns of the cache · H hidden width · V vocabulary

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from minizero.models.architecture import (
    TRIAL,
    Architecture,
    agrees,
    log_softmax,
    plain_log_probs,
    text_sizes,
    trial_ids,
)
from minizero.models.attention import Rows, layout
from minizero.models.head import hidden_states
from minizero.models.names import locate
from minizero.rollout.cache import BatchCache
from minizero.types import ModelError

INSTEAD = "If vLLM knows the architecture, --set sampler.backend=vllm samples from it."


class Decoder(Protocol):
    """Rows that are being decoded, with their cache. All hidden states are those of the last position, [B, H]."""

    mixes_lengths: bool
    """Whether rows of different lengths stand side by side, and new ones may join those that are there."""

    @property
    def length(self) -> int:
        """Columns of the cache."""
        ...

    def prefill(self, prompts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
        """Read the prompts, one row each."""
        ...

    def step(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Append a token [B] at its position [B] to every row."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; repeats are allowed."""
        ...

    def join(self, others: Sequence[Any]) -> None:
        """Append the rows of other decoders."""
        ...


class PaddedRows:
    """Rows of any length: padded on the right while prompts are read, on the left while tokens are decoded."""

    mixes_lengths = True

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._device = next(architecture.model.parameters()).device
        self.cache = BatchCache(architecture.layers)
        self.cache.starts = self.cache.starts.to(self._device)

    @property
    def length(self) -> int:
        return self.cache.length

    def beginning(self, columns: int) -> PaddedRows:
        """The first columns of the first row, without a copy: what prompts that begin alike may go on after."""
        part = PaddedRows(self._architecture)
        part.cache = self.cache.beginning(columns)
        return part

    def prefill(self, prompts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
        """Read the prompts, one row each; where a row is there already, as what follows on it."""
        lengths = torch.tensor([len(ids) for ids in prompts], device=self._device)
        before = self.length
        if before:
            self.cache.select(torch.zeros_like(lengths))
        padded = torch.full((len(prompts), int(lengths.max())), pad_id, device=self._device)
        for i, ids in enumerate(prompts):
            padded[i, : len(ids)] = torch.tensor(ids, device=self._device)
        # Right padding needs no mask: no token of a prompt comes after it, so none sees it.
        out = self._architecture.body(input_ids=padded, past_key_values=self.cache, use_cache=True)
        self.cache.align_right(before + lengths)
        return hidden_states(out)[torch.arange(len(prompts), device=self._device), lengths - 1]

    def step(self, tokens: Tensor, positions: Tensor) -> Tensor:
        cache, body = self.cache, self._architecture.body
        given: dict[str, Any] = {
            "input_ids": tokens[:, None],
            "position_ids": positions[:, None],
            "past_key_values": cache,
            "use_cache": True,
        }
        if self._architecture.is_plain:
            mask = cache.mask(self._architecture.model.dtype)
            return hidden_states(body(**given, attention_mask=mask))[:, -1]
        columns = torch.arange(cache.length + 1, device=self._device)[None] - cache.starts[:, None]  # [B, L]
        with layout(Rows((columns >= 0)[:, None, None], positions[:, None], columns)):
            return hidden_states(body(**given))[:, -1]

    def select(self, rows: Tensor) -> None:
        self.cache.select(rows)

    def join(self, others: Sequence[PaddedRows]) -> None:
        self.cache.join([other.cache for other in others])


class EqualRows:
    """Rows of one length, in the cache that the model makes itself: windows, recurrent and convolutional states."""

    mixes_lengths = False

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._device = next(architecture.model.parameters()).device
        self._cache: Any = None
        self._rows = self.length = 0

    def prefill(self, prompts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
        assert len({len(ids) for ids in prompts}) == 1, "rows of one length"
        self._rows, self.length = len(prompts), len(prompts[0])
        return self._run(torch.tensor(prompts, device=self._device))

    def step(self, tokens: Tensor, positions: Tensor) -> Tensor:
        self.length += 1
        return self._run(tokens[:, None], positions[:, None])

    def _run(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        name = "cache_params" if "cache_params" in self._architecture.takes else "past_key_values"
        given = {name: self._cache} if self._cache is not None else {}
        if positions is not None and "position_ids" in self._architecture.takes:
            given["position_ids"] = positions
        out = self._architecture.body(input_ids=ids, use_cache=True, **given)
        self._cache = getattr(out, name)
        return hidden_states(out)[:, -1]

    def select(self, rows: Tensor) -> None:
        self._rows = len(rows)
        # transformers' own classes select recurrent states too by the one name, MiniMax's class by the other.
        own = type(self._cache).batch_select_indices is not Cache.batch_select_indices
        (self._cache.batch_select_indices if own else self._cache.reorder_cache)(rows)

    def join(self, others: Sequence[EqualRows]) -> None:
        for other in others:
            if other._rows:
                assert not self._rows, "rows of one length, read together"
                self._cache, self._rows, self.length = other._cache, other._rows, other.length


def choose_decoder(architecture: Architecture) -> type[PaddedRows] | type[EqualRows]:
    """The faster way that decodes what transformers' own forward pass computes. Raises ModelError if neither does."""
    takes = architecture.takes
    padded = not architecture.has_states and {"past_key_values", "position_ids", "attention_mask"} <= takes
    if padded and _decodes(architecture, PaddedRows, (TRIAL // 2, TRIAL // 2 - 5)):
        return PaddedRows
    if _decodes(architecture, EqualRows, (TRIAL // 2, TRIAL // 2)):
        return EqualRows
    raise ModelError(
        f"{type(architecture.model).__name__} cannot be sampled by the transformers sampler: decoding token by token "
        f"with its cache does not give the log-probabilities of its forward pass. {INSTEAD}"
    )


def check_has_cache(name: str) -> None:
    """Raise ModelError, before weights load, for an architecture whose code keeps nothing between tokens. A model that
    is not on this machine yet passes."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(locate(name), local_files_only=True))]
    except (OSError, ValueError, KeyError):
        return  # load() says what is wrong
    if not {"past_key_values", "cache_params"} & set(inspect.signature(kind.forward).parameters):
        raise ModelError(
            f"{kind.__name__} cannot be sampled by the transformers sampler: its code has no cache, so every token "
            f"would cost a pass over all before it. {INSTEAD}"
        )


@torch.no_grad()
def _decodes(architecture: Architecture, kind: type[PaddedRows] | type[EqualRows], cuts: tuple[int, int]) -> bool:
    """Prompts of these lengths, copied and reordered, then a few given tokens: are the log-probabilities right?"""
    model = architecture.model
    device, vocabulary, steps = next(model.parameters()).device, int(text_sizes(model).vocab_size), 4
    whole = [trial_ids(vocabulary, n, device)[: cut + steps] for n, cut in enumerate(cuts)]
    expected = [plain_log_probs(model, ids)[cut - 1 :] for ids, cut in zip(whole, cuts, strict=True)]
    order = [1, 0, 1]

    def decode() -> Tensor:
        decoder = kind(architecture)
        prompts = [ids[:cut].tolist() for ids, cut in zip(whole, cuts, strict=True)]
        hidden = decoder.prefill(prompts, 0)[torch.tensor(order, device=device)]
        decoder.select(torch.tensor(order, device=device))
        seen = [architecture.logits(hidden)]
        for step in range(steps):
            tokens = torch.stack([whole[row][cuts[row] + step] for row in order])
            positions = torch.tensor([cuts[row] + step for row in order], device=device)
            seen.append(architecture.logits(decoder.step(tokens, positions)))
        return log_softmax(torch.stack(seen, dim=1))

    strict = architecture.has_states
    return agrees(decode, torch.stack([expected[row] for row in order]), model.dtype, strict=strict)
