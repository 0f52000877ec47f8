"""The judge of functions: calls in the sandbox, compared out here with what the reference solution gives.

Reading order: FunctionJudge.judge (one process for all levels of a sample), _level, _part, then _Reference and how it
is remembered. Fast: the sandbox answers with a digest per part of the inputs; only where digests differ do values come
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
from minizero.evaluation.problems import PASS, Judgement, Problem
from minizero.evaluation.store import read_whole_lines
from minizero.types import EvaluationError
from sandbox import Limits, Result, Sandbox, Status

MIN_CPU_S = 4.0  # EvalPlus's development head: the least time for an input, and the factor on the reference's time
CPU_FACTOR = 4.0
REFERENCE_CPU_S = 120.0
LARGEST = 64 << 20  # bytes of results that may come out of one run
LEVEL_S = 60.0  # processor seconds for the tests of a level that are judged by their values, as EvalPlus's limit
ALONE = 16  # tests that run one by one before the time is looked at
KEPT = 1 << 20  # characters of a part's expected results that are kept for the next sample


@dataclass(slots=True)
class _Reference:
    """One task: its inputs in parts, level after level, and what the reference solution makes of each part."""

    levels: dict[str, range]  # places in parts
    parts: list[Sequence[Any]]
    inputs: list[str]  # literals
    digests: list[str] = field(default_factory=list)
    floats: list[int | None] = field(default_factory=list)  # the first result of the part that is a float, or floats
    sizes: list[int] = field(default_factory=list)  # characters of the results
    cpu_s: list[float] = field(default_factory=list)
    values: dict[int, list[Any]] = field(default_factory=dict)  # of small parts, once they were needed

    @property
    def limit(self) -> float:
        """Processor seconds that a part gets."""
        return max(MIN_CPU_S, CPU_FACTOR * max(self.cpu_s))


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
        rows = _read_references(self._file) if self._file else []
        self._known = {row["key"]: row for row in rows}
        self._costs = {row["task"]: sum(row["cpu_s"]) for row in rows}

    def judge(self, problem: Problem, answer: str) -> Judgement:
        reference = self._reference(problem)
        results = self._run(problem, answer, reference.inputs, False, reference.limit)
        statuses = dict.fromkeys(reference.levels, "not-run")
        for level, places in reference.levels.items():
            statuses[level], failed = self._level(problem, answer, reference, places, results)
            if statuses[level] != PASS:
                return Judgement(statuses, failed)
        return Judgement(statuses)

    def cost(self, problem: Problem) -> float:
        """The reference's processor time where it is known, else a guess from the number of tests."""
        if problem.id in self._references:
            return sum(self._references[problem.id].cpu_s)
        return self._costs.get(problem.id, sum(map(len, problem.data["tests"].values())) * 1e-5)

    # -- one level --

    def _level(
        self, problem: Problem, answer: str, reference: _Reference, places: range, results: Sequence[Result]
    ) -> tuple[str, int | None]:
        """The status of a level, and which of its tests failed first where that is known."""
        before, spent_s = 0, 0.0
        for place in places:
            result = results[place]
            if not (result.ok and _digest(result.value) == reference.digests[place]):
                if result.status is Status.TIMEOUT and not places.start:
                    return _failure([result]), None
                # What was slow in all may be fast enough test by test: EvalPlus grants its time to each.
                tolerant = any(reference.floats[p] is not None for p in places if p < place)
                status, test, more_s = self._part(problem, answer, reference, place, tolerant, is_whole=result.ok)
                spent_s += more_s
                if spent_s > LEVEL_S:
                    return "timeout", None
                if status != PASS:
                    return status, None if test is None else before + test
            before += len(reference.parts[place])
        return PASS, None

    def _part(
        self, problem: Problem, answer: str, reference: _Reference, place: int, tolerant: bool, *, is_whole: bool
    ) -> tuple[str, int | None, float]:
        """Judge the values of one part by the task's rule; without is_whole test by test. The place of the first test
        that failed is None where the program does not start. Few tests at a time where their results are large. Also
        the processor seconds that it took."""
        tests = list(reference.parts[place])
        count = max(1, min(len(tests), LARGEST // 2 * len(tests) // max(1, reference.sizes[place])))
        count = count if is_whole else min(count, ALONE)
        first_float, spent_s = reference.floats[place], 0.0
        for start in range(0, len(tests), count):
            chosen = tests[start : start + count]
            atol = problem.data["atol"]
            if not atol and (tolerant or (first_float is not None and first_float < start)):
                atol = oracle.FLOAT_TOLERANCE
            # That the program starts at all is seen by a part without tests.
            parts = [[], chosen] if is_whole else [[], *([test] for test in chosen)]
            literals = driver.literals(parts, problem.data["is_json"])
            results = self._run(problem, answer, literals, True, reference.limit)
            whole = next((i for i, result in enumerate(results) if not result.ok), len(results))
            spent_s += sum(result.cpu_s for result in results)
            if not whole:
                return _failure(results), None, spent_s
            outputs = [value for result in results[:whole] for value in _as_list(result.value)]
            expected = self._values(problem, reference, place, start, count)
            wrong = oracle.first_wrong(problem.data["oracle"], chosen, outputs, expected, atol)
            if wrong is not None:
                failed = _failure(results)
                if failed and is_whole:
                    return self._part(problem, answer, reference, place, tolerant, is_whole=False)
                return failed if failed and wrong == len(outputs) else "wrong", start + wrong, spent_s
            if spent_s > LEVEL_S:
                break
        return PASS, None, spent_s

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
            results = self._of_solution(problem, reference.inputs, False)
            row = {"key": key, "task": problem.id, "results": [r.value for r in results]}
            row["cpu_s"] = [round(r.cpu_s, 4) for r in results]
            self._remember(row)
        reference.digests, reference.floats, reference.sizes = map(list, zip(*row["results"], strict=True))
        reference.cpu_s = row["cpu_s"]
        return reference

    def _values(self, problem: Problem, reference: _Reference, place: int, start: int, count: int) -> list[Any]:
        """What is expected of some tests of a part."""
        with self._locks[problem.id]:
            chosen = slice(start, start + count)
            if place in reference.values:
                return reference.values[place][chosen]
            is_kept = reference.sizes[place] <= KEPT
            tests = list(reference.parts[place] if is_kept else reference.parts[place][chosen])
            (result,) = self._of_solution(problem, driver.literals([tests], problem.data["is_json"]), True)
            values: list[Any] = result.value
            if is_kept:
                reference.values[place] = values
            return values[chosen] if is_kept else values

    def _of_solution(self, problem: Problem, inputs: list[str], values: bool) -> list[Result]:
        results = self._run(problem, problem.solution, inputs, values, REFERENCE_CPU_S)
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


def _digest(claimed: Any) -> Any:
    """The digest in what a part claims; anything else when the program replaced the driver."""
    return claimed[0] if type(claimed) is list and claimed else claimed


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
    modules = []
    for place, word in enumerate(words[:-1]):
        if word == "from":
            return [words[place + 1].split(".")[0]]
        if word == "import":
            modules += [w.split(".")[0] for w in words[place + 1 :] if w.isidentifier() or "." in w]
    return [w for w in modules if w != "as"]


def _failure(results: list[Result]) -> str:
    """The status of the first test part that failed; "" when all gave a result."""
    for result in results:
        if not result.ok:
            return "wrong" if result.status is Status.NOT_SERIALISABLE else str(result.status)
    return ""


def _read_references(file: Path) -> list[dict[str, Any]]:
    """The rows of references.jsonl. Raises EvaluationError that names a damaged line."""
    rows = []
    for number, line in enumerate(read_whole_lines(file), 1):
        try:
            row = json.loads(line)
            str(row["key"]), str(row["task"]), float(sum(row["cpu_s"])), [list(each) for each in row["results"]]
            rows.append(row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvaluationError(
                f"{file}, line {number}: no result of a reference solution ({type(error).__name__}: {error}). Remove "
                "that line, or the file: what is lacking is run again."
            ) from None
    return rows
