"""Training sequences: both roles and all three task types, as a prompt and the completion that is to be learned.

Reading order: SHARES, Habit, PromptTree, Curriculum, then the completions of both roles. Prompts come from
prompts/compact.py, the same ones that self-play uses.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from minizero.prompts import compact
from minizero.tiny import reasoning
from minizero.tiny.label_noise import NoisyLabel, noisy_label
from minizero.tiny.reasoning import Piece
from minizero.tiny.world import LENGTHS, PAIRS, Example, draw_example, make_task
from minizero.types import USUAL_TYPES, Pair, Prompt, Task, TaskType

Kind = Literal["run", "induce", "propose"]  # deductions and abductions; inductions; proposals of all types

# How often each kind of row is drawn. Induction is the hardest by far; proposing has little to learn beyond the form.
SHARES: dict[Kind, float] = {"run": 0.60, "induce": 0.30, "propose": 0.10}
DEDUCTIONS, ABDUCTIONS = 2, 2  # questions about one program in a `run` row
CURRICULUM = 0.3  # fraction of the training in which programs grow from mostly one line to the final mix
_FIRST_LENGTHS = (0.6, 0.3, 0.1, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Habit:
    """How answers are written: the share that reasons, the wrong tries shown in those (0 to `tries`), and whether some
    leave out a line, in the way of label_noise.py."""

    reasoned: float
    tries: int = 2
    label_noise: bool = False


SKILL = Habit(reasoned=0.6)
AT_ONCE = Habit(reasoned=0.2, label_noise=True)


@dataclass(frozen=True, slots=True)
class Branch:
    """The rest of a prompt, and the completion to learn, which ends where the EOS token follows."""

    prompt: str
    completion: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class PromptTree:
    """Prompts that begin alike: `stem`, then each branch by itself. No branch sees another, so a row teaches the same
    as its prompts one by one, and the stem is computed once."""

    stem: str
    branches: tuple[Branch, ...]
    kind: Kind = "run"


@dataclass(slots=True)
class Curriculum:
    """An endless, seeded source of training rows. `progress` in [0, 1] is the trained fraction of the whole."""

    rng: random.Random
    habit: Habit = SKILL
    recent: deque[Example] = field(default_factory=lambda: deque(maxlen=256))  # examples shown in propose prompts

    def draw(self, progress: float) -> PromptTree:
        """The next row. Programs of the other splits never occur."""
        example = draw_example(self.rng, lengths=_lengths_at(progress))
        self.recent.append(example)
        kind = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "run":
            return self._run_row(example)
        if kind == "induce":
            prompt = render(compact.solve(make_task(example, TaskType.INDUCTION)))
            return PromptTree("", (Branch(prompt, self._induction(example)),), kind)
        task = make_task(example, self.rng.choice(USUAL_TYPES), pair=self.rng.randrange(PAIRS))
        asked = render(self._propose_prompt(task, example))
        return PromptTree("", (Branch(asked, (Piece(proposal(task)),)),), kind)

    def _run_row(self, example: Example) -> PromptTree:
        pairs = self.rng.sample(range(PAIRS), DEDUCTIONS + ABDUCTIONS)
        stem = compact.PYTHON + example.program
        branches = [self._deduction(example, pair) for pair in pairs[:DEDUCTIONS]]
        branches += [self._abduction(example, pair) for pair in pairs[DEDUCTIONS:]]
        return PromptTree(stem, tuple(Branch(b.prompt.removeprefix(stem), b.completion) for b in branches))

    def _deduction(self, example: Example, pair: int) -> Branch:
        task, noisy = self._run_task(example, TaskType.DEDUCTION, pair)
        program = noisy.program if noisy else example.program
        thought = reasoning.deduce(program, example.inputs[pair]) if self._reasons() else []
        return Branch(render(compact.solve(task)), completed(thought, task))

    def _abduction(self, example: Example, pair: int) -> Branch:
        """With a noisy label the output that is shown is the shorter program's."""
        task, noisy = self._run_task(example, TaskType.ABDUCTION, pair)
        program, target = (noisy.program, noisy.outputs[pair]) if noisy else (example.program, example.outputs[pair])
        assert target is not None
        thought: Sequence[Piece] = []
        if self._reasons():
            thought = reasoning.abduce(self.rng, program, example.inputs[pair], target, tries=self._tries())
        return Branch(render(compact.solve(task)), completed(thought, task))

    def _induction(self, example: Example) -> tuple[Piece, ...]:
        task = make_task(example, TaskType.INDUCTION)
        if self._reasons():
            return completed(reasoning.induce(self.rng, example, tries=self._tries()), task)
        wrong = self._noisy_label(example)
        return (Piece(compact.PYTHON + wrong.program + compact.CLOSE if wrong else solution(task)),)

    def _reasons(self) -> bool:
        return self.rng.random() < self.habit.reasoned

    def _tries(self) -> int:
        return self.rng.randint(0, self.habit.tries)

    def _noisy_label(self, example: Example) -> NoisyLabel | None:
        return noisy_label(self.rng, example) if self.habit.label_noise else None

    def _run_task(self, example: Example, task_type: TaskType, pair: int) -> tuple[Task, NoisyLabel | None]:
        """A deduction or abduction; with a noisy label it has the output that the shorter program gives."""
        task = make_task(example, task_type, pair=pair)
        wrong = self._noisy_label(example)
        if wrong is None or wrong.outputs[pair] is None:
            return task, None
        return Task(task_type, task.program, (Pair(task.input, repr(wrong.outputs[pair])),)), wrong

    def _propose_prompt(self, task: Task, example: Example) -> Prompt:
        if task.type is TaskType.INDUCTION:
            return compact.propose(task.type, [task], lines=None, inputs=PAIRS)
        shown = [
            make_task(self.rng.choice(self.recent), task.type, pair=self.rng.randrange(PAIRS))
            for _ in range(self.rng.choice((0, 1, 2, 3)))
        ]
        lines = example.lines if self.rng.random() < 0.4 else None
        return compact.propose(task.type, shown, lines=lines, inputs=PAIRS)


def render(prompt: Prompt) -> str:
    """The text that a sampler gives the model: the messages' contents and the prefill."""
    return "".join(message.content for message in prompt.messages) + prompt.prefill


def solution(task: Task) -> str:
    """The answer at once, or what ends a reasoned one."""
    return compact.ANSWER[task.type] + task.own_answer + compact.CLOSE


def completed(thought: Sequence[Piece], task: Task) -> tuple[Piece, ...]:
    """The reasoning, if any, and the answer."""
    return (*thought, Piece((compact.END_THINK if thought else "") + solution(task)))


def proposal(task: Task) -> str:
    """The completion that proposes the task; it continues the prefill of compact.propose."""
    if task.type is TaskType.INDUCTION:
        inputs = (compact.CLOSE + compact.INPUT).join(pair.input for pair in task.pairs)
        return inputs + compact.CLOSE + compact.MESSAGE + task.message + compact.CLOSE
    return task.program + compact.CLOSE + compact.INPUT + task.input + compact.CLOSE


def _lengths_at(progress: float) -> Sequence[float]:
    share = min(1.0, progress / CURRICULUM)
    return [first + share * (last - first) for first, last in zip(_FIRST_LENGTHS, LENGTHS, strict=True)]
