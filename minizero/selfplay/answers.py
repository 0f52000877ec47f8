"""Reading an answer: parse the text, check it in the sandbox; answers that say the same are run once."""

from __future__ import annotations

from minizero.config.tasks import AdmissionConfig
from minizero.selfplay.scheduler import Scheduler
from minizero.tasks.admission import check
from minizero.tasks.event_loop import Promise, result
from minizero.tasks.parsing import format_ok, parse_answer
from minizero.types import AnswerOutcome, Completion, ParseError, Prompt, Role, Task, Verdict
from sandbox import Sandbox


class AnswerReader:
    """From a completion to its outcome, for the answers of one step or one validation."""

    def __init__(self, scheduler: Scheduler, box: Sandbox, settings: AdmissionConfig, style: str) -> None:
        self._scheduler, self._box, self._settings, self._style = scheduler, box, settings, style
        self._verdicts: dict[tuple[str, str], Promise[Verdict]] = {}  # task id, what was answered

    async def read(self, task: Task, prompt: Prompt, completion: Completion) -> AnswerOutcome:
        """Parse the answer and compare it with what the task expects. Attempts often agree; they share one run."""
        text = prompt.prefill + completion.text
        parsed = parse_answer(task.type, text, style=self._style)
        key = (task.id, parsed.reason if isinstance(parsed, ParseError) else parsed.text)
        if key not in self._verdicts:
            self._verdicts[key] = self._scheduler.start(check(task, parsed, self._box, self._settings))
        verdict = await result(self._verdicts[key])
        kept_form = format_ok(Role.SOLVE, task.type, text, style=self._style)
        answer = None if isinstance(parsed, ParseError) else parsed
        return AnswerOutcome(task, text, kept_form, verdict, answer, cut=completion.finish == "length")
