"""What is compared: a set of variants, each a few settings over one base, with the default and the controls.

Reading order: Variant and AblationSet, read_set (a directory of overlays, or a TOML file that names variants), then
how the settings of one run are made.

A directory: every *.toml in it is a variant, named as the file; `_base.toml` holds what all of them share.
A file:
    base = {selfplay = {solve_samples = 4}}       # optional: shared by all, the default included
    [variants.gentle]                             # a variant: settings, `about` (a sentence), `files` (overlays)
    about = "Half the learning rate."
    optim.lr = 5e-5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from minizero.config import Config, load_config, read_toml
from minizero.config.files import find_file, folders
from minizero.types import ConfigError, StyleError

Kind = Literal["default", "variant", "control"]
Tree = dict[str, Any]
BASE_FILE = "_base.toml"
SHUFFLED, FROZEN, DEFAULT = "shuffled", "frozen", "default"
CONTROLS: dict[str, tuple[str, Tree]] = {
    SHUFFLED: ("Control: rewards shuffled, so that nothing can be learned.", {"selfplay": {"shuffle_rewards": True}}),
    FROZEN: ("Control: everything is computed and nothing moves.", {"optim": {"freeze": True}}),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table: a name, its sentence, and the overlays (in order) that make it."""

    name: str
    kind: Kind
    about: str
    overlays: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class AblationSet:
    """The variants of a comparison over one base; `model`, `files`, `base` and `overrides` are shared by all."""

    name: str
    model: str
    files: tuple[Path, ...]
    base: Mapping[str, Any]
    variants: tuple[Variant, ...]
    overrides: tuple[str, ...] = ()
    command: str = ""
    left_out: tuple[str, ...] = ()  # a sentence for each variant that this model's prompt style cannot play

    def config(self, variant: Variant, seed: int = 0) -> Config:
        """The settings of one run: files, the set's base, the variant's overlays, --set; then one seed.

        Raises ConfigError that names the variant.
        """
        try:
            return load_config([*self.files, self.base, *variant.overlays], [*self.overrides, f"run.rng_seed={seed}"])
        except ConfigError as error:
            raise type(error)(*(f"variant {variant.name}: {problem}" for problem in error.problems)) from None


def read_set(
    path: Path,
    *,
    model: str = "tiny",
    files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    command: str = "",
) -> AblationSet:
    """A set from a directory or file; `path` may also be the name of a folder of configs/ablations.

    Default and controls are added. `only` keeps those variants (default and controls stay). Every variant is checked
    before anything runs. Of a directory, what this model's prompt style cannot play is left out, unless `only` names
    it. Raises ConfigError with all problems.
    """
    source = _find(path)
    base, variants = _from_directory(source) if source.is_dir() else _from_file(source)
    reserved = sorted({v.name for v in variants} & {DEFAULT, *CONTROLS})
    if reserved:
        raise ConfigError(f"{source}: {', '.join(reserved)}: every set has this row already. Give it another name.")
    unknown = sorted(set(only) - {v.name for v in variants})
    if unknown:
        names = ", ".join(v.name for v in variants)
        raise ConfigError(f"--only {', '.join(unknown)}: not in {source}. It has: {names}.")
    rows = [Variant(DEFAULT, "default", "The base with nothing changed.")]
    rows += [v for v in variants if not only or v.name in only]
    rows += [Variant(name, "control", about, (tree,)) for name, (about, tree) in CONTROLS.items()]
    asked = AblationSet(source.stem, model, tuple(files), base, tuple(rows), tuple(overrides), command)
    if source.is_dir() and not only:
        asked = _playable(asked)
    _check(asked)
    return asked


def _playable(asked: AblationSet) -> AblationSet:
    """The set without the variants that the model never learned the words for."""
    rows, left_out = [], []
    for variant in asked.variants:
        try:
            asked.config(variant)
        except StyleError as error:
            left_out += [f"left out: {problem}" for problem in error.problems]
            continue
        except ConfigError:
            pass  # named with the others
        rows.append(variant)
    return replace(asked, variants=tuple(rows), left_out=tuple(left_out))


def _check(asked: AblationSet) -> None:
    """Every variant is a valid config, and held-out tasks are there: without them there is nothing to compare."""
    problems: list[str] = []
    for variant in asked.variants:
        try:
            config = asked.config(variant)
        except ConfigError as error:
            problems += error.problems
            continue
        if config.eval.tasks == "none":
            problems.append(
                f"variant {variant.name}: eval.tasks = none, and variants are compared by held-out tasks. "
                "Try --set eval.tasks=tiny, or a JSON Lines file of tasks"
            )
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _find(path: Path) -> Path:
    """The set at `path`, or of that name in configs/ablations: of the working directory, else of the shipped ones."""
    sets = [folder / "ablations" for folder in folders()]
    for candidate in (path, *(folder / path for folder in sets)):
        if candidate.is_dir() or candidate.is_file():
            return candidate
    try:
        return find_file(path)
    except ConfigError:
        names = sorted({p.name for folder in sets if folder.is_dir() for p in folder.iterdir() if p.is_dir()})
        raise ConfigError(
            f"{path}: no such set. Give a directory of overlays, a TOML file with [variants.NAME] tables, "
            f"or one of the shipped sets: {', '.join(names) or 'there are none'}."
        ) from None


def _from_directory(path: Path) -> tuple[Tree, list[Variant]]:
    overlays = sorted(p for p in path.glob("*.toml") if p.name != BASE_FILE)
    if not overlays:
        raise ConfigError(f"{path}: no *.toml in it, so there is no variant. A file of a few settings makes one.")
    base = read_toml(path / BASE_FILE) if (path / BASE_FILE).is_file() else {}
    return base, [Variant(p.stem, "variant", first_comment(p), (read_toml(p),)) for p in overlays]


def _from_file(path: Path) -> tuple[Tree, list[Variant]]:
    tree = read_toml(path)
    tables = tree.pop("variants", None)
    base = tree.pop("base", {})
    if not isinstance(tables, dict) or not tables or not all(isinstance(t, dict) for t in tables.values()):
        raise ConfigError(f"{path}: a set needs at least one table [variants.NAME] with the settings of that variant.")
    if tree:
        raise ConfigError(f"{path}: {', '.join(tree)}: a set holds base and variants only. Shared settings go to base.")
    variants = []
    for name, table in tables.items():
        settings = dict(table)
        about, names = settings.pop("about", ""), settings.pop("files", [])
        if not isinstance(about, str) or not isinstance(names, list):
            raise ConfigError(f"{path}: variants.{name}: about is a sentence, files a list of TOML files.")
        layers = [read_toml(path.parent / str(file)) for file in names]
        variants.append(Variant(name, "variant", about, (*layers, settings)))
    return base, variants


def first_comment(path: Path) -> str:
    """The first comment line of an overlay: the sentence that documents it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((words for line in lines if line.startswith("#") and (words := line.lstrip("# ").strip())), path.stem)
