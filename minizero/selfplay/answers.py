"""Reading the answers of a step or a validation (tasks/answers.py): those that say the same are run once."""

from __future__ import annotations

from minizero.config.tasks import AdmissionConfig
from minizero.selfplay.scheduler import Scheduler
from minizero.tasks.admission import check
from minizero.tasks.answers import read_answer
from minizero.tasks.event_loop import Promise, result
from minizero.types import Answer, AnswerOutcome, Completion, ParseError, Prompt, Task, Verdict
from sandbox import Sandbox


class AnswerReader:
    """From a completion to its outcome, for the answers of one step or one validation."""

    def __init__(self, scheduler: Scheduler, box: Sandbox, settings: AdmissionConfig, style: str) -> None:
        self._scheduler, self._box, self._settings, self._style = scheduler, box, settings, style
        self._verdicts: dict[tuple[str, str], Promise[Verdict]] = {}  # task id, what was answered

    async def read(self, task: Task, prompt: Prompt, completion: Completion) -> AnswerOutcome:
        """Parse the answer and compare it with what the task expects. Attempts often agree; they share one run."""
        text, cut = prompt.prefill + completion.text, completion.finish == "length"
        return await read_answer(task, text, self._judge, style=self._style, cut=cut)

    async def _judge(self, task: Task, parsed: Answer | ParseError) -> Verdict:
        key = (task.id, parsed.reason if isinstance(parsed, ParseError) else parsed.text)
        if key not in self._verdicts:
            self._verdicts[key] = self._scheduler.start(check(task, parsed, self._box, self._settings))
        return await result(self._verdicts[key])
