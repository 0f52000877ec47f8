"""Commands that make something: selfplay, ablate, seed, plan, doctor, export. One function per command."""

from __future__ import annotations

import shlex
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minizero.cli.results import warn
from minizero.config import Config, load_config
from minizero.config.named import MODEL, find_config, layers, origin, resolve
from minizero.formatting import shell
from minizero.types import RunError, SamplerError


def selfplay(
    model: Annotated[str, tyro.conf.Positional] = MODEL,
    /,
    *,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    resume: Path | None = None,
    steps: int | None = None,
    from_checkpoint: Path | None = None,
    processes: int = 1,
    dry_run: bool = False,
) -> None:
    """Train a model by Absolute-Zero self-play.

    Args:
        model: tiny (built in, for the CPU), the name of a file in configs/ such as Qwen2.5-Coder-3B, a hub name, or a
            model directory.
        config: TOML files stacked over the model's own, for example configs/ablations/estimators/rloo.toml.
        set: One setting, section.name=value; may be repeated. `minizero settings` lists them.
        resume: A run directory to continue, bit for bit, with the settings that it has; only --steps may be given too.
        steps: With --resume: a new total number of steps.
        from_checkpoint: RUN/checkpoints/step-N: a new run with that run's settings, from those weights.
        processes: So many processes of this machine share each step, a core or a card each: the same run, sooner.
        dry_run: Print the settings that differ from the defaults, and stop.
    """
    from minizero.config import difference
    from minizero.config.named import known_models
    from minizero.learn.ranks import leads
    from minizero.models.names import check_name
    from minizero.report.console import Console, as_table
    from minizero.report.run_page import write_report
    from minizero.report.verdict import closing_words
    from minizero.selfplay.launch import launch
    from minizero.selfplay.run_loop import Stopped, default_path, start
    from minizero.selfplay.run_loop import resume as continue_run

    if from_checkpoint and resume:
        raise RunError("--resume goes on with a run, --from-checkpoint begins a new one: give one of them.")
    if dry_run:
        settings, words = _settings(model, config, set, from_checkpoint)
        if not find_config(model):  # a shipped config names a model that is there: a dry run of it needs no network
            check_name(settings.model.name, known_models())
        print(words)
        print(as_table({name: new for name, (_, new) in difference(settings).items()}))
        return
    if resume and (config or set or model != MODEL):
        raise RunError(
            f"--resume {resume} goes on with the settings in its config.toml; a model, --config and --set have no "
            "place beside it. Only --steps may change. Start a new run for other settings."
        )
    if steps is not None and not resume:
        raise RunError(f"--steps goes with --resume; a new run takes  --set selfplay.steps={steps}")
    if not resume:
        settings, words = _settings(model, config, set, from_checkpoint)
    if launch(processes):
        return
    if not leads():
        with suppress(Stopped):
            if resume:
                continue_run(resume)
            else:
                start(settings)
        return
    console, path = Console(), resume
    try:
        if resume:
            with console:
                path = continue_run(resume, progress=console, steps=steps)
        else:
            path = default_path(settings)
            with console:
                console.say(words)
                start(settings, path=path, progress=console, origin=words)
    except Stopped as stopped:
        write_report(stopped.path)
        console.say(f"{stopped}\nSo far:\n  {stopped.path / 'report.html'}")
        return
    except KeyboardInterrupt:  # pressed twice, or before the first step: the step is lost, the run is not
        if path is None or not (path / "config.toml").is_file():
            raise
        again = shell("minizero", "selfplay", "--resume", path)
        print(f"\nminizero: stopped in the middle of a step. Continue with:\n  {again}", file=sys.stderr)
        raise SystemExit(130) from None
    write_report(path)
    console.say("")
    console.say(closing_words(path))


