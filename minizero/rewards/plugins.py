"""A user's own function, as `file.py:function` or given to minizero.train: found, loaded once, its text kept.

Reading order: load_function, source_of; register, for functions that are there already; look_in. Used for reward terms
and for advantage estimators.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from minizero.rewards.kept_text import GIVEN, kept_text
from minizero.types import MiniZeroError, RewardError

_REGISTERED: dict[str, tuple[Callable[..., Any], str]] = {}  # name -> function, text
_KEPT: list[Path] = []  # the run directory that is looked into, if any


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


def register(function: Callable[..., Any], error: type[MiniZeroError] = RewardError) -> str:
    """The name, `function.py:function`, under which this function is a reward term or an estimator from now on.

    A run directory keeps its text with what it uses (kept_text.py); a resume from the command line loads that. Raises
    `error` for what is not written with def.
    """
    name = getattr(function, "__name__", "")
    if not isinstance(inspect.unwrap(function), FunctionType) or not name.isidentifier():
        raise error(
            f"{function!r} has no name and text that a run could keep: expected a function written with def. "
            "Write  def name(...):  around it"
        )
    term = f"{name}.py:{name}"
    _REGISTERED[term] = (function, kept_text(function))
    return term


def look_in(run: Path | None) -> None:
    """Take functions from this run directory (None: from none, and read files anew).

    From now on a function that was given from Python is the one kept there, unless the one registered has the same
    text, and so is one whose file is gone. Other files are read where they are.
    """
    _KEPT[:] = [run] if run else []
    _load_module.cache_clear()
    for name, (_, text) in list(_REGISTERED.items()):
        kept = run / name.partition(":")[0] if run else None
        if kept and kept.is_file() and kept.read_text(encoding="utf-8") != text:
            del _REGISTERED[name]


def _split(name: str, error: type[Exception]) -> tuple[Path, str]:
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser().resolve()
    kept = [run / path.name for run in _KEPT if (run / path.name).is_file()]
    given = [one for one in kept if file == one.name and one.read_text(encoding="utf-8").startswith(GIVEN)]
    there = next((place for place in (*given, path, *kept) if place.is_file()), None)
    if there is None:
        raise error(f"{name}: there is no file {path}. Paths are relative to the working directory")
    return there, function


@cache
def _load_module(path: str) -> Any:
    # The name is not put in sys.modules: two files called reward.py in two directories must not shadow each other. The
    # text is compiled here, because the import system's kept bytecode tells an edit only by the second and the size.
    module = ModuleType(f"own_{Path(path).stem}")
    module.__file__ = path
    text = Path(path).read_bytes()
    exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)
    return module
