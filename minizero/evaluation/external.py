"""Cross-checks with EvalPlus: score its samples files, export ours, run its scorer and count what differs.

Reading order: score_file, export, cross_check.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from minizero.evaluation import evalplus_files as files
from minizero.evaluation.datafile import DataFile, find, read_unzipped
from minizero.evaluation.evaluate import Options
from minizero.evaluation.problems import PASS, Judgement, Problem, Suite
from minizero.evaluation.results import Results
from minizero.evaluation.scoring import JudgementCache, Submission, score
from minizero.evaluation.suites import named
from minizero.types import EvaluationError, Progress
from sandbox import Sandbox

DATASETS = {"humaneval+": "humaneval", "humaneval-mini": "humaneval", "mbpp+": "mbpp"}


def score_file(path: Path, suite_name: str, progress: Progress, options: Options, *, scorer: str = "minizero") -> Path:
    """Score a samples.jsonl; the eval_results.json that was written beside it."""
    (suite,) = named(suite_name)
    if suite.kind != "program":
        raise EvaluationError(f"--samples: {suite.name} has no programs. Name humaneval+ or mbpp+.")
    problems = suite.load(options.data)
    submissions = files.read_samples(path, problems)
    workers = options.workers or os.cpu_count() or 1
    progress.phase(f"scoring {suite.name}")
    with Sandbox(workers=workers, unsafe=options.unsafe) as box:
        cache = JudgementCache(path.with_name("verdicts.jsonl"))
        judgements = score(
            suite, problems, submissions, box, cache=cache, workers=workers,
            tick=lambda left: progress.tick(left, f"{left} answers left"),
        )  # fmt: skip
    out = path.with_name(path.name.removesuffix(".jsonl") + ".eval_results.json")
    files.write_eval_results(out, suite, problems, submissions, judgements, md5=md5_of(suite, options.data))
    for level in suite.levels:
        right = sum(judgement[level] == PASS for judgement in judgements)
        progress.say(f"{level:16} {right} of {len(judgements)} samples right ({right / len(judgements):.1%})")
    if scorer == "evalplus":
        progress.say(cross_check(path, suite, problems, submissions, judgements, options, workers))
    return out


def export(results: Results, out: Path, data: Path | None = None) -> list[Path]:
    """samples and eval_results of every program suite and side, as EvalPlus has them."""
    written = []
    for suite in named(",".join(results.manifest["plan"]["suites"])):
        if suite.name not in DATASETS:
            continue
        problems, md5 = suite.load(data), md5_of(suite, data)
        for side in dict.fromkeys(row.side for row in results.rows):
            rows = [row for row in results.rows if row.suite == suite.name and row.side == side]
            submissions = [Submission(row.task, row.answer) for row in rows]
            path = out / f"{suite.name}-{side}.samples.jsonl"
            files.write_samples(path, submissions)
            judgements = [Judgement(row.verdict, row.failed_test) for row in rows]
            there = out / f"{suite.name}-{side}.eval_results.json"
            files.write_eval_results(there, suite, problems, submissions, judgements, md5=md5)
            written.append(path)
    return written


def cross_check(
    path: Path,
    suite: Suite,
    problems: Sequence[Problem],
    submissions: Sequence[Submission],
    judgements: Sequence[Judgement],
    options: Options,
    workers: int,
) -> str:
    """How many verdicts of EvalPlus's own scorer differ from ours, and on which tasks, in words."""
    if suite.name not in DATASETS:
        raise EvaluationError(f"--scorer evalplus: {suite.name} is not EvalPlus's. Name {', '.join(DATASETS)}.")
    data = find(data_file(suite.name), options.data)
    theirs = files.read_eval_results(files.run_evalplus(DATASETS[suite.name], path, data, parallel=workers))
    ours: dict[str, list[tuple[bool, bool]]] = {problem.id: [] for problem in problems}
    for submission, judgement in zip(submissions, judgements, strict=True):
        ours[submission.task].append((judgement[suite.levels[0]] == PASS, judgement[suite.levels[-1]] == PASS))
    odd = [task for task, mine in ours.items() if mine != theirs.get(task)]
    if not odd:
        return f"EvalPlus's own scorer gives the same verdict on each of {len(submissions)} samples"
    return f"EvalPlus's own scorer differs on {len(odd)} tasks: {', '.join(odd[:20])}"


def data_file(name: str) -> DataFile:
    """The file behind one of EvalPlus's suites."""
    from minizero.evaluation.suites import humaneval, mbpp

    return {"humaneval+": humaneval.FULL, "humaneval-mini": humaneval.MINI, "mbpp+": mbpp.FILE}[name]


def md5_of(suite: Suite, data: Path | None) -> str:
    """What EvalPlus calls the hash of a benchmark: of its unzipped file; "" where EvalPlus does not have it."""
    if suite.name not in DATASETS:
        return ""
    return hashlib.md5(read_unzipped(find(data_file(suite.name), data))).hexdigest()
