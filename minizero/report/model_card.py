"""The model card of an export, written from the run directory alone: what it learned from, what it earned, its limits.

Reading order: model_card; then one function per section. Numbers come with their intervals, and what was not measured
is said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from minizero.config import Config, difference
from minizero.config.reward import Extremes, ProposeReward, SolveReward
from minizero.formatting import percent, visible
from minizero.report.claims import in_points
from minizero.report.verdict import Change, Findings
from minizero.selfplay.run_data import RunData
from minizero.types import RunError

LIMITS = (
    "Trained on small Python tasks that the model proposed to itself; nothing else was trained or measured here.",
    "The solve rate on its own tasks is no evidence of skill, because the proposer chooses them.",
    "Not aligned, filtered or checked for safety by this training. Programs that it writes belong into a sandbox.",
)


def model_card(run: RunData, found: Findings, *, base: str, kind: str) -> str:
    """README.md for the hub. `kind`: "adapter", or "model" (whole weights). Raises RunError without a config."""
    config = run.config
    if config is None:
        raise RunError(f"{run.path}: {run.problems[0]}. An export needs the settings.")
    title = f"{base.rpartition('/')[2]}, after {run.done} steps of Absolute-Zero self-play"
    parts = [
        _front_matter(base, kind),
        f"# {title}",
        f"**{found.headline}** " + " ".join(found.sentences),
        *(f"> {caution}" for caution in found.cautions),
        "## Training data: none",
        _data(run, config),
        "## Rewards",
        _rewards(config.reward.propose, config.reward.solve),
        "## Evaluation",
        _evaluation(found),
        "## Settings that differ from minizero's defaults",
        _settings(config),
        "## Limits",
        "\n".join(f"- {text}" for text in LIMITS),
        "## Use",
        _use(base, kind),
    ]
    return visible("\n\n".join(parts)) + "\n"


def _front_matter(base: str, kind: str) -> str:
    library = "peft" if kind == "adapter" else "transformers"
    tags = "[minizero, absolute-zero, self-play, reinforcement-learning]"
    return f"---\nbase_model: {json.dumps(base)}\nlibrary_name: {library}\ntags: {tags}\n---"


def _data(run: RunData, config: Config) -> str:
    seeds = {"zero": "one identity function (AZR's zero triplet)", "builtin": "minizero's own seed tasks"}
    started = seeds.get(config.buffer.seeds, f"the seed tasks of `{config.buffer.seeds}`")
    versions = ", ".join(f"{name} {value}" for name, value in run.manifest.get("versions", {}).items())
    return (
        f"The model proposed every task itself, starting from {started}; a sandbox ran the programs, the same model "
        f"solved them ([Absolute Zero](https://arxiv.org/abs/2505.03335)). Task types: "
        f"{', '.join(config.selfplay.task_types)}. Random seed (`run.rng_seed`): {config.run.rng_seed}. "
        f"minizero commit {run.manifest.get('commit') or 'unknown'}; {versions}."
    )


def _rewards(propose: ProposeReward, solve: SolveReward) -> str:
    ends = propose.extremes
    never, always = (ends.never, ends.always) if isinstance(ends, Extremes) else (ends, ends)
    rows = [
        ("proposal, solved by some attempts", _formula(propose.base, propose)),
        ("proposal, solved by none", f"{never:g}"),
        ("proposal, solved by all", f"{always:g}"),
        ("proposal, known already", f"{propose.duplicate:g}"),
        ("proposal, broken wrapper", f"{propose.malformed:g}"),
        ("proposal, no valid task", f"{propose.invalid:g}"),
        ("answer, right", _formula("accuracy" if solve.induction == "accuracy" else "1", solve)),
        ("answer, wrong", f"{solve.wrong:g}"),
        ("answer, broken wrapper", f"{solve.malformed:g}"),
    ]
    if propose.base != "learnability":
        rows[1:3] = [(f"proposal, {propose.base} is 0", f"{never:g} (unsolved) or {always:g}")]
    return _table(("what", "reward"), rows)


def _formula(base: str, table: ProposeReward | SolveReward) -> str:
    terms = [f"{term.weight:g} {name}" for name, term in table.terms.items() if term.weight and name != base]
    words = "learnability (1 - solve rate)" if base == "learnability" else base
    return f"{words}, with {', '.join(terms)} joined by {table.combine}" if terms else words


def _evaluation(found: Findings) -> str:
    """Held-out tasks before and after, with paired intervals."""
    rows = []
    for how, changes in (("temperature 1", found.solve_rate), ("greedy", found.greedy)):
        rows += [_row(how, change) for change in changes]
    if not rows:
        return "Nothing was measured on held-out tasks."
    note = "Held-out tasks, never trained on. Intervals: 95 %, paired bootstrap over tasks; one run, one seed."
    return f"{note}\n\n" + _table(("tasks", "how", "before", "after", "change in points"), rows)


def _row(how: str, change: Change) -> tuple[str, ...]:
    return (
        f"{change.label} ({change.tasks})",
        how,
        percent(change.before),
        percent(change.after),
        in_points(change.difference),
    )


def _settings(config: Config) -> str:
    hidden = ("run.dir", "run.name", "model.name")  # paths of the machine that trained
    rows = [
        (f"`{name}`", f"`{json.dumps(new)}`") for name, (_, new) in difference(config).items() if name not in hidden
    ]
    return _table(("setting", "value"), rows) if rows else "None."


def _use(base: str, kind: str) -> str:
    if kind == "adapter":
        lines = [
            "from peft import PeftModel", "from transformers import AutoModelForCausalLM",
            f"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base!r}), HERE)",
        ]  # fmt: skip
    else:
        lines = ["from transformers import AutoModelForCausalLM", "model = AutoModelForCausalLM.from_pretrained(HERE)"]
    return "```python\n" + "\n".join(lines) + "\n```\n\nwhere `HERE` is this repository's name or directory."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
