"""One evaluation, from a model to verdicts: sample what is missing, score it, write results.json.

Reading order: Options, evaluate (the story), sample_missing (what several processes share), then the directory's files:
manifest.json (what was asked, in which format, with which engine), samples.jsonl (generate.py), verdicts.jsonl
(scoring.py's cache), results.json (results.py).
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minizero.config.disk import read_object, write_json
from minizero.evaluation import formats
from minizero.evaluation.generate import CONTENT, Key, SamplingSettings, gather_parts, generate, load_samples
from minizero.evaluation.problems import PASS, Judgement, Problem, Suite
from minizero.evaluation.reliability import curves_of
from minizero.evaluation.results import JudgedSample, LevelCounts, Results
from minizero.evaluation.scoring import JudgementCache, Submission, score
from minizero.evaluation.subject import Subject, engines_of, open_engine
from minizero.evaluation.suites import named
from minizero.formatting import duration, percent
from minizero.learn.ranks import ALONE, Ranks
from minizero.rollout.protocol import Sampler
from minizero.types import EvaluationError, Progress, Quiet
from sandbox import Sandbox

LEAST_PARSED = 0.8  # of the answers; fewer earn a warning
LAST = 20  # one answer in so many is among the last
SANITISER = "EvalPlus 0.3.1's rules (sanitise.py)"  # how answers were read, in results.json
Loaded = Sequence[tuple[Suite, list[Problem]]]


@dataclass(frozen=True, slots=True)
class Options:
    """How an evaluation is carried out, beside what it samples."""

    data: Path | None = None
    workers: int = 0
    unsafe: bool = False
    settings: tuple[str, ...] = ()  # section.name=value for the engine


def evaluate(
    subject: Subject,
    sampling: SamplingSettings,
    out: Path,
    progress: Progress,
    options: Options,
    *,
    sampler: Sampler | None = None,
    ranks: Ranks = ALONE,
) -> Results:
    """Sample, score, write; what results.json holds. Killed at any moment it continues where it was.

    Of several ranks the first calls this, and every other `follow`. Raises EvaluationError when `out` holds an
    evaluation of something else.
    """
    loaded = load_suites(sampling, options.data)
    open_directory(out, subject, sampling, loaded)
    gather_parts(out / "samples.jsonl")
    samples = load_samples(out / "samples.jsonl")
    check_samples(samples, loaded, out)
    there = len(samples)
    sample_missing(subject, sampling, loaded, list(samples), out, progress, options, sampler=sampler, ranks=ranks)
    samples = load_samples(out / "samples.jsonl")
    if len(samples) > there:
        progress.say(f"{len(samples) - there} answers sampled, {there} were there")
    results = score_samples(subject, sampling, loaded, samples, out, progress, options)
    write_json(out / "results.json", results.to_json())
    return results


def follow(subject: Subject, sampling: SamplingSettings, out: Path, options: Options, ranks: Ranks) -> None:
    """What a rank other than the first does of `evaluate`: sample its part."""
    sample_missing(subject, sampling, load_suites(sampling, options.data), [], out, Quiet(), options, ranks=ranks)


def sample_missing(
    subject: Subject,
    sampling: SamplingSettings,
    loaded: Loaded,
    there: Sequence[Key],
    out: Path,
    progress: Progress,
    options: Options,
    *,
    sampler: Sampler | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Sample what `out` lacks beside what is `there`, and with an adapter compare what both sides think of the answers.
    A meeting of all ranks; the first one alone needs to see `out` and what is there."""
    wanted = sum(len(problems) for _, problems in loaded) * (sampling.n + 1)
    compares = sampler is None and subject.adapter is not None  # a sampler given from outside comes without a policy
    surprise = out / "perplexity.json"
    longest = max(sampling.max_tokens or suite.max_tokens for suite, _ in loaded)
    there, is_compared = ranks.given((there, surprise.is_file()))
    for part, sides in engines_of(subject):
        have = [key for key in there if key.side in sides and (key.draw == "greedy" or key.sample < sampling.n)]
        missing = wanted * len(sides) - len(have)
        if missing <= 0 and (is_compared or not compares):
            continue
        policy: Any = None
        engine_sampler = sampler
        if engine_sampler is None:
            progress.phase(f"loading {part.model}")
            engine = open_engine(part, (f"selfplay.solve_max_tokens={longest}", *options.settings))
            engine_sampler, policy = engine.sampler, engine.policy
        if missing > 0:
            if ranks.leads:
                surprise.unlink(missing_ok=True)  # it is about fewer answers
            shared = f", shown is the part of 1 of {ranks.count} processes" if ranks.count > 1 else ""
            progress.phase(f"{' and '.join(sides)}: sampling answers{shared}")
            engine_sampler.take_usage()
            sampled = partial(_sampled, progress, time.monotonic())
            generate(sampling, loaded, sides, engine_sampler, out / "samples.jsonl", tick=sampled, ranks=ranks)
        if sampler is None:
            engine_sampler.close()
        if compares and ranks.leads:
            from minizero.evaluation.perplexity import cross_perplexity

            samples = load_samples(out / "samples.jsonl")
            progress.phase("comparing tokens with the adapter on and off")
            tick = partial(_counted, progress)
            write_json(surprise, cross_perplexity(policy, list(samples.values()), tick=tick))
    if sampler is not None:
        sampler.close()


