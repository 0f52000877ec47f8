"""One step of Absolute-Zero self-play: propose, admit, attempt, solve, score, learn. START READING HERE.

Reading order: SelfPlay.step is the whole story on one page; _plan draws prompts, _Round follows each completion to its
outcome (streaming, see exchange.py), scoring.py turns outcomes into rollouts, policy.update learns from them.

Departs from the paper's Algorithm 1 as the official code does: with selfplay.solve_from = "previous" the solver works on
what the step before proposed, so that proposals and solutions decode in one batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from minizero import prompts, tasks
from minizero.buffer import Entry, TaskBuffer
from minizero.config.schema import Config
from minizero.exchange import Exchange, Tick
from minizero.parsing import format_ok, parse_answer, parse_proposal
from minizero.rewards import solve_rate
from minizero.rollout.protocol import Sampler, stream_seed
from minizero.scoring import Scored, score, step_metrics
from minizero.types import (
    AnswerOutcome,
    Completion,
    ParseError,
    Prompt,
    Proposal,
    ProposalOutcome,
    Rejection,
    Request,
    Role,
    Rollout,
    Task,
    TaskType,
    Verdict,
)
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
        exchange = Exchange(self.sampler, tick=self.tick)
        round_ = _Round(self, number, exchange)

        if number > play.solver_warmup_steps:
            for plan in self._plan_proposals():
                round_.propose(plan)
        if play.solve_from == "previous":
            for plan in self._plan_solves(number):
                round_.solve(plan)
        exchange.run()
        proposals = round_.proposals()
        entries = [(o.task, o.solve_rate) for o, _ in proposals if o.task and not o.reason]
        if play.solve_from == "same":
            stored = self.buffer.add(entries)
            for plan in self._plan_solves(number):
                round_.solve(plan)
            exchange.run()
        sampled = time.perf_counter()

        scored = score(proposals, round_.answers(), round_.attempts(), round_.greedy_answers(), self.config, self.rng)
        learned = self.policy.update([s.rollout for s in scored if s.is_trained])
        updated = time.perf_counter()
        if play.solve_from == "previous":
            stored = self.buffer.add(entries)

        metrics = step_metrics(scored, self.held_out) | learned | _usage(self.sampler, exchange)
        metrics |= {"buffer/tasks": float(len(self.buffer)), "time/step_s": updated - started}
        metrics |= {"time/step_s/sample": sampled - started, "time/step_s/update": updated - sampled}
        return StepResult(metrics, scored, stored)

    # -- drawing prompts ----------------------------------------------------------------------------------------------

    def _plan_proposals(self) -> list[_Plan]:
        play, plans = self.config.selfplay, []
        for task_type in play.task_types:
            for index in range(play.proposals // play.propose_samples):
                lines = self.rng.choice(play.request_lines) if play.request_lines else None

                def draw(task_type: TaskType = task_type, lines: int | None = lines) -> _Plan | None:
                    count = 1 if task_type is TaskType.INDUCTION else self.config.prompt.examples
                    shown = self.buffer.examples(task_type, count, self.rng, sampling=self.config.buffer.example_sampling)
                    if task_type is TaskType.INDUCTION and not shown:
                        return None
                    prompt = prompts.propose(self.style, task_type, shown, settings=self.config.prompt, lines=lines)
                    return _Plan(Role.PROPOSE, task_type, prompt, examples=shown, lines=lines)

                plans += self._drawn(draw, f"{task_type}/{index:04d}")
        return plans

    def _plan_solves(self, number: int) -> list[_Plan]:
        play, plans = self.config.selfplay, []
        for task_type in play.task_types:
            count = play.solves // play.solve_samples
            how = {"step": number, "mix": self.config.buffer.mix, "window": self.config.buffer.window}
            if play.solve_from == "same":
                how["step"] = number + 1  # this step's tasks are the newest
            for index, task in enumerate(self.buffer.draw(task_type, count, self.rng, **how)):

                def draw(task: Task = task) -> _Plan:
                    return self._solve_plan(task)

                plans += self._drawn(draw, f"{task_type}/{index:04d}")
        return plans

    def _solve_plan(self, task: Task) -> _Plan:
        prompt = prompts.solve(self.style, task, settings=self.config.prompt)
        return _Plan(Role.SOLVE, task.type, prompt, task=task)

    def _drawn(self, draw: Callable[[], _Plan | None], name: str) -> list[_Plan]:
        """A plan whose prompt fits, drawn again a few times if need be; [] when none does."""
        for _ in range(REDRAWS):
            plan = draw()
            if plan is None:
                return []
            if len(self.sampler.prompt_ids(plan.prompt)) <= self.config.selfplay.max_prompt_tokens:
                return [replace(plan, name=f"{plan.role}/{name}")]
        return []


@dataclass(frozen=True, slots=True)
class _Plan:
    """One prompt to be completed, and what its completions will be read against."""

    role: Role
    task_type: TaskType
    prompt: Prompt
    name: str = ""
    examples: tuple[Task, ...] = ()
    lines: int | None = None
    task: Task | None = None


@dataclass(slots=True)
class _Attempts:
    """The attempts at one proposed task, shared by all proposals of exactly that task."""

    verdicts: dict[int, Verdict]
    answers: list[tuple[AnswerOutcome, Completion]]


class _Round:
    """Follows every completion of a step to its outcome. Results are kept by request and index, never by arrival."""

    def __init__(self, game: SelfPlay, number: int, exchange: Exchange) -> None:
        self.game, self.number, self.exchange = game, number, exchange
        self.settings = game.config.admission
        self._proposed: dict[tuple[str, int], tuple[ProposalOutcome, Completion]] = {}
        self._greedy: dict[str, AnswerOutcome] = {}  # plan name -> the greedy answer, the baseline of ReMax
        self._answered: dict[tuple[str, int], tuple[AnswerOutcome, Completion]] = {}
        self._attempts: dict[str, _Attempts] = {}
        self._checks: dict[tuple[str, str], Future[Verdict]] = {}
        self._first: dict[str, tuple[tuple[str, int], str]] = {}  # duplicate key -> first place in the order, its task

    def propose(self, plan: _Plan) -> None:
        self._ask(plan, lambda completion: self._read_proposal(plan, completion))

    def solve(self, plan: _Plan) -> None:
        assert plan.task is not None
        task = plan.task

        def keep(outcome: AnswerOutcome, completion: Completion) -> None:
            self._answered[completion.request_id, completion.index] = (outcome, completion)

        def keep_greedy(outcome: AnswerOutcome, _: Completion) -> None:
            self._greedy[plan.name] = outcome

        self._ask(plan, lambda completion: self._read_answer(task, plan.prompt, completion, keep))
        if self.game.config.advantage.solve.baseline == "greedy":
            greedy = replace(plan, name=f"{plan.name}/greedy")
            self._ask(greedy, lambda done: self._read_answer(task, plan.prompt, done, keep_greedy), n=1, greedy=True)

    def proposals(self) -> list[tuple[ProposalOutcome, Completion]]:
        """Outcomes in request order; of equal proposals in this step all but the first are duplicates."""
        found = []
        for place in sorted(self._proposed):
            outcome, completion = self._proposed[place]
            if outcome.task and not outcome.reason:
                outcome = self._with_attempts(outcome, place)
            found.append((outcome, completion))
        return found

    def answers(self) -> list[tuple[AnswerOutcome, Completion]]:
        return [self._answered[place] for place in sorted(self._answered)]

    def greedy_answers(self) -> dict[str, AnswerOutcome]:
        """By request id: the greedy answer to the same prompt (only where a baseline asks for it)."""
        return self._greedy

    def attempts(self) -> list[tuple[AnswerOutcome, Completion]]:
        return [pair for name in sorted(self._attempts) for pair in sorted(self._attempts[name].answers, key=_by_index)]

    # -- proposals ----------------------------------------------------------------------------------------------------

    def _read_proposal(self, plan: _Plan, completion: Completion) -> None:
        game, place = self.game, (completion.request_id, completion.index)
        text = plan.prompt.prefill + completion.text
        kept_form = format_ok(Role.PROPOSE, plan.task_type, text, style=game.style)
        program = plan.examples[0].program if plan.task_type is TaskType.INDUCTION else None
        inputs = game.config.prompt.induction_inputs
        parsed = parse_proposal(
            plan.task_type, text, style=game.style, settings=self.settings, program=program, inputs=inputs
        )
        outcome = ProposalOutcome(
            plan.task_type, text, kept_form, "", examples=plan.examples, requested_lines=plan.lines
        )
        if isinstance(parsed, ParseError):
            self._proposed[place] = (replace(outcome, reason=parsed.reason), completion)
            return
        outcome = replace(outcome, proposal=parsed)

        def admitted(result: Task | Rejection) -> None:
            self._admitted(outcome, completion, parsed, result)

        self.exchange.await_result(
            tasks.admit(
                parsed,
                game.box,
                self.settings,
                step=self.number,
                inputs=inputs,
                shown=game.config.prompt.induction_shown,
                known=self._knows,
                held_out=game.held_out,
                lines=plan.lines,
            ),
            admitted,
        )

    def _admitted(
        self, outcome: ProposalOutcome, completion: Completion, proposal: Proposal, result: Task | Rejection
    ) -> None:
        place = (completion.request_id, completion.index)
        if isinstance(result, Rejection):
            self._proposed[place] = (replace(outcome, reason=result.reason), completion)
            return
        outcome = replace(outcome, task=result, known=self.game.buffer.describe(result))
        self._proposed[place] = (outcome, completion)
        key = self._key(result)
        mine = (place, result.id)
        self._first[key] = min(self._first.get(key, mine), mine)
        count = self.game.config.selfplay.attempts
        if count and result.id not in self._attempts:
            self._attempts[result.id] = _Attempts({}, [])
            plan = replace(self.game._solve_plan(result), name=f"attempt/{result.type}/{result.id}")
            self._ask(
                plan,
                lambda attempt: self._read_answer(result, plan.prompt, attempt, self._keep_attempt),
                n=count,
                unless=lambda: bool(key) and self._first[key][1] != result.id,  # an earlier duplicate is attempted instead
            )

    def _keep_attempt(self, outcome: AnswerOutcome, completion: Completion) -> None:
        attempts = self._attempts[outcome.task.id]
        attempts.verdicts[completion.index] = outcome.verdict
        attempts.answers.append((outcome, completion))

    def _with_attempts(self, outcome: ProposalOutcome, place: tuple[str, int]) -> ProposalOutcome:
        assert outcome.task is not None
        key = self._key(outcome.task)
        if key and self._first[key][0] != place:
            return replace(outcome, reason="duplicate", task=None)
        attempts = self._attempts.get(outcome.task.id)
        if attempts is None or not attempts.verdicts:
            return outcome
        verdicts = tuple(attempts.verdicts[i] for i in sorted(attempts.verdicts))
        rate = solve_rate(verdicts, self.game.config.reward.solve.induction)
        return replace(outcome, verdicts=verdicts, solve_rate=rate)

    def _knows(self, proposal: Proposal) -> bool:
        key = self._key(proposal)
        return bool(key) and self.game.buffer.knows(proposal.type, key)

    def _key(self, item: Proposal | Task) -> str:
        """What makes two tasks of a type the same, with the type in front; "" when nothing does."""
        return task_key(item, self.settings.duplicate_by)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _read_answer(
        self, task: Task, prompt: Prompt, completion: Completion, keep: Callable[[AnswerOutcome, Completion], None]
    ) -> None:
        text = prompt.prefill + completion.text
        kept_form = format_ok(Role.SOLVE, task.type, text, style=self.game.style)
        parsed = parse_answer(task.type, text, style=self.game.style)
        answer = None if isinstance(parsed, ParseError) else parsed

        def judged(verdict: Verdict) -> None:
            keep(AnswerOutcome(task, text, kept_form, verdict, answer), completion)

        said = parsed.reason if answer is None else answer.text
        if (task.id, said) not in self._checks:  # attempts often agree; one run tells about all of them
            self._checks[task.id, said] = tasks.check(task, parsed, self.game.box, self.settings)
        self.exchange.await_result(self._checks[task.id, said], judged)

    def _ask(
        self,
        plan: _Plan,
        then: Callable[[Completion], None],
        *,
        n: int = 0,
        greedy: bool = False,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        play = self.game.config.selfplay
        propose = plan.role is Role.PROPOSE
        request = Request(
            id=plan.name,
            prompt=plan.prompt,
            max_tokens=play.propose_max_tokens if propose else play.solve_max_tokens,
            seed=stream_seed(self.game.config.run.rng_seed, self.number, plan.name),
            n=n or (play.propose_samples if propose else play.solve_samples),
            temperature=0.0 if greedy else self.game.config.sampler.temperature,
        )
        self.exchange.ask(request, then, unless=unless)


def task_key(item: Proposal | Task, by: str) -> str:
    """The key under which the buffer knows a task; "" with admission.duplicate_by = "none"."""
    return "" if by == "none" else f"{item.type}:{tasks.duplicate_key(item, by)}"


def _by_index(pair: tuple[AnswerOutcome, Completion]) -> int:
    return pair[1].index


def _usage(sampler: Sampler, exchange: Exchange) -> dict[str, float]:
    usage = sampler.take_usage()
    tokens = usage["completion_tokens"]
    return {
        "rollout/generated_tokens": tokens,
        "rollout/tokens_per_s": tokens / exchange.sampling_s if exchange.sampling_s > 0 else 0.0,
        "sandbox/wait_s": exchange.waiting_s,
    }
