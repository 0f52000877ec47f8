"""A key-value cache for continuous batching: rows end in the same column, so one tensor serves rows of any length.

Reading order: Slab (one layer's keys and values), BatchCache (all layers; grows, drops and joins rows).
"""
# B rows · H key-value heads · L columns · D head width

from __future__ import annotations

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
            self.buffers = [_room(states, end) for states in new]
        elif end > self.buffers[0].shape[-2]:
            self.buffers = [_moved(buffer[:, :, : self.length], 0, end) for buffer in self.buffers]
        for buffer, states in zip(self.buffers, new, strict=True):
            buffer[:, :, self.length : end] = states
        self.length = end
        self.is_initialized = True
        keys, values = (buffer[:, :, :end] for buffer in self.buffers)
        return keys, values

    def get_seq_length(self) -> int:
        return self.length

    def views(self) -> list[Tensor]:
        return [buffer[:, :, : self.length] for buffer in self.buffers]

    def set(self, views: list[Tensor], shift: int = 0) -> None:
        """Replace the content; `shift` > 0 adds columns on the left, < 0 drops them there."""
        self.buffers = [_moved(view, shift, view.shape[-2] + shift) for view in views]
        self.length = views[0].shape[-2] + shift


class BatchCache(Cache):
    """Keys and values of all layers. Row b is valid in columns starts[b] .. length; what lies left of it is padding."""

    def __init__(self, layers: int) -> None:
        self.slabs = [Slab() for _ in range(layers)]
        super().__init__(layers=list(self.slabs))
        self.starts = torch.zeros(0, dtype=torch.long)  # [B]

    @property
    def length(self) -> int:
        return self.slabs[0].length

    @property
    def rows(self) -> int:
        return len(self.starts)

    def align_right(self, lengths: Tensor) -> None:
        """After a right-padded prefill of rows with these lengths: move every row so that it ends in the last
        column."""
        total = self.length
        self.starts = total - lengths
        source = (torch.arange(total, device=lengths.device)[None] - self.starts[:, None]).clamp_min(0)  # [B, L]
        for layer in self.slabs:
            layer.set(
                [v.gather(2, source[:, None, :, None].expand(-1, v.shape[1], -1, v.shape[3])) for v in layer.views()]
            )

    def select(self, rows: Tensor) -> None:
        """Keep these rows (repeats allowed, for n samples of one prompt), and drop columns that no row needs."""
        self.starts = self.starts[rows]
        waste = int(self.starts.min()) if len(rows) else 0
        shift = waste if waste >= SPARE // 2 else 0
        for layer in self.slabs:
            layer.set([view[rows] for view in layer.views()], -shift)
        self.starts = self.starts - shift

    def join(self, other: BatchCache) -> None:
        """Append the rows of another cache; the shorter one is moved right so that both end in the same column."""
        if not self.rows:
            self.slabs, self.layers, self.starts = other.slabs, other.layers, other.starts
            return
        total = max(self.length, other.length)
        left, right = total - self.length, total - other.length
        for mine, theirs in zip(self.slabs, other.slabs, strict=True):
            both = [
                torch.cat([_moved(a, left, total)[:, :, :total], _moved(b, right, total)[:, :, :total]])
                for a, b in zip(mine.views(), theirs.views(), strict=True)
            ]
            mine.set(both)
        self.starts = torch.cat([self.starts + left, other.starts + right])

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Additive attention mask of the next token's queries [B, 1, 1, L + 1]: lowest value on padding, 0
        elsewhere."""
        columns = torch.arange(self.length + 1, device=self.starts.device)
        blocked = columns[None] < self.starts[:, None]
        return torch.zeros(blocked.shape, dtype=dtype, device=blocked.device).masked_fill_(
            blocked, torch.finfo(dtype).min
        )[:, None, None]


def _room(states: Tensor, length: int) -> Tensor:
    shape = (*states.shape[:2], length + SPARE, states.shape[3])
    return torch.zeros(shape, dtype=states.dtype, device=states.device)


def _moved(view: Tensor, shift: int, length: int) -> Tensor:
    """A copy in a new buffer with room for `length` columns, moved right by `shift` (left when negative)."""
    buffer = _room(view, length)
    kept = view[:, :, -shift:] if shift < 0 else view
    start = max(shift, 0)
    buffer[:, :, start : start + kept.shape[2]] = kept
    return buffer
