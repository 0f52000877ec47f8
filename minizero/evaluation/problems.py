"""The nouns of an evaluation: a problem, a suite of them, and the judge that says what an answer is worth.

Reading order: Problem, Judgement, Judge, Suite; PASS and STATUSES are the words that judgements are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sandbox import Sandbox

PASS = "pass"
STATUSES = {
    PASS: "Right on every test.",
    "wrong": "A test gave another result than the right one.",
    "error": "A test raised an exception, or the program does not start.",
    "timeout": "A test took too long.",
    "memory": "A test used too much memory.",
    "crashed": "The program ended its process.",
    "denied": "The program failed on something that the sandbox forbids.",
    "output-limit": "A result was too large.",
    "unparsable": "The text holds no answer that can be read.",
    "not-run": "Not run, because a test that comes before it failed.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `prompt` is its text as the benchmark gives it; `data` is what only the judge needs."""

    id: str
    prompt: str
    solution: str = ""  # a right answer in the form that judges take, where the benchmark has one
    entry: str = ""  # the function that is asked for
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one submission is worth.

    `statuses`: one for each level of the suite, such as {"humaneval": "pass", "humaneval+": "wrong"}. `failed_test`:
    the place of the first failed test among those of its level, where the judge knows it.
    """

    statuses: Mapping[str, str]
    failed_test: int | None = None

    def __getitem__(self, level: str) -> str:
        return self.statuses[level]


class Judge(Protocol):
    """Says what an answer is worth. Called from several threads at a time."""

    def judge(self, problem: Problem, answer: str) -> Judgement:
        """A status for each of the suite's levels."""
        ...

    def cost(self, problem: Problem) -> float:
        """How long judging takes, in any unit: the longest go first."""
        ...


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark. To add one, see suites/__init__.py.

    `levels` name its scores, each at least as strict as the one before. `kind` says what answers are: a program that
    may continue the prompt, or the text after a word such as "answer". `load` finds the problems, given a directory or
    file, or None for their usual homes; `make_judge` gets them, a sandbox, and a directory to
    remember things in.
    """

    name: str
    title: str
    levels: tuple[str, ...]
    kind: str  # "program", "input", "output", "statement", "mathematics", "task"
    load: Callable[[Path | None], list[Problem]]
    make_judge: Callable[[list[Problem], Sandbox, Path | None], Judge]
    stops: tuple[str, ...] = ()  # after which a direct completion of the prompt has gone on to something else
    max_tokens: int = 768
