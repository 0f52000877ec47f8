"""A quick score of the tiny model without a sandbox: answers are looked up in the table of operations, never executed.

Reading order: `quick_scores`, then `is_solved`. It undercounts programs written in another way than the world's own, so
the numbers on the model card come from evaluate.py, which asks the sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from minizero.prompts import compact
from minizero.tasks.programs import statement_lines
from minizero.tiny.generate import generate
from minizero.tiny.operations import Value
from minizero.tiny.sequences import render
from minizero.tiny.world import interpret
from minizero.types import Task, TaskType


def quick_scores(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task], *, samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """By type, and by type/length: mean solve rate at temperature 1, and the share of tasks with 0 < rate < 1."""
    prompts = [render(compact.solve(task)) for task in tasks]
    texts = generate(model, tokenizer, prompts, samples=samples, temperature=1.0, seed=seed)
    rates: dict[str, list[float]] = {}
    for task, answers in zip(tasks, texts, strict=True):
        rate = sum(is_solved(task, text) for text in answers) / samples
        for key in ("all", task.type.value, f"{task.type.value}/{statement_lines(task.program)}"):
            rates.setdefault(key, []).append(rate)
    return {
        key: (sum(rows) / len(rows), sum(0 < rate < 1 for rate in rows) / len(rows))
        for key, rows in sorted(rates.items())
    }


def is_solved(task: Task, completion: str) -> bool:
    """Whether a completion that continues the solve prompt's prefill answers the task."""
    text, fence, _ = completion.partition("\n```")
    if not fence:
        return False
    if task.type is TaskType.INDUCTION:
        return all(_agree(interpret(text, _value(pair.input)), _value(pair.output)) for pair in task.pairs)
    try:
        answer = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return False
    if task.type is TaskType.DEDUCTION:
        return bool(answer == _value(task.output))
    return isinstance(answer, int | str | list) and _agree(interpret(task.program, answer), _value(task.output))


def _value(text: str) -> Value:
    value: Value = ast.literal_eval(text)
    return value


def _agree(given: Value | None, expected: Value) -> bool:
    return given is not None and given == expected
