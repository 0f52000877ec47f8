"""The prompt style `compact`, made for the built-in tiny model: labelled blocks and one-line instructions, no prose.

Reading order: propose, solve, then the blocks they are made of. The model is trained on exactly these texts
(tiny/sequences.py), so a change here needs a newly trained model.

    solve, deduction              propose, deduction         propose, induction         solve, induction
    ```python                     # propose deduction        # propose induction        ```input
    def f(x):                     # 2 lines                  # 8 inputs                 [3, 1]
        return x[::-1]            ```python                  ```python                  ```
    ```                           (an example's program)     (the program)              ```output
    ```input                      ```                        ```                        [1, 3]
    [3, 1]                        ```input                   ```input    <- prefill     ```
    ```                           (an example's input)                                  ... ```message ... ```
    ```output    <- prefill       ```                                                   ```python    <- prefill
                                  ```python    <- prefill
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from minizero.types import Message, Prompt, Task, TaskType

PYTHON = "```python\n"
INPUT = "```input\n"
OUTPUT = "```output\n"
MESSAGE = "```message\n"
CLOSE = "\n```\n"
THINK = "<think>\n"
END_THINK = "</think>\n"
ANSWER = {TaskType.DEDUCTION: OUTPUT, TaskType.ABDUCTION: INPUT, TaskType.INDUCTION: PYTHON}  # what begins an answer
Think = Literal["on", "off", "auto"]
INSTRUCTION = "# "  # begins the prompts that ask for a proposal, and no others


def propose(task_type: TaskType, examples: Sequence[Task], *, lines: int | None, inputs: int) -> Prompt:
    """Ask for a new task. `lines` is the length wanted of the program below its `def` line (None: any length).

    Deduction and abduction show the examples' programs and inputs and ask for another pair. Induction shows the program
    of examples[0] and asks for `inputs` inputs and a message; `lines` then has no meaning.
    """
    parts = [f"{INSTRUCTION}propose {task_type.value}\n"]
    if task_type is TaskType.INDUCTION:
        parts += [f"{INSTRUCTION}{inputs} inputs\n", _block(PYTHON, examples[0].program)]
        return _prompt(parts, INPUT)
    if lines is not None:
        parts.append(f"{INSTRUCTION}{lines} lines\n")
    for example in examples:
        parts += [_block(PYTHON, example.program), _block(INPUT, example.input)]
    return _prompt(parts, PYTHON)


def solve(task: Task, *, think: Think = "auto") -> Prompt:
    """Ask for the part of the task that is not shown: the output, an input, or a program that fits the shown pairs.

    Whether the answer is reasoned is the model's choice (auto), or made for it by the first token (on, off).
    """
    prefill = {"auto": "", "on": THINK, "off": ANSWER[task.type]}[think]
    if task.type is TaskType.DEDUCTION:
        return _prompt([_block(PYTHON, task.program), _block(INPUT, task.input)], prefill)
    if task.type is TaskType.ABDUCTION:
        return _prompt([_block(PYTHON, task.program), _block(OUTPUT, task.output)], prefill)
    parts = [_block(INPUT, pair.input) + _block(OUTPUT, pair.output) for pair in task.pairs[: task.shown]]
    if task.message:
        parts.append(_block(MESSAGE, task.message))
    return _prompt(parts, prefill)


def _block(opening: str, text: str) -> str:
    return opening + text.strip("\n") + CLOSE


def _prompt(parts: Sequence[str], prefill: str) -> Prompt:
    # The blank line keeps the prefill's tokens the same whether or not it is encoded together with what stands before.
    return Prompt((Message("user", "".join(parts) + "\n"),), prefill=prefill)
