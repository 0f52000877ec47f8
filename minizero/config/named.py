"""The config of a model by its name: configs/<model>.toml under the given files and single settings.

Reading order: resolve, layers, find_config, origin.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from minizero.config.files import find_file, folders, shipped
from minizero.config.load import load_config
from minizero.config.schema import Config

MODEL = "tiny"  # without another name


def resolve(model: str, files: tuple[Path, ...], overrides: tuple[str, ...]) -> Config:
    """The config of a model: its own file in configs/ (if it has one), the given files, the overrides."""
    return load_config(*layers(model, files, overrides))


def layers(model: str, files: tuple[Path, ...], overrides: tuple[str, ...]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """What a model's config is stacked from: files, the model's own first, and overrides, its name first."""
    own = find_config(model)
    named = () if own and model == own.stem != MODEL else (f"model.name={model!r}",)
    return (*((own,) if own else ()), *files), (*named, *overrides)


def find_config(model: str) -> Path | None:
    """configs/<model>.toml of the working directory, else of the shipped ones; None when there is none."""
    paths = (folder / f"{Path(model).name}.toml" for folder in folders())
    return next((path for path in paths if path.is_file()), None)


def origin(model: str, files: tuple[Path, ...] = ()) -> str:
    """A sentence for the console and the manifest: which files a model's settings come from, or that it has none."""
    own = find_config(model)
    given = ", then ".join(str(find_file(path)) for path in files)
    if own:
        return f"Settings: {own}{', then ' + given if given else ''}."
    names = known_models()
    near = difflib.get_close_matches(Path(model).name, names, n=1, cutoff=0.6)
    hint = f"The nearest name with one is {near[0]}." if near else f"Models with one: {', '.join(names)}."
    return (
        f"Settings: {model} has no config of its own, so the general defaults hold"
        f"{' under ' + given if given else ''}. {hint}"
    )


def known_models() -> list[str]:
    """The names of the shipped configs."""
    return sorted(path.stem for path in shipped().glob("*.toml"))
