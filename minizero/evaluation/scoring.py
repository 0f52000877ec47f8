"""Score samples: each (task, answer) is judged once, the longest tasks first, and verdicts are remembered on disk.

Reading order: Answer, score, VerdictCache. Judging happens in threads, which wait for the sandbox's processes.
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

from minizero.evaluation.problems import Problem, Suite, Verdict
from minizero.evaluation.store import read_whole_lines
from minizero.types import EvaluationError
from sandbox import Sandbox

RULES = "2"  # raise when a change of the judges can change a verdict: remembered ones are then judged anew
UNSTEADY = {"timeout", "memory"}  # may be the machine's doing, so they are not remembered


@dataclass(frozen=True, slots=True)
class Answer:
    """What one sample comes down to: a task and the program (or value) that was read from the text."""

    task: str
    text: str


def score(
    suite: Suite,
    problems: Sequence[Problem],
    answers: Sequence[Answer],
    box: Sandbox,
    *,
    cache: VerdictCache | None = None,
    workers: int | None = None,
    tick: Callable[[int], None] = lambda left: None,
) -> list[Verdict]:
    """A verdict for each answer, in their order.

    With a cache equal answers are judged once, now and in later runs; without one each is judged by itself.
    Raises EvaluationError for an answer to a task that the suite does not have.
    """
    by_id = {problem.id: problem for problem in problems}
    foreign = sorted({answer.task for answer in answers} - by_id.keys())
    if foreign:
        raise EvaluationError(
            f"{len(foreign)} tasks of the samples are not in {suite.name}, for example {foreign[0]}. "
            "Score them with the suite that they were made for."
        )
    judge = suite.make_judge(list(problems), box, cache.path.parent if cache else None)
    verdicts: list[Verdict | None] = [cache.get(suite, a) if cache else None for a in answers]
    groups: dict[object, list[int]] = {}
    for place, answer in enumerate(answers):
        if verdicts[place] is None:
            groups.setdefault(answer if cache else place, []).append(place)
    work = list(groups.values())
    work.sort(key=lambda places: -judge.cost(by_id[answers[places[0]].task]))
    left = sum(map(len, work))
    with ThreadPoolExecutor(max_workers=2 * (workers or os.cpu_count() or 1)) as threads:
        started = {
            threads.submit(judge.judge, by_id[answers[places[0]].task], answers[places[0]].text): places
            for places in work
        }
        try:
            for done in as_completed(started):
                verdict = done.result()
                for place in started[done]:
                    verdicts[place] = verdict
                if cache:
                    cache.put(suite, answers[started[done][0]], verdict)
                left -= len(started[done])
                tick(left)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [verdict for verdict in verdicts if verdict is not None]


class VerdictCache:
    """Verdicts by (suite, rules, task, answer), in a file that only grows; a torn last line is dropped."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self._known: dict[str, Verdict] = {}
        self.hits = 0
        for line in read_whole_lines(path):
            row = json.loads(line)
            self._known[row["key"]] = Verdict(row["verdict"], row.get("failed_test"))

    def get(self, suite: Suite, answer: Answer) -> Verdict | None:
        found = self._known.get(_key(suite, answer))
        self.hits += found is not None
        return found

    def put(self, suite: Suite, answer: Answer, verdict: Verdict) -> None:
        if UNSTEADY & set(verdict.statuses.values()):
            return
        key = _key(suite, answer)
        with self._lock:
            self._known[key] = verdict
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                row = {"key": key, "verdict": dict(verdict.statuses), "failed_test": verdict.failed_test}
                file.write(json.dumps(row) + "\n")


def _key(suite: Suite, answer: Answer) -> str:
    text = "\0".join((RULES, suite.name, answer.task, answer.text))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
