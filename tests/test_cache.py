"""The key-value cache: every row keeps what was written for it, whatever joins, leaves and grows around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from minizero.rollout.cache import SPARE, BatchCache

LAYERS, HEADS, WIDTH = 2, 3, 4


@pytest.fixture(autouse=True)
def _unset_memory_is_no_number() -> Iterator[None]:
    """In its deterministic mode torch fills what is allocated and not set with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def states(marks: torch.Tensor, layer: int, sign: int) -> torch.Tensor:
    """Keys (sign 1) or values (-1) [B, H, T, D] that tell the mark [B, T], the layer, the head and the place in it."""
    place = torch.arange(HEADS * WIDTH).view(HEADS, 1, WIDTH) / 16
    return sign * (10 * marks[:, None, :, None] + layer + place)


def write(cache: BatchCache, marks: torch.Tensor) -> None:
    for layer in range(LAYERS):
        cache.update(states(marks, layer, 1), states(marks, layer, -1), layer)


def prefilled(*prompts: list[float]) -> BatchCache:
    longest = max(map(len, prompts))
    cache = BatchCache(LAYERS)
    write(cache, torch.tensor([prompt + [-7.0] * (longest - len(prompt)) for prompt in prompts]))
    cache.align_right(torch.tensor([len(prompt) for prompt in prompts]))
    return cache


def check(cache: BatchCache, *rows: list[float]) -> None:
    """Each row holds these marks and nothing else, in every layer; what is left of it is finite."""
    assert (cache.length - cache.starts).tolist() == [len(row) for row in rows]
    for layer, slab in enumerate(cache.slabs):
        for sign, view in zip((1, -1), slab.views(), strict=True):
            assert view.isfinite().all()
            for b, row in enumerate(rows):
                assert torch.equal(view[b, :, int(cache.starts[b]) :], states(torch.tensor([row]), layer, sign)[0])


def test_rows_keep_their_columns_when_caches_join_and_rows_leave() -> None:
    cache = BatchCache(LAYERS)
    cache.join([prefilled([1, 2, 3], [4]), prefilled([5, 6])])
    check(cache, [1, 2, 3], [4], [5, 6])
    write(cache, torch.tensor([[11.0], [14.0], [15.0]]))
    cache.join([prefilled([7, 8, 9, 10, 11, 12])])  # longer than what is there
    check(cache, [1, 2, 3, 11], [4, 14], [5, 6, 15], [7, 8, 9, 10, 11, 12])
    cache.select(torch.tensor([2, 1, 1]))
    check(cache, [5, 6, 15], [4, 14], [4, 14])
    assert cache.length == 3  # the columns that only the long rows needed are gone


def test_rows_keep_their_columns_when_the_spare_ones_run_out() -> None:
    cache = prefilled([1, 2], [3])
    later = [float(20 + step) for step in range(2 * SPARE + 3)]
    for mark in later:
        write(cache, torch.tensor([[mark], [mark]]))
    check(cache, [1, 2, *later], [3, *later])


def test_a_cache_of_no_rows_adds_nothing() -> None:
    ended = prefilled([1, 2, 3])
    ended.select(torch.tensor([], dtype=torch.long))
    cache = BatchCache(LAYERS)
    cache.join([ended])
    assert cache.rows == 0
    cache.join([ended, prefilled([4])])
    check(cache, [4])
    assert cache.length == 1
