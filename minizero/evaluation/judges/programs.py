"""The judge of programs with given cases: a whole program read from standard input, or a function that is called.

Reading order: ProgramJudge. Expected outputs stay out here. Standard output is compared line by line without trailing
blanks, then token by token as numbers, as LiveCodeBench does; a function's value by ==.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from minizero.evaluation.judges.functions import imports_for
from minizero.evaluation.problems import PASS, Judgement, Problem
from sandbox import Job, Limits, Result, Sandbox, Status
from sandbox.values import InvalidValue, equal, parse_value, render

CPU_S = 6.0  # a case, as LiveCodeBench's default


class ProgramJudge:
    """problem.data["cases"]: {"input", "output", "kind"}, kind "stdin" or "functional"; entry: the function's name.

    Cases run one after the other and stop at the first failure.
    """

    def __init__(self, level: str, box: Sandbox, *, memory_mib: int = 4096) -> None:
        self._level, self._box = level, box
        self._limits = Limits(cpu_s=CPU_S, wall_s=30 + 12 * CPU_S, memory_mib=memory_mib, result_bytes=16 << 20)

    def judge(self, problem: Problem, answer: str) -> Judgement:
        if not answer.strip():
            return Judgement({self._level: "unparsable"})
        for place, case in enumerate(problem.data["cases"]):
            status = self._case(problem, answer, case)
            if status != PASS:
                return Judgement({self._level: status}, place)
        return Judgement({self._level: PASS})

    def cost(self, problem: Problem) -> float:
        return float(len(problem.data["cases"]))

    def _case(self, problem: Problem, answer: str, case: dict[str, str]) -> str:
        imports = imports_for(answer)
        if case["kind"] == "stdin":
            result = self._box.run(Job(answer, stdin=case["input"], imports=imports, limits=self._limits))
            return _failed(result) or (PASS if same_output(result.value, case["output"]) else "wrong")
        try:
            # One value a line, as LiveCodeBench writes the arguments of a call.
            arguments = ", ".join(render(_value(line)) for line in case["input"].splitlines() if line.strip())
            expected = _value(case["output"])
        except InvalidValue:
            return "error"
        program = f"{answer}\n\n{_CALL.replace('NAME', problem.entry)}"
        result = self._box.run(
            Job(program, entry="minizero_call", args=arguments, imports=imports, limits=self._limits)
        )
        if failed := _failed(result):
            return failed
        given = list(result.value) if type(result.value) is tuple else result.value
        return PASS if equal(given, expected) else "wrong"


# LeetCode's form has the function in a class Solution; other sets have it bare.
_CALL = """
def minizero_call(*arguments):
    holder = globals().get("Solution")
    function = getattr(holder(), "NAME") if holder else globals()["NAME"]
    return function(*arguments)
"""


def make(level: str) -> Any:
    """A maker of judges for a Suite."""

    def judge(problems: list[Problem], box: Sandbox, store: Path | None) -> ProgramJudge:
        return ProgramJudge(level, box)

    return judge


def same_output(given: str, expected: str) -> bool:
    """Whether two standard outputs are the same: line by line stripped, or token by token as numbers."""
    ours, theirs = ([line.strip() for line in text.strip().splitlines()] for text in (given, expected))
    if ours == theirs:
        return True
    if len(ours) != len(theirs):
        return False
    return all(_same_line(a.split(), b.split()) for a, b in zip(ours, theirs, strict=True))


def _same_line(given: list[str], expected: list[str]) -> bool:
    if given == expected:
        return True
    try:
        return [Decimal(word) for word in given] == [Decimal(word) for word in expected]
    except InvalidOperation:
        return False


def _value(text: str) -> Any:
    """A value in JSON's or Python's spelling."""
    words = {"true": True, "false": False, "null": None}
    text = text.strip()
    if text in words:
        return words[text]
    try:
        return parse_value(text)
    except InvalidValue:
        import json

        try:
            return json.loads(text)
        except ValueError:
            raise InvalidValue("syntax", f"not a value: {text[:60]}") from None


def _failed(result: Result) -> str:
    if result.ok:
        return ""
    return "wrong" if result.status is Status.NOT_SERIALISABLE else str(result.status)
