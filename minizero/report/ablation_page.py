"""table.md and report.html of a set: the verdict in words, then held-out skill, the proposer, curves, the variants.

Reading order: to_markdown and to_page; then what both show (templates/ablation.md and templates/ablation.html).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minizero.ablate.results import AblationResult
from minizero.ablate.sets import DEFAULT
from minizero.ablate.summary import CURVES
from minizero.formatting import percent, signed
from minizero.metrics import metric_for
from minizero.report.ablation_words import decision_words, in_words
from minizero.report.charts import Series, line_chart
from minizero.report.claims import in_points
from minizero.report.curves import is_share, show_as
from minizero.report.pages import Section, page, text
from minizero.statistics import Interval
from minizero.types import TaskType

if TYPE_CHECKING:
    from minizero.ablate.jobs import Failure

LINES = 7  # variants in one chart; more colours could not be told apart
PROPOSER = {
    "admitted": "propose/admitted_frac",
    "different": "propose/unique_frac",
    "duplicates": "propose/duplicate_frac",
    "never solved": "propose/never_frac",
    "learnable": "propose/learnable_frac",
    "always solved": "propose/always_frac",
    "lines": "propose/program_lines",
    "novelty": "reward/propose/novelty",
    "answer tokens": "rollout/completion_tokens/solve",
    "entropy, nats": "policy/entropy",
}


def to_markdown(result: AblationResult, name: str, command: str, failures: Sequence[Failure] = ()) -> str:
    """The whole file."""
    return text(
        "ablation.md", name=name, words=in_words(result), rows=result.rows, cautions=result.cautions, command=command,
        failures=failures, made=made_with(result), kinds=_kinds(result), proposer=_proposer(result),
        plan=result.plan, decision_words=decision_words, skill=_skill(result),
    )  # fmt: skip


def to_page(result: AblationResult, name: str, command: str, failures: Sequence[Failure] = ()) -> str:
    """The whole page."""
    rows, made = result.rows, made_with(result)
    shown = [row.shown for row in rows]
    reach = 1.05 * max([0.01, *(abs(end) for difference in shown for end in (difference.low, difference.high))])
    commits = sorted({run.commit for row in rows for run in row.runs})
    held_out = {
        "rows": list(zip(rows, shown, strict=True)),
        "reach": reach,
        "plan": result.plan,
        "decision_words": decision_words,
    }
    sections = [
        Section("held-out", "Held-out tasks", "held_out", held_out),
        Section("skill", "Skill over time", "skill", _skill(result)) if result.has_curves else None,
        Section("types", "By task type", "by_type", {"rows": rows, "kinds": _kinds(result)}),
        Section("proposer", "The proposer, and the cost", "proposer", _proposer(result)),
        _curves(result),
        _variants(result),
        Section("repeat", "To repeat it", "repeat", {"made": made, "commits": commits, "command": command}),
    ]
    over = f"ablation {name} · {len(rows)} rows · {made}"
    warnings = [*result.cautions, *(f"{f.name} crashed: {f.reason} (log: {f.log})" for f in failures)]
    title, words = f"ablation {name} · minizero", in_words(result)
    return page("ablation", title, sections, over=over, words=words, warnings=warnings)


def made_with(result: AblationResult) -> str:
    """Steps, machine and versions of the runs, as far as they agree."""
    runs = [run for row in result.rows for run in row.runs]
    machines = sorted({str(run.machine.get("processor")) for run in runs})
    versions = sorted({f"{k} {v}" for run in runs for k, v in run.versions.items() if k in ("torch", "transformers")})
    counts = " or ".join(map(str, sorted({run.steps for run in runs})))
    return f"{len(runs)} runs of {counts} steps; {', '.join(machines)}; {', '.join(versions)}"


def _proposer(result: AblationResult) -> dict[str, object]:
    """Metrics of the proposer at the start and at the end of the runs (`93 → 88 %`), and late against the default."""

    def shown(ends: tuple[float, float] | None, metric: str) -> str:
        if ends is None:
            return "–"
        share = f"{percent(ends[0], 0).removesuffix(' %')} → {percent(ends[1], 0)}"
        return share if is_share(metric) else f"{ends[0]:.2f} → {ends[1]:.2f}"

    def late(gap: Interval | None, metric: str) -> str:
        if gap is None or is_share(metric):
            return in_points(gap) if gap else ""
        return f"{signed(gap.value)} ({signed(gap.low)} to {signed(gap.high)})"

    columns = {title: metric for title, metric in PROPOSER.items() if any(row.curve(metric) for row in result.rows)}
    rows = [
        (row, [(shown(row.ends(metric), metric), late(row.late.get(metric), metric)) for metric in columns.values()])
        for row in result.rows
    ]
    return {"columns": list(columns), "rows": rows}


def _skill(result: AblationResult) -> dict[str, object]:
    """Area and times to half of the default's gain; how steps, seconds and tokens are written."""
    return {
        "rows": [row for row in result.rows if row.area], "goal": result.goal, "whole": "{:.0f}".format,
        "minutes": lambda seconds: f"{seconds / 60:.1f}", "thousands": lambda tokens: f"{tokens / 1000:.0f} k",
    }  # fmt: skip


def _kinds(result: AblationResult) -> list[str]:
    """The task types that were asked."""
    return [kind.value for kind in TaskType if any(kind.value in row.cells for row in result.rows)]


def _curves(result: AblationResult) -> Section:
    """Each curve with the default drawn thick and up to seven others in colour; more rows make another chart."""
    default = result.row(DEFAULT)
    others = [row for row in result.rows if row.variant != DEFAULT]
    charts = []
    for chunk in [others[i : i + LINES] for i in range(0, len(others), LINES)] or [[]]:
        keys = [(f"c{i}", row.variant) for i, row in enumerate(chunk)]
        drawn = [("all", default), *((style, row) for (style, _), row in zip(keys, chunk, strict=True))]
        cards = []
        for metric in ("eval/solve_rate", "eval/greedy", *CURVES):
            lines = [Series(row.variant, style, row.curve(metric)) for style, row in drawn if row and row.curve(metric)]
            if lines:
                chart = line_chart(lines, show=show_as(metric, 0), is_fraction=is_share(metric))
                cards.append((metric, metric_for(metric).sentence, chart))
        charts.append((keys, cards))
    return Section("curves", "Curves", "curves", {"charts": charts})


def _variants(result: AblationResult) -> Section:
    """What each row is, and every setting in which it differs from the default row."""
    default = result.row(DEFAULT)
    base = default.runs[0].settings if default else {}

    def line(settings: object, name: str) -> str:
        held = settings if isinstance(settings, dict) else {}
        return f"{name} = {json.dumps(held[name], ensure_ascii=False) if name in held else '(default)'}"

    rows = []
    for row in result.rows:
        mine = row.runs[0].settings
        names = [n for n in {**base, **mine} if base.get(n) != mine.get(n) and n != "run.rng_seed"]
        rows.append((row, [line(mine, name) for name in names]))
    return Section("variants", "Variants", "variants", {"rows": rows, "shared": [line(base, name) for name in base]})
