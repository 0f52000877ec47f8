"""What many prompts begin with is read once: instructions and worked examples, most of what a small model is asked.

Reading order: Beginnings.of, which deals prompts into groups that go on after the same beginning, then _common. A
beginning that comes again is kept, with its keys and values, until the weights change (forget).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minizero.rollout.decode import PaddedRows

SHORTEST = 64  # tokens; what is shared below that is worth no pass of its own
MOST = 8  # beginnings that are kept: a few for each role and task type


class Group(NamedTuple):
    """Prompts that begin alike."""

    places: list[int]  # of the prompts in what was given
    read: int  # tokens at the start of each that need not be read again
    after: PaddedRows | None  # one row that begins with these


class Beginnings:
    """Beginnings of prompts that were read with the weights as they are."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[Sequence[int], PaddedRows]] = {}
        self._seen: set[int] = set()  # of prompts that came alone: how they begin, as a hash

    def forget(self) -> None:
        """The weights change."""
        self._kept.clear()
        self._seen.clear()

    def of(self, prompts: Sequence[Sequence[int]], new: PaddedRows, side: str | None, pad_id: int) -> list[Group]:
        """Groups of these prompts, each prompt in one. At least one token of every prompt is left to be read.

        `new`: a decoder of this model; `side`: the adapter that reads.
        """
        alike: dict[tuple[object, ...], list[int]] = {}
        for place, ids in enumerate(prompts):
            alike.setdefault((side, *ids[:SHORTEST]), []).append(place)
        alone, groups = [], []
        for key, places in alike.items():
            if self._is_worth_it(key, prompts[places[0]], len(places)):
                kept, decoder = self._beginning(key, prompts[places[0]][:-1], new, pad_id)
                read = min(_common(kept, prompts[place][:-1]) for place in places)
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

    def _beginning(
        self, key: tuple[object, ...], first: Sequence[int], new: PaddedRows, pad_id: int
    ) -> tuple[Sequence[int], PaddedRows]:
        """The tokens that were read, and the decoder that has read them; the last MOST are kept."""
        if key not in self._kept:
            decoder = new.empty()
            decoder.prefill([first], pad_id)
            self._kept[key] = (first, decoder)
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        return self._kept[key]


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
