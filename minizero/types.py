"""The nouns of self-play, and the exception tree; everything else passes these around.

Reading order: Role, TaskType, Task; then a proposal's way (Proposal, ParseError, Rejection, ProposalOutcome), an
answer's way (Answer, Verdict, AnswerOutcome); then what goes through a sampler (Prompt, Request, Completion), what is
learned from (Rollout), and where work says what it is doing (Progress).

    MiniZeroError
    ├── ConfigError        one or more settings are wrong; lists all of them
    │   └── StyleError     they are right, but not for the prompt style of this model
    ├── MissingPackage     an optional package is needed; names the pip line
    ├── ModelError         a model, adapter or tokenizer cannot be used
    ├── OutOfMemory        the card is too small for the largest micro-batch
    ├── SamplerError       a text engine does not start, or does not sample from the trainer's policy
    ├── SeedsError         a seeds file is empty or malformed; names the line
    ├── RewardError        a reward term raised or returned something that is not a finite number
    ├── EstimatorError     an advantage estimator cannot work on what it was given
    ├── RunError           a run directory cannot be used as asked
    │   ├── RunExists      it exists already, and --resume was not given
    │   └── CheckpointError  none of its saved states is whole
    └── EvaluationError    an evaluation's inputs do not belong together
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class MiniZeroError(Exception):
    """Root of the errors that a user can mend; the message says what was seen, expected, and what to do."""


class ConfigError(MiniZeroError):
    """One or more settings are wrong. `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class StyleError(ConfigError):
    """What was asked is right, but not for the run's prompt style: the tiny model never learned it."""


class MissingPackage(MiniZeroError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, purpose: str, install: str) -> None:
        super().__init__(f"{package} is not installed, and {purpose} needs it. Run:  {install}")


class ModelError(MiniZeroError):
    """A model, adapter or tokenizer cannot be used as asked."""


class OutOfMemory(MiniZeroError):
    """The card does not hold the largest micro-batch that a run may meet."""


class SamplerError(MiniZeroError):
    """A text engine does not start, or does not sample from the policy that the trainer holds."""


class SeedsError(MiniZeroError):
    """A seeds file is missing, empty or malformed."""


class RewardError(MiniZeroError):
    """A reward term is unknown, raised, or returned something that is not a finite number."""


class EstimatorError(MiniZeroError):
    """An advantage estimator cannot work on what it was given."""


class RunError(MiniZeroError):
    """A run directory cannot be used as asked."""


class RunExists(RunError):
    """The run directory exists and --resume was not given."""


class CheckpointError(RunError):
    """No saved state of the run is whole."""


class EvaluationError(MiniZeroError):
    """An evaluation's inputs do not belong together."""


class Role(StrEnum):
    """The two roles that one policy plays."""

    PROPOSE = "propose"
    SOLVE = "solve"


class TaskType(StrEnum):
    """What is asked of the solver; the other parts of (program, input, output) are given."""

    DEDUCTION = "deduction"  # program, input -> output
    ABDUCTION = "abduction"  # program, output -> an input
    INDUCTION = "induction"  # pairs of input and output, a message -> program
    ERROR = "error"  # program, input -> the name of the exception raised, or NO_ERROR


USUAL_TYPES = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)  # what AZR's scripts play, and the default
NO_ERROR = "NoError"  # the answer to an error task whose program raises nothing


@dataclass(frozen=True, slots=True)
class Pair:
    """One input (source text of an argument list) and its output (source text of a value; error tasks: a name)."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """An executable problem with a known answer. Texts are source text; the entry function of `program` is `f`.

    `pairs` holds one pair, for induction several: the first `shown` of them stand in the prompt, the rest are hidden
    tests. `step` is the step that admitted it (0: a seed task). `composites` are the earlier programs, as g_0, g_1,
    ..., that `program` begins with and builds on (composites.py).
    """

    type: TaskType
    program: str
    pairs: tuple[Pair, ...]
    message: str = ""
    shown: int = 0
    step: int = 0
    composites: tuple[str, ...] = ()

    @property
    def own_program(self) -> str:
        """The program without the functions that it was given."""
        return self.program.removeprefix("".join(f"{text}\n\n" for text in self.composites))

    @property
    def input(self) -> str:
        """The input of the only pair; of an induction task that of the first."""
        return self.pairs[0].input

    @property
    def output(self) -> str:
        """The output of the only pair; of an induction task that of the first."""
        return self.pairs[0].output

    @property
    def own_answer(self) -> str:
        """What is right by the task itself: its input (abduction), its program (induction), else its output."""
        return {TaskType.ABDUCTION: self.input, TaskType.INDUCTION: self.program}.get(self.type, self.output)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the task by its content."""
        parts = [self.type, self.program, self.message, *(text for p in self.pairs for text in (p.input, p.output))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Proposal:
    """The parsed content of a propose completion: a program and its input, or (induction) inputs and a message."""

    type: TaskType
    program: str
    inputs: tuple[str, ...]
    message: str = ""
    composites: tuple[str, ...] = ()  # as in Task; `program` holds them


@dataclass(frozen=True, slots=True)
class Answer:
    """The parsed content of a solve completion: source text of a value, of an argument list, or of a program."""

    type: TaskType
    text: str


@dataclass(frozen=True, slots=True)
class ParseError:
    """A completion that holds no proposal or answer. `reason` is one of parsing.REASONS."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that did not become a task. `reason` is one of tasks.REASONS."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one answer. `score` is in [0, 1]: the fraction of hidden pairs for induction, else 0 or
    1."""

    correct: bool
    score: float
    reason: str  # "correct", "wrong", "error", "timeout", "memory", "unparsable", ... : one of tasks.VERDICTS
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProposalOutcome:
    """All that is known of one proposal when it is rewarded.

    `reason` is "" for an admitted task, else the reason (and detail) of the ParseError or Rejection. `solve_rate` is
    the mean score of `verdicts`, None when there were no attempts. `format_ok` tells whether the completion kept the
    style's wrapper.
    """

    type: TaskType
    text: str
    format_ok: bool
    reason: str
    proposal: Proposal | None = None
    task: Task | None = None
    examples: tuple[Task, ...] = ()
    requested_lines: int | None = None
    verdicts: tuple[Verdict, ...] = ()
    solve_rate: float | None = None
    known: Mapping[str, float] = field(default_factory=dict)  # what the buffer says: see TaskBuffer.describe
    detail: str = ""
    cut: bool = False  # by the token limit
    attempted_by: str = ""  # of several adapters the solver whose attempts made the solve rate


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """All that is known of one answer when it is rewarded."""

    task: Task
    text: str
    format_ok: bool
    verdict: Verdict
    answer: Answer | None = None
    cut: bool = False  # by the token limit


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: role is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the sampler renders to token ids: messages, then `prefill`, the start of the assistant's own words.

    `chat` says whether the tokenizer's chat template is applied; otherwise the contents are concatenated as they are.
    Parsing sees prefill + completion. Generation ends after any of the `stop` strings (kept in the text) or at EOS.
    """

    messages: tuple[Message, ...]
    prefill: str = ""
    stop: tuple[str, ...] = ()
    chat: bool = False


MASK_BIAS = 100.0  # taken from the logits of masked tokens: e^-100 of their probability, and what vLLM allows at most


@dataclass(frozen=True, slots=True)
class Request:
    """n completions of one prompt. The random stream of completion i derives from (`seed`, i) alone."""

    id: str
    prompt: Prompt
    max_tokens: int
    seed: int
    n: int = 1
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0
    adapter: bool = True  # False: sample from the reference policy (adapter switched off)
    masked: tuple[int, ...] = ()  # tokens that are not to be written: their logits are MASK_BIAS lower
    member: str = ""  # which of several adapters writes it (config/adapters.py)

    @property
    def side(self) -> str | None:
        """What it is written by: the adapter of this name, or None, the model without one."""
        return self.member if self.adapter else None


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation. `ids` includes the EOS token when there is one; `log_probs` is aligned with `ids`, in
    nats, of the distribution that was sampled from (temperature applied). `text` is without prefill and special
    tokens. `version`: updates that the policy which wrote it had seen, where the sampler keeps count. `masked`: as in
    the request. `member`: which of several adapters wrote it; it alone learns from it."""

    request_id: str
    index: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    finish: str  # "stop" (EOS or a stop string) or "length"
    version: int | None = None
    masked: tuple[int, ...] = ()
    member: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The unit of learning: a prompt, one completion, its reward and the reward's terms."""

    role: Role
    task_type: TaskType
    prompt_key: str  # rollouts of one prompt share it (grouping by prompt)
    completion: Completion
    reward: float
    terms: Mapping[str, float]
    baseline: float | None = None  # reward of the greedy completion of the same prompt (ReMax)


class Progress(Protocol):
    """Where work says what it is doing: report.console.Console prints it, Quiet keeps it to itself."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def steps(self, done: int, total: int) -> None:
        """The run has so many steps, and so many of them are done."""
        ...

    def phase(self, text: str) -> None:
        """What is being done from now on."""
        ...

    def tick(self, pending: int, detail: str = "") -> None:
        """Still at it; so many completions are pending. `detail`: what has been done so far, in words."""
        ...

    def step(self, number: int, total: int, metrics: Mapping[str, float]) -> None:
        """A self-play step is done."""
        ...


class Quiet:
    """Progress that nobody reads."""

    def say(self, text: str) -> None: ...

    def steps(self, done: int, total: int) -> None: ...

    def phase(self, text: str) -> None: ...

    def tick(self, pending: int, detail: str = "") -> None: ...

    def step(self, number: int, total: int, metrics: Mapping[str, float]) -> None: ...
