"""What many prompts begin with is read once: instructions and worked examples, most of what a small model is asked.

Reading order: Beginnings.of, which deals prompts into groups that go on after the same beginning, then _common. A
beginning is kept, with its keys and values, until the weights change (forget).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minizero.rollout.decode import PaddedRows

SHORTEST = 64  # tokens; what is shared below that is worth no pass of its own


class Group(NamedTuple):
    """Prompts that begin alike."""

    places: list[int]  # of the prompts in what was given
    read: int  # tokens at the start of each that need not be read again
    after: PaddedRows | None  # one row that begins with these


class Beginnings:
    """Beginnings of prompts that were read with the weights as they are."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[Sequence[int], PaddedRows]] = {}

    def forget(self) -> None:
        """The weights change."""
        self._kept.clear()

    def of(self, prompts: Sequence[Sequence[int]], new: PaddedRows, side: str | None, pad_id: int) -> list[Group]:
        """Groups of these prompts, each prompt in one. At least one token of every prompt is left to be read.

        `new`: an empty decoder, for a beginning that is not there yet; `side`: the adapter that reads.
        """
        alike: dict[tuple[object, ...], list[int]] = {}
        alone = []
        for place, ids in enumerate(prompts):
            if len(ids) > SHORTEST:
                alike.setdefault((side, *ids[:SHORTEST]), []).append(place)
            else:
                alone.append(place)
        groups = [Group(alone, 0, None)] if alone else []
        for key, places in alike.items():
            if key not in self._kept:
                first = prompts[places[0]][:-1]
                decoder = new.empty()
                decoder.prefill([first], pad_id)
                self._kept[key] = (first, decoder)
            kept, decoder = self._kept[key]
            read = min(_common(kept, prompts[place][:-1]) for place in places)
            groups.append(Group(places, read, decoder))
        return groups


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
