"""Reasoned answers as the tiny model reads them in training: every line of them is true."""

import ast
import random

import pytest

from minizero.prompts.compact import THINK
from minizero.tasks.parsing import parse_answer
from minizero.tiny import reasoning
from minizero.tiny.quick import is_solved
from minizero.tiny.sequences import SKILL, Curriculum, completed
from minizero.tiny.tokenizer import build_tokenizer
from minizero.tiny.world import draw_example, interpret, make_task, operations_of, program_of
from minizero.types import Answer, TaskType

PROGRAM = "def f(x):\n    x = x[1:]\n    return x + 'a'"


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def runs(thought):
    """Of each try: what it begins with, its expressions, the values after them, and its verdict."""
    lines = thought.removeprefix(THINK).rstrip("\n").split("\n")
    while lines:
        end = next(place for place, line in enumerate(lines) if line in ("yes", "no"))
        (first, *rest), verdict, lines = lines[:end], lines[end], lines[end + 1 :]
        yield first, rest[::2], rest[1::2], verdict


def test_a_deduction_writes_each_expression_and_the_value_after_it():
    assert text_of(reasoning.deduce(PROGRAM, "cb")) == "<think>\nx[1:]\n'b'\nx + 'a'\n'ba'\n"


def test_an_abduction_that_is_right_at_once_is_run_forward_and_compared():
    thought = reasoning.abduce(random.Random(0), PROGRAM, "cb", "ba", tries=0)
    assert text_of(thought) == "<think>\n'cb'\nx[1:]\n'b'\nx + 'a'\n'ba'\nyes\n"


def test_an_induction_that_is_right_at_once_is_run_on_the_first_shown_input():
    example = draw_example(random.Random(1), lengths=[1.0])
    (given, shown) = (repr(values[0]) for values in (example.inputs, example.outputs))
    thought = reasoning.induce(random.Random(0), example, tries=0)
    assert text_of(thought) == f"<think>\n{given}\n{operations_of(example.program)[0]}\n{shown}\nyes\n"


def test_every_try_of_an_abduction_is_run_truly_and_only_the_last_hits_the_target():
    rng = random.Random(2)
    for example in (draw_example(rng) for _ in range(200)):
        thought = reasoning.abduce(rng, example.program, example.inputs[0], example.outputs[0], tries=2)
        *wrong, right = runs(text_of(thought))
        for given, expressions, values, verdict in [*wrong, right]:
            assert program_of(expressions) == example.program
            assert interpret(example.program, ast.literal_eval(given)) == ast.literal_eval(values[-1])
            assert verdict == ("yes" if values[-1] == repr(example.outputs[0]) else "no")
        assert right[0] == repr(example.inputs[0])
        assert "yes" not in [verdict for *_, verdict in wrong]
        assert len({given for given, *_ in [*wrong, right]}) == len(wrong) + 1


def test_every_try_of_an_induction_is_run_truly_and_the_last_is_the_program():
    rng = random.Random(3)
    tries = 0
    for example in (draw_example(rng) for _ in range(200)):
        *wrong, right = runs(text_of(reasoning.induce(rng, example, tries=2)))
        for given, expressions, values, verdict in [*wrong, right]:
            assert given == repr(example.inputs[0])
            assert interpret(program_of(expressions), example.inputs[0]) == ast.literal_eval(values[-1])
            assert verdict == ("yes" if values[-1] == repr(example.outputs[0]) else "no")
        assert program_of(right[1]) == example.program
        tries += len(wrong)
    assert tries > 50


def test_wrong_guesses_are_read_and_not_learned_but_what_comes_of_them_is():
    rng = random.Random(4)
    for example in (draw_example(rng) for _ in range(50)):
        thought = reasoning.abduce(rng, example.program, example.inputs[0], example.outputs[0], tries=2)
        guesses = [piece.text for piece in thought if not piece.learned]
        assert guesses == [f"{given}\n" for given, *_, verdict in runs(text_of(thought)) if verdict == "no"]
        thought = reasoning.induce(rng, example, tries=2)
        guesses = [piece.text for piece in thought if not piece.learned]
        wrong = [expressions for _, expressions, _, verdict in runs(text_of(thought)) if verdict == "no"]
        assert guesses == [f"{text}\n" for expressions in wrong for text in expressions]


@pytest.mark.parametrize("task_type", list(TaskType)[:3])
def test_what_follows_the_reasoning_is_the_answer_and_the_reasoning_never_is(task_type):
    rng = random.Random(5)
    for example in (draw_example(rng) for _ in range(30)):
        task = make_task(example, task_type)
        thoughts = {
            TaskType.DEDUCTION: lambda e=example: reasoning.deduce(e.program, e.inputs[0]),
            TaskType.ABDUCTION: lambda e=example: reasoning.abduce(rng, e.program, e.inputs[0], e.outputs[0], tries=2),
            TaskType.INDUCTION: lambda e=example: reasoning.induce(rng, e, tries=2),
        }
        text = text_of(completed(thoughts[task_type](), task))
        assert is_solved(task, text)
        assert parse_answer(task_type, text.replace("</think>\n", ""), style="compact") != Answer(task_type, "")
        assert not is_solved(task, text.partition("</think>")[0])  # cut in its reasoning: no answer


def test_reasoning_stays_within_the_room_that_self_play_gives_it():
    tokenizer, curriculum = build_tokenizer(), Curriculum(random.Random(6), SKILL)
    lengths = []
    for row in (curriculum.draw(1.0) for _ in range(400)):
        for branch in row.branches:
            lengths.append(sum(len(tokenizer.encode(piece.text)) for piece in branch.completion))
    assert max(lengths) < 320
    assert sum(length > 224 for length in lengths) < 0.01 * len(lengths)


def test_pieces_are_encoded_as_the_text_that_they_make():
    encode, curriculum = build_tokenizer().encode, Curriculum(random.Random(7), SKILL)
    for row in (curriculum.draw(1.0) for _ in range(200)):
        for branch in row.branches:
            pieces = [branch.prompt, *(piece.text for piece in branch.completion)]
            assert [token for piece in pieces for token in encode(piece)] == encode("".join(pieces))
