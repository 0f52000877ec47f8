"""Which test files need no torch: those whose imports lead to no package beyond LIGHT, found by reading them.

`pytest --light` collects only these, so that they run in a small environment on interpreters without torch
(`make test-light`). A test file counts with all its imports, also those inside functions and those of the fixtures that
it asks for; a file of minizero or sandbox counts with the imports that run when it is loaded.

Reading order: light_files, leads_to, then how imports and the files behind them are read.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
LIGHT = {
    "pydantic",
    "pydantic_core",
    "numpy",
    "jinja2",
    "markupsafe",
    "tomli_w",
    "complexipy",
    "radon",
    "pytest",
    "hypothesis",
    "packaging",
}


@cache
def light_files() -> frozenset[Path]:
    """The test files of the light lane."""
    return frozenset(path for path in TESTS.rglob("test_*.py") if not leads_to(path))


def leads_to(test: Path) -> set[str]:
    """The packages beyond LIGHT and the standard library that a test file needs."""
    found: set[str] = set()
    seen: set[Path] = set()
    waiting = [(name, test.parent) for name in (*_imports(_tree(test), late=True), *_of_fixtures(test))]
    waiting += [(name, path.parent) for path in _conftests(test) for name in _imports_when_loaded(path)]
    while waiting:
        name, beside = waiting.pop()
        own = _files(name, beside)
        if not own:
            found.add(name.partition(".")[0])
        for file in own:
            if file not in seen:
                seen.add(file)
                waiting += [(other, file.parent) for other in _imports_when_loaded(file)]
    return found - LIGHT - set(sys.stdlib_module_names)


def _conftests(test: Path) -> list[Path]:
    folders = [folder for folder in test.parents if folder.is_relative_to(TESTS)]
    return [path for folder in folders if (path := folder / "conftest.py").is_file()]


def _of_fixtures(test: Path) -> Iterator[str]:
    """What the bodies of those conftest fixtures import whose names are parameters in the file."""
    asked = {
        argument.arg for node in ast.walk(_tree(test)) if isinstance(node, ast.arguments) for argument in node.args
    }
    for conftest in _conftests(test):
        for node in _tree(conftest).body:
            if isinstance(node, ast.FunctionDef) and node.name in asked:
                yield from _imports(node, late=True)


def _imports(tree: ast.AST, *, late: bool) -> Iterator[str]:
    """Dotted names that are imported: everywhere, or (not late) outside functions and `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif late or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types_only(node)):
            yield from _imports(node, late=late)


@cache
def _imports_when_loaded(path: Path) -> frozenset[str]:
    return frozenset(_imports(_tree(path), late=False))


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def _files(name: str, beside: Path) -> list[Path]:
    """The files of this repository that importing `name` loads: its module and the packages around it; [] for none."""
    parts = name.split(".")
    found = []
    for n in range(1, len(parts) + 1):
        for place in (ROOT.joinpath(*parts[:n]), *([beside / parts[0]] if n == 1 else [])):
            found += [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