def _counted(progress: Progress, done: int, total: int, eta_s: float) -> None:
    left = f", about {duration(eta_s)} left" if 0 < done < total else ""
    progress.tick(total - done, f"{done:,} of {total:,}{left}")


def _sampled(progress: Progress, started: float, done: int, total: int, eta_s: float, tokens: int) -> None:
    """Report progress, tokens of unfinished answers too. No time is estimated for the last answers: they are the
    longest."""
    left = f", about {duration(eta_s)} left" if 0 < done < total else ""
    if left and (total - done) * LAST <= total:
        left = ", the longest are left"
    passed = time.monotonic() - started
    rate = f", {tokens / passed:,.0f} tok/s" if passed > 1 else ""
    written = f", {tokens:,} tokens{rate}" if tokens else ", reading prompts"
    progress.tick(total - done, f"{done:,} of {total:,} answers{written}{left}")


def load_suites(sampling: SamplingSettings, data: Path | None) -> list[tuple[Suite, list[Problem]]]:
    """The suites that are asked for, with the problems that the limit leaves."""
    return [(suite, suite.load(data)[: sampling.limit or None]) for suite in named(",".join(sampling.suites))]


def open_directory(out: Path, subject: Subject, sampling: SamplingSettings, loaded: Loaded = ()) -> None:
    """Write the manifest, or check that the one there asks the same of the same model. The stops and limits of each
    suite are noted beside the sampling settings."""
    path = out / "manifest.json"
    asked = {"subject": subject.identity(), "plan": sampling.fixed()}
    if path.is_file():
        before = read_json(path)
        for part in ("subject", "plan"):
            if not isinstance(before.get(part), dict):
                raise EvaluationError(
                    f"{path} says nothing of the {part} that was asked, so what is in {out} cannot be continued. Give "
                    "--out another directory."
                )
            odd = [name for name in asked[part] if before[part].get(name) != asked[part][name]]
            if odd:
                name = odd[0]
                raise EvaluationError(
                    f"{out} holds an evaluation with another {name} ({before[part].get(name)!r}, now "
                    f"{asked[part][name]!r}). Give --out another directory, or the same {name}."
                )
        return
    out.mkdir(parents=True, exist_ok=True)
    packages = ("minizero", "torch", "transformers", "vllm", "evalplus")
    versions = {name: number for name in packages if (number := _version(name))}
    extra = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "versions": versions}
    limits = {
        suite.name: {
            "format": sampling.style_of(suite),
            "temperature": sampling.temperature_of(suite),
            "stops": list(formats.ask(suite, problems[0], sampling.style_of(suite)).stop),
            "max_tokens": sampling.max_tokens or suite.max_tokens,
        }
        for suite, problems in loaded
        if problems
    }
    write_json(path, asked | {"name": subject.name, "suites": limits} | extra)


def check_samples(samples: Mapping[Key, Any], loaded: Loaded, out: Path) -> None:
    """Raise EvaluationError for samples of tasks that these suites do not have, and for rows that are not whole."""
    known = {(suite.name, problem.id) for suite, problems in loaded for problem in problems}
    foreign = sorted({(key.suite, key.task) for key in samples} - known)
    if foreign:
        raise EvaluationError(
            f"{out / 'samples.jsonl'}: {len(foreign)} tasks are not in this evaluation, for example "
            f"{'/'.join(foreign[0])}. They were sampled for other suites or another limit."
        )
    for key, row in samples.items():
        lacking = [name for name, kind in CONTENT.items() if not isinstance(row.get(name), kind)]
        if lacking:
            raise EvaluationError(
                f"{out / 'samples.jsonl'}: {lacking[0]} of the {key.draw} sample {key.sample} of {key.task} is "
                f"{row.get(lacking[0])!r:.40}. Remove that line; only its sample will be drawn anew."
            )


