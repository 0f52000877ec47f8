"""The adapters on one base (adapter.roles): which of them the model computes with, whose rollouts are whose, files.

Reading order: Members.use (switched by name), by_member (a rollout belongs to the member that wrote it), save and
adapters_in (a checkpoint holds all of them). One adapter, or a model that is trained whole, is one member named "".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minizero.models.adapter import peft_name
from minizero.types import CheckpointError, ModelError, Rollout

ADAPTER, OTHERS, LIST = "adapter", "adapters", "members.json"


class Members:
    """`names` of all; `on`: the one that the model computes with. `peft`: PEFT's wrapper, None without adapters."""

    def __init__(self, peft: Any, names: tuple[str, ...]) -> None:
        self.names, self.on, self._peft = names, names[0], peft

    def use(self, name: str) -> None:
        """The model computes with this member from now on, and a backward pass reaches this one alone."""
        if name not in self.names:
            raise ModelError("a request or rollout " + self.unknown(name))
        if name != self.on:
            self._peft.set_adapter(peft_name(name))
            self.on = name

    @contextmanager
    def off(self) -> Iterator[None]:
        """The base inside, whichever member is on; afterwards that one again."""
        if self._peft is None:
            raise ModelError(
                "adapter_off: this policy trains all its parameters, so there is no adapter to switch off."
            )
        with self._peft.disable_adapter():
            yield

    def by_member(self, rollouts: Sequence[Rollout], places: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """Each member that wrote some of the rollouts at these places, and the places of its own. Raises ModelError for
        a rollout of nobody here, which none may learn from."""
        for strange in {rollouts[i].completion.member for i in places} - set(self.names):
            raise ModelError("a request or rollout " + self.unknown(strange))
        for name in self.names:
            if own := [i for i in places if rollouts[i].completion.member == name]:
                yield name, own

    def unknown(self, name: str) -> str:
        """What is said of a request or rollout for an adapter that is not here."""
        known = ", ".join(self.names) or "one adapter without a name"
        said = f"an adapter named {name}" if name else "no adapter by name"
        return f"names {said}; this policy has {known}. Give Request.member one of these"

    # -- files --------------------------------------------------------------------------------------------------------

    def save_one(self, name: str, path: Path) -> None:
        """One member as a plain PEFT adapter in this very directory."""
        key = peft_name(name)
        inside = path / key  # where PEFT puts what is not its default
        self._peft.save_pretrained(path, selected_adapters=[key])
        (path / "README.md").unlink()  # an empty form; export writes a card
        if inside.is_dir():
            for file in inside.iterdir():
                file.rename(path / file.name)
            inside.rmdir()

    def save(self, directory: Path, judged: str = "") -> None:
        """directory/adapter: the member that is judged. Of several the others are in directory/adapters/NAME, and
        members.json there says who is who."""
        first = judged or self.names[-1]
        self.save_one(first, directory / ADAPTER)
        if len(self.names) == 1:
            return
        for name in self.names:
            if name != first:
                self.save_one(name, directory / OTHERS / name)
        who = {"judged": first, "members": list(self.names)}
        (directory / OTHERS / LIST).write_text(json.dumps(who) + "\n", encoding="utf-8")


def others_beside(adapter: Path) -> str:
    """A sentence on the adapters that a checkpoint holds beside its judged one (`adapter`); "" where there are none."""
    try:
        who = json.loads((adapter.parent / OTHERS / LIST).read_text(encoding="utf-8"))
        others = ", ".join(name for name in who["members"] if name != who["judged"])
        first = f"this is the adapter {who['judged']}, the one that was validated"
        return f"{first}; {others} stay in {adapter.parent / OTHERS}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def adapters_in(path: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Member -> where its adapter is in a checkpoint of these members, or of one adapter, which is then everybody's
    start. Raises CheckpointError for a checkpoint of other members."""
    listed = path / OTHERS / LIST
    if names == ("",) or not listed.is_file():
        return dict.fromkeys(names, path)
    try:
        who = json.loads(listed.read_text(encoding="utf-8"))
        saved, judged = tuple(who["members"]), str(who["judged"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{listed} cannot be read: {error}") from None
    if set(saved) != set(names):
        raise CheckpointError(
            f"model.checkpoint = {path} holds the adapters {', '.join(saved)}; this run has {', '.join(names)}. Set "
            f"adapter.roles, proposers and solvers as they were there, or start all from one of them, for example "
            f"--set model.checkpoint={path / ADAPTER}"
        )
    return {name: path / ADAPTER if name == judged else path / OTHERS / name for name in names}
