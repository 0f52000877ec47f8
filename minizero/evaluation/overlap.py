"""Do self-made tasks repeat benchmark problems? Equal programs up to names, and runs of equal tokens.

Reading order: Hit, find_overlap, benchmark_programs; then the two measures, normal_form and grams. Programs are parsed
and never run.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minizero.evaluation.suites import suite
from minizero.tasks.programs import syntax_tree

GRAM = 13  # tokens, the customary length of contamination studies (arXiv 2005.14165, appendix C)


@dataclass(frozen=True, slots=True)
class Hit:
    """A benchmark problem and the first self-made program that overlaps with it. how: "program" or "tokens"."""

    problem: str
    how: str
    program: str


def find_overlap(programs: Iterable[str], benchmark: Mapping[str, str]) -> list[Hit]:
    """One hit for each benchmark problem (id -> program) that a self-made program repeats; equal programs first."""
    forms: dict[str, str] = {}
    runs: dict[tuple[str, ...], str] = {}
    for program in programs:
        form = normal_form(program)
        if form:
            forms.setdefault(form, program)
        for gram in grams(program):
            runs.setdefault(gram, program)
    hits = []
    for name, text in benchmark.items():
        form = normal_form(text)
        if form and form in forms:
            hits.append(Hit(name, "program", forms[form]))
            continue
        repeated = next((runs[gram] for gram in grams(text) if gram in runs), None)
        if repeated is not None:
            hits.append(Hit(name, "tokens", repeated))
    return hits


def benchmark_programs(suites: Iterable[str], data: Path | None) -> dict[str, str]:
    """Problem id -> its program, or the reference solution where the problem is to write one."""
    problems = (problem for name in suites for problem in suite(name).load(data))
    return {problem.id: problem.data.get("program", problem.solution) for problem in problems}


def normal_form(program: str) -> str:
    """The syntax tree with functions' and variables' names numbered in order of appearance, without docstrings and
    annotations; "" for what is no program."""
    try:
        tree = syntax_tree(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    names: dict[str, str] = {}
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}

    def numbered(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}") if name in own else name

    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = numbered(node.id)
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = numbered(node.arg), None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = numbered(node.name)
            if not isinstance(node, ast.ClassDef):
                node.returns = None
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    try:
        return ast.dump(tree) if tree.body else ""
    except RecursionError:
        return ""


def grams(program: str, length: int = GRAM) -> set[tuple[str, ...]]:
    """Runs of `length` tokens, without comments, strings and layout."""
    words = _tokens(program)
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def _tokens(program: str) -> Sequence[str]:
    words = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(program).readline):
            if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
                words.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass  # the tokens before the fault still count
    return words
