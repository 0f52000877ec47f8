"""One step's completions, each followed from its text to its outcome: parsed, admitted, attempted, checked.

Reading order: Round.propose and solve (ask), then the two stories, each one coroutine: _proposal and _answer. Results
are kept by request and index, so the order in which they arrive changes nothing. Of several ranks each follows its own
part; `proposals`, `answers`, `attempts` and `greedy_answers` return the outcomes of all ranks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from minizero.config.schema import Config
from minizero.learn.ranks import ALONE, Ranks
from minizero.rewards.attempts import is_settled, rate_of, solved
from minizero.rewards.diversity import with_repetition
from minizero.rollout.protocol import stream_seed
from minizero.selfplay.answers import AnswerReader
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.drawing import Assignment, to_solve
from minizero.selfplay.scheduler import Scheduler
from minizero.tasks.admission import admit, leaked, task_key
from minizero.tasks.composites import compose
from minizero.tasks.event_loop import Promise, result
from minizero.tasks.parsing import format_ok, parse_proposal
from minizero.types import (
    AnswerOutcome,
    Completion,
    ParseError,
    Proposal,
    ProposalOutcome,
    Rejection,
    Request,
    Role,
    Task,
    TaskType,
)
from sandbox import Sandbox

T = TypeVar("T")
Proposed = tuple[ProposalOutcome, Completion]
Answered = tuple[AnswerOutcome, Completion]


class Round:
    """Follows every completion of a step to its outcome."""

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
        ranks: Ranks = ALONE,
        masked: tuple[int, ...] = (),
    ) -> None:
        self.config, self.number, self.scheduler, self.ranks = config, number, scheduler, ranks
        self.box, self.buffer, self.style, self.held_out = box, buffer, style, held_out
        self._masked = masked  # tokens that proposals must do without
        self.reader = AnswerReader(scheduler, box, config.admission, style)
        self._proposals: dict[str, Promise[list[Proposed]]] = {}  # by request id, as are answers and greedy answers
        self._answers: dict[str, Promise[list[Answered]]] = {}
        self._greedy: dict[str, Promise[list[Answered]]] = {}
        self._attempts: dict[str, Promise[list[Answered]]] = {}  # by task id; of a population by its solver too
        self.reasons: Counter[str] = Counter()  # of rejected proposals, and "" of admitted ones, so far
        # Duplicate key -> first request and index, its task, the solver that attempts it.
        self._first: dict[str, tuple[tuple[str, int], str, str]] = {}

    # -- what is asked, and what came of it ---------------------------------------------------------------------------

    def propose(self, asked: Assignment) -> None:
        """Ask for proposals and follow each."""
        proposals = self.scheduler.sample(self._request(asked), lambda completion: self._proposal(asked, completion))
        self._proposals[asked.name] = self.scheduler.start(proposals)

    def solve(self, asked: Assignment) -> None:
        """Ask for answers to a task and check each."""
        self._answers[asked.name] = self._ask(asked, self._request(asked))
        self._ask_greedily(asked)

    def proposals(self) -> list[Proposed]:
        """Outcomes in request order; of equal proposals in this step all but the first are duplicates."""
        self.meet(False)
        pairs, reward = self._in_order(self._proposals), self.config.reward.propose
        outcomes = [self._unless_repeated(*pair) for pair in pairs]
        if "repetition" in (reward.base, *reward.terms):
            outcomes = with_repetition(outcomes)
        return [(outcome, completion) for outcome, (_, completion) in zip(outcomes, pairs, strict=True)]

    def answers(self) -> list[Answered]:
        """Outcomes in request order."""
        return self._in_order(self._answers)

    def attempts(self) -> list[Answered]:
        """Outcomes of the attempts at proposed tasks, in the order of the tasks' ids."""
        return self._in_order(self._attempts)

    def greedy_answers(self) -> dict[str, AnswerOutcome]:
        """By request id: the greedy answer to the same prompt (only where a baseline asks for it)."""
        return {name: pairs[0][0] for name, pairs in self._of_all_ranks(self._greedy).items() if pairs}

    def meet(self, more: bool) -> bool:
        """All ranks learn which proposal of each task is the first. Returns whether any rank has more to ask."""
        firsts = self.ranks.gather((self._first, more))
        for first, _ in firsts:
            for key, mine in first.items():
                self._first[key] = min(self._first.get(key, mine), mine)
        return any(more for _, more in firsts)

    def _of_all_ranks(self, promises: Mapping[str, Promise[list[T]]]) -> dict[str, list[T]]:
        """By name; a task that several ranks were asked to attempt is attempted by the one that proposed it first."""
        merged: dict[str, list[T]] = {}
        for part in self.ranks.gather({name: promise.result() for name, promise in promises.items()}):
            merged |= {name: results for name, results in part.items() if results or name not in merged}
        return merged

    def _in_order(self, promises: Mapping[str, Promise[list[T]]]) -> list[T]:
        merged = self._of_all_ranks(promises)
        return [item for name in sorted(merged) for item in merged[name]]

    # -- a proposal, from its text to its solve rate ------------------------------------------------------------------

    async def _proposal(self, asked: Assignment, completion: Completion) -> Proposed:
        outcome = await self._read(asked, completion)
        self.reasons[outcome.reason] += 1
        if outcome.task is None:
            return outcome, completion
        key, place = self._key(outcome.task), (completion.request_id, completion.index)
        mine = place, outcome.task.id, asked.opponent
        self._first[key] = min(self._first.get(key, mine), mine)
        verdicts = tuple(answer.verdict for answer, _ in await self._attempt(outcome.task, asked.opponent))
        if not verdicts:
            return outcome, completion
        play, induction = self.config.selfplay, self.config.reward.solve.induction
        rate = rate_of(verdicts, induction, play.first_attempts, play.attempts)
        return replace(outcome, verdicts=verdicts, solve_rate=rate, attempted_by=asked.opponent), completion

    async def _read(self, asked: Assignment, completion: Completion) -> ProposalOutcome:
        """Parsed and admitted, or rejected with a reason."""
        text = asked.prompt.prefill + completion.text
        kept_form = format_ok(Role.PROPOSE, asked.task_type, text, style=self.style)
        outcome = ProposalOutcome(
            asked.task_type, text, kept_form, "", examples=asked.examples, requested_lines=asked.lines,
            cut=completion.finish == "length",
        )  # fmt: skip
        proposal = self._parse(asked, text)
        if isinstance(proposal, ParseError):
            return replace(outcome, reason=proposal.reason, detail=proposal.detail)
        outcome = replace(outcome, proposal=proposal)

        task = await admit(
            proposal, self.box, self.config.admission, step=self.number, inputs=self.config.prompt.induction_inputs,
            shown=self.config.prompt.induction_shown, known=self._is_known, held_out=self.held_out, lines=asked.lines,
        )  # fmt: skip
        if isinstance(task, Rejection) and (chance := self.config.admission.leak):
            name = "leak", completion.request_id, completion.index
            rng = random.Random(stream_seed(self.config.run.rng_seed, self.number, *name))
            task = leaked(proposal, task, chance, rng, step=self.number)
        if isinstance(task, Rejection):
            return replace(outcome, reason=task.reason, detail=task.detail)
        return replace(outcome, task=task, known=self.buffer.describe(task))

    def _parse(self, asked: Assignment, text: str) -> Proposal | ParseError:
        program = asked.examples[0].program if asked.task_type is TaskType.INDUCTION else None
        proposal = parse_proposal(
            asked.task_type, text, style=self.style, settings=self.config.admission, program=program,
            inputs=self.config.prompt.induction_inputs,
        )  # fmt: skip
        return compose(proposal, asked.composites) if asked.composites and isinstance(proposal, Proposal) else proposal

    async def _attempt(self, task: Task, solver: str) -> list[Answered]:
        """The attempts of one solver at a proposed task, made once for all equal proposals of it; [] for a
        duplicate."""
        play, key = self.config.selfplay, self._key(task)
        if not play.attempts:
            return []

        def is_repeated() -> bool:  # the earlier one is attempted instead
            (name, _), first, by = self._first[key]
            return bool(key) and (first != task.id or by != solver or name not in self._proposals)

        # Of one solver by the task's name alone, so that a run with an adapter a role has the dice of one with one.
        name = f"{task.id}/{solver}" if self.config.adapter.roles == "population" else task.id
        if name not in self._attempts:
            asked = to_solve(task, f"attempt/{task.type}/{name}", self.style, self.config)
            attempts = self._attempts_at(replace(asked, member=solver, unless=is_repeated))
            self._attempts[name] = self.scheduler.start(attempts)
        return await result(self._attempts[name])

    async def _attempts_at(self, asked: Assignment) -> list[Answered]:
        """All attempts at once; with selfplay.first_attempts only that many, and the others where these agree."""
        play, induction = self.config.selfplay, self.config.reward.solve.induction
        request = self._request(asked, n=play.first_attempts or play.attempts)
        if play.train_on_attempts:
            self._ask_greedily(asked)
        pairs = await result(self._ask(asked, request))
        if not play.first_attempts or not pairs or is_settled(solved([a.verdict for a, _ in pairs], induction)):
            return pairs
        others = replace(asked, name=f"{asked.name}/others")
        request = self._request(others, n=play.attempts - play.first_attempts)
        return pairs + await result(self._ask(others, request))

    def _unless_repeated(self, outcome: ProposalOutcome, completion: Completion) -> ProposalOutcome:
        key = self._key(outcome.task) if outcome.task else ""
        if key and self._first[key][0] != (completion.request_id, completion.index):
            return replace(outcome, reason="duplicate", task=None, verdicts=(), solve_rate=None)
        return outcome

    def _is_known(self, proposal: Proposal) -> bool:
        key = self._key(proposal)
        return bool(key) and self.buffer.knows(proposal.type, key)

    def _key(self, item: Proposal | Task) -> str:
        return task_key(item, self.config.admission.duplicate_by)

    # -- an answer, from its text to its verdict ----------------------------------------------------------------------

    async def _answer(self, asked: Assignment, completion: Completion) -> Answered:
        assert asked.task is not None
        return await self.reader.read(asked.task, asked.prompt, completion), completion

    def _ask(self, asked: Assignment, request: Request) -> Promise[list[Answered]]:
        answers = self.scheduler.sample(
            request, lambda completion: self._answer(asked, completion), unless=asked.unless
        )
        return self.scheduler.start(answers)

    def _ask_greedily(self, asked: Assignment) -> None:
        """The baseline of ReMax: one greedy answer to the same prompt, where the solver's estimator wants one."""
        if self.config.advantage.solve.baseline == "greedy":
            request = replace(self._request(replace(asked, name=f"{asked.name}/greedy"), n=1), temperature=0.0)
            self._greedy[asked.name] = self._ask(asked, request)

    def _request(self, asked: Assignment, *, n: int = 0) -> Request:
        play, propose = self.config.selfplay, asked.role is Role.PROPOSE
        return Request(
            id=asked.name,
            prompt=asked.prompt,
            max_tokens=play.propose_max_tokens if propose else play.solve_max_tokens,
            seed=stream_seed(self.config.run.rng_seed, self.number, asked.name),
            n=n or (play.propose_samples if propose else play.solve_samples),
            temperature=self.config.sampler.temperature,
            masked=self._masked if propose else (),
            member=asked.member,
        )
