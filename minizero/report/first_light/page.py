"""The report of first light: one Markdown page to read and publish, and the same as JSON. No file is ever overwritten.

Reading order: Report, write, then the parts of the page. Paths of the user's home are shortened, and what a program
wrote is made visible.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minizero.config.disk import write_whole
from minizero.formatting import duration, visible
from minizero.planner.calibration import Measured
from minizero.report.first_light.stage import Outcome

SHOWN = (
    "cores",
    "memory_gib",
    "card_gib",
    "free_gib",
    "compute_capability",
    "driver",
    "cuda",
    "system",
    "python",
    "commit",
)


@dataclass(slots=True)
class Report:
    """What was tried on which device. `path` is the report's without an ending: .md and .json stand beside it."""

    path: Path
    device: str
    date: str
    command: str
    quick: bool
    model: str = ""
    outcomes: Sequence[Outcome] = ()
    notes: list[str] = field(default_factory=list)
    measured: Measured | None = None

    @staticmethod
    def begin(out: Path, device: str, started: float, command: str, quick: bool) -> Report:
        """A report with a name of its own in the folder `out`: DEVICE-DATE, or the first DEVICE-DATE-N that is free."""
        out.mkdir(parents=True, exist_ok=True)
        date = time.strftime("%Y-%m-%d", time.localtime(started))
        stem = f"{slug(device)}-{date}"
        number = 1
        while True:
            path = out / (stem if number == 1 else f"{stem}-{number}")
            taken = [path.with_name(path.name + ending) for ending in (".md", ".json")]
            if not any(file.exists() for file in taken):
                for file in taken:
                    file.open("x").close()
                return Report(path, device, date, command, quick)
            number += 1

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    def verdict(self) -> str:
        """How many stages passed, failed and were skipped."""
        counts = {state: sum(o.state == state for o in self.outcomes) for state in ("passed", "failed", "skipped")}
        return ", ".join(f"{count} {state}" for state, count in counts.items())


def slug(device: str) -> str:
    """A device's name as part of a file's.

    >>> slug("NVIDIA GeForce RTX 3090"), slug("AMD EPYC 7B13 64-Core Processor")
    ('nvidia-geforce-rtx-3090', 'amd-epyc-7b13-64-core-processor')
    """
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:60] or "unknown-device"


def write(report: Report, folder: Path) -> None:
    """Both files as far as they are known; `folder` is the work folder, whose name says nothing to others."""

    def public(text: str) -> str:
        for place, short in ((str(folder), "WORK"), (str(Path.home()), "~")):
            text = text.replace(place, short) if place != "/" else text
        return text

    markdown = public(visible("\n".join(_lines(report)) + "\n"))
    tree = {
        "device": report.device, "date": report.date, "command": report.command, "quick": report.quick,
        "model": report.model, "verdict": report.verdict(), "notes": report.notes,
        "stages": [asdict(outcome) for outcome in report.outcomes],
        "calibration": asdict(report.measured) if report.measured else None,
    }  # fmt: skip
    for ending, text in ((".md", markdown), (".json", public(json.dumps(tree, indent=1, default=str)) + "\n")):
        # Our own file: its name was reserved in `begin`.
        write_whole(report.path.with_name(report.path.name + ending), text)


def _lines(report: Report) -> Iterator[str]:
    yield f"# First light: {report.device}, {report.date}"
    yield ""
    yield f"{report.verdict()}; {duration(sum(outcome.seconds for outcome in report.outcomes))} in all."
    yield f"Model: {report.model or 'none'}. Written by `{report.command or 'minizero first-light'}`."
    if report.quick:
        yield "With `--quick` everything is as small as it can be: it shows that the parts work, not how fast they are."
    yield ""
    yield from _machine(report.outcomes[0].facts if report.outcomes else {})
    yield "## Stages"
    yield ""
    yield "| stage | outcome | s | what was found |"
    yield "|---|---|---|---|"
    for outcome in report.outcomes:
        found = [*outcome.says, *([f"**{outcome.reason}**"] if outcome.reason else [])]
        yield f"| {outcome.name} | {outcome.state} | {outcome.seconds:.0f} | {'<br>'.join(map(_cell, found))} |"
    yield ""
    yield from (f"- {note}" for note in report.notes)
    yield from _memory(next((o.facts for o in report.outcomes if o.name == "memory"), {}))
    yield from _calibration(report.measured)
    for outcome in report.failed:
        yield from _failure(outcome)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _machine(facts: Any) -> Iterator[str]:
    versions = facts.get("versions") or {}
    rows = {name: facts[name] for name in SHOWN if facts.get(name)}
    rows |= {name: version for name, version in versions.items() if version}
    if rows:
        yield "| machine | |"
        yield "|---|---|"
        yield from (
            f"| {name.replace('_gib', ', GiB').replace('_', ' ')} | {_cell(str(v))} |" for name, v in rows.items()
        )
        yield ""


def _memory(facts: Any) -> Iterator[str]:
    if "planned_gib" not in facts:
        return
    names = {
        "planned_gib": "planned, in all at once", "measured_gib": "measured at the peak",
        "allocated_gib": "given out by torch at the peak", "reserved_gib": "held by torch at the peak",
        "outside_torch_gib": "outside torch (CUDA's own, kernels)", "grown_gib": "the process grew by",
        "budget_gib": "what the plan may spend",
    }  # fmt: skip
    yield ""
    yield "## Memory"
    yield ""
    yield "| | GiB |"
    yield "|---|---|"
    yield from (f"| {words} | {facts[name]:.2f} |" for name, words in names.items() if facts.get(name) is not None)
    yield from (f"| planned: {name} | {gib:.2f} |" for name, gib in facts.get("parts_gib", {}).items())


def _calibration(measured: Measured | None) -> Iterator[str]:
    if measured is None:
        return
    yield ""
    yield "## Constants of the plan"
    yield ""
    yield f"Measured with {measured.model} ({measured.parameters / 1e6:,.1f} million parameters a token passes), "
    yield f"{measured.value_bytes} bytes a value, sampler {measured.sampler}."
    yield ""
    yield "| constant | measured |"
    yield "|---|---|"
    if measured.bandwidth:
        yield f"| decoding one sequence, GB/s of weights and cache | {measured.bandwidth / 1e9:.4g} |"
    for name, words in (("decode", "decoding many"), ("prefill", "prompts"), ("train", "an update")):
        rate = getattr(measured, name)
        if rate:
            yield f"| {words}, TFLOPS by the plan's count | {rate / 1e12:.4g} |"
    yield f"| push, release and resume, s a step | {measured.overhead_s:.4g} |"
    yield f"| memory beyond the plan, GiB | {measured.beyond_gib:.2f} |"


def _failure(outcome: Outcome) -> Iterator[str]:
    yield ""
    yield f"## {outcome.name} failed"
    yield ""
    yield outcome.reason
    if outcome.tail:
        yield ""
        fence = "````" if any("```" in line for line in outcome.tail) else "```"
        yield f"{fence}text"
        yield from outcome.tail
        yield fence
