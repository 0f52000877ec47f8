"""Score samples: each (task, text) is judged once, the longest tasks first, and judgements are kept on disk.

Reading order: Submission, score, JudgementCache. Judging happens in threads, which wait for the sandbox's processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from minizero.evaluation.problems import Judgement, Problem, Suite
from minizero.evaluation.store import read_whole_lines
from minizero.formatting import why
from minizero.types import EvaluationError
from sandbox import Sandbox

RULES = "2"  # raise it when a change of the judges can change a judgement: kept ones are then made anew
UNSTEADY = {"timeout", "memory"}  # may be the machine's doing, so they are not remembered


@dataclass(frozen=True, slots=True)
class Submission:
    """What is judged of one sample: the problem's id (`task`), and the program or value that was read from its text."""

    task: str
    text: str


def score(
    suite: Suite,
    problems: Sequence[Problem],
    submissions: Sequence[Submission],
    box: Sandbox,
    *,
    cache: JudgementCache | None = None,
    workers: int | None = None,
    tick: Callable[[int], None] = lambda left: None,
) -> list[Judgement]:
    """A judgement of each submission, in their order.

    With a cache equal submissions are judged once, now and in later runs; without one each is judged by itself.
    Raises EvaluationError for a submission to a task that the suite does not have.
    """
    by_id = {problem.id: problem for problem in problems}
    foreign = sorted({submission.task for submission in submissions} - by_id.keys())
    if foreign:
        raise EvaluationError(
            f"{len(foreign)} tasks of the samples are not in {suite.name}, for example {foreign[0]}. "
            "Score them with the suite that they were made for."
        )
    judge = suite.make_judge(list(problems), box, cache.path.parent if cache else None)
    judgements: list[Judgement | None] = [cache.get(suite, a) if cache else None for a in submissions]
    groups: dict[object, list[int]] = {}
    for place, submission in enumerate(submissions):
        if judgements[place] is None:
            groups.setdefault(submission if cache else place, []).append(place)
    work = list(groups.values())
    work.sort(key=lambda places: -judge.cost(by_id[submissions[places[0]].task]))
    left = sum(map(len, work))
    with ThreadPoolExecutor(max_workers=2 * (workers or os.cpu_count() or 1)) as threads:
        started = {
            threads.submit(judge.judge, by_id[submissions[places[0]].task], submissions[places[0]].text): places
            for places in work
        }
        try:
            for done in as_completed(started):
                judgement = done.result()
                for place in started[done]:
                    judgements[place] = judgement
                if cache:
                    cache.put(suite, submissions[started[done][0]], judgement)
                left -= len(started[done])
                tick(left)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [judgement for judgement in judgements if judgement is not None]


class JudgementCache:
    """Judgements by (suite, rules, task, text), in a file that only grows; a torn last line is dropped."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self._known: dict[str, Judgement] = {}
        self.hits = 0
        for number, line in enumerate(read_whole_lines(path), 1):
            try:
                row = json.loads(line)
                self._known[str(row["key"])] = Judgement(dict(row["verdict"]), row.get("failed_test"))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise EvaluationError(
                    f"{path}, line {number}: no judgement ({why(error)}). Remove that line, or the file: what is "
                    "lacking is judged anew."
                ) from None

    def get(self, suite: Suite, submission: Submission) -> Judgement | None:
        known = self._known.get(_key(suite, submission))
        if known is not None and set(suite.levels) - known.statuses.keys():
            return None
        self.hits += known is not None
        return known

    def put(self, suite: Suite, submission: Submission, judgement: Judgement) -> None:
        if UNSTEADY & set(judgement.statuses.values()):
            return
        key = _key(suite, submission)
        with self._lock:
            self._known[key] = judgement
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                row = {"key": key, "verdict": dict(judgement.statuses), "failed_test": judgement.failed_test}
                file.write(json.dumps(row) + "\n")


def _key(suite: Suite, submission: Submission) -> str:
    text = "\0".join((RULES, suite.name, submission.task, submission.text))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
