"""What `minizero evaluate` does: choose a format and a directory, evaluate, export for EvalPlus, say where it is.

Reading order: evaluate_command, score_command, with_format, choose_format.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from minizero.evaluation import external, few_shot
from minizero.evaluation.evaluate import Options, evaluate, follow
from minizero.evaluation.generate import SamplingSettings
from minizero.evaluation.subject import Subject, find_subject
from minizero.evaluation.suites import named
from minizero.formatting import shell
from minizero.learn.ranks import ALONE, Ranks
from minizero.types import EvaluationError, Progress

SCORERS = ("minizero", "evalplus")


def evaluate_command(
    what: str,
    sampling: SamplingSettings,
    out: Path | None,
    data: Path | None,
    settings: tuple[str, ...],
    scorer: str,
    progress: Progress,
    *,
    ranks: Ranks = ALONE,
) -> Path:
    """Evaluate a run, model or adapter; the directory. All ranks call this, the first one alone writes and scores."""
    _check(scorer)
    if not what:
        raise EvaluationError("name what to evaluate: a run, an adapter, a model, or --samples FILE.")
    if sampling.n < 0 or sampling.temperature < 0 or not 0 < sampling.top_p <= 1:
        raise EvaluationError(
            f"n = {sampling.n}, temperature = {sampling.temperature}, top_p = {sampling.top_p}: expected n from 0, a "
            "temperature from 0 (0: the format's own; one greedy answer is always taken), top_p above 0 and at most 1."
        )
    subject = find_subject(what)
    if sampling.suites == ("auto",):
        sampling = replace(sampling, suites=("tiny" if subject.model == "tiny" else "humaneval+",))
    sampling = with_format(subject, sampling)
    directory = out or Path("evaluations") / "-".join([Path(subject.name).name, *sampling.suites, sampling.style])
    options = Options(data, settings=settings)
    if not ranks.leads:
        follow(subject, sampling, directory, options, ranks)
        return directory
    results = evaluate(subject, sampling, directory, progress, options, ranks=ranks)
    for path in external.export(results, directory, data):
        if scorer == "evalplus":
            suite = path.name.partition("-base")[0].partition("-trained")[0]
            external.score_file(path, suite, progress, options, scorer=scorer)
    progress.say(f"{directory}: results.json. Compare with  {shell('minizero', 'compare', directory)}")
    return directory


def score_command(samples: Path, suite: str, data: Path | None, scorer: str, progress: Progress) -> Path:
    """Score a samples file of EvalPlus's format; the results file."""
    _check(scorer)
    if not samples.is_file():
        raise EvaluationError(f"--samples {samples}: no such file.")
    out = external.score_file(
        samples, "humaneval+" if suite == "auto" else suite, progress, Options(data), scorer=scorer
    )
    progress.say(str(out))
    return out


def with_format(subject: Subject, sampling: SamplingSettings) -> SamplingSettings:
    """The settings with formats in place of auto: for suites whose answers are values the one that the run was trained
    in; else few-shot, as models that were not trained on such questions rarely keep any other form."""
    if sampling.style != "auto":
        return sampling
    style = choose_format(subject, "auto")
    if style == "compact":
        return replace(sampling, style=style)
    values = subject.value_format or few_shot.DIRECT
    kinds = {suite.kind in few_shot.KINDS for suite in named(",".join(sampling.suites))}
    if kinds == {True}:
        return replace(sampling, style=values)
    return replace(sampling, style=style, value_style=values if True in kinds else "")


def choose_format(subject: Subject, style: str) -> str:
    """The format of programs and mathematics that suits the model, unless one is named. A base model's chat template
    does not make it one that chats: choose chat for it by name, as EvalPlus does by default."""
    if style != "auto":
        return style
    if subject.model == "tiny":
        return "compact"
    name = subject.model.lower()
    return "chat" if any(word in name for word in ("instruct", "chat", "-it")) else "direct"


def _check(scorer: str) -> None:
    if scorer not in SCORERS:
        raise EvaluationError(f"--scorer {scorer}: expected one of {', '.join(SCORERS)}.")
