"""How unusual a value or a program is among those seen before: pure functions of counts that the buffer keeps.

Reading order: the keys of ProposalOutcome.known, then type_name, Counts, skeleton; how alike two programs are
(likeness), or two texts (text_overlap).

| key of `known` | what the buffer puts there | read by the term |
|---|---|---|
| answer_surprise | Counts.surprise: the output among outputs (deduction), the input among inputs | answer_diversity |
| answer_surprise_by_type | the same with Counts.surprise_by_type | answer_diversity_by_type |
| input_surprise, output_surprise | induction: mean surprise of its inputs, its outputs | input_, output_diversity |
| input_surprise_by_type, output_surprise_by_type | the same with Counts.surprise_by_type | ..._by_type |
| same_skeleton | number of buffered tasks of any type whose program has the same skeleton() | novelty |
| most_alike | the largest likeness() to one of the last buffer.memory programs of each type; 0 without any | memory |
| repeated | of the step's admitted tasks of its type, the share of others that text_overlap() | repetition |

All but the last are those of before the step's tasks were added (docs/algorithm.md 5.4).
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from minizero.tasks.programs import literal, parse, syntax_tree
from minizero.types import ProposalOutcome

ANSWER_SURPRISE = "answer_surprise"
ANSWER_SURPRISE_BY_TYPE = "answer_surprise_by_type"
INPUT_SURPRISE = "input_surprise"
INPUT_SURPRISE_BY_TYPE = "input_surprise_by_type"
OUTPUT_SURPRISE = "output_surprise"
OUTPUT_SURPRISE_BY_TYPE = "output_surprise_by_type"
SAME_SKELETON = "same_skeleton"
MOST_ALIKE = "most_alike"
REPEATED = "repeated"
MUCH = 0.5  # of two texts' triples of words in common: one repeats the other

TypeCounts = Mapping[str, Mapping[str, int]]  # type name -> source text -> how often


def type_name(text: str) -> str:
    """Type of a value's source text, as AZR's counters name it (docs/algorithm.md 1): what cannot be read is a "str".

    >>> type_name("[1, 2]"), type_name("1, 2"), type_name("-1 * 3")
    ('list', 'tuple', 'str')
    """
    candidates = [f"({text})"] if "," in text else []
    for i, candidate in enumerate([*candidates, text]):
        try:
            value = literal(candidate)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if i == len(candidates) or isinstance(value, tuple):
            return type(value).__name__
    return "str"


class Counts:
    """How often each text was seen, by the type of its value; totals are kept, so that a question costs no sum."""

    def __init__(self, table: TypeCounts | None = None) -> None:
        self._texts: dict[str, Counter[str]] = {}
        self._totals: Counter[str] = Counter()
        for texts in (table or {}).values():
            for text, count in texts.items():
                self.add(text, count)

    def add(self, text: str, count: int = 1) -> None:
        """Count a text `count` times more; a negative count takes back."""
        kind = type_name(text)
        texts = self._texts.setdefault(kind, Counter())
        texts[text] += count
        self._totals[kind] += count
        if not texts[text]:
            del texts[text]

    def surprise(self, text: str) -> float:
        """1 - count(text) / total over all types, in [0, 1]; 1 when unseen (docs/algorithm.md 5.4, answer_diversity).

        >>> Counts({"int": {"1": 3, "2": 1}, "str": {"'a'": 2}}).surprise("1")
        0.5
        """
        count = self._texts.get(type_name(text), Counter())[text]
        return 1 - count / self._totals.total() if count else 1.0

    def surprise_by_type(self, text: str) -> float:
        """Mean of 1 - (share of its type) and 1 - (share of the text inside it), in [0, 1].

        Source: docs/algorithm.md 5.4, hierarchical.

        >>> round(Counts({"int": {"1": 3, "2": 1}, "str": {"'a'": 2}}).surprise_by_type("11"), 4)  # (1 - 4/6 + 1) / 2
        0.6667
        """
        kind = type_name(text)
        of_type = self._totals[kind]
        if not of_type:
            return 1.0
        return (1 - of_type / self._totals.total() + 1 - self._texts[kind][text] / of_type) / 2


def skeleton(program: str) -> str:
    """Sixteen hexadecimal digits of the program's shape: its syntax tree without names and the values of constants.

    Programs that differ only in names and constants have the same skeleton. Text that does not parse stands for itself.
    """
    try:
        shape = _shape(syntax_tree(program))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        shape = program
    return hashlib.sha256(shape.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _shape(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return _kind(node)
    return f"{_kind(node)}({' '.join(_shape(child) for child in ast.iter_child_nodes(node))})"


Shape = Counter[tuple[str, str]]


def shape_of(program: str) -> Shape:
    """How often each kind of node stands directly in which other, names and the values of constants left out; empty for
    text that does not parse."""
    tree = parse(program)
    if tree is None:
        return Counter()
    return Counter((_kind(node), _kind(child)) for node in ast.walk(tree) for child in ast.iter_child_nodes(node))


def likeness(one: Shape, other: Shape) -> float:
    """Cosine of the two counts, in [0, 1]; 1 for programs that differ in names and constants only, 0 for an empty one.

    >>> likeness(Counter({("a", "b"): 3}), Counter({("a", "b"): 4, ("a", "c"): 3}))
    0.8
    """
    lengths = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    shared = sum(n * other[pair] for pair, n in one.items() if pair in other)
    return shared / lengths if lengths else 0.0


def repeated(texts: Sequence[str]) -> list[float]:
    """Of each text: the share of all that are others with an overlap of at least MUCH. [] of nothing."""
    triples = [_triples(text) for text in texts]
    return [
        sum(i != j and text_overlap(mine, other) >= MUCH for j, other in enumerate(triples)) / len(texts)
        for i, mine in enumerate(triples)
    ]


def with_repetition(outcomes: Sequence[ProposalOutcome]) -> list[ProposalOutcome]:
    """Add to each outcome the share of this step's same-type tasks with nearly the same program."""
    told = list(outcomes)
    for kind in {outcome.type for outcome in outcomes}:
        programs = {
            place: outcome.task.own_program
            for place, outcome in enumerate(outcomes)
            if outcome.task and not outcome.reason and outcome.type is kind
        }
        for place, share in zip(programs, repeated(list(programs.values())), strict=True):
            told[place] = replace(told[place], known={**told[place].known, REPEATED: share})
    return told


def text_overlap(one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]]) -> float:
    """Dice coefficient of two texts' triples of words, in [0, 1]: 2 shared / all.

    >>> text_overlap(_triples("a + b - c"), _triples("a + b * c"))  # (a + b) is shared, of three each
    0.3333333333333333
    """
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _triples(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text)
    return Counter(zip(words, words[1:], words[2:], strict=False))


def _kind(node: ast.AST) -> str:
    return f"Constant:{type(node.value).__name__}" if isinstance(node, ast.Constant) else type(node).__name__
