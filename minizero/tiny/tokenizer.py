"""The tiny model's tokenizer: frequent chunks of its world as whole tokens, single bytes for everything else.

Reading order: `build_tokenizer`, `chunks`. A chunk is matched leftmost and longest before anything else, and the rest
falls apart into bytes, so every text survives decode(encode(text)). A chunk ends wherever a prompt is cut (the blank
line before the prefill, the fence's label), hence encode(prompt) + encode(completion) = encode(prompt + completion).

AutoTokenizer reads the files as a Qwen2Tokenizer, as it does for every Qwen2 model: that one puts text into Unicode's
composed form (NFC) first, which changes nothing in programs but decomposed accents in string literals.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from minizero.prompts.compact import CLOSE, END_THINK, INPUT, MESSAGE, OUTPUT, PYTHON, THINK
from minizero.tiny.operations import FAMILIES
from minizero.types import USUAL_TYPES

PAD = "<pad>"
EOS = "<eos>"
VOCABULARY = 448  # rounded up to a multiple of 64; the last ids stand for nothing


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, always the same; pad is id 0, EOS id 1. Texts that spell `<eos>` are encoded as bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([PAD, EOS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(PAD, special=True), AddedToken(EOS, special=True)])
    tokenizer.add_tokens([AddedToken(chunk, normalized=False, special=False) for chunk in chunks()])
    assert tokenizer.get_vocab_size() <= VOCABULARY
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call,unused-ignore]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=PAD,  # never met; named because Qwen2Tokenizer would add one of its own
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def chunks() -> list[str]:
    """The texts of more than one character that are one token each, in the order of their ids."""
    fences = [PYTHON, INPUT, OUTPUT, MESSAGE]
    texts = [CLOSE, CLOSE + "\n", *fences, *(CLOSE + fence for fence in fences)]
    texts += [f"# propose {task_type.value}\n" for task_type in USUAL_TYPES]
    texts += ["# ", " lines\n", " lines\n\n", " inputs\n"]
    texts += [THINK, *(END_THINK + fence for fence in (INPUT, OUTPUT, PYTHON)), "yes\n", "no\n"]
    texts += ["def f(x):\n    x = ", "def f(x):\n    return ", "\n    x = ", "\n    return "]
    texts += [piece for template, _, _ in FAMILIES for piece in template.split("{}")]
    texts += [", "]
    texts += [str(number) for number in range(10, 100)]
    return [text for text in dict.fromkeys(texts) if len(text) > 1]
