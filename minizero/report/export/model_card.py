"""The model card of an export, written from the run directory alone: what it learned from, what it earned, its limits.

The text is templates/model_card.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from minizero.config import difference
from minizero.config.reward import ProposeReward
from minizero.report.asked import Asked
from minizero.report.export.evaluations import Evaluated
from minizero.report.export.licence import Licence
from minizero.report.pages import text
from minizero.report.verdict import Findings
from minizero.selfplay.run_data import RunData
from minizero.types import RunError

SEEDS = {"zero": "one identity function (AZR's zero triplet)", "builtin": "minizero's own seed tasks"}
HIDDEN = ("run.dir", "run.name", "model.name")  # paths of the machine that trained


def model_card(
    run: RunData,
    verdict: Findings,
    *,
    base: str,
    kind: str,
    licence: Licence,
    asked: Asked | None = None,
    evaluations: Sequence[Evaluated] = (),
) -> str:
    """README.md for the hub. `kind`: "adapter", "model" (whole weights) or "gguf". `licence`: the base model's.
    `asked`: how often the held-out tasks were asked. `evaluations`: of these weights. Raises RunError without a
    config."""
    config = run.config
    if config is None:
        raise RunError(f"{run.path}: {run.problems[0]}. An export needs the settings.")
    return text(
        "model_card.md", run=run, verdict=verdict, base=base, kind=kind, config=config, licence=licence,
        asked=asked, evaluations=evaluations,
        seeds=SEEDS.get(config.buffer.seeds, f"the seed tasks of `{config.buffer.seeds}`"),
        versions=", ".join(f"{name} {value}" for name, value in run.manifest.get("versions", {}).items()),
        usual_base=ProposeReward().base,
        settings=[(name, new) for name, (_, new) in difference(config).items() if name not in HIDDEN],
    )  # fmt: skip
