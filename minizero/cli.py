"""The command line: selfplay, replay, watch, report, evaluate, compare, ablate, export, seed, plan, doctor.

`minizero COMMAND --help` explains each.

Reading order: main, then one function per command. Heavy rooms are imported inside the commands.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from minizero.config.named import MODEL, layers, origin, resolve
from minizero.types import MiniZeroError, RunError
from sandbox import SandboxError


def selfplay(
    model: Annotated[str, tyro.conf.Positional] = MODEL,
    /,
    *,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    resume: Path | None = None,
    steps: int | None = None,
    dry_run: bool = False,
) -> None:
    """Train a model by Absolute-Zero self-play.

    Args:
        model: tiny (built in, for the CPU), the name of a file in configs/ such as Qwen2.5-Coder-3B, a hub name, or a
            model directory.
        config: TOML files stacked over the model's own, for example configs/ablations/estimators/rloo.toml.
        set: One setting, section.name=value; may be repeated.
        resume: A run directory to continue, bit for bit, with the settings that it has; only --steps may be given too.
        steps: With --resume: a new total number of steps.
        dry_run: Print the settings that differ from the defaults, and stop.
    """
    from minizero.config import difference
    from minizero.report.console import Console, as_table
    from minizero.selfplay.run_loop import Stopped, start
    from minizero.selfplay.run_loop import resume as continue_run

    if dry_run:
        resolved = resolve(model, config, set)
        print(origin(model, config))
        print(as_table({name: new for name, (_, new) in difference(resolved).items()}))
        return
    if resume and (config or set or model != MODEL):
        raise RunError(
            f"--resume {resume} goes on with the settings in its config.toml; a model, --config and --set have no "
            "place beside it. Only --steps may change. Start a new run for other settings."
        )
    if steps is not None and not resume:
        raise RunError(f"--steps goes with --resume; a new run takes  --set selfplay.steps={steps}")
    console = Console()
    try:
        if resume:
            with console:
                path = continue_run(resume, progress=console, steps=steps)
        else:
            settings, words = resolve(model, config, set), origin(model, config)
            with console:
                console.say(words)
                path = start(settings, progress=console, origin=words)
    except Stopped as stopped:
        console.say(str(stopped))
        return
    from minizero.report.run_page import write_report
    from minizero.report.verdict import closing_words

    write_report(path)
    console.say("")
    console.say(closing_words(path))


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


def report(run: Annotated[Path, tyro.conf.Positional], /) -> None:
    """Write report.html of a run, finished or not.

    Args:
        run: A run directory.
    """
    from minizero.report.run_page import write_report

    print(write_report(run))


def ablate(
    variants: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    seeds: int = 3,
    jobs: int = 0,
    model: str = MODEL,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    only: tuple[str, ...] = (),
    out: Path | None = None,
    reuse: tuple[Path, ...] = (),
    tables_only: bool = False,
) -> None:
    """Compare variants over several seeds, beside the default and two controls; repeat the command to go on.

    Args:
        variants: A directory of overlays such as configs/ablations/rewards, its name, or a TOML file with
            [variants.NAME] tables.
        seeds: Runs of each variant, with run.rng_seed = 0, 1, ...
        jobs: Runs at once; 0: one per core, or one on a card.
        model: As for selfplay.
        config: TOML files stacked over the model's own, under every variant.
        set: One setting for every run, section.name=value; may be repeated. Wins over the variants' own.
        only: Only these variants of the set (default and controls always run).
        out: Where summaries, table.md and report.html are kept; without it, beside the runs.
        reuse: More places, besides the folders beside this set's, where the same runs may have been made already.
        tables_only: Run nothing; write table and report from the summaries that are there.
    """
    from minizero.ablate.sets import read_set
    from minizero.report.ablation import ablate as run_set
    from minizero.report.ablation import write_tables

    files, overrides = layers(model, config, set)
    print(origin(model, config))
    command = shlex.join(["minizero", *(word for word in sys.argv[1:] if word != "--tables-only")])
    asked = read_set(variants, model=model, files=files, overrides=overrides, only=only, command=command)
    home = Path("runs") / f"ablate-{asked.name}"
    if not tables_only:
        run_set(asked, seeds=seeds, jobs=jobs, home=home, keep=out, reuse=reuse)
    elif (page := write_tables(asked, out or home)) is not None:
        print(page)
    else:
        raise RunError(f"{out or home} holds no summary yet. Run the same command without --tables-only.")


def plan(
    model: Annotated[str, tyro.conf.Positional] = MODEL,
    /,
    *,
    card: str = "",
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Tell what a config needs on a card, GiB and minutes of a step; exit status 1 if it does not fit.

    Args:
        model: As for selfplay. Nothing is downloaded.
        card: A card such as rtx3090, rtx4090 or a100-80g; without it, this machine's.
        config: TOML files stacked over the model's own.
        set: One setting, section.name=value; may be repeated.
    """
    from minizero.config import difference
    from minizero.planner import make_plan
    from minizero.report.console import as_table

    found = make_plan(resolve(model, config, set), card)
    print(origin(model, config))
    print(as_table({name: new for name, (_, new) in difference(found.config).items()}))
    print(found.text())
    if not found.fits:
        raise SystemExit(1)


