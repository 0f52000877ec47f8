"""The task buffers, one per task type: what is shown as examples and what is drawn to be solved.

Reading order: TaskBuffer (draw, examples, add), then the JSON Lines file behind it (write, load), then counts for
rewards. A buffer changes only in `add`, at a step's end; everything random comes from the generator that is passed in.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal

from minizero.config import Config
from minizero.rewards import diversity
from minizero.tasks.admission import task_key
from minizero.tasks.composites import renamed
from minizero.tasks.rows import task_from_json, task_to_json
from minizero.types import CheckpointError, Task, TaskType

Key = Callable[[Task], str]
Entry = tuple[Task, float | None]  # a task and its solve rate (None: not measured, as for seed tasks)


class TaskBuffer:
    """Tasks by type, oldest first, at most `cap` of each. `key` names what counts as the same task."""

    def __init__(
        self,
        key: Key,
        *,
        cap: int = 16384,
        evict: Literal["newest", "oldest"] = "newest",
        keep: Literal["all", "non_one", "non_extremes"] = "all",
        memory: int = 0,
    ) -> None:
        self._key, self._cap, self._evict, self._keep = key, cap, evict, keep
        self._shelves = {kind: _Shelf() for kind in TaskType}
        self._inputs, self._outputs, self._errors = diversity.Counts(), diversity.Counts(), diversity.Counts()
        self._skeletons: Counter[str] = Counter()
        self._memory = memory
        # Of the newest programs of each type: between types the order is not that of arrival once a run is resumed.
        self._last: dict[TaskType, deque[diversity.Shape]] = {kind: deque(maxlen=memory) for kind in TaskType}

    @classmethod
    def of(cls, config: Config) -> TaskBuffer:
        """An empty buffer as the config describes it."""
        settings, by = config.buffer, config.admission.duplicate_by
        return cls(
            lambda task: task_key(task, by),
            cap=settings.cap,
            evict=settings.evict,
            keep=settings.keep,
            memory=settings.memory,
        )

    def __len__(self) -> int:
        return sum(len(shelf.tasks) for shelf in self._shelves.values())

    def tasks(self, task_type: TaskType) -> Sequence[Task]:
        """All tasks of a type, oldest first. Not a copy: do not change it."""
        return self._shelves[task_type].tasks

    def knows(self, task_type: TaskType, key: str) -> bool:
        """Whether a task of this type with this key is in the buffer."""
        return key in self._shelves[task_type].keys

    def add(self, entries: Iterable[Entry]) -> list[Entry]:
        """Append tasks whose solve rate passes the `keep` filter; returns those that were kept on arrival.

        A full buffer drops the newest (AZR keeps the oldest 16,384) or the oldest.
        """
        kept = [(task, rate) for task, rate in entries if _passes(self._keep, rate)]
        stored: list[Entry] = []
        for kind, group in itertools.groupby(sorted(kept, key=_by_type), key=lambda entry: entry[0].type):
            shelf, arrivals = self._shelves[kind], list(group)
            if self._evict == "newest":
                arrivals = arrivals[: max(0, self._cap - len(shelf.tasks))]
            shelf.append([task for task, _ in arrivals], self._key)
            gone = shelf.drop_oldest(len(shelf.tasks) - self._cap, self._key)
            for task, _ in arrivals:
                self._count(task, +1)
                if self._memory:
                    self._last[kind].append(diversity.shape_of(task.own_program))
            for task in gone:
                self._count(task, -1)
            stored += arrivals
        return stored

    def draw(
        self, task_type: TaskType, count: int, rng: random.Random, *, step: int, mix: str = "max_new", window: int = 1
    ) -> list[Task]:
        """`count` tasks to solve at `step`, by one of AZR's mixing strategies (docs/algorithm.md 4); [] from an empty
        buffer.

        max_new: the tasks admitted in the last `window` steps first, without replacement; the rest from the whole
        buffer. half_new: at most half of them new. uniform: the whole buffer. step: weight proportional to the step of
        admission, so that seed tasks (step 0) are drawn only while there is nothing else.
        """
        shelf = self._shelves[task_type]
        if not shelf.tasks or count <= 0:
            return []
        if mix == "step":
            return [shelf.by_recency(rng, first_weight=0) for _ in range(count)]
        fresh: list[Task] = []
        if mix in ("max_new", "half_new"):
            new = shelf.since(step - window)
            fresh = rng.sample(new, min(len(new), count if mix == "max_new" else count // 2))
        rest = count - len(fresh)
        whole = shelf.tasks
        fill = rng.sample(whole, rest) if rest <= len(whole) else [*whole, *rng.choices(whole, k=rest - len(whole))]
        return fresh + fill

    def examples(
        self, task_type: TaskType, count: int, rng: random.Random, *, sampling: str = "uniform"
    ) -> tuple[Task, ...]:
        """Up to `count` different tasks to show in a propose prompt.

        All but induction show their own kind. An induction proposal is about one program, drawn from the union
        of the other two buffers, whatever `count` is.
        """
        if task_type is TaskType.INDUCTION:
            shelves = [self._shelves[kind] for kind in (TaskType.ABDUCTION, TaskType.DEDUCTION)]
            sizes = [len(shelf.tasks) for shelf in shelves]
            if not sum(sizes):
                return ()
            (shelf,) = rng.choices(shelves, weights=sizes)
            return (shelf.pick(rng, sampling),)
        shelf = self._shelves[task_type]
        count = min(count, len(shelf.tasks))
        if sampling == "uniform":
            return tuple(rng.sample(shelf.tasks, count))
        chosen: dict[str, Task] = {}
        for _ in range(20 * count):
            if len(chosen) == count:
                break
            task = shelf.by_recency(rng, first_weight=1)
            chosen.setdefault(task.id, task)
        return tuple(chosen.values())

    def composites(
        self, task_type: TaskType, count: int, rng: random.Random, *, sampling: str = "uniform"
    ) -> tuple[str, ...]:
        """`count` programs of this type as g_0, g_1, ..., or () when so many were not found in 20 draws for each."""
        shelf = self._shelves[task_type]
        draws = (shelf.pick(rng, sampling) for _ in range(20 * count)) if shelf.tasks else ()
        found = renamed(draws, count)
        return found if len(found) == count else ()

    def describe(self, task: Task) -> dict[str, float]:
        """What rewards may ask about a task that is not in the buffer yet; the keys are explained in
        rewards/diversity.py."""
        known = {diversity.SAME_SKELETON: float(self._skeletons[diversity.skeleton(task.own_program)])}
        if self._memory:
            mine, others = diversity.shape_of(task.own_program), itertools.chain(*self._last.values())
            known[diversity.MOST_ALIKE] = max((diversity.likeness(mine, other) for other in others), default=0.0)
        if task.type is not TaskType.INDUCTION:
            is_input = task.type is TaskType.ABDUCTION
            counts, text = (self._inputs, task.input) if is_input else (self._outputs_of(task), task.output)
            return known | {
                diversity.ANSWER_SURPRISE: counts.surprise(text),
                diversity.ANSWER_SURPRISE_BY_TYPE: counts.surprise_by_type(text),
            }
        given, answers = [pair.input for pair in task.pairs], [pair.output for pair in task.pairs]
        return known | {
            diversity.INPUT_SURPRISE: fmean(map(self._inputs.surprise, given)),
            diversity.INPUT_SURPRISE_BY_TYPE: fmean(map(self._inputs.surprise_by_type, given)),
            diversity.OUTPUT_SURPRISE: fmean(map(self._outputs.surprise, answers)),
            diversity.OUTPUT_SURPRISE_BY_TYPE: fmean(map(self._outputs.surprise_by_type, answers)),
        }

    def _count(self, task: Task, by: int) -> None:
        """Keep what `describe` answers from. As in AZR, the counts of texts are shared by all task types; names of
        exceptions are counted apart."""
        for pair in task.pairs:
            self._inputs.add(pair.input, by)
            self._outputs_of(task).add(pair.output, by)
        shape = diversity.skeleton(task.own_program)
        self._skeletons[shape] += by
        if not self._skeletons[shape]:
            del self._skeletons[shape]

    def _outputs_of(self, task: Task) -> diversity.Counts:
        return self._errors if task.type is TaskType.ERROR else self._outputs


class _Shelf:
    """The tasks of one type, with what makes drawing fast: keys and cumulative steps."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.keys: Counter[str] = Counter()
        self._steps: list[int] = []
        self._sums: list[int] = []  # running sum of steps, for weighted draws in logarithmic time
        self._gone = 0  # sum of the steps of dropped tasks

    def append(self, tasks: Sequence[Task], key: Key) -> None:
        total = self._sums[-1] if self._sums else self._gone
        for task in tasks:
            total += task.step
            self._sums.append(total)
            self._steps.append(task.step)
            self._count(task, key, +1)
        self.tasks.extend(tasks)

    def drop_oldest(self, count: int, key: Key) -> list[Task]:
        """Forget the first `count` tasks and return them."""
        if count <= 0:
            return []
        gone = self.tasks[:count]
        for task in gone:
            self._count(task, key, -1)
        self._gone = self._sums[count - 1]
        del self.tasks[:count], self._steps[:count], self._sums[:count]
        return gone

    def since(self, step: int) -> list[Task]:
        """Tasks admitted at `step` or later. Steps never decrease along the shelf."""
        return self.tasks[bisect.bisect_left(self._steps, step) :]

    def pick(self, rng: random.Random, sampling: str) -> Task:
        return rng.choice(self.tasks) if sampling == "uniform" else self.by_recency(rng, first_weight=1)

    def by_recency(self, rng: random.Random, *, first_weight: int) -> Task:
        """One task with weight step + first_weight."""
        size = len(self.tasks)
        total = self._sums[-1] - self._gone
        if not first_weight and not total:
            return rng.choice(self.tasks)
        if rng.random() * (total + first_weight * size) < first_weight * size:
            return rng.choice(
                self.tasks
            )  # the mixture of a uniform part and a part by step has weight step + first_weight
        return self.tasks[bisect.bisect_right(self._sums, self._gone + rng.randrange(total))]

    def _count(self, task: Task, key: Key, by: int) -> None:
        name = key(task)
        self.keys[name] += by
        if not self.keys[name]:
            del self.keys[name]


def _by_type(entry: Entry) -> str:
    return entry[0].type.value


def _passes(keep: str, rate: float | None) -> bool:
    if rate is None or keep == "all":
        return True
    return rate < 1 and (keep == "non_one" or rate > 0)


def entry_line(task: Task, solve_rate: float | None) -> str:
    """One line of tasks.jsonl."""
    return json.dumps(task_to_json(task, solve_rate), ensure_ascii=True) + "\n"


def read_entries(path: Path, size: int | None = None) -> list[Entry]:
    """The entries in the first `size` bytes of a tasks.jsonl, or in all its whole lines.

    Raises CheckpointError when the file is shorter or damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read() if size is None else file.read(size)
        if size is None:
            data = data[: data.rfind(b"\n") + 1]
        elif len(data) < size:
            raise ValueError(f"{len(data)} bytes of {size}")
        lines = data.decode("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: the task buffer cannot be read back ({error}).") from error
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            entries.append((task_from_json(row), row.get("solve_rate")))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{path}, line {number}: the task buffer cannot be read back ({type(error).__name__}: {error}). "
                "Expected a task. A new run can start from a checkpoint of this one, with --from-checkpoint."
            ) from error
    return entries
