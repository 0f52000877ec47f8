"""What a config needs on a card: shapes.py (models), cards.py, memory.py (GiB), fill.py (values for settings left at
"auto" or 0), pace.py (seconds), plan.py (the plan and its text),
fits.py (what is refused)."""

from __future__ import annotations

from minizero.planner.fill import bound_memory, kv_bytes, resolve_for_machine
from minizero.planner.fits import check_fits
from minizero.planner.memory import shares_weights
from minizero.planner.plan import Expected, Plan, expected_of, make_plan

__all__ = [
    "Expected",
    "Plan",
    "bound_memory",
    "check_fits",
    "expected_of",
    "kv_bytes",
    "make_plan",
    "resolve_for_machine",
    "shares_weights",
]
