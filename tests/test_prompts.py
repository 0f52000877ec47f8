"""Prompts show what the role may see, ask for a form that the parser reads, and never show what is to be found."""

from __future__ import annotations

import pytest

from minizero import prompts
from minizero.config.tasks import AdmissionConfig, PromptConfig
from minizero.prompts import r1
from minizero.tasks.parsing import format_ok, parse_answer, parse_proposal
from minizero.types import Answer, Pair, Prompt, Proposal, Role, Task, TaskType

DEDUCTION, ABDUCTION, INDUCTION = TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION
STYLES = ("r1", "chat", "compact")
PROGRAM = "def f(word, k):\n    return word * k"
PAIRS = tuple(Pair(f"'{letter}{{}}', 2", f"'{letter}{{}}{letter}{{}}'") for letter in "uvwxyz")
TASKS = {
    DEDUCTION: Task(DEDUCTION, PROGRAM, PAIRS[:1]),
    ABDUCTION: Task(ABDUCTION, PROGRAM, PAIRS[:1]),
    INDUCTION: Task(INDUCTION, PROGRAM, PAIRS, "Repetition {is} the key.", shown=3),
}
SETTINGS = PromptConfig(induction_inputs=6, induction_shown=3)


def text_of(prompt: Prompt) -> str:
    return "\n".join(message.content for message in prompt.messages)


@pytest.mark.parametrize("style", STYLES)
def test_a_solve_prompt_shows_the_given_parts_and_hides_the_answer(style: str) -> None:
    deduction, abduction, induction = (text_of(prompts.solve(style, TASKS[t], settings=SETTINGS)) for t in TASKS)
    assert [part in deduction for part in (PROGRAM, "'u{}', 2", "'u{}u{}'")] == [True, True, False]
    assert [part in abduction for part in (PROGRAM, "'u{}', 2", "'u{}u{}'")] == [True, False, True]
    assert [part in induction for part in (PROGRAM, "Repetition {is} the key.")] == [False, True]
    for shown, pair in zip([True] * 3 + [False] * 3, PAIRS, strict=True):
        assert (pair.input in induction) is shown
        assert (pair.output in induction) is shown


@pytest.mark.parametrize("style", STYLES)
def test_a_propose_prompt_shows_every_example(style: str) -> None:
    examples = [Task(DEDUCTION, f"def f(x):\n    return x + {i}", (Pair(f"{i}00", f"{i}0{i}"),)) for i in range(6)]
    for task_type in (DEDUCTION, ABDUCTION):
        text = text_of(prompts.propose(style, task_type, examples, settings=SETTINGS))
        assert all(example.program in text and example.input in text for example in examples)


@pytest.mark.parametrize("style", STYLES)
def test_an_induction_proposal_is_about_the_first_example_and_says_how_many_inputs(style: str) -> None:
    text = text_of(prompts.propose(style, INDUCTION, [TASKS[DEDUCTION]], settings=SETTINGS))
    assert PROGRAM in text
    assert "6 " in text
    with pytest.raises(ValueError, match="expected at least one example"):
        prompts.propose(style, INDUCTION, [], settings=SETTINGS)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("lines", [1, 3])
def test_a_number_of_lines_is_asked_for_only_when_given(style: str, lines: int) -> None:
    examples = [TASKS[DEDUCTION]]
    without = text_of(prompts.propose(style, DEDUCTION, examples, settings=SETTINGS))
    asked = text_of(prompts.propose(style, DEDUCTION, examples, settings=SETTINGS, lines=lines))
    assert asked != without
    assert f"{lines} line" in asked
    assert f"{lines} line" not in without


@pytest.mark.parametrize("style", STYLES)
def test_without_examples_a_propose_prompt_still_tells_the_form(style: str) -> None:
    text = text_of(prompts.propose(style, ABDUCTION, [], settings=SETTINGS))
    assert text
    assert style == "compact" or "```python" in text


def test_the_two_propose_prompts_name_the_right_difficulty() -> None:
    deduction = text_of(prompts.propose("r1", DEDUCTION, [], settings=SETTINGS))
    abduction = text_of(prompts.propose("r1", ABDUCTION, [], settings=SETTINGS))
    assert "telling the output takes several steps" in deduction
    assert "finding an input" not in deduction
    assert "finding an input that gives the output takes several steps" in abduction
    assert "telling the output" not in abduction


def test_r1_is_plain_text_that_starts_inside_the_thought() -> None:
    prompt = prompts.solve("r1", TASKS[DEDUCTION], settings=SETTINGS)
    assert not prompt.chat
    assert prompt.prefill == "<think>"
    assert prompt.stop == ("</answer>",)
    assert text_of(prompt).endswith("\nAssistant: ")
    assert text_of(prompt).count("Assistant:") == 1
    assert prompts.solve("r1", TASKS[DEDUCTION], settings=PromptConfig(stop_at_answer=False)).stop == ()


