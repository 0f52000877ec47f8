"""What makes a proposal a task, and an answer correct. Programs run in the sandbox; verdicts are made here, by value.

Reading order: REASONS, admit; VERDICTS, check; leaked; duplicate_key. admit and check are coroutines (event_loop.py):
while one waits for the sandbox, the others and the sampler go on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from minizero.tasks.event_loop import result
from minizero.tasks.forbidden import find_forbidden
from minizero.tasks.programs import function_names, parse, program_key, required_arguments, statement_lines
from minizero.types import NO_ERROR, Answer, Pair, ParseError, Proposal, Rejection, Task, TaskType, Verdict
from sandbox import Determinism, Job, Result, Status
from sandbox.values import InvalidValue, equal, parse_arguments, parse_value, render

if TYPE_CHECKING:
    from minizero.config.tasks import AdmissionConfig

REASONS = {
    "program_too_long": "The program has more characters than admission.max_program_chars.",
    "input_too_long": "An input has more characters than admission.max_input_chars.",
    "message_too_long": "The message has more characters than admission.max_message_chars.",
    "syntax": "Python does not accept the program.",
    "no_function": "The program defines no function f at top level.",
    "forbidden": "The program uses something of the policy list (admission.forbidden_*).",
    "wrong_length": "f has another number of statement lines than was asked for.",
    "held_out": "The program belongs to the held-out tasks.",
    "duplicate": "A task like this one is known already (admission.duplicate_by).",
    "bad_input": "An input is no list of constants.",
    "few_inputs": "An induction proposal has fewer different inputs than admission.min_inputs.",
    "error": "The program raised an exception, or does not accept its input; the detail names the exception.",
    "denied": "The program failed on something that the sandbox forbids: a module, a file, a process.",
    "timeout": "The program ran too long.",
    "memory": "The program used too much memory.",
    "crashed": "The program ended its process.",
    "no_value": "The output is no value: a function, an object of a class, a generator, ...",
    "none": "The output is None, and admission.accept_none is false.",
    "output_too_long": "The output has more characters than admission.max_output_chars.",
    "not_deterministic": "Two runs in different processes did not agree.",
    "constant": "Induction: all outputs are equal, so that any constant function solves it.",
}

VERDICTS = {
    "correct": "The answer is right.",
    "wrong": "The answer is a value (or a program that runs), but not the right one.",
    "unparsable": "There is no answer, or it is no value, no list of constants, or no program with a function f.",
    "error": "Running the answer raised an exception.",
    "denied": "Running the answer failed on something that the sandbox forbids.",
    "timeout": "Running the answer took too long.",
    "memory": "Running the answer used too much memory.",
    "crashed": "Running the answer ended its process.",
    "no_value": "Running the answer gave something that is no value, or one that is too large.",
}

_FAILED = {
    Status.ERROR: "error",
    Status.TIMEOUT: "timeout",
    Status.MEMORY: "memory",
    Status.OUTPUT_LIMIT: "output_too_long",
    Status.NOT_SERIALISABLE: "no_value",
    Status.CRASHED: "crashed",
    Status.DENIED: "denied",
}
# Rejections by running the program: what admission.leak may let through.
BY_RUNNING = frozenset({*_FAILED.values(), "none", "not_deterministic"})
# One such run spoils an induction proposal; other failures may be the fault of that one input.
_OF_THE_PROGRAM = ("timeout", "memory", "crashed", "denied", "not_deterministic")

_ERROR_NAME = re.compile(r"[\s:]")  # what ends the name of an exception


class Box(Protocol):
    """What is asked of the sandbox (sandbox.Sandbox has more)."""

    def submit(self, job: Job) -> Future[Result]: ...
    def submit_many(self, program: str, inputs: Sequence[str]) -> Future[list[Result]]: ...
    def submit_deterministic_many(self, program: str, inputs: Sequence[str]) -> Future[list[Determinism]]: ...


async def admit(
    proposal: Proposal,
    box: Box,
    settings: AdmissionConfig,
    *,
    step: int,
    inputs: int = 10,
    shown: int = 5,
    lines: int | None = None,
    known: Callable[[Proposal], bool] | None = None,
    held_out: Collection[str] = (),
) -> Task | Rejection:
    """Make a task of the proposal, or say why not: first what its text shows, then by running it.

    inputs, shown: pairs of an induction task, and how many of them the solver sees (fewer in proportion where inputs
    were dropped). lines: what was asked for. known: whether there is such a task already. held_out: program keys
    (program_key) that are never admitted.
    """
    rejection = _inspect(proposal, settings, lines=lines, held_out=held_out)
    if rejection is not None:
        return rejection
    texts = _input_texts(proposal, settings, inputs)
    if isinstance(texts, Rejection):
        return texts
    proposal = replace(proposal, inputs=tuple(texts))
    if known is not None and known(proposal):
        return Rejection("duplicate")
    if settings.check_determinism:
        runs = await result(box.submit_deterministic_many(proposal.program, texts))
    else:
        runs = [Determinism(run, True) for run in await result(box.submit_many(proposal.program, texts))]
    shown_frac = shown / inputs if proposal.type is TaskType.INDUCTION else 0.0
    task = _task(proposal, runs, settings, step=step, shown_frac=shown_frac)
    if known is not None and isinstance(task, Task) and len(task.pairs) < len(runs):
        remaining = replace(proposal, inputs=tuple(pair.input for pair in task.pairs))
        return Rejection("duplicate") if known(remaining) else task
    return task


async def check(task: Task, answer: Answer | ParseError, box: Box, settings: AdmissionConfig) -> Verdict:
    """Whether the answer solves the task. What is expected never enters the sandbox: results are compared out here.

    Values are equal as by == (5 equals 5.0, sets have no order), nan equals nan. Induction: the score is the fraction
    of hidden pairs that the program gets right; it is correct when it gets all of them right. Error tasks: the name of
    the exception, in letters of any size, up to a space or colon (`KeyError: 'x'` is KeyError), as in AZR.
    """
    if isinstance(answer, ParseError):
        return Verdict(False, 0.0, "unparsable", answer.reason)
    if task.type is TaskType.DEDUCTION:
        return _check_output(task, answer.text)
    if task.type is TaskType.ERROR:
        return _check_name(task, answer.text)
    if task.type is TaskType.ABDUCTION:
        try:
            parse_arguments(answer.text)
            if len(answer.text) > settings.max_input_chars:
                raise InvalidValue("size", f"{len(answer.text)} characters")
        except InvalidValue as error:
            return Verdict(False, 0.0, "unparsable", str(error))
        expected = [parse_value(task.output)]
        runs = [await result(box.submit(Job(task.program, args=answer.text)))]
    else:
        if len(answer.text) > settings.max_program_chars or "f" not in function_names(answer.text):
            return Verdict(False, 0.0, "unparsable", "no function f, or too long")
        hidden = task.pairs[task.shown :]
        expected = [parse_value(pair.output) for pair in hidden]
        runs = await result(box.submit_many(answer.text, [pair.input for pair in hidden]))
    return _compare(runs, expected)


def leaked(
    proposal: Proposal, rejection: Rejection, chance: float, rng: random.Random, *, step: int
) -> Task | Rejection:
    """What a faulty gate (admission.leak) makes of a rejected proposal. With this chance a deduction proposal that
    running refused becomes a task whose output nobody knows; else the rejection stands."""
    is_open = proposal.type is TaskType.DEDUCTION and rejection.reason in BY_RUNNING
    if not is_open or rng.random() >= chance:
        return rejection
    return Task(
        proposal.type, proposal.program, (Pair(proposal.inputs[0], ""),), step=step, composites=proposal.composites
    )


def result_bytes(settings: AdmissionConfig) -> int:
    """Limits.result_bytes for programs whose longer outputs are rejected anyway: what a hostile one may cost us.

    A character of text stands for at most ten bytes as the sandbox counts them: `{0}, ` for 43.
    """
    return 1024 + 16 * settings.max_output_chars


def duplicate_key(item: Proposal | Task, by: str) -> str:
    """The key by which duplicates are recognised: the program; program and input; or program modulo constants.

    Of an induction task the program is given, not proposed, so there its inputs always count, whatever their order.
    """
    key = program_key(item.program, modulo_constants=by == "modulo_constants")
    texts = item.inputs if isinstance(item, Proposal) else tuple(pair.input for pair in item.pairs)
    if item.type is TaskType.INDUCTION or by == "program_and_input":
        key += ":" + program_key("\0".join(sorted(map(_normal_input, texts))))
    return key


def task_key(item: Proposal | Task, by: str) -> str:
    """The key under which a buffer knows a task: its type and its duplicate key; "" where `by` is "none"."""
    return "" if by == "none" else f"{item.type}:{duplicate_key(item, by)}"


def _normal_input(text: str, required: int = 0) -> str:
    """The argument list in one spelling; text that is none stays as it is. `(1, 2)` for a function that cannot do with
    one argument is `1, 2`: small models like to write the call's parentheses."""
    try:
        positional, named = parse_arguments(text)
        if len(positional) == 1 < required and not named and isinstance(positional[0], tuple):
            positional = positional[0]
        return ", ".join([*map(render, positional), *(f"{name}={render(value)}" for name, value in named.items())])
    except InvalidValue:
        return text


