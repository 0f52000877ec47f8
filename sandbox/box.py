"""Sandbox, the public face: jobs go in from any thread, results come back as data.

Reading order: Sandbox's public methods in the order of use, then the helpers below; pool.py does the work.
"""

import importlib.util
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sandbox import addresses, codec
from sandbox.host import Setup
from sandbox.layers import LAYERS
from sandbox.modules import needs_more
from sandbox.orders import may_depend_on_addresses, may_depend_on_order
from sandbox.pool import Order, Pool
from sandbox.report import Report
from sandbox.text import parse_arguments, render
from sandbox.types import Determinism, Job, Limits, Result, SandboxError, Status

T = TypeVar("T")

ROUNDS: Final = addresses.LAYOUTS
"""How often each of the later processes goes through the inputs of a program that may depend on addresses."""
ROUNDED: Final = 3
"""So many kinds of zygotes check addresses; each has as many processes as there are workers."""
HASH_SEEDS: Final = 13
"""So many kinds of zygotes in all, of which each hashes strings by a seed of its own."""
COMPARABLE: Final = (Status.OK, Status.ERROR)
"""What a program ends with on its own account; other ends depend on load or limits."""


class Sandbox:
    """Runs programs that nobody has read. Use as a context manager; every method may be called from any thread.

    workers: jobs that run at a time on as many cores (there are twice as many zygotes, so that stuck jobs hold up
    no others). packages: installed packages, such as numpy, that programs may import. unsafe: go on where the machine
    lacks a protection that untrusted code needs. without: optional layers to leave out, for tests.
    Raises Unprotected when protection is missing or the self-test fails, SandboxError when no zygote starts.
    """

    def __init__(
        self,
        workers: int = 2,
        limits: Limits | None = None,
        *,
        unsafe: bool = False,
        packages: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> None:
        if workers < 1:
            raise ValueError(f"Sandbox(workers={workers}): expected at least 1")
        for name in without:
            if name not in LAYERS:
                raise ValueError(f"Sandbox(without=...): no layer {name!r}; there are {', '.join(LAYERS)}")
        self.limits = limits or Limits()
        self._workers = workers
        self._setup = Setup(0, "training", True, tuple(packages), _package_paths(packages), tuple(without), unsafe)
        self._pools: dict[tuple[str, bool, int], Pool] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._counts: Counter[str] = Counter()
        self.report = Report.from_greeting(self._pool("training", True, 0).hello(), unsafe)
        """What protects the jobs of this sandbox, as found by the self-test."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def run(self, job: Job | str, args: str | None = None) -> Result:
        """Run one job and wait for it: run(Job(...)), or run(program, args) for the function f."""
        if isinstance(job, str):
            job = Job(job, args=args)
        return self.submit(job).result()

    def submit(self, job: Job) -> Future[Result]:
        """Queue one job. Arguments that are not values give a Result with status error, not an exception."""
        return _single(self._enqueue(job, _inputs(job), variant=0))

    def run_many(self, program: str, inputs: Sequence[str], **fields: Any) -> list[Result]:
        """Run one program on many argument texts in one process; fields are Job's (entry, fresh_globals, ...)."""
        return self.submit_many(program, inputs, **fields).result()

    def submit_many(self, program: str, inputs: Sequence[str], **fields: Any) -> Future[list[Result]]:
        """As run_many, at once. Results come in the order of the inputs."""
        return self._enqueue(Job(program, args="", **fields), list(inputs), variant=0)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Result]]:
        """Yield (index, result) as jobs finish. Takes jobs from the iterable only as fast as they can be queued."""
        waiting: dict[Future[Result], int] = {}
        for index, job in enumerate(jobs):
            waiting[self.submit(job)] = index
            if len(waiting) >= self._workers * 8:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)

    def check_deterministic(self, job: Job) -> Determinism:
        """Run a job in differently started processes and compare: status, value, error type.

        Two runs; three for a program that may depend on the order of a set or on the addresses of objects, the later
        two of many rounds with other addresses in each, since two orders often agree by accident; thirteen for one with
        a set, whose strings come in the same order under so many seeds once in four thousand times.
        """
        return self.submit_deterministic(job).result()

    def submit_deterministic(self, job: Job) -> Future[Determinism]:
        """As check_deterministic, at once."""
        return _single(self._check_deterministic(job, _inputs(job)))

    def submit_deterministic_many(
        self, program: str, inputs: Sequence[str], **fields: Any
    ) -> Future[list[Determinism]]:
        """check_deterministic for each of many inputs, with one process for all of them in each run.

        The later runs take the inputs in reverse, so that a result which depends on the inputs before it shows too.
        """
        return self._check_deterministic(Job(program, args="", **fields), list(inputs))

    def _check_deterministic(self, job: Job, inputs: list[str]) -> Future[list[Determinism]]:
        """Run after run in other zygotes, until every input has shown a difference or all runs are made."""
        verdict: Future[list[Determinism]] = Future()
        verdict.set_running_or_notify_cancel()
        count = max(1, len(inputs))  # a script with stdin has no argument list, and one result
        again = _other_order(count)

        def compare(
            firsts: list[Result] | None, found: list[str], left: tuple[tuple[int, int], ...], done: Future[list[Result]]
        ) -> None:
            try:
                results = done.result()
                order = range(count) if firsts is None else again
                firsts = results if firsts is None else firsts
                for start in range(0, len(results), count):
                    found = _differences(firsts, results[start : start + count], order, found)
                if all(found) or not left:
                    verdict.set_result(
                        [Determinism(r, not words, words) for r, words in zip(firsts, found, strict=True)]
                    )
                    return
                (variant, rounds), *rest = left
                texts = [inputs[at] for at in again if inputs] * rounds
                following = self._enqueue(job, texts, variant, count if rounds > 1 else 0)
                following.add_done_callback(partial(compare, firsts, found, tuple(rest)))
            except Exception as error:
                verdict.set_exception(error)

        started = self._enqueue(job, inputs, 0)
        started.add_done_callback(partial(compare, None, [""] * count, _later_runs(job)))
        return verdict

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the start: jobs, results by status, restarted_zygotes."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """End every process of the sandbox. Jobs still queued fail with SandboxError."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()

    def _enqueue(self, job: Job, inputs: list[str], variant: int, shift_every: int = 0) -> Future[list[Result]]:
        order = Order(job, [_parsed(text) for text in inputs], job.limits or self.limits, shift_every)
        at_hand = (
            job.imports == "training" and job.digest_above is None and not needs_more(job.program, self._setup.packages)
        )
        self._pool(job.imports, at_hand, variant).put(order)
        return order.future

    def _pool(self, imports: str, at_hand: bool, variant: int) -> Pool:
        """The pool of one kind of zygotes, started when it is first needed."""
        kind = imports, at_hand, variant
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            if kind not in self._pools:
                setup = replace(self._setup, imports=imports, at_hand=at_hand, variant=variant)
                self._pools[kind] = Pool(
                    setup,
                    self._workers * (1 if variant else 2) if variant < ROUNDED else 1,
                    self._count,
                    lambda order: self._pool(imports, False, variant).put(order),
                )
            return self._pools[kind]

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


