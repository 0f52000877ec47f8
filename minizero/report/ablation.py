"""Ablations: variants x seeds as runs of their own beside the default and two controls, then one table and one report.

Reading order: ablate (plans, runs what is missing and looks after each seed, see minizero/ablate), write_tables;
ablation_words.py (what the numbers allow to say), ablation_page.py (where it is read).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from minizero.ablate.compare import compare
from minizero.ablate.jobs import Failure, plan_jobs, run_jobs
from minizero.ablate.measures import Measure, check_measure
from minizero.ablate.outlook import in_words as outlook_in_words
from minizero.ablate.outlook import look_ahead
from minizero.ablate.plans import plan, read_plans, record_plan
from minizero.ablate.reuse import take_over
from minizero.ablate.sets import AblationSet
from minizero.ablate.summary import read_summaries
from minizero.report.ablation_page import to_markdown, to_page
from minizero.report.ablation_words import decided, in_words, sight
from minizero.types import RunError


def ablate(
    asked: AblationSet,
    *,
    seeds: int,
    jobs: int = 0,
    measure: Measure = "end",
    home: Path,
    keep: Path | None = None,
    reuse: Sequence[Path] = (),
    console: Console | None = None,
    dry_run: bool = False,
) -> Path | None:
    """Run what is missing of a set, then write its table and report; returns the report, None after a dry run.

    `seeds`: the most that a variant gets; one that is decided after fewer gets no more. Runs live in `home`; plan,
    summaries, table.md and report.html in `keep` (default: home). What is finished is not run again, nor what another
    set has run: the folders beside home and keep are looked through, and `reuse`. Raises RunError after everything else
    is done when a variant crashed; the same command runs only what is missing.
    """
    console = console or Console(highlight=False)
    keep = keep or home
    for text in asked.left_out:
        console.print(text, markup=False, soft_wrap=True)
    planned = plan_jobs(asked, seeds=seeds, home=home, keep=keep)
    check_measure(measure, [job.config for job in planned])
    now = plan(seeds, measure, [variant.name for variant in asked.variants if variant.kind == "variant"])
    places = [keep, home, *reuse, keep.parent, home.parent]
    console.print("\n".join(outlook_in_words(look_ahead(asked, now, places))), markup=False, soft_wrap=True)
    if dry_run:
        return None
    plans = record_plan(now, keep)
    for name, path in take_over(planned, [*reuse, home.parent, keep.parent]).items():
        console.print(f"{name}: the same run as {path}, not made again", markup=False, soft_wrap=True)
    said: set[str] = set()

    def look() -> Collection[str]:
        found = compare(read_summaries(keep), plans)
        new = [sentence for sentence in (*decided(found), *sight(found)) if sentence not in said]
        console.print("\n".join(new), markup=False, soft_wrap=True)
        said.update(new)
        return [row.variant for row in found.rows if row.decision and row.decision.kind != "open"]

    page = write_tables(asked, keep, failures := run_jobs(planned, jobs_at_once=jobs, console=console, look=look))
    if page:
        console.print(f"\n{in_words(compare(read_summaries(keep), plans)).headline}", markup=False)
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
    """table.md and report.html from plan and summaries; returns the report, or None when there is no summary."""
    summaries = read_summaries(keep)
    if not summaries:
        return None
    result = compare(summaries, read_plans(keep))
    (keep / "table.md").write_text(to_markdown(result, asked.name, asked.command, failures), encoding="utf-8")
    (keep / "report.html").write_text(to_page(result, asked.name, asked.command, failures), encoding="utf-8")
    return keep / "report.html"
