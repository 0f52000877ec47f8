"""The adapters of a run by name (adapter.roles), and the settings that do not go together with several of them.

Reading order: names, of_role, adapter_problems. A *member* is one of several adapters on one base. A run with one
adapter has one member, whose name is "".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minizero.types import Role

if TYPE_CHECKING:
    from minizero.config.schema import AdapterConfig, Config


def names(adapter: AdapterConfig) -> tuple[str, ...]:
    """The names of all members: ("",) for one adapter; propose, solve; or propose-0, ..., solve-0, ..."""
    return tuple(dict.fromkeys(name for role in Role for name in of_role(adapter, role)))


def of_role(adapter: AdapterConfig, role: Role) -> tuple[str, ...]:
    """The names of the members that play a role. With two proposers: propose-0 and propose-1."""
    if adapter.roles == "shared":
        return ("",)
    if adapter.roles == "separate":
        return (role.value,)
    count = adapter.proposers if role is Role.PROPOSE else adapter.solvers
    return tuple(f"{role.value}-{number}" for number in range(count))


def adapter_problems(config: Config) -> list[str]:
    """Why there cannot be several adapters with these settings, one sentence each."""
    adapter, play = config.adapter, config.selfplay
    if adapter.roles == "shared":
        return []
    given = f"adapter.roles = {adapter.roles}"
    if adapter.kind == "full":
        return [
            f"{given} with adapter.kind = full: several policies share one base only while it is frozen, and a second "
            "set of all parameters would not fit beside the first. Try --set adapter.kind=lora, or --set "
            "adapter.roles=shared"
        ]
    if adapter.roles == "separate":
        return []
    problems = []
    if play.proposals and play.attempts == 0:
        problems.append(
            f"{given} with selfplay.attempts = 0: members are rated by attempts at proposed tasks, and there are none. "
            "Try --set selfplay.attempts=8, or --set adapter.roles=separate"
        )
    if adapter.replace_every and adapter.proposers == adapter.solvers == 1:
        problems.append(
            f"adapter.replace_every = {adapter.replace_every} with one proposer and one solver: nobody is there to "
            "take the place of the weaker. Try --set adapter.replace_every=0, or --set adapter.solvers=2"
        )
    return problems