def test_the_r1_form_of_the_prompt_is_what_the_parser_reads() -> None:
    text = r1.propose(DEDUCTION, [], lines=None, inputs=10, stop_at_answer=True).prefill
    text += " plan </think> <answer>```python\ndef f(x):\n    return x\n```\n```input\n3\n```</answer>"
    found = parse_proposal(DEDUCTION, text, style="r1", settings=AdmissionConfig())
    assert found == Proposal(DEDUCTION, "def f(x):\n    return x", ("3",))
    assert format_ok(Role.PROPOSE, DEDUCTION, text, style="r1")


@pytest.mark.parametrize("task_type", [DEDUCTION, ABDUCTION])
def test_the_turns_of_a_chat_prompt_are_proposals_that_the_parser_reads(task_type: TaskType) -> None:
    prompt = prompts.propose("chat", task_type, [TASKS[task_type]] * 2, settings=SETTINGS)
    assert prompt.chat
    assert [message.role for message in prompt.messages] == ["system", *["user", "assistant"] * 2, "user"]
    for message in prompt.messages:
        if message.role == "assistant":
            assert message.content.startswith(prompt.prefill)
            assert message.content.endswith(prompt.stop)
            assert format_ok(Role.PROPOSE, task_type, message.content, style="chat")
            found = parse_proposal(task_type, message.content, style="chat", settings=AdmissionConfig())
            assert found == Proposal(task_type, PROGRAM, ("'u{}', 2",))


def test_the_turns_of_a_chat_induction_prompt_are_proposals_that_the_parser_reads() -> None:
    for examples in ([TASKS[DEDUCTION]], [TASKS[DEDUCTION], TASKS[INDUCTION]]):
        prompt = prompts.propose("chat", INDUCTION, examples, settings=SETTINGS)
        assert [message.role for message in prompt.messages] == ["system", "user", "assistant", "user"]
        answer = prompt.messages[2].content
        assert answer.startswith(prompt.prefill)
        assert format_ok(Role.PROPOSE, INDUCTION, answer, style="chat")
        found = parse_proposal(INDUCTION, answer, style="chat", settings=AdmissionConfig(), program=PROGRAM, inputs=6)
        assert isinstance(found, Proposal)
        assert len(found.inputs) == 6


def test_a_single_poor_example_is_joined_by_one_that_shows_the_form() -> None:
    identity = Task(DEDUCTION, "def f(a):\n    return a", (Pair("'Hello world'", "'Hello world'"),))
    prompt = prompts.propose("chat", DEDUCTION, [identity], settings=SETTINGS)
    assert sum(message.role == "assistant" for message in prompt.messages) == 2


@pytest.mark.parametrize(
    ("task_type", "completion"), [(DEDUCTION, "'a'"), (ABDUCTION, "1, 2"), (INDUCTION, "def f(): 1")]
)
def test_without_thinking_the_answer_begins_in_its_block_and_ends_with_it(task_type: TaskType, completion: str) -> None:
    prompt = prompts.solve("chat", TASKS[task_type], settings=PromptConfig(think="off"))
    text = prompt.prefill + completion + prompt.stop[0]
    assert parse_answer(task_type, text, style="chat") == Answer(task_type, completion)
    assert format_ok(Role.SOLVE, task_type, text, style="chat")
    thinking = prompts.solve("chat", TASKS[task_type], settings=PromptConfig())
    assert (thinking.prefill, thinking.stop) == ("", ())


@pytest.mark.parametrize("task_type", TASKS)
@pytest.mark.parametrize("style", STYLES)
def test_prompt_think_changes_the_words_of_chat_the_first_token_of_compact_and_nothing_of_r1(
    style: str, task_type: TaskType
) -> None:
    on, off, auto = (
        prompts.solve(style, TASKS[task_type], settings=PromptConfig.model_validate({"think": think}))
        for think in ("on", "off", "auto")
    )
    assert (on == auto) is (style != "compact")  # of chat, auto leaves the choice to the template, and never forbids
    assert (on == off) is (style == "r1")
    proposals = [
        prompts.propose(style, task_type, [TASKS[task_type]], settings=PromptConfig.model_validate({"think": think}))
        for think in ("on", "off", "auto")
    ]
    assert proposals[0] == proposals[1] == proposals[2]


def test_a_style_that_cannot_do_what_think_asks_is_refused() -> None:
    with pytest.raises(ValueError, match="think = off, but the style r1"):
        PromptConfig.model_validate({"style": "r1", "think": "off"})


def test_a_bool_is_no_answer_to_whether_it_may_think() -> None:
    with pytest.raises(ValueError, match="'on', 'off' or 'auto'"):
        PromptConfig.model_validate({"think": True})


def test_an_unknown_style_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="expected one of r1, chat, few-shot, direct, compact"):
        prompts.solve("auto", TASKS[DEDUCTION], settings=SETTINGS)


def test_some_pairs_of_an_induction_task_must_stay_hidden() -> None:
    with pytest.raises(ValueError, match="leaves no hidden pair"):
        PromptConfig(induction_inputs=4, induction_shown=4)


def test_the_style_that_was_asked_for_goes_before_the_model_s_own() -> None:
    assert PromptConfig().style_or("chat") == "chat"
    assert PromptConfig(style="r1").style_or("chat") == "r1"
