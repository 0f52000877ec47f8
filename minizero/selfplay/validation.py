"""Validation on held-out tasks: greedily and at temperature 1, the same tasks and random streams each time.

Reading order: validate, Validation (the results of one pass, per task), check_pairing (before two are compared).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero import prompts
from minizero.config.schema import Config
from minizero.formatting import why
from minizero.learn.ranks import ALONE, Ranks
from minizero.rollout.protocol import Sampler, stream_seed
from minizero.selfplay.answers import AnswerReader
from minizero.selfplay.scheduler import Scheduler, Tick
from minizero.selfplay.scoring import means
from minizero.tasks.blocks import is_reasoned
from minizero.tasks.event_loop import result
from minizero.tasks.programs import program_key, statement_lines
from minizero.tasks.rows import EXPECTED, read_task_lines
from minizero.types import AnswerOutcome, Completion, ConfigError, EvaluationError, Request, RunError, Task, TaskType
from sandbox import Sandbox

ROW = {"id": str, "type": str, "greedy": bool, "correct": int}  # what every row of a validation has, and more
STREAM = 7_001  # validation's random streams are fixed, whatever run.rng_seed is: runs are compared on equal dice


@dataclass(frozen=True, slots=True)
class Validation:
    """Per task: its type, its program's length, whether the greedy answer was right, how many of the samples were, and
    the samples' tokens and their summed -log-probability (their ratio estimates the entropy of a token). Since version
    0.2 also how many of the samples reasoned and were cut, and the greedy answer's tokens and whether it reasoned."""

    step: int
    samples: int
    rows: tuple[
        dict[str, Any], ...
    ]  # {"id", "type", "lines", "greedy": bool, "correct": int, "tokens": int, "nats": float}

    def solve_rates(self) -> list[float]:
        """Share of right samples per task, in the order of the tasks."""
        return [row["correct"] / self.samples for row in self.rows] if self.samples else []

    def metrics(self) -> dict[str, float]:
        """eval/solve_rate and eval/greedy, over all tasks and by task type."""
        values = means("eval/greedy", [(row["type"], float(row["greedy"])) for row in self.rows])
        if self.samples:
            count = self.samples
            values |= means("eval/answer_tokens", [(row["type"], row["tokens"] / count) for row in self.rows])
            values |= means("eval/reasoned_frac", [(row["type"], row.get("reasoned", 0) / count) for row in self.rows])
            values |= means("eval/solve_rate", [(row["type"], row["correct"] / self.samples) for row in self.rows])
            values["eval/entropy"] = self.entropy
        return values

    @property
    def entropy(self) -> float:
        """Mean entropy of a sampled token, in nats, estimated by the samples' own -log-probabilities."""
        tokens = sum(row.get("tokens", 0) for row in self.rows)
        return sum(row["nats"] for row in self.rows) / tokens if tokens else 0.0

    def to_json(self) -> str:
        """One line of JSON, which `from_json` reads back."""
        return json.dumps({"step": self.step, "samples": self.samples, "rows": list(self.rows)}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Validation:
        """Read what `to_json` wrote. Raises ValueError for what is no validation."""
        data = json.loads(text)
        try:
            found = cls(int(data["step"]), int(data["samples"]), tuple(dict(row) for row in data["rows"]))
            right = all(isinstance(row[name], kind) for row in found.rows for name, kind in ROW.items())
        except (KeyError, TypeError) as error:
            raise ValueError(f"no validation ({why(error)})") from None
        if not right:
            raise ValueError(f"no validation: expected rows with {', '.join(ROW)}")
        return found

    @classmethod
    def read(cls, file: Path) -> Validation:
        """Read an eval/step-N.json. Raises RunError when it is missing or damaged."""
        try:
            return cls.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(
                f"{file} cannot be read ({why(error)}), so this validation is left out of what the run says."
            ) from None


def validate(
    held_out: Sequence[Task],
    config: Config,
    *,
    step: int,
    sampler: Sampler,
    box: Sandbox,
    style: str,
    tick: Tick = lambda pending, words: None,
    adapter: bool = True,
    member: str = "",
    temperature: float = 1.0,
    stream: int = STREAM,
    ranks: Ranks = ALONE,
) -> Validation:
    """Ask every task greedily once and `eval.samples` times at a temperature; check the answers in the sandbox.

    `stream` seeds the samples; another number gives another draw of the same quantity. Each of several `ranks` asks
    its part of the tasks, and gets the results of all. `member`: which of several adapters answers.
    """
    scheduler = Scheduler(sampler, tick=tick)
    reader = AnswerReader(scheduler, box, config.admission, style)

    async def ask(place: int, kind: str, n: int) -> list[tuple[AnswerOutcome, Completion]]:
        name, task = f"eval/{place:05d}/{kind}", held_out[place]
        prompt = prompts.solve(style, task, settings=config.prompt)

        async def read(completion: Completion) -> tuple[AnswerOutcome, Completion]:
            return await reader.read(task, prompt, completion), completion

        request = Request(
            name,
            prompt,
            config.selfplay.solve_max_tokens,
            stream_seed(stream, name),
            n=n,
            temperature=0.0 if kind == "greedy" else temperature,
            adapter=adapter,
            member=member,
        )
        return await scheduler.sample(request, read) if n else []

    async def row(place: int, task: Task) -> dict[str, Any]:
        both = scheduler.start(ask(place, "greedy", 1)), scheduler.start(ask(place, "sampled", config.eval.samples))
        ((greedy, most_likely),), samples = await result(both[0]), await result(both[1])
        return {
            "id": task.id,
            "type": task.type.value,
            "lines": statement_lines(task.program),
            "greedy": greedy.verdict.correct,
            "greedy_reasoned": is_reasoned(greedy.text),
            "greedy_tokens": len(most_likely.ids),
            "correct": sum(outcome.verdict.correct for outcome, _ in samples),
            "reasoned": sum(is_reasoned(outcome.text) for outcome, _ in samples),
            "cut": sum(completion.finish == "length" for _, completion in samples),
            "tokens": sum(len(completion.ids) for _, completion in samples),
            "nats": round(-sum(sum(completion.log_probs) for _, completion in samples), 6),
        }

    places = range(ranks.number, len(held_out), ranks.count)
    rows = {place: scheduler.start(row(place, held_out[place])) for place in places}
    scheduler.run()
    parts = ranks.gather({place: row.result() for place, row in rows.items()})
    return Validation(step, config.eval.samples, tuple(parts[n % ranks.count][n] for n in range(len(held_out))))


def held_out_tasks(config: Config) -> list[Task]:
    """The tasks that eval.tasks names, cut to eval.limit evenly over task types; [] for "none"."""
    name, limit = config.eval.tasks, config.eval.limit
    if name == "none":
        return []
    if name == "tiny":
        from minizero import tiny

        found = tiny.load(config.eval.split)
    elif name == "cruxeval":
        from minizero.evaluation.suites.cruxeval import self_play_tasks

        found = self_play_tasks(limit, half=config.eval.split)
    else:
        found = _read(Path(name))
    # Also of types that this run does not train: a run on deduction alone is compared with others on all of them.
    by_type = {kind: group for kind in TaskType if (group := [task for task in found if task.type is kind])}
    share = -(-limit // max(1, len(by_type)))
    return [task for group in by_type.values() for task in group[:share]][:limit]


def held_out_keys(config: Config) -> frozenset[str]:
    """Keys of all held-out programs, validation and final ones: proposals of them are rejected."""
    if config.eval.tasks == "none":
        return frozenset()
    if config.eval.tasks == "tiny":
        from minizero import tiny

        return tiny.held_out_keys()
    if config.eval.tasks == "cruxeval":
        from minizero.evaluation.suites import cruxeval

        return frozenset(map(program_key, cruxeval.programs()))
    return frozenset(program_key(task.program) for task in _read(Path(config.eval.tasks)))


def check_pairing(before: Validation, after: Validation) -> None:
    """Raise EvaluationError unless both asked the same tasks in the same order."""
    if [row["id"] for row in before.rows] != [row["id"] for row in after.rows]:
        raise EvaluationError("the two validations asked different tasks, so they cannot be compared pairwise.")


def _read(path: Path) -> list[Task]:
    try:
        lines = read_task_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"eval.tasks = {path}: cannot be read ({error}). Give a JSON Lines file of tasks, tiny, cruxeval, or none."
        ) from None
    for line in lines:
        if line.problem:
            raise ConfigError(f"{path}, line {line.number}: no task ({line.problem}). {EXPECTED}")
    return [task for line in lines for task in line.tasks]
