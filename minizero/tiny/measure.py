"""What the tiny model can do, judged as self-play judges it: answers and proposals run in the sandbox.

Reading order: Solved, `solve_tasks`, `solve_rates`; Proposed, `propose_tasks`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from minizero.config.tasks import AdmissionConfig
from minizero.prompts import compact
from minizero.prompts.compact import Think
from minizero.tasks.admission import admit, check
from minizero.tasks.answers import read_answer
from minizero.tasks.blocks import is_reasoned
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import parse_proposal
from minizero.tasks.programs import program_key, statement_lines
from minizero.tiny.generate import generate
from minizero.tiny.sequences import render
from minizero.tiny.sets import IN_RANGE
from minizero.tiny.world import PAIRS, SHOWN_PAIRS
from minizero.types import USUAL_TYPES, ParseError, Prompt, Rejection, Task, TaskType
from sandbox import Sandbox

STYLE = "compact"


@dataclass(frozen=True, slots=True)
class Solved:
    """One task's answers: the greedy one, and those sampled at temperature 1."""

    task: Task
    greedy: bool
    sampled: tuple[bool, ...]
    reasoned: float  # share of the sampled answers that reason

    @property
    def rate(self) -> float:
        return sum(self.sampled) / len(self.sampled)


@dataclass(frozen=True, slots=True)
class SolveRates:
    """Shares over some tasks, in [0, 1]: of right answers at temperature 1 and of right greedy ones; of tasks with
    0 < rate < 1 (`open`), of tasks with any sampled answer right, and of sampled answers that reason."""

    rate: float
    greedy: float
    open: float
    any_right: float
    reasoned: float


@dataclass(frozen=True, slots=True)
class Proposed:
    """One proposal: what was asked for, and what became of it. `reason` is "" when it was admitted."""

    type: TaskType
    lines_asked: int | None
    examples: int
    reason: str
    lines: int
    key: str  # equal for equal programs (induction: for equal sets of inputs)


def solve_tasks(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    box: Sandbox,
    *,
    samples: int = 8,
    seed: int = 0,
    think: Think = "auto",
) -> list[Solved]:
    """Greedy and sampled answers to every task, each checked; equal answers to a task are checked once."""
    prompts = [compact.solve(task, think=think) for task in tasks]
    texts = [render(prompt) for prompt in prompts]
    sampled = generate(model, tokenizer, texts, samples=samples, temperature=1.0, seed=seed)
    greedy = generate(model, tokenizer, texts, samples=1, temperature=0.0, seed=seed)
    judge = partial(check, box=box, settings=AdmissionConfig())
    readings = {
        (number, text): read_answer(task, prompt.prefill + text, judge, style=STYLE)
        for number, (task, prompt) in enumerate(zip(tasks, prompts, strict=True))
        for text in {*sampled[number], *greedy[number]}
    }
    correct = {key: read.verdict.correct for key, read in zip(readings, run_all(readings.values()), strict=True)}
    return [
        Solved(
            task,
            correct[number, greedy[number][0]],
            tuple(correct[number, text] for text in sampled[number]),
            sum(is_reasoned(prompts[number].prefill + text) for text in sampled[number]) / samples,
        )
        for number, task in enumerate(tasks)
    ]


def solve_rates(solved: Sequence[Solved]) -> SolveRates:
    """Means over the tasks, of which there must be one at least."""
    count = len(solved)
    return SolveRates(
        rate=sum(row.rate for row in solved) / count,
        greedy=sum(row.greedy for row in solved) / count,
        open=sum(0 < row.rate < 1 for row in solved) / count,
        any_right=sum(row.rate > 0 for row in solved) / count,
        reasoned=sum(row.reasoned for row in solved) / count,
    )


def propose_tasks(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seeds: Sequence[Task],
    box: Sandbox,
    *,
    each: int,
    seed: int = 0,
) -> list[Proposed]:
    """`each` proposals of every type at temperature 1, with 0 to 3 examples from `seeds` and no length
    asked for, or one of 1 to 6 lines."""
    rng = random.Random(seed)
    asked = [_ask(task_type, number, seeds, rng) for task_type in USUAL_TYPES for number in range(each)]
    texts = generate(model, tokenizer, [render(a.prompt) for a in asked], samples=1, temperature=1.0, seed=seed)
    return run_all([_judge(question, text, box) for question, (text,) in zip(asked, texts, strict=True)])


@dataclass(frozen=True, slots=True)
class _Asked:
    type: TaskType
    examples: tuple[Task, ...]
    lines: int | None
    prompt: Prompt


def _ask(task_type: TaskType, number: int, seeds: Sequence[Task], rng: random.Random) -> _Asked:
    is_induction = task_type is TaskType.INDUCTION
    examples = tuple(rng.sample(list(seeds), 1 if is_induction else number % 4))
    lines = None if is_induction or number % 2 else rng.choice(IN_RANGE)
    return _Asked(task_type, examples, lines, compact.propose(task_type, examples, lines=lines, inputs=PAIRS))


async def _judge(asked: _Asked, completion: str, box: Sandbox) -> Proposed:
    """The proposal's way through parsing and admission."""
    settings = AdmissionConfig()
    program = asked.examples[0].program if asked.type is TaskType.INDUCTION else None
    text = asked.prompt.prefill + completion
    proposal = parse_proposal(asked.type, text, style=STYLE, settings=settings, program=program, inputs=PAIRS)
    if isinstance(proposal, ParseError):
        return Proposed(asked.type, asked.lines, len(asked.examples), proposal.reason, 0, "")
    task = await admit(proposal, box, settings, step=0, inputs=PAIRS, shown=SHOWN_PAIRS)
    key = program_key("\n".join(proposal.inputs) if asked.type is TaskType.INDUCTION else proposal.program)
    lines = statement_lines(proposal.program)
    reason = task.reason if isinstance(task, Rejection) else ""
    return Proposed(asked.type, asked.lines, len(asked.examples), reason, lines, key)
