"""The sizes of models that planning starts from; they come from config.json or from a table."""
# h hidden width, i width of the MLP, L layers, q and k widths of queries and of keys, V vocabulary

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.models.names import architecture, locate
from minizero.types import ModelError

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
    if Path(source).is_dir():
        return shape_of(architecture(source), name)
    short = name.rpartition("/")[2].lower()
    for word in ("-coder", "-math", "-instruct", "-base", "meta-"):
        short = short.replace(word, "")
    if short in KNOWN:
        return KNOWN[short]
    raise ModelError(
        f"{name}: its sizes are not known without a download. Give a local model directory, or one of: "
        f"{', '.join(KNOWN)}."
    )
