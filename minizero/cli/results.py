"""Commands that read what was made: replay, watch, report, evaluate, compare. One function per command."""

from __future__ import annotations

import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import tyro

from minizero.formatting import visible
from minizero.types import Quiet


def warn(text: str) -> None:
    """A line beside the command's output: something is not as it should be, and the command goes on."""
    print(f"! {visible(text)}", file=sys.stderr)


def replay(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    step: int | None = None,
    role: str = "",
    type: str = "",
    reason: str = "",
    limit: int = 10,
) -> None:
    """Show rollouts of a run in the terminal: what the model wrote, what became of it, what it earned.

    Args:
        run: A run directory.
        step: The step to show; without it, the last one.
        role: propose, solve or attempt; without it, all.
        type: deduction, abduction, induction or error; without it, all.
        reason: Only proposals rejected for this reason, or answers with this verdict.
        limit: At most this many.
    """
    from minizero.report.replay import show

    show(run, step=step, role=role, task_type=type, reason=reason, limit=limit)


def watch(run: Annotated[Path, tyro.conf.Positional], /) -> None:
    """Follow a running run: its step lines as they come, until the last step or Ctrl-C.

    Args:
        run: A run directory.
    """
    from minizero.report.replay import watch as follow

    follow(run)


def report(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], /, *, out: Path | None = None) -> None:
    """Write report.html of a run, finished or not; of several runs one page that lays their curves over each other.

    Args:
        runs: A run directory, or two to eight.
        out: Of several runs: where the page goes; without it, runs.html beside the first of them.
    """
    from minizero.report.run_page import write_report
    from minizero.report.runs_page import write_runs

    if len(runs) == 1 and out is None:
        print(write_report(runs[0], notice=warn))
    else:
        print(write_runs(runs, out or runs[0].resolve().parent / "runs.html", notice=warn))


def evaluate(
    subject: Annotated[str, tyro.conf.Positional] = "",
    /,
    *,
    suite: str = "auto",
    n: int = 0,
    out: Path | None = None,
    format: str = "auto",
    temperature: float = 0.0,
    top_p: float = 0.95,
    max_tokens: int = 0,
    limit: int = 0,
    rng_seed: int = 0,
    data: Path | None = None,
    samples: Path | None = None,
    scorer: str = "minizero",
    processes: int = 1,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Ask a model benchmark problems and score the answers in the sandbox; an adapter is asked beside its base.

    Killed, it continues where it was; a larger n keeps the samples there are.

    Args:
        subject: A run directory or a checkpoint of it (RUN/checkpoints/step-N), an adapter directory, a model
            directory, a hub name, or tiny.
        suite: Suites, separated by commas, such as humaneval+,mbpp+,cruxeval (an unknown name lists them); auto:
            humaneval+, and for the tiny model its own held-out tasks, which need no download.
        n: Sampled answers to each problem, for pass@k up to n; one greedy answer is always taken.
        out: Where the evaluation is kept; without it, evaluations/<subject>-<suites>-<format>.
        format: direct, chat, azr, compact, few-shot or few-shot-cot; auto: compact for tiny; else, where answers are
            values (CRUXEval), the form that a run was trained in if it is one of these that a base model keeps too, or
            few-shot; and chat for instruct models or direct for others where they are programs.
        temperature: Of the sampled answers; 0: 0.6 and top-p 0.95 as in arXiv 2504.13837, for few-shot 0.2.
        top_p: See temperature.
        max_tokens: Longest answer; 0: the suite's own limit.
        limit: Only the first problems of each suite; 0: all.
        rng_seed: Of the samples; base and adapter get the same dice.
        data: Directory or file of the benchmarks; without it, MINIZERO_DATA, EvalPlus's cache, the hub.
        samples: Score this samples.jsonl (EvalPlus's format) instead of asking a model.
        scorer: minizero, or evalplus: run EvalPlus's own scorer too and say what differs.
        processes: So many processes of this machine share the sampling, a core or a card each.
        set: One engine setting, section.name=value; may be repeated.
    """
    from minizero.evaluation.command import evaluate_command, score_command
    from minizero.evaluation.generate import SamplingSettings
    from minizero.report.console import Console
    from minizero.selfplay.launch import launch
    from minizero.selfplay.meeting import meet

    if samples is not None:
        with Console() as console:
            score_command(samples, suite, data, scorer, console)
        return
    plan = SamplingSettings(tuple(suite.split(",")), format, n, temperature, top_p, max_tokens, limit, rng_seed)
    if launch(processes):
        return
    ranks = meet()
    with Console() if ranks.leads else nullcontext(Quiet()) as console:
        evaluate_command(subject, plan, out, data, set, scorer, console, ranks=ranks)


def compare(
    evaluations: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    /,
    *,
    out: Path = Path("comparison"),
    from_counts: tuple[Path, ...] = (),
    tasks_of: Path | None = None,
    data: Path | None = None,
) -> None:
    """Compare finished evaluations: one table, one page with plots, one JSON, and what can be concluded.

    Args:
        evaluations: Directories that minizero evaluate wrote; the first one's base is what others are compared with.
        out: Directory for comparison.html and comparison.json.
        from_counts: Published tables instead: CSV files with the columns model,suite,k,score,problems.
        tasks_of: A run whose self-made tasks are looked for in the benchmarks.
        data: Directory of the benchmarks, for tasks_of.
    """
    from minizero.report.comparison import write_comparison, write_published

    if from_counts:
        words, page = write_published(from_counts, out), "published.html"
    else:
        words, page = write_comparison(evaluations, out, run=tasks_of, data=data), "comparison.html"
    print("\n".join([*words, "", str(out / page)]))


def settings(name: Annotated[str, tyro.conf.Positional] = "", /) -> None:
    """Print settings: name, type, default, and a sentence with the default's source.

    Args:
        name: A section such as optim, a setting such as optim.lr or lr; without it, all.
    """
    from minizero.config.describe import matching

    for setting in matching(name):
        print(f"{setting.name} = {setting.default}   ({setting.type})")
        print(textwrap.fill(setting.sentence, 76, initial_indent="    ", subsequent_indent="    "))
