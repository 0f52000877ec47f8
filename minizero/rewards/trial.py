"""Try every reward term before a run starts, so that one that cannot work costs seconds and not the loading of a model.

Reading order: try_terms, then the outcomes that it makes up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from minizero.config.schema import Config
from minizero.rewards import diversity, reward_answer, reward_proposal
from minizero.types import NO_ERROR, Answer, AnswerOutcome, Pair, ProposalOutcome, Task, TaskType, Verdict

MEASURED = (
    diversity.ANSWER_SURPRISE, diversity.ANSWER_SURPRISE_BY_TYPE, diversity.INPUT_SURPRISE, diversity.SAME_SKELETON,
    diversity.INPUT_SURPRISE_BY_TYPE, diversity.OUTPUT_SURPRISE, diversity.OUTPUT_SURPRISE_BY_TYPE,
    diversity.MOST_ALIKE, diversity.REPEATED,
)  # fmt: skip
RIGHT, WRONG = Verdict(True, 1.0, "correct"), Verdict(False, 0.0, "wrong")


def try_terms(config: Config, seeds: Iterable[Task] = ()) -> None:
    """Measure every term of the config once on a proposal, a right and a wrong answer of each task type of the run.

    The first seed task of a type stands for it, else the identity. Raises what the run would raise later: RewardError
    with term, file and line, MissingPackage. A term that keeps a state is called these few times more.
    """
    first: dict[TaskType, Task] = {}
    for task in seeds:
        first.setdefault(task.type, task)
    for kind in config.selfplay.task_types:
        task = first.get(kind) or _identity(kind)
        reward_proposal(_proposal(task), config.reward.propose)
        for answer in _answers(task):
            reward_answer(answer, config.reward.solve)


def _proposal(task: Task) -> ProposalOutcome:
    text = f"```python\n{task.program}\n```\n```input\n{task.input}\n```"
    example = replace(task, program="def f(a):\n    return a", composites=())
    return ProposalOutcome(
        task.type, text, True, "", task=task, examples=(example,), requested_lines=2, verdicts=(RIGHT, WRONG),
        solve_rate=0.5, known=dict.fromkeys(MEASURED, 0.5),
    )  # fmt: skip


def _answers(task: Task) -> Iterator[AnswerOutcome]:
    text = task.own_answer
    for verdict in (RIGHT, WRONG):
        yield AnswerOutcome(task, text, True, verdict, Answer(task.type, text))


def _identity(kind: TaskType) -> Task:
    program = "def f(a):\n    return a"
    if kind is TaskType.INDUCTION:
        pairs = tuple(Pair(str(i), str(i)) for i in range(4))
        return Task(kind, program, pairs, "Return whatever is given.", 2)
    return Task(kind, program, (Pair("1", NO_ERROR if kind is TaskType.ERROR else "1"),))
