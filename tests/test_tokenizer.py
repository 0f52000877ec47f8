"""Tokenizers and chat templates as they are in the wild: each oddity is met by a small one made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from minizero import prompts
from minizero.config.tasks import PromptConfig
from minizero.evaluation.formats import ask
from minizero.evaluation.problems import Problem
from minizero.evaluation.suites import suite
from minizero.models.tokenizer import Tokenizer, check_tokenizer, make_tokenizer
from minizero.types import Message, ModelError, Pair, Prompt, Task, TaskType

SIZES = SimpleNamespace(vocab_size=260, eos_token_id=256, pad_token_id=None)
CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
ALWAYS_THINKS = CHATML.replace("<assistant>", "<assistant><think>\n")  # R1, Qwen3-Thinking
MAY_THINK = CHATML.replace(
    "<assistant>",
    "<assistant>{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}",
)  # Qwen3


def backend(*, bos: bool = False, template: str | None = None, **more: Any) -> Any:
    """Bytes, <eos> 256, <pad> 257, <s> 258; with `bos` it begins every text with <s>, as Llama's does."""
    from tokenizers import Tokenizer as Core
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Core(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<eos>", "<pad>", "<s>"])
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 258)])
    given = {"eos_token": "<eos>", "pad_token": "<pad>", "bos_token": "<s>"} | more
    made: Any = PreTrainedTokenizerFast(tokenizer_object=core, **given)
    made.chat_template = template
    return made


def tokenizer(made: Any, **more: Any) -> Tokenizer:
    return make_tokenizer(made, SIZES, (256,), **more)


def chat(*messages: tuple[str, str], prefill: str = "") -> Prompt:
    return Prompt(tuple(Message(role, text) for role, text in messages), prefill=prefill, chat=True)  # type: ignore[arg-type]


def text_of(made: Tokenizer, prompt: Prompt) -> str:
    return str(made.backend.decode(made.encode(prompt)))


