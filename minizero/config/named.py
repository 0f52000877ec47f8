"""The config of a model by its name: configs/<model>.toml under the given files and single settings.

Reading order: resolve, layers, find_config.
"""

from __future__ import annotations

from pathlib import Path

from minizero.config.load import load_config
from minizero.config.schema import Config

MODEL = "tiny"  # without another name


def resolve(model: str, files: tuple[Path, ...], overrides: tuple[str, ...]) -> Config:
    """The config of a model: its own file in configs/ (if it has one), the given files, the overrides."""
    return load_config(*layers(model, files, overrides))


def layers(model: str, files: tuple[Path, ...], overrides: tuple[str, ...]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """What a model's config is stacked from: files, the model's own first, and overrides, its name first."""
    own = find_config(model)
    named = () if own and model != MODEL else (f"model.name={model!r}",)
    return (*((own,) if own else ()), *files), (*named, *overrides)


def find_config(model: str) -> Path | None:
    """configs/<model>.toml under the working directory or beside the package; None when there is none."""
    for root in (Path.cwd(), Path(__file__).parents[2]):
        path = root / "configs" / f"{Path(model).name}.toml"
        if path.is_file():
            return path
    return None
