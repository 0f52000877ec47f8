"""A key-value cache for continuous batching: all rows end in the same column, so one tensor serves rows of any length.

Reading order: Slab (one layer's keys and values), BatchCache (all layers; grows, drops and joins rows). It keeps all
columns, of layers with a sliding window too: which of them a query sees is said by the mask (models/attention.py).
"""
# B rows · H key-value heads · L columns · D head width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

SPARE = 64  # columns allocated ahead, so that a token is written in place instead of copying the cache


class Slab(DynamicLayer):
    """Keys and values of one layer in buffers with spare columns; `update` writes in place and returns views."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.buffers: list[Tensor] = []  # keys, values: [B, H, capacity, D]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        end = self.length + key_states.shape[-2]
        new = (key_states, value_states)
        if not self.buffers:
            self.buffers = [_buffer(states, len(states), end) for states in new]
        elif end > self.buffers[0].shape[-2]:
            self.buffers = [_stacked([view], self.length, capacity=end) for view in self.views()]
        for buffer, states in zip(self.buffers, new, strict=True):
            buffer[:, :, self.length : end] = states
        self.set(self.buffers, end)
        keys, values = (buffer[:, :, :end] for buffer in self.buffers)
        return keys, values

    def get_seq_length(self) -> int:
        return self.length

    def views(self) -> list[Tensor]:
        return [buffer[:, :, : self.length] for buffer in self.buffers]

    def set(self, buffers: list[Tensor], length: int) -> None:
        """Replace the content: `length` columns of these buffers are in use."""
        self.buffers, self.length, self.is_initialized = buffers, length, True


class BatchCache(Cache):
    """Keys and values of all layers. Row b is valid in columns starts[b] .. length; what lies left of it is padding.

    Some layers may stay empty: those that read another layer's keys and values (Gemma 3n).
    """

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[Slab() for _ in range(layers)])
        self.starts = torch.zeros(0, dtype=torch.long)  # [B]

    @property
    def slabs(self) -> list[Slab]:
        """The layers that hold something."""
        return [layer for layer in self.layers if isinstance(layer, Slab) and layer.buffers]

    @property
    def length(self) -> int:
        return next((layer.length for layer in self.layers if isinstance(layer, Slab) and layer.buffers), 0)

    @property
    def rows(self) -> int:
        return len(self.starts)

    def align_right(self, lengths: Tensor) -> None:
        """After a right-padded prefill of rows with these lengths: move every row so that it ends in the last
        column."""
        total = self.length
        self.starts = total - lengths
        source = (torch.arange(total, device=lengths.device)[None] - self.starts[:, None]).clamp_min(0)  # [B, L]
        source = source[:, None, :, None]
        for layer in self.slabs:
            layer.set([v.gather(2, source.expand(-1, v.shape[1], -1, v.shape[3])) for v in layer.views()], total)

    def beginning(self, columns: int) -> BatchCache:
        """A cache of the first columns of the first row, which has no padding there. It shares their memory until it is
        written to."""
        part = BatchCache(len(self.layers))
        part.starts = self.starts[:1]
        for here, layer in zip(part.layers, self.layers, strict=True):
            if isinstance(here, Slab) and isinstance(layer, Slab) and layer.buffers:
                here.set([view[:1, :, :columns] for view in layer.views()], columns)
        return part

    def select(self, rows: Tensor) -> None:
        """Keep these rows (repeats allowed, for n samples of one prompt), and drop columns that no row needs."""
        starts = self.starts[rows]
        unused = int(starts.min()) if len(rows) else 0
        self.starts, length = starts - unused, self.length - unused
        for layer in self.slabs:
            layer.set([_stacked([view[:, :, unused:].index_select(0, rows)], length) for view in layer.views()], length)

    def join(self, others: Sequence[BatchCache]) -> None:
        """Append the rows of other caches; shorter ones are moved right so that all end in the same column."""
        parts = [cache for cache in (self, *others) if cache.rows]
        if not parts:
            return
        total = max(cache.length for cache in parts)
        self.starts = torch.cat([cache.starts + total - cache.length for cache in parts])
        for layer, *of_parts in zip(self.layers, *(cache.layers for cache in parts), strict=True):
            views = [slab.views() for slab in of_parts if slab.buffers]
            if views:
                layer.set([_stacked(same, total) for same in zip(*views, strict=True)], total)

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Additive attention mask of the next token's queries [B, 1, 1, L + 1]: lowest value on padding, 0
        elsewhere."""
        columns = torch.arange(self.length + 1, device=self.starts.device)
        blocked = columns[None] < self.starts[:, None]
        return torch.zeros(blocked.shape, dtype=dtype, device=blocked.device).masked_fill_(
            blocked, torch.finfo(dtype).min
        )[:, None, None]


def _buffer(like: Tensor, rows: int, columns: int) -> Tensor:
    """A buffer for so many rows and columns, and spare ones; what it holds at first means nothing."""
    return like.new_empty(rows, like.shape[1], columns + SPARE, like.shape[3])


def _stacked(views: Sequence[Tensor], length: int, capacity: int = 0) -> Tensor:
    """A new buffer with the rows of these views one after the other, each ending in column `length`; at least
    `capacity` columns."""
    buffer = _buffer(views[0], sum(map(len, views)), max(capacity, length))
    for view, rows in zip(views, buffer.split([len(view) for view in views]), strict=True):
        start = length - view.shape[2]
        rows[:, :, :start] = 0  # never attended to, but 0 times what happens to lie in memory need not be 0
        rows[:, :, start:length] = view
    return buffer
