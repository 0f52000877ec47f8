"""The tiny world: seeded programs of one to twelve lines over small integers, lists and strings, and their tasks.

Reading order: Example (a program that ran), `draw_example`, `make_task`, `split_of` (what keeps the sets apart), and
`interpret`, which runs a program of this world without executing its text.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minizero.tiny.operations import LETTERS, Kind, Operation, Value, meaning, operations
from minizero.types import Pair, Task, TaskType

SHOWN_PAIRS = 4
HIDDEN_PAIRS = 4
PAIRS = SHOWN_PAIRS + HIDDEN_PAIRS
MOST_LINES = 12
LENGTHS = (0.16, 0.24, 0.22, 0.16, 0.12, 0.10)  # shares of programs of one to six lines in training: longer ones
# never occur there, so what is asked about seven to twelve lines lies beyond all that the model has read

Split = Literal["train", "heldout", "validation"]

_TRIES = 40
_HEAD = "def f(x):"
_SET = "    x = "
_RETURN = "    return "


@dataclass(frozen=True, slots=True)
class Example:
    """A program of the world, PAIRS different inputs with their outputs; its message names its operations, sorted."""

    program: str
    lines: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    message: str


def draw_example(rng: random.Random, *, split: Split = "train", lengths: Sequence[float] = LENGTHS) -> Example:
    """Draw programs until one is sound and belongs to the split. About 10,000 a second on one core.

    Sound: it runs on all of its inputs, keeps every value small, each line changes some value, and the outputs differ.
    """
    while True:
        lines = rng.choices(range(1, len(lengths) + 1), lengths)[0]
        for _ in range(_TRIES):  # of one length, since long programs are sound more seldom
            example = _try_example(rng, lines)
            if example is not None and split_of(example.program) == split:
                return example


def make_task(example: Example, task_type: TaskType, *, pair: int = 0) -> Task:
    """The task of this type; deduction and abduction use the pair with this index, induction all of them."""
    pairs = tuple(Pair(repr(i), repr(o)) for i, o in zip(example.inputs, example.outputs, strict=True))
    if task_type is TaskType.INDUCTION:
        return Task(task_type, example.program, pairs, message=example.message, shown=SHOWN_PAIRS)
    return Task(task_type, example.program, (pairs[pair],))


def split_of(program: str) -> Split:
    """The split that a program in normal form belongs to: its hash puts 6 % in heldout and 4 % in validation.

    Of the one-line programs, about 60 in all, it is 18 % and 12 %, so that the sets hold more than a handful of them.
    Training never draws from the other two splits, so the sets are disjoint by program text for every seed. (A text of
    this world is its own normal form: the table is written as `ast.unparse` writes, which a test checks.)
    """
    bucket = int.from_bytes(hashlib.md5(program.encode("utf-8", "surrogatepass")).digest()[:4], "big") % 100
    widen = 3 if program.count("\n") == 1 else 1
    return "heldout" if bucket < 6 * widen else "validation" if bucket < 10 * widen else "train"


def operations_of(program: str) -> list[str]:
    """The operations' texts of a program of this world, line by line."""
    return [line[len(_RETURN if line.startswith(_RETURN) else _SET) :] for line in program.split("\n")[1:]]


def program_of(texts: Sequence[str]) -> str:
    """The program of these operations, one a line; there must be one at least."""
    return "\n".join([_HEAD, *(_SET + text for text in texts[:-1]), _RETURN + texts[-1]])


def interpret(program: str, value: Value) -> Value | None:
    """The program's output when every line of it is an operation of the table, else None; also None when it fails.

    Fit for quick measurements on model text: the text is looked up, never executed. A correct program written in any
    other way counts as unknown, so the sandbox has the last word.
    """
    lines = run_lines(program, value)
    return lines[-1][1] if lines else None


def run_lines(program: str, value: Value) -> list[tuple[str, Value]]:
    """Each line's expression and the value after it; nothing where `interpret` returns None."""
    head, *body = program.rstrip().split("\n")
    if head != _HEAD or not body or not body[-1].startswith(_RETURN) or not _is_small(value):
        return []
    done: list[tuple[str, Value]] = []
    for number, line in enumerate(body):
        prefix = _RETURN if number == len(body) - 1 else _SET
        text = line[len(prefix) :]
        function = meaning(text) if line.startswith(prefix) else None
        if function is None:
            return []
        try:
            value = function(value)
        except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
            return []
        if not _is_small(value):
            return []
        done.append((text, value))
    return done


def draw_value(rng: random.Random, kind: Kind) -> Value:
    """An input of this kind."""
    if kind == "int":
        return rng.randrange(10)
    size = rng.choices((1, 2, 3, 4), (2, 5, 5, 1))[0]
    if kind == "list":
        return [rng.randrange(6) for _ in range(size)]
    return "".join(rng.choices(LETTERS, k=size))


def kind_of(value: Value) -> Kind:
    """Which operations take the value."""
    return "int" if isinstance(value, int) else "list" if isinstance(value, list) else "str"


def _try_example(rng: random.Random, lines: int) -> Example | None:
    kind = rng.choices(_KINDS, (0.2, 0.45, 0.35))[0]
    inputs = _draw_inputs(rng, kind)
    values = inputs
    texts: list[str] = []
    hints: list[str] = []
    for _ in range(lines):
        following = _apply_some(rng, kind, values)
        if following is None:
            return None
        operation, values = following
        texts.append(operation.text)
        hints.append(operation.hint)
        kind = kind_of(values[0])
    if len({repr(v) for v in values}) < 3:
        return None
    return Example(program_of(texts), lines, tuple(inputs), tuple(values), ", ".join(sorted(hints)))


def _apply_some(rng: random.Random, kind: Kind, values: list[Value]) -> tuple[Operation, list[Value]] | None:
    for _ in range(4):
        operation = rng.choice(rng.choice(operations(kind)))
        try:
            outputs = [operation.apply(v) for v in values]
        except (ValueError, IndexError):
            continue
        if outputs != values and all(map(_is_small, outputs)):
            return operation, outputs
    return None


def _draw_inputs(rng: random.Random, kind: Kind) -> list[Value]:
    seen: dict[str, Value] = {}
    while len(seen) < PAIRS:
        value = draw_value(rng, kind)
        seen[repr(value)] = value
    return list(seen.values())


_KINDS: tuple[Kind, ...] = ("int", "list", "str")


def _is_small(value: Value) -> bool:
    if isinstance(value, int):
        return -5 <= value <= 20
    if isinstance(value, str):
        return len(value) <= 8
    return len(value) <= 6 and all(isinstance(item, int) and -5 <= item <= 20 for item in value)
