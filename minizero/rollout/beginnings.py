"""What many prompts begin with is read once: instructions and worked examples, most of what a small model is asked.

Reading order: Beginnings.of, which deals prompts into groups that go on after the same beginning. One that
comes again is kept, with its keys and values, until the weights change (forget).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minizero.learn.batching import SHORTEST, common_length
from minizero.models.architecture import Architecture
from minizero.rollout.decode import PaddedRows

MOST = 8  # beginnings that are kept: a few for each role and task type


class Group(NamedTuple):
    """Prompts that begin alike."""

    places: list[int]  # of the prompts in what was given
    read: int  # tokens at the start of each that need not be read again
    after: PaddedRows | None  # one row that begins with these


class Beginnings:
    """Beginnings of prompts that were read with the weights as they are."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._kept: dict[tuple[object, ...], tuple[Sequence[int], PaddedRows]] = {}
        self._seen: set[int] = set()  # of prompts that came alone: how they begin, as a hash

    def forget(self) -> None:
        """The weights change."""
        self._kept.clear()
        self._seen.clear()

    def of(self, prompts: Sequence[Sequence[int]], side: str | None) -> list[Group]:
        """Groups of these prompts, which the adapter `side` reads. At least one token of every prompt is left to be
        read."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for place, ids in enumerate(prompts):
            alike.setdefault((side, *ids[:SHORTEST]), []).append(place)
        alone, groups = [], []
        for key, places in alike.items():
            if self._is_worth_it(key, prompts[places[0]], len(places)):
                kept, decoder = self._beginning(key, prompts[places[0]][:-1])
                read = min(common_length(kept, prompts[place][:-1]) for place in places)
                groups.append(Group(places, read, decoder))
            else:
                alone += places
        return [Group(alone, 0, None), *groups] if alone else groups

    def _is_worth_it(self, key: tuple[object, ...], prompt: Sequence[int], count: int) -> bool:
        """Whether prompts that begin so come more than once."""
        if len(prompt) <= SHORTEST:
            return False
        comes_again = count > 1 or key in self._kept or hash(key) in self._seen
        self._seen.add(hash(key))
        return comes_again

    def _beginning(self, key: tuple[object, ...], first: Sequence[int]) -> tuple[Sequence[int], PaddedRows]:
        """The tokens that were read, and the decoder that has read them; the last MOST are kept."""
        if key not in self._kept:
            decoder = PaddedRows(self._architecture)
            decoder.prefill([first], pad_id=0)  # of one row nothing is padding
            self._kept[key] = (first, decoder)
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        return self._kept[key]
