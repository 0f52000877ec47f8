"""The sizes of models and cards that planning starts from; a model's come from its config.json or from a table."""
# h hidden width, i width of the MLP, L layers, q and k widths of queries and of keys, V vocabulary

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from minizero.models.names import architecture, locate
from minizero.types import ConfigError, ModelError

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Shape:
    """A dense decoder: attention with grouped keys and a gated MLP in every layer."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool  # the head is the embedding
    qk_norm: bool = False  # Qwen3 normalises queries and keys

    @property
    def q(self) -> int:
        return self.heads * self.head_dim

    @property
    def k(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def linear(self) -> int:
        """Parameters of the layers' linear maps: L (h (q + 2k) + q h + 3 h i)."""
        h = self.hidden
        return self.layers * (h * (self.q + 2 * self.k) + self.q * h + 3 * h * self.intermediate)

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Without norms and biases, which are below a thousandth."""
        return self.linear + self.embedding

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on all linear layers: r L ((h+q) + 2 (h+k) + (q+h) + 2 (h+i) + (i+h))."""
        h, i, q, k = self.hidden, self.intermediate, self.q, self.k
        return rank * self.layers * ((h + q) + 2 * (h + k) + (q + h) + 2 * (h + i) + (i + h))


# Sizes as in the models' config.json files.
_QWEN_1_5B = Shape(1536, 8960, 28, 12, 2, 128, 151936, True)
_QWEN_3B = Shape(2048, 11008, 36, 16, 2, 128, 151936, True)
_QWEN_7B = Shape(3584, 18944, 28, 28, 4, 128, 152064, False)
KNOWN = {
    "qwen2.5-0.5b": Shape(896, 4864, 24, 14, 2, 64, 151936, True),
    "qwen2.5-1.5b": _QWEN_1_5B,
    "qwen2.5-3b": _QWEN_3B,
    "qwen2.5-7b": _QWEN_7B,
    "qwen3-4b": Shape(2560, 9728, 36, 32, 8, 128, 151936, True, qk_norm=True),
    "llama-3.1-8b": Shape(4096, 14336, 32, 32, 8, 128, 128256, False),
}


@dataclass(frozen=True, slots=True)
class Card:
    """What a card offers: GiB that a process can use, bytes per second, dense 16-bit operations per second with
    32-bit sums (makers' data sheets)."""

    name: str
    gib: float
    bandwidth: float
    flops: float
    free: float = 0.0  # GiB that were free when this process first looked; 0: not a card of this machine


CARDS = {
    card.name: card
    for card in (
        Card("rtx3090", 23.5, 936e9, 71e12),
        Card("rtx4090", 23.5, 1008e9, 165e12),
        Card("rtx5090", 31.3, 1792e9, 209e12),
        Card("rtx3060-12g", 11.6, 360e9, 51e12),
        Card("a10", 22.0, 600e9, 125e12),
        Card("l4", 22.0, 300e9, 121e12),
        Card("a100-40g", 39.4, 1555e9, 312e12),
        Card("a100-80g", 79.2, 2039e9, 312e12),
        Card("h100", 79.2, 3350e9, 989e12),
        Card("h200", 139.5, 4800e9, 989e12),
    )
}


def find_card(name: str) -> Card:
    """A card by name; ConfigError names those there are."""
    wanted = name.lower().replace(" ", "").replace("_", "-").removeprefix("nvidia-")
    if wanted not in CARDS:
        raise ConfigError(f"--card {name}: not a card that minizero knows. There are {', '.join(CARDS)}.")
    return CARDS[wanted]


def this_card() -> Card | None:
    """The first CUDA card of this machine; its speed is known when its name is in the table, else 0."""
    import torch

    if not torch.cuda.is_available():
        return None
    name, total = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory / GIB
    known = known_card(name, total) if "MIG" not in name else None  # a part of a card has a part of its speed
    return Card(name, total - 0.3, known.bandwidth if known else 0.0, known.flops if known else 0.0, free_at_start())


@cache
def free_at_start() -> float:
    """GiB of the card that were free when this was first asked, which is before weights load; other programs and the
    desktop hold the rest. What torch holds of them by now is counted as free."""
    import torch

    return float(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / GIB


def known_card(name: str, gib: float) -> Card | None:
    """The card of the table that torch calls so; of two with one name, the one nearest in memory.

    >>> known_card("NVIDIA A100-SXM4-80GB", 79.1).name
    'a100-80g'
    """
    short = name.lower().replace(" ", "").replace("geforce", "").replace("nvidia", "")
    called = [c for c in CARDS.values() if re.match(rf"{c.name.partition('-')[0]}(?![0-9a-z]*ti)(?!\d)", short)]
    return min(called, key=lambda card: abs(card.gib - gib), default=None)


def shape_of(sizes: Mapping[str, Any], name: str) -> Shape:
    """The shape in a config.json. Raises ModelError for a model that these formulas do not describe."""
    if any("expert" in key for key in sizes):
        raise ModelError(f"{name} is a mixture of experts: minizero plans dense models only.")
    try:
        hidden, heads = int(sizes["hidden_size"]), int(sizes["num_attention_heads"])
        return Shape(
            hidden,
            int(sizes["intermediate_size"]),
            int(sizes["num_hidden_layers"]),
            heads,
            int(sizes.get("num_key_value_heads") or heads),
            int(sizes.get("head_dim") or hidden // heads),
            int(sizes["vocab_size"]),
            bool(sizes.get("tie_word_embeddings", False)),
            str(sizes.get("model_type", "")).startswith("qwen3"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name}: config.json does not tell {error}, so nothing can be planned for it.") from None


def find_shape(name: str) -> Shape:
    """The shape of a model by name: a local directory's config.json, or the table. Downloads nothing."""
    source = locate(name)
    try:
        return shape_of(architecture(source), name)
    except OSError:
        pass
    short = name.rpartition("/")[2].lower()
    for word in ("-coder", "-math", "-instruct", "-base", "meta-"):
        short = short.replace(word, "")
    if short in KNOWN:
        return KNOWN[short]
    raise ModelError(
        f"{name}: its sizes are not known without a download. Give a local model directory, or one of: "
        f"{', '.join(KNOWN)}."
    )
