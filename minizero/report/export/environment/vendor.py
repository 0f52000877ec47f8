"""Python files as a package of their own that needs no minizero: what a module imports of ours, copied.

Reading order: closure (which modules), relative (how an import is rewritten), copy_modules.
An exported environment is installed beside trainers that pin another torch than minizero does, so it cannot depend on
minizero; its verifier needs a few of its files, which import the standard library and pydantic alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import sandbox

ROOTS = {"minizero": Path(__file__).parents[3], "sandbox": Path(sandbox.__file__).parent}


def closure(modules: Sequence[str]) -> dict[str, Path]:
    """Every module of ours that these import, late imports too, themselves among them: name -> file. The whole sandbox
    comes along where any of it is asked for: its processes load modules by name."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = file_of(name)
        for node in _imports(ast.parse(found[name].read_text(encoding="utf-8"))):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules_inside = [name for name in inner if file_of(name).is_file()]
            waiting += modules_inside
            if len(modules_inside) < len(inner) and node.module:
                waiting.append(node.module)
    if any(name.partition(".")[0] == "sandbox" for name in found):
        for file in sorted(ROOTS["sandbox"].glob("*.py")):
            found["sandbox" if file.stem == "__init__" else f"sandbox.{file.stem}"] = file
    return found


def file_of(name: str) -> Path:
    """The file of a module of ours, whether or not there is one."""
    top, *rest = name.split(".")
    path = ROOTS[top].joinpath(*rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def relative(text: str, module: str, places: Mapping[str, str]) -> str:
    """The file's text with each import of ours as a relative one.

    module: what the file is called in the package, with its own `__init__` if it is one ("a.b.__init__"). places:
    modules that get another name than their own; "" is the package's `__init__`.

    >>> relative("from minizero.types import Task\\n", "minizero.tasks.parsing", {})
    'from ..types import Task\\n'
    """
    lines = text.splitlines(keepends=True)
    here = module.split(".")[:-1]
    for node in _imports(ast.parse(text), checking_too=True):
        whole = f"{node.module}.{node.names[0].name}"  # a module that has another place is imported alone
        to = places[whole].split(".")[:-1] if whole in places else (node.module or "").split(".")
        shared = 0
        while shared < min(len(here), len(to)) and here[shared] == to[shared]:
            shared += 1
        name = "." * (len(here) - shared + 1) + ".".join(to[shared:])
        line = lines[node.lineno - 1]
        start = node.col_offset
        lines[node.lineno - 1] = line[:start] + re.sub(r"from\s+[\w.]+", f"from {name}", line[start:], count=1)
    return "".join(lines)


def copy_modules(modules: Mapping[str, Path], package: Path, places: Mapping[str, str]) -> None:
    """Write the modules below `package`; folders of which no module asks for the `__init__` get an empty one."""
    for name, file in modules.items():
        placed = places.get(name, name)
        parts = placed.split(".") if placed else []
        is_folder = file.name == "__init__.py" or not parts
        target = package.joinpath(*parts, "__init__.py") if is_folder else package.joinpath(*parts).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        called = ".".join([*parts, "__init__"] if is_folder else parts)
        target.write_text(relative(file.read_text(encoding="utf-8"), called, places), encoding="utf-8")
    for folder in sorted({parent for file in package.rglob("*.py") for parent in file.parents}):
        if folder.is_relative_to(package) and not (folder / "__init__.py").exists():
            (folder / "__init__.py").write_text('"""Of minizero: see the README."""\n', encoding="utf-8")


def _imports(tree: ast.AST, *, checking_too: bool = False) -> Iterator[ast.ImportFrom]:
    """The imports of ours; without `checking_too` not those for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not checking_too:
            continue
        if isinstance(node, ast.Import):
            own = [alias.name for alias in node.names if alias.name.partition(".")[0] in ROOTS]
            assert not own, f"`import {own[0]}` cannot be made relative: write it as a from-import"
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in ROOTS:
            yield node
        yield from _imports(node, checking_too=checking_too)
