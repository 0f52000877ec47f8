"""What the numbers of a set of ablations allow to say. Whether an interval includes zero is said wherever one is shown.

Reading order: in_words and what it returns, then one function per sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minizero.ablate.compare import ALL, AblationResult, VariantResult
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
    compared = [row for row in variants if row.cells[ALL].against_default]
    sentences = [_of_default(default), *_of_frozen(result), *_of_shuffled(result)]
    for kind in ("better", "worse"):
        names = [f"{row.variant} {in_points(row.cells[ALL].against_default)}" for row in compared if _kind(row) == kind]
        if names:
            sentences.append(f"{kind.capitalize()} than the default: {'; '.join(names)}.")
    if compared:
        sentences.append(
            f"Of {len(compared)} comparisons at 95 %, about {len(compared) / 20:.1g} would come out by chance alone. "
            "A row that matters deserves more seeds, and the heldout split."
        )
        sentences.append(_asked(result, default, len(compared)))
    return Conclusions(_headline(variants, compared), tuple(sentences))


def _headline(variants: Sequence[VariantResult], compared: Sequence[VariantResult]) -> str:
    apart = [row for row in compared if _kind(row) != "unclear"]
    if not variants:
        return "The default beside its controls."
    if not compared:
        return "No variant has a seed in common with the default yet."
    if not apart:
        return "No variant can be told from the default."
    verb = "differ" if len(apart) > 1 else "differs"
    counted = f"{len(apart)} of {len(compared)} variants {verb} from the default"
    if min(row.paired for row in apart) < 2:  # the interval is over tasks only
        return f"{counted} on these tasks, in one seed."
    return f"{counted} by more than the luck of a seed."


def _kind(row: VariantResult) -> Direction:
    return direction(row.cells[ALL].against_default)


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
