"""A quick score of the tiny model without a sandbox: answers are looked up in the table of operations, never executed.

Reading order: `quick_scores`, then `is_solved`. It undercounts programs written in another way than the world's own, so
the numbers on the model card come from evaluate.py, which asks the sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from minizero.prompts import compact
from minizero.prompts.compact import Think
from minizero.tasks.blocks import is_reasoned
from minizero.tasks.parsing import parse_answer
from minizero.tasks.programs import statement_lines
from minizero.tiny.generate import generate
from minizero.tiny.operations import Value
from minizero.tiny.sequences import render
from minizero.tiny.world import interpret
from minizero.types import ParseError, Task, TaskType


@dataclass(frozen=True, slots=True)
class QuickScore:
    """Shares over some tasks, in [0, 1]."""

    right: float
    reasoned: float


def quick_scores(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    *,
    samples: int,
    seed: int,
    temperature: float = 1.0,
    think: Think = "auto",
) -> dict[str, QuickScore]:
    """By "all", by type, by lines, and by type/lines."""
    prompts = [compact.solve(task, think=think) for task in tasks]
    texts = generate(model, tokenizer, list(map(render, prompts)), samples=samples, temperature=temperature, seed=seed)
    rows: dict[str, list[tuple[bool, bool]]] = {}
    for task, prompt, answers in zip(tasks, prompts, texts, strict=True):
        lines = statement_lines(task.program)
        for text in answers:
            whole = prompt.prefill + text
            row = is_solved(task, whole), is_reasoned(whole)
            for key in ("all", task.type.value, f"{lines:02d}", f"{task.type.value}/{lines:02d}"):
                rows.setdefault(key, []).append(row)
    return {key: QuickScore(*(sum(part) / len(part) for part in zip(*rows[key], strict=True))) for key in sorted(rows)}


def is_solved(task: Task, text: str) -> bool:
    """Whether a completion, with its prompt's prefill, answers the task."""
    answer = parse_answer(task.type, text, style="compact")
    if isinstance(answer, ParseError):
        return False
    if task.type is TaskType.INDUCTION:
        return all(_agree(interpret(answer.text, _value(pair.input)), _value(pair.output)) for pair in task.pairs)
    try:
        value = ast.literal_eval(answer.text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return False
    if task.type is TaskType.DEDUCTION:
        return bool(value == _value(task.output))
    return isinstance(value, int | str | list) and _agree(interpret(task.program, value), _value(task.output))


def _value(text: str) -> Value:
    value: Value = ast.literal_eval(text)
    return value


def _agree(given: Value | None, expected: Value) -> bool:
    return given is not None and given == expected
