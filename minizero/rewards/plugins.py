"""A user's own function, `file.py:function`: found, loaded once, and its text kept for the run directory.

Reading order: load_function, source_of. Used for reward terms here and for advantage estimators above.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from minizero.types import RewardError


def load_function(name: str, error: type[Exception] = RewardError) -> Callable[..., Any]:
    """The function that `file.py:function` names; the file is relative to the working directory and runs once.

    Raises `error` when the file is missing, fails to import, or has no such function.
    """
    path, function = _split(name, error)
    try:
        module = _load_module(str(path))
    except Exception as cause:
        raise error(f"{path} fails when loaded: {type(cause).__name__}: {cause}. Mend it and start again") from cause
    loaded = getattr(module, function, None)
    if not callable(loaded):
        others = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise error(f"{name}: {path} defines no function {function}. It defines: {', '.join(others) or 'none'}")
    return loaded  # type: ignore[no-any-return]


def source_of(name: str, error: type[Exception] = RewardError) -> tuple[str, str]:
    """(file name, text) of the file behind `file.py:function`."""
    path, _ = _split(name, error)
    return path.name, path.read_text(encoding="utf-8")


def _split(name: str, error: type[Exception]) -> tuple[Path, str]:
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise error(f"{name}: there is no file {path}. Paths are relative to the working directory")
    return path, function


@cache
def _load_module(path: str) -> Any:
    # The name is not put in sys.modules: two files called reward.py in two directories must not shadow each other.
    spec = importlib.util.spec_from_file_location(f"own_{Path(path).stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
