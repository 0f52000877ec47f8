"""One step of Absolute-Zero self-play: propose, admit, attempt, solve, score, learn. START READING HERE.

Reading order: SelfPlay.step is a step on one page, _sampled its first half; Draw (drawing.py) draws the prompts; Round
(round.py) follows each completion to its outcome (streaming, see scheduler.py); scoring.py turns outcomes into
rollouts; policy.update learns from them; ahead.py is where the first half of the next step runs beside that.

Departs from the paper's Algorithm 1 as the official code does: with selfplay.solve_from = "previous" the solver works
on what the step before proposed, so that proposals and solutions decode in one batch.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Protocol

from minizero import prompts
from minizero.config.schema import Config
from minizero.config.tasks import think_problem
from minizero.learn.ranks import ALONE, Ranks
from minizero.rollout.protocol import Sampler, stream_seed
from minizero.selfplay.ahead import Background
from minizero.selfplay.buffer import Entry, TaskBuffer
from minizero.selfplay.drawing import Assignment, Draw
from minizero.selfplay.league import League
from minizero.selfplay.progress import admitted_so_far
from minizero.selfplay.record import Record
from minizero.selfplay.round import Round
from minizero.selfplay.scheduler import Scheduler
from minizero.selfplay.scoring import Scored, gated, score, step_metrics
from minizero.selfplay.seeds import seed_tasks
from minizero.types import ConfigError, Progress, Quiet, Role, Rollout
from sandbox import Sandbox


class Learner(Protocol):
    """What self-play asks of the policy."""

    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        """Learn from a step's rollouts; returns advantage/ and policy/ metrics."""
        ...

    def renew(self, weaker: str, better: str, seed: int) -> None:
        """Make one adapter of a population a mutated copy of another."""
        ...


class NoLearning:
    """A policy that stays as it is: proposing, solving and scoring without a model that learns."""

    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        return {}

    def renew(self, weaker: str, better: str, seed: int) -> None:
        """There is nothing to copy."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step leaves behind: metrics, everything that was scored, and the tasks that entered the buffer."""

    metrics: dict[str, float]
    scored: list[Scored]
    stored: list[Entry]


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A step's texts with their outcomes, before they are scored and learned from."""

    round: Round
    scheduler: Scheduler
    stored: list[Entry] | None  # where this step's tasks are solved in it (solve_from = "same"): they are in the buffer
    tokens: float  # that were generated
    seconds: float


