"""Which prompt style suits a model, decided by what the model was trained to end with, never by its name.

Reading order: Style, style_of.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

PROBE = "7413"  # an answer that no template writes by itself


@dataclass(frozen=True, slots=True)
class Style:
    """A prompt style and why it was chosen; the reason completes "prompt style NAME, because ..."."""

    name: str
    reason: str


def style_of(name: str, tokenizer: Any, eos_ids: Collection[int]) -> Style:
    """compact for the tiny model, chat for a model that was taught to end its turn as its chat template does, else r1.

    Base models often ship a chat template too (Qwen2.5), but what ends their texts is another token than the one that
    ends a turn; instruct models name the turn's end among their end-of-sequence tokens.
    """
    if name == "tiny":
        return Style("compact", "the built-in tiny model reads no other")
    if not getattr(tokenizer, "chat_template", None):
        return Style("r1", "its tokenizer has no chat template")
    ends = _turn_ends(tokenizer)
    if not ends:
        return Style("r1", "its chat template ends a turn with no token")
    shown = tokenizer.convert_ids_to_tokens(ends[0])
    if set(ends) & set(eos_ids):
        return Style("chat", f"its chat template ends a turn with {shown}, and so do its answers")
    return Style("r1", f"its chat template ends a turn with {shown}, but its own texts do not: a base model")


def _turn_ends(tokenizer: Any) -> list[int]:
    """The special tokens that the template writes straight after an answer; [] when it cannot be rendered."""
    turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": PROBE}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        after = tokenizer(text.rpartition(PROBE)[2].lstrip(), add_special_tokens=False)["input_ids"]
    except Exception:  # a template is a program of the model's author: what it raises says that it is not for us
        return []
    special = set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", {}))
    first = [token for token in after[:2] if token in special]
    return first[:1]
