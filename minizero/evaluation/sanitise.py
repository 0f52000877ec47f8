"""What of an answer is run: the program in it, without the calls and assertions that models like to add.

EvalPlus's rules (its tree-sitter sanitiser, 0.3.1), on Python's own syntax tree: scores are comparable, and nothing has
to be installed. Reading order: sanitise, longest_program, then _Definition.
  1. Of the lines, the longest stretch that is a program (an answer cut by its limit has no more than that).
  2. Of that program, all imports, and the functions, classes and assignments that the entry needs, by their names.
     A function without `return`, a decorated one, and the second definition of a name are left out.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minizero.tasks.programs import MAX_CHARS, Source, parse, parse_or_error

READ_MOST = 100  # characters of failed attempts to parse, as a multiple of the answer's length
_READ_ALL = re.compile("never closed|unterminated|EOF")  # what the parser says when it got to the end of the text


def sanitise(program: str, entry: str) -> str:
    """The part of a program that defines `entry`. Without an entry (a program that reads standard input) all of it.

    >>> sanitise("import math\\ndef f(x):\\n    return x\\nassert f(1) == 2", "f")
    'import math\\ndef f(x):\\n    return x'
    """
    if not entry or len(program) > MAX_CHARS:
        return program
    program = program.replace("\r\n", "\n").replace("\r", "\n")
    longest = longest_program(program)
    tree = parse(longest)
    if tree is None:
        return longest
    definitions = list(_definitions(tree))
    reached = _reached(entry, definitions)
    kept = [node for node in tree.body if _is_import(node)]
    kept += [definition.node for definition in definitions if definition.name in reached]
    return "\n".join(map(Source(longest), kept)).strip() or longest


def longest_program(text: str) -> str:
    """The stretch of two lines or more, blank ones among them, that Python accepts and that has the most lines that are
    not blank; of equal ones the first. The first line when there is none.

    >>> longest_program("Sure:\\nx = 1\\ny = 2\\nz = [")
    'x = 1\\ny = 2'
    """
    # The parser says where it gave up. Whatever begins at the same line and holds that place fails too, so that few
    # of the n^2 stretches are tried. Hostile text (brackets that never close) can have most of them read to their end
    # all the same, so what is read is counted: honest answers are read a few times over.
    lines = text.split("\n")
    room = READ_MOST * len(text)
    full = [place for place, line in enumerate(lines) if line.strip()]
    best, most = lines[0], 0
    for first, start in enumerate(full):
        last = len(full) - 1
        has_blank_beside = any(not line.strip() for line in lines[max(0, start - 1) : start + 2])
        while last - first + 1 > most and (last > first or has_blank_beside):
            end = full[last]
            stretch = "\n".join(lines[start : end + 1])
            tree = parse_or_error(stretch)
            if not isinstance(tree, SyntaxError):
                best, most = stretch, last - first + 1
                break
            gave_up = start + (tree.lineno or end + 1) - 1
            read = len(stretch) if _READ_ALL.search(tree.msg) else sum(map(len, lines[start : gave_up + 1]))
            room -= max(read, len(stretch) // 20)  # to be tried at all has its price too
            if room < 0:
                return best
            last = min(bisect_right(full, gave_up), last) - 1
    return best


class _Definition(NamedTuple):
    name: str
    node: ast.stmt
    uses: frozenset[str]


def _definitions(tree: ast.Module) -> Iterator[_Definition]:
    seen: set[str] = set()
    for node in tree.body:
        name = _defined(node)
        if name and name not in seen:
            seen.add(name)
            yield _Definition(name, node, frozenset(_names(node)))


def _defined(node: ast.stmt) -> str:
    """The name that a statement defines for EvalPlus; "" for one that it leaves out."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            returns = any(isinstance(inner, ast.Return) for inner in ast.walk(node))
            return node.name if returns and not node.decorator_list else ""
        case ast.ClassDef():
            return "" if node.decorator_list else node.name
        case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.Assign(value=ast.Name(id=name)):
            return name  # a, b = c: the first plain name of the statement counts
    return ""


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")


def _names(node: ast.AST) -> Iterator[str]:
    """Every identifier in a statement, attributes and keywords among them."""
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.ClassDef(name=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=str(name)) | ast.keyword(arg=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                yield from names
            case ast.alias(name=name, asname=asname):
                yield from name.split(".")
                yield asname or name


def _reached(entry: str, definitions: Sequence[_Definition]) -> set[str]:
    uses = {definition.name: definition.uses for definition in definitions}
    reached, waiting = {entry}, [entry]
    while waiting:
        new = uses.get(waiting.pop(), frozenset()) - reached
        reached |= new
        waiting += new
    return reached