class SelfPlay:
    """The state of a run between steps is `buffer`, `record`, `rng` and the policy; all else is fixed at the start.

    policy: what learns; without one, nothing does. sampler: what writes. box: where programs run. buffer: earlier
    tasks; without one, the seed tasks that the config names. style: of the prompts; without one, the config's.
    held_out: keys (tasks.programs.program_key) of programs that never become tasks. progress: receives phase messages.
    ranks: the processes that share each step; what a step returns is the same on all.
    Raises ConfigError when the config leaves the style to the model and none is given.

    A step without a model, on texts of your own:

        with Sandbox() as box:
            play = SelfPlay(load_config(), sampler=ScriptedSampler(lambda request, index: "..."), box=box)
            print(play.step(1).metrics)
    """

    def __init__(
        self,
        config: Config,
        *,
        policy: Learner | None = None,
        sampler: Sampler,
        box: Sandbox,
        buffer: TaskBuffer | None = None,
        style: str = "",
        held_out: frozenset[str] = frozenset(),
        progress: Progress | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.config, self.policy, self.sampler, self.box = config, policy or NoLearning(), sampler, box
        self.buffer = _seeded(config, box) if buffer is None else buffer
        self.style, self.held_out, self.progress = style or _style_of(config), held_out, progress or Quiet()
        if problem := think_problem(self.style, config.prompt.think):  # of a style that the model decided
            raise ConfigError(f"prompt.{problem}")
        if config.selfplay.ahead and config.selfplay.solve_from == "same" and ranks.count > 1:
            raise ConfigError(
                "selfplay.ahead = 1 with selfplay.solve_from = same and several processes: they would meet "
                "in the middle of a step, while they learn. Try --set selfplay.solve_from=previous"
            )
        self.record = Record()
        self.league = League(config)
        self.rng = random.Random(stream_seed(config.run.rng_seed, "selfplay"))
        self._rng_state = self.rng.getstate()
        self._next: Background[_Sampled] | None = None  # the next step, sampled while this one is learned from
        self._waits_for = 0  # the step ahead that is being waited for

    def step(self, number: int) -> StepResult:
        """Propose tasks and solve tasks with the current policy, score both, update the policy, store the new tasks.

        With selfplay.ahead the next step is sampled meanwhile, by the policy from before the update; both are done when
        this returns.
        """
        play, started = self.config.selfplay, time.perf_counter()
        sampled = self._next.result() if self._next else self._sampled(number)
        self._next = None
        round_ = sampled.round
        assert round_.number == number, "steps are taken in order"
        proposals = round_.proposals()
        entries = [(o.task, o.solve_rate) for o, _ in proposals if o.task and not o.reason]
        answers, attempts = round_.answers(), round_.attempts()
        scored = score(proposals, answers, attempts, round_.greedy_answers(), self.config, self.rng)
        scored = gated(scored, self.record, play.gate)
        if play.gate != "none" or self.config.buffer.replay:
            self.record.note(outcome for outcome, _ in (*answers, *attempts))
        stored = self.buffer.add(entries) if sampled.stored is None else sampled.stored
        tasks, updating = len(self.buffer), time.perf_counter()
        self.league.learn(scored)

        self._rng_state = self.rng.getstate()
        if play.ahead and number < play.steps and not self.league.replaces_after(number):
            self._next = Background(lambda: self._sampled(number + 1, quiet=True))
        self.progress.phase(f"step {number}: learning")
        self.sampler.release()
        learned = self.policy.update([s.rollout for s in scored if s.is_trained])
        for weaker, better in self.league.replacements(number):
            self.policy.renew(weaker, better, stream_seed(self.config.run.rng_seed, number, "mutation", weaker))
        self.sampler.resume()
        updated = time.perf_counter()
        waits = self._waits(number + 1, self._next, updated) if self._next else {}

        metrics = step_metrics(scored, self.held_out) | learned | self.league.metrics() | self._usage(sampled) | waits
        metrics |= {"buffer/tasks": float(tasks), "time/step_s": time.perf_counter() - started}
        metrics |= {"time/step_s/sample": sampled.seconds, "time/step_s/update": updated - updating}
        return StepResult(metrics, scored, stored)

    def _sampled(self, number: int, *, quiet: bool = False) -> _Sampled:
        """The texts of a step, each followed to its outcome. `quiet`: while another phase is shown."""
        play, started = self.config.selfplay, time.perf_counter()
        draw = Draw(
            self.config, number, self.rng, self.buffer, self.record, self.league, self.style, self.sampler.prompt_ids
        )
        if not quiet:
            self.progress.phase(f"step {number}: sampling")

        def tick(pending: int, words: str) -> None:
            if not quiet or self._waits_for == number:
                self.progress.tick(pending, words + admitted_so_far(round_.reasons))

        scheduler = Scheduler(
            self.sampler,
            tick=tick,
            # Where requests are submitted as they come, a rank does not wait for the others before all is done.
            meet=lambda more: round_.meet(more) if self.sampler.is_reproducible else more,
        )
        round_ = Round(
            self.config, number, scheduler, box=self.box, buffer=self.buffer, style=self.style,
            held_out=self.held_out, ranks=self.ranks, masked=draw.masked(),
        )  # fmt: skip

        asked = list(draw.proposals()) if number > play.solver_warmup_steps else []
        if play.solve_from == "previous":
            asked += draw.solves()
        self._ask(round_, asked)
        scheduler.run()
        stored = None
        if play.solve_from == "same":
            stored = self.buffer.add((o.task, o.solve_rate) for o, _ in round_.proposals() if o.task and not o.reason)
            self._ask(round_, list(draw.solves()))
            scheduler.run()
        tokens = self.sampler.take_usage()["completion_tokens"]
        return _Sampled(round_, scheduler, stored, tokens, time.perf_counter() - started)

    def _waits(self, number: int, following: Background[_Sampled], updated: float) -> dict[str, float]:
        """Wait until the next step is sampled; how long either side had nothing to do."""
        self._waits_for = number
        self.progress.phase(f"step {number}: sampling")
        following.wait()
        waited = {"learner": following.ended - updated, "sampler": updated - following.ended}
        return {f"ahead/{side}_waits_s": max(0.0, seconds) for side, seconds in waited.items()}

    def rng_state(self) -> tuple[Any, ...]:
        """The state of `rng` from which the next step is drawn. A step that is sampled ahead is not part of a saved
        state: it is drawn again."""
        return self._rng_state if self._next else self.rng.getstate()

    def _ask(self, round_: Round, asked: list[Assignment]) -> None:
        """Ask this rank's part, which has about as many expected tokens as every other rank's."""
        play = self.config.selfplay
        costs = {
            Role.PROPOSE: play.propose_samples * play.propose_max_tokens,
            Role.SOLVE: play.solve_samples * play.solve_max_tokens,
        }
        for each in self.ranks.deal(asked, [costs[each.role] for each in asked]):
            (round_.propose if each.role is Role.PROPOSE else round_.solve)(each)

    def _usage(self, sampled: _Sampled) -> dict[str, float]:
        """Over all ranks: the sums of tokens and of token rates, and the longest wait."""
        scheduler, tokens = sampled.scheduler, sampled.tokens
        rate = tokens / scheduler.sampling_s if scheduler.sampling_s > 0 else 0.0
        parts = self.ranks.gather((tokens, rate, scheduler.waiting_s))
        return {
            "rollout/generated_tokens": sum(tokens for tokens, _, _ in parts),
            "rollout/tokens_per_s": sum(rate for _, rate, _ in parts),
            "sandbox/wait_s": max(wait for _, _, wait in parts),
        }


def _seeded(config: Config, box: Sandbox) -> TaskBuffer:
    buffer, seeds, types = TaskBuffer.of(config), config.buffer, config.selfplay.task_types
    tasks, _ = seed_tasks(seeds.seeds, seeds.seed_tasks, types, box=box, settings=config.admission)
    buffer.add((task, None) for task in tasks)
    return buffer


def _style_of(config: Config) -> str:
    if config.prompt.style == "auto":
        raise ConfigError(
            "prompt.style = auto: it is the model that decides, and SelfPlay sees none. Give it style=, one of "
            f"{', '.join(prompts.STYLES)}; a Policy has its own as policy.style"
        )
    return config.prompt.style
