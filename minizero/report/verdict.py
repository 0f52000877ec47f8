"""What a run showed, in words that a newcomer understands and a careful reader can check.

Reading order: Change, Alarm and Findings (the data), judge, closing_words (the console's last lines); then where the
numbers come from, and how the sentences are chosen (claims.py: what an interval allows). What to try next: suggest.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from minizero.formatting import percent, points, times
from minizero.metrics import alarms
from minizero.report.claims import FEW, Direction, direction, ends, place, with_interval
from minizero.report.pages import text
from minizero.report.suggest import Suggestion, command, suggest
from minizero.selfplay.run_data import RunData, read_run
from minizero.selfplay.validation import Validation, check_pairing
from minizero.statistics import Interval, paired_bootstrap
from minizero.types import EvaluationError, TaskType

Kind = Direction | Literal["unmeasured"]
RESAMPLES = 4000  # moves an end of an interval by less than a tenth of its width; eight intervals in half a second
OFTEN = 0.25  # share of steps from which an alarm is worth a line on the console
HEADLINES: dict[Kind, str] = {
    "better": "The model got better at tasks it never trained on.",
    "worse": "The model got worse at tasks it never trained on.",
    "unclear": "No change can be told from noise.",
    "unmeasured": "Nothing was measured on held-out tasks.",
}


@dataclass(frozen=True, slots=True)
class Change:
    """Held-out skill before and after, in fractions, and the paired difference with its 95 % interval."""

    label: str  # "all" or a task type
    tasks: int
    before: float
    after: float
    difference: Interval

    @property
    def kind(self) -> Direction:
        """What it shows; unclear where the tasks are too few, whatever the interval."""
        return direction(self.difference, self.tasks)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of metrics.py and in how many of the run's steps it was raised."""

    name: str
    words: str
    steps: int
    of: int

    @property
    def is_often(self) -> bool:
        return self.steps >= OFTEN * self.of and self.steps > 1

    def __str__(self) -> str:
        return f"{self.name}, in {self.steps} of {self.of} steps: {self.words}"


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdict on a run. `solve_rate` and `greedy` begin with all tasks, then one change per task type."""

    kind: Kind
    headline: str
    sentences: tuple[str, ...]
    solve_rate: tuple[Change, ...]
    greedy: tuple[Change, ...]
    samples: int
    alarms: tuple[Alarm, ...]
    cautions: tuple[str, ...]
    suggestion: Suggestion


def judge(run: RunData) -> Findings:
    """Judge a run, finished or not, by its first and last validation."""
    solve_rate, greedy, samples, problem = _changes(run.validations)
    main = solve_rate or greedy
    kind: Kind = main[0].kind if main else "unmeasured"
    rows = run.step_rows
    counts = Counter(alarm for row in rows for alarm in alarms(row).items())
    raised = tuple(Alarm(name, words, steps, len(rows)) for (name, words), steps in counts.most_common())
    is_collapsing = any(alarm.is_often and "collapse" in alarm.words for alarm in raised)
    return Findings(
        kind, HEADLINES[kind], tuple(_sentences(run, solve_rate, greedy, samples)), solve_rate, greedy, samples, raised,
        (*run.problems, *([problem] if problem else []), *_cautions(run, main)),
        suggest(run, is_better=kind == "better", is_falling=kind == "worse" or (is_collapsing and kind != "better")),
    )  # fmt: skip


def closing_words(path: Path) -> str:
    """What the console prints when a run ends: the verdict, the numbers, warnings, where to look, what to try next.

    For a terminal of 80 columns. Raises RunError where there is no run.
    """
    return text("closing.txt", verdict=judge(read_run(path)), path=path, replay=command("replay", run=path))


# -- numbers ----------------------------------------------------------------------------------------------------------


def _changes(validations: Sequence[Validation]) -> tuple[tuple[Change, ...], tuple[Change, ...], int, str]:
    """Changes of solve rate and of greedy answers from first to last validation; samples; what stands against it."""
    if len(validations) < 2:
        return (), (), 0, ""
    before, after = validations[0], validations[-1]
    try:
        check_pairing(before, after)
    except EvaluationError as error:
        return (), (), 0, str(error)
    types = [str(row["type"]) for row in before.rows]
    greedy = _by_type(types, [float(r["greedy"]) for r in before.rows], [float(r["greedy"]) for r in after.rows])
    if not (before.samples and after.samples):
        return (), greedy, 0, ""
    return _by_type(types, before.solve_rates(), after.solve_rates()), greedy, after.samples, ""


def _by_type(types: Sequence[str], before: Sequence[float], after: Sequence[float]) -> tuple[Change, ...]:
    groups = {"all": list(range(len(types)))}
    groups |= {kind.value: [i for i, name in enumerate(types) if name == kind.value] for kind in TaskType}
    changes = []
    for label, places in ((label, places) for label, places in groups.items() if places):
        ours, theirs = [before[i] for i in places], [after[i] for i in places]
        difference = paired_bootstrap(ours, theirs, np.random.default_rng(0), resamples=RESAMPLES)
        changes.append(Change(label, len(places), sum(ours) / len(ours), sum(theirs) / len(theirs), difference))
    return tuple(changes)


# -- words ------------------------------------------------------------------------------------------------------------


def _sentences(run: RunData, solve_rate: Sequence[Change], greedy: Sequence[Change], samples: int) -> Iterator[str]:
    steps = f"{run.done} step{'' if run.done == 1 else 's'} of self-play"
    if solve_rate or greedy:
        main = (solve_rate or greedy)[0]
        step = run.validations[-1].step
        after_steps = f"After {steps}" if step == run.done else f"After {step} of {steps}"
        how = f"answering {times(samples)} at temperature 1" if solve_rate else "with its single most likely answer"
        moved = {"better": "up from", "worse": "down from", "unclear": "before it was"}[main.kind]
        yield (
            f"{after_steps} the model solves {percent(main.after)} of {main.tasks} held-out tasks ({how}), {moved} "
            f"{percent(main.before)}: {points(100 * main.difference.value)} points, 95 % interval "
            f"{ends(main.difference)}."
        )
        yield _meaning(main, greedy[0] if solve_rate else None)
        return
    if run.validations:
        when = f"step {run.validations[-1].step}" if run.validations[-1].step else "the start"
        only = f"held-out tasks were asked only at {when}, so there is nothing to compare yet"
        yield f"The run has {steps} so far, and {only}."
    else:
        yield f"The run made {steps} without held-out tasks (eval.tasks), so nobody can say what was learned."
    yield "The solve rate on the model's own tasks is no evidence of skill, because the proposer chooses those tasks."


def _meaning(main: Change, greedy: Change | None) -> str:
    """What the interval says, and whether the most likely answers agree with the sampled ones."""
    lies = f"The interval {place(main.difference)}"
    if main.tasks < FEW:
        few = f"{main.tasks} tasks are too few to believe it (fewer than {FEW})"
        return f"{lies}, but {few}, so no change can be told from noise; more held-out tasks would say more."
    if main.kind == "unclear":
        return f"{lies}, so no change can be told from noise; more steps, or more held-out tasks, would say more."
    if main.kind == "worse":
        return f"{lies}: the model unlearned, whatever its solve rate on its own tasks says."
    lies = f"{lies}, so this is more than luck with these tasks"
    if greedy is None:
        return f"{lies}."
    best = (
        f"its single most likely answer is right for {percent(greedy.after)} of them, before for "
        f"{percent(greedy.before)} ({with_interval(greedy.difference)})"
    )
    if greedy.kind == "better":
        return f"{lies}; {best}, so it does not only choose more surely among answers it knew."
    if greedy.kind == "worse":
        return f"{lies}, but {best}: it chooses more surely and knows less."
    return f"{lies}; {best}, so how much of the gain is only a surer choice among answers it knew stays open."


def _cautions(run: RunData, measured: Sequence[Change]) -> Iterator[str]:
    """What a reader must know before believing the numbers."""
    config = run.config
    if run.total is not None and not run.is_finished:
        yield f"The run is not finished: step {run.done} of {run.total}."
    if config and config.selfplay.shuffle_rewards:
        yield "This run is a control: its rewards were shuffled, so nothing useful could be learned from them."
    if config and config.optim.freeze:
        yield "This run is a control: the policy was never moved (optim.freeze), so every change is noise."
    if run.manifest.get("unsafe"):
        yield "unsafe: model-written programs ran without a real sandbox (sandbox.unsafe)."
    if measured and measured[0].tasks < FEW:
        yield f"{measured[0].tasks} held-out tasks are too few to believe an interval (eval.limit)."
