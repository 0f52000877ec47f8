"""Validation during a run on CRUXEval: a fixed subset, half of each question, at step 0 and paired with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minizero.config import load_config
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.run_loop import start
from minizero.selfplay.validation import Validation, held_out_keys, held_out_tasks, validate
from minizero.tasks.programs import program_key
from minizero.types import ConfigError, Request, TaskType
from sandbox import Sandbox


def test_cruxeval_gives_a_hundred_of_each_question_by_default_of_200(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIZERO_DATA", str(data))
    config = load_config([], ["eval.tasks=cruxeval", "eval.limit=200"])
    found = held_out_tasks(config)
    assert [task.type for task in found] == [TaskType.DEDUCTION] * 100 + [TaskType.ABDUCTION] * 100
    assert [task.id for task in found] == [task.id for task in held_out_tasks(config)]
    keys = held_out_keys(config)
    assert {program_key(task.program) for task in found} <= keys
    assert len(keys) > 700  # of all 800, so that no proposal repeats one


def test_right_and_wrong_answers_to_cruxeval_are_told_apart(
    box: Sandbox, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIZERO_DATA", str(data))
    config = load_config([], ["eval.tasks=cruxeval", "eval.limit=8", "eval.samples=2"])
    found = held_out_tasks(config)

    def script(request: Request, index: int) -> str:
        """Right greedily, and in the first of two samples."""
        task = found[int(request.id.split("/")[1])]
        kind, text = ("output", task.output) if task.type is TaskType.DEDUCTION else ("input", task.pairs[0].input)
        text = text if index == 0 else "'wrong'"
        return f"</think> <answer>```{kind}\n{text}\n```</answer>"

    result = validate(found, config, step=0, sampler=ScriptedSampler(script), box=box, style="r1")
    values = result.metrics()
    for kind in ("", "/deduction", "/abduction"):
        assert (values[f"eval/greedy{kind}"], values[f"eval/solve_rate{kind}"]) == (1.0, 0.5)


@pytest.mark.full
def test_a_run_validates_on_cruxeval_at_step_0_and_is_paired_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIZERO_DATA", str(data))
    settings = [
        "selfplay.steps=1", "selfplay.proposals=2", "selfplay.solves=8", "selfplay.attempts=2", "eval.tasks=cruxeval",
        "selfplay.propose_max_tokens=32", "selfplay.solve_max_tokens=16",
        "eval.limit=6", "eval.samples=2", "run.threads=1", "sandbox.workers=1", f"run.dir={str(tmp_path)!r}",
    ]  # fmt: skip
    run = start(load_config([Path(__file__).parents[2] / "configs" / "tiny.toml"], settings))
    passes = [Validation.from_json(path.read_text()) for path in sorted((run / "eval").glob("step-*.json"))]
    assert [found.step for found in passes] == [0, 1]
    kinds = [row["type"] for row in passes[0].rows]
    assert kinds == ["deduction"] * 3 + ["abduction"] * 3
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert "eval/change" in {name for row in rows for name in row}


def test_a_file_of_tasks_may_be_in_azrs_seed_format_or_ours(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    ours = {
        "type": "induction",
        "program": "def f(a):\n    return a",
        "pairs": [["1", "1"], ["2", "2"]],
        "message": "m",
    }
    rows: list[dict[str, object]] = [
        {"snippet": "def f(a):\n    return a + 1", "input": "3", "output": "4", "imports": []},
        {"snippet": "def f(a):\n    return a", "inputs": ["1", "2"], "outputs": ["1", "2"], "message": "the same"},
        ours | {"shown": 1},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    config = load_config([], [f"eval.tasks={str(path)!r}", "eval.limit=9"])
    found = held_out_tasks(config)
    assert [(task.type, task.pairs[0].output) for task in found] == [
        (TaskType.DEDUCTION, "4"), (TaskType.ABDUCTION, "4"), (TaskType.INDUCTION, "1"), (TaskType.INDUCTION, "1"),
    ]  # fmt: skip
    assert held_out_keys(config) == {program_key(task.program) for task in found}
    path.write_text(json.dumps(rows[0]) + '\n{"snippet": "def f(a): return a"}\n')
    with pytest.raises(
        ConfigError, match=r"line 2: no task \(KeyError: 'input'\)\. Expected .* snippet, input, output"
    ):
        held_out_tasks(config)
