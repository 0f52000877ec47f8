"""What a config needs on a card: shapes.py (models, cards), memory.py (GiB), pace.py (minutes), plan.py (the text)."""

from __future__ import annotations

from minizero.planner.memory import kv_bytes
from minizero.planner.plan import Plan, make_plan, planned_metrics

__all__ = ["Plan", "kv_bytes", "make_plan", "planned_metrics"]
