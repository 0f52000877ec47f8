"""The policy list: what a proposal may not import, name or reach. Not a border (the sandbox is) but a rule of the game.

A task made of randomness, clocks, files or the interpreter's insides is no reasoning task, and most of them would be
rejected anyway, after a costly run and with a reason that teaches nothing. AZR looks at imports only, and its dotted
entries never match (docs/algorithm.md 3.5); here names and attributes count too.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Collection, Iterator

from minizero.tasks.programs import parsing


def find_forbidden(
    program: str,
    tree: ast.Module,
    *,
    modules: Collection[str],
    names: Collection[str],
    attributes: Collection[str],
) -> str | None:
    """The first forbidden thing that the program uses, in words, or None.

    A module matches any dotted part of an import (`from numpy import random`, as in AZR) and an attribute of an
    imported module (`numpy.random`). A name matches where it means the builtin: a parameter may be called `input`.
    """
    imported: set[str] = set()
    for node in ast.walk(tree):
        for word, bound in _imports(node):
            imported.add(bound)
            if word in modules:
                return f"import of {word}"
    for node in ast.walk(tree):
        named = _named_by_a_pattern(node)
        if named & set(attributes):
            return f"attribute {min(named & set(attributes))}"
        if isinstance(node, ast.Attribute):
            if node.attr in attributes:
                return f"attribute {node.attr}"
            if node.attr in modules and isinstance(node.value, ast.Name) and node.value.id in imported:
                return f"{node.value.id}.{node.attr}"
    if any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(tree)):
        for name in _builtin_names(program):
            if name in names:
                return f"name {name}"
    return None


def _named_by_a_pattern(node: ast.AST) -> set[str]:
    """The attributes that `case C(name=x)` reads; of a class with a __match_args__ of its own nobody can tell."""
    if isinstance(node, ast.MatchClass):
        return set(node.kwd_attrs)
    return {node.id} if isinstance(node, ast.Name) and node.id == "__match_args__" else set()


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Each word of an import statement, with the name that it binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            for word in [*module.split("."), *alias.name.split(".")]:
                yield word, bound


def _builtin_names(program: str) -> Iterator[str]:
    """Names that mean a builtin somewhere. A rebinding at module level does not change that: it would hide the use."""
    try:
        with parsing():
            tables = [symtable.symtable(program, "<proposal>", "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the program does not compile, which the sandbox will say
    while tables:
        table = tables.pop()
        tables += table.get_children()
        is_module = table.get_type() == "module"
        for symbol in table.get_symbols():
            if is_module or symbol.is_global():
                yield symbol.get_name()