def _inspect(
    proposal: Proposal, settings: AdmissionConfig, *, lines: int | None, held_out: Collection[str]
) -> Rejection | None:
    """What is wrong with the text of the program or the message."""
    program = proposal.program
    if len(program) > settings.max_program_chars:
        return Rejection("program_too_long", f"{len(program)} characters")
    if len(proposal.message) > settings.max_message_chars:
        return Rejection("message_too_long", f"{len(proposal.message)} characters")
    tree = parse(program)
    if tree is None:
        return Rejection("syntax")
    if not _defines_f(program):
        return Rejection("no_function")
    found = find_forbidden(
        program,
        tree,
        modules=settings.forbidden_modules,
        names=settings.forbidden_names,
        attributes=settings.forbidden_attributes,
    )
    if found is not None:
        return Rejection("forbidden", found)
    is_induction = proposal.type is TaskType.INDUCTION
    if settings.exact_lines and lines is not None and not is_induction and statement_lines(program) != lines:
        return Rejection("wrong_length", f"{statement_lines(program)} lines, {lines} asked for")
    if held_out and program_key(program) in held_out:
        return Rejection("held_out")
    return None


def _defines_f(program: str) -> bool:
    return "f" in function_names(program) or program.rpartition("\n")[2].startswith("f = ")


