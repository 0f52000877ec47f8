"""The report of first light: one Markdown page to read and publish, and the same as JSON. No file is ever overwritten.

Reading order: Report, write, then templates/first_light.md. Paths of the user's home are shortened, and what a program
wrote is made visible.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minizero.config.disk import write_whole
from minizero.planner.calibration import Measured
from minizero.report import pages
from minizero.report.first_light.stage import Outcome

SHOWN = (
    *("cores", "memory_gib", "card_gib", "free_gib", "compute_capability", "driver", "cuda", "system", "python"),
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

    machine = _machine(report.outcomes[0].facts if report.outcomes else {})
    memory = next((one.facts for one in report.outcomes if one.name == "memory" and "planned_gib" in one.facts), {})
    markdown = public(pages.text("first_light.md", report=report, machine=machine, memory=memory))
    tree = {
        "device": report.device, "date": report.date, "command": report.command, "quick": report.quick,
        "model": report.model, "verdict": report.verdict(), "notes": report.notes,
        "stages": [asdict(outcome) for outcome in report.outcomes],
        "calibration": asdict(report.measured) if report.measured else None,
    }  # fmt: skip
    for ending, text in ((".md", markdown), (".json", public(json.dumps(tree, indent=1, default=str)) + "\n")):
        # Our own file: its name was reserved in `begin`.
        write_whole(report.path.with_name(report.path.name + ending), text)


def _machine(facts: Mapping[str, Any]) -> dict[str, object]:
    """What the machine is, as far as it is known, and the versions of what runs on it."""
    known = {name: facts[name] for name in SHOWN if facts.get(name)}
    return known | {name: version for name, version in (facts.get("versions") or {}).items() if version}
