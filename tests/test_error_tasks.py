"""Error tasks, AZR's fourth type: which exception is raised, or NoError; from the prompt to the buffer and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minizero import prompts
from minizero.config import config_from, load_config, to_toml
from minizero.config.tasks import AdmissionConfig, PromptConfig
from minizero.report.pages import Section, page
from minizero.rewards import diversity
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.buffer import TaskBuffer, entry_line, read_entries
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.seeding import azr_row, grow_seeds
from minizero.selfplay.seeds import read_seeds, seed_tasks, zero_tasks
from minizero.tasks.admission import admit, check
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import format_ok, parse_answer
from minizero.types import (
    NO_ERROR,
    USUAL_TYPES,
    Answer,
    Pair,
    Proposal,
    Quiet,
    Rejection,
    Request,
    Role,
    StyleError,
    Task,
    TaskType,
)
from sandbox import Sandbox
from tests.azr_departures import ERROR_TASKS
from tests.azr_vectors import azr_records
from tests.test_selfplay import clever, game

ERROR = TaskType.ERROR
SETTINGS = AdmissionConfig()
PROGRAM = "def f(xs):\n    return max(xs) - min(xs)"
RAISING = Task(ERROR, PROGRAM, (Pair("[]", "ValueError"),))


def admitted(box: Sandbox, program: str, text: str = "3") -> str:
    """What the task's answer is, or the reason why there is none."""
    found = run_all([admit(Proposal(ERROR, program, (text,)), box, SETTINGS, step=1)])[0]
    return found.reason if isinstance(found, Rejection) else found.output


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x):\n    return x + 1", NO_ERROR),
        ("def f(x):\n    return None", NO_ERROR),
        ("def f(x):\n    return 'a' * 500", NO_ERROR),
        ("def f(x):\n    return 1 // (x - 3)", "ZeroDivisionError"),
        ("def f(x):\n    return {}[x]", "KeyError"),
        ("def f(x, y):\n    return x", "TypeError"),
        ("def f(x):\n    return f(x)", "RecursionError"),
        ("class Odd(ValueError):\n    pass\ndef f(x):\n    raise Odd(x)", "Odd"),
        ("def f(x):\n    raise StopIteration", "StopIteration"),
        ("def f(x):\n    assert x < 3, 'no'", "AssertionError"),
        ("def f(x):\n    raise type('a b', (Exception,), {})", "error"),
        ("def f(x):\n    return [KeyError, ValueError][len(str({str(i) for i in range(50)})[:99]) % 2]", "no_value"),
        ("import random\ndef f(x):\n    return x", "forbidden"),
        ("def f(x) return x", "syntax"),
        ("import no_such_module\ndef f(x):\n    return x", "denied"),
    ],
)
def test_an_exception_is_an_answer_and_what_cannot_be_told_is_rejected(
    box: Sandbox, program: str, expected: str
) -> None:
    assert admitted(box, program) == expected


@pytest.mark.parametrize("program", ERROR_TASKS)
def test_where_azr_judges_otherwise_is_listed(box: Sandbox, program: str) -> None:
    official, here, _ = ERROR_TASKS[program]
    assert admitted(box, program) == here != official


def test_other_types_still_reject_what_raises(box: Sandbox) -> None:
    found = run_all([admit(Proposal(TaskType.DEDUCTION, PROGRAM, ("[]",)), box, SETTINGS, step=1)])[0]
    assert isinstance(found, Rejection)


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("ValueError", True),
        ("valueerror", True),
        ("ValueError: max() arg is empty", True),
        ("ValueError because nothing is there", True),
        ("NoError", False),
        ("Value", False),
        ("the ValueError", False),
        ("", False),
    ],
)
def test_an_answer_is_the_name_up_to_a_space_or_colon(box: Sandbox, text: str, correct: bool) -> None:
    assert run_all([check(RAISING, Answer(ERROR, text), box, SETTINGS)])[0].correct is correct


