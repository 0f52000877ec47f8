"""One step of Absolute-Zero self-play: propose, admit, attempt, solve, score, learn. START READING HERE.

Reading order: SelfPlay.step is the whole story on one page; _plan draws prompts, Round (round.py) follows each
completion to its outcome (streaming, see scheduler.py), scoring.py turns outcomes into rollouts, policy.update learns
from them.

Departs from the paper's Algorithm 1 as the official code does: with selfplay.solve_from = "previous" the solver works
on what the step before proposed, so that proposals and solutions decode in one batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from minizero import prompts
from minizero.config.schema import Config
from minizero.rollout.protocol import Sampler, stream_seed
from minizero.selfplay.buffer import Entry, TaskBuffer
from minizero.selfplay.round import PlannedPrompt, Round, solve_plan
from minizero.selfplay.scheduler import Scheduler, Tick
from minizero.selfplay.scoring import Scored, score, step_metrics
from minizero.tasks.composites import schedule
from minizero.types import Role, Rollout, Task, TaskType
from sandbox import Sandbox

REDRAWS = 4  # times that examples or a task are drawn again when the prompt is too long


class Learner(Protocol):
    """What self-play asks of the policy."""

    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        """Learn from a step's rollouts; returns advantage/ and policy/ metrics."""
        ...


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step leaves behind: metrics, everything that was scored, and the tasks that entered the buffer."""

    metrics: dict[str, float]
    scored: list[Scored]
    stored: list[Entry]


class SelfPlay:
    """The state of a run between steps is `buffer`, `rng` and the policy; everything else is fixed at the start."""

    def __init__(
        self,
        config: Config,
        *,
        policy: Learner,
        sampler: Sampler,
        box: Sandbox,
        buffer: TaskBuffer,
        style: str,
        held_out: frozenset[str] = frozenset(),
        tick: Tick = lambda pending: None,
    ) -> None:
        self.config, self.policy, self.sampler, self.box, self.buffer = config, policy, sampler, box, buffer
        self.style, self.held_out, self.tick = style, held_out, tick
        self.rng = random.Random(stream_seed(config.run.rng_seed, "selfplay"))

    def step(self, number: int) -> StepResult:
        """Propose tasks and solve tasks with the current policy, score both, update the policy, store the new tasks."""
        play, started = self.config.selfplay, time.perf_counter()
        scheduler = Scheduler(self.sampler, tick=self.tick)
        round_ = Round(
            self.config,
            number,
            scheduler,
            box=self.box,
            buffer=self.buffer,
            style=self.style,
            held_out=self.held_out,
        )

        if number > play.solver_warmup_steps:
            for plan in self._plan_proposals(number):
                round_.propose(plan)
        if play.solve_from == "previous":
            for plan in self._plan_solves(number):
                round_.solve(plan)
        scheduler.run()
        proposals = round_.proposals()
        entries = [(o.task, o.solve_rate) for o, _ in proposals if o.task and not o.reason]
        if play.solve_from == "same":
            stored = self.buffer.add(entries)
            for plan in self._plan_solves(number):
                round_.solve(plan)
            scheduler.run()
        sampled = time.perf_counter()

        scored = score(proposals, round_.answers(), round_.attempts(), round_.greedy_answers(), self.config, self.rng)
        self.sampler.release()
        learned = self.policy.update([s.rollout for s in scored if s.is_trained])
        self.sampler.resume()
        updated = time.perf_counter()
        if play.solve_from == "previous":
            stored = self.buffer.add(entries)

        metrics = step_metrics(scored, self.held_out) | learned | _usage(self.sampler, scheduler)
        metrics |= {"buffer/tasks": float(len(self.buffer)), "time/step_s": updated - started}
        metrics |= {"time/step_s/sample": sampled - started, "time/step_s/update": updated - sampled}
        return StepResult(metrics, scored, stored)

    # -- drawing prompts ----------------------------------------------------------------------------------------------

    def _plan_proposals(self, number: int) -> list[PlannedPrompt]:
        play, plans = self.config.selfplay, []
        for task_type in play.task_types:
            for index in range(play.proposals // play.propose_samples):
                lines = self.rng.choice(play.request_lines) if play.request_lines else None
                given = self._composites(task_type, number)

                def draw(
                    task_type: TaskType = task_type, lines: int | None = lines, given: tuple[str, ...] = given
                ) -> PlannedPrompt | None:
                    count = 1 if task_type is TaskType.INDUCTION else self.config.prompt.examples
                    shown = self.buffer.examples(
                        task_type, count, self.rng, sampling=self.config.buffer.example_sampling
                    )
                    if task_type is TaskType.INDUCTION and not shown:
                        return None
                    prompt = prompts.propose(
                        self.style, task_type, shown, settings=self.config.prompt, lines=lines, composites=given
                    )
                    return PlannedPrompt(Role.PROPOSE, task_type, prompt, examples=shown, lines=lines, composites=given)

                plans += self._drawn(draw, f"{task_type}/{index:04d}")
        return plans

    def _composites(self, task_type: TaskType, number: int) -> tuple[str, ...]:
        """Functions that a new program of this type has to build on; mostly none."""
        ask = None if task_type is TaskType.INDUCTION else schedule(self.config.composites, number)
        if ask is None or self.rng.random() >= ask.chance:
            return ()
        count = self.rng.randint(ask.n_min, ask.n_max)
        return self.buffer.composites(task_type, count, self.rng, sampling=self.config.buffer.example_sampling)

    def _plan_solves(self, number: int) -> list[PlannedPrompt]:
        play, plans = self.config.selfplay, []
        for task_type in play.task_types:
            count = play.solves // play.solve_samples
            # With "same", this step's tasks are in the buffer already, and they are the newest.
            step = number + 1 if play.solve_from == "same" else number
            mix, window = self.config.buffer.mix, self.config.buffer.window
            drawn = self.buffer.draw(task_type, count, self.rng, step=step, mix=mix, window=window)
            for index, task in enumerate(drawn):

                def draw(task: Task = task) -> PlannedPrompt:
                    return solve_plan(task, self.style, self.config)

                plans += self._drawn(draw, f"{task_type}/{index:04d}")
        return plans

    def _drawn(self, draw: Callable[[], PlannedPrompt | None], name: str) -> list[PlannedPrompt]:
        """A plan whose prompt fits, drawn again a few times if need be; [] when none does."""
        for _ in range(REDRAWS):
            plan = draw()
            if plan is None:
                return []
            if len(self.sampler.prompt_ids(plan.prompt)) <= self.config.selfplay.max_prompt_tokens:
                return [replace(plan, name=f"{plan.role}/{name}")]
        return []


def _usage(sampler: Sampler, scheduler: Scheduler) -> dict[str, float]:
    usage = sampler.take_usage()
    tokens = usage["completion_tokens"]
    return {
        "rollout/generated_tokens": tokens,
        "rollout/tokens_per_s": tokens / scheduler.sampling_s if scheduler.sampling_s > 0 else 0.0,
        "sandbox/wait_s": scheduler.waiting_s,
    }
