"""The model card of an export, written from the run directory alone: what it learned from, what it earned, its limits.

The text is templates/model_card.md.
"""

from __future__ import annotations

from minizero.config import difference
from minizero.config.reward import Extremes, ProposeReward, SolveReward
from minizero.report.pages import text
from minizero.report.verdict import Findings
from minizero.selfplay.run_data import RunData
from minizero.types import RunError

SEEDS = {"zero": "one identity function (AZR's zero triplet)", "builtin": "minizero's own seed tasks"}
HIDDEN = ("run.dir", "run.name", "model.name")  # paths of the machine that trained


def model_card(run: RunData, verdict: Findings, *, base: str, kind: str) -> str:
    """README.md for the hub. `kind`: "adapter", or "model" (whole weights). Raises RunError without a config."""
    config = run.config
    if config is None:
        raise RunError(f"{run.path}: {run.problems[0]}. An export needs the settings.")
    return text(
        "model_card.md", run=run, verdict=verdict, base=base, kind=kind, config=config,
        seeds=SEEDS.get(config.buffer.seeds, f"the seed tasks of `{config.buffer.seeds}`"),
        versions=", ".join(f"{name} {value}" for name, value in run.manifest.get("versions", {}).items()),
        rewards=_rewards(config.reward.propose, config.reward.solve),
        settings=[(name, new) for name, (_, new) in difference(config).items() if name not in HIDDEN],
    )  # fmt: skip


def _rewards(propose: ProposeReward, solve: SolveReward) -> list[tuple[str, str]]:
    ends = propose.extremes
    never, always = (ends.never, ends.always) if isinstance(ends, Extremes) else (ends, ends)
    rows = [
        ("proposal, solved by some attempts", _formula(propose.base, propose)),
        ("proposal, solved by none", f"{never:g}"),
        ("proposal, solved by all", f"{always:g}"),
        ("proposal, known already", f"{propose.duplicate:g}"),
        ("proposal, broken wrapper", f"{propose.malformed:g}"),
        ("proposal, no valid task", f"{propose.invalid:g}"),
        ("answer, right", _formula("1" if solve.induction == "binary" else solve.induction, solve)),
        ("answer, wrong", f"{solve.wrong:g}"),
        ("answer, broken wrapper", f"{solve.malformed:g}"),
    ]
    if propose.base != ProposeReward().base:
        rows[1:3] = [(f"proposal, {propose.base} is 0", f"{never:g} (unsolved) or {always:g}")]
    return rows


def _formula(base: str, table: ProposeReward | SolveReward) -> str:
    terms = [f"{term.weight:g} {name}" for name, term in table.terms.items() if term.weight and name != base]
    return f"{base}, with {', '.join(terms)} joined by {table.combine}" if terms else base
