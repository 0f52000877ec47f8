"""A trainer and servers that sample for it (sampler.backend = "server"): GiB of a server's card, and the times of a
step that is sampled there.

Reading order: Served, server_of (one server's card), sampled_by (seconds of a step's parts), overlapped (with
selfplay.ahead). Nothing of it has run on cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from minizero.config.schema import Config
from minizero.planner.calibration import Measured
from minizero.planner.cards import Card
from minizero.planner.memory import LEARNING, STATE, cache_value_bytes, kv_token_bytes, longest, memory, sampled_weights
from minizero.planner.pace import Texts, Work, seconds
from minizero.planner.shapes import GIB, Shape

OVERLAP = "less what goes on at once"


@dataclass(frozen=True, slots=True)
class Served:
    """A server's card, in GiB: what it holds beside the cache, the cache, and the weights that each token reads."""

    beside_cache: float
    cache: float
    weights: float

    @property
    def total(self) -> float:
        return self.beside_cache + self.cache

    def words(self, config: Config) -> str:
        """How this config is sampled."""
        count = len(config.sampler.url)
        turns = "one step ahead, while this one is learned from" if config.selfplay.ahead else "in turn with learning"
        return (
            f"(sampled by {count} server{'s' * (count > 1)}, {turns}; on a card like this one a server holds "
            f"{self.beside_cache:.1f} GiB and {self.cache:.1f} of cache)"
        )


def server_of(config: Config, shape: Shape, budget: float) -> Served:
    """vLLM alone on a card of which so many GiB may be used: weights, two adapters, graphs, a batch, and the cache, as
    far as its rows fill it."""
    alone = engine_alone(config)
    parts = memory(alone, shape, device="cuda", vllm=True)
    held = sum(gib for name, gib in parts.items() if name not in (*LEARNING, STATE)) + parts["adapter in vLLM"]
    token = kv_token_bytes(shape, cache_value_bytes(alone, shape, "cuda"))
    cache = max(0.0, min(config.sampler.max_rows * longest(config) * token / GIB, budget - held))
    return Served(held, config.sampler.kv_gib or cache, sampled_weights(parts))


def engine_alone(config: Config) -> Config:
    """The same run with the engine in the trainer's process: what it computes, a server computes."""
    own = {"backend": "vllm", "url": (), "release_kv": False, "share_weights": True}
    return config.model_copy(update={"sampler": config.sampler.model_copy(update=own)})


def part_of(work: Work, cards: int) -> Work:
    """Of a step that so many cards share."""
    kinds = {
        name: Texts(texts.sequences / cards, texts.generated / cards, texts.prompts / cards)
        for name, texts in work.kinds.items()
    }
    trained, computed = -(-work.trained // cards), -(-work.computed // cards)
    return replace(
        work, kinds=kinds, trained=trained, computed=computed, trained_sequences=-(-work.trained_sequences // cards)
    )


def sampled_by(
    config: Config,
    shape: Shape,
    card: Card,
    work: Work,
    *,
    servers: int,
    budget: float,
    floor: bool,
    measured: Measured | None = None,
) -> dict[str, float]:
    """Part of a step -> seconds, as pace.seconds: so many servers on cards like the trainer's sample, it learns."""
    server, alone = server_of(config, shape, budget), engine_alone(config)

    def on(work: Work) -> dict[str, float]:
        return seconds(
            alone, shape, card, work, kv_gib=server.cache, weights_gib=server.weights, floor=floor, measured=measured
        )

    parts, whole = on(part_of(work, servers)), on(work)
    parts |= {"update": whole["update"], "sandbox": whole["sandbox"]}
    return overlapped(parts) if config.selfplay.ahead else parts


def overlapped(parts: Mapping[str, float]) -> dict[str, float]:
    """With selfplay.ahead the next step is sampled during the update: the shorter of both takes no time of its own."""
    learning = parts["update"]
    sampling = sum(value for name, value in parts.items() if name not in ("update", "sync"))
    return dict(parts) | {OVERLAP: -min(learning, sampling)}
