"""The tiny world: its programs, the wall between training and held-out programs, and the sets that ship."""

import ast
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.tasks.programs import program_key, statement_lines
from minizero.tiny import load
from minizero.tiny.operations import operations, same_family
from minizero.tiny.sets import BEYOND, IN_RANGE, write_sets
from minizero.tiny.world import PAIRS, draw_example, interpret, make_task, split_of
from minizero.types import USUAL_TYPES, TaskType
from sandbox import Sandbox
from sandbox.values import parse_value, render

KINDS = ("int", "list", "str")


def test_the_same_seed_draws_the_same_programs():
    one, other = random.Random(7), random.Random(7)
    assert [draw_example(one) for _ in range(50)] == [draw_example(other) for _ in range(50)]


def test_a_program_has_as_many_lines_as_it_says_and_is_its_own_normal_form():
    rng = random.Random(0)
    for example in (draw_example(rng) for _ in range(200)):
        assert statement_lines(example.program) == example.lines
        assert ast.unparse(ast.parse(example.program)) == example.program


def test_every_operation_is_written_as_python_writes_it():
    for kind in KINDS:
        for family in operations(kind):
            for operation in family:
                assert ast.unparse(ast.parse(operation.text)) == operation.text


def test_outputs_are_what_the_sandbox_computes():
    rng = random.Random(1)
    with Sandbox(workers=1) as box:
        for example in (draw_example(rng) for _ in range(20)):
            results = box.run_many(example.program, [repr(value) for value in example.inputs])
            assert tuple(result.value for result in results) == example.outputs


def test_the_interpreter_agrees_with_the_generator():
    rng = random.Random(2)
    for example in (draw_example(rng) for _ in range(200)):
        assert tuple(interpret(example.program, value) for value in example.inputs) == example.outputs


@pytest.mark.parametrize(
    "program",
    [
        "import os",
        "def f(x):\n    return __import__('os')",
        "def f(x):\n    return x.nothing",
        "def f(x):\n    x = x[1:]",
        "def f(x):\n    return x * 1000000000",
        "",
    ],
)
def test_the_interpreter_knows_nothing_but_the_table(program):
    assert interpret(program, [1, 2]) is None


@given(st.integers() | st.text() | st.lists(st.integers() | st.text()))
def test_the_interpreter_fails_quietly_on_any_value(value):
    rng = random.Random(3)
    for _ in range(5):
        interpret(draw_example(rng).program, value)


def test_the_splits_hold_about_their_shares_of_longer_programs():
    rng = random.Random(4)
    longer = {draw_example(rng, split=split, lengths=(0, 0, 1, 0)).program for split in ("heldout",) for _ in range(50)}
    assert {split_of(program) for program in longer} == {"heldout"}
    texts = [f"def f(x):\n    x = x + {n}\n    return x" for n in range(3000)]
    counts = Counter(map(split_of, texts))
    assert 120 < counts["heldout"] < 240  # 6 % of 3,000 is 180
    assert 70 < counts["validation"] < 170  # 4 % is 120


def test_an_induction_task_shows_half_of_its_pairs_and_the_others_have_one_pair():
    example = draw_example(random.Random(5))
    induction = make_task(example, TaskType.INDUCTION)
    assert (len(induction.pairs), induction.shown) == (PAIRS, 4)
    assert len(make_task(example, TaskType.DEDUCTION, pair=3).pairs) == 1


def test_an_induction_message_names_the_operations_in_order_of_the_alphabet_without_their_constants():
    rng = random.Random(8)
    example = next(
        e
        for e in iter(lambda: draw_example(rng), None)
        if "x + 'c'" in e.program and "x[::2]" in e.program and " if " not in e.program and e.lines == 2
    )
    assert example.message == "x + '_', x[::2]"
    assert make_task(example, TaskType.INDUCTION).message == example.message


@pytest.mark.parametrize(("name", "least"), [("heldout", 1500), ("validation", 1500), ("seeds", 300)])
def test_a_set_holds_enough_different_tasks_of_every_type_and_length(name, least):
    tasks = load(name)
    assert len(tasks) >= least
    assert len({task.id for task in tasks}) == len(tasks)
    assert {task.type for task in tasks} == set(USUAL_TYPES)
    assert {statement_lines(task.program) for task in tasks} == set(range(1, 7 if name == "seeds" else 13))
    by_type = Counter(task.type for task in tasks)
    assert max(by_type.values()) - min(by_type.values()) <= 1


def test_no_two_sets_share_a_program():
    keys = [{program_key(task.program) for task in load(name)} for name in ("heldout", "validation", "seeds")]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]


def test_training_never_draws_a_held_out_program():
    held_out = {task.program for name in ("heldout", "validation") for task in load(name)}
    rng = random.Random(6)
    drawn = {draw_example(rng, lengths=(0.5, 0.5, 0, 0)).program for _ in range(3000)}
    assert not held_out & drawn


def test_values_are_written_as_the_sandbox_writes_them():
    for task in load("validation")[:100]:
        for pair in task.pairs:
            assert render(parse_value(pair.input)) == pair.input
            assert render(parse_value(pair.output)) == pair.output


@pytest.mark.once
def test_the_shipped_sets_are_what_the_script_writes(tmp_path):
    write_sets(tmp_path)
    for name in ("heldout", "validation", "seeds"):
        assert load(name, tmp_path) == load(name)


def test_a_set_asks_every_type_equally_often_at_every_length():
    for name in ("heldout", "validation"):
        by_length = Counter((statement_lines(task.program), task.type) for task in load(name))
        assert {by_length[1, kind] for kind in USUAL_TYPES} == {20}
        assert {by_length[lines, kind] for lines in range(2, 7) for kind in USUAL_TYPES} == {67}
        assert {by_length[lines, kind] for lines in range(7, 13) for kind in USUAL_TYPES} == {28}


def test_training_never_draws_a_program_longer_than_six_lines():
    assert list(IN_RANGE) == [1, 2, 3, 4, 5, 6]
    assert list(BEYOND) == [7, 8, 9, 10, 11, 12]
    rng = random.Random(9)
    assert {draw_example(rng).lines for _ in range(300)} == set(IN_RANGE)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("x[1:]", ("x[1:]",)),
        ("x + 2", ("x + 1", "x + 2", "x + 3")),
        ("x // 2 if x % 2 == 0 else x + 3", ("x // 2 if x % 2 == 0 else x + 1", "x // 2 if x % 2 == 0 else x + 3")),
    ],
)
def test_a_family_differs_in_its_constants_alone(text, family):
    assert same_family(text) == family
