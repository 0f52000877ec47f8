"""What more cards bring, each with the whole model and its part of a step (docs/several-cards.md): minutes of a step,
what is exchanged, and where the next card brings little.

Reading order: Shared, shared (one number of cards), in_words (a row for each). Nothing of it has run on cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minizero.planner.memory import adapter_parameters
from minizero.planner.pace import KINDS, Work, chain_seconds, seconds
from minizero.planner.plan import Plan
from minizero.planner.servers import overlapped, part_of, sampled_by, server_of
from minizero.types import ConfigError

MOST = 64
IN_A_BOX, BOX = 6e9, 8  # bytes a second over PCIe 3.0 x16 with half of it used, and cards in a box; assumed
BETWEEN_BOXES = 1e9  # of 10 Gbit/s; assumed
# Bytes of a pickled token with its log-probability and its text, and of a prompt's token, counted
# (tests/test_scaling.py); seconds to pickle and read one, between two processes of a busy machine (several-cards.md).
TOKEN_BYTES, PROMPT_BYTES, TOKEN_S = 18, 4, 0.64e-6
GRADIENT_BYTES = 4
# In a server's answer: a token with its log-probability, its text and its place, and a prompt's token, asked and given
# back (tests/test_scaling.py counts them); seconds to write and read a token of it; what a file system moves.
JSON_TOKEN_BYTES, JSON_PROMPT_BYTES, JSON_TOKEN_S, DISK = 72, 14, 2e-6, 0.5e9
WORTH = 1.25  # times the speed that doubling the cards has to bring


@dataclass(frozen=True, slots=True)
class Shared:
    """A step on so many cards: seconds of its parts, and bytes that go between them: gradients and outcomes that each
    sends (and receives), or adapters to the servers and outcomes back."""

    cards: int
    parts: Mapping[str, float]
    outcomes: float
    gradients: float = 0.0
    adapters: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    def row(self, alone: float) -> str:
        """Minutes, times as fast as one card alone, and MB."""
        sent = {"gradients": self.gradients, "adapters": self.adapters, "outcomes": self.outcomes}
        words = ", ".join(f"{size / 1e6:,.0f} {name}" for name, size in sent.items() if size) or "none"
        return f"  {self.cards:3}  {self.seconds / 60:6.1f}  {alone / self.seconds:5.1f}  {words}"


def shared(plan: Plan, cards: int) -> Shared:
    """The plan's step on so many cards like its own. Raises ConfigError where nothing is known of its speed.

    Sampling and learning take a card's part of the work: fewer sequences are decoded side by side, so that reading the
    weights for each token weighs more, and none is done before the longest answers are. Gradients go round a ring,
    2 (n - 1) / n of their bytes for each update; every card gets the outcomes of all.
    """
    if not 1 <= cards <= MOST:
        raise ConfigError(f"--cards {cards}: expected 1 to {MOST}.")
    if not plan.expected:
        raise ConfigError("--cards: nothing is known of the speed here. Name a card, for example  --card rtx3090")
    config, work, others = plan.config, plan.work, (cards - 1) / cards
    trained = adapter_parameters(config, plan.shape) if config.adapter.kind == "lora" else plan.shape.parameters
    gradients = 2 * others * GRADIENT_BYTES * trained * config.optim.updates_per_step
    outcomes = others * _outcome_bytes(work, TOKEN_BYTES, PROMPT_BYTES)
    parts = seconds(
        config, plan.shape, plan.card, part_of(work, cards), kv_gib=plan.cache, weights_gib=plan.weights,
        measured=plan.measured, floor=False,
    )  # fmt: skip
    link = IN_A_BOX if cards <= BOX else BETWEEN_BOXES
    exchange = (gradients + outcomes) / link + others * work.generated * TOKEN_S
    waiting = _waiting(plan, parts, plan.weights)
    return Shared(cards, parts | {"exchange": exchange, "waiting": waiting}, outcomes, gradients=gradients)


def served(plan: Plan, servers: int) -> Shared:
    """The plan's step with one trainer and so many servers, a card each, and one step ahead."""
    config, work, budget = plan.config, plan.work, plan.budget
    assert plan.card is not None
    turns = config.model_copy(update={"selfplay": config.selfplay.model_copy(update={"ahead": 0})})
    parts = sampled_by(
        turns, plan.shape, plan.card, work, servers=servers, budget=budget, measured=plan.measured, floor=False
    )
    adapters = 2.0 * adapter_parameters(config, plan.shape) * servers
    outcomes = _outcome_bytes(work, JSON_TOKEN_BYTES, JSON_PROMPT_BYTES)
    parts["sync"] = 2 * adapters / DISK
    parts["exchange"] = outcomes / BETWEEN_BOXES + work.generated * JSON_TOKEN_S
    parts["waiting"] = _waiting(plan, parts, server_of(config, plan.shape, budget).weights)
    return Shared(servers + 1, overlapped(parts), outcomes, adapters=adapters)


def _outcome_bytes(work: Work, token: int, prompt: int) -> float:
    """Of a step's completions, so many bytes for each of their tokens and of their prompts'."""
    prompts = work.mean_context - work.generated / max(1, work.sequences) / 2
    return token * work.generated + prompt * prompts * work.sequences


def _waiting(plan: Plan, parts: Mapping[str, float], weights_gib: float) -> float:
    """Seconds after all else is sampled, until the longest proposal and the longest attempt at it are."""
    chain = chain_seconds(plan.config, plan.card, weights_gib=weights_gib, measured=plan.measured)
    return max(0.0, chain - sum(parts[kind] for kind in KINDS))


def in_words(plan: Plan, most: int) -> list[str]:
    """A row for 1, 2, 4, ... cards up to so many, and where it stops being worth it."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
    rows = [shared(plan, cards) for cards in counts]
    alone = rows[0].seconds
    lines = ["cards, each with the whole model: minutes of a step, times as fast, MB that a card sends a step"]
    lines += [row.row(alone) for row in rows]
    little = _brings_little(rows)
    if little:
        lines.append(f"from {little} cards on, twice as many are less than {WORTH} times as fast")
    if most > 1 and plan.config.adapter.kind == "lora" and plan.card and plan.card.flops:
        lines += _with_servers(plan, [count for count in counts if count > 1], alone)
    lines.append(
        f"{IN_A_BOX / 1e9:.0f} GB/s between cards in a box of {BOX} and {BETWEEN_BOXES / 1e9:.0f} GB/s beyond are "
        f"assumed; each card takes {plan.total:.1f} GiB, as one alone does."
    )
    return lines


def _with_servers(plan: Plan, counts: Sequence[int], alone: float) -> list[str]:
    lines = ["one of them learns and the others are servers, one step ahead (selfplay.ahead=1): the same"]
    rows = [served(plan, count - 1) for count in counts]
    lines += [row.row(alone) for row in rows]
    enough = next(row.cards for row in rows if row.seconds < 1.05 * rows[-1].seconds)
    if enough < counts[-1]:
        lines.append(f"from {enough} cards on it waits for learning, or for the longest answers")
    held = server_of(plan.config, plan.shape, plan.budget)
    lines.append(f"a server's card takes {held.beside_cache:.1f} GiB and {held.cache:.1f} of cache")
    return lines


def _brings_little(rows: Sequence[Shared]) -> int:
    """The first number of cards of which twice as many are hardly faster; 0 if there is none."""
    doubled = {row.cards: row.seconds for row in rows}
    return next((n for n, s in doubled.items() if 2 * n in doubled and s / doubled[2 * n] < WORTH), 0)
