"""Runs that another set has made already: default and controls are the same in many sets, and each costs minutes.

Reading order: take_over, then what makes two runs the same: every setting that changes a run, seed, steps, weights,
the code's text and the versions of packages. A summary is copied, so that each set's directory is whole by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from minizero.ablate.jobs import Job
from minizero.ablate.summary import RunSummary, model_digest, read_summary, settings_of, write_summary
from minizero.selfplay.manifest import code_digest, versions
from minizero.types import RunError

Key = tuple[int, int, str, str, str, str]


def take_over(jobs: Sequence[Job], places: Iterable[Path]) -> dict[str, Path]:
    """Give jobs without a summary that of the same run, looked for in `places` and the folders in them; returns the
    names of those jobs with the file that each came from."""
    missing = [job for job in jobs if not job.summary.is_file()]
    there: dict[Key, tuple[Path, RunSummary]] = {}
    for path, summary in _summaries(places) if missing else ():
        there.setdefault(_key_of(summary), (path, summary))
    digests = {name: model_digest(job.config) for name, job in {job.config.model.name: job for job in missing}.items()}
    taken = {}
    for job in missing:
        same = there.get(_key(job, digests[job.config.model.name]))
        if same:
            path, summary = same
            own = replace(summary, variant=job.variant.name, kind=job.variant.kind, about=job.variant.about)
            job.keep.mkdir(parents=True, exist_ok=True)
            write_summary(own, job.keep)
            taken[job.name] = path
    return taken


def _summaries(places: Iterable[Path]) -> Iterable[tuple[Path, RunSummary]]:
    seen = set()
    for place in places:
        for path in sorted([*place.glob("*-*.json"), *place.glob("*/*-*.json")]):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            try:
                yield path, read_summary(path)
            except RunError:
                continue  # another file, or of another version


def _key_of(summary: RunSummary) -> Key:
    return (
        summary.seed, summary.steps, json.dumps(summary.settings, sort_keys=True), summary.model_digest,
        summary.code, json.dumps(summary.versions, sort_keys=True),
    )  # fmt: skip


def _key(job: Job, digest: str) -> Key:
    settings = json.dumps(settings_of(job.config), sort_keys=True)
    return (
        job.seed, job.config.selfplay.steps, settings, digest, code_digest(), json.dumps(versions(), sort_keys=True),
    )  # fmt: skip
