"""LiveCodeBench (arXiv 2403.07974): code generation (functions and whole programs), execution, test-output prediction.

Reading order: SUITES; then one reader per set. The sets live on the hub only, so their files are checked by shape and
not by hash. Private tests may come packed (base64, zlib, pickle), which is refused: a pickle can run code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges import programs, values
from minizero.evaluation.problems import Problem, Suite
from minizero.types import EvaluationError, TaskType

GENERATION = DataFile(
    ("lcb_generation.jsonl", "test.jsonl"), 0, "", hub=("livecodebench/code_generation_lite", "test.jsonl")
)
EXECUTION = DataFile(("lcb_execution.jsonl",), 0, "", hub=("livecodebench/execution-v2", "test.jsonl"))
TEST_OUTPUT = DataFile(("lcb_test_output.jsonl",), 0, "", hub=("livecodebench/test_generation", "test.jsonl"))


def generation(row: dict[str, Any]) -> Problem:
    """Public tests, and the private ones where they are plain JSON."""
    cases = _cases(row, "public_test_cases") + _cases(row, "private_test_cases")
    meta = _json(row.get("metadata") or "{}")
    prompt = str(row["question_content"])
    if row.get("starter_code"):
        prompt += f"\n\nStart from this code:\n{row['starter_code']}"
    elif all(case["kind"] == "stdin" for case in cases):
        prompt += "\n\nWrite a whole program that reads standard input and writes standard output."
    return Problem(str(row["question_id"]), prompt, "", str(meta.get("func_name", "")), {"cases": cases})


def _cases(row: dict[str, Any], column: str) -> list[dict[str, str]]:
    text = row.get(column) or "[]"
    try:
        cases = _json(text)
    except ValueError:
        raise EvaluationError(
            f"{row.get('question_id')}: {column} is packed as a pickle, which could run code when it is opened. "
            "Unpack the file with LiveCodeBench's own loader, and give the plain JSON Lines file with --data."
        ) from None
    return [{"input": c["input"], "output": c["output"], "kind": c.get("testtype", "stdin")} for c in cases]


def _json(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def execution(row: dict[str, Any]) -> Problem:
    """What an assertion's call gives. The call's arguments are the input; its function is renamed f."""
    name, _, rest = str(row["input"]).partition("(")
    code = str(row["code"]).replace(f"def {name.strip()}(", "def f(", 1)
    data = {"program": code, "input": rest.rpartition(")")[0], "output": str(row["output"])}
    return Problem(str(row.get("id", row.get("question_id"))), code, data["output"], "f", data)


def test_output(row: dict[str, Any]) -> Problem:
    """What a function should give, from its description alone."""
    test = _json(row["test"])[0]
    prompt = f"{row['question_content']}\n\n{row.get('starter_code', '')}"
    data = {"program": "def f(*arguments): ...", "input": ", ".join(test["input"].splitlines())}
    data["output"] = test["output"]
    ask = f"{prompt}\n\nWhat does the function give for the arguments {data['input']}?"
    return Problem(f"{row['question_id']}/{row.get('test_id', 0)}", ask, data["output"], "f", data)


def _suite(name: str, title: str, kind: str, file: DataFile, read: Any, judge: Any) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        try:
            return [read(row) for row in read_rows(file, where)]
        except (KeyError, TypeError, IndexError) as error:
            raise EvaluationError(f"{name}: a row lacks {error}. Is this a file of {title}?") from None

    return Suite(name, title, (name,), kind, load, judge, max_tokens=2048)


_values = cast(Any, values.make)
SUITES = {
    "lcb-generation": _suite(
        "lcb-generation", "LiveCodeBench", "program", GENERATION, generation, programs.make("lcb-generation")
    ),
    "lcb-execution": _suite(
        "lcb-execution", "LiveCodeBench execution", "output", EXECUTION, execution,
        _values(TaskType.DEDUCTION, "lcb-execution"),
    ),
    "lcb-test-output": _suite(
        "lcb-test-output", "LiveCodeBench test output", "statement", TEST_OUTPUT, test_output,
        _values(TaskType.DEDUCTION, "lcb-test-output"),
    ),
}  # fmt: skip
