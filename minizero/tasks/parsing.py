"""From the text of a completion to a typed Proposal or Answer, or to a ParseError with a named reason. Nothing runs.

Reading order: REASONS, parse_proposal, parse_answer, format_ok; blocks.py has what they look for. What the official
parsers do is in docs/algorithm.md 2.4; where we differ is a table in tests/azr_departures.py. All of it takes time
linear in the length of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from minizero.config.tasks import TAGGED
from minizero.tasks import blocks, continued, tags
from minizero.tasks.programs import name_entry_f, parse, split_call, tests_itself, tidy
from minizero.types import Answer, ParseError, Proposal, Role, TaskType

if TYPE_CHECKING:
    from minizero.config.tasks import AdmissionConfig

REASONS = {
    "no_answer": "The text holds no <answer> (style r1), nothing but reasoning, or nothing at all.",
    "no_program": "There is no closed block that holds a program.",
    "no_function": "The program defines no function at top level.",
    "several_functions": "The program defines more than one function, and admission.several_functions is false.",
    "input_in_program": "The program tests itself or shows its input, and admission.reject_input_in_program is true.",
    "syntax": "Python does not accept the program, in which a call of f might have given the input.",
    "no_input": "There is no input block, nor anything else that can be read as the input.",
    "too_few_inputs": "An induction proposal has fewer inputs than admission.min_inputs.",
    "no_message": "An induction proposal has no message.",
    "composite_unused": "The program does not call a function that it was given to build on.",
    "composite_redefined": "The program defines anew what it was given to build on.",
}

_DEFINITION = re.compile(r"^[^\S\n]*def\s+\w+\s*\(", re.MULTILINE)
_LIST_MARK = re.compile(r"\A\s*(?:[-*]\s+|\d+[.)](?:\s+|(?=[\[({'\"])))")
_SECTIONS = {TaskType.DEDUCTION: "output", TaskType.ABDUCTION: "input", TaskType.ERROR: "output"}


def parse_proposal(
    task_type: TaskType,
    text: str,
    *,
    style: str,
    settings: AdmissionConfig,
    program: str | None = None,
    inputs: int = 10,
) -> Proposal | ParseError:
    """Read what a propose completion (with its prefill) proposes.

    Induction asks for `inputs` inputs (settings.min_inputs suffice) and a message about the shown `program`; without
    one the text must hold it.
    """
    text = answer_part(text, style)
    if not text.strip():
        return ParseError("no_answer")
    if style in TAGGED:
        text = tags.as_blocks(text)
    is_induction = task_type is TaskType.INDUCTION
    if is_induction and program is not None:
        return _induction(text, program, min(inputs, settings.min_inputs))
    own_program = _program(text, settings)
    if isinstance(own_program, ParseError):
        return own_program
    argument_text = None if is_induction else blocks.section(text, "input", last=False)
    if argument_text is None and not is_induction and settings.input_from_call:
        own_program, argument_text = split_call(own_program) or (own_program, None)
    if settings.reject_input_in_program and tests_itself(own_program):
        return ParseError("input_in_program")
    own_program = tidy(
        own_program,
        comments=settings.remove_comments,
        after_return=settings.remove_after_return,
        prints=settings.remove_print,
    )
    if is_induction:
        return _induction(text, own_program, min(inputs, settings.min_inputs))
    if argument_text is None:
        return ParseError("no_input" if parse(own_program) is not None else "syntax")
    return Proposal(task_type, own_program, (clean_arguments(argument_text),))


def parse_answer(task_type: TaskType, text: str, *, style: str) -> Answer | ParseError:
    """Read what a solve completion (with its prefill) answers: source text of a value, of arguments, a program, a name.

    As in AZR the last block counts, and a bare value without any block is taken too.
    """
    text = answer_part(text, style)
    if not text.strip():
        return ParseError("no_answer")
    if style == "few-shot":
        return tags.answer(task_type, text)
    if style == "direct":
        return continued.answer(task_type, text)
    if task_type is TaskType.INDUCTION:
        programs = blocks.programs(text) or blocks.bare_blocks(text)
        return Answer(task_type, programs[-1]) if programs else ParseError("no_program")
    label = _SECTIONS[task_type]
    answer = blocks.section(text, label, last=True)
    if answer is None:
        answer = blocks.in_words(text, label)
    return Answer(task_type, clean_arguments(answer) if task_type is TaskType.ABDUCTION else answer.strip())


def format_ok(role: Role, task_type: TaskType, text: str, *, style: str) -> bool:
    """Whether a completion (with its prefill) keeps the form that its style asks for.

    r1: <think> ... </think> <answer> ... </answer> from the start, nothing between the two (docs/algorithm.md 2.1).
    few-shot: the tags are closed, and an answer about a value is an assertion. direct: the answer is Python, a value of
    literals alone; proposals are few-shot's.
    Otherwise: every block that the role and type need is there, properly closed (a call under the program is an input).
    Reasoning that does not end keeps no form.
    """
    answer = blocks.without_reasoning(text)
    if answer is None:
        return False
    if style == "r1":
        between = re.search(r"</think>\s*<answer>", text)
        return text.startswith("<think>") and between is not None and "</answer>" in text[between.end() :]
    answer = blocks.plain_newlines(answer)
    if style == "direct" and role is Role.SOLVE:
        return continued.is_whole(task_type, answer)
    if style in TAGGED:
        if role is Role.SOLVE:
            return tags.is_closed(answer) and isinstance(tags.answer(task_type, answer), Answer)
        answer = tags.as_blocks(answer)
    if role is Role.SOLVE:
        if task_type is TaskType.INDUCTION:
            return bool(blocks.programs(answer))
        return bool(blocks.labelled(answer, blocks.LABELS[_SECTIONS[task_type]]))
    if task_type is TaskType.INDUCTION:
        return bool(blocks.labelled(answer, blocks.INPUT) and blocks.labelled(answer, blocks.MESSAGE))
    programs = blocks.programs(answer)
    return bool(programs) and (bool(blocks.labelled(answer, blocks.INPUT)) or split_call(programs[0]) is not None)


def clean_arguments(text: str) -> str:
    """Argument text as it was meant: `f(1, 2)` becomes `1, 2`; lines that are no single list are joined by commas.

    Text that is already an argument list, or that cannot be mended, is only stripped.
    """
    text = text.strip()
    if blocks.is_arguments(text):
        return text
    call = re.match(r"(?:print\s*\(\s*)?f\s*\(", text)
    if call and text.endswith(")"):
        inside = text[call.end() : -1].strip()
        if blocks.is_arguments(inside):
            return inside
    lines = _lines(text)
    return ", ".join(lines) if all(map(blocks.is_arguments, lines)) else text


def answer_part(text: str, style: str) -> str:
    """What is graded: the text without its reasoning, which must have ended; in style r1 of that the part after the
    last <answer>, up to </answer> or the end."""
    answer = blocks.without_reasoning(text)
    if answer is None:
        return ""
    answer = blocks.plain_newlines(answer)
    if style != "r1":
        return answer
    _, tag, inside = answer.rpartition("<answer>")
    return inside.partition("</answer>")[0].strip() if tag else ""


def _program(text: str, settings: AdmissionConfig) -> str | ParseError:
    """The first program block, its entry named f."""
    programs = blocks.programs(text) or blocks.bare_blocks(text) or blocks.unclosed_program(text)
    if not programs:
        return ParseError("no_program")
    program = programs[0]
    if not settings.several_functions and len(_DEFINITION.findall(program)) > 1:
        return ParseError("several_functions")
    return name_entry_f(program, settings.entry) or ParseError("no_function")


def _induction(text: str, program: str, needed: int) -> Proposal | ParseError:
    """All inputs in order, from a block each or from the lines of one (those that can be read)."""
    inputs: list[str] = []
    for block in blocks.labelled(text, blocks.INPUT):
        lines = _lines(block)
        one_each = [line for line in map(clean_arguments, lines) if blocks.is_arguments(line)]
        several = len(one_each) > 1 and not blocks.is_arguments(block)
        inputs += one_each if several else [clean_arguments("\n".join(lines) if len(lines) == 1 else block)]
    if len(inputs) < needed:
        return ParseError("too_few_inputs", f"{len(inputs)} of {needed}")
    message = blocks.section(text, "message", last=False) or blocks.tagged(text, "message")
    if not message or not message.strip():
        return ParseError("no_message")
    return Proposal(TaskType.INDUCTION, program, tuple(inputs), message.strip())


def _lines(text: str) -> list[str]:
    """Its non-blank lines without list marks (`- `, `2. `) and trailing commas."""
    lines = [_LIST_MARK.sub("", line).strip().rstrip(",;") for line in text.split("\n")]
    return [line for line in lines if line]