def doctor() -> None:
    """Check this machine: card, packages, disk, logins, sandbox; each line with its fix. Exit status 1 if bad."""
    from minizero.planner.doctor import examine

    checks = examine()
    for check in checks:
        print(check.line())
    if any(check.state == "bad" for check in checks):
        raise SystemExit(1)


def export(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    merged: bool = False,
    out: Path | None = None,
    base: str = "",
    push: str = "",
    public: bool = False,
) -> None:
    """Write a run's result for others: a plain PEFT adapter (or the whole model) with a model card.

    Args:
        run: A run directory.
        merged: Base and adapter as one model, in the base's float type; never into 4 bits.
        out: Where; without it, RUN/export/adapter or RUN/export/model.
        base: The base model's name on the hub, where the run used a local directory.
        push: Publish on the hub as user/name, after checking that the training changed something.
        public: With --push: for everyone to see.
    """
    from minizero.report.export import export as write

    print(write(run, out=out, merged=merged, base=base, push=push, private=not public))
    if push:
        print(f"published as {push}")


def seed(
    model: Annotated[str, tyro.conf.Positional],
    /,
    *,
    out: Path,
    tasks: int = 64,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Let a model write its own seed tasks, growing from AZR's zero triplet; no learning.

    Args:
        model: As for selfplay.
        out: The JSON Lines file to write; buffer.seeds reads it.
        tasks: Tasks wanted per task type.
        config: TOML files stacked over the model's own.
        set: One setting, section.name=value; may be repeated.
    """
    from minizero.report.console import Console
    from minizero.selfplay.seeding import generate_seeds

    with Console() as console:
        settings = resolve(model, config, set)
        console.say(origin(model, config))
        generate_seeds(settings, out, tasks, progress=console)


def evaluate(
    subject: Annotated[str, tyro.conf.Positional] = "",
    /,
    *,
    suite: str = "humaneval+",
    n: int = 0,
    out: Path | None = None,
    format: str = "auto",
    temperature: float = 0.6,
    top_p: float = 0.95,
    max_tokens: int = 0,
    limit: int = 0,
    rng_seed: int = 0,
    data: Path | None = None,
    samples: Path | None = None,
    scorer: str = "minizero",
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Ask a model benchmark problems and score the answers in the sandbox; an adapter is asked beside its base.

    Killed, it continues where it was; a larger n keeps the samples there are.

    Args:
        subject: A run directory, an adapter directory, a model directory, a hub name, or tiny.
        suite: Suites, separated by commas, such as humaneval+,mbpp+,cruxeval (an unknown name lists them).
        n: Sampled answers to each problem, for pass@k up to n; one greedy answer is always taken.
        out: Where the evaluation is kept; without it, evaluations/<subject>-<format>.
        format: direct, chat, azr or compact; auto: compact for tiny, chat for instruct models, else direct.
        temperature: Of the sampled answers (0.6 and top-p 0.95 as in arXiv 2504.13837).
        top_p: See temperature.
        max_tokens: Longest answer; 0: the suite's own limit.
        limit: Only the first problems of each suite; 0: all.
        rng_seed: Of the samples; base and adapter get the same dice.
        data: Directory or file of the benchmarks; without it, MINIZERO_DATA, EvalPlus's cache, the hub.
        samples: Score this samples.jsonl (EvalPlus's format) instead of asking a model.
        scorer: minizero, or evalplus: run EvalPlus's own scorer too and say what differs.
        set: One engine setting, section.name=value; may be repeated.
    """
    from minizero.evaluation.command import evaluate_command, score_command
    from minizero.evaluation.generate import SamplingSettings
    from minizero.report.console import Console

    if samples is not None:
        with Console() as console:
            score_command(samples, suite, data, scorer, console)
        return
    plan = SamplingSettings(tuple(suite.split(",")), format, n, temperature, top_p, max_tokens, limit, rng_seed)
    with Console() as console:
        evaluate_command(subject, plan, out, data, set, scorer, console)


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


def version() -> str:
    """Version and commit, for a report of a fault: "minizero 0.1.0 (3f2a9c1)"."""
    import minizero
    from minizero.selfplay.manifest import commit

    return f"minizero {minizero.__version__}" + (f" ({commit()})" if commit() else "")


def main() -> None:
    """Entry point. Errors that a user can mend are one message and exit status 1."""
    commands = (plan, doctor, selfplay, replay, watch, report, evaluate, compare, ablate, export, seed)
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(version())
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            {command.__name__: command for command in commands},
            prog="minizero",
            description="Absolute-Zero self-play for one person with one graphics card.",
        )
    except (MiniZeroError, SandboxError) as error:
        print(f"minizero: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nminizero: stopped. A run continues with  --resume RUN", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