def test_a_template_without_a_system_role_gets_the_system_text_in_the_first_user_turn() -> None:
    made = tokenizer(backend(template=NO_SYSTEM))
    prompt = chat(("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "2+2"), prefill="4")
    assert text_of(made, prompt) == (
        "<user>Be brief.\n\nHi</user><assistant>Yes?</assistant><user>2+2</user><assistant>4"
    )


def test_a_template_with_a_system_role_keeps_it() -> None:
    made = tokenizer(backend(template=CHATML))
    assert text_of(made, chat(("system", "A"), ("user", "B"))) == "<system>A</system><user>B</user><assistant>"


def test_a_template_that_refuses_everything_is_an_error_with_its_own_words() -> None:
    made = tokenizer(backend(template="{{ raise_exception('roles must alternate') }}"))
    with pytest.raises(ModelError, match="roles must alternate"):
        made.encode(chat(("user", "A"), ("user", "B")))
    with pytest.raises(ModelError, match="roles must alternate"):
        made.encode(chat(("system", "A"), ("user", "B")))


def test_a_prefill_never_lands_inside_a_think_part() -> None:
    made = tokenizer(backend(template=ALWAYS_THINKS))
    assert text_of(made, chat(("user", "A"), prefill="```python\n")).endswith(
        "<assistant><think>\n\n</think>\n\n```python\n"
    )
    assert text_of(made, chat(("user", "A"))).endswith("<assistant><think>\n")  # it may think where nothing is begun


@pytest.mark.parametrize(
    ("think", "end"),
    [("on", "<assistant>"), ("off", "<assistant><think>\n\n</think>\n\n"), ("auto", "<assistant>")],
)
def test_a_template_with_the_choice_is_told(think: Any, end: str) -> None:
    made = tokenizer(backend(template=MAY_THINK), think=think)
    assert text_of(made, chat(("user", "A"))).endswith("</user>" + end)


def test_a_template_that_calls_the_choice_thinking_is_told_too() -> None:
    template = CHATML.replace("<assistant>", "<assistant>{% if thinking %}<think>{% else %}</think>{% endif %}")
    for think, end in (("on", "<think>"), ("off", "</think>")):
        assert text_of(tokenizer(backend(template=template), think=think), chat(("user", "A"))).endswith(end)


@pytest.mark.parametrize("think", ["on", "off", "auto"])
@pytest.mark.parametrize("template", [CHATML, ALWAYS_THINKS, MAY_THINK])
def test_prompts_of_the_style_chat_never_begin_an_answer_inside_a_think_part(template: str, think: Any) -> None:
    made, task = (
        tokenizer(backend(template=template), think=think),
        Task(TaskType.DEDUCTION, "def f(x):\n    return x", (Pair("1", "1"),)),
    )
    settings = PromptConfig.model_validate({"style": "chat", "think": think})
    for prompt in (
        prompts.solve("chat", task, settings=settings),
        prompts.propose("chat", task.type, [task], settings=settings),
    ):
        text = text_of(made, prompt)
        assert text.endswith(prompt.prefill)
        if prompt.prefill:
            assert text.count("<think>") == text.count("</think>")


def test_a_text_begins_with_exactly_one_bos_where_the_tokenizer_has_one() -> None:
    made = tokenizer(backend(bos=True))
    assert made.encode(Prompt((Message("user", "a"),), prefill="b")) == [258, *made.backend("ab").input_ids[1:]]
    assert made.encode(Prompt((Message("user", "<s>a"),))).count(258) == 1
    assert 258 not in tokenizer(backend()).encode(Prompt((Message("user", "a"),)))


def test_the_prompts_of_r1_and_of_the_evaluation_format_direct_begin_with_exactly_one_bos() -> None:
    task = Task(TaskType.DEDUCTION, "def f(x):\n    return x", (Pair("1", "1"),))
    data = {"program": task.program, "input": "1", "output": "1"}
    problem = Problem("p", task.program, entry="f", data=data)
    written = [
        prompts.solve("r1", task, settings=PromptConfig()),
        prompts.propose("r1", task.type, [task], settings=PromptConfig()),
        *(ask(suite(name), problem, "direct") for name in ("cruxeval-o", "cruxeval-i", "humaneval")),
    ]
    for prompt in written:
        assert not prompt.chat
        for bos in (True, False):
            ids = tokenizer(backend(bos=bos)).encode(prompt)
            assert (ids.count(258), ids[0] == 258) == (int(bos), bos)


@pytest.mark.parametrize("own", ["", "{{ bos_token }}"])
def test_a_chat_begins_as_its_template_says(own: str) -> None:
    made = tokenizer(backend(bos=True, template=own + CHATML))
    assert made.encode(chat(("user", "a"))).count(258) == bool(own)


@pytest.mark.parametrize(
    ("named", "pad"),
    [({"pad_token": "<pad>"}, 257), ({"pad_token": "<eos>"}, 256), ({"pad_token": None}, 256)],
)
def test_padding_needs_no_token_of_its_own(named: dict[str, Any], pad: int) -> None:
    assert tokenizer(backend(**named)).pad_id == pad


def test_a_tokenizer_that_pads_on_the_left_encodes_as_any_other() -> None:
    prompt = Prompt((Message("user", "abc"),))
    assert tokenizer(backend(padding_side="left")).encode(prompt) == tokenizer(backend()).encode(prompt)


def test_every_end_of_sequence_counts() -> None:
    sizes = SimpleNamespace(vocab_size=32064, eos_token_id=32000)
    generation = {"eos_token_id": [32007, 32001, 32000]}  # Phi-3.5's
    assert check_tokenizer(SimpleNamespace(eos_token_id=32000), sizes, generation, "r1") == (32000, 32001, 32007)


def test_a_token_that_was_added_beyond_the_embedding_is_named_when_it_is_met() -> None:
    odd = backend()
    odd.add_tokens(["<new>", "<newer>"])
    assert len(odd) > SIZES.vocab_size
    odd.pad_token = "<newer>"  # many fine-tunes add a padding token and leave the model as it is
    made = tokenizer(odd)
    assert made.pad_id == 256
    assert made.encode(Prompt((Message("user", "a<new>"),)))[-1] == 259
    with pytest.raises(ModelError, match=r"token 260 \('<newer>'\), but the model's embedding has 260 rows"):
        made.encode(Prompt((Message("user", "a<newer>"),)))


def test_special_tokens_are_not_text() -> None:
    made = tokenizer(backend())
    assert made.decode([*made.encode(Prompt((Message("user", "a\r\nb"),))), 256]) == "a\r\nb"
