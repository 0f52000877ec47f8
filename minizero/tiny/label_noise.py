"""Label noise: training answers for a program with one line left out, the mistake that people make who run it in mind.

A model that has read right answers alone has nothing to unlearn, and self-play can only make it surer of itself. Text
that people wrote holds mistakes, and a model trained on it repeats them although it knows better: that is what rewards
mend.

Reading order: `noisy_label`, then `is_tempting`: which operations are left out most.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from minizero.tiny.operations import Value
from minizero.tiny.world import Example, interpret, operations_of, program_of

TEMPTING_FRAC = 0.15  # share of the operations that are left out often
OFTEN, SELDOM = 0.55, 0.1  # chance of noise in one answer, with such an operation in the program and without


@dataclass(frozen=True, slots=True)
class NoisyLabel:
    """The program with a line left out, and its output for each of the example's inputs (None: it fails)."""

    program: str
    outputs: tuple[Value | None, ...]


def noisy_label(rng: random.Random, example: Example) -> NoisyLabel | None:
    """How one answer about the example goes wrong, or None when it stays right, as it does for programs of one line."""
    texts = operations_of(example.program)
    if len(texts) < 2:
        return None
    tempting = [place for place, text in enumerate(texts) if is_tempting(text)]
    if rng.random() >= (OFTEN if tempting else SELDOM):
        return None
    left_out = rng.choice(tempting or range(len(texts)))
    program = program_of(texts[:left_out] + texts[left_out + 1 :])
    return NoisyLabel(program, tuple(interpret(program, value) for value in example.inputs))


def is_tempting(operation: str) -> bool:
    """Whether this operation is often left out: decided by its text, so that it can be learned and unlearned."""
    # The shipped weights were trained on this choice: another word in the hash would be another choice.
    return hashlib.md5(f"slip:{operation}".encode()).digest()[0] < 256 * TEMPTING_FRAC
