"""What a text earns as an answer to one of many tasks, without run, sampler or trainer: for exported environments.

Reading order: Question (a task as it is asked), Judgement, Verifier: read, score, reward. The steps are those of a
run's answers (tasks/answers.py): parse, check in the sandbox, reward_answer. A model's programs run nowhere else.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.config.reward import SolveReward
from minizero.config.tasks import AdmissionConfig
from minizero.rewards import Cut, reward_answer
from minizero.tasks.admission import check, result_bytes
from minizero.tasks.answers import read_answer
from minizero.tasks.event_loop import run_all
from minizero.types import Answer, EvaluationError, Pair, ParseError, Task, TaskType, Verdict
from sandbox import Limits, Sandbox

SETTINGS, QUESTIONS = "settings.json", "questions.jsonl"


@dataclass(frozen=True, slots=True)
class Question:
    """A task as it is asked: `prompt`, after `system` where there is one. `begun`: how the answer begins already, at
    the end of the prompt (styles that are no chat); a completion goes on from there."""

    task: Task
    prompt: str
    system: str = ""
    begun: str = ""

    def to_json(self) -> dict[str, Any]:
        """One line of questions.jsonl."""
        task = self.task
        pairs = [[pair.input, pair.output] for pair in task.pairs]
        row: dict[str, Any] = {"type": task.type.value, "program": task.program, "pairs": pairs}
        row |= {"message": task.message, "shown": task.shown}
        return {"id": task.id, "system": self.system, "prompt": self.prompt, "begun": self.begun, "task": row}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Question:
        """Raises KeyError, TypeError or ValueError for what is no question."""
        kept = row["task"]
        pairs = tuple(Pair(str(given), str(answer)) for given, answer in kept["pairs"])
        kind = TaskType(kept["type"])
        task = Task(kind, str(kept["program"]), pairs, str(kept["message"]), int(kept["shown"]))
        return cls(task, str(row["prompt"]), str(row["system"]), str(row["begun"]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer earns. `verdict` is one of tasks.VERDICTS, `rule` says in words what made the reward."""

    reward: float
    correct: bool
    verdict: str
    rule: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a run that decide what an answer earns; settings.json holds them."""

    style: str
    solve: SolveReward
    cut: Cut
    admission: AdmissionConfig
    cpu_s: float
    wall_s: float
    memory_mib: int
    packages: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As settings.json has it."""
        limits = {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "memory_mib": self.memory_mib}
        sections = {"solve": self.solve.model_dump(mode="json"), "admission": self.admission.model_dump(mode="json")}
        return {"style": self.style, "cut": self.cut, "packages": list(self.packages)} | limits | sections

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Rules:
        """Raises KeyError, TypeError or ValueError (pydantic's too) for what are no settings."""
        return cls(
            str(row["style"]), SolveReward.model_validate(row["solve"]), row["cut"],
            AdmissionConfig.model_validate(row["admission"]), float(row["cpu_s"]), float(row["wall_s"]),
            int(row["memory_mib"]), tuple(row["packages"]),
        )  # fmt: skip


class Verifier:
    """Questions and what answers to them earn. Every method may be called from any thread, and after a fork.

    workers: programs that run at a time; 0: one for each core. The sandbox starts with the first answer.
    """

    def __init__(self, rules: Rules, questions: Iterable[Question], *, workers: int = 0, unsafe: bool = False) -> None:
        self.rules = rules
        self.questions = {question.task.id: question for question in questions}
        self._workers, self._unsafe = workers or os.cpu_count() or 1, unsafe
        self._boxes: dict[int, Sandbox] = {}  # by process: a sandbox does not survive a fork
        self._lock = threading.Lock()

    @classmethod
    def read(cls, directory: Path, *, workers: int = 0, unsafe: bool = False) -> Verifier:
        """From the files that an export wrote. Raises EvaluationError when one is missing or damaged."""
        file, line = directory / SETTINGS, 0
        try:
            rules = Rules.from_json(json.loads(file.read_text(encoding="utf-8")))
            file, questions = directory / QUESTIONS, []
            for text in file.read_text(encoding="utf-8").splitlines():
                line += 1
                questions.append(Question.from_json(json.loads(text)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            where = f"{file}, line {line}" if line else str(file)
            raise EvaluationError(
                f"{where}: not as minizero export-environment wrote it ({type(error).__name__}: {error}). Export the "
                "environment again, or restore the file."
            ) from None
        return cls(rules, questions, workers=workers, unsafe=unsafe)

    def score(self, id: str, completion: str, *, cut: bool = False) -> Judgement:
        """What the text earns as an answer to the task of this id. `cut`: the token limit ended it.

        A completion that repeats how its answer had begun (`<think>`) counts as one that goes on from there.
        Raises EvaluationError for an unknown id, and SandboxError when the sandbox itself cannot work.
        """
        question = self._question(id)
        text = completion if completion.startswith(question.begun) else question.begun + completion
        reading = read_answer(question.task, text, self._judge, style=self.rules.style, cut=cut)
        outcome = run_all([reading])[0]
        earned = reward_answer(outcome, self.rules.solve, self.rules.cut)
        return Judgement(earned.value, outcome.verdict.correct, outcome.verdict.reason, earned.rule)

    def holds(self, id: str) -> bool:
        """Whether the task's own answer is right: what a machine has to show before anything is trained on it."""
        task = self._question(id).task
        return run_all([self._judge(task, Answer(task.type, task.own_answer))])[0].correct

    def reward(self, completions: Sequence[Any], id: Sequence[str], **columns: object) -> list[float]:
        """A reward function as TRL's trainers call it: completions are texts or lists of messages, `id` a column."""
        texts = [text if isinstance(text, str) else str(text[-1]["content"] or "") for text in completions]
        return [self.score(one, text).reward for one, text in zip(id, texts, strict=True)]

    def rows(self) -> list[dict[str, Any]]:
        """The questions as rows of a data set: id, type, and prompt, a text or (style chat) a list of messages."""
        return [
            {"id": id, "type": q.task.type.value, "prompt": q.prompt if self.rules.style != "chat" else _messages(q)}
            for id, q in self.questions.items()
        ]

    def close(self) -> None:
        """End the sandbox of this process. A later answer starts another."""
        with self._lock:
            box = self._boxes.pop(os.getpid(), None)
        if box is not None:
            box.close()

    async def _judge(self, task: Task, answer: Answer | ParseError) -> Verdict:
        return await check(task, answer, self._box(), self.rules.admission)

    def _box(self) -> Sandbox:
        with self._lock:
            if os.getpid() not in self._boxes:
                rules = self.rules
                limits = Limits(
                    cpu_s=rules.cpu_s, wall_s=rules.wall_s, memory_mib=rules.memory_mib,
                    result_bytes=result_bytes(rules.admission),
                )  # fmt: skip
                made = Sandbox(self._workers, limits, unsafe=self._unsafe, packages=rules.packages)
                self._boxes = {os.getpid(): made}
                atexit.register(self.close)
            return self._boxes[os.getpid()]

    def _question(self, id: str) -> Question:
        if id not in self.questions:
            raise EvaluationError(
                f"task {id!r} is none of the {len(self.questions)} of this environment: the rollout belongs to another."
            )
        return self.questions[id]


def _messages(question: Question) -> list[dict[str, str]]:
    system = [{"role": "system", "content": question.system}] if question.system else []
    return [*system, {"role": "user", "content": question.prompt}]
