"""Reasoned answers of the tiny world: the text that stands in <think> before the answer, as training shows it.

Deduction runs the program line by line. Abduction tries an input, runs it, compares, and tries another. Induction
tries an order of the operations on the first shown pair, compares, and tries another. Every line that is run is
written as its expression, then the value after it: with values alone a model finds no place in a long program
(docs/results.md).

Reading order: Piece, `deduce`, `abduce`, `induce`, then how wrong tries are drawn.

    deduction                abduction                 induction
    <think>                  <think>                   <think>
    x[1:]                    'ab'                      [3, 1]
    'b'                      x[1:]                     x + [1]
    x + 'a'                  'b'                       [3, 1, 1]
    'ba'                     no                        yes
    </think>                 'cca' ...                 </think>
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from minizero.prompts.compact import THINK
from minizero.tiny.operations import LETTERS, Value, same_family
from minizero.tiny.world import Example, draw_value, interpret, kind_of, operations_of, program_of, run_lines

YES, NO = "yes", "no"
MOST_TOKENS = 200  # about: a try costs some ten a line, and no more tries are shown than this holds
_TOKENS_A_LINE = 10


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a completion. Wrong guesses are read but not learned: what follows from them is."""

    text: str
    learned: bool = True


def deduce(program: str, value: Value) -> list[Piece]:
    """The run of a program from an input."""
    return [Piece(THINK + _run(program, value))]


def abduce(rng: random.Random, program: str, right: Value, target: Value, *, tries: int) -> list[Piece]:
    """Some wrong inputs (up to `tries`), each run and compared with the target, then the right one."""
    pieces = [Piece(THINK)]
    for wrong in _wrong_inputs(rng, program, right, target, min(tries, _room(program) - 1)):
        pieces += [Piece(f"{wrong!r}\n", learned=False), Piece(f"{_run(program, wrong)}{NO}\n")]
    return [*pieces, Piece(f"{right!r}\n{_run(program, right)}{YES}\n")]


def induce(rng: random.Random, example: Example, *, tries: int) -> list[Piece]:
    """Some wrong programs (up to `tries`), each run on the first shown input, then the right one."""
    value, target = example.inputs[0], example.outputs[0]
    pieces = [Piece(THINK)]
    for wrong in _wrong_programs(rng, example, value, target, min(tries, _room(example.program) - 1)):
        pieces.append(Piece(f"{value!r}\n"))
        for text, after in run_lines(wrong, value):
            pieces += [Piece(f"{text}\n", learned=False), Piece(f"{after!r}\n")]
        pieces.append(Piece(f"{NO}\n"))
    return [*pieces, Piece(f"{value!r}\n{_run(example.program, value)}{YES}\n")]


def _run(program: str, value: Value) -> str:
    return "".join(f"{text}\n{after!r}\n" for text, after in run_lines(program, value))


def _room(program: str) -> int:
    """How many tries fit."""
    return max(1, MOST_TOKENS // (_TOKENS_A_LINE * len(operations_of(program))))


def _wrong_inputs(rng: random.Random, program: str, right: Value, target: Value, count: int) -> list[Value]:
    """Inputs near the right one, or of its kind, for which the program returns something else."""
    found: list[Value] = []
    for _ in range(8 * count):
        if len(found) == count:
            break
        value = _near(rng, right) if rng.random() < 0.6 else draw_value(rng, kind_of(right))
        output = interpret(program, value)
        if output is not None and output != target and value not in found:
            found.append(value)
    return found


def _near(rng: random.Random, value: Value) -> Value:
    """The value with one change."""
    if isinstance(value, int):
        return max(0, value + rng.choice((-2, -1, 1, 2)))
    place = rng.randrange(len(value) + 1)
    rest = place + rng.randrange(2)  # insert at the place, or replace what stands there
    if isinstance(value, str):
        return value[:place] + rng.choice(("", *LETTERS)) + value[rest:]
    return value[:place] + rng.choice(([], [rng.randrange(6)], [rng.randrange(6)])) + value[rest:]


def _wrong_programs(rng: random.Random, example: Example, value: Value, target: Value, count: int) -> list[str]:
    """Programs of the same operations, in another order or with another constant, that miss the target."""
    found: list[str] = []
    for _ in range(12 * count):
        if len(found) == count:
            break
        program = program_of(_changed(rng, operations_of(example.program)))
        output = interpret(program, value)
        if output is not None and output != target and program not in found:
            found.append(program)
    return found


def _changed(rng: random.Random, texts: Sequence[str]) -> list[str]:
    texts = list(texts)
    if len(texts) > 1 and rng.random() < 0.5:
        first, second = rng.sample(range(len(texts)), 2)
        texts[first], texts[second] = texts[second], texts[first]
        return texts
    place = rng.randrange(len(texts))
    texts[place] = rng.choice(same_family(texts[place]))
    return texts