def _input_texts(proposal: Proposal, settings: AdmissionConfig, count: int) -> list[str] | Rejection:
    """The inputs in normal form: the one input, or the last `count` different ones of an induction proposal."""
    is_induction = proposal.type is TaskType.INDUCTION
    needed = min(count, settings.min_inputs) if is_induction else 1
    required = required_arguments(proposal.program)
    texts: list[str] = []
    rejection = Rejection("few_inputs", f"{len(proposal.inputs)} of {needed}")
    for text in proposal.inputs:
        try:
            parse_arguments(text)
        except InvalidValue as error:
            rejection = Rejection("bad_input", str(error))
            continue
        if len(text) > settings.max_input_chars:
            rejection = Rejection("input_too_long", f"{len(text)} characters")
            continue
        texts.append(_normal_input(text, required))
    if is_induction and settings.distinct_inputs and len(texts) >= needed:
        texts = list(dict.fromkeys(texts))
        rejection = Rejection("few_inputs", f"{len(texts)} different ones of {needed}")
    return texts[-count:] if len(texts) >= needed else rejection


def _task(
    proposal: Proposal,
    runs: Sequence[Determinism],
    settings: AdmissionConfig,
    *,
    step: int,
    shown_frac: float,
) -> Task | Rejection:
    """The task that the runs make of the proposal, or the first thing that is wrong with them."""
    pairs, values, rejections = [], [], []
    for text, run in zip(proposal.inputs, runs, strict=True):
        rejection = reject_run(run, settings, proposal.type)
        if rejection is not None and rejection.reason in _OF_THE_PROGRAM:
            return rejection
        if rejection is not None:
            rejections.append(rejection)
            continue
        is_error = proposal.type is TaskType.ERROR
        pairs.append(Pair(text, (run.result.error_type or NO_ERROR) if is_error else render(run.result.value)))
        values.append(run.result.value)
    is_induction = proposal.type is TaskType.INDUCTION
    needed = min(len(runs), settings.min_inputs) if is_induction else 1
    if len(pairs) < needed:
        return rejections[0]
    if is_induction and settings.vary_outputs and all(equal(value, values[0]) for value in values):
        return Rejection("constant", pairs[0].output)
    shown = int(shown_frac * len(pairs))
    return Task(
        proposal.type, proposal.program, tuple(pairs), proposal.message, shown, step, composites=proposal.composites
    )


def reject_run(run: Determinism, settings: AdmissionConfig, task_type: TaskType) -> Rejection | None:
    """What is wrong with a run. For an error task an exception is right, and of a value only that there is one."""
    ran = run.result
    is_error = task_type is TaskType.ERROR
    if not ran.ok and not (is_error and ran.status is Status.ERROR and ran.error_type.isidentifier()):
        detail = f"{ran.error_type}: {ran.message}" if ran.error_type else ran.message
        return Rejection(_FAILED[ran.status], detail)
    if not run.agrees:
        return Rejection("not_deterministic", run.difference)
    if is_error:
        return None
    if ran.value is None and not settings.accept_none:
        return Rejection("none")
    try:
        length = len(render(ran.value))
    except InvalidValue as error:
        return Rejection("output_too_long", str(error))
    return Rejection("output_too_long", f"{length} characters") if length > settings.max_output_chars else None


def _check_output(task: Task, text: str) -> Verdict:
    try:
        answer = parse_value(text)
    except InvalidValue as error:
        return Verdict(False, 0.0, "unparsable", str(error))
    if not task.output:
        return Verdict(False, 0.0, "wrong", "the task has no known answer (admission.leak)")
    correct = equal(answer, parse_value(task.output))
    return Verdict(correct, float(correct), "correct" if correct else "wrong")


def _check_name(task: Task, text: str) -> Verdict:
    said = _ERROR_NAME.split(text.strip(), maxsplit=1)[0]
    if not said:
        return Verdict(False, 0.0, "unparsable")
    correct = said.lower() == task.output.lower()
    return Verdict(correct, float(correct), "correct" if correct else "wrong")


def _compare(runs: Sequence[Result], expected: Sequence[Any]) -> Verdict:
    """The verdict of runs against values; its reason is that of the first failure."""
    right = [run.ok and equal(run.value, value) for run, value in zip(runs, expected, strict=True)]
    score = sum(right) / len(right) if right else 0.0
    if right and all(right):
        return Verdict(True, 1.0, "correct")
    for run in runs:
        if not run.ok:
            reason = "no_value" if run.status is Status.OUTPUT_LIMIT else _FAILED[run.status]
            return Verdict(False, score, reason, f"{run.error_type}: {run.message}")
    return Verdict(False, score, "wrong")