def _settings(
    model: str, config: tuple[Path, ...], set: tuple[str, ...], checkpoint: Path | None
) -> tuple[Config, str]:
    """The settings of a new run, and a sentence that says where they come from."""
    if not checkpoint:
        return resolve(model, config, set), origin(model, config)
    source = checkpoint.resolve().parent.parent / "config.toml"
    if not source.is_file():
        raise RunError(f"--from-checkpoint {checkpoint}: expected RUN/checkpoints/step-N of a run directory.")
    own = (f"model.checkpoint={str(checkpoint.resolve())!r}", "run.name=''")
    return load_config([source, *config], [*own, *set]), f"Settings: {source}, and the weights of {checkpoint}."


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
    measure: Literal["end", "greedy", "area"] = "end",
    dry_run: bool = False,
    tables_only: bool = False,
) -> None:
    """Compare variants over several seeds, beside the default and two controls; repeat the command to go on.

    Args:
        variants: A directory of overlays such as configs/ablations/rewards, its name, or a TOML file with
            [variants.NAME] tables.
        seeds: At most so many runs of each variant, with run.rng_seed = 0, 1, ...; what is decided gets no more.
        jobs: Runs at once; 0: one per core, or one on each card.
        model: As for selfplay.
        config: TOML files stacked over the model's own, under every variant.
        set: One setting for every run, section.name=value; may be repeated. Wins over the variants' own.
        only: Only these variants of the set (default and controls always run).
        out: Where summaries, table.md and report.html are kept; without it, beside the runs.
        reuse: More places, besides the folders beside this set's, where the same runs may have been made already.
        measure: What variants are compared by: the solve rate after the last step (end), the greedy one (greedy), or
            the mean of the solve rate over the run (area).
        dry_run: Say how small a difference the set can see, and stop.
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
        run_set(asked, seeds=seeds, jobs=jobs, measure=measure, home=home, keep=out, reuse=reuse, dry_run=dry_run)
    elif (page := write_tables(asked, out or home)) is not None:
        print(page)
    else:
        raise RunError(f"{out or home} holds no summary yet. Run the same command without --tables-only.")


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


def plan(
    model: Annotated[str, tyro.conf.Positional] = MODEL,
    /,
    *,
    card: str = "",
    cards: int = 1,
    prove: bool = False,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Tell what a config needs on a card, GiB and minutes of a step; exit status 1 if it does not fit.

    Args:
        model: As for selfplay. Nothing is downloaded.
        card: A card such as rtx3090, rtx4090 or a100-80g; without it, this machine's.
        cards: Also tell minutes and traffic of a step that so many of them share.
        prove: Also run one update of a model of this shape on tensors without numbers, and count its memory: a minute,
            no weights, no card. Where vLLM is installed its own classes are counted too.
        config: TOML files stacked over the model's own.
        set: One setting, section.name=value; may be repeated.
    """
    from minizero.config import difference
    from minizero.planner import make_plan
    from minizero.planner.scaling import in_words
    from minizero.report.console import as_table

    found = make_plan(resolve(model, config, set), card)
    print(origin(model, config))
    print(as_table({name: new for name, (_, new) in difference(found.config).items()}))
    print("\n".join(_on_a_terminal(line) for line in found.text().split("\n")))
    if cards != 1:
        print("\n".join(_on_a_terminal(line) for line in in_words(found, cards)))
    fits = found.fits
    if prove:
        from minizero.learn.prove import prove as count
        from minizero.rollout.vllm_count import count_engine

        proof = count(found.config, found.shape)
        print(proof.text(found.learning, found.state))
        try:
            if counted := count_engine(found.config, found.shape):
                print(counted.text(found.shape, found.config.adapter.rank))
        except SamplerError as error:
            print(error)
        if fits and found.total_with(proof.learning, proof.state) > found.budget:
            print("does not fit: what was counted is more than the plan has room for")
            fits = False
    if not fits:
        raise SystemExit(1)


def _on_a_terminal(line: str) -> str:
    """Wrapped at 80 columns between words; a line with settings to paste stays one."""
    is_short = len(line) <= 80 or line.startswith("It would with:")
    return line if is_short else textwrap.fill(line, 80, subsequent_indent="    ", break_long_words=False)


def doctor(
    model: Annotated[str, tyro.conf.Positional] = "",
    /,
    *,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Check this machine (card, packages, disk, logins, sandbox), or with MODEL a model; exit status 1 if bad.

    Args:
        model: As for selfplay. It is loaded, and sampler and trainer are compared with its own forward pass.
        config: TOML files stacked over the model's own.
        set: One setting, section.name=value; may be repeated.
    """
    from minizero.planner.doctor import examine
    from minizero.rollout.model_check import examine_model

    bad = False
    for check in examine_model(resolve(model, config, set)) if model else examine():
        print(check.line())
        bad |= check.state == "bad"
    if bad:
        raise SystemExit(1)


def export(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    merged: bool = False,
    gguf: bool = False,
    gguf_type: Literal["f16", "bf16", "q8_0"] = "f16",
    out: Path | None = None,
    base: str = "",
    evaluations: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    push: str = "",
    public: bool = False,
) -> None:
    """Write a run's result for others: a plain PEFT adapter, the whole model, or a GGUF file, with a model card.

    Args:
        run: A run directory.
        merged: Base and adapter as one model, in the base's float type; never into 4 bits.
        gguf: The whole model as one file for llama.cpp, and a Modelfile for Ollama (Llama, Qwen2 and Qwen3).
        gguf_type: Of its matrices: f16, bf16, or q8_0, which takes half as much.
        out: Where; without it, RUN/export/adapter, RUN/export/model or RUN/export/gguf.
        base: The base model's name on the hub, where the run used a local directory.
        evaluations: A directory that minizero evaluate wrote of these weights, for the card; may be repeated.
        push: Publish on the hub as user/name, after checking that the training changed something.
        public: With --push: for everyone to see.
    """
    from minizero.report.export.write import export as write

    kind = gguf_type if gguf else None
    written = write(
        run, out=out, merged=merged, gguf=kind, base=base, push=push, private=not public, evaluations=evaluations,
        notice=warn,
    )  # fmt: skip
    print(written)
    if push:
        print(f"published as {push}")


def export_environment(
    what: Annotated[str, tyro.conf.Positional],
    /,
    *,
    out: Path,
    name: str = "",
    types: str = "",
    limit: int = 0,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Write tasks, prompts and the sandboxed verifier as an environment of the package verifiers, for other trainers.

    It is a Python package that needs no minizero; prime-rl and others load it by its name, TRL takes its rows and its
    reward function.

    Args:
        what: A run directory (its seeds and the tasks it made up), tiny, builtin, zero, or a seeds file.
        out: Directory of the package; it must not exist yet, or be empty.
        name: Of the package; without it, minizero-NAME of what is exported.
        types: Only these task types, separated by commas: deduction, abduction, induction, error.
        limit: The newest so many tasks of each type; 0: all.
        set: One setting over the run's own, such as prompt.style=chat or reward.solve.wrong=0; may be repeated.
    """
    from minizero.report.export.environment.write import export_environment as write

    wanted = [kind.strip() for kind in types.split(",") if kind.strip()]
    print(write(what, out=out, name=name, types=wanted, limit=limit, settings=set, notice=warn))