def score_samples(
    subject: Subject,
    sampling: SamplingSettings,
    loaded: Loaded,
    samples: Mapping[Key, dict[str, Any]],
    out: Path,
    progress: Progress,
    options: Options,
) -> Results:
    """Judgements of all samples that are asked for, as results.json has them."""
    workers = options.workers or os.cpu_count() or 1
    cache = JudgementCache(out / "verdicts.jsonl")
    rows: list[JudgedSample] = []
    scores: dict[str, dict[str, LevelCounts]] = defaultdict(dict)
    with Sandbox(workers=workers, unsafe=options.unsafe) as box:
        for suite, problems in loaded:
            by_id, style = {problem.id: problem for problem in problems}, sampling.style_of(suite)
            keys = sorted(k for k in samples if k.suite == suite.name and (k.draw == "greedy" or k.sample < sampling.n))
            texts = {key: formats.read(suite, by_id[key.task], style, samples[key]["text"]) for key in keys}
            submissions = [Submission(key.task, text) for key, text in texts.items()]

            progress.phase(f"scoring {suite.name}")

            def scoring(left: int) -> None:
                progress.tick(left, f"{left} answers left")

            judgements = score(suite, problems, submissions, box, cache=cache, workers=workers, tick=scoring)
            judged = [
                _judged(key, samples[key], submission, judgement)
                for key, submission, judgement in zip(keys, submissions, judgements, strict=True)
            ]
            rows += judged
            for side in subject.sides:
                for level in suite.levels:
                    mine = [row for row in judged if row.side == side]
                    scores[level][side] = _counts(mine, [p.id for p in problems], level, sampling.n)
    for level, sides in scores.items():
        for side, counts in sides.items():
            right = f"greedy {sum(counts.greedy)}/{len(counts.tasks)}"
            progress.say(f"{level:16} {side:8} {right}, {sampling.n} sampled a problem, {counts.parsed:.0%} parsed")
            if counts.measures:
                progress.say(f"{'':16} {side:8} {_measured(counts.measures, sampling.n)}")
            if counts.parsed < LEAST_PARSED:
                progress.say(
                    f"  only {counts.parsed:.0%} of these answers hold something that can be read: the score says more "
                    "about the format than about the model. Try another --format, or a larger --max-tokens."
                )
    manifest = read_json(out / "manifest.json")
    prompts = {problem.id: problem.prompt for _, problems in loaded for problem in problems}
    return Results(subject.name, manifest, SANITISER, sampling.n, dict(scores), prompts, rows)


def _judged(key: Key, sample: Mapping[str, Any], submission: Submission, judgement: Judgement) -> JudgedSample:
    return JudgedSample(
        *key,
        answer=submission.text,
        verdict=dict(judgement.statuses),
        failed_test=judgement.failed_test,
        **{name: sample[name] for name in ("text", "finish", "tokens")},
    )


def _counts(rows: Sequence[JudgedSample], tasks: Sequence[str], level: str, n: int) -> LevelCounts:
    """Per task: whether the greedy answer is right, and how many of n samples are."""
    greedy, correct = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0)
    for row in rows:
        counts = greedy if row.draw == "greedy" else correct
        counts[row.task] += row.verdict[level] == PASS
    parsed = sum(bool(row.answer.strip()) and row.verdict[level] != "unparsable" for row in rows)
    share = parsed / len(rows) if rows else 1.0
    measures = curves_of(list(correct.values()), n)
    return LevelCounts(list(tasks), n, list(greedy.values()), list(correct.values()), share, measures)


def _measured(measures: Mapping[str, float], n: int) -> str:
    """What n samples say in a line: reach (pass@k) and reliability (cover@tau)."""
    k = max(1, n // 2)
    names = dict.fromkeys(["pass@1", f"pass@{2 ** (k.bit_length() - 1)}", "cover@0.5", "cover@1"])
    return ", ".join(f"{name} {percent(measures[name])}" for name in names)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of an evaluation. Raises EvaluationError when the file is missing, damaged, or something else."""
    try:
        return read_object(path)
    except ValueError as error:
        raise EvaluationError(
            f"{path} cannot be read ({error}). Restore it from a copy, or remove {path.parent} and evaluate again."
        ) from None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
