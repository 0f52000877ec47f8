"""Seed tasks: the zero triplet, AZR's files, our own, and what is wrong with a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minizero.selfplay.seeds import BUILTIN, read_seeds, seed_tasks, zero_tasks
from minizero.tasks.rows import read_task_lines
from minizero.types import USUAL_TYPES, SeedsError, TaskType


def test_the_zero_triplet_is_the_identity_of_hello_world() -> None:
    deduction, abduction, induction, error = zero_tasks()
    assert (deduction.input, deduction.output) == ("'Hello world'", "'Hello world'")
    assert abduction.program == "def f(a):\n    return a"
    assert len(induction.pairs) == 6
    assert (error.input, error.output) == ("'Hello world'", "NoError")


def test_azr_rows_seed_deduction_and_abduction(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    row = {"snippet": "def f(n):\n    return math.sqrt(n)", "input": "4", "output": "2.0", "imports": ["import math"]}
    path.write_text(json.dumps(row) + "\n\n")
    tasks, left_out = read_seeds(path, 10)
    assert [t.type for t in tasks] == [TaskType.DEDUCTION, TaskType.ABDUCTION]
    assert tasks[0].program.startswith("import math\n")
    assert left_out == 0


def test_azr_induction_rows_hide_half_of_their_pairs(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    row = {"snippet": "def f(x):\n    return x", "inputs": list("1234"), "outputs": list("1234"), "message": "same"}
    path.write_text(json.dumps(row))
    (task,), _ = read_seeds(path, 10)
    assert (task.type, task.shown, len(task.pairs), task.message) == (TaskType.INDUCTION, 2, 4, "same")


def test_rows_whose_output_is_no_value_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    rows = [{"snippet": "def f(x):\n    return x", "input": "1", "output": out} for out in ("1", "", "Counter()")]
    path.write_text("\n".join(map(json.dumps, rows)))
    tasks, left_out = read_seeds(path, 10)
    assert (len(tasks), left_out) == (2, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"snippet": "def f(x): pass"', "line 1"),
        ('{"snippet": "a", "input": "1", "output": "1"}\n[]', "line 2"),
        ('{"snippet": "a"}', "line 1"),
        ('{"snippet": "a", "inputs": ["1"], "outputs": [], "message": ""}', "line 1"),
        ("[" * 100_000, "line 1: not a seed task .RecursionError"),
        ("", "no seed task"),
    ],
)
def test_a_broken_seeds_file_names_the_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(text)
    with pytest.raises(SeedsError, match=words):
        read_seeds(path, 10)


def test_each_line_of_a_file_has_its_tasks_or_its_error(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    ours = {"type": "deduction", "program": "def f(x):\n    return x", "pairs": [["1", "1"]], "step": 7}
    azr = {"snippet": "def f(x):\n    return x", "input": "1", "output": "1"}
    path.write_text(f'{json.dumps(ours)}\n \n{json.dumps(azr)}\n{{"type": "deduction"}}\n')
    lines = read_task_lines(path)
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [[task.type.value for task in line.tasks] for line in lines] == [
        ["deduction"], [], ["deduction", "abduction"], [],
    ]  # fmt: skip
    assert [line.problem for line in lines] == ["", "", "", "KeyError: 'pairs'"]
    assert lines[0].tasks[0].step == 0  # where it is read now, nothing has been trained yet


def test_a_missing_seeds_file_is_told() -> None:
    with pytest.raises(SeedsError, match="cannot be read"):
        read_seeds(Path("nowhere.jsonl"), 10)


def test_the_limit_holds_for_each_type() -> None:
    tasks, _ = seed_tasks("tiny", 5, USUAL_TYPES)
    assert [sum(t.type is kind for t in tasks) for kind in USUAL_TYPES] == [5, 5, 5]


@pytest.mark.skipif(not BUILTIN.exists(), reason="the package's own seeds are not there yet")
def test_the_builtin_seeds_cover_all_types() -> None:
    tasks, left_out = seed_tasks("builtin", 100, list(TaskType))
    assert {t.type for t in tasks} == set(TaskType)
    assert left_out == 0