def test_official_error_answers_are_graded_as_recorded(box: Sandbox) -> None:
    found = 0
    for record in azr_records("rewards_end_to_end.json"):
        given = record["input"]
        if given["problem_type"] != "pred_code_e":
            continue
        info = given["extra_info"]
        task = Task(ERROR, given["program"], (Pair(info["input"], info["output"]),))
        text = "<think>" + given["response_after_<think>"]
        assert format_ok(Role.SOLVE, ERROR, text, style="r1")
        answer = parse_answer(ERROR, text, style="r1")
        assert run_all([check(task, answer, box, SETTINGS)])[0].score == record["output"]["accuracy"][0]
        assert admitted(box, given["program"], info["input"]) == info["output"]
        found += 1
    assert found == 2


@pytest.mark.parametrize("style", ["r1", "chat"])
def test_the_solve_prompt_shows_program_and_input_and_asks_for_a_name(style: str) -> None:
    prompt = prompts.solve(style, RAISING, settings=PromptConfig(think="off"))
    text = "\n".join(message.content for message in prompt.messages)
    assert PROGRAM in text
    assert "NoError" in text
    assert "exception" in text
    body = "ValueError\n```" if style == "chat" else "hm </think> <answer>```output\nValueError\n```</answer>"
    assert parse_answer(ERROR, prompt.prefill + body, style=style) == Answer(ERROR, "ValueError")
    assert format_ok(Role.SOLVE, ERROR, prompt.prefill + body, style=style)


@pytest.mark.parametrize("style", ["r1", "chat"])
def test_the_propose_prompt_shows_examples_and_asks_for_what_may_raise(style: str) -> None:
    text = prompts.propose(style, ERROR, [RAISING, RAISING], settings=PromptConfig(), lines=2).messages
    whole = "\n".join(message.content for message in text)
    assert PROGRAM in whole
    assert "raise" in whole
    assert "without an error" not in whole
    assert "2 lines" in whole
    assert ("```error\nValueError" in whole) is (style == "r1")
    assert ("With some inputs it returns a value, with others it raises" in whole) is (style == "r1")
    alone = prompts.propose(style, ERROR, [], settings=PromptConfig()).messages
    assert alone


def test_the_style_of_the_tiny_model_has_no_words_for_them() -> None:
    with pytest.raises(StyleError, match="error tasks"):
        prompts.solve("compact", RAISING, settings=PromptConfig())


def prober(request: Request, index: int) -> str:
    """Proposals of which every second raises; every second attempt is right."""
    role, kind, name, *_ = request.id.split("/")
    if role == "propose" and kind == "error":
        number = int(name)
        return f"def f(x):\n    return {number} // (x - {number % 2})\n\nf(1)\n```"
    if kind == "error":
        raises = "x - 1" in request.prompt.messages[-1].content
        return (
            ("ZeroDivisionError: division" if raises else NO_ERROR) + "\n```" if index % 2 == 0 else "IndexError\n```"
        )
    return clever(request, index)


ALL_FOUR = 'selfplay.task_types=["deduction", "abduction", "induction", "error"]'


def test_a_step_proposes_attempts_rewards_and_keeps_error_tasks(box: Sandbox) -> None:
    play = game(box, prober, ALL_FOUR)
    result = play.step(1)
    kept = [(task.output, rate) for task, rate in result.stored if task.type is ERROR]
    assert kept == [(NO_ERROR, 0.5), ("ZeroDivisionError", 0.5)] * 2
    assert result.metrics["propose/admitted_frac/error"] == 1
    assert result.metrics["reward/propose/error"] == 0.5
    assert result.metrics["solve/correct_frac/error"] == 1
    again = play.step(2)
    assert again.metrics["propose/duplicate_frac"] > 0
    solved = [
        s.outcome.task for s in again.scored if rollout_row(s)["role"] == "solve" and s.rollout.task_type is ERROR
    ]  # type: ignore[union-attr]
    assert {task.step for task in solved} == {1}


