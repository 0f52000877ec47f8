"""Seed tasks written by the model itself, from AZR's zero triplet on: propose and admit, no solving, no learning.

As AZR's seeding scripts (docs/algorithm.md 1): deduction and abduction proposals grow one buffer whose tasks are the
next examples; then induction proposals are made about its programs. Departs: the think/answer form is not required, as
there, but duplicates are left out, and both types are asked in one batch.
"""

from __future__ import annotations

import json
from pathlib import Path

from minizero.config import Config
from minizero.formatting import shell
from minizero.rollout.protocol import Sampler
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.build import sandbox_settings
from minizero.selfplay.seeds import zero_tasks
from minizero.selfplay.step import SelfPlay
from minizero.tasks.admission import task_key
from minizero.types import Progress, Quiet, SeedsError, Task, TaskType
from sandbox import Sandbox

ROUNDS_WITHOUT_A_TASK = 5  # in a row; then the model is not going to


def generate_seeds(config: Config, out: Path, count: int, *, progress: Progress | None = None) -> list[Task]:
    """Write `count` tasks per task type to `out` (JSON Lines, AZR's format), and return them.

    Raises SeedsError when the file exists, or when the model proposes nothing valid for several rounds.
    """
    if out.exists():
        raise SeedsError(f"{out} exists. Give --out another name, or delete it.")
    _check_place(out)
    progress = progress or Quiet()
    with Sandbox(**sandbox_settings(config)) as box:
        progress.phase(f"loading {config.model.name}")
        from minizero.learn.policy import Policy
        from minizero.rollout.make import make_sampler

        policy = Policy(config)
        style = config.prompt.style_or(policy.style)
        found = grow_seeds(config, count, sampler=make_sampler(config, policy), box=box, style=style, progress=progress)
        out.write_text("".join(json.dumps(row) + "\n" for row in map(azr_row, found)), encoding="utf-8")
        given = shell("--set", f"buffer.seeds={out}")
        progress.say(f"{len(found)} seed tasks in {out}. Use them with  {given}")
    return found


def _check_place(out: Path) -> None:
    """Raise SeedsError now, and not after minutes of sampling, where no file can be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch(exist_ok=False)
        out.unlink()
    except OSError as error:
        raise SeedsError(
            f"--out {out} cannot be written ({error.strerror}). Give a file in a directory that you may write to."
        ) from None


def grow_seeds(
    config: Config, count: int, *, sampler: Sampler, box: Sandbox, style: str, progress: Progress
) -> list[Task]:
    """Propose round after round until every type has `count` tasks besides the zero triplet."""
    buffer = TaskBuffer(lambda task: task_key(task, "program_and_input"), cap=max(count, 1) * 4 + 64)
    buffer.add((task, None) for task in zero_tasks())
    found: dict[TaskType, list[Task]] = {kind: [] for kind in config.selfplay.task_types}
    number = idle = 0
    while missing := [kind for kind, tasks in found.items() if len(tasks) < count]:
        # Programs first: an induction proposal is about one of them.
        programs = [kind for kind in missing if kind is not TaskType.INDUCTION]
        number += 1
        tree = config.model_dump(mode="json")
        tree["selfplay"] |= {
            "task_types": programs or missing, "solves": 0, "attempts": 0,
            "train_propose": False, "solver_warmup_steps": 0, "ahead": 0,
        }  # fmt: skip
        tree["composites"]["start_step"] = -1
        tree["buffer"]["keep"] = "all"  # not checked as a run's config: induction alone is right here
        game = SelfPlay(
            Config.model_validate(tree),
            sampler=sampler,
            box=box,
            buffer=buffer,
            style=style,
            progress=_Within(progress),
        )
        game.rng.seed(f"{config.run.rng_seed}/seeding/{number}")
        progress.phase(f"seeding, round {number}: " + ", ".join(f"{k} {len(t)}/{count}" for k, t in found.items()))
        stored = [task for task, _ in game.step(number).stored]
        for task in stored:
            found[task.type].append(task)
        idle = 0 if stored else idle + 1
        if idle == ROUNDS_WITHOUT_A_TASK:
            raise SeedsError(
                f"{ROUNDS_WITHOUT_A_TASK} rounds of proposals gave no valid task ({', '.join(missing)} missing). "
                "Read what the model writes with a short self-play run and minizero replay; try --set prompt.style=chat"
            )
    return [task for tasks in found.values() for task in tasks[:count]]


class _Within(Quiet):
    """The progress of one step inside the seeding: what it counts is passed on, its phases are not."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    def say(self, text: str) -> None:
        self._outer.say(text)

    def tick(self, pending: int, detail: str = "") -> None:
        self._outer.tick(pending, detail)


def azr_row(task: Task) -> dict[str, object]:
    """A task as a row of AZR's seed files, marked with its type so that it seeds one task and not two."""
    if task.type is TaskType.INDUCTION:
        inputs, outputs = [pair.input for pair in task.pairs], [pair.output for pair in task.pairs]
        return {"snippet": task.program, "inputs": inputs, "outputs": outputs, "message": task.message, "imports": []}
    row: dict[str, object] = {"snippet": task.program, "input": task.input, "output": task.output, "imports": []}
    return row | {"original_snippet": task.program, "composite_functions": [], "task_type": task.type.value}