def _single(many: Future[list[T]]) -> Future[T]:
    """What comes first in a list that is yet to come, or its exception."""
    single: Future[T] = Future()
    single.set_running_or_notify_cancel()  # the job cannot be called back

    def unpack(done: Future[list[T]]) -> None:
        if done.exception() is not None:
            single.set_exception(done.exception())
        else:
            single.set_result(done.result()[0])

    many.add_done_callback(unpack)
    return single


def _parsed(text: str) -> bytes | Result:
    try:
        return codec.encode(parse_arguments(text), max_bytes=1 << 30, max_depth=codec.MAX_DEPTH + 2)
    except codec.InvalidValue as error:
        return Result(Status.ERROR, error_type="InvalidValue", message=f"the arguments are not values: {error}")


def _inputs(job: Job) -> list[str]:
    if job.args is None and job.stdin is None:
        raise ValueError("Job: expected args (to call entry) or stdin (to run a script), saw neither")
    return [] if job.args is None else [job.args]


def _later_runs(job: Job) -> tuple[tuple[int, int], ...]:
    """(variant, rounds) of each process after the first: another one for all programs, a third for those that may
    depend on the order of a set or on the addresses of objects. These go through their inputs several times there, with
    other addresses in each round: a set may hold anything that is known by its address, also an exception or a nan.
    Strings are placed by the seed of the process alone, so what names a set goes on to as many seeds as it takes."""
    is_ordered = may_depend_on_order(job.program)
    if not (is_ordered or may_depend_on_addresses(job.program)):
        return ((1, 1),)
    rounds = ROUNDS if job.args is not None else 1
    more = range(ROUNDED, HASH_SEEDS) if is_ordered else ()
    return (*((variant, rounds) for variant in range(1, ROUNDED)), *((variant, 1) for variant in more))


def _differences(firsts: list[Result], results: list[Result], order: Sequence[int], found: list[str]) -> list[str]:
    """What differs, input by input, where nothing was found yet; the results stand in the given order of inputs."""
    in_order = [result for _, result in sorted(zip(order, results, strict=True), key=lambda row: row[0])]
    return [old or _difference(*pair) for old, *pair in zip(found, firsts, in_order, strict=True)]


def _other_order(count: int) -> list[int]:
    """In reverse; of an odd number all but the last, or each would have an even number of others before it twice."""
    return [*range(count - 2, -1, -1), count - 1] if count % 2 else [*range(count - 1, -1, -1)]


def _difference(one: Result, other: Result) -> str:
    """In words, how the second run's outcome differs from the first's; empty when it does not."""
    if one.status not in COMPARABLE:
        return f"nothing to compare: {one.status}"
    if one.status is not other.status:
        return f"status: {one.status}, then {other.status}"
    if one.status is Status.ERROR and one.error_type != other.error_type:
        return f"error: {one.error_type}, then {other.error_type}"
    if one.digest != other.digest:
        return "value: two digests that differ"
    if not codec.equal(one.value, other.value):
        return f"value: {_shown(one.value)}, then {_shown(other.value)}"
    return ""


def _shown(value: object) -> str:
    text = render(value, max_bytes=1 << 30)  # not repr, which refuses long integers
    return text if len(text) <= 100 else text[:100] + "..."


def _finished(waiting: dict[Future[Result], int]) -> list[tuple[int, Result]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    return sorted((waiting.pop(future), future.result()) for future in done)


def _package_paths(packages: Sequence[str]) -> tuple[str, ...]:
    paths = []
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SandboxError(f"packages={list(packages)}: {name} is not installed here; run  pip install {name}")
        paths.append(str(Path(spec.origin).parent.parent))
    return tuple(dict.fromkeys(paths))
