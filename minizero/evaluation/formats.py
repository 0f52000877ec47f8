"""Prompt formats: the same problem asked in different ways, and how an answer is read from each.

Reading order: FORMATS, Asked, ask; then read, its inverse.
  direct   the text is continued, as EvalPlus does with base models
  chat     the chat template, with the start of the reply given for programs, as EvalPlus does with instruct models
  azr      think first, then answer, as AZR's models were trained (prompts/r1.py)
  compact  the tiny model's own language (values only)
  few-shot, few-shot-cot  two worked examples with tags, the answer at once or after a thought (values only)
The format moves scores by tens of points (Qwen2.5-Coder-7B: 61.6 % direct, 83.5 % chat), so one evaluation uses one
format for every model, and its manifest says which. Wording and stops of direct and chat programs are EvalPlus's.
"""

from __future__ import annotations

import re
from typing import Final

from minizero import prompts
from minizero.config.tasks import PromptConfig
from minizero.evaluation import few_shot
from minizero.evaluation.judges.values import as_task
from minizero.evaluation.problems import Problem, Suite
from minizero.evaluation.sanitise import sanitise
from minizero.prompts import direct, r1
from minizero.tasks.blocks import without_reasoning
from minizero.tasks.parsing import parse_answer
from minizero.types import EvaluationError, Message, ParseError, Prompt, TaskType

FORMATS: Final = ("direct", "chat", "azr", "compact", few_shot.DIRECT, few_shot.WITH_THOUGHT)
ALWAYS: Final = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
_TASK_TYPES: Final = {"output": TaskType.DEDUCTION, "input": TaskType.ABDUCTION}
_STYLES: Final = {"azr": "r1", "chat": "chat", "compact": "compact"}

_CHAT_PROGRAM = """Please provide a self-contained Python script that solves the following problem in a markdown \
code block:
```
{prompt}
```
"""
_CHAT_START = """Below is a Python script with a self-contained function that solves the problem and passes \
corresponding tests:
```python
"""
_AZR_PROGRAM = """{prompt}

Answer with a self-contained Python program in a markdown code block."""
_BOXED = "{prompt}\n\nReason step by step, and put the final answer within \\boxed{{}}."
_STATEMENT = "{prompt}\n\nAnswer with the value alone, in a markdown code block."


def ask(suite: Suite, problem: Problem, style: str) -> Prompt:
    """The prompt. Raises EvaluationError when the format does not fit the suite."""
    if style not in FORMATS:
        raise EvaluationError(f"format = {style}: expected one of {', '.join(FORMATS)}.")
    task_type = _TASK_TYPES.get(suite.kind)
    if style in (few_shot.DIRECT, few_shot.WITH_THOUGHT):
        if suite.kind not in few_shot.KINDS:
            raise EvaluationError(f"format = {style} does not fit {suite.name}: it is for values. Try direct or chat.")
        return few_shot.ask(suite.kind, problem, style)
    if (task_type or suite.kind == "task") and style in _STYLES:
        return prompts.solve(_STYLES[style], as_task(problem, task_type), settings=PromptConfig())
    if suite.kind == "task":
        raise EvaluationError(f"format = {style} does not fit {suite.name}. Try {', '.join(_STYLES)}.")
    if style == "compact":
        raise EvaluationError(
            f"format = compact does not fit {suite.name}: it is the tiny model's language for values. Try cruxeval."
        )
    if style == "direct":
        if task_type:
            return direct.solve(as_task(problem, task_type))
        return Prompt((Message("user", _direct(suite, problem)),), stop=_direct_stops(suite))
    if suite.kind == "program" and style == "chat":
        text = _CHAT_PROGRAM.format(prompt=problem.prompt.strip())
        return Prompt((Message("user", text),), prefill=_CHAT_START, stop=("\n```\n", *ALWAYS), chat=True)
    wording = {"program": _AZR_PROGRAM, "mathematics": _BOXED}.get(suite.kind, _STATEMENT)
    text = wording.format(prompt=problem.prompt.strip())
    if style == "chat":
        return Prompt((Message("user", text),), chat=True)
    wrapped = r1.WRAPPER.format(question=text)  # the words AZR-style training uses
    return Prompt((Message("user", wrapped),), prefill="<think>", stop=("</answer>",))


def _direct(suite: Suite, problem: Problem) -> str:
    if suite.kind == "mathematics":
        return f"Question: {problem.prompt.strip()}\nAnswer: The final answer is \\boxed{{"
    return problem.prompt.strip() + "\n"


def _direct_stops(suite: Suite) -> tuple[str, ...]:
    return (*ALWAYS, *suite.stops) if suite.kind == "program" else ("\n",)


def read(suite: Suite, problem: Problem, style: str, text: str) -> str:
    """The answer in a completion (without the prefill); "" when there is none."""
    prompt = ask(suite, problem, style)
    if style in (few_shot.DIRECT, few_shot.WITH_THOUGHT):
        return few_shot.read(suite.kind, problem, style, text)
    if style != "direct":
        # The prefill of azr opens the reasoning; that of chat's programs is the start of the answer.
        answer = without_reasoning(prompt.prefill + text if style == "azr" else text)
        if answer is None:
            return ""
        text = answer if suite.kind in ("program", "mathematics") else text
    if suite.kind == "program":
        return _program(problem, style, cut(text, prompt.stop))
    if style == "direct":
        text = cut(text, ("\n",)).strip()
        if suite.kind == "input":
            return text.rpartition(")")[0].removeprefix("(").strip()
        return boxed("\\boxed{" + text) if suite.kind == "mathematics" else text
    if suite.kind == "mathematics":
        return boxed(text) or last_number(text)
    task_type = as_task(problem).type if suite.kind == "task" else _TASK_TYPES.get(suite.kind, TaskType.DEDUCTION)
    parsed = parse_answer(task_type, prompt.prefill + text, style=_STYLES[style])
    return "" if isinstance(parsed, ParseError) else parsed.text


def _program(problem: Problem, style: str, text: str) -> str:
    if style == "direct":
        return sanitise(problem.prompt.strip() + "\n" + text, problem.entry)
    if style == "chat" and problem.entry and "```" not in text:
        return sanitise(text, problem.entry)
    if style == "azr":
        text = text.rpartition("<answer>")[2].partition("</answer>")[0]
    blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", text, re.DOTALL)
    return sanitise(blocks[-1] if blocks else text, problem.entry)


def cut(text: str, stops: tuple[str, ...]) -> str:
    """The text before the first stop: samplers leave it in.

    >>> cut("return 1\\ndef g", ("\\ndef ",))
    'return 1'
    """
    ends = [text.find(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


def boxed(text: str) -> str:
    """What stands in the last \\boxed{...}, with balanced braces; "" when there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return ""
    depth = 1
    for place in range(start + 7, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[start + 7 : place].strip()
    return ""


def last_number(text: str) -> str:
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return numbers[-1] if numbers else ""