def test_error_tasks_alone_can_be_played_and_are_off_by_default(box: Sandbox) -> None:
    assert game(box, prober, 'selfplay.task_types=["error"]').step(1).metrics["propose/admitted_frac/error"] == 1
    assert load_config().selfplay.task_types == USUAL_TYPES
    assert ERROR not in USUAL_TYPES


def test_names_of_exceptions_are_counted_apart_from_outputs() -> None:
    buffer = TaskBuffer(lambda task: task.id)
    buffer.add((Task(ERROR, PROGRAM, (Pair(str(n), "KeyError"),)), None) for n in range(3))
    buffer.add([(Task(ERROR, PROGRAM, (Pair("9", NO_ERROR),)), None)])
    buffer.add((Task(TaskType.DEDUCTION, PROGRAM, (Pair(str(n), "'a'"),)), None) for n in range(8))
    known = buffer.describe(RAISING)
    assert known[diversity.ANSWER_SURPRISE] == 1
    assert buffer.describe(Task(ERROR, PROGRAM, (Pair("0", "KeyError"),)))[diversity.ANSWER_SURPRISE] == 0.25
    plain = Task(TaskType.DEDUCTION, PROGRAM, (Pair("0", "'KeyError'"),))
    assert buffer.describe(plain)[diversity.ANSWER_SURPRISE] == 1


def test_a_kept_error_task_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(entry_line(RAISING, 0.5))
    assert read_entries(path, path.stat().st_size) == [(RAISING, 0.5)]


def test_a_run_from_before_still_loads(tmp_path: Path) -> None:
    config = load_config(overrides=["model.name=other"])
    old = [line for line in to_toml(config).splitlines() if "composites" not in line]
    tree = config.model_dump(mode="json", exclude_none=True)
    del tree["composites"]
    assert config_from(tree) == config
    assert len(old) < len(to_toml(config).splitlines())
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"type": "deduction", "program": "def f(x):\\n    return x", "pairs": [["1", "1"]], "step": 3}\n')
    ((task, rate),) = read_entries(path, path.stat().st_size)
    assert (task.composites, task.own_program, rate) == ((), "def f(x):\n    return x", None)


def test_seeds_of_error_tasks_are_written_and_read(box: Sandbox, tmp_path: Path) -> None:
    settings = ["selfplay.proposals=4", 'selfplay.task_types=["error"]', "prompt.style=chat"]
    sampler = ScriptedSampler(prober)
    found = grow_seeds(load_config(overrides=settings), 2, sampler=sampler, box=box, style="chat", progress=Quiet())
    assert {task.output for task in found} == {NO_ERROR, "ZeroDivisionError"}
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(azr_row(task)) + "\n" for task in found))
    again, left_out = read_seeds(path, 10, [ERROR])
    assert left_out == 0
    assert [(task.type, task.program, task.pairs) for task in again] == [(t.type, t.program, t.pairs) for t in found]


def test_a_seeds_file_without_them_is_joined_by_azrs_own() -> None:
    zero = next(task for task in zero_tasks() if task.type is ERROR)
    assert zero.output == NO_ERROR
    found, _ = seed_tasks("builtin", 10, [TaskType.DEDUCTION, ERROR])
    assert [task for task in found if task.type is ERROR] == [zero]
    assert zero not in seed_tasks("builtin", 10, USUAL_TYPES)[0]


def test_the_report_says_what_it_raises() -> None:
    row = {"type": "error", "program": PROGRAM, "pairs": [["[]", "ValueError"]]}
    answer = {"type": "error", "verdict": "correct", "reward": 1.0, "terms": {}}
    section = Section("answers", "Answers", "answers", {"cards": [(1, answer, row, "ValueError")]})
    text = page("run", "an answer", [section])
    assert "raises (to be found)" in text
    assert "ValueError" in text
