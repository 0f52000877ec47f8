"""A byte-level tokenizer as the fields of a GGUF file.

Reading order: pre_tokenizer_name (how it splits text, by llama.cpp's name), add_vocabulary. llama.cpp knows ways of
splitting by name only, so a tokenizer that splits in another way is refused, not written almost rightly.
"""

from __future__ import annotations

import json
from typing import Any

NEVER = "ÿ"  # how byte-level vocabularies write the byte 0xFF, which is in no UTF-8 text
SPLIT_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}NUMBERS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {SPLIT_WORDS.replace("NUMBERS", ""): "qwen2", SPLIT_WORDS.replace("NUMBERS", "{1,3}"): "llama-bpe"}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # GGUF's token types


def pre_tokenizer_name(tokenizer: Any) -> str:
    """llama.cpp's name for the way in which a tokenizer splits text before its merges; "" for a way without one."""
    core = _core(tokenizer)
    if not core or core["model"].get("type") != "BPE" or core["model"].get("byte_fallback"):
        return ""
    parts = core.get("pre_tokenizer") or {}
    parts = parts.get("pretokenizers", [parts])
    kinds = [part.get("type") for part in parts]
    if "ByteLevel" not in kinds or parts[-1].get("add_prefix_space"):
        return ""
    if kinds == ["Split", "ByteLevel"]:
        return SPLITS.get(parts[0]["pattern"].get("Regex", ""), "")
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
        return "smollm"
    # Without merges every byte is a token, however the text was split before.
    is_split = parts[-1].get("use_regex", True)
    return "gpt-2" if kinds == ["ByteLevel"] and (is_split or not core["model"]["merges"]) else ""


def add_vocabulary(writer: Any, tokenizer: Any, rows: int) -> None:
    """Tokens, their types, merges, special ids and the chat template. `rows`: of the embedding; those without a token
    get a name of their own, and are marked as unused."""
    core = _core(tokenizer)
    tokens = [f"[PAD{i}]" for i in range(rows)]
    types = [UNUSED] * rows
    for text, i in core["model"]["vocab"].items():
        tokens[i], types[i] = text, NORMAL
    for token in core["added_tokens"]:
        tokens[token["id"]] = token["content"]
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in core["model"]["merges"]]
    if not merges and UNUSED in types:  # llama.cpp reads no file without a merge: one that never applies
        tokens[types.index(UNUSED)] = NEVER + NEVER
        merges = [f"{NEVER} {NEVER}"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for add, token_id in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if token_id is not None:
            add(token_id)
    writer.add_add_bos_token(_begins_with_bos(tokenizer))
    if template := getattr(tokenizer, "chat_template", None):
        writer.add_chat_template(template)


def _core(tokenizer: Any) -> dict[str, Any]:
    """tokenizer.json as a dict; {} for a tokenizer that has none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return dict(json.loads(backend.to_str())) if backend is not None else {}


def _begins_with_bos(tokenizer: Any) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
