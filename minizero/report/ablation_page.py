"""table.md and report.html of a set: the verdict in words, then held-out skill, the proposer, curves, the variants.

Reading order: to_markdown and to_page; then what both show (templates/ablation.md and templates/ablation.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minizero.ablate.results import AblationResult
from minizero.ablate.sets import DEFAULT
from minizero.ablate.summary import CURVES
from minizero.metrics import metric_for
from minizero.report.ablation_words import decision_words, in_words
from minizero.report.charts import Series
from minizero.report.claims import reach
from minizero.report.curves import chart_of, is_share
from minizero.report.pages import Section, page, text
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
        "ablation.md", name=name, words=in_words(result), result=result, command=command, failures=failures,
        made=made_with(result), kinds=_kinds(result), columns=_columns(result), is_share=is_share,
        decision_words=decision_words,
    )  # fmt: skip


def to_page(result: AblationResult, name: str, command: str, failures: Sequence[Failure] = ()) -> str:
    """The whole page."""
    rows, made = result.rows, made_with(result)
    commits = sorted({run.commit for row in rows for run in row.runs})
    held_out = {
        "rows": rows,
        "reach": reach(row.shown for row in rows),
        "plan": result.plan,
        "decision_words": decision_words,
    }
    timed, proposer = (
        [row for row in rows if row.area],
        {"columns": _columns(result), "is_share": is_share, "rows": rows},
    )
    sections = [
        Section("held-out", "Held-out tasks", "held_out", held_out),
        Section("skill", "Skill over time", "skill", {"rows": timed, "goal": result.goal}) if timed else None,
        Section("types", "By task type", "by_type", {"rows": rows, "kinds": _kinds(result)}),
        Section("proposer", "The proposer, and the cost", "proposer", proposer),
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


def _columns(result: AblationResult) -> dict[str, str]:
    """Of PROPOSER what any row has."""
    return {title: metric for title, metric in PROPOSER.items() if any(row.curve(metric) for row in result.rows)}


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
                cards.append((metric, metric_for(metric).sentence, chart_of(metric, lines)))
        charts.append((keys, cards))
    return Section("curves", "Curves", "curves", {"charts": charts})


def _variants(result: AblationResult) -> Section:
    """What each row is, and every setting in which it differs from the default row."""
    default = result.row(DEFAULT)
    base = default.runs[0].settings if default else {}
    rows = []
    for row in result.rows:
        mine = row.runs[0].settings
        rows.append((row, mine, [n for n in {**base, **mine} if base.get(n) != mine.get(n) and n != "run.rng_seed"]))
    return Section("variants", "Variants", "variants", {"rows": rows, "shared": base})
