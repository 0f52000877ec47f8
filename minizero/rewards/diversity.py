"""How unusual a value or a program is among those seen before: pure functions of counts that the buffer keeps.

Reading order: the keys of ProposalOutcome.known, then type_name, surprise, surprise_by_type, skeleton.

| key of `known` | what the buffer puts there | read by the term |
|---|---|---|
| answer_surprise | surprise of the output among outputs (deduction), of the input among inputs | answer_diversity |
| answer_surprise_by_type | the same with surprise_by_type | answer_diversity_by_type |
| input_surprise, output_surprise | induction: mean surprise of its inputs, its outputs | input_, output_diversity |
| input_surprise_by_type, output_surprise_by_type | the same with surprise_by_type | ..._by_type |
| same_skeleton | number of buffered tasks of any type whose program has the same skeleton() | novelty |

All counts are those of before the task itself was added (azr-spec 5.4).
"""

from __future__ import annotations

import ast
import hashlib
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
    """Type of a value's source text, as AZR's counters name it (azr-spec 1): what cannot be read is a "str".

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


def surprise(text: str, counts: TypeCounts) -> float:
    """1 - count(text) / total over all types, in [0, 1]; 1 when unseen (azr-spec 5.4, answer_diversity).

    >>> surprise("1", {"int": {"1": 3, "2": 1}, "str": {"'a'": 2}})
    0.5
    """
    total = sum(sum(of_type.values()) for of_type in counts.values())
    count = sum(of_type.get(text, 0) for of_type in counts.values())
    return 1 - count / total if count else 1.0


def surprise_by_type(text: str, counts: TypeCounts) -> float:
    """Mean of 1 - (share of its type) and 1 - (share of the text inside it), in [0, 1] (azr-spec 5.4, hierarchical).

    >>> round(surprise_by_type("11", {"int": {"1": 3, "2": 1}, "str": {"'a'": 2}}), 4)  # (1 - 4/6 + 1) / 2
    0.6667
    """
    of_type = counts.get(type_name(text), {})
    of_type_total = sum(of_type.values())
    total = sum(sum(texts.values()) for texts in counts.values())
    type_surprise = 1 - of_type_total / total if of_type_total else 1.0
    inside = 1 - of_type.get(text, 0) / of_type_total if of_type_total else 1.0
    return (type_surprise + inside) / 2


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
