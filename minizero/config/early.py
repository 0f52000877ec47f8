"""When attempts may stop early: selfplay.first_attempts with settings for which the expected reward stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minizero.config.reward import is_own_function
from minizero.types import TaskType

if TYPE_CHECKING:
    from minizero.config.schema import Config

LEAST, MOST = 3, 16  # attempts first, attempts in all: between them every estimate lies inside (0, 1), see the tests
LINEAR = ("learnability", "inverse", "admitted")  # bases that are linear in the solve rate between its ends
BY_RATE = ("learnability", "inverse", "difficulty")  # terms that read it


def early_stop_problems(config: Config) -> list[str]:
    """Why attempts cannot stop early with these settings, one sentence each."""
    play, reward = config.selfplay, config.reward
    if not play.first_attempts:
        return []
    given, off = f"selfplay.first_attempts = {play.first_attempts}", "--set selfplay.first_attempts=0"
    if not 2 * LEAST <= play.attempts <= MOST or not LEAST <= play.first_attempts <= play.attempts // 2:
        return [
            f"{given} with selfplay.attempts = {play.attempts}: at least {LEAST} come first and at most half, of "
            f"{2 * LEAST} to {MOST} in all. Try --set selfplay.first_attempts=4 --set selfplay.attempts=8, or {off}"
        ]
    problems, base = [], reward.propose.base
    if play.train_on_attempts:
        problems.append(
            f"{given} with selfplay.train_on_attempts = true: every attempt is learned from, so none is to spare, and "
            f"tasks whose attempts agree would weigh more than others. Try {off}"
        )
    if reward.solve.induction == "accuracy" and TaskType.INDUCTION in play.task_types:
        problems.append(
            f"{given} with reward.solve.induction = accuracy: an attempt may be partly right, and the estimate counts "
            f"right and wrong. Try --set reward.solve.induction=binary, or {off}"
        )
    if base not in LINEAR:
        problems.append(
            f"{given} with reward.propose.base = {base}: the expected reward stays as it is only where it is linear in "
            f"the solve rate between 0 and 1 ({', '.join(LINEAR)}). Try --set reward.propose.base=learnability, or "
            f"{off}"
        )
    for name, term in reward.propose.terms.items():
        bent = name == base and term.max is not None and name in BY_RATE
        reads = name != base and term.weight and (name in BY_RATE or is_own_function(name))
        if bent or reads:
            why = "its max bends it" if bent else "it may read the solve rate in a way that is not linear"
            problems.append(f"{given} with the term {name} of reward.propose.terms: {why}. Remove it, or {off}")
    return problems
