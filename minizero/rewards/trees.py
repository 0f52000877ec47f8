"""How alike two programs are, by their syntax trees: in a time that is bounded.

Reading order: similarity; then a tree as JSON (what the official code compares) and as a list of nodes; text_ratio.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any

from minizero.tasks.programs import syntax_tree

MOST_DEPTH = 60  # of trees that are written as JSON, whose indentation grows with each level
MOST_NODES = 400  # the nodes of a tree that are compared; of a larger one the first
MOST_STEPS = 6_000  # of comparing characters: a few milliseconds
LONGEST = 60  # characters of a constant that are compared


def similarity(one: str, other: str) -> float:
    """difflib's ratio of two syntax trees, in [0, 1]; 1 for equal programs.

    Compared are the characters of their sorted JSON (docs/algorithm.md 5.4: the official code's metric) where that
    takes a few milliseconds, as it does for a few lines of code: it may take minutes. Else their nodes are. Raises
    SyntaxError, ValueError or RecursionError for what is no program.
    """
    trees = syntax_tree(one), syntax_tree(other)
    if all(map(_is_small, trees)):
        texts = [json.dumps(_tree(tree), indent=2, sort_keys=True, default=repr) for tree in trees]
        ratio = text_ratio(texts[0], texts[1])
        if ratio is not None:
            return ratio
    return difflib.SequenceMatcher(None, _nodes(trees[0]), _nodes(trees[1])).ratio()


def _is_small(tree: ast.AST) -> bool:
    nodes, waiting = 0, [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if nodes > MOST_NODES or depth > MOST_DEPTH:
            return False
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return True


def _tree(node: ast.AST) -> dict[str, Any]:
    """Without contexts, absent children and items of lists that are no nodes.

    Without empty type parameters too, which Python 3.12 added: the same program has the same text on every version.
    """
    tree: dict[str, Any] = {"node_type": type(node).__name__}
    for name, value in ast.iter_fields(node):
        if name == "type_params" and not value:
            continue
        if isinstance(value, list):
            tree[name] = [_tree(item) for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST) and name != "ctx":
            tree[name] = _tree(value)
        elif value is not None and name != "ctx":
            tree[name] = value
    return tree


def _nodes(tree: ast.AST) -> list[str]:
    """Type, names and constants of each node, in the order of the text."""
    nodes: list[str] = []
    waiting = [tree]
    while waiting and len(nodes) < MOST_NODES:
        node = waiting.pop()
        nodes.append(" ".join([type(node).__name__, *map(_short, _scalars(node))]))
        waiting += reversed([child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context)])
    return nodes


def _scalars(node: ast.AST) -> list[object]:
    values = [value for _, value in ast.iter_fields(node)]
    return [value for value in values if value is not None and not isinstance(value, ast.AST | list)]


def _short(value: object) -> str:
    # repr refuses an integer of more than 4,300 digits, and takes long for one of nearly as many.
    return hex(value)[:LONGEST] if isinstance(value, int) else repr(value)[:LONGEST]


def text_ratio(a: str, b: str) -> float | None:
    """difflib.SequenceMatcher(None, a, b).ratio(), by looking at rare characters only; None beyond MOST_STEPS.

    difflib takes no character that makes up more than 1 % of b (of 200 or more) for the start of a match, so in JSON
    nearly all of a is passed over: 2 matched / (len(a) + len(b)).
    """
    most = len(b) // 100 + 1 if len(b) >= 200 else len(b)
    in_a, in_b = Counter(a), Counter(b)
    rare = "".join(char for char, count in in_b.items() if count <= most)
    if not rare or sum(in_a[char] * in_b[char] for char in rare) > MOST_STEPS:
        return None
    rare_char = re.compile(f"[{re.escape(rare)}]")
    places_in_b: dict[str, list[int]] = defaultdict(list)
    for match in rare_char.finditer(b):
        places_in_b[match[0]].append(match.start())
    seeds = [(match.start(), places_in_b[match[0]]) for match in rare_char.finditer(a)]
    places_in_a = [place for place, _ in seeds]
    matched, steps = 0, len(b) // 10
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        a_low, a_high, b_low, b_high = waiting.pop()
        start_a, start_b, size = a_low, b_low, 0
        runs: dict[int, int] = {}  # by the last place in b: how many rare characters in a row match up to the last seed
        last = -2
        for place, others in seeds[bisect_left(places_in_a, a_low) : bisect_left(places_in_a, a_high)]:
            before, runs = runs if place == last + 1 else {}, {}
            last = place
            inside = others[bisect_left(others, b_low) : bisect_left(others, b_high)]
            steps += 1 + len(inside)
            if steps > MOST_STEPS:
                return None
            for other in inside:
                runs[other] = length = before.get(other - 1, 0) + 1
                if length > size:
                    start_a, start_b, size = place - length + 1, other - length + 1, length
        more = _shared(a[a_low:start_a][::-1], b[b_low:start_b][::-1])
        start_a, start_b, size = start_a - more, start_b - more, size + more
        size += _shared(a[start_a + size : a_high], b[start_b + size : b_high])
        if not size:
            continue
        matched += size
        if a_low < start_a and b_low < start_b:
            waiting.append((a_low, start_a, b_low, start_b))
        if start_a + size < a_high and start_b + size < b_high:
            waiting.append((start_a + size, a_high, start_b + size, b_high))
    return 2 * matched / (len(a) + len(b)) if a or b else 1.0


def _shared(a: str, b: str) -> int:
    """The length of the longest beginning that both have."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
