"""How a set is to be decided: how often it is looked at, by what it is compared; written down before the first run.

Reading order: Schedule and plan, read_plans and record_plan (the file plan.json). A plan that changes after results
were seen is another chance to be wrong, so every plan is kept, and the tables say how many there were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minizero.ablate.measures import NAMES, Measure
from minizero.config.disk import write_json
from minizero.types import RunError

LEVEL = 0.05  # of a set: the chance of one wrong claim or more
LAST = 0.8  # of the level is kept for the last look: looking earlier costs 2 to 3 points of power (docs/ablations.md)
FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`looks`: numbers of seeds, ascending; the last is the most that a variant gets. `variants`: all of the set."""

    looks: tuple[int, ...]
    measure: Measure = "end"
    variants: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        return self.looks[-1]

    @property
    def family(self) -> int:
        """Variants that Holm's correction counts."""
        return max(1, len(self.variants))

    def share(self, look: int) -> float:
        """The part of the level that is spent at a look: LAST at the last one, the rest equally before it."""
        earlier = len(self.looks) - 1
        return 1.0 if not earlier else LAST if look == self.seeds else (1 - LAST) / earlier


def plan(seeds: int, measure: Measure = "end", variants: Sequence[str] = ()) -> Schedule:
    """A look after every seed from the second on. Example: seeds 3 -> looks after 2 and 3, shares 0.2 and 0.8."""
    return Schedule(tuple(range(2, seeds + 1)) or (1,), measure, tuple(sorted(variants)))


def read_plans(keep: Path) -> list[Schedule]:
    """The plans of a set, the first one first; [] where none was written. Raises RunError for a broken file."""
    path = keep / FILE
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [plan(int(row["seeds"]), row["measure"], [str(name) for name in row["variants"]]) for row in rows]
        if not all(each.measure in NAMES and each.seeds > 0 for each in found):
            raise ValueError("an unknown measure, or no seeds")
        return found
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path} is no list of plans ({type(error).__name__}: {error}). It says how often the set is looked at; "
            "restore it, or remove it to plan anew."
        ) from None


def record_plan(asked: Schedule, keep: Path) -> list[Schedule]:
    """Write the plan beside the summaries and return all there are.

    The same seeds and measure go on with the plan that is there, and add the variants that it did not have. Others
    replace it while there is no result of a variant, and are a further plan afterwards.
    """
    plans = read_plans(keep)
    if plans:
        asked = Schedule(asked.looks, asked.measure, tuple(sorted({*asked.variants, *plans[-1].variants})))
        has_results = any((keep / f"{name}-{seed}.json").is_file() for name in asked.variants for seed in range(100))
        if (plans[-1].looks, plans[-1].measure) == (asked.looks, asked.measure) or not has_results:
            plans.pop()
    plans.append(asked)
    keep.mkdir(parents=True, exist_ok=True)
    rows = [{"seeds": each.seeds, "measure": each.measure, "variants": list(each.variants)} for each in plans]
    write_json(keep / FILE, rows)
    return plans
