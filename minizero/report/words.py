"""Reasons, verdicts and rewards in words, for the report and the replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minizero.rewards import Part, Reward
from minizero.tasks import admission, parsing

REASONS = admission.REASONS | parsing.REASONS  # the sentence behind the reason why a proposal is no task
VERDICTS = admission.VERDICTS  # the sentence behind the verdict of an answer


def requested_lines(row: Mapping[str, Any]) -> str:
    """The length that a propose prompt asked for, in words; "" when none. Induction is given its program."""
    lines = row.get("requested_lines")
    return f"{lines} line{'' if lines == 1 else 's'}" if lines and row["type"] != "induction" else ""


def reward_of(row: Mapping[str, Any]) -> Reward:
    """The reward of a row of rollouts/ before any shuffling, as it was recorded with its rule and parts.

    Rows of an older version have no `earned`: their terms are all that is known, and the rule is "".
    """
    recorded = row.get("earned")
    if recorded is None:
        return Reward(float(row["reward"]), "", tuple(Part(n, float(v), 0.0, None) for n, v in row["terms"].items()))
    return Reward(recorded["value"], recorded["rule"], tuple(Part(**part) for part in recorded["parts"]))
