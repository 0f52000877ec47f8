"""From Python: train with functions, stop, resume, read; what cannot work is refused by name. One short run for all."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import minizero
from minizero import Run, SelfPlay, Stopped, load_config
from minizero.types import ConfigError, EstimatorError, MiniZeroError, RewardError, RunError, RunExists
from sandbox import Sandbox
from tests.in_process import command

ROOT = Path(__file__).parent.parent
SMALL = {
    "selfplay": {
        "proposals": 4, "solves": 4, "solve_samples": 4, "attempts": 2,
        "propose_max_tokens": 64, "solve_max_tokens": 32,
    },
    "eval.limit": 6, "eval.samples": 1, "eval.every": 2,
    "run.threads": 1, "sandbox": {"workers": 1, "wall_s": 60},
}  # fmt: skip
UNSTEADY = ("time/", "memory/", "rollout/tokens_per_s", "sandbox/wait_s")  # the clock's, not the run's
LONGEST = 400  # characters; a constant of this file, which a run has to keep with the function


def short_program(outcome: minizero.ProposalOutcome) -> float:
    """1 for an empty program, 0 for one of 400 characters."""
    assert outcome.task is not None
    return 1 - len(outcome.task.program) / LONGEST


def centred(rewards: Tensor, lengths: Tensor, groups: Mapping[str, Tensor], baseline: Tensor | None) -> Tensor:
    """The plainest estimator."""
    return rewards - rewards.mean()


def train(path: Path, **more: Any) -> Run:
    functions = {"rewards": {short_program: 0.2}, "estimator": centred}
    return minizero.train("tiny", steps=2, settings=SMALL, path=path, **functions, **more)


def outcome(run: Run) -> dict[str, Any]:
    """What does not depend on the clock: metrics, tasks, rollouts, weights."""
    rows = [{name: value for name, value in row.items() if not name.startswith(UNSTEADY)} for row in run.metrics]
    weights = (run.adapter / "model.safetensors").read_bytes()
    return {"rows": rows, "tasks": run.tasks, "rollouts": [run.rollouts(1), run.rollouts(2)], "weights": weights}


ROWS: list[dict[str, float]] = []  # what on_step was called with


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("api") / "run", on_step=ROWS.append)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped by Ctrl-C in its first step. Copy it before going on."""

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match=r"Stopped after step 1\.") as caught:
        train(tmp_path_factory.mktemp("api") / "stopped", on_step=interrupt)
    return caught.value.path


# -- a run, read ------------------------------------------------------------------------------------------------------


def test_a_run_from_python_leaves_what_one_from_the_command_line_leaves(run: Run) -> None:
    assert repr(run) == f"Run({str(run.path)!r}, 2 of 2 steps)"
    assert run.is_finished
    assert run.config.selfplay.steps == 2
    assert run.config.reward.propose.terms["short_program.py:short_program"].weight == 0.2
    assert (run.path / "report.html").is_file()
    assert str(run.manifest["settings"]).startswith("Settings: ")
    assert (run.adapter / "config.json").is_file()
    assert Path(run) == run.path


def test_on_step_gets_the_rows_of_the_metrics_file(run: Run) -> None:
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert [row["step"] for row in ROWS] == [0, 1, 2]  # 0 is a validation alone


def test_metrics_are_one_call_from_a_frame(run: Run) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    frame = pandas.DataFrame(run.metrics).set_index("step")
    assert list(frame.index) == [0, 1, 2]
    assert frame.loc[1:, "reward/propose/learnability"].notna().all()
    assert frame["eval/solve_rate"].notna().tolist() == [True, False, True]


def test_a_run_has_its_tasks_rollouts_and_validations(run: Run) -> None:
    new = [task for task in run.tasks if task.step]
    assert len(run.tasks) - len(new) == 384
    assert set(run.solve_rates) == {task.id for task in new}
    assert {row["role"] for row in run.rollouts(step=2)} == {"propose", "attempt", "solve"}
    assert [(v.step, len(v.rows)) for v in run.validation] == [(0, 6), (2, 6)]
    assert "2 steps of self-play" in run.verdict


def test_the_function_is_the_reward_term(run: Run) -> None:
    rows = [row for row in run.rollouts(1) if row["role"] == "propose" and not row["reason"]]
    assert rows
    for row in rows:
        assert row["terms"]["short_program.py:short_program"] == 1 - len(row["task_content"]["program"]) / 400


def test_the_text_of_a_function_is_kept_with_what_it_uses(run: Run) -> None:
    text = (run.path / "short_program.py").read_text()
    assert "\nLONGEST = 400\n" in text
    assert text.endswith("    assert outcome.task is not None\n    return 1 - len(outcome.task.program) / LONGEST\n")
    assert "return rewards - rewards.mean()" in (run.path / "centred.py").read_text()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        Run(tmp_path)


