"""From the text of a completion to a typed Proposal or Answer, or to a ParseError with a named reason. Nothing runs.

Reading order: REASONS, parse_proposal, parse_answer, format_ok; then the two things they look for: fenced blocks and
argument lists. What the official parsers do is in docs/algorithm.md 2.4; where we differ is a table in
tests/azr_departures.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from minizero.tasks.programs import name_entry_f, parse, split_call, tests_itself, tidy
from minizero.types import Answer, ParseError, Proposal, Role, TaskType
from sandbox.values import InvalidValue, parse_arguments

if TYPE_CHECKING:
    from minizero.config.tasks import AdmissionConfig

REASONS = {
    "no_answer": "The text holds no <answer> (style r1), or nothing at all.",
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
    text = _answer_part(text, style)
    if not text.strip():
        return ParseError("no_answer")
    if task_type is TaskType.INDUCTION and program is not None:
        return _induction(text, program, min(inputs, settings.min_inputs))
    found = _program(text, settings)
    if isinstance(found, ParseError):
        return found
    argument_text = None if task_type is TaskType.INDUCTION else _section(text, "input", last=False)
    if argument_text is None and task_type is not TaskType.INDUCTION and settings.input_from_call:
        found, argument_text = split_call(found) or (found, None)
    if settings.reject_input_in_program and tests_itself(found):
        return ParseError("input_in_program")
    found = tidy(
        found,
        comments=settings.remove_comments,
        after_return=settings.remove_after_return,
        prints=settings.remove_print,
    )
    if task_type is TaskType.INDUCTION:
        return _induction(text, found, min(inputs, settings.min_inputs))
    if argument_text is None:
        return ParseError("no_input" if parse(found) is not None else "syntax")
    return Proposal(task_type, found, (clean_arguments(argument_text),))


def parse_answer(task_type: TaskType, text: str, *, style: str) -> Answer | ParseError:
    """Read what a solve completion (with its prefill) answers: source text of a value, of arguments, a program, a name.

    As in AZR the last block counts, and a bare value without any block is taken too.
    """
    text = _answer_part(text, style)
    if not text.strip():
        return ParseError("no_answer")
    if task_type is TaskType.INDUCTION:
        programs = _blocks(text, _PYTHON) or _bare_blocks(text)
        return Answer(task_type, programs[-1]) if programs else ParseError("no_program")
    label = _SECTIONS[task_type]
    found = _section(text, label, last=True)
    if found is None:
        found = _in_words(text, label)
    found = clean_arguments(found) if task_type is TaskType.ABDUCTION else found.strip()
    return Answer(task_type, found)


def format_ok(role: Role, task_type: TaskType, text: str, *, style: str) -> bool:
    """Whether a completion (with its prefill) keeps the form that its style asks for.

    r1: <think> ... </think> <answer> ... </answer> from the start, nothing between the two (docs/algorithm.md 2.1).
    Otherwise: every block that the role and type need is there, properly closed (a call under the program is an input).
    """
    if style == "r1":
        return re.match(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL) is not None
    if role is Role.SOLVE:
        label = _PYTHON if task_type is TaskType.INDUCTION else _LABELS[_SECTIONS[task_type]]
        return bool(_blocks(text, label))
    if task_type is TaskType.INDUCTION:
        return bool(_blocks(text, _INPUT) and _blocks(text, _MESSAGE))
    programs = _blocks(text, _PYTHON)
    return bool(programs) and (bool(_blocks(text, _INPUT)) or split_call(programs[0]) is not None)


def clean_arguments(text: str) -> str:
    """Argument text as it was meant: `f(1, 2)` becomes `1, 2`; lines that are no single list are joined by commas.

    Text that is already an argument list, or that cannot be mended, is only stripped.
    """
    text = text.strip()
    call = re.fullmatch(r"(?:print\s*\(\s*)?f\s*\((.*)\)", text, re.DOTALL)
    inside = call[1].strip() if call else text
    lines = _lines(text)
    if not _is_arguments(text) and _is_arguments(inside):
        return inside
    if not _is_arguments(text) and all(map(_is_arguments, lines)):
        return ", ".join(lines)
    return text


def _answer_part(text: str, style: str) -> str:
    """What is graded: in style r1 the part after the last <answer>, up to </answer> or the end; else all of it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if style != "r1":
        return text
    _, tag, answer = text.rpartition("<answer>")
    return answer.partition("</answer>")[0].strip() if tag else ""


def _program(text: str, settings: AdmissionConfig) -> str | ParseError:
    """The first program block, its entry named f."""
    programs = _blocks(text, _PYTHON) or _bare_blocks(text) or _unclosed_program(text)
    if not programs:
        return ParseError("no_program")
    program = programs[0]
    if not settings.several_functions and len(re.findall(r"^\s*def\s+\w+\s*\(", program, re.MULTILINE)) > 1:
        return ParseError("several_functions")
    return name_entry_f(program, settings.entry) or ParseError("no_function")


