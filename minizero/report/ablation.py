"""Ablations: variants x seeds as runs of their own beside the default and two controls, then one table and one report.

Reading order: ablate (runs what is missing, see minizero/ablate), write_tables; ablation_words.py (what the numbers
allow to say), ablation_page.py (where it is read).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from minizero.ablate.compare import compare
from minizero.ablate.jobs import Failure, plan_jobs, run_jobs
from minizero.ablate.reuse import take_over
from minizero.ablate.sets import AblationSet
from minizero.ablate.summary import read_summaries
from minizero.report.ablation_page import to_markdown, to_page
from minizero.report.ablation_words import in_words
from minizero.types import RunError


def ablate(
    asked: AblationSet,
    *,
    seeds: int,
    jobs: int = 0,
    home: Path,
    keep: Path | None = None,
    reuse: Sequence[Path] = (),
    console: Console | None = None,
) -> Path:
    """Run what is missing of a set, then write its table and report; returns the report.

    Runs live in `home`; summaries, table.md and report.html in `keep` (default: home). What is finished is not run
    again, nor what another set has run: the folders beside home and keep are looked through, and `reuse`. Raises
    RunError after everything else is done when a variant crashed; the same command runs only what is missing.
    """
    console = console or Console(highlight=False)
    keep = keep or home
    for text in asked.left_out:
        console.print(text, markup=False, soft_wrap=True)
    planned = plan_jobs(asked, seeds=seeds, home=home, keep=keep)
    for name, path in take_over(planned, [*reuse, home.parent, keep.parent]).items():
        console.print(f"{name}: the same run as {path}, not made again", markup=False, soft_wrap=True)
    page = write_tables(asked, keep, failures := run_jobs(planned, jobs_at_once=jobs, console=console))
    if page:
        console.print(f"\n{in_words(compare(read_summaries(keep))).headline}", markup=False)
        console.print(f"Table:   {keep / 'table.md'}\nReport:  {page}", markup=False, soft_wrap=True)
    if failures:
        names = "\n".join(f"  {failure.name}: {failure.reason}\n    log: {failure.log}" for failure in failures)
        raise RunError(
            f"{len(failures)} of the set's runs crashed; the others are done and kept.\n{names}\n"
            "Mend the variant and repeat the command: only what is missing is run."
        )
    assert page is not None, "a set without failures has at least one summary"
    return page


def write_tables(asked: AblationSet, keep: Path, failures: Sequence[Failure] = ()) -> Path | None:
    """table.md and report.html from the summaries alone; returns the report, or None when there is no summary."""
    summaries = read_summaries(keep)
    if not summaries:
        return None
    result = compare(summaries)
    (keep / "table.md").write_text(to_markdown(result, asked.name, asked.command, failures), encoding="utf-8")
    (keep / "report.html").write_text(to_page(result, asked.name, asked.command, failures), encoding="utf-8")
    return keep / "report.html"
