"""How unusual a value or a program is among those seen before: pure functions of counts that the buffer keeps.

Reading order: the keys of ProposalOutcome.known, then type_name, Counts, skeleton.

| key of `known` | what the buffer puts there | read by the term |
|---|---|---|
| answer_surprise | Counts.surprise: the output among outputs (deduction), the input among inputs | answer_diversity |
| answer_surprise_by_type | the same with Counts.surprise_by_type | answer_diversity_by_type |
| input_surprise, output_surprise | induction: mean surprise of its inputs, its outputs | input_, output_diversity |
| input_surprise_by_type, output_surprise_by_type | the same with Counts.surprise_by_type | ..._by_type |
| same_skeleton | number of buffered tasks of any type whose program has the same skeleton() | novelty |

All counts are those of before the task itself was added (docs/algorithm.md 5.4).
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Mapping

ANSWER_SURPRISE = "answer_surprise"
ANSWER_SURPRISE_BY_TYPE = "answer_surprise_by_type"
INPUT_SURPRISE = "input_surprise"
INPUT_SURPRISE_BY_TYPE = "input_surprise_by_type"
OUTPUT_SURPRISE = "output_surprise"
OUTPUT_SURPRISE_BY_TYPE = "output_surprise_by_type"
SAME_SKELETON = "same_skeleton"

TypeCounts = Mapping[str, Mapping[str, int]]  # type name -> source text -> how often


def type_name(text: str) -> str:
    """Type of a value's source text, as AZR's counters name it (docs/algorithm.md 1): what cannot be read is a "str".

    >>> type_name("[1, 2]"), type_name("1, 2"), type_name("-1 * 3")
    ('list', 'tuple', 'str')
    """
    candidates = [f"({text})"] if "," in text else []
    for i, candidate in enumerate([*candidates, text]):
        try:
            value = ast.literal_eval(candidate)
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
        shape = _shape(ast.parse(program))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        shape = program
    return hashlib.sha256(shape.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _shape(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return f"Constant:{type(node.value).__name__}"
    return f"{type(node).__name__}({' '.join(_shape(child) for child in ast.iter_child_nodes(node))})"
