"""A user's own function, as `file.py:function` or given to minizero.train: found, loaded once, its text kept.

Reading order: load_function, source_of; register, for functions that are there already; look_in. Used for reward terms
and for advantage estimators. A name whose file is gone is looked for among the texts that a run directory keeps.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from minizero.types import RewardError

_REGISTERED: dict[str, tuple[Callable[..., Any], str]] = {}  # name -> function, text
_KEPT: list[Path] = []  # run directories, newest first


def load_function(name: str, error: type[Exception] = RewardError) -> Callable[..., Any]:
    """The function that `file.py:function` names; the file is relative to the working directory and runs once.

    Raises `error` when the file is missing, fails to import, or has no such function.
    """
    if name in _REGISTERED:
        return _REGISTERED[name][0]
    path, function = _split(name, error)
    try:
        module = _load_module(str(path))
    except Exception as cause:
        raise error(f"{path} fails when loaded: {type(cause).__name__}: {cause}. Mend it and start again") from cause
    value = getattr(module, function, None)
    if not callable(value):
        others = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise error(f"{name}: {path} defines no function {function}. It defines: {', '.join(others) or 'none'}")
    return value  # type: ignore[no-any-return]


def source_of(name: str, error: type[Exception] = RewardError) -> tuple[str, str]:
    """(file name, text) of what is behind `file.py:function`."""
    if name in _REGISTERED:
        return name.partition(":")[0], _REGISTERED[name][1]
    path, _ = _split(name, error)
    return path.name, path.read_text(encoding="utf-8")


def register(function: Callable[..., Any]) -> str:
    """The name, `function.py:function`, under which this function is a reward term or an estimator from now on.

    Its source text, with the imports of its file, is what a run directory keeps, and what a resume from the command
    line loads: there it finds nothing else that the function uses. Raises RewardError for what has no name.
    """
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise RewardError(f"{function!r} has no name to keep it under. Write it as  def name(outcome): ...")
    term = f"{name}.py:{name}"
    _REGISTERED[term] = (function, _text_of(function))
    return term


def look_in(run: Path) -> None:
    """Look for files that are gone among those that this run directory keeps."""
    if run not in _KEPT:
        _KEPT.insert(0, run)


def _text_of(function: Callable[..., Any]) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return f"# The text of {function.__name__} was not to be had: it was typed in, or made by other code.\n"
    try:
        tree = ast.parse(inspect.getsource(inspect.getmodule(function) or function))
    except (OSError, TypeError, SyntaxError):
        return text  # a notebook's cell
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join([*imports, "\n", text]) if imports else text


def _split(name: str, error: type[Exception]) -> tuple[Path, str]:
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser().resolve()
    places = [path, *(run / path.name for run in _KEPT)]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        raise error(f"{name}: there is no file {path}. Paths are relative to the working directory")
    return there, function


@cache
def _load_module(path: str) -> Any:
    # The name is not put in sys.modules: two files called reward.py in two directories must not shadow each other.
    spec = importlib.util.spec_from_file_location(f"own_{Path(path).stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
