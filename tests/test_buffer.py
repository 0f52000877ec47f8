"""The task buffer: what is drawn, what is shown, what is kept, what is read back."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.selfplay.buffer import TaskBuffer, entry_line, read_entries
from minizero.types import CheckpointError, Pair, Task, TaskType

DEDUCTION, ABDUCTION, INDUCTION, ERROR = TaskType


def task(number: int, step: int = 0, kind: TaskType = DEDUCTION) -> Task:
    return Task(kind, f"def f(x):\n    return x + {number}", (Pair("1", str(1 + number)),), step=step)


def filled(*steps: int, **settings: object) -> TaskBuffer:
    buffer = TaskBuffer(lambda t: t.program, **settings)  # type: ignore[arg-type]
    for number, step in enumerate(steps):
        buffer.add([(task(number, step), 0.5)])
    return buffer


def test_max_new_takes_the_last_step_first_and_fills_from_the_whole_buffer() -> None:
    drawn = filled(0, 0, 0, 4, 4).draw(DEDUCTION, 4, random.Random(0), step=5, mix="max_new")
    assert Counter(t.step for t in drawn[:2]) == {4: 2}
    assert len(drawn) == 4


def test_half_new_takes_at_most_half_from_the_last_step() -> None:
    drawn = filled(0, 0, 0, 0, 4, 4, 4, 4).draw(DEDUCTION, 4, random.Random(0), step=5, mix="half_new")
    assert [t.step for t in drawn[:2]] == [4, 4]


def test_the_window_widens_what_is_new() -> None:
    drawn = filled(0, 0, 3, 4).draw(DEDUCTION, 2, random.Random(0), step=5, mix="max_new", window=2)
    assert {t.step for t in drawn} == {3, 4}


def test_step_mixing_never_draws_a_seed_task_while_there_are_others() -> None:
    drawn = filled(0, 1, 3).draw(DEDUCTION, 4000, random.Random(0), step=5, mix="step")
    share = Counter(t.step for t in drawn)
    assert share[0] == 0
    assert share[3] / share[1] == pytest.approx(3, rel=0.15)


def test_a_small_buffer_repeats_tasks_to_fill_the_batch() -> None:
    assert len(filled(0).draw(DEDUCTION, 5, random.Random(0), step=1)) == 5


def test_an_empty_buffer_draws_nothing() -> None:
    assert filled().draw(DEDUCTION, 5, random.Random(0), step=1) == []


def test_examples_are_different_tasks_of_the_same_type() -> None:
    shown = filled(0, 0, 0, 0).examples(DEDUCTION, 3, random.Random(0))
    assert len({t.id for t in shown}) == 3


def test_an_induction_proposal_is_about_one_program_of_the_other_buffers() -> None:
    buffer = TaskBuffer(lambda t: t.program)
    buffer.add([(task(1, kind=ABDUCTION), None), (task(2, kind=DEDUCTION), None)])
    seen = {buffer.examples(INDUCTION, 6, random.Random(i))[0].type for i in range(20)}
    assert seen == {ABDUCTION, DEDUCTION}


def test_recency_prefers_later_steps() -> None:
    buffer = filled(0, 9)
    counts = Counter(buffer.examples(DEDUCTION, 1, random.Random(i), sampling="recency")[0].step for i in range(2000))
    assert counts[9] / counts[0] == pytest.approx(10, rel=0.35)  # weights step + 1


def test_a_full_buffer_keeps_the_oldest_as_azr_does() -> None:
    assert [t.step for t in filled(1, 2, 3, cap=2).tasks(DEDUCTION)] == [1, 2]


def test_a_full_buffer_can_drop_the_oldest_and_forgets_their_keys() -> None:
    buffer = filled(1, 2, 3, cap=2, evict="oldest")
    assert [t.step for t in buffer.tasks(DEDUCTION)] == [2, 3]
    assert not buffer.knows(DEDUCTION, task(0).program)
    assert buffer.knows(DEDUCTION, task(2).program)
    drawn = Counter(t.step for t in buffer.draw(DEDUCTION, 4000, random.Random(0), step=4, mix="step"))
    assert drawn[3] / drawn[2] == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize(("keep", "kept"), [("all", [0.0, 0.5, 1.0]), ("non_one", [0.0, 0.5]), ("non_extremes", [0.5])])
def test_the_valid_program_filters_look_at_the_solve_rate(keep: str, kept: list[float]) -> None:
    buffer = TaskBuffer(lambda t: t.program, keep=keep)  # type: ignore[arg-type]
    stored = buffer.add([(task(i), rate) for i, rate in enumerate([0.0, 0.5, 1.0])])
    assert [rate for _, rate in stored] == kept


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 20), st.integers(0, 9))
def test_draws_hold_for_any_history(gaps: list[int], cap: int, seed: int) -> None:
    buffer, step = TaskBuffer(lambda t: t.program, cap=cap, evict="oldest"), 0
    for number, gap in enumerate(gaps):
        step += gap
        buffer.add([(task(number, step), None)])
    for mix in ("max_new", "half_new", "uniform", "step"):
        drawn = buffer.draw(DEDUCTION, 7, random.Random(seed), step=step + 1, mix=mix)
        assert len(drawn) == (7 if gaps else 0)
        assert set(drawn) <= set(buffer.tasks(DEDUCTION))


def test_entries_are_read_back_from_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    induction = Task(INDUCTION, "def f(x):\n    return 'é'", (Pair("1", "2"), Pair("3", "4")), "a\nmessage", 1, 3)
    text = entry_line(induction, 0.25) + entry_line(task(1), None)
    path.write_text(text + '{"torn')
    assert read_entries(path, len(text)) == [(induction, 0.25), (task(1), None)]


def test_a_buffer_file_shorter_than_the_state_says_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(entry_line(task(1), None))
    with pytest.raises(CheckpointError, match="cannot be read back"):
        read_entries(path, 10_000)


def test_what_the_buffer_holds_reads_back_to_the_same_buffer(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    buffer, text = TaskBuffer(lambda t: t.program, cap=3, evict="oldest"), ""
    for number in range(8):
        text += "".join(entry_line(t, r) for t, r in buffer.add([(task(number, number), 0.5)]))
    path.write_text(text)
    again = TaskBuffer(lambda t: t.program, cap=3, evict="oldest")
    again.add(read_entries(path, len(text)))
    assert again.tasks(DEDUCTION) == buffer.tasks(DEDUCTION)


def test_the_buffer_tells_how_unusual_a_task_is() -> None:
    buffer = TaskBuffer(lambda t: t.program, cap=2, evict="oldest")
    assert buffer.describe(task(1))["answer_surprise"] == 1.0
    buffer.add([(task(1), None), (task(2), None)])  # outputs "2" and "3"; the same shape of program
    assert buffer.describe(task(1)) == {"same_skeleton": 2, "answer_surprise": 0.5, "answer_surprise_by_type": 0.25}
    buffer.add([(task(3), None)])  # drops task(1)
    assert buffer.describe(task(1))["answer_surprise"] == 1.0


def test_induction_tasks_are_described_by_all_of_their_pairs() -> None:
    buffer = TaskBuffer(lambda t: t.program)
    buffer.add([(task(1), None)])  # input "1", output "2"
    other = Task(INDUCTION, "def f(x):\n    return x", (Pair("1", "5"), Pair("6", "2")), "m", 1)
    known = buffer.describe(other)
    assert (known["input_surprise"], known["output_surprise"]) == (0.5, 0.5)
