"""EvalPlus's files, in and out: samples.jsonl and eval_results.json, for cross-checks; and its own scorer.

Reading order: read_samples, write_samples, write_eval_results, read_eval_results; then run_evalplus.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minizero.evaluation.problems import PASS, Judgement, Problem, Suite
from minizero.evaluation.scoring import Submission
from minizero.formatting import install
from minizero.statistics import pass_at_k
from minizero.types import EvaluationError, MissingPackage

EXPECTED = 'expected lines {"task_id": ..., "solution": "the program"}, or "completion" for what follows the prompt.'
SHOWN = 5  # malformed lines in one message
WORDS = {"timeout": "timeout", PASS: PASS}  # all else is "fail" in EvalPlus's words


def read_samples(path: Path, problems: Sequence[Problem], *, complete: bool = True) -> list[Submission]:
    """Submissions of a samples.jsonl: {"task_id", "solution"} or {"task_id", "completion"}, which follows the prompt.

    Raises EvaluationError for a row that is none, a foreign task, or (complete) a task without a sample.
    """
    by_id = {problem.id: problem for problem in problems}
    submissions: list[Submission] = []
    malformed: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}). Expected a samples.jsonl in UTF-8.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _submission(line, by_id)
        if isinstance(found, Submission):
            submissions.append(found)
        else:
            malformed.append(f"line {number}: {found}")
    if malformed:
        more = f"\nand {len(malformed) - SHOWN} more lines" if len(malformed) > SHOWN else ""
        raise EvaluationError("\n".join([f"{path}: {EXPECTED}", *malformed[:SHOWN]]) + more)
    lacking = [problem.id for problem in problems if problem.id not in {submission.task for submission in submissions}]
    if complete and lacking:
        raise EvaluationError(
            f"{path}: {len(lacking)} of {len(problems)} tasks have no sample, for example {lacking[0]}. Generate the "
            "missing ones: a score over fewer tasks could not be compared with others."
        )
    return submissions


def _submission(line: str, by_id: Mapping[str, Problem]) -> Submission | str:
    """One row, or what is wrong with it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"not JSON ({error}). Was the file torn?"
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not an object"
    task = row.get("task_id")
    if not isinstance(task, str) or task not in by_id:
        return f"task_id = {task!r:.80} is no task of this suite, which has {next(iter(by_id), 'none')}, ..."
    column = "solution" if "solution" in row else "completion"
    if column not in row:
        return f"neither solution nor completion, only {', '.join(row)}"
    if not isinstance(row[column], str):
        return f"{column} is a {type(row[column]).__name__}, not a text; several samples of a task take a line each"
    return Submission(task, row[column] if column == "solution" else by_id[task].prompt + row[column])


def write_samples(path: Path, submissions: Sequence[Submission]) -> None:
    """A samples.jsonl that EvalPlus scores."""
    rows = [json.dumps({"task_id": submission.task, "solution": submission.text}) + "\n" for submission in submissions]
    path.write_text("".join(rows), encoding="utf-8")


def write_eval_results(
    path: Path,
    suite: Suite,
    problems: Sequence[Problem],
    submissions: Sequence[Submission],
    judgements: Sequence[Judgement],
    *,
    md5: str = "",
) -> None:
    """An eval_results.json as EvalPlus writes it, `md5` being that of the benchmark's unzipped file.

    As there, a sample that fails has the first failed test in a list, and one that does not start has none. Otherwise
    than there, what fails the base tests is not run on more, and its plus_status is fail; a sample that took too long
    has no test in its list.
    """
    by_id = {problem.id: problem for problem in problems}
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    base, plus = suite.levels[0], suite.levels[-1]
    for submission, judgement in zip(submissions, judgements, strict=True):

        def failed(level: str, submission: Submission = submission, judgement: Judgement = judgement) -> list[Any]:
            place = judgement.failed_test
            if place is None or judgement[level] in (PASS, "not-run"):
                return []
            return [by_id[submission.task].data["tests"][level][place]]

        samples[submission.task].append(
            {
                "task_id": submission.task,
                "solution": submission.text,
                "base_status": WORDS.get(judgement[base], "fail"),
                "plus_status": WORDS.get(judgement[plus], "fail") if plus != base else None,
                "base_fail_tests": failed(base),
                "plus_fail_tests": failed(plus) if plus != base else [],
            }
        )
    scores = {}
    for name, level in {"base": base, "plus": plus}.items():
        counts = defaultdict(list)
        for submission, judgement in zip(submissions, judgements, strict=True):
            counts[submission.task].append(judgement[level] == PASS)
        least = min(map(len, counts.values()), default=0)
        scores[name] = {
            f"pass@{k}": sum(pass_at_k(len(c), sum(c), k) for c in counts.values()) / len(counts)
            for k in (1, 10, 100)
            if k <= least
        }
    whole = {"date": time.strftime("%Y-%m-%d %H:%M"), "hash": md5, "eval": samples, "pass_at_k": scores}
    path.write_text(json.dumps(whole, default=_in_json) + "\n", encoding="utf-8")


def _in_json(value: Any) -> Any:
    """The inputs of MBPP that JSON does not know: sets as lists, complex numbers as text."""
    return list(value) if isinstance(value, set | frozenset) else str(value)


def read_eval_results(path: Path) -> dict[str, list[tuple[bool, bool]]]:
    """Task -> (right on base, right on base and plus) of each sample, from EvalPlus's or our own file."""
    try:
        by_task = json.loads(path.read_text(encoding="utf-8"))["eval"]
        return {
            task: [(row["base_status"] == PASS, row["base_status"] == row.get("plus_status") == PASS) for row in rows]
            for task, rows in by_task.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{path}: no results in EvalPlus's format ({type(error).__name__}: {error}). Expected eval_results.json."
        ) from None


def run_evalplus(dataset: str, samples: Path, data: Path, *, parallel: int, python: str = "") -> Path:
    """Score a samples.jsonl with EvalPlus's own scorer, in a process of its own; the results file.

    `data` is the benchmark's file (full or Mini), `python` an interpreter that has EvalPlus (else
    EVALPLUS_PYTHON, else this one).
    The least time for an input is the development head's (4 s). HumanEval/32 always fails in the released version
    0.3.1. The samples' code runs with EvalPlus's guard only, not in our sandbox.
    """
    import importlib.util
    import os
    import subprocess
    import sys

    python = python or os.environ.get("EVALPLUS_PYTHON", "")
    if not python and importlib.util.find_spec("evalplus") is None:
        raise MissingPackage(
            "evalplus",
            "--scorer evalplus",
            f"{install('evaluate')}, or set EVALPLUS_PYTHON to the interpreter of an environment that has it",
        )
    results = samples.with_name(samples.name.replace(".jsonl", "_eval_results.json"))
    results.unlink(missing_ok=True)  # it would be returned although the samples have changed
    name = "HUMANEVAL_OVERRIDE_PATH" if dataset == "humaneval" else "MBPP_OVERRIDE_PATH"
    command = [python or sys.executable, "-m", "evalplus.evaluate", "--dataset", dataset, "--samples", str(samples)]
    command += ["--parallel", str(parallel), "--min-time-limit", "4"]
    done = subprocess.run(command, env=os.environ | {name: str(data)}, capture_output=True, text=True)
    if done.returncode or not results.is_file():
        tail = (done.stderr.strip().splitlines() or ["no words"])[-1]
        raise EvaluationError(f"EvalPlus's scorer ended with status {done.returncode}: {tail}")
    return results
