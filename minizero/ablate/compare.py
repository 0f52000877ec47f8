"""The numbers of a set: each variant's change over seeds, and its difference to the default, paired by seed and task.

Reading order: compare (summaries in, AblationResult out, see results.py), then one row and one cell.

All runs of a set answer the same held-out tasks with the same random streams, so everything is paired. What an interval
is: effects.py; when a comparison is decided: decisions.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minizero.ablate.cautions import cautions, check_tasks
from minizero.ablate.decisions import Decision, decide
from minizero.ablate.effects import plain, spread
from minizero.ablate.measures import Measure, before, differences, half_way, values
from minizero.ablate.mechanism import late_difference
from minizero.ablate.plans import Schedule
from minizero.ablate.power import observed
from minizero.ablate.results import ALL, AblationResult, Cell, VariantResult
from minizero.ablate.sets import CONTROLS, DEFAULT
from minizero.ablate.skill import all_reached
from minizero.ablate.summary import RunSummary
from minizero.types import TaskType


def compare(summaries: Sequence[RunSummary], plans: Sequence[Schedule] = ()) -> AblationResult:
    """Group by variant and pair with the default. Raises EvaluationError when runs asked different tasks.

    `plans`: as plan.json holds them; without one, all that is there is looked at once.
    """
    check_tasks(summaries)
    groups: dict[str, list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(summary.variant, []).append(summary)
    default = groups.get(DEFAULT, [])
    measure = plans[-1].measure if plans else "end"
    gaps = differences(summaries, measure)
    variants = {run.variant for run in summaries if run.kind == "variant"}
    looks = plans[-1].looks if plans else (max(map(len, gaps.values()), default=1),)
    plan = Schedule(looks, measure, tuple(sorted({*variants, *(plans[-1].variants if plans else ())})))
    decisions = decide(gaps, plan)
    goal = half_way(default)
    place = {DEFAULT: 0, **{name: 2 + i for i, name in enumerate(CONTROLS)}}
    names = sorted(groups, key=lambda name: (place.get(name, 1), name))
    rows = tuple(_row(groups[name], default, decisions.get(name), goal) for name in names)
    stopped = [name for name, found in decisions.items() if found.kind != "open" and found.seeds < plan.seeds]
    return AblationResult(rows, tuple(cautions(groups, plans, stopped)), plan, observed(gaps, "this set"), goal)


def _row(
    runs: Sequence[RunSummary], default: Sequence[RunSummary], decision: Decision | None, goal: float | None
) -> VariantResult:
    first = runs[0]
    kinds = first.after.kinds()
    groups = {ALL: list(range(len(kinds)))}
    groups |= {k.value: [i for i, name in enumerate(kinds) if name == k.value] for k in TaskType if k.value in kinds}
    rival = {} if first.variant == DEFAULT else {run.seed: run for run in default}
    both = [*runs, *rival.values()]
    curves, of_default = ({run.seed: run.skill for run in group if run.skill} for group in (runs, rival.values()))
    late = {name: late_difference(runs, list(rival.values()), name) for name in first.curves} if rival else {}
    return VariantResult(
        first.variant,
        first.kind,
        first.about,
        tuple(runs),
        sum(run.seed in rival for run in runs),
        {name: _cell(runs, rival, places, "end") for name, places in groups.items()},
        _cell(runs, rival, groups[ALL], "greedy"),
        _cell(runs, rival, groups[ALL], "area") if all(run.skill for run in both) else None,
        decision,
        all_reached(curves, of_default or None, goal),
        {name: gap for name, gap in late.items() if gap},
    )


def _cell(runs: Sequence[RunSummary], rival: Mapping[int, RunSummary], places: Sequence[int], measure: Measure) -> Cell:
    first, last = (np.array([of(run, measure) for run in runs])[:, places] for of in (before, values))
    shared = [run for run in runs if run.seed in rival]
    against = None
    if shared:
        mine, theirs = (np.array([values(run, measure) for run in group])[:, places]
                        for group in (shared, [rival[run.seed] for run in shared]))  # fmt: skip
        against = plain(spread(mine - theirs)).interval()
    changes = tuple(float(change) for change in (last - first).mean(axis=1))
    means = float(first.mean()), float(last.mean())
    return Cell(len(places), *means, plain(spread(last - first)).interval(), against, changes)
