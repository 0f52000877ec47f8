"""Sample answers, resumably: every sample is a row of a file that only grows, and no row is ever asked for twice.

Reading order: SamplingSettings (what is to be sampled), Key, load_samples, missing, generate, gather_parts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minizero.evaluation import few_shot, formats
from minizero.evaluation.problems import Problem, Suite
from minizero.evaluation.store import append, read_whole_lines
from minizero.formatting import why
from minizero.learn.ranks import ALONE, Ranks
from minizero.rollout.protocol import Sampler, stream_seed
from minizero.types import Completion, EvaluationError, Request

TEMPERATURE = 0.6
PART = "samples.rank-{}.jsonl"
BLOCK = 32  # samples of one request: they share a prefill and an upper bound of memory
SIDES = ("base", "trained")
NAMES = {"suite": str, "task": str, "side": str, "draw": str, "sample": int}  # of a row, as of Key
CONTENT = {"text": str, "finish": str, "tokens": int, "prompt_ids": list, "ids": list}


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """What one evaluation samples. All but n must stay the same when it is continued."""

    suites: tuple[str, ...]
    style: str  # the format, of all suites but those whose answers are values where value_style is given
    n: int  # sampled answers a problem; one greedy answer is always taken
    temperature: float = 0.0  # 0: 0.6, as in arXiv 2504.13837, and few_shot.TEMPERATURE in those formats
    top_p: float = 0.95
    max_tokens: int = 0  # 0: the suite's own
    limit: int = 0  # only the first problems of each suite; 0: all
    rng_seed: int = 0
    value_style: str = ""  # the format of suites whose answers are values; "": style

    def style_of(self, suite: Suite) -> str:
        return self.value_style if self.value_style and suite.kind in few_shot.KINDS else self.style

    def temperature_of(self, suite: Suite) -> float:
        usual = few_shot.TEMPERATURE if self.style_of(suite).startswith(few_shot.DIRECT) else TEMPERATURE
        return self.temperature or usual

    def fixed(self) -> dict[str, Any]:
        """The settings that must stay the same when an evaluation is continued."""
        fields = asdict(self) | {"suites": list(self.suites)}
        del fields["n"]
        return fields


class Key(NamedTuple):
    """What names a sample. draw is "greedy" or "sampled"."""

    suite: str
    task: str
    side: str
    draw: str
    sample: int


def load_samples(path: Path) -> dict[Key, dict[str, Any]]:
    """The samples there are; a torn last line is cut off and will be sampled again."""
    samples: dict[Key, dict[str, Any]] = {}
    for number, line in enumerate(read_whole_lines(path), 1):
        try:
            row = json.loads(line)
            odd = [name for name, kind in NAMES.items() if not isinstance(row[name], kind)]
            if odd:
                raise ValueError(f"{odd[0]} is {row[odd[0]]!r:.40}")
            samples[Key(*(row[name] for name in Key._fields))] = row
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvaluationError(
                f"{path}, line {number}: no sample ({why(error)}). Remove that line; only its sample will be drawn "
                "anew."
            ) from None
    return samples


def missing(
    sampling: SamplingSettings, suite: Suite, problem: Problem, side: str, have: set[Key]
) -> Iterator[tuple[str, list[int]]]:
    """(draw, indices) of what is still to be sampled, in blocks."""
    for draw, count in (("greedy", 1), ("sampled", sampling.n)):
        indices = [i for i in range(count) if Key(suite.name, problem.id, side, draw, i) not in have]
        for start in range(0, len(indices), BLOCK):
            yield draw, indices[start : start + BLOCK]


def generate(
    sampling: SamplingSettings,
    loaded: Sequence[tuple[Suite, Sequence[Problem]]],
    sides: Sequence[str],
    sampler: Sampler,
    path: Path,
    *,
    tick: Callable[[int, int, float, int], None] = lambda done, total, eta_s, tokens: None,
    ranks: Ranks = ALONE,
) -> int:
    """Sample whatever `path` lacks; the number of this rank's new samples. `tick` gets (done, total, seconds left,
    tokens written, those of unfinished answers too), before the first and a few times a second.

    Of several ranks each samples its part and keeps it in a file beside `path`, until the first one has all of them.
    """
    have = ranks.given(set(load_samples(path)) if ranks.leads else set())
    requests = list(_requests(sampling, loaded, sides, have))
    requests = ranks.deal(requests, [float(request.n * request.max_tokens) for request, _, _ in requests])
    mine = path if ranks.leads else path.with_name(PART.format(ranks.number))
    mine.parent.mkdir(parents=True, exist_ok=True)
    total, done, started = sum(len(places) for _, _, places in requests), 0, time.monotonic()
    known = {request.id: (key, places) for request, key, places in requests}
    for request, _, _ in requests:
        sampler.submit(request)
    tick(0, total, 0.0, 0)
    while sampler.pending:
        rows = []
        for completion in sampler.poll():
            key, places = known[completion.request_id]
            rows.append(_row(key._replace(sample=places[completion.index]), completion))
        if rows:
            append(mine, rows)
            done += len(rows)
        # Also without news: what is left grows while nothing is finished, and a number that stands still looks stuck.
        tick(done, total, (time.monotonic() - started) / max(1, done) * (total - done), sampler.generated)
    for rows in ranks.gather([] if ranks.leads else list(load_samples(mine).values())):
        if rows and ranks.leads:
            append(path, rows)
    if not ranks.leads:
        mine.unlink(missing_ok=True)
    return done


def gather_parts(path: Path) -> None:
    """Put into `path` what ranks sampled that were killed before the first one had it."""
    for part in sorted(path.parent.glob(PART.format("*"))):
        have = load_samples(path)
        append(path, [row for key, row in load_samples(part).items() if key not in have])
        part.unlink()


def _requests(
    sampling: SamplingSettings, loaded: Sequence[tuple[Suite, Sequence[Problem]]], sides: Sequence[str], have: set[Key]
) -> Iterator[tuple[Request, Key, list[int]]]:
    # One side after the other: an engine that switches its adapter between batches would stand still otherwise.
    for side in sides:
        for suite, problems in loaded:
            for problem in problems:
                prompt = formats.ask(suite, problem, sampling.style_of(suite))
                for draw, places in missing(sampling, suite, problem, side, have):
                    # The same name, and so the same dice, for both sides. How many are missing is part of it: what is
                    # asked for after an interruption must not repeat a stream whose sample was kept.
                    name = f"{suite.name}/{problem.id}/{draw}/{places[0]}/{len(places)}"
                    is_greedy = draw == "greedy"
                    request = Request(
                        f"{side}/{name}",
                        prompt,
                        sampling.max_tokens or suite.max_tokens,
                        stream_seed("evaluate", sampling.rng_seed, name),
                        n=len(places),
                        temperature=0.0 if is_greedy else sampling.temperature_of(suite),
                        top_p=1.0 if is_greedy else sampling.top_p,
                        adapter=side == "trained",
                    )
                    yield request, Key(suite.name, problem.id, side, draw, places[0]), places


def _row(key: Key, completion: Completion) -> dict[str, Any]:
    nats = -sum(completion.log_probs)
    return {
        **key._asdict(), "text": completion.text, "finish": completion.finish, "tokens": len(completion.ids),
        "nats": round(nats, 4), "prompt_ids": list(completion.prompt_ids), "ids": list(completion.ids),
    }  # fmt: skip
