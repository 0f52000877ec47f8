"""Drawing a step's prompts: what is proposed from which examples, and which tasks are solved.

Reading order: Assignment (a prompt and what its completions are read against), Draw.proposals, Draw.solves. All draws
come from one random stream in this order; only the mask has its own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from minizero import prompts
from minizero.config.schema import Config
from minizero.rollout.protocol import stream_seed
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.league import League
from minizero.selfplay.record import Record
from minizero.selfplay.vocabulary import masked_tokens
from minizero.tasks.composites import schedule
from minizero.types import Prompt, Role, Task, TaskType

REDRAWS = 4  # times that examples are drawn for one prompt, until it is short enough


def never() -> bool:
    """Nothing makes an assignment needless."""
    return False


@dataclass(frozen=True, slots=True)
class Assignment:
    """One prompt, under the name of its request, and what its completions are read against."""

    name: str
    role: Role
    task_type: TaskType
    prompt: Prompt
    examples: tuple[Task, ...] = ()
    lines: int | None = None
    composites: tuple[str, ...] = ()
    task: Task | None = None
    member: str = ""  # which of several adapters writes the completions
    opponent: str = ""  # and of a proposal's, which one attempts them
    unless: Callable[[], bool] = never  # asked at submission: whether it is needless by then


def to_solve(task: Task, name: str, style: str, config: Config) -> Assignment:
    """The assignment of finding a task's missing part."""
    prompt = prompts.solve(style, task, settings=config.prompt)
    return Assignment(name, Role.SOLVE, task.type, prompt, task=task)


@dataclass(frozen=True, slots=True)
class Draw:
    """The prompts of one step. `encode` gives a prompt's token ids, which tell its length."""

    config: Config
    number: int
    rng: random.Random
    buffer: TaskBuffer
    record: Record
    league: League
    style: str
    encode: Callable[[Prompt], Sequence[int]]

    def proposals(self) -> Iterator[Assignment]:
        """Propose prompts of every task type; one that is too long even when redrawn is left out."""
        play, places = self.config.selfplay, itertools.count()
        for task_type in play.task_types:
            for index in range(play.proposals // play.propose_samples):
                name, member = f"propose/{task_type}/{index:04d}", self.league.proposer(self.number, next(places))
                lines = self.rng.choice(play.request_lines) if play.request_lines else None
                parameters = self.rng.choice(play.request_parameters) if play.request_parameters else ""
                composites = self._composites(task_type)
                draws = self._proposal(name, task_type, lines, parameters, composites)
                if asked := next(filter(self._fits, draws), None):
                    yield replace(asked, member=member, opponent=self.league.opponent(member, self.number, name))

    def _proposal(
        self, name: str, task_type: TaskType, lines: int | None, parameters: str, composites: tuple[str, ...]
    ) -> Iterator[Assignment]:
        """The same prompt with other examples, a few times, as some may be too long."""
        is_induction, settings = task_type is TaskType.INDUCTION, self.config.prompt
        sampling = self.config.buffer.example_sampling
        for _ in range(REDRAWS):
            examples = self.buffer.examples(
                task_type, 1 if is_induction else settings.examples, self.rng, sampling=sampling
            )
            if is_induction and not examples:
                return
            prompt = prompts.propose(
                self.style,
                task_type,
                examples,
                settings=settings,
                lines=lines,
                parameters=parameters,
                composites=composites,
            )
            yield Assignment(name, Role.PROPOSE, task_type, prompt, examples, lines, composites)

    def _composites(self, task_type: TaskType) -> tuple[str, ...]:
        """Functions that a new program of this type has to build on; mostly none."""
        ask = None if task_type is TaskType.INDUCTION else schedule(self.config.composites, self.number)
        if ask is None or self.rng.random() >= ask.chance:
            return ()
        count = self.rng.randint(ask.n_min, ask.n_max)
        return self.buffer.composites(task_type, count, self.rng, sampling=self.config.buffer.example_sampling)

    def solves(self) -> Iterator[Assignment]:
        """Solve prompts of every task type, from the buffer as it is now."""
        play, settings = self.config.selfplay, self.config.buffer
        # With "same", this step's tasks are in the buffer already, and they are the newest.
        step = self.number + 1 if play.solve_from == "same" else self.number
        for task_type in play.task_types:
            count = play.solves // play.solve_samples
            tasks = self._replayed(task_type, count)
            count -= len(tasks)
            tasks += self.buffer.draw(task_type, count, self.rng, step=step, mix=settings.mix, window=settings.window)
            assignments = (
                replace(
                    to_solve(task, f"solve/{task_type}/{index:04d}", self.style, self.config),
                    member=self.league.solver(self.number, index),
                )
                for index, task in enumerate(tasks)
            )
            yield from filter(self._fits, assignments)

    def _replayed(self, task_type: TaskType, count: int) -> list[Task]:
        """The part of `count` tasks that buffer.replay draws from those that were rarely solved."""
        settings = self.config.buffer
        if not settings.replay:
            return []
        rare = self.record.rarely_solved(self.buffer.tasks(task_type), settings.rare)
        return self.rng.sample(rare, min(len(rare), round(settings.replay * count)))

    def masked(self) -> tuple[int, ...]:
        """The tokens that this step's proposals must do without."""
        if not (share := self.config.selfplay.vocabulary_dropout):
            return ()
        shelves = [self.buffer.tasks(kind) for kind in self.config.selfplay.task_types]
        rng = random.Random(stream_seed(self.config.run.rng_seed, self.number, "vocabulary"))
        return masked_tokens(shelves, self.encode, share, rng)

    def _fits(self, asked: Assignment) -> bool:
        return len(self.encode(asked.prompt)) <= self.config.selfplay.max_prompt_tokens
