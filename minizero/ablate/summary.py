"""What is kept of one run of a set: a JSON file of a few kilobytes, small enough to be committed.

Reading order: RunSummary (with its two Measurements), summarise (from a run directory), read_summaries; then identity:
whether a summary answers the question that is asked now. A task's outcome is one digit in a string, so that runs can
be compared task by task long after their directories are gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minizero.ablate.sets import Variant
from minizero.ablate.skill import SkillCurve, skill_curve
from minizero.config import Config, difference
from minizero.config.disk import write_whole
from minizero.config.reward import is_own_function
from minizero.formatting import shell
from minizero.metrics import METRICS, binned
from minizero.models.names import locate
from minizero.rewards.plugins import source_of
from minizero.selfplay.run_data import RunData, read_run
from minizero.selfplay.validation import Validation, check_pairing
from minizero.types import RunError, TaskType

POINTS = 20  # readings kept of a curve; longer ones are kept as means of equal bins
CURVES = (
    "propose/admitted_frac", "propose/duplicate_frac", "propose/unique_frac", "propose/program_lines",
    "propose/learnable_frac", "propose/never_frac", "propose/always_frac", "propose/solve_rate", "solve/correct_frac",
    "reward/propose", "reward/propose/novelty", "reward/solve", "rollout/completion_tokens/solve", "policy/entropy",
    "policy/grad_norm", "policy/kl_base", "advantage/zero_frac", "time/step_s",
)  # fmt: skip
NOT_COMPARED = ("run.", "sandbox.workers", "model.device")  # where and how a run ran, not what it was
INITIALS = {kind.value[0]: kind.value for kind in TaskType}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One pass over the held-out tasks. `types`, `greedy`, `correct`: one character per task, in one order."""

    step: int
    samples: int
    tasks: str  # names the tasks and their order: runs with another value cannot be compared
    types: str
    greedy: str
    correct: str | list[int]  # right samples; a list where a digit does not hold them
    entropy: float

    def solve_rates(self) -> list[float]:
        """Share of right samples per task; the greedy verdict where nothing was sampled."""
        if not self.samples:
            return [float(digit) for digit in self.greedy]
        return [int(count) / self.samples for count in self.correct]

    def kinds(self) -> list[str]:
        """The task type of each task."""
        return [INITIALS[initial] for initial in self.types]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One finished run of a set."""

    variant: str
    kind: str  # default, variant or control
    about: str
    seed: int
    steps: int
    model: str
    model_digest: str
    settings: Mapping[str, Any]  # what differs from minizero's defaults
    before: Measurement
    after: Measurement
    curves: Mapping[str, Sequence[Sequence[float]]]  # metric -> [[step, value], ...]
    collapse: Mapping[str, int]  # metric -> steps in which its collapse alarm was raised
    step_s: float  # mean time of a step
    run_s: float  # all steps
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    commit: str
    started: str
    code: str = ""  # digest of the code's text (version.py)
    validations: int = 2  # how often the run asked its held-out tasks; before and after, where nobody counted
    skill: SkillCurve | None = None  # None: fewer than three validations

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.seed}"


def summarise(path: Path, variant: Variant) -> RunSummary:
    """The summary of a finished run directory. Raises RunError when it is not finished or was not measured."""
    run = read_run(path)
    if run.config is None or not run.is_finished:
        raise RunError(f"{path}: not finished (step {run.done} of {run.total}), so there is nothing to summarise.")
    if len(run.validations) < 2 or run.validations[-1].step != run.done:
        raise RunError(
            f"{path}: no validation after the last step. Continue it with  "
            f"{shell('minizero', 'selfplay', '--resume', path)}"
        )
    before, after = run.validations[0], run.validations[-1]
    check_pairing(before, after)
    times = [float(row["time/step_s"]) for row in run.step_rows]
    machine = {key: run.manifest.get("machine", {}).get(key) for key in ("processor", "cores")}
    return RunSummary(
        variant.name,
        variant.kind,
        variant.about,
        run.config.run.rng_seed,
        run.config.selfplay.steps,
        run.config.model.name,
        model_digest(run.config),
        settings_of(run.config, path),
        _measurement(before),
        _measurement(after),
        {name: curve for name in CURVES if (curve := _curve(run, name))},
        _collapse(run),
        round(sum(times) / max(1, len(times)), 3),
        round(sum(times), 1),
        dict(run.manifest.get("versions", {})),
        machine,
        str(run.manifest.get("commit", "")),
        str(run.manifest.get("started", "")),
        str(run.manifest.get("code", "")),
        len(run.validations),
        skill_curve(run.validations, run.step_rows),
    )


def write_summary(summary: RunSummary, keep: Path) -> Path:
    """keep/<variant>-<seed>.json, whole or not at all."""
    path = keep / f"{summary.name}.json"
    write_whole(path, json.dumps(asdict(summary), separators=(",", ":")) + "\n")
    return path


def read_summary(path: Path) -> RunSummary:
    """Read one file. Raises RunError when it is no summary."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data |= {name: Measurement(**data[name]) for name in ("before", "after")}
        data |= {"skill": SkillCurve(**data["skill"])} if data.get("skill") else {}
        return RunSummary(**data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path} is not a summary of this version ({type(error).__name__}: {error}). Remove it to run it again."
        ) from None


