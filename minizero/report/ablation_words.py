"""What the numbers of a set of ablations allow to say. Whether an interval includes zero is said wherever one is shown.

Reading order: in_words and what it returns, then what is said (templates/ablation_words.txt has the words);
decision_words fill cells of tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from minizero.ablate.measures import NAMES
from minizero.ablate.results import ALL, AblationResult, VariantResult
from minizero.ablate.sets import DEFAULT, FROZEN, SHUFFLED
from minizero.report.claims import Direction, direction, in_points
from minizero.report.pages import words

_said = partial(words, "ablation_words.txt")


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
    shuffled = result.row(SHUFFLED)
    sentences = [_said("default", cell=default.cells[ALL], seeds=default.seeds), *_of_frozen(result)]
    sentences.append(_said("shuffled", cell=shuffled.cells[ALL] if shuffled else None))
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
    yield _said("correction", plan=result.plan, what=NAMES[result.plan.measure])
    yield from sight(result)


def sight(result: AblationResult) -> Iterator[str]:
    """The smallest difference that the set finds, by the spread that it has seen so far."""
    alone, corrected = result.sees(corrected=False), result.sees(corrected=True)
    if alone and corrected:
        yield _said("sight", plan=result.plan, alone=alone, corrected=corrected)


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


def _of_frozen(result: AblationResult) -> Iterator[str]:
    """The frozen control must answer as before, answer by answer: its mean change may be 0 all the same."""
    frozen = result.row(FROZEN)
    if frozen is not None:
        pairs = [(run.before, run.after) for run in frozen.runs]
        odd = sum(before.greedy != after.greedy or before.correct != after.correct for before, after in pairs)
        yield _said("frozen", odd=odd, seeds=frozen.seeds, change=frozen.cells[ALL].change)


def _asked(result: AblationResult, default: VariantResult, variants: int) -> str:
    """How often the tasks were looked at: what is chosen by them looks better on them than it is."""
    runs = [run for row in result.rows for run in row.runs]
    looks = sum(run.validations for run in runs)
    return _said("asked", tasks=default.cells[ALL].tasks, looks=looks, runs=len(runs), variants=variants)
