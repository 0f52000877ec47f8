"""One step's completions, each followed from its text to its outcome: parsed, admitted, attempted, judged.

Reading order: PlannedPrompt (what completions are read against), Round.propose and solve (ask), then what
happens to a proposal (_read_proposal, _admitted, _with_attempts) and to an answer (_read_answer). Results are kept by
request and index, so that the order in which they arrive changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from minizero import prompts
from minizero.config.schema import Config
from minizero.rewards import solve_rate
from minizero.rollout.protocol import stream_seed
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.scheduler import Scheduler
from minizero.tasks import admission as tasks
from minizero.tasks.composites import compose
from minizero.tasks.parsing import format_ok, parse_answer, parse_proposal
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
    Task,
    TaskType,
    Verdict,
)
from sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class PlannedPrompt:
    """One prompt to be completed, and what its completions will be read against."""

    role: Role
    task_type: TaskType
    prompt: Prompt
    name: str = ""
    examples: tuple[Task, ...] = ()
    lines: int | None = None
    composites: tuple[str, ...] = ()
    task: Task | None = None


@dataclass(slots=True)
class _Attempts:
    """The attempts at one proposed task, shared by all proposals of exactly that task."""

    verdicts: dict[int, Verdict]
    answers: list[tuple[AnswerOutcome, Completion]]


class Round:
    """Follows every completion of a step to its outcome. Results are kept by request and index, never by arrival."""

    def __init__(
        self,
        config: Config,
        number: int,
        scheduler: Scheduler,
        *,
        box: Sandbox,
        buffer: TaskBuffer,
        style: str,
        held_out: frozenset[str],
    ) -> None:
        self.config, self.number, self.scheduler = config, number, scheduler
        self.box, self.buffer, self.style, self.held_out = box, buffer, style, held_out
        self.settings = config.admission
        self._proposed: dict[tuple[str, int], tuple[ProposalOutcome, Completion]] = {}
        self._greedy: dict[str, AnswerOutcome] = {}  # plan name -> the greedy answer, the baseline of ReMax
        self._answered: dict[tuple[str, int], tuple[AnswerOutcome, Completion]] = {}
        self._attempts: dict[str, _Attempts] = {}
        self._checks: dict[tuple[str, str], Future[Verdict]] = {}
        self._first: dict[str, tuple[tuple[str, int], str]] = {}  # duplicate key -> first place in the order, its task

    def propose(self, plan: PlannedPrompt) -> None:
        self._ask(plan, lambda completion: self._read_proposal(plan, completion))

    def solve(self, plan: PlannedPrompt) -> None:
        assert plan.task is not None
        task = plan.task

        def keep(outcome: AnswerOutcome, completion: Completion) -> None:
            self._answered[completion.request_id, completion.index] = (outcome, completion)

        self._ask(plan, lambda completion: self._read_answer(task, plan.prompt, completion, keep))
        self._ask_greedily(plan, task)

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

    def _read_proposal(self, plan: PlannedPrompt, completion: Completion) -> None:
        place = (completion.request_id, completion.index)
        text = plan.prompt.prefill + completion.text
        kept_form = format_ok(Role.PROPOSE, plan.task_type, text, style=self.style)
        program = plan.examples[0].program if plan.task_type is TaskType.INDUCTION else None
        inputs = self.config.prompt.induction_inputs
        parsed = parse_proposal(
            plan.task_type, text, style=self.style, settings=self.settings, program=program, inputs=inputs
        )
        if plan.composites and isinstance(parsed, Proposal):
            parsed = compose(parsed, plan.composites)
        outcome = ProposalOutcome(
            plan.task_type, text, kept_form, "", examples=plan.examples, requested_lines=plan.lines
        )
        if isinstance(parsed, ParseError):
            self._proposed[place] = (replace(outcome, reason=parsed.reason, detail=parsed.detail), completion)
            return
        outcome = replace(outcome, proposal=parsed)

        def admitted(result: Task | Rejection) -> None:
            self._admitted(outcome, completion, parsed, result)

        self.scheduler.await_result(
            tasks.admit(
                parsed,
                self.box,
                self.settings,
                step=self.number,
                inputs=inputs,
                shown=self.config.prompt.induction_shown,
                known=self._knows,
                held_out=self.held_out,
                lines=plan.lines,
            ),
            admitted,
        )

    def _admitted(
        self, outcome: ProposalOutcome, completion: Completion, proposal: Proposal, result: Task | Rejection
    ) -> None:
        place = (completion.request_id, completion.index)
        if isinstance(result, Rejection):
            self._proposed[place] = (replace(outcome, reason=result.reason, detail=result.detail), completion)
            return
        outcome = replace(outcome, task=result, known=self.buffer.describe(result))
        self._proposed[place] = (outcome, completion)
        key = self._key(result)
        mine = (place, result.id)
        self._first[key] = min(self._first.get(key, mine), mine)
        count = self.config.selfplay.attempts
        if count and result.id not in self._attempts:
            self._attempts[result.id] = _Attempts({}, [])
            plan = replace(solve_plan(result, self.style, self.config), name=f"attempt/{result.type}/{result.id}")

            def is_duplicate() -> bool:  # the earlier one is attempted instead
                return bool(key) and self._first[key][1] != result.id

            self._ask(
                plan,
                lambda attempt: self._read_answer(result, plan.prompt, attempt, self._keep_attempt),
                n=count,
                unless=is_duplicate,
            )
            if self.config.selfplay.train_on_attempts:
                self._ask_greedily(plan, result, unless=is_duplicate)

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
        rate = solve_rate(verdicts, self.config.reward.solve.induction)
        return replace(outcome, verdicts=verdicts, solve_rate=rate)

    def _knows(self, proposal: Proposal) -> bool:
        key = self._key(proposal)
        return bool(key) and self.buffer.knows(proposal.type, key)

    def _key(self, item: Proposal | Task) -> str:
        """What makes two tasks of a type the same, with the type in front; "" when nothing does."""
        return task_key(item, self.settings.duplicate_by)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _read_answer(
        self, task: Task, prompt: Prompt, completion: Completion, keep: Callable[[AnswerOutcome, Completion], None]
    ) -> None:
        text = prompt.prefill + completion.text
        kept_form = format_ok(Role.SOLVE, task.type, text, style=self.style)
        parsed = parse_answer(task.type, text, style=self.style)
        answer = None if isinstance(parsed, ParseError) else parsed

        def judged(verdict: Verdict) -> None:
            keep(AnswerOutcome(task, text, kept_form, verdict, answer), completion)

        said = parsed.reason if isinstance(parsed, ParseError) else parsed.text
        if (task.id, said) not in self._checks:  # attempts often agree; one run tells about all of them
            self._checks[task.id, said] = tasks.check(task, parsed, self.box, self.settings)
        self.scheduler.await_result(self._checks[task.id, said], judged)

    def _ask_greedily(self, plan: PlannedPrompt, task: Task, *, unless: Callable[[], bool] = lambda: False) -> None:
        """The baseline of ReMax: one greedy answer to the same prompt, where the solver's estimator wants one."""
        if self.config.advantage.solve.baseline != "greedy":
            return

        def keep(outcome: AnswerOutcome, _: Completion) -> None:
            self._greedy[plan.name] = outcome

        greedy = replace(plan, name=f"{plan.name}/greedy")
        self._ask(
            greedy, lambda done: self._read_answer(task, plan.prompt, done, keep), n=1, greedy=True, unless=unless
        )

    def _ask(
        self,
        plan: PlannedPrompt,
        then: Callable[[Completion], None],
        *,
        n: int = 0,
        greedy: bool = False,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        play = self.config.selfplay
        propose = plan.role is Role.PROPOSE
        request = Request(
            id=plan.name,
            prompt=plan.prompt,
            max_tokens=play.propose_max_tokens if propose else play.solve_max_tokens,
            seed=stream_seed(self.config.run.rng_seed, self.number, plan.name),
            n=n or (play.propose_samples if propose else play.solve_samples),
            temperature=0.0 if greedy else self.config.sampler.temperature,
        )
        self.scheduler.ask(request, then, unless=unless)


def solve_plan(task: Task, style: str, config: Config) -> PlannedPrompt:
    """The plan of asking for a task's missing part."""
    return PlannedPrompt(Role.SOLVE, task.type, prompts.solve(style, task, settings=config.prompt), task=task)


def task_key(item: Proposal | Task, by: str) -> str:
    """The key under which the buffer knows a task; "" with admission.duplicate_by = "none"."""
    return "" if by == "none" else f"{item.type}:{tasks.duplicate_key(item, by)}"


def _by_index(pair: tuple[AnswerOutcome, Completion]) -> int:
    return pair[1].index
