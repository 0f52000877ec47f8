"""Prompts to token ids and back, with whatever chat template and special tokens a model brings.

Reading order: Tokenizer.encode (a chat through the template; plain text), Tokenizer.decode, then make_tokenizer and
check_tokenizer (what must be right before weights load).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minizero.types import Message, ModelError, Prompt

NO_TEMPLATE = "prompt.style = chat, but this model's tokenizer has no chat template. Try --set prompt.style=r1"
Think = Literal["on", "off", "auto"]
CHOICES = ("enable_thinking", "thinking")  # how templates call it: Qwen3, SmolLM3, GLM; DeepSeek V3.1, Granite


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer seen through what self-play needs: prompts to ids, ids to text, the ids that end a sequence."""

    backend: Any  # transformers' own
    eos_ids: tuple[int, ...]
    pad_id: int
    vocabulary: int  # rows of the embedding: every id is below
    begins: tuple[int, ...] = ()  # what the tokenizer itself puts before a text: BOS, or nothing
    think: Think = "auto"
    """on and off tell a template that has the choice (CHOICES); auto leaves it at its default."""

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt: the chat template where `prompt.chat`, else the contents one after the other; then the
        prefill. Raises ModelError when the tokenizer has no template, or one that refuses these messages.

        A text begins with exactly one BOS where the tokenizer begins texts so; a chat begins as its template says.
        """
        if prompt.chat:
            return self._ids(self._rendered(prompt))
        text = "\n".join(message.content for message in prompt.messages)
        ids = self._ids(text) + (self._ids(prompt.prefill) if prompt.prefill else [])
        return ids if ids[: len(self.begins)] == list(self.begins) else [*self.begins, *ids]

    def decode(self, ids: Any) -> str:
        """Text of completion ids without special tokens."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _rendered(self, prompt: Prompt) -> str:
        """The chat as text, up to and with the prefill. A template that ends inside a think part (R1, Qwen3-Thinking)
        has that part closed before a prefill, which is the beginning of an answer."""
        template = getattr(self.backend, "chat_template", None)
        if not template:
            raise ModelError(NO_TEMPLATE)
        from jinja2 import TemplateError

        try:
            try:
                rendered = self._apply([{"role": m.role, "content": m.content} for m in prompt.messages])
            except TemplateError:  # how Gemma 2 and others say that they have no system role
                if prompt.messages[0].role != "system":
                    raise
                rendered = self._apply(_system_in_user_turn(prompt.messages))
        except TemplateError as error:
            roles = ", ".join(m.role for m in prompt.messages)
            raise ModelError(
                f"the model's chat template refuses a prompt of the roles {roles}: {error}. Try --set prompt.style=r1"
            ) from error
        if prompt.prefill and rendered.rfind("<think>") > rendered.rfind("</think>"):
            rendered = rendered.rstrip("\n") + "\n\n</think>\n\n"
        return rendered + prompt.prefill

    def _apply(self, messages: list[dict[str, str]]) -> str:
        choice = {} if self.think == "auto" else dict.fromkeys(CHOICES, self.think == "on")
        given: dict[str, Any] = {"add_generation_prompt": True, "tokenize": False, **choice}
        return str(self.backend.apply_chat_template(messages, **given))

    def _ids(self, text: str) -> list[int]:
        ids = list(self.backend(text, add_special_tokens=False)["input_ids"])
        if ids and max(ids) >= self.vocabulary:
            token = self.backend.convert_ids_to_tokens(max(ids))
            raise ModelError(
                f"the tokenizer turns this prompt into token {max(ids)} ({token!r}), but the model's embedding has "
                f"{self.vocabulary} rows: the token was added to the tokenizer and not to the model. Take the token "
                "out of tokenizer.json, or resize the model's embedding."
            )
        return ids


def _system_in_user_turn(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The system text before the first user turn's own, for a template without a system role."""
    system, *turns = messages
    merged = [{"role": m.role, "content": m.content} for m in turns]
    if merged and merged[0]["role"] == "user":
        merged[0]["content"] = f"{system.content}\n\n{merged[0]['content']}"
        return merged
    return [{"role": "user", "content": system.content}, *merged]


def make_tokenizer(backend: Any, sizes: Any, eos_ids: tuple[int, ...], think: Think = "auto") -> Tokenizer:
    """The tokenizer of a model with these sizes (its text config)."""
    vocabulary = int(sizes.vocab_size)
    pads = (backend.pad_token_id, getattr(sizes, "pad_token_id", None), backend.eos_token_id, *eos_ids, 0)
    pad = next(i for i in pads if isinstance(i, int) and 0 <= i < vocabulary)
    return Tokenizer(backend, eos_ids, pad, vocabulary, _begins(backend), think)


def _begins(backend: Any) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text: (bos,) for Llama and Gemma, () for Qwen."""
    bos = backend.bos_token_id
    whole, bare = (list(backend("a", add_special_tokens=special)["input_ids"]) for special in (True, False))
    return (bos,) if bos is not None and whole[:1] == [bos] and bare[:1] != [bos] else ()


def check_tokenizer(tokenizer: Any, sizes: Any, generation: dict[str, Any], style: str) -> tuple[int, ...]:
    """Check the tokenizer; return every id that ends a sequence: its own, the model's and the generation config's
    (Phi-3.5 has three).

    Raises ModelError when there is none, when the tokenizer's own is outside the vocabulary, or without the chat
    template that is asked for.
    """
    if style == "chat" and not getattr(tokenizer, "chat_template", None):
        raise ModelError(NO_TEMPLATE)
    ids: set[int] = set()
    for eos in (tokenizer.eos_token_id, generation.get("eos_token_id"), getattr(sizes, "eos_token_id", None)):
        ids |= {eos} if isinstance(eos, int) else set(eos or ())
    if not ids:
        raise ModelError(
            "neither the tokenizer nor the model names an end-of-sequence token; generation could not stop. Set "
            "eos_token in its tokenizer_config.json."
        )
    if max(ids) >= sizes.vocab_size:
        raise ModelError(
            f"the token that ends a sequence has id {max(ids)}, but the model knows {sizes.vocab_size} tokens: this "
            "tokenizer belongs to another model. Compare the tokenizer files with those of the model's publisher."
        )
    return tuple(sorted(ids))
