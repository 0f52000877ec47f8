"""What a set's numbers allow to say, in words; every interval that includes zero is said to.

Reading order: in_words; Words; then one helper per sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minizero.ablate.compare import ALL, Cell, Comparison, Row
from minizero.ablate.sets import DEFAULT, FROZEN, SHUFFLED
from minizero.formatting import percent, points
from minizero.statistics import Interval

Direction = Literal["better", "worse", "unclear"]


@dataclass(frozen=True, slots=True)
class Words:
    """The verdict on a set: a headline and what stands under it."""

    headline: str
    sentences: tuple[str, ...]


def in_words(found: Comparison) -> Words:
    """The verdict on a set."""
    default = found.row(DEFAULT)
    variants = [row for row in found.rows if row.kind == "variant"]
    if default is None:
        return Words("The default has not been run yet.", ("Without it there is nothing to compare variants with.",))
    told = [row for row in variants if row.cells[ALL].against_default]
    apart = [row for row in told if direction(row.cells[ALL].against_default) != "unclear"]
    sentences = [_of_default(default), *_of_controls(found, default)]
    for kind in ("better", "worse"):
        names = [_named(row) for row in apart if direction(row.cells[ALL].against_default) == kind]
        if names:
            sentences.append(f"{kind.capitalize()} than the default: {'; '.join(names)}.")
    if told:
        by_chance = f"Of {len(told)} comparisons at 95 %, about {len(told) / 20:.1g} would come out by chance alone."
        sentences.append(by_chance + " A row that matters deserves more seeds, and the heldout split.")
    headline = "No variant can be told from the default." if variants else "The default beside its controls."
    if apart:
        verb = "differ" if len(apart) > 1 else "differs"
        headline = f"{len(apart)} of {len(told)} variants {verb} from the default by more than the luck of a seed."
        if default.seeds < 2:
            headline = f"{len(apart)} of {len(told)} variants {verb} from the default on these tasks, in one seed."
    return Words(headline, tuple(sentences))


def direction(interval: Interval | None) -> Direction:
    """Whether an interval lies above zero, below, or holds it."""
    if interval is None:
        return "unclear"
    return "better" if interval.low > 0 else "worse" if interval.high < 0 else "unclear"


def in_points(interval: Interval | None) -> str:
    """An interval of fractions as points: `+2.1 (−0.3 to +4.5)`."""
    if interval is None:
        return "–"
    return f"{points(100 * interval.value)} ({points(100 * interval.low)} to {points(100 * interval.high)})"


def seed_by_seed(cell: Cell) -> str:
    """Every seed's own change: with three seeds the reader should see all three."""
    return ", ".join(points(100 * value) for value in cell.by_seed)


def metric_change(row: Row, metric: str, *, is_share: bool) -> str:
    """A metric at the start and at the end of the runs: `93 → 88 %`."""
    ends = row.ends(metric)
    if ends is None:
        return "–"
    first, last = ends
    return f"{percent(first, 0).removesuffix(' %')} → {percent(last, 0)}" if is_share else f"{first:.2f} → {last:.2f}"


def _named(row: Row) -> str:
    return f"{row.variant} {in_points(row.cells[ALL].against_default)}"


def _of_default(default: Row) -> str:
    cell = default.cells[ALL]
    seeds = f"{default.seeds} seeds" if default.seeds > 1 else "one seed, interval over tasks"
    holds = ", which includes zero" if direction(cell.change) == "unclear" else ""
    return (
        f"The default solves {percent(cell.after)} of {cell.tasks} held-out tasks, before {percent(cell.before)}: "
        f"{in_points(cell.change)} points, {seeds}{holds}."
    )


def _of_controls(found: Comparison, default: Row) -> Sequence[str]:
    shuffled, frozen = found.row(SHUFFLED), found.row(FROZEN)
    sentences = []
    if frozen:
        change = frozen.cells[ALL].change
        moved = change.low or change.high
        sentences.append(
            f"Frozen, the model CHANGED its answers by {in_points(change)}: do not trust this table."
            if moved
            else "Frozen, the model answers exactly as before, as it must."
        )
    if shuffled and (against := shuffled.cells[ALL].against_default):
        told = {
            "worse": "so the rewards, and not only the training, make the difference",
            "better": "which is BETTER than with real rewards: something is wrong with this setting",
            "unclear": "so nothing here shows yet that the rewards teach",
        }[direction(against)]
        by = in_points(shuffled.cells[ALL].change)
        sentences.append(f"With shuffled rewards the change is {by}, against the default {in_points(against)}: {told}.")
    elif default.seeds:
        sentences.append("The control with shuffled rewards has not been run yet.")
    return sentences
