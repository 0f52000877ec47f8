"""What the numbers of a set of ablations allow to say. Whether an interval includes zero is said wherever one is shown.

Reading order: in_words and what it returns, then one function per sentence; decision_words fill cells of tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minizero.ablate.measures import NAMES
from minizero.ablate.results import ALL, AblationResult, VariantResult
from minizero.ablate.sets import DEFAULT, FROZEN, SHUFFLED
from minizero.formatting import percent
from minizero.report.claims import Direction, direction, in_points, place, with_interval


@dataclass(frozen=True, slots=True)
class Conclusions:
    """The verdict on a set: a headline and what stands under it."""

    headline: str
    sentences: tuple[str, ...]


def in_words(result: AblationResult) -> Conclusions:
    """The verdict on a set."""
    default = result.row(DEFAULT)
    if default is None:
        return Conclusions(
            "The default has not been run yet.", ("Without it there is nothing to compare variants with.",)
        )
    variants = [row for row in result.rows if row.kind == "variant"]
    looked_at = [row for row in variants if row.decision]
    sentences = [_of_default(default), *_of_frozen(result), *_of_shuffled(result)]
    for kind in ("better", "worse"):
        names = [f"{r.variant} {in_points(r.decision.interval)}" for r in looked_at if r.decision and _kind(r) == kind]
        if names:
            sentences.append(f"{kind.capitalize()} than the default: {'; '.join(names)}.")
    sentences += [*decided(result), *(_of_correction(result) if looked_at else ())]
    if looked_at:
        sentences.append(_asked(result, default, len(looked_at)))
    return Conclusions(_headline(variants, looked_at), tuple(sentences))


def decided(result: AblationResult) -> Iterator[str]:
    """A sentence for each comparison that ended before its last seed."""
    for row in result.rows:
        if row.decision and row.decision.kind in ("apart", "out of sight") and row.decision.seeds < result.plan.seeds:
            yield f"Ended early: {row.variant} {in_points(row.decision.interval)}, {decision_words(row)}."


def decision_words(row: VariantResult) -> str:
    """The decision on a row in a few words, with the seeds that a difference of the size seen would take."""
    found = row.decision
    if found is None:
        return "–"
    after = f"after {found.seeds} {'seeds' if found.seeds > 1 else 'seed'}"
    if found.kind == "apart":
        return f"told apart {after}, p = {found.p_value:.2g}"
    words = {"open": "open", "not apart": "not told apart", "out of sight": "given up, not told apart,"}[found.kind]
    size, needed = f"{abs(100 * found.estimate.value):.1f} points", found.needed()
    return f"{words} {after}; {f'about {needed} seeds' if needed else 'more than 100 seeds'} for {size}"


def _of_correction(result: AblationResult) -> Iterator[str]:
    """What the claims hold together at, and the smallest difference that could have been seen."""
    plan = result.plan
    looks = f", looks after {' and '.join(map(str, plan.looks))} seeds counted" if len(plan.looks) > 1 else ""
    yield (
        f"The claims about {plan.family} variants hold together: the chance that one or more is wrong is at most 5 % "
        f"(Holm's correction{looks}). What is compared: {NAMES[plan.measure]}."
    )
    yield from sight(result)


def sight(result: AblationResult) -> Iterator[str]:
    """The smallest difference that the set finds, by the spread that it has seen so far."""
    alone, corrected = result.sees(corrected=False), result.sees(corrected=True)
    if alone and corrected:
        yield (
            f"With {result.plan.seeds} seeds this set finds a difference of {100 * alone:.1f} points in 80 % of cases "
            f"if one is looked for, of {100 * corrected:.1f} among all {result.plan.family}. It misses smaller ones."
        )


def _headline(variants: Sequence[VariantResult], looked_at: Sequence[VariantResult]) -> str:
    apart = [row for row in looked_at if _kind(row) != "unclear"]
    if not variants:
        return "The default beside its controls."
    if not any(row.paired for row in variants):
        return "No variant has a seed in common with the default yet."
    if not looked_at:
        return "No variant has been looked at yet: the first look is after the second seed."
    if not apart:
        return "No variant can be told from the default."
    verb = "differ" if len(apart) > 1 else "differs"
    counted = f"{len(apart)} of {len(variants)} variants {verb} from the default"
    if min(row.paired for row in apart) < 2:  # the interval is over tasks only
        return f"{counted} on these tasks, in one seed."
    return f"{counted} by more than the luck of a seed."


def _kind(row: VariantResult) -> Direction:
    """The corrected interval and nothing else decides what is said."""
    return direction(row.decision.interval if row.decision else None)


def _of_default(default: VariantResult) -> str:
    cell = default.cells[ALL]
    seeds = f"{default.seeds} seeds" if default.seeds > 1 else "one seed, interval over tasks"
    return (
        f"The default solves {percent(cell.after)} of {cell.tasks} held-out tasks, before {percent(cell.before)}: "
        f"{with_interval(cell.change)} ({seeds}), which {place(cell.change)}."
    )


def _asked(result: AblationResult, default: VariantResult, variants: int) -> str:
    """How often the tasks were looked at: what is chosen by them looks better on them than it is."""
    runs = [run for row in result.rows for run in row.runs]
    looks = sum(run.validations for run in runs)
    return (
        f"These {default.cells[ALL].tasks} tasks were asked {looks:,} times by {len(runs)} runs, to compare {variants} "
        f"variant{'' if variants == 1 else 's'} with the default: the first in the table owes some of its lead to them."
    )


def _of_frozen(result: AblationResult) -> Iterator[str]:
    """The frozen control must answer as before, answer by answer: its mean change may be 0 all the same."""
    frozen = result.row(FROZEN)
    if frozen is None:
        return
    odd = sum(run.before.greedy != run.after.greedy or run.before.correct != run.after.correct for run in frozen.runs)
    if odd:
        yield (
            f"Frozen, the model CHANGED its answers in {odd} of {frozen.seeds} runs "
            f"({with_interval(frozen.cells[ALL].change)}): do not trust this table."
        )
    else:
        yield "Frozen, the model answers exactly as before, as it must."


def _of_shuffled(result: AblationResult) -> Iterator[str]:
    shuffled = result.row(SHUFFLED)
    against = shuffled and shuffled.cells[ALL].against_default
    if not shuffled or not against:
        yield "The control with shuffled rewards has not been run yet."
        return
    meaning = {
        "worse": "so the rewards, and not only the training, make the difference",
        "better": "which is BETTER than with real rewards: something is wrong with this setting",
        "unclear": "so nothing here shows yet that the rewards teach",
    }[direction(against)]
    yield (
        f"With shuffled rewards the change is {in_points(shuffled.cells[ALL].change)}, against the default "
        f"{in_points(against)}, which {place(against)}: {meaning}."
    )
