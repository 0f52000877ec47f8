"""The mathematics sets of the AZR paper: GSM8K, MATH500, AIME 2024 and 2025, AMC 2023, Minerva, OlympiadBench.

Reading order: SUITES; then one line per set: its file and the names of its columns. Sets whose hash was never recorded
here are taken as they are; the evaluation's manifest records what was read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges import mathematics
from minizero.evaluation.problems import Problem, Suite
from minizero.types import EvaluationError

GSM8K = DataFile(
    ("gsm8k_test.jsonl",),
    1319,
    "9f098df7ff4522078d6ccec27a5c38a454790fdb51131bedfaa0e490070d5394",
    home="github.com/openai/grade-school-math, test.jsonl",
)
MATH500 = DataFile(
    ("math500_test.jsonl",),
    500,
    "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
    hub=("HuggingFaceH4/MATH-500", "test.jsonl"),
)
QUESTIONS, ANSWERS = ("problem", "question", "Question"), ("answer", "final_answer", "Answer")


def _problem(name: str, place: int, row: dict[str, Any]) -> Problem:
    question = next((row[key] for key in QUESTIONS if key in row), None)
    answer = next((row[key] for key in ANSWERS if key in row), None)
    if question is None or answer is None:
        raise EvaluationError(
            f"{name}, row {place + 1}: expected a question ({', '.join(QUESTIONS)}) and an answer "
            f"({', '.join(ANSWERS)}), saw {', '.join(row)}."
        )
    if isinstance(answer, list):
        answer = answer[0]
    right = str(answer).rpartition("####")[2].strip()  # GSM8K's answers end with #### and the number
    return Problem(f"{name}/{place}", str(question), right, "", {"answer": right})


def _suite(name: str, title: str, file: DataFile) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        return [_problem(name, place, row) for place, row in enumerate(read_rows(file, where))]

    return Suite(name, title, (name,), "mathematics", load, mathematics.make(name), max_tokens=2048)


def _by_hand(name: str, rows: int) -> DataFile:
    return DataFile((f"{name}.jsonl", f"{name}_test.jsonl"), rows, "", home="the AZR paper's evaluation data")


SUITES = {
    "gsm8k": _suite("gsm8k", "GSM8K", GSM8K),
    "math500": _suite("math500", "MATH500", MATH500),
    "aime24": _suite("aime24", "AIME 2024", _by_hand("aime24", 30)),
    "aime25": _suite("aime25", "AIME 2025", _by_hand("aime25", 30)),
    "amc23": _suite("amc23", "AMC 2023", _by_hand("amc23", 40)),
    "minerva": _suite("minerva", "Minerva Math", _by_hand("minerva", 272)),
    "olympiad": _suite("olympiad", "OlympiadBench", _by_hand("olympiad", 0)),
}
