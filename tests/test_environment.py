"""An exported environment: it needs no minizero, and pays every answer what minizero pays, plain and through verifiers.

Reading order: the tasks and ANSWERS; the package as it lies on disk; what it pays in a process that cannot import
minizero; the same in the released package `verifiers`; what is refused.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minizero.config import Config, load_config
from minizero.prompts import solve
from minizero.report.export.environment import write
from minizero.report.export.environment.vendor import closure, relative
from minizero.report.export.environment.write import export_environment, find_world, package_name, question_of, rules_of
from minizero.rewards import reward_answer
from minizero.rewards.verifier import QUESTIONS, SETTINGS, Question, Verifier
from minizero.selfplay.answers import AnswerReader
from minizero.tasks.event_loop import EventLoop
from minizero.tasks.rows import task_to_json
from minizero.types import Completion, ConfigError, EvaluationError, Pair, RunError, StyleError, Task, TaskType
from sandbox import Sandbox
from tests.made_run import make_run

DOUBLE = "def f(x):\n    return [y * 2 for y in x]"
PAIRS = tuple(Pair(f"[{n}, {n + 1}]", f"[{2 * n}, {2 * n + 2}]") for n in range(4))
TASKS = {
    "deduction": Task(TaskType.DEDUCTION, DOUBLE, (PAIRS[1],)),
    "abduction": Task(TaskType.ABDUCTION, DOUBLE, (PAIRS[1],)),
    "induction": Task(TaskType.INDUCTION, DOUBLE, PAIRS, "Each one twice as large.", 2),
    "error": Task(TaskType.ERROR, "def f(x):\n    return 1 / x", (Pair("0", "ZeroDivisionError"),)),
}
SETTINGS_USED = ("sandbox.cpu_s=0.4", "sandbox.workers=2")


def program(body: str) -> str:
    return f"```python\n{body}\n```"


# What a text in style chat earns by preset azr: right 1, wrong -0.5, a broken form -1. PWNED is never made.
ANSWERS: list[tuple[str, str, float]] = [
    ("deduction", "It doubles.\n```output\n[2, 4]\n```", 1.0),
    ("deduction", "```output\n[2, 4.0]\n```", 1.0),
    ("deduction", "```output\n[2, 5]\n```", -0.5),
    ("deduction", "[2, 4]", -1.0),
    ("deduction", "", -1.0),
    ("deduction", "<think>still at it ```output\n[2, 4]\n```", -1.0),
    ("deduction", "```output\n__import__('os').system('touch PWNED')\n```", -0.5),
    ("deduction", f"```output\n{'[' * 20_000}\n```", -0.5),
    ("deduction", "```output\n\ud800\x00\n```", -0.5),
    ("abduction", "```input\n[1, 2]\n```", 1.0),
    ("abduction", "```input\n[1.0, 1 + 1]\n```", 1.0),
    ("abduction", "```input\n[3]\n```", -0.5),
    ("abduction", "I do not know.", -1.0),
    ("abduction", "```input\nopen('PWNED', 'w')\n```", -0.5),
    ("abduction", "```input\n[10 ** 10 ** 10]\n```", -0.5),
    ("induction", program("def f(x):\n    return [y + y for y in x]"), 1.0),
    ("induction", program("def f(x):\n    return x"), -0.5),
    ("induction", program("answer = 4"), -0.5),
    ("induction", "def f(x): each one twice", -1.0),
    ("induction", program("import os\n\ndef f(x):\n    os.system('touch PWNED')\n    return [y * 2 for y in x]"), -0.5),
    ("induction", program("def f(x):\n    open('PWNED', 'w').write('x')\n    return [y * 2 for y in x]"), -0.5),
    ("induction", program("class A(list):\n    __eq__ = lambda a, b: True\n\ndef f(x):\n    return A()"), -0.5),
    ("induction", program("import sys\n\ndef f(x):\n    return sys._getframe(1).f_locals"), -0.5),
    ("induction", program("def f(x):\n    while True:\n        pass"), -0.5),
    ("error", "```output\nZeroDivisionError: division by zero\n```", 1.0),
    ("error", "```output\nNoError\n```", -0.5),
    ("error", "ZeroDivisionError", -1.0),
    ("error", f"```output\n{'E' * 100_000}\n```", -0.5),
]


def seeds_file(path: Path, *tasks: Task) -> Path:
    path.write_text("".join(json.dumps(task_to_json(task)) + "\n" for task in tasks))
    return path


def settings_of(*more: str) -> Config:
    return load_config([], [*SETTINGS_USED, *more])


def paid_in_a_run(config: Config, style: str, box: Sandbox, task: Task, text: str, *, cut: bool = False) -> float:
    """The way of a run: its reader of answers, then its reward. `text` is what was sampled after the prompt."""
    loop = EventLoop()
    reader = AnswerReader(loop, box, config.admission, style)  # type: ignore[arg-type]
    completion = Completion("", 0, (), (), (), text, "length" if cut else "stop")
    outcome = loop.start(reader.read(task, solve(style, task, settings=config.prompt), completion))
    loop.run()
    return reward_answer(outcome.result(), config.reward.solve, config.reward.cut).value


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four tasks in style chat, as the package my_tasks."""
    path = tmp_path_factory.mktemp("environment")
    file = seeds_file(path / "my.jsonl", *TASKS.values())
    return export_environment(str(file), out=path / "out", name="my-tasks", settings=SETTINGS_USED)


