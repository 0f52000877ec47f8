"""What a reader must know before comparing the rows of a set.

Reading order: check_tasks (what cannot be compared at all), cautions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from minizero.ablate.plans import Schedule
from minizero.ablate.sets import CONTROLS, DEFAULT, FROZEN
from minizero.ablate.summary import RunSummary
from minizero.types import EvaluationError


def check_tasks(summaries: Sequence[RunSummary]) -> None:
    """Raise EvaluationError when runs asked different held-out tasks."""
    asked = [{(end.tasks, end.samples) for end in (summary.before, summary.after)} for summary in summaries]
    kinds = set().union(*asked)
    if len(kinds) > 1:
        odd = sorted({summary.name for summary, mine in zip(summaries, asked, strict=True) if mine != asked[0]})
        raise EvaluationError(
            f"the runs asked {len(kinds)} different sets of held-out tasks, so they cannot stand in one table. "
            f"Unlike {summaries[0].name}: {', '.join(odd)}. Remove their summaries and repeat the command."
        )


def cautions(
    groups: Mapping[str, Sequence[RunSummary]], plans: Sequence[Schedule] = (), stopped: Sequence[str] = ()
) -> Iterator[str]:
    """Sentences about runs that are missing or differ; `groups`: runs by variant; `stopped`: those decided early."""
    every = [run for runs in groups.values() for run in runs]
    if len({run.model_digest for run in every}) > 1:
        yield "The runs began from different weights, so rows differ for another reason than their settings."
    if len({run.steps for run in every}) > 1:
        yield "The runs have different numbers of steps."
    counts = {name: len(runs) for name, runs in groups.items()}
    fewest = sorted(name for name, n in counts.items() if n < max(counts.values()) and name not in stopped)
    if fewest:
        yield f"Not every row has all seeds yet; fewer: {', '.join(fewest)}."
    if max(counts.values(), default=0) == 1:
        yield "One seed a row: intervals are over tasks only and say nothing of another seed."
    missing = [name for name in (DEFAULT, *CONTROLS) if name not in groups]
    if missing:
        yield f"Not there yet: {', '.join(missing)}; without them the table has nothing to be read against."
    if any(run.before.correct != run.after.correct for run in groups.get(FROZEN, ())):
        yield "A frozen run answered differently before and after: something but learning moves the numbers."
    commits = {run.commit for run in every}
    if len(commits) > 1:
        yield f"The runs were made by {len(commits)} versions of the code: {', '.join(sorted(commits))}."
    if len(plans) > 1:
        were = "; then ".join(f"up to {each.seeds} seeds by {each.measure}" for each in plans)
        yield (
            f"Planned {len(plans)} times, with results seen in between ({were}): the chance of a wrong claim is up to "
            f"{5 * len(plans)} % instead of 5 %."
        )
