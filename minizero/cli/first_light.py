"""minizero first-light: the first ten minutes on a card, as one command with one report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def first_light(
    model: Annotated[str, tyro.conf.Positional] = "",
    /,
    *,
    quick: bool = False,
    out: Path | None = None,
    calibration: Path | None = None,
    only: tuple[str, ...] = (),
    patience: float = 1.0,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Try everything that a first run on this machine needs, in stages that cannot stop each other: doctor, the tests
    on the card, engine, memory and speed against the plan, runs, a kill and a resume. Exit status 1 if one failed.

    Args:
        model: As for selfplay. Without one a random model is made: small on a CPU; on a card of the shape of
            Qwen2.5-Coder-3B, or of a smaller one that fits. Speed and memory are those of a real one.
        quick: Everything as small as it can be, in under a minute: that the parts work, not how fast they are.
        out: The folder of the report, DEVICE-DATE.md and .json, which never replaces another; without it
            benchmarks/first-light in the repository, first-light elsewhere; with --quick a folder of the cache.
        calibration: The file to which the measured constants are added, and which the plan reads; without it the one
            that MINIZERO_CALIBRATION names, or ~/.config/minizero/calibration.jsonl; with --quick none.
        only: Only these stages (machine always runs): machine, doctor, gpu-tests, engine, update, memory, tiny, resume,
            steps.
        patience: Multiplies the time limit of every stage, for a slow machine or a slow download.
        set: One setting of the model's runs, section.name=value; may be repeated.
    """
    from minizero.formatting import shell, visible
    from minizero.planner.calibration import where
    from minizero.report.first_light.conduct import STOPPED, Asked, default_out
    from minizero.report.first_light.conduct import first_light as conduct

    asked = Asked(
        model, set, quick, only, out or default_out(quick), calibration or (None if quick else where()), patience,
        shell("minizero", *sys.argv[1:]),
    )  # fmt: skip
    report = conduct(asked, say=lambda words: print(visible(words), flush=True))
    print(f"{report.verdict()}\n{report.path}.md")
    if any(outcome.reason == STOPPED for outcome in report.outcomes):
        raise SystemExit(130)
    if report.failed:
        raise SystemExit(1)
