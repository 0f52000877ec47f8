"""The judge of CRUXEval's two questions, the output of a call or an input that gives an output, and of whole tasks.

Reading order: ValueJudge. An answer is source text of a value (or of arguments), read by a grammar and never evaluated;
inputs are tried in the sandbox and the results compared out here, so `99) or (True` is no answer.
"""

from __future__ import annotations

from pathlib import Path

from minizero.config.tasks import AdmissionConfig
from minizero.evaluation.problems import PASS, Judgement, Problem
from minizero.tasks.admission import check
from minizero.tasks.event_loop import run_all
from minizero.types import Answer, Pair, ParseError, Task, TaskType
from sandbox import Sandbox

_WORDS = {"correct": PASS, "no_value": "wrong"}


def as_task(problem: Problem, task_type: TaskType | None = None) -> Task:
    """The problem as a task of self-play: the one that it holds, or one of this type."""
    if task_type is None:
        task: Task = problem.data["task"]
        return task
    return Task(task_type, problem.data["program"], (Pair(problem.data["input"], problem.data["output"]),))


class ValueJudge:
    """Judges answers to one question type of self-play, deduction (an output) or abduction (an input), or to tasks that
    the problems hold (None)."""

    def __init__(self, task_type: TaskType | None, level: str, box: Sandbox) -> None:
        self._type, self._level, self._box = task_type, level, box
        self._settings = AdmissionConfig()

    def judge(self, problem: Problem, answer: str) -> Judgement:
        task = as_task(problem, self._type)
        parsed = Answer(task.type, answer) if answer.strip() else ParseError("no_answer")
        (verdict,) = run_all([check(task, parsed, self._box, self._settings)])
        return Judgement({self._level: _WORDS.get(verdict.reason, verdict.reason)})

    def cost(self, problem: Problem) -> float:
        return 0.0


def make(task_type: TaskType | None, level: str) -> object:
    """A maker of judges for a Suite."""

    def judge(problems: list[Problem], box: Sandbox, store: Path | None) -> ValueJudge:
        return ValueJudge(task_type, level, box)

    return judge
