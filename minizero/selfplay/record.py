"""How often each task was tried and solved so far: what gating and replay ask (selfplay.gate, buffer.replay).

Reading order: Record. It is part of a run's state: tasks.jsonl has the solve rates of admission alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from minizero.types import AnswerOutcome, Task


class Record:
    """Counts of all answers and of right answers by task id, over the whole run."""

    def __init__(self, counts: Mapping[str, Sequence[int]] | None = None) -> None:
        self._counts = {name: (int(tried), int(solved)) for name, (tried, solved) in (counts or {}).items()}

    def note(self, outcomes: Iterable[AnswerOutcome]) -> None:
        """Count these answers too."""
        for outcome in outcomes:
            tried, solved = self._counts.get(outcome.task.id, (0, 0))
            self._counts[outcome.task.id] = tried + 1, solved + outcome.verdict.correct

    def is_solved(self, task: Task) -> bool:
        """Whether any answer was right so far."""
        return self._counts.get(task.id, (0, 0))[1] > 0

    def rarely_solved(self, tasks: Iterable[Task], most: float) -> list[Task]:
        """Those that were solved, and in at most this share of the answers.

        >>> Record({"a": [8, 1], "b": [8, 0], "c": [8, 4]})._rate("a")
        0.125
        """
        return [task for task in tasks if 0 < self._rate(task.id) <= most]

    def _rate(self, name: str) -> float:
        tried, solved = self._counts.get(name, (0, 0))
        return solved / tried if tried else 0.0

    def to_json(self) -> dict[str, tuple[int, int]]:
        """Task id -> answers, right ones; `Record` reads it back."""
        return dict(self._counts)