def test_before_the_first_checkpoint_there_is_no_adapter(stopped: Path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint yet"):
        assert Run(stopped).adapter


# -- going on ---------------------------------------------------------------------------------------------------------


def test_a_stopped_run_resumes_to_where_an_uninterrupted_one_ends(run: Run, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    assert not Run(tmp_path / "run").is_finished
    assert outcome(minizero.resume(tmp_path / "run")) == outcome(run)


def test_the_command_line_resumes_it_with_the_functions_that_it_keeps(run: Run, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    (tmp_path / "short_program.py").write_text("raise SystemExit('not this file: the run keeps the function')\n")
    done = command("selfplay", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(Run(tmp_path / "run")) == outcome(run)


def test_a_mended_function_goes_on_from_another_thread_and_the_old_text_stays(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")

    def mended(outcome: minizero.ProposalOutcome) -> float:
        return 0.25

    mended.__name__ = "short_program"
    named: dict[str, Any] = {"steps": 3, "functions": [mended], "on_step": lambda row: terms.append(row)}
    terms: list[dict[str, float]] = []
    worker = threading.Thread(target=minizero.resume, args=(tmp_path / "run",), kwargs=named)
    worker.start()
    worker.join()
    assert [row["step"] for row in terms] == [3]
    assert terms[0].get("reward/propose/short_program.py:short_program", 0.25) == 0.25
    assert (tmp_path / "run" / "short_program.py.before").read_text() == (run.path / "short_program.py").read_text()
    assert "return 0.25" in (tmp_path / "run" / "short_program.py").read_text()


def test_a_function_that_the_run_was_not_given_is_refused(run: Run) -> None:
    def other(outcome: minizero.ProposalOutcome) -> float:
        return 1.0

    with pytest.raises(RunError, match=r"not given a function called other\. It was given: centred, short_program\."):
        minizero.resume(run, functions=[other])


def test_a_new_run_takes_no_others_place(run: Run) -> None:
    with pytest.raises(RunExists, match="exists"):
        train(run.path)


# -- what cannot be kept or cannot work -------------------------------------------------------------------------------


class Callable_:
    def __call__(self, outcome: minizero.ProposalOutcome) -> float:
        return 1.0

    def method(self, outcome: minizero.ProposalOutcome) -> float:
        return 1.0


def no_argument() -> float:
    return 1.0


@pytest.mark.parametrize(
    "function",
    [lambda outcome: 1.0, functools.partial(short_program), Callable_(), Callable_().method, Callable_, len],
    ids=["a lambda", "a partial", "a callable object", "a bound method", "a class", "a built-in function"],
)
def test_what_is_not_written_with_def_is_no_reward_term(function: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"no name and text that a run could keep.*Write  def name"):
        minizero.train("tiny", rewards={function: 0.2}, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nor_an_estimator() -> None:
    with pytest.raises(EstimatorError, match="no name and text that a run could keep"):
        minizero.train("tiny", estimator=lambda rewards, lengths, groups, baseline: rewards)


def test_a_function_that_takes_something_else_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"no_argument\.py:no_argument raised TypeError: .*takes 0 positional"):
        minizero.train("tiny", rewards={no_argument: 0.2}, path=tmp_path / "run")
    with pytest.raises(EstimatorError, match=r"short_program\.py:short_program raised TypeError"):
        minizero.train("tiny", estimator=short_program, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_functions_of_one_name_are_refused() -> None:
    def terms() -> dict[Callable[..., Any], float]:
        def same(outcome: minizero.ProposalOutcome) -> float:
            return 1.0

        return {same: 0.1}

    with pytest.raises(ConfigError, match="Two functions are called same"):
        minizero.train("tiny", rewards=terms() | terms())


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"rewards": {"short": 0.2}}, ConfigError, "'short' is not a propose term"),
        ({"rewards": {short_program: True}}, ConfigError, "True is neither a weight nor a table"),
        ({"rewards": {short_program: {"weigth": 0.2}}}, ConfigError, "weigth is not a setting. Did you mean"),
        ({"estimator": "gpro"}, ConfigError, "gpro"),
        ({"steps": -1}, ConfigError, "selfplay.steps = -1"),
        ({"model": "./none"}, MiniZeroError, "./none: no such directory"),
        ({"model": minizero.load_config(), "settings": {"optim.lr": 1}}, ConfigError, "A Config is complete"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    given: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        minizero.train(**{"model": "tiny", "path": tmp_path / "run", **given})
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


# -- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_a_mapping_a_nested_one_or_texts(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[optim]\nlr = 3e-4\n[eval]\nlimit = 7\n")
    plain = load_config(
        "tiny", {"optim.lr": 2e-5, "selfplay.task_types": ["deduction"]}, files=[tmp_path / "mine.toml"]
    )
    assert (plain.optim.lr, plain.eval.limit, plain.selfplay.proposals) == (2e-5, 7, 12)
    assert plain == load_config(
        "tiny",
        {"optim": {"lr": 2e-5}, "selfplay": {"task_types": ("deduction",)}},
        files=[tmp_path / "mine.toml"],
    )
    assert plain == load_config(
        "tiny", ["optim.lr=2e-5", 'selfplay.task_types=["deduction"]'], files=[str(tmp_path / "mine.toml")]
    )


def test_settings_of_any_text_arrive_as_they_are() -> None:
    odd = 'a"b\\c\nd 😀 e=1'
    assert load_config("tiny", {"run.wandb_project": odd}).run.wandb_project == odd
    assert load_config("tiny", {"buffer.seeds": Path("a b.jsonl")}).buffer.seeds == "a b.jsonl"
    terms = load_config("tiny", {"reward": {"propose": {"terms": {"my.dir/a.py:f": 0.5}}}}).reward.propose.terms
    assert terms["my.dir/a.py:f"].weight == 0.5


def test_all_problems_come_at_once_and_a_value_of_no_type_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", {"optim.learning_rate": 1.0, "eval.limit": -3})
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match=r"optim\.lr = None \(NoneType\): expected a number, a text"):
        load_config("tiny", {"optim.lr": None})


# -- a step without a model -------------------------------------------------------------------------------------------


def test_a_step_without_a_model_takes_three_lines(box: Sandbox) -> None:
    config = load_config("tiny", {"selfplay": {"proposals": 4, "solves": 8, "attempts": 2}})
    answers = minizero.ScriptedSampler(lambda request, index: "x[::-1]\n```\n")
    play = SelfPlay(config, sampler=answers, box=box)
    assert len(play.buffer) == 384
    result = play.step(1)
    assert result.metrics["propose/rejected/no_function"] > 0
    assert [s.rollout.role for s in result.scored].count("propose") == 12


def test_a_style_that_a_model_decides_has_to_be_given(box: Sandbox) -> None:
    config = load_config("tiny", {"prompt.style": "auto"})
    with pytest.raises(ConfigError, match="Give it style=, one of r1, chat, few-shot, direct, compact"):
        SelfPlay(config, sampler=minizero.ScriptedSampler(lambda request, index: ""), box=box)


# -- the names --------------------------------------------------------------------------------------------------------


def test_every_name_is_there_and_stands_in_help() -> None:
    words = set((minizero.__doc__ or "").replace(",", " ").split())
    for name in minizero.__all__:
        assert getattr(minizero, name).__name__ == name
        assert name in words, f"help(minizero) does not say what {name} is"
        assert getattr(minizero, name).__doc__, name
    assert set(minizero.__all__) <= set(dir(minizero))


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"minizero has no Trainer\. It has: .*SelfPlay"):
        minizero.Trainer  # noqa: B018


def test_importing_the_names_loads_no_torch() -> None:
    code = (
        "import sys; from minizero import Run, Sandbox, SelfPlay, Stopped, compare, evaluate, load_config, train; "
        "print([name for name in ('torch', 'transformers', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


# -- types ------------------------------------------------------------------------------------------------------------

A_USERS_FILE = """
import minizero
from minizero import AnswerOutcome, Config, Console, Evaluation, Policy, ProposalOutcome, Run, Sandbox, ScriptedSampler
from minizero import SelfPlay, Stopped, Task, TaskType, Validation, compare, evaluate, load_config, resume, train


def short_program(outcome: ProposalOutcome) -> float:
    return 1.0 if outcome.task is None else 1 - len(outcome.task.program) / 400


def right(outcome: AnswerOutcome) -> float:
    return float(outcome.verdict.correct)


config: Config = load_config("tiny", {"optim.lr": 2e-5}, files=["a.toml"])
terms = {short_program: 0.2}
try:
    with Console() as console:
        run: Run = train(config, steps=3, rewards=terms, solver_rewards={right: 0.1}, on_step=print, progress=console)
    mixed = train("tiny", rewards={"complexity": 0.1, short_program: {"weight": 0.2, "max": 0.5}}, estimator="grpo")
except Stopped as stopped:
    run = resume(stopped.path, functions=[short_program])
rows: list[dict[str, object]] = list(run.metrics)
tasks: list[Task] = run.tasks
kinds: list[TaskType] = [task.type for task in tasks]
validations: list[Validation] = run.validation
result: Evaluation = evaluate(run, suite="humaneval+", n=4)
sentences: list[str] = compare(result, "evaluations/other", path="comparison")
with Sandbox(workers=1) as box:
    play = SelfPlay(config, sampler=ScriptedSampler(lambda request, index: "1"), box=box)
    metrics: dict[str, float] = play.step(1).metrics
policy: Policy = Policy(config)
print(minizero.__version__, rows, kinds, validations, sentences, metrics, policy)
minizero.train(model=3)
"""


@pytest.mark.slow
def test_a_users_file_is_checked_by_mypy_strict(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(A_USERS_FILE)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "user.py"]
    env = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1800)
    last = len(A_USERS_FILE.splitlines())
    assert done.stdout.splitlines()[:-1] == [
        f'user.py:{last}: error: Argument "model" to "train" has incompatible type "int"; expected "str | Config"'
        "  [arg-type]"
    ], done.stdout + done.stderr
