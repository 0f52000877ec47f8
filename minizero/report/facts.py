"""The sober end of the report: what was set, what it cost, and on what machine it ran.

Reading order: settings_section, cost_section, manifest_section.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from minizero.config import difference, sentence_of
from minizero.report.pages import Section
from minizero.selfplay.run_data import RunData


def settings_section(run: RunData) -> Section:
    """What differs from the defaults, each with its sentence; the whole file folds away."""
    if run.config is None:
        noted = run.manifest.get("difference", {})
        changed = {name: tuple(pair) for name, pair in noted.items() if isinstance(pair, list) and len(pair) == 2}
    else:
        changed = difference(run.config)
    rows = [(name, _value(new), _value(old), sentence_of(name)) for name, (old, new) in changed.items()]
    text = (run.path / "config.toml").read_text(encoding="utf-8", errors="replace")
    return Section("settings", "Settings", "settings", {"rows": rows, "file": text})


def cost_section(run: RunData) -> Section | None:
    """Where time and tokens went, in sums over the steps."""
    rows = run.step_rows
    if not rows:
        return None

    def total(name: str) -> float:
        return float(sum(row.get(name, 0.0) for row in rows))

    parts = sorted({name for row in rows for name in row if name.startswith("time/step_s/")})
    data = {
        "steps": len(rows), "whole_s": total("time/step_s"),
        "parts": [(name.rpartition("/")[2], total(name)) for name in parts],
        "tokens": total("rollout/generated_tokens"), "trained": total("policy/trained_tokens"),
        "jobs": total("sandbox/jobs"), "peak_gib": max(row.get("memory/peak_gib", 0.0) for row in rows),
    }  # fmt: skip
    return Section("spent", "What it cost", "spent", data)


def manifest_section(run: RunData) -> Section | None:
    """What a reader needs to repeat the run."""
    shown = {name: value for name, value in run.manifest.items() if name != "difference"}
    trials: list[Any] = []
    if isinstance(shown.get("sandbox"), dict):
        shown["sandbox"] = dict(shown["sandbox"])
        trials = shown["sandbox"].pop("trials", [])
    items = [item if isinstance(item, dict) else {"": item} for item in trials]
    head = list(dict.fromkeys(key for item in items for key in item))
    tried = [[_value(item.get(key, "")) for key in head] for item in items]
    data = {"rows": list(_flat(shown)), "head": head, "tried": tried}
    return Section("manifest", "To repeat it", "manifest", data) if data["rows"] else None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A nested value as (dotted name, text) lines; a list of plain values on one line."""
    if isinstance(value, dict) and "" in value.values() and all(isinstance(inner, str) for inner in value.values()):
        yield name, ", ".join(f"{key} ({inner})" if inner else key for key, inner in value.items())
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{place}")
    else:
        yield name, _value(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value or "–"
    if isinstance(value, list | tuple) and all(isinstance(inner, str) for inner in value) and value:
        text = ", ".join(value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]} …"
