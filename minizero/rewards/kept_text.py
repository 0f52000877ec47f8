"""The text of a function with what it uses of its surroundings, so that a run directory can keep it and load it later.

Reading order: kept_text, then _Keeper, which follows the names that a text uses.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import re
import symtable
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

GIVEN = "# Given from Python, and kept with what it uses: values are those at the start of the run."
LATER = "from __future__ import annotations"
LONGEST = 10_000  # characters of a value that is worth writing down


def kept_text(function: Callable[..., Any]) -> str:
    """The text of a module that defines the function, and before it the imports, values, functions and classes it uses.

    Where something cannot be written down (a model, an open file, code typed into a console), the module raises when it
    is loaded, with what to do.
    """
    inner = inspect.unwrap(function)
    assert isinstance(inner, FunctionType), function
    name, keeper = inner.__name__, _Keeper(inner)
    keeper.keep(name, inner)
    lines = [GIVEN, LATER] if keeper.annotates_later else [GIVEN]
    if keeper.lost:
        is_whole = name not in keeper.lost
        why = f"it uses {', '.join(keeper.lost.values())}" if is_whole else "its own text is not to be had"
        words = f"{name} was given from Python and cannot be loaded from text: {why}. "
        words += f"Continue from Python with  minizero.resume(run, functions=[{name}])"
        lines.append(f"raise RuntimeError({words!r})")
    return "\n".join([*lines, *keeper.imports, *keeper.texts]) + "\n"


class _Keeper:
    """Collects definitions, each after those that it uses."""

    def __init__(self, function: FunctionType) -> None:
        self.imports: list[str] = []
        self.texts: list[str] = []
        self.lost: dict[str, str] = {}  # name -> what it is, where that cannot be written down
        self.annotates_later = bool(function.__code__.co_flags & __future__.annotations.compiler_flag)
        self._module = function.__module__
        self._known: dict[str, Any] = {}

    def keep(self, name: str, value: Any) -> None:
        if name in self._known:
            if self._known[name] is not value:
                self.lost[name] = f"two things called {name}"
            return
        self._known[name] = value
        text = self._definition(name, value)
        if text is None:
            self.lost[name] = f"{name} ({type(value).__name__})"
        else:
            (self.imports if text.startswith(("import ", "from ")) else self.texts).append(text)

    def _definition(self, name: str, value: Any) -> str | None:
        """Statements that give the name its value; None when there are none."""
        if isinstance(value, ModuleType):
            return f"import {value.__name__} as {name}".removesuffix(f" as {value.__name__}")
        if _is_plain(value):
            return f"{name} = {value!r}"
        if isinstance(value, re.Pattern):
            return f"{name} = __import__('re').compile({value.pattern!r}, {value.flags})"
        inner = inspect.unwrap(value) if callable(value) else value
        home, own = getattr(inner, "__module__", None), getattr(inner, "__qualname__", "")
        if isinstance(inner, FunctionType | type) and home == self._module:
            return self._source(name, inner)
        if isinstance(home, str) and home != "__main__" and own.isidentifier():
            return f"from {home} import {own} as {name}".removesuffix(f" as {own}")
        return None

    def _source(self, name: str, value: Any) -> str | None:
        """The text of a function or class; what it uses is kept before it."""
        try:
            text = textwrap.dedent(inspect.getsource(value))
            module = symtable.symtable(f"{LATER}\n{text}" if self.annotates_later else text, name, "exec")
        except (OSError, TypeError, SyntaxError):
            return None
        own = value.__code__.co_name if isinstance(value, FunctionType) else value.__name__
        if own.isidentifier() and own not in (table.get_name() for table in module.get_children()):
            return None  # the text of other code without a file: both are called <string>
        around = _surroundings(value)
        for other in dict.fromkeys(_used(module)):
            if other != value.__name__ and other in around:
                self.keep(other, around[other])
        return f"\n\n{text.rstrip()}" + ("" if name == value.__name__ else f"\n\n\n{name} = {value.__name__}")


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a text takes from outside: globals of its functions, and what decorators and defaults refer to."""
    for symbol in table.get_symbols():
        is_outside = not symbol.is_assigned() if table.get_type() == "module" else symbol.is_global()
        if is_outside and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _used(child)


def _surroundings(value: Any) -> dict[str, Any]:
    """What names mean where a function or class was defined: its module's globals, and over them its closure."""
    methods = [value] if isinstance(value, FunctionType) else vars(value).values()
    names: dict[str, Any] = {}
    for function in methods:
        if isinstance(function, FunctionType):
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            names = function.__globals__ | names | {name: _content(cell) for name, cell in cells}
    return names


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return cell


def _is_plain(value: Any) -> bool:
    """Whether its text is its value: numbers, strings, None, and lists, tuples, sets and dicts of such."""
    text = repr(value)
    try:
        again = ast.literal_eval(text) if len(text) <= LONGEST else Ellipsis
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(again) is type(value) and bool(again == value)