def run_script(python: str, script: str, exported: Path, asked: Any, cwd: Path) -> Any:
    """What a script prints as JSON, in an interpreter that finds the package and no minizero."""
    head = f"import sys\nsys.path.insert(0, {str(exported)!r})\n"
    head += "sys.modules['minizero'] = sys.modules['sandbox'] = None\n"
    done = subprocess.run(
        [python, "-c", head + script], input=json.dumps(asked), cwd=cwd, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


# -- the package --


def test_the_package_is_one_that_pip_installs_and_says_what_it_is(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {"LICENSE", "README.md", "my_tasks", "pyproject.toml"}
    project = tomllib.loads((exported / "pyproject.toml").read_text())
    assert (project["project"]["name"], project["tool"]["setuptools"]["package-data"]) == (
        "my-tasks", {"my_tasks": ["data/*"]},
    )  # fmt: skip
    readme = (exported / "README.md").read_text()
    assert "| induction | 1 | a program that fits pairs and a message |" in readme
    assert "earns 1, a wrong one -0.5, a broken form -1.0" in readme
    assert "Apache License" in (exported / "LICENSE").read_text()


def test_what_is_copied_imports_the_standard_library_pydantic_and_itself_alone(exported: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"pydantic", "pydantic_core"}
    for file in (exported / "my_tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            tops = {name.partition(".")[0] for name in names}
            late = {"complexipy", "radon"} if file.name == "terms.py" else set()  # of terms for proposals
            assert tops <= allowed | late | ({"verifiers"} if file.name == "taskset.py" else set()), file
    assert not (exported / "my_tasks" / "minizero" / "selfplay").exists()


def test_an_import_becomes_relative_to_where_the_file_lies() -> None:
    text = "from minizero.types import Task\nfrom sandbox import Job, frames\nimport re\n"
    assert relative(text, "minizero.tasks.parsing", {}).splitlines()[:2] == [
        "from ..types import Task", "from ...sandbox import Job, frames",
    ]  # fmt: skip
    assert relative("from sandbox.task import Task\n", "sandbox.child", {}) == "from .task import Task\n"
    assert relative("from minizero.rewards import terms\n", "minizero.rewards.__init__", {}) == "from . import terms\n"


def test_the_whole_sandbox_comes_along_and_no_engine() -> None:
    found = closure(["minizero.rewards.verifier"])
    assert {"sandbox", "sandbox.zygote", "sandbox.seccomp", "minizero.tasks.admission", "minizero.rewards"} <= set(
        found
    )
    assert not {name for name in found if name.startswith(("minizero.models", "minizero.rollout", "minizero.selfplay"))}


def test_a_prompt_is_what_the_solver_of_a_run_is_asked(exported: Path) -> None:
    made = Verifier.read(exported / "my_tasks" / "data")
    question = made.questions[TASKS["deduction"].id]
    asked = solve("chat", TASKS["deduction"], settings=settings_of().prompt)
    assert [question.system, question.prompt] == [message.content for message in asked.messages]
    assert [row["prompt"][-1]["content"] for row in made.rows()] == [q.prompt for q in made.questions.values()]
    # Hidden pairs and answers are with the verifier, not in what is asked.
    assert PAIRS[3].output not in made.questions[TASKS["induction"].id].prompt
    assert TASKS["error"].output not in made.questions[TASKS["error"].id].prompt


# -- what it pays --


@pytest.fixture(scope="module")
def in_the_run(box: Sandbox) -> list[float]:
    """What a run pays for ANSWERS, and for the first again when it was cut before its form was whole."""
    config = settings_of()
    paid = [paid_in_a_run(config, "chat", box, TASKS[kind], text) for kind, text, _ in ANSWERS]
    return [*paid, paid_in_a_run(config, "chat", box, TASKS["deduction"], "It", cut=True)]


ASKED = [(TASKS[kind].id, text, False) for kind, text, _ in ANSWERS] + [(TASKS["deduction"].id, "It", True)]

PLAIN = """
import json
import my_tasks
judge = my_tasks.verifier()
paid = [judge.score(id, text, cut=cut).reward for id, text, cut in json.load(sys.stdin)]
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "numpy", "transformers", "verifiers"})
trl = my_tasks.reward([[{"role": "assistant", "content": "```output\\n[2, 4]\\n```"}]], [my_tasks.rows()[0]["id"]])
print(json.dumps({"paid": paid, "heavy": heavy, "trl": trl, "holds": [judge.holds(id) for id in judge.questions]}))
"""


def test_a_run_pays_what_the_table_says(in_the_run: list[float]) -> None:
    assert in_the_run == [reward for *_, reward in ANSWERS] + [-0.5]


def test_without_minizero_every_answer_earns_what_it_earns_in_a_run(
    exported: Path, in_the_run: list[float], tmp_path: Path
) -> None:
    found = run_script(sys.executable, PLAIN, exported, ASKED, tmp_path)
    assert found["paid"] == in_the_run
    assert found["heavy"] == []
    assert found["trl"] == [1.0]
    assert found["holds"] == [True] * 4
    assert list(tmp_path.iterdir()) == []  # no PWNED


@pytest.mark.parametrize(
    ("style", "texts"),
    [
        (
            "r1",
            ["so </think> <answer>[2, 4]</answer>", "<think> so </think> <answer>[2, 4]</answer>", "[2, 4]",
             "so </think> and <answer>[2, 4]</answer>", "so </think> <answer>[2, 5]</answer>"],
        ),
        (
            "compact",
            ["```output\n[2, 4]\n```\n", "<think>\n[2, 4]\n</think>\n```output\n[2, 4]\n```\n",
             "```output\n[2, 5]\n```\n", "[2, 4]"],
        ),
    ],
)  # fmt: skip
def test_a_completion_of_a_text_goes_on_from_where_its_answer_had_begun(
    style: str, texts: list[str], box: Sandbox
) -> None:
    """Styles that are no chat: the prompt may end in the answer's beginning, which a completion may repeat."""
    config, task = settings_of(f"prompt.style={style}"), TASKS["deduction"]
    world = write.World("made", [task], config, style)
    question = question_of(task, world)
    assert question.prompt.endswith(question.begun)
    judge = Verifier(rules_of(world), [question])
    judge._boxes = {os.getpid(): box}
    begun = solve(style, task, settings=config.prompt).prefill
    assert question.begun == begun
    for text in texts:
        after = text.removeprefix(begun)
        assert judge.score(task.id, text).reward == paid_in_a_run(config, style, box, task, after), text
    assert judge.score(task.id, texts[0]).reward == judge.score(task.id, texts[1]).reward == 1.0


def test_the_rewards_are_those_of_the_run(box: Sandbox) -> None:
    config = settings_of("reward.solve.wrong=0", "reward.solve.malformed=-2", "reward.solve.induction=accuracy")
    world = write.World("made", list(TASKS.values()), config, "chat")
    judge = Verifier(rules_of(world), [question_of(task, world) for task in TASKS.values()])
    judge._boxes = {os.getpid(): box}
    # Of the two hidden pairs [2, 3] and [3, 4] this gets one right.
    half = program("def f(x):\n    return [y * 2 for y in x] if x[0] == 2 else x")
    texts = {"deduction": "```output\n0\n```", "abduction": "no", "induction": half}
    assert [judge.score(TASKS[kind].id, text).reward for kind, text in texts.items()] == [0.0, -2.0, 0.5]


def test_a_question_and_rules_come_back_as_they_were_written(exported: Path) -> None:
    made = Verifier.read(exported / "my_tasks" / "data")
    assert [question.task for question in made.questions.values()] == list(TASKS.values())
    assert all(Question.from_json(question.to_json()) == question for question in made.questions.values())
    assert type(made.rules).from_json(json.loads(json.dumps(made.rules.to_json()))) == made.rules
    assert made.rules.cpu_s == 0.4


# -- through the released package --

VERIFIERS = """
import asyncio, json
import verifiers.v1 as vf
import my_tasks

taskset = vf.load_taskset(vf.taskset_config_type("my-tasks").model_validate({"id": "my-tasks"}))
tasks = {task.data.id: task for task in taskset}
environment = my_tasks.load_environment(taskset={"types": ["deduction", "error"]})

def trace_of(task, text, cut, reasoning=None):
    said = vf.AssistantMessage(content=text, reasoning_content=reasoning)
    nodes = [vf.MessageNode(message=vf.UserMessage(content=task.data.prompt)),
             vf.MessageNode(parent=0, message=said, sampled=True)]
    calls = [vf.ModelCall(node=1, finish_reason="length" if cut else "stop")]
    agent = vf.AgentInfo(config=vf.AgentConfig())
    return vf.Trace(task=vf.TraceTask(type="MiniZeroTask", data=task.data), agent=agent, nodes=nodes, calls=calls)

async def main():
    paid, correct = [], []
    for id, text, cut in json.load(sys.stdin):
        trace = trace_of(tasks[id], text, cut)
        await tasks[id].score(trace)
        paid.append(trace.reward)
        correct.append(trace.metrics["correct"])
    first = next(iter(tasks.values()))
    apart = trace_of(first, "```output\\n[2, 4]\\n```", False, reasoning="it doubles")
    await first.score(apart)
    plain = vf.taskset_config_type("my-tasks").model_validate({"id": "my-tasks", "task": {"reward": "correct"}})
    wrong = next(iter(vf.load_taskset(plain)))
    zero = trace_of(wrong, "```output\\n0\\n```", False)
    await wrong.score(zero)
    return {
        "paid": paid, "correct": correct, "apart": apart.reward, "plain": zero.reward, "said": apart.info["minizero"],
        "valid": [await task.validate(None) for task in tasks.values()],
        "environment": type(environment).__name__, "harness": environment.config.agent.harness.id,
        "types": [task.data.kind for task in environment.taskset],
        "data": sorted(first.data.model_dump(exclude_defaults=True)),
    }

print(json.dumps(asyncio.run(main())))
"""


def python_with_verifiers() -> str:
    """An interpreter that has the package, or a skip that says how to get one."""
    named = os.environ.get("VERIFIERS_PYTHON", "")
    if not named and importlib.util.find_spec("verifiers") is None:
        pytest.skip(
            "the package verifiers is not installed: pip install -c constraints.txt 'minizero[environment]', or set "
            "VERIFIERS_PYTHON to the interpreter of an environment that has it"
        )
    return named or sys.executable


@pytest.mark.full
def test_verifiers_pays_every_answer_what_a_run_pays(exported: Path, in_the_run: list[float], tmp_path: Path) -> None:
    found = run_script(python_with_verifiers(), VERIFIERS, exported, ASKED, tmp_path)
    assert found["paid"] == in_the_run
    in_a_broken_form = {"[2, 4]", "ZeroDivisionError"}
    right = [reward == 1 or text in in_a_broken_form for (_, text, _), reward in zip(ASKED, in_the_run, strict=True)]
    assert found["correct"] == list(map(float, right))
    assert (found["apart"], found["plain"]) == (1.0, 0.0)
    assert found["said"] == {"verdict": "correct", "rule": "binary 1"}
    assert found["valid"] == [True] * 4
    assert (found["environment"], found["harness"]) == ("MiniZeroEnv", "null")
    assert found["types"] == ["deduction", "error"]
    assert found["data"] == ["id", "idx", "kind", "prompt", "system_prompt"]  # no program's answer among them
    assert list(tmp_path.iterdir()) == []


def test_without_verifiers_its_names_say_what_to_install(exported: Path, tmp_path: Path) -> None:
    script = "sys.modules['verifiers'] = None\nimport json, my_tasks\ntry:\n    my_tasks.load_environment()\n"
    script += "except ImportError as error:\n    print(json.dumps(str(error)))"
    assert "pip install 'verifiers>=0.4,<0.5'" in run_script(sys.executable, script, exported, None, tmp_path)


# -- what is exported --


def test_a_run_is_exported_with_its_own_settings_and_the_newest_of_each_type(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2, tasks=30, settings={"reward": {"solve": {"wrong": -0.25}}})
    out = export_environment(str(tmp_path / "run"), out=tmp_path / "out", limit=2, settings=["prompt.style=chat"])
    made = Verifier.read(out / "minizero_run" / "data")
    kinds = [question.task.type.value for question in made.questions.values()]
    assert max(kinds.count(kind) for kind in kinds) == 2
    assert made.rules.solve.wrong == -0.25
    every = find_world(str(tmp_path / "run"), [], lambda text: None).tasks
    of_one = [task.id for task in every if task.type is TaskType.DEDUCTION]
    assert [id for id in made.questions if id in of_one] == of_one[-2:]


def test_the_tiny_world_is_exported_in_the_style_that_the_tiny_model_reads(tmp_path: Path) -> None:
    out = export_environment("tiny", out=tmp_path / "out", types=["deduction"], limit=3)
    made = Verifier.read(out / "minizero_tiny" / "data")
    assert (made.rules.style, len(made.questions)) == ("compact", 3)
    assert all(row["prompt"].endswith("\n```\n\n") for row in made.rows())


def test_what_is_damaged_in_a_run_is_told_and_the_rest_exported(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2, tasks=12)
    with (tmp_path / "run" / "tasks.jsonl").open("a") as file:
        file.write("{}\n")
    told: list[str] = []
    export_environment(str(tmp_path / "run"), out=tmp_path / "out", settings=["prompt.style=chat"], notice=told.append)
    assert any("tasks.jsonl" in words for words in told)


def test_style_r1_is_told_to_be_no_chat(tmp_path: Path) -> None:
    told: list[str] = []
    export_environment("zero", out=tmp_path / "out", settings=["prompt.style=r1"], notice=told.append)
    assert "prompt.style=chat" in told[0]


def test_nothing_is_overwritten_and_an_empty_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_environment("zero", out=tmp_path / "out")
    before = (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(RunError, match="is there already"):
        export_environment("zero", out=tmp_path / "out", name="other")
    assert (tmp_path / "out" / "README.md").read_text() == before


@pytest.mark.parametrize(
    ("what", "more", "error", "message"),
    [
        ("nowhere", {}, RunError, "none of the seeds tiny, builtin, zero"),
        ("zero", {"name": "1st"}, RunError, "such as my-tasks"),
        ("zero", {"name": "verifiers"}, RunError, "of its own"),
        ("zero", {"types": ["riddle"]}, RunError, "expected some of deduction"),
        ("zero", {"limit": -1}, RunError, "0 \\(all\\) or more"),
        ("tiny", {"types": ["error"]}, RunError, "there are: .* deduction"),
        ("zero", {"settings": ["prompt.style=compact"]}, StyleError, "error tasks"),
        ("zero", {"settings": ['reward.solve.terms={"my.py:f" = 1}']}, ConfigError, "a function of yours"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    what: str, more: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export_environment(what, out=tmp_path / "out", **more)
    assert list(tmp_path.iterdir()) == []


def test_the_way_out_for_rewards_of_a_users_own_is_the_one_that_is_named(tmp_path: Path) -> None:
    own = 'reward.solve.terms={"my.py:f" = 1}'
    out = export_environment("zero", out=tmp_path / "out", settings=[own, "reward.solve=azr"])
    assert Verifier.read(out / "minizero_zero" / "data").rules.solve.terms == {}


def test_a_seed_that_says_what_is_not_so_is_refused(tmp_path: Path) -> None:
    wrong = replace(TASKS["deduction"], pairs=(Pair("[1, 2]", "[2, 5]"),))
    with pytest.raises(Exception, match="seed rows are wrong"):
        export_environment(str(seeds_file(tmp_path / "my.jsonl", wrong)), out=tmp_path / "out")


def test_a_name_becomes_one_that_python_imports() -> None:
    assert package_name("My tasks, 2nd set") == "my_tasks_2nd_set"


def test_damaged_files_and_foreign_tasks_are_named(tmp_path: Path) -> None:
    export_environment("zero", out=tmp_path / "out")
    data = tmp_path / "out" / "minizero_zero" / "data"
    with pytest.raises(EvaluationError, match="none of the 4 of this environment"):
        Verifier.read(data).score("ffff", "")
    whole = (data / QUESTIONS).read_text()
    (data / QUESTIONS).write_text(whole + "{}\n")
    with pytest.raises(EvaluationError, match=r"questions.jsonl, line 5: .*Export the environment again"):
        Verifier.read(data)
    (data / QUESTIONS).write_text(whole)
    (data / SETTINGS).unlink()
    with pytest.raises(EvaluationError, match=r"settings\.json"):
        Verifier.read(data)
