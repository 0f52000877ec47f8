"""An answer's way from text to outcome, for everyone who judges answers: parsed, checked, and whether it kept its form.

Reading order: read_answer. The parts are in parsing.py and admission.py; what an outcome earns is in rewards/.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from minizero.tasks.parsing import format_ok, parse_answer
from minizero.types import Answer, AnswerOutcome, ParseError, Role, Task, Verdict

Judge = Callable[[Task, Answer | ParseError], Awaitable[Verdict]]


async def read_answer(task: Task, text: str, judge: Judge, *, style: str, cut: bool = False) -> AnswerOutcome:
    """The outcome of a text as an answer to the task.

    text: with how the answer had begun at the end of its prompt (Prompt.prefill). judge: the verdict on what was
    parsed, mostly admission.check; it is asked once. style: of the prompt. cut: the token limit ended the text.
    """
    parsed = parse_answer(task.type, text, style=style)
    verdict = await judge(task, parsed)
    kept_form = format_ok(Role.SOLVE, task.type, text, style=style)
    return AnswerOutcome(task, text, kept_form, verdict, None if isinstance(parsed, ParseError) else parsed, cut=cut)
