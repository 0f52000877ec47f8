"""Absolute-Zero self-play (arXiv 2505.03335): one model proposes Python tasks, solves them, and learns from both.

    import minizero

    def short_program(outcome):
        return 1 - len(outcome.task.program) / 400

    run = minizero.train("tiny", steps=20, rewards={short_program: 0.2}, on_step=print)
    print(run.verdict)

What there is:

    train, resume                     start or continue a run
    Run                               what it left: metrics, tasks, rollouts, validations, adapter
    load_config, Config               its settings
    Validation                        answers to held-out tasks, task by task
    evaluate, Evaluation, compare     benchmark problems asked and scored; what several evaluations say
    ProposalOutcome, AnswerOutcome    what a reward function is given
    Task, TaskType                    a program with inputs and outputs, and what is asked of it
    SelfPlay                          one step: propose, admit, attempt, solve, score, learn
    Policy                            the model that learns: log-probabilities, updates, files
    TaskBuffer                        the tasks that examples and problems are drawn from
    ScriptedSampler                   texts of your own in the model's place
    Sandbox                           runs programs that nobody has read
    Console                           progress in a terminal
    MiniZeroError                     every error that a user can mend
    Stopped                           after Ctrl-C

`help(minizero.train)` explains one of them. Each loads what it needs when it is first used. Reading the code starts at
minizero/selfplay/step.py.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minizero.api import Evaluation, Run, compare, evaluate, load_config, resume, train
    from minizero.config import Config
    from minizero.learn.policy import Policy
    from minizero.report.console import Console
    from minizero.rollout.scripted import ScriptedSampler
    from minizero.selfplay.buffer import TaskBuffer
    from minizero.selfplay.run_loop import Stopped
    from minizero.selfplay.step import SelfPlay
    from minizero.selfplay.validation import Validation
    from minizero.types import AnswerOutcome, MiniZeroError, ProposalOutcome, Task, TaskType
    from sandbox import Sandbox

__version__ = "0.1.0"

__all__ = [
    "AnswerOutcome", "Config", "Console", "Evaluation", "MiniZeroError", "Policy", "ProposalOutcome", "Run", "Sandbox",
    "ScriptedSampler", "SelfPlay", "Stopped", "Task", "TaskBuffer", "TaskType", "Validation", "compare", "evaluate",
    "load_config", "resume", "train",
]  # fmt: skip

_HOMES = {
    "minizero.api.evaluation": ("Evaluation", "compare", "evaluate"),
    "minizero.api.run": ("Run",),
    "minizero.api.settings": ("load_config",),
    "minizero.api.training": ("resume", "train"),
    "minizero.config": ("Config",),
    "minizero.learn.policy": ("Policy",),
    "minizero.report.console": ("Console",),
    "minizero.rollout.scripted": ("ScriptedSampler",),
    "minizero.selfplay.buffer": ("TaskBuffer",),
    "minizero.selfplay.run_loop": ("Stopped",),
    "minizero.selfplay.step": ("SelfPlay",),
    "minizero.selfplay.validation": ("Validation",),
    "minizero.types": ("AnswerOutcome", "MiniZeroError", "ProposalOutcome", "Task", "TaskType"),
    "sandbox": ("Sandbox",),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"minizero has no {name}. It has: {', '.join(__all__)}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
