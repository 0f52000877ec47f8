"""What to try after a run: one sentence and one command that works as it is printed.

Reading order: suggest (continue, measure, calm down, then an overlay of configs/ablations, then a control), command.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.ablate.sets import first_comment
from minizero.config import load_config, read_toml
from minizero.config.files import FOLDER, folders
from minizero.formatting import shell, visible
from minizero.selfplay.run_data import RunData
from minizero.types import ConfigError


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A sentence that ends with a colon, and the command line that it introduces."""

    words: str
    command: str


def suggest(run: RunData, *, is_better: bool, is_falling: bool) -> Suggestion:
    """The next step after this run. `is_falling`: held-out skill fell, or the proposer collapsed."""
    config = run.config
    if config is None:
        return Suggestion("To see how this version would run:", command("selfplay", "--dry-run"))
    model = config.model.name

    def again(*words: object) -> str:
        return command("selfplay", *words, model=model)

    if not run.is_finished:
        return Suggestion("To continue this run where it stands:", command("selfplay", "--resume", run.path))
    if config.eval.tasks == "none":
        tasks = "tiny" if model == "tiny" else "cruxeval"
        return Suggestion("To measure what is learned, give it held-out tasks:", again("--set", f"eval.tasks={tasks}"))
    if is_falling:
        rates = {"lr": config.optim.lr, "norm_lr": config.optim.norm_lr}
        softer = [word for name, rate in rates.items() if rate for word in ("--set", f"optim.{name}={rate / 2:.3g}")]
        return Suggestion("To try the same more gently, with half the learning rate:", again(*softer))
    settings = config.model_dump(mode="json", exclude_none=True)
    if config.prompt.style == "direct":
        settings["prompt"]["think"] = "off"  # it always answers at once, so asking for that would change nothing
    overlay = _overlay(settings)
    if overlay:
        path, words = overlay
        return Suggestion(f"To try next ({words}):", again("--config", path))
    if is_better and not config.selfplay.shuffle_rewards:
        control = again("--set", "selfplay.shuffle_rewards=true")
        return Suggestion("To see that it is the rewards that teach, run the control with shuffled ones:", control)
    longer = command("selfplay", "--resume", run.path, "--steps", 2 * max(1, run.done))
    return Suggestion("To see where it goes, continue this run to twice its length:", longer)


def command(name: str, *words: object, model: str = "tiny", run: Path | None = None) -> str:
    """A command line that can be pasted: for make in a checkout, else for the console script.

    `model` for a new run; a run that there is has its own. What make hands on is read by a shell once more, so that a
    path with a space is quoted twice there.
    """
    if _is_checkout():
        parts = ["make", name]
        parts += [f"MODEL={_quoted(shell(model))}"] if model != "tiny" else []
        parts += [f"RUN={_quoted(shell(run))}"] if run else []
        parts += [f"ARGS={_quoted(shell(*words), always=True)}"] if words else []
        return " ".join(parts)
    subject = [run] if run else [model] if model != "tiny" else []
    return shell("minizero", name, *subject, *words)


def _is_checkout() -> bool:
    """Whether make, here, knows what minizero is: in the repository, not in whatever folder has a Makefile."""
    makefile = Path("Makefile")
    return makefile.is_file() and "selfplay:" in makefile.read_text(encoding="utf-8", errors="replace")


def _quoted(value: str, *, always: bool = False) -> str:
    """The value of one of make's variables, for a shell."""
    value = value.replace("$", "$$")
    if set(value) & set('"$`!\\'):
        return shlex.quote(value)
    return f'"{value}"' if always or shlex.quote(value) != value else value


def _overlay(settings: dict[str, Any]) -> tuple[Path, str] | None:
    """The first overlay of configs/ablations that would change something, and its first comment line.

    One that says of itself that it collapses is a cautionary example: it comes after the others.
    """
    for folder in folders():
        fitting: list[tuple[bool, Path, str]] = []
        for path in sorted((folder / "ablations").rglob("*.toml")):
            if path.name.startswith("_"):
                continue  # what the variants of a set share is no variant
            try:
                tree = read_toml(path)
                load_config([settings, tree])  # not every model can play everything
            except (ConfigError, OSError):
                continue  # a broken overlay is an error when it is used
            if not _holds(settings, tree):
                words = visible(first_comment(path)).rstrip(".:")
                fitting.append(("collapse" in words, FOLDER / path.relative_to(folder), words))
        if fitting:
            return min(fitting)[1:]
    return None


def _holds(settings: Any, tree: Any) -> bool:
    """Whether the settings have every value of the overlay already."""
    if isinstance(tree, dict) and isinstance(settings, dict):
        return all(_holds(settings.get(key), value) for key, value in tree.items())
    return bool(settings == tree)
