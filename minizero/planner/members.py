"""What each further adapter on the base costs (adapter.roles): GiB, and seconds of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from minizero.config.adapters import names
from minizero.config.schema import Config

LEAST_S = 0.05


class Planned(Protocol):
    """What is read of a plan: GiB of its parts, and seconds of a step's ({} where nothing is known of the speed)."""

    @property
    def parts(self) -> Mapping[str, float]: ...

    @property
    def expected(self) -> Mapping[str, float]: ...


def one_adapter(config: Config) -> Config:
    """The same run with one adapter; the config itself where it has no more."""
    if len(names(config.adapter)) == 1:
        return config
    return config.model_copy(update={"adapter": config.adapter.model_copy(update={"roles": "shared"})})


def further_adapters(config: Config, one: Planned, several: Planned) -> str:
    """A line on the adapters beyond the first, in the mean, from the plans with one and with all of them. In seconds
    are their numbers, which are read at every decoded token and copied after every update, and the cache that they take
    the place of. Not in them: the kernels that tell rows of one adapter from another's (PopuLoRA, arXiv 2605.16727,
    reports 1.31 times the time for eight at 7B)."""
    more = len(names(config.adapter)) - 1
    gib = (sum(several.parts.values()) - sum(one.parts.values())) / more
    took = (sum(several.expected.values()) - sum(one.expected.values())) / more
    line = f"{more + 1} adapters on one base: each beyond the first takes {gib:.2f} GiB"
    if not (one.expected and several.expected):
        return line
    return line + (f" and {took:.1f} s of a step" if took >= LEAST_S else ", and no time that these formulas see")
