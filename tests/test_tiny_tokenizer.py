"""The tiny model's tokenizer: nothing is lost, and texts may be cut where prompts are cut."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from minizero.prompts import compact
from minizero.tiny.sequences import Curriculum
from minizero.tiny.sets import DIRECTORY
from minizero.tiny.tokenizer import VOCABULARY, build_tokenizer
from minizero.types import Pair, Task, TaskType

TOKENIZER = build_tokenizer()
SHIPPED = AutoTokenizer.from_pretrained(DIRECTORY)

# Text of any kind, mixed with the chunks that the tokenizer knows, in any order.
PIECES = st.sampled_from(
    ["```python\n", "\n```\n", "def f(x):\n    return ", "x[::-1]", ", 1", "12", "<eos>", "<pad>", "Ġ"]
)
TEXTS = st.lists(st.text() | PIECES, max_size=6).map("".join)


@given(TEXTS)
def test_every_text_survives(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(TEXTS)
def test_every_composed_text_survives_autotokenizer(text):
    text = unicodedata.normalize("NFC", text)
    assert SHIPPED.decode(SHIPPED.encode(text)) == text


@given(TEXTS)
def test_no_text_holds_the_end_token(text):
    assert TOKENIZER.eos_token_id not in TOKENIZER.encode(text)


def test_the_shipped_tokenizer_is_the_one_that_the_script_builds():
    curriculum = Curriculum(random.Random(0))
    for row in (curriculum.draw(1.0) for _ in range(100)):
        for branch in row.branches:
            text = row.stem + branch.prompt + "".join(piece.text for piece in branch.completion)
            assert SHIPPED.encode(text) == TOKENIZER.encode(text)
    assert SHIPPED.eos_token_id == TOKENIZER.eos_token_id == 1
    assert SHIPPED.pad_token_id == TOKENIZER.pad_token_id == 0


def test_the_vocabulary_is_small():
    assert len(TOKENIZER) <= VOCABULARY == 448
    assert len(SHIPPED) == len(TOKENIZER)


def test_a_text_may_be_cut_between_stem_prompt_and_the_pieces_of_a_completion():
    curriculum = Curriculum(random.Random(1))
    for row in (curriculum.draw(1.0) for _ in range(300)):
        for branch in row.branches:
            parts = (row.stem, branch.prompt, *(piece.text for piece in branch.completion))
            cut_ids = [token for part in parts for token in TOKENIZER.encode(part)]
            assert cut_ids == TOKENIZER.encode("".join(parts))


@pytest.mark.parametrize(
    ("task", "tokens"),
    [
        (Task(TaskType.DEDUCTION, "def f(x):\n    x = sorted(x)\n    return x[1:]", (Pair("[3, 12]", "[12]"),)), 12),
        (Task(TaskType.DEDUCTION, "def f(x):\n    return x + [3]", (Pair("[5]", "[5, 3]"),)), 10),
    ],
)
def test_prompts_are_short(task, tokens):
    prompt = compact.solve(task)
    assert len(TOKENIZER.encode(prompt.messages[0].content + prompt.prefill)) == tokens
