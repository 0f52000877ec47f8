"""Where configuration files lie: in the working directory, or shipped with minizero.

Reading order: shipped, folders, find_file.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from minizero.types import ConfigError

PACKAGE = Path(__file__).parents[1]
FOLDER = "configs"


def shipped() -> Path:
    """The configs that come with minizero: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / FOLDER
    return inside if inside.is_dir() else PACKAGE.parent / FOLDER


def folders() -> tuple[Path, ...]:
    """Where configs are looked for, first match first: configs/ of the working directory, then the shipped ones."""
    own = Path.cwd() / FOLDER
    return (own, shipped()) if own.resolve() != shipped().resolve() else (own,)


def find_file(path: Path) -> Path:
    """The file or folder at `path`; where there is none, the shipped one that `path` would be in a checkout.

    So `configs/ablations/azr.toml` is found from every directory. Raises ConfigError that names the nearest shipped
    files.
    """
    if path.exists():
        return path
    parts = path.parts[1:] if path.parts[:1] == (FOLDER,) else path.parts
    inside = shipped().joinpath(*parts)
    if not path.is_absolute() and ".." not in parts and inside.exists():
        return inside
    names = [f"{FOLDER}/{file.relative_to(shipped()).as_posix()}" for file in shipped().rglob("*.toml")]
    stems = difflib.get_close_matches(path.stem, {Path(name).stem for name in names}, n=2, cutoff=0.7)
    near = sorted(name for name in names if Path(name).stem in stems)[:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Shipped ones are in {shipped()}."
    raise ConfigError(f"{path}: no such configuration file. {hint}")