def _induction(text: str, program: str, needed: int) -> Proposal | ParseError:
    """All inputs in order, from a block each or from the lines of one (those that can be read)."""
    found: list[str] = []
    for block in _blocks(text, _INPUT):
        lines = _lines(block)
        one_each = [line for line in map(clean_arguments, lines) if _is_arguments(line)]
        several = len(one_each) > 1 and not _is_arguments(block)
        found += one_each if several else [clean_arguments("\n".join(lines) if len(lines) == 1 else block)]
    if len(found) < needed:
        return ParseError("too_few_inputs", f"{len(found)} of {needed}")
    message = _section(text, "message", last=False) or _tagged(text, "message")
    if not message or not message.strip():
        return ParseError("no_message")
    return Proposal(TaskType.INDUCTION, program, tuple(found), message.strip())


# Fenced blocks. A label may carry a number (```input_3), as small models like to write; AZR reads "_3" into the value.
_PYTHON = r"[ \t]*(?:python|py)[ \t]?3?[ \t]*"
_INPUT = r"[ \t]*inputs?(?:[ \t_]?\d+)?:?[ \t]*"
_OUTPUT = r"[ \t]*outputs?(?:[ \t_]?\d+)?:?[ \t]*"
_MESSAGE = r"[ \t]*message:?[ \t]*"
_LABELS = {"input": _INPUT, "output": _OUTPUT, "message": _MESSAGE}


def _blocks(text: str, label: str) -> list[str]:
    """Contents of all closed blocks with this label, stripped of blank lines around them.

    Any run of three backticks closes a block, as in AZR: models often open the next block without closing the last.
    """
    return [m[1].strip("\n").rstrip() for m in re.finditer(rf"```{label}\n(.*?)```", text, re.DOTALL | re.IGNORECASE)]


def _bare_blocks(text: str) -> list[str]:
    """Contents of the blocks without a label. Fences are paired from the start: no closing one opens a block."""
    pairs = re.finditer(r"```([^`\n]*)\n(.*?)```", text, re.DOTALL)
    return [m[2].strip("\n").rstrip() for m in pairs if not m[1].strip()]


def _unclosed_program(text: str) -> list[str]:
    """A program that ends the text without closing its block, when it is complete: with a call of its f."""
    found = re.search(rf"```{_PYTHON}\n([^`]*)\Z", text, re.IGNORECASE)
    return [found[1].rstrip()] if found and split_call(found[1]) is not None else []


def _section(text: str, label: str, *, last: bool) -> str | None:
    """The block with this label; else an unclosed one at the end of the text; else what follows "# Label:"."""
    blocks = _blocks(text, _LABELS[label])
    if blocks:
        return blocks[-1 if last else 0]
    inline = re.findall(rf"```{_LABELS[label]}(?:[ \n])([^`\n]+)```", text, re.IGNORECASE)
    if inline:
        return str(inline[-1 if last else 0])
    unclosed = re.search(rf"```{_LABELS[label]}\n([^`]*)\Z", text, re.IGNORECASE)
    if unclosed:
        return unclosed[1].strip()
    comments = re.findall(rf"#[ \t]*{label}:[ \t]*(.*?)(?:\n```|\Z)", text, re.DOTALL | re.IGNORECASE)
    if not comments:
        return None
    found = str(comments[-1 if last else 0]).strip()
    first_line = found.partition("\n")[0].strip()
    return first_line if label == "input" and not _is_arguments(found) and _is_arguments(first_line) else found


def _in_words(text: str, label: str) -> str:
    """An answer without a block, in AZR's order: `output(...)`, <output> ..., "the output is ...", the whole text."""
    call = re.search(rf"\b{label}\s*\((.*?)\)", text, re.DOTALL | re.IGNORECASE)
    if call:
        widest = re.search(rf"\b{label}\s*\((.*)\)", text, re.DOTALL | re.IGNORECASE)
        return widest[1] if widest and _is_arguments(widest[1]) else call[1]
    tagged = _tagged(text, label)
    if tagged is not None:
        return tagged
    sentence = re.search(rf"the {label} is:?\s*(.*?)\.?\s*\Z", text, re.DOTALL | re.IGNORECASE)
    if sentence:
        return sentence[1]
    plain = _bare_blocks(text)
    return plain[-1] if plain else text


def _tagged(text: str, label: str) -> str | None:
    found = re.search(rf"<{label}>\s*(.*?)\s*(?:</{label}>|\Z)", text, re.DOTALL | re.IGNORECASE)
    return found[1] if found else None


def _lines(text: str) -> list[str]:
    """Its non-blank lines without list marks (`- `, `2. `) and trailing commas."""
    lines = [
        re.sub(r"^\s*(?:[-*]\s+|\d+[.)](?:\s+|(?=[\[({'\"])))", "", line).strip().rstrip(",;")
        for line in text.split("\n")
    ]
    return [line for line in lines if line]


def _is_arguments(text: str) -> bool:
    try:
        parse_arguments(text)
    except InvalidValue:
        return False
    return True