def read_summaries(keep: Path) -> list[RunSummary]:
    """Every summary in a directory, by variant and seed."""
    summaries = [read_summary(path) for path in sorted(keep.glob("*-*.json"))]
    return sorted(summaries, key=lambda summary: (summary.variant, summary.seed))


def settings_of(config: Config, run: Path | None = None) -> dict[str, Any]:
    """Settings that differ from the defaults and change what a run is, by dotted name, as JSON holds them.

    A user's own file counts by its text: that of the run directory where one is given, else the one on disk now.
    """
    changed = {name: new for name, (_, new) in difference(config).items()}
    kept = {name: value for name, value in changed.items() if not name.startswith(NOT_COMPARED)}
    for name in _own_functions(config):
        file = Path(name.rpartition(":")[0]).name
        kept_text = run / file if run else None
        is_kept = kept_text is not None and kept_text.is_file()
        text = kept_text.read_text(encoding="utf-8") if kept_text and is_kept else source_of(name)[1]
        kept[f"text of {file}"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return dict(json.loads(json.dumps(kept)))


def _own_functions(config: Config) -> list[str]:
    reward, advantage = config.reward, config.advantage
    names = [reward.propose.base, *reward.propose.terms, *reward.solve.terms]
    return sorted({n for n in (*names, advantage.propose.function, advantage.solve.function) if is_own_function(n)})


def stale(summary: RunSummary, config: Config) -> str:
    """Why a kept summary does not answer what is asked now, in words; "" when it does."""
    asked = settings_of(config)
    names = [n for n in {**summary.settings, **asked} if summary.settings.get(n) != asked.get(n)]
    parts = [f"{n} was {_shown(summary.settings, n)} and is {_shown(asked, n)}" for n in names]
    if summary.model_digest != model_digest(config):
        parts.append("the model's weights have changed")
    return ", ".join(parts)


def model_digest(config: Config) -> str:
    """Twelve hexadecimal digits of a local model's weights; a hub name stands for itself."""
    source = Path(locate(config.model.name))
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else []
    if not files:
        return config.model.name
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:12]


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "the default"


def _measurement(validation: Validation) -> Measurement:
    rows = validation.rows
    counts = [int(row["correct"]) for row in rows]
    named = hashlib.sha256(" ".join(str(row["id"]) for row in rows).encode()).hexdigest()[:12]
    return Measurement(
        validation.step,
        validation.samples,
        named,
        "".join(str(row["type"])[0] for row in rows),
        "".join(str(int(row["greedy"])) for row in rows),
        "".join(map(str, counts)) if validation.samples < 10 else counts,
        round(validation.entropy, 4),
    )


def _curve(run: RunData, name: str) -> list[list[float]]:
    """[[last step of a bin, mean over the bin], ...], at most POINTS of them."""
    points = [(float(row["step"]), float(row[name])) for row in run.step_rows if name in row]
    return [[step, float(f"{mean:.4g}")] for step, mean in binned(points, POINTS)]


def _collapse(run: RunData) -> dict[str, int]:
    """Steps in which a metric's own alarm spoke of collapse."""
    alarming = {name: metric.alarm for name, metric in METRICS.items()}
    counts = {
        name: sum("collapse" in alarm(float(row[name])) for row in run.step_rows if name in row)
        for name, alarm in alarming.items()
    }
    return {name: count for name, count in counts.items() if count}
