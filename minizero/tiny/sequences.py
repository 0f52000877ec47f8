"""Training sequences: both roles and all three task types, as a prompt and the completion that is to be learned.

Reading order: SHARES, TrainingText, Curriculum, then the completions of both roles. Prompts come from
prompts/compact.py, the same ones that self-play uses.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minizero.prompts import compact
from minizero.tiny.world import LENGTHS, MESSAGE, PAIRS, Example, draw_example, make_task
from minizero.types import Prompt, Role, Task, TaskType

# How often each skill is practised. Induction is the hardest by far; proposing has little to learn beyond the form.
SHARES: dict[tuple[Role, TaskType], float] = {
    (Role.SOLVE, TaskType.DEDUCTION): 0.28,
    (Role.SOLVE, TaskType.ABDUCTION): 0.20,
    (Role.SOLVE, TaskType.INDUCTION): 0.36,
    (Role.PROPOSE, TaskType.DEDUCTION): 0.06,
    (Role.PROPOSE, TaskType.ABDUCTION): 0.05,
    (Role.PROPOSE, TaskType.INDUCTION): 0.05,
}
CURRICULUM = 0.25  # fraction of the training in which programs grow from mostly one line to the final mix
_FIRST_LENGTHS = (0.6, 0.3, 0.1, 0.0)


@dataclass(frozen=True, slots=True)
class TrainingText:
    """A prompt (with its prefill) and the completion to learn, which ends where the EOS token follows."""

    prompt: str
    completion: str


@dataclass(slots=True)
class Curriculum:
    """An endless, seeded source of training texts. `progress` in [0, 1] is the trained fraction of the whole."""

    rng: random.Random
    recent: deque[Example] = field(default_factory=lambda: deque(maxlen=256))  # examples shown in propose prompts

    def draw(self, progress: float) -> TrainingText:
        """The next text. Programs of the other splits never occur."""
        example = draw_example(self.rng, lengths=_lengths_at(progress))
        self.recent.append(example)
        role, task_type = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        task = make_task(example, task_type, pair=self.rng.randrange(PAIRS))
        if role is Role.SOLVE:
            return TrainingText(render(compact.solve(task)), solution(task))
        prompt = self._propose_prompt(task, example)
        return TrainingText(render(prompt), proposal(task))

    def _propose_prompt(self, task: Task, example: Example) -> Prompt:
        if task.type is TaskType.INDUCTION:
            return compact.propose(task.type, [task], lines=None, inputs=PAIRS)
        shown = [
            make_task(self.rng.choice(self.recent), task.type, pair=self.rng.randrange(PAIRS))
            for _ in range(self.rng.choice((0, 1, 2, 3)))
        ]
        lines = example.lines if self.rng.random() < 0.8 else None
        return compact.propose(task.type, shown, lines=lines, inputs=PAIRS)


def render(prompt: Prompt) -> str:
    """The text that a sampler gives the model: the messages' contents and the prefill."""
    return "".join(message.content for message in prompt.messages) + prompt.prefill


def solution(task: Task) -> str:
    """The completion that solves the task; it continues the prefill of compact.solve."""
    answers: dict[TaskType, Callable[[], str]] = {
        TaskType.DEDUCTION: lambda: task.output,
        TaskType.ABDUCTION: lambda: task.input,
        TaskType.INDUCTION: lambda: task.program,
    }
    return answers[task.type]() + compact.CLOSE


def proposal(task: Task) -> str:
    """The completion that proposes the task; it continues the prefill of compact.propose."""
    if task.type is TaskType.INDUCTION:
        inputs = (compact.CLOSE + compact.INPUT).join(pair.input for pair in task.pairs)
        return inputs + compact.CLOSE + compact.MESSAGE + (task.message or MESSAGE) + compact.CLOSE
    return task.program + compact.CLOSE + compact.INPUT + task.input + compact.CLOSE


def _lengths_at(progress: float) -> Sequence[float]:
    share = min(1.0, progress / CURRICULUM)
    return [first + share * (last - first) for first, last in zip(_FIRST_LENGTHS, LENGTHS, strict=True)]
