"""Who plays: which adapter proposes, which solver a proposer meets, who is weakest and who is judged (adapter.roles).

Reading order: League.proposer and solver (turns), opponent (matched by rating), learn (ratings after a step),
replacements, judged. With one adapter, or one for each role, there is nothing to choose and nothing is kept.

Ratings are Elo's (The Rating of Chessplayers, 1978): a proposer of rating P and a solver of rating S expect the solve
rate 1 / (1 + 10^((P - S) / 400)), and after each step both move towards what happened. PopuLoRA (arXiv 2605.16727) has
TrueSkill, whose uncertainty says little here, where every member plays dozens of games a step. A task that no attempt
solved is left out: difficult and impossible look alike there, and neither reward nor rating should pay for the second.
Opponents are drawn with weights p (1 - p) of the expected solve rate p, the prioritised fictitious self-play of
AlphaStar (Nature 575, 2019): pairs that are near balance play most, which is also where learnability pays.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minizero.config.adapters import of_role
from minizero.rollout.protocol import stream_seed
from minizero.types import ProposalOutcome, Role

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.selfplay.scoring import Scored

START, SCALE = 1500.0, 400.0  # a new member's rating, and the difference at which odds are 10 to 1
SPEED = 32.0  # that a rating moves in a step at most: by the mean of the step's surprises, as by one game at chess
KEPT = 0.9  # of what a proposer earned before stays in its running mean at each step: about the last ten steps


class League:
    """The members of a run. Turns and matches depend on run.rng_seed, the step and a request's name alone."""

    def __init__(self, config: Config) -> None:
        self._config, adapter = config, config.adapter
        self.proposers, self.solvers = of_role(adapter, Role.PROPOSE), of_role(adapter, Role.SOLVE)
        self.is_population = adapter.roles == "population"
        self.ratings = dict.fromkeys([*self.proposers, *self.solvers], START) if self.is_population else {}
        self.earned: dict[str, float] = {}  # proposer -> running mean of its rewards, rejected proposals' too
        self.replaced = 0  # in the last step

    # -- who plays ----------------------------------------------------------------------------------------------------

    def proposer(self, step: int, place: int) -> str:
        """Whose turn it is at this place of a step's propose prompts."""
        return self.proposers[(step + place) % len(self.proposers)]

    def solver(self, step: int, place: int) -> str:
        """Whose turn it is at this place of a step's tasks to solve: each learns from as many as the others."""
        return self.solvers[(step + place) % len(self.solvers)]

    def opponent(self, proposer: str, step: int, name: str) -> str:
        """The solver that attempts what comes of the request of this name."""
        if len(self.solvers) == 1:
            return self.solvers[0]
        rates = [self.expected(proposer, solver) for solver in self.solvers]
        drawn = random.Random(stream_seed(self._config.run.rng_seed, step, "opponent", name))
        return drawn.choices(self.solvers, [rate * (1 - rate) for rate in rates])[0]

    def expected(self, proposer: str, solver: str) -> float:
        """The solve rate that both ratings predict; for a solver 400 points above the proposer 10 / 11."""
        return float(1 / (1 + 10 ** ((self.ratings[proposer] - self.ratings[solver]) / SCALE)))

    @property
    def judged(self) -> str:
        """The solver that is validated, evaluated and exported: the best rated, of equal ones the first."""
        return max(self.solvers, key=lambda name: self.ratings.get(name, START))

    # -- after a step -------------------------------------------------------------------------------------------------

    def learn(self, scored: Sequence[Scored]) -> None:
        """Update the ratings by this step's games, all from the ratings before it, and the proposers' mean rewards."""
        self.replaced = 0
        if not self.is_population:
            return
        surprises: dict[str, list[float]] = defaultdict(list)
        rewards: dict[str, list[float]] = defaultdict(list)
        for item in scored:
            outcome, proposer = item.outcome, item.rollout.completion.member
            if not isinstance(outcome, ProposalOutcome):
                continue
            rewards[proposer].append(item.rollout.reward)
            if outcome.solve_rate:
                surprise = outcome.solve_rate - self.expected(proposer, outcome.attempted_by)
                surprises[outcome.attempted_by].append(surprise)
                surprises[proposer].append(-surprise)
        for name, values in surprises.items():
            self.ratings[name] += SPEED * sum(values) / len(values)
        for name, values in rewards.items():
            mean = sum(values) / len(values)
            self.earned[name] = KEPT * self.earned.get(name, mean) + (1 - KEPT) * mean

    def replaces_after(self, step: int) -> bool:
        """Whether members may change after this step, so that nobody should be sampled before."""
        every = self._config.adapter.replace_every
        return self.is_population and bool(every) and step % every == 0 and not self._config.optim.freeze

    def replacements(self, step: int) -> list[tuple[str, str]]:
        """(the weakest, the best) of each role whose members differ, where replacements are due after this step. The
        first takes over the other's numbers. Solvers are compared by rating, proposers by what they earned: one that
        only makes what nobody can solve, or nothing valid, loses no game and earns nothing."""
        pairs = []
        for names, values in ((self.proposers, self.earned), (self.solvers, self.ratings)):
            known = [name for name in names if name in values]
            if not self.replaces_after(step) or len(known) < 2:
                continue
            weakest, best = min(known, key=values.__getitem__), max(known, key=values.__getitem__)
            if values[weakest] < values[best]:
                pairs.append((weakest, best))
                self.ratings[weakest] = self.ratings[best]
                if best in self.earned:
                    self.earned[weakest] = self.earned[best]
        self.replaced = len(pairs)
        return pairs

    def metrics(self) -> dict[str, float]:
        """adapter/rating/NAME, adapter/earned/NAME, adapter/replaced; {} without a population."""
        if not self.is_population:
            return {}
        values = {f"adapter/rating/{name}": rating for name, rating in self.ratings.items()}
        values |= {f"adapter/earned/{name}": mean for name, mean in sorted(self.earned.items())}
        return values | {"adapter/replaced": float(self.replaced)}

    # -- what a saved state keeps -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Ratings as a JSON-ready dict; {} without a population."""
        return {"league": {"ratings": self.ratings, "earned": self.earned}} if self.is_population else {}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Back to what `state` returned."""
        if self.is_population:
            self.ratings, self.earned = dict(data["league"]["ratings"]), dict(data["league"]["earned"])
