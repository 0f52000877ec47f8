"""`minizero export-environment`: a directory that pip installs, with tasks, prompts, verifier and what they need of us.

Reading order: export_environment, then where tasks come from, what is asked, and the texts beside the code.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minizero.config import Config, load_config
from minizero.config.reward import is_own_function
from minizero.prompts import solve
from minizero.report.export.environment.vendor import closure, copy_modules
from minizero.report.pages import text
from minizero.rewards.verifier import QUESTIONS, SETTINGS, Question, Rules
from minizero.selfplay.build import sandbox_settings
from minizero.selfplay.run_data import read_run, run_tasks
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.seeds import seed_tasks
from minizero.selfplay.version import VERSION
from minizero.types import ConfigError, Prompt, RunError, Task, TaskType
from sandbox import Sandbox

SEEDS = ("tiny", "builtin", "zero")
ALL = 10**9  # of the seeds
HERE = "minizero.report.export.environment"
PLACES = {f"{HERE}.package": "", f"{HERE}.taskset": "taskset"}
RAW = """style r1 puts the whole conversation, up to <think>, into one message: a trainer that applies a chat template \
wraps it a second time. For instruct models export with  --set prompt.style=chat"""


@dataclass(frozen=True, slots=True)
class World:
    """What is exported: tasks and the settings that they are asked and judged by."""

    name: str
    tasks: list[Task]
    config: Config
    style: str


def export_environment(
    what: str,
    *,
    out: Path,
    name: str = "",
    types: Sequence[str] = (),
    limit: int = 0,
    settings: Sequence[str] = (),
    notice: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write the tasks of a run, of the seeds tiny, builtin or zero, or of a seeds file to `out`; the directory.

    name: of the package; without it minizero-NAME of what is exported. types: only these. limit: the newest so many of
    each type; 0: all. settings: `section.name=value` over the run's own. What is left out is told to `notice`.
    """
    world = find_world(what, settings, notice)
    package = package_name(name or f"minizero-{world.name}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already. Remove it, or give another place with --out.")
    tasks = chosen(world.tasks, types, limit)
    if world.style == "r1":
        notice(RAW)
    questions = [question_of(task, world) for task in tasks]
    rules = rules_of(world)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    code = partial / package
    copy_modules(closure([*PLACES, "minizero.rewards.verifier"]), code, PLACES)
    (code / "data").mkdir()
    lines = [json.dumps(question.to_json()) + "\n" for question in questions]
    (code / "data" / QUESTIONS).write_text("".join(lines), encoding="utf-8")
    (code / "data" / SETTINGS).write_text(json.dumps(rules.to_json(), indent=1) + "\n", encoding="utf-8")
    counts = sorted(Counter(task.type.value for task in tasks).items())
    for file, template in (("pyproject.toml", "environment.toml"), ("README.md", "environment.md")):
        words = text(
            template, package=package, dashed=package.replace("_", "-"), version=VERSION, world=world.name,
            style=world.style, counts=counts, solve=rules.solve, cut=rules.cut,
        )  # fmt: skip
        (partial / file).write_text(words, encoding="utf-8")
    (partial / "LICENSE").write_text(licence_text(), encoding="utf-8")
    if out.exists():
        out.rmdir()  # empty, as was seen above
    partial.rename(out)
    return out


def find_world(what: str, settings: Sequence[str], notice: Callable[[str], None]) -> World:
    """The tasks behind a run directory, the name of seeds, or a seeds file, and their settings."""
    path = Path(what).expanduser()
    if what in SEEDS or path.is_file():
        config = load_config([], settings)
        style = config.prompt.style_or("compact" if what == "tiny" else "chat")
        if what in SEEDS:
            tasks, left_out = seed_tasks(what, ALL, tuple(TaskType))
        else:  # a file's programs are run: what they say of their outputs must be so
            with Sandbox(**sandbox_settings(config)) as box:
                tasks, left_out = seed_tasks(str(path), ALL, tuple(TaskType), box=box, settings=config.admission)
        if left_out:
            notice(f"{left_out} rows of {what} are left out: their output is no value.")
        return World(what if what in SEEDS else path.stem, tasks, check_rewards(config), style)
    if not path.is_dir():
        raise RunError(f"{what}: no run directory, no seeds file, and none of the seeds {', '.join(SEEDS)}.")
    run = read_run(path)
    config = load_config([RunDirectory.open(path).settings], settings)
    tasks, problems = run_tasks(path)
    for problem in problems:
        notice(problem)
    return World(
        path.resolve().name, tasks, check_rewards(config), style_of_run(config, str(run.manifest.get("style")))
    )


