"""Settings from Python: single ones as a mapping or as the command line takes them, over files, over a model's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from minizero.config import Config
from minizero.config.named import MODEL, resolve
from minizero.types import ConfigError

StrPath = str | os.PathLike[str]
Settings = Mapping[str, Any] | Iterable[str]  # {"optim.lr": 2e-5}, or ["optim.lr=2e-5"] as for --set


def load_config(model: str = MODEL, settings: Settings = (), *, files: Iterable[StrPath] = ()) -> Config:
    """The settings of a run: the model's own of configs/, over them the files, over them single settings.

    Raises ConfigError with every problem at once.

    >>> load_config("tiny", {"selfplay.steps": 3}).selfplay.steps
    3
    """
    return resolve(model, tuple(map(Path, files)), tuple(overrides(settings)))


def overrides(settings: Settings, above: str = "") -> Iterator[str]:
    """{"optim.lr": 2e-5} as the texts that --set takes: optim.lr=2e-05. Tables may be nested."""
    if not isinstance(settings, Mapping):
        yield from (settings,) if isinstance(settings, str) else settings
        return
    for name, value in settings.items():
        full = f'{above}"{name}"' if above and "." in name else f"{above}{name}"
        if isinstance(value, Mapping):
            yield from overrides(value, f"{full}.")
            continue
        try:
            text = tomli_w.dumps({"value": os.fspath(value) if isinstance(value, os.PathLike) else value})
        except TypeError:
            kind = type(value).__name__
            raise ConfigError(
                f"{full} = {value!r} ({kind}): expected a number, a text, true, false or a list."
            ) from None
        yield f"{full}={text.partition('=')[2].strip()}"
