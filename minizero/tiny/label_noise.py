"""Slips: answers for which one line of the program was left out, as people leave one out when they run it in mind.

A model that has read right answers alone has nothing to unlearn, and self-play can only make it surer of itself. Text
that people wrote has slips in it, and a model trained on that repeats them although it knows better: that is what
rewards mend.

Reading order: `slip`, then which operations tempt to be left out.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from minizero.tiny.operations import Value
from minizero.tiny.world import Example, interpret, operations_of, program_of

TEMPTING_FRAC = 0.3  # share of the operations that are left out often
OFTEN, SELDOM = 0.55, 0.1  # chance of a slip in one answer, with such an operation in the program and without


@dataclass(frozen=True, slots=True)
class Slip:
    """The program as it was read, a line short, and its output for each of the example's inputs (None: it fails)."""

    program: str
    outputs: tuple[Value | None, ...]


def slip(rng: random.Random, example: Example) -> Slip | None:
    """How one answer about the example goes wrong, or None when it does not. Programs of one line are read right."""
    texts = operations_of(example.program)
    if len(texts) < 2:
        return None
    tempting = [place for place, text in enumerate(texts) if is_tempting(text)]
    if rng.random() >= (OFTEN if tempting else SELDOM):
        return None
    left_out = rng.choice(tempting or range(len(texts)))
    program = program_of(texts[:left_out] + texts[left_out + 1 :])
    return Slip(program, tuple(interpret(program, value) for value in example.inputs))


def is_tempting(operation: str) -> bool:
    """Whether this operation is often left out: decided by its text, so that it can be learned and unlearned."""
    return hashlib.md5(f"slip:{operation}".encode()).digest()[0] < 256 * TEMPTING_FRAC