def style_of_run(config: Config, noted: str) -> str:
    """The prompt style: as set, as the run's manifest notes it, or what suits the tiny model and others."""
    if config.prompt.style != "auto":
        return config.prompt.style
    found = re.match(r"prompt style (\w+)", noted)
    return found[1] if found else "compact" if config.model.name == "tiny" else "chat"


def check_rewards(config: Config) -> Config:
    """The config itself. Raises ConfigError where answers are rewarded by a file of the user's."""
    own = [name for name in config.reward.solve.terms if is_own_function(name)]
    if own:
        raise ConfigError(
            f"reward.solve.terms names {own[0]}, a function of yours; an environment holds minizero's own terms only. "
            "Reward answers by AZR's table alone with  --set reward.solve=azr"
        )
    return config


def chosen(tasks: Sequence[Task], types: Sequence[str], limit: int) -> list[Task]:
    """The newest `limit` of each of the types, in their order. Raises RunError where nothing is left."""
    odd = [kind for kind in types if kind not in set(TaskType)]
    if odd:
        raise RunError(f"--types {odd[0]}: expected some of {', '.join(TaskType)}.")
    if limit < 0:
        raise RunError(f"--limit {limit}: expected 0 (all) or more.")
    wanted = [TaskType(kind) for kind in types] or list(TaskType)
    kept = {t.id for kind in wanted for t in [t for t in tasks if t.type is kind][-limit if limit else 0 :]}
    if not kept:
        has = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(t.type.value for t in tasks).items())) or "none"
        raise RunError(f"no task of {', '.join(wanted)} to export; there are: {has}. Choose others with --types.")
    return [task for task in tasks if task.id in kept]


def question_of(task: Task, world: World) -> Question:
    """The task as the solver is asked it: a message after a system message, or a text that the answer goes on from."""
    prompt: Prompt = solve(world.style, task, settings=world.config.prompt)
    if not prompt.chat:
        whole = "".join(message.content for message in prompt.messages) + prompt.prefill
        return Question(task, whole, begun=prompt.prefill)
    system = "\n\n".join(message.content for message in prompt.messages if message.role == "system")
    asked = [message.content for message in prompt.messages if message.role == "user"]
    return Question(task, "\n\n".join(asked), system)


def rules_of(world: World) -> Rules:
    """What decides the reward of an answer, from the settings."""
    config = world.config
    limits = config.sandbox
    return Rules(
        world.style, config.reward.solve, config.reward.cut, config.admission, limits.cpu_s, limits.wall_s,
        limits.memory_mib, limits.packages,
    )  # fmt: skip


def package_name(name: str) -> str:
    """The name as Python imports it: my-tasks -> my_tasks. Raises RunError for what cannot be one."""
    package = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    if not package.isidentifier() or package in ("minizero", "sandbox", "verifiers"):
        raise RunError(f"--name {name}: expected a name for a Python package of its own, such as my-tasks.")
    return package


def licence_text() -> str:
    """Our licence: the exported code is ours."""
    from importlib.metadata import PackageNotFoundError, files

    beside = Path(__file__).parents[4] / "LICENSE"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    try:
        found = [file for file in files("minizero") or [] if file.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise RunError(
            "minizero's LICENSE is not beside its code, and code must not be passed on without it. Reinstall."
        )
    return found[0].read_text(encoding="utf-8")
