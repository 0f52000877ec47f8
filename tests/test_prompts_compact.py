"""The compact prompt style: what the tiny model reads, to the letter."""

import pytest

from minizero.config.tasks import AdmissionConfig
from minizero.prompts import compact
from minizero.tasks.parsing import parse_answer, parse_proposal
from minizero.types import Answer, Pair, Proposal, Task, TaskType

REVERSE = "def f(x):\n    return x[::-1]"
DEDUCTION = Task(TaskType.DEDUCTION, REVERSE, (Pair("[3, 1]", "[1, 3]"),))
ABDUCTION = Task(TaskType.ABDUCTION, REVERSE, (Pair("[3, 1]", "[1, 3]"),))
INDUCTION = Task(TaskType.INDUCTION, REVERSE, (Pair("[3, 1]", "[1, 3]"), Pair("'ab'", "'ba'")), message="f", shown=1)


def text_of(prompt):
    (message,) = prompt.messages
    assert message.role == "user"
    assert not prompt.chat
    assert prompt.stop == ()
    return message.content


def test_a_deduction_shows_program_and_input_and_leaves_the_beginning_to_the_model():
    prompt = compact.solve(DEDUCTION)
    assert text_of(prompt) == "```python\ndef f(x):\n    return x[::-1]\n```\n```input\n[3, 1]\n```\n\n"
    assert prompt.prefill == ""


def test_an_abduction_shows_program_and_output():
    prompt = compact.solve(ABDUCTION)
    assert text_of(prompt) == "```python\ndef f(x):\n    return x[::-1]\n```\n```output\n[1, 3]\n```\n\n"


@pytest.mark.parametrize(
    ("task", "opening"), [(DEDUCTION, "```output\n"), (ABDUCTION, "```input\n"), (INDUCTION, "```python\n")]
)
def test_the_first_token_can_be_given_to_an_answer_at_once_or_to_reasoning(task, opening):
    free, at_once, reasoned = (compact.solve(task, think=think) for think in ("auto", "off", "on"))
    assert (free.prefill, at_once.prefill, reasoned.prefill) == ("", opening, "<think>\n")
    assert free.messages == at_once.messages == reasoned.messages


def test_an_induction_shows_its_shown_pairs_and_message_and_neither_program_nor_hidden_pairs():
    prompt = compact.solve(INDUCTION)
    assert text_of(prompt) == "```input\n[3, 1]\n```\n```output\n[1, 3]\n```\n```message\nf\n```\n\n"


def test_an_induction_without_a_message_has_no_message_block():
    task = Task(TaskType.INDUCTION, REVERSE, INDUCTION.pairs, shown=1)
    assert "message" not in text_of(compact.solve(task))


def test_a_proposal_is_asked_for_by_type_length_and_examples():
    prompt = compact.propose(TaskType.DEDUCTION, [DEDUCTION], lines=2, inputs=8)
    assert text_of(prompt) == (
        "# propose deduction\n# 2 lines\n```python\ndef f(x):\n    return x[::-1]\n```\n```input\n[3, 1]\n```\n\n"
    )
    assert prompt.prefill == "```python\n"


def test_without_examples_and_length_only_the_type_is_asked_for():
    assert text_of(compact.propose(TaskType.ABDUCTION, [], lines=None, inputs=8)) == "# propose abduction\n\n"


def test_an_induction_proposal_is_about_the_first_example_and_a_number_of_inputs():
    prompt = compact.propose(TaskType.INDUCTION, [DEDUCTION, INDUCTION], lines=3, inputs=8)
    assert text_of(prompt) == "# propose induction\n# 8 inputs\n```python\ndef f(x):\n    return x[::-1]\n```\n\n"
    assert prompt.prefill == "```input\n"


@pytest.mark.parametrize(
    ("task", "completion", "answer"),
    [
        (DEDUCTION, "[1, 3]\n```\n", "[1, 3]"),
        (ABDUCTION, "[3, 1]\n```\n", "[3, 1]"),
        (INDUCTION, REVERSE + "\n```\n", REVERSE),
    ],
    ids=["deduction", "abduction", "induction"],
)
def test_the_parser_reads_an_answer_that_continues_the_prefill(task, completion, answer):
    text = compact.solve(task, think="off").prefill + completion
    assert parse_answer(task.type, text, style="compact") == Answer(task.type, answer)


def test_the_parser_reads_a_proposal_that_continues_the_prefill():
    text = (
        compact.propose(TaskType.DEDUCTION, [], lines=1, inputs=8).prefill + REVERSE + "\n```\n```input\n[3, 1]\n```\n"
    )
    proposal = parse_proposal(TaskType.DEDUCTION, text, style="compact", settings=AdmissionConfig())
    assert proposal == Proposal(TaskType.DEDUCTION, REVERSE, ("[3, 1]",))


def test_the_parser_reads_an_induction_proposal_that_continues_the_prefill():
    prefill = compact.propose(TaskType.INDUCTION, [DEDUCTION], lines=None, inputs=2).prefill
    text = prefill + "[3]\n```\n```input\n'ab'\n```\n```message\nf\n```\n"
    proposal = parse_proposal(
        TaskType.INDUCTION, text, style="compact", settings=AdmissionConfig(), program=REVERSE, inputs=2
    )
    assert proposal == Proposal(TaskType.INDUCTION, REVERSE, ("[3]", "'ab'"), "f")
