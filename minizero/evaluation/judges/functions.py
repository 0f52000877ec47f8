"""The judge of functions: calls in the sandbox, compared out here with what the reference solution gives.

Reading order: FunctionJudge.judge, _compare (one process for all levels of a sample), then _Reference and how it is
remembered. Fast: the sandbox answers with a digest per part of the inputs; only where digests differ do values come
out, and rules about tolerance or several right answers decide.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minizero.evaluation.judges import driver, oracle
from minizero.evaluation.problems import PASS, Problem, Verdict
from minizero.evaluation.store import read_whole_lines
from minizero.types import EvaluationError
from sandbox import Limits, Result, Sandbox, Status

MIN_CPU_S = 4.0  # EvalPlus's development head: the least time for an input, and the factor on the reference's time
CPU_FACTOR = 4.0
REFERENCE_CPU_S = 120.0
LARGEST = 64 << 20  # bytes of results that may come out


@dataclass(slots=True)
class _Reference:
    """One task: its inputs in parts, level after level, and what the reference solution makes of them."""

    levels: dict[str, range]  # places in parts
    parts: list[Sequence[Any]]
    inputs: list[str]  # literals
    digests: list[str] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)  # computed when they are first needed


class FunctionJudge:
    """Judges programs by their function's results on the tests of each level.

    A level counts only where the ones before it pass. `store` is a directory that remembers reference results from run
    to run. memory_mib is EvalPlus's 4 GiB. Give `judge` the problems in any order, from any thread.
    """

    def __init__(
        self, problems: list[Problem], box: Sandbox, store: Path | None = None, *, memory_mib: int = 4096
    ) -> None:
        self._box, self._memory = box, memory_mib
        self._file = store / "references.jsonl" if store else None
        self._references: dict[str, _Reference] = {}
        self._locks = {problem.id: threading.RLock() for problem in problems}
        self._writing = threading.Lock()
        rows = [json.loads(line) for line in read_whole_lines(self._file)] if self._file else []
        self._known = {row["key"]: row for row in rows}
        self._costs = {row["task"]: sum(row["cpu_s"]) for row in rows}

    def judge(self, problem: Problem, answer: str) -> Verdict:
        reference = self._reference(problem)
        limit = max(MIN_CPU_S, CPU_FACTOR * max(reference.cpu_s))
        results = self._run(problem, answer, reference.inputs, False, limit)
        verdict: Verdict = {}
        status = PASS
        for level, places in reference.levels.items():
            status = self._status(problem, answer, reference, places, results, limit) if status == PASS else "not-run"
            verdict[level] = status
        return verdict

    def cost(self, problem: Problem) -> float:
        """The reference's processor time where it is known, else a guess from the number of tests."""
        if problem.id in self._references:
            return sum(self._references[problem.id].cpu_s)
        return self._costs.get(problem.id, sum(map(len, problem.data["tests"].values())) * 1e-5)

    # -- one level --

    def _status(
        self,
        problem: Problem,
        answer: str,
        reference: _Reference,
        places: range,
        results: Sequence[Result],
        limit: float,
    ) -> str:
        mine = [results[place] for place in places]
        failed = _failure(mine)
        if failed == "timeout" and places.start:
            # Right on the base tests and slow on a part: EvalPlus grants its time to each input, so each gets it now.
            values = self._values(problem, reference)
            parts = [[one] for place in places for one in reference.parts[place]]
            expected = [[value] for place in places for value in values[place]]
            return self._exact(problem, answer, parts, expected, limit)
        if failed:
            return failed
        if [result.value for result in mine] == [reference.digests[place] for place in places]:
            return PASS
        values = self._values(problem, reference)
        parts = [list(reference.parts[place]) for place in places]
        return self._exact(problem, answer, parts, [values[place] for place in places], limit)

    def _exact(
        self, problem: Problem, answer: str, parts: list[list[Any]], expected: list[list[Any]], limit: float
    ) -> str:
        """Run for the values themselves, and apply the task's rule to them."""
        results = self._run(problem, answer, driver.literals(parts, problem.data["is_json"]), True, limit)
        failed = _failure(results)
        if failed:
            return failed
        rule, atol = problem.data["oracle"], problem.data["atol"]
        flat = [value for result in results for value in _as_list(result.value)]
        arguments = [one for part in parts for one in part]
        is_right = oracle.all_right(rule, arguments, flat, [v for part in expected for v in part], atol)
        return PASS if is_right else "wrong"

    def _run(self, problem: Problem, answer: str, inputs: list[str], values: bool, cpu_s: float) -> list[Result]:
        text = driver.program(answer, problem.entry, inputs, problem.data["oracle"])
        # The clock is only there for a program that waits; a busy machine must not decide.
        limits = Limits(
            cpu_s=cpu_s, wall_s=30 + 12 * cpu_s, memory_mib=self._memory, result_bytes=LARGEST, timeouts_per_batch=1
        )
        calls = [f"{place}, {values}" for place in range(len(inputs))]
        return self._box.run_many(
            text, calls, entry=driver.ENTRY, fresh_globals=False, imports=imports_for(answer), limits=limits
        )

    # -- the reference --

    def _reference(self, problem: Problem) -> _Reference:
        with self._locks[problem.id]:
            if problem.id not in self._references:
                self._references[problem.id] = self._make_reference(problem)
            return self._references[problem.id]

    def _make_reference(self, problem: Problem) -> _Reference:
        levels: dict[str, range] = {}
        parts: list[Sequence[Any]] = []
        for level, tests in problem.data["tests"].items():
            more = driver.parts_of(tests)
            levels[level] = range(len(parts), len(parts) + len(more))
            parts += more
        reference = _Reference(levels, parts, driver.literals(parts, problem.data["is_json"]))
        text = driver.program(problem.solution, problem.entry, reference.inputs, problem.data["oracle"])
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        row = self._known.get(key)
        if row is None:
            results = self._of_solution(problem, reference, False)
            row = {"key": key, "task": problem.id, "digests": [r.value for r in results]}
            row["cpu_s"] = [round(r.cpu_s, 4) for r in results]
            self._remember(row)
        reference.digests, reference.cpu_s = row["digests"], row["cpu_s"]
        return reference

    def _values(self, problem: Problem, reference: _Reference) -> list[Any]:
        with self._locks[problem.id]:
            if not reference.values:
                reference.values = [result.value for result in self._of_solution(problem, reference, True)]
            return reference.values

    def _of_solution(self, problem: Problem, reference: _Reference, values: bool) -> list[Result]:
        results = self._run(problem, problem.solution, reference.inputs, values, REFERENCE_CPU_S)
        failed = next((r for r in results if not r.ok), None)
        if failed:
            raise EvaluationError(
                f"{problem.id}: the benchmark's own solution ended with {failed.status} ({failed.message}). "
                "Is the machine out of memory? Run with fewer workers."
            )
        return results

    def _remember(self, row: dict[str, Any]) -> None:
        if self._file:
            with self._writing:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def _as_list(value: Any) -> list[Any]:
    return value if type(value) is list else [value]


def imports_for(program: str) -> Any:
    """Which of the sandbox's import lists a program gets: the wide one takes longer to start, and few need it."""
    from sandbox.modules import TRAINING

    words = {word for line in program.splitlines() if "import" in line for word in _modules(line)}
    return "training" if words <= TRAINING else "stdlib"


def _modules(line: str) -> list[str]:
    """Modules that a line may import; too many rather than too few."""
    words = line.replace(",", " ").replace(";", " ; ").split()
    found = []
    for place, word in enumerate(words[:-1]):
        if word == "from":
            return [words[place + 1].split(".")[0]]
        if word == "import":
            found += [w.split(".")[0] for w in words[place + 1 :] if w.isidentifier() or "." in w]
    return [w for w in found if w != "as"]


def _failure(results: list[Result]) -> str:
    """The status of the first test part that failed; "" when all gave a result."""
    for result in results:
        if not result.ok:
            return "wrong" if result.status is Status.NOT_SERIALISABLE else str(result.status)
    return ""
