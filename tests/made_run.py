"""A run directory made by hand for the tests of its tellers: rows, metrics and rewards come from the real scoring code.

Reading order: make_run; then one step's outcomes. `python tests/made_run.py DIRECTORY` makes one to look at.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minizero.config import Config, config_from, to_toml
from minizero.selfplay.buffer import entry_line
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.scoring import rollout_row, score, step_metrics
from minizero.selfplay.validation import Validation
from minizero.types import (
    USUAL_TYPES,
    Answer,
    AnswerOutcome,
    Completion,
    Pair,
    Proposal,
    ProposalOutcome,
    Task,
    TaskType,
    Verdict,
)

PROGRAMS = (
    "def f(x):\n    x = sorted(x)\n    return x[:{n}]",
    "def f(x):\n    return [y * 2 for y in x if y > {n}]",
    "def f(x):\n    total = {n}\n    for y in x:\n        total += y * y\n    return total",
)
REJECTED = ("duplicate", "wrong_length", "error", "syntax", "no_program", "timeout", "no_value", "bad_input", "denied")
MANIFEST: dict[str, Any] = {
    "started": "2026-11-21T06:00:00+0000",
    "command": "minizero selfplay",
    "rng_seed": 0,
    "versions": {"python": "3.12.1", "torch": "2.13.0"},
    "machine": {"system": "Linux", "processor": "a processor", "cores": 2},
    "sandbox": {
        "in_force": {"seccomp": "in force"},
        "missing": {"namespaces": "not offered here"},
        "trials": [{"layer": "seccomp", "act": "open a socket", "refused": True, "answer": "EPERM"}],
    },
    "unsafe": False,
}


def make_run(
    path: Path,
    *,
    steps: int = 6,
    done: int | None = None,
    gain: float = 0.1,
    tasks: int = 120,
    validate_at: Sequence[int] | None = None,
    text: str = "",
    settings: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
) -> RunDirectory:
    """A run of `steps` steps, `done` of them done; held-out skill rises by `gain`. `text`: what the model writes."""
    tree = {"eval": {"tasks": "tiny"}, "adapter": {"kind": "full"}, "optim": {"lr": 3e-4}, **(settings or {})}
    tree["selfplay"] = {"steps": steps, "attempts": 4, "proposals": 8, "solves": 8, **tree.get("selfplay", {})}
    tree.setdefault("reward", {"propose": {"terms": {"novelty": 0.2, "admitted": 0}}})
    config = config_from(tree)
    run = RunDirectory.create(path, config_toml=to_toml(config), manifest=MANIFEST | (manifest or {}))
    done = steps if done is None else done
    rng = random.Random(5)
    asked = [0, done] if validate_at is None else list(validate_at)
    skill = [(rng.random() * 0.5, rng.choice(USUAL_TYPES).value) for _ in range(tasks)]
    for step in range(done + 1):
        if step:
            _write_step(run, config, step, rng, text, steps)
        if step in asked:
            rows = [_validated(i, kind, p + gain * step / max(1, done), rng) for i, (p, kind) in enumerate(skill)]
            found = Validation(step, 4, tuple(rows))
            run.write_text(f"eval/step-{step:06d}.json", found.to_json())
            run.log(step, found.metrics())
    return run


def _validated(place: int, kind: str, chance: float, rng: random.Random) -> dict[str, Any]:
    correct = sum(rng.random() < chance for _ in range(4))
    row = {"id": f"{place:012x}", "type": kind, "lines": 2, "greedy": rng.random() < chance + 0.1, "correct": correct}
    return row | {"tokens": 40, "nats": 30.0 * (1 - chance)}


def _write_step(run: RunDirectory, config: Config, step: int, rng: random.Random, text: str, steps: int) -> None:
    proposals, attempts = [], []
    for index in range(24):
        kind = USUAL_TYPES[index % 3]
        done = _completion(f"propose/{kind}/{index:04d}", rng)
        shown = text or "```python\n" + _program(rng.randrange(10**6)) + "\n```\n```input\n[1, 2]\n```"
        if rng.random() < 0.45 - 0.3 * step / steps:
            reason = rng.choice(REJECTED)
            proposal = (
                None if reason == "no_program" else Proposal(kind, text or _program(rng.randrange(10**6)), ("[1, 2]",))
            )
            proposals.append(
                (ProposalOutcome(kind, shown, reason != "no_program", reason, proposal, requested_lines=2), done)
            )
            continue
        task = a_task(kind, step, rng.randrange(10**6), text)
        verdicts = []
        for i in range(config.selfplay.attempts):
            answer = _answer(task, rng, rng.random(), text)
            verdicts.append(answer.verdict)
            attempts.append((answer, _completion(f"attempt/{kind}/{task.id}", rng, i)))
        rate = sum(v.correct for v in verdicts) / len(verdicts) if verdicts else None
        known = {"same_skeleton": float(rng.randrange(4))}
        proposals.append(
            (ProposalOutcome(kind, shown, True, "", Proposal(kind, task.program, ("[1, 2]",)), task, (), 2,
                             tuple(verdicts), rate, known), done)
        )  # fmt: skip
        run.append("tasks.jsonl", entry_line(task, rate))
    answers = []
    for index in range(24):
        task = a_task(USUAL_TYPES[index % 3], 0, index, text)
        run.append("tasks.jsonl", entry_line(task, None) if step == 1 else "")
        answers.append((_answer(task, rng, 0.7, text), _completion(f"solve/{task.type}/{index:04d}", rng)))
    scored = score(proposals, answers, attempts, {}, config, rng)
    run.write_rollouts(step, [rollout_row(item) for item in scored])
    values = step_metrics(scored) | {
        "policy/entropy": 1.1 - 0.8 * step / steps, "policy/grad_norm": 0.5 + rng.random(),
        "advantage/zero_frac": 0.1, "policy/lr": 3e-4, "buffer/tasks": 128.0,
        "policy/trained_tokens": 4100.0,
        "rollout/generated_tokens": 9000.0 + step, "rollout/tokens_per_s": 2900.0, "memory/peak_gib": 0.7,
        "time/step_s/sample": 4.0, "time/step_s/update": 1.0, "time/step_s": 5.25 + rng.random(),
    }  # fmt: skip
    run.log(step, values)


def a_task(kind: TaskType, step: int, number: int, text: str = "") -> Task:
    program = text or _program(number)
    pairs = tuple(Pair(f"[{number}, {i}]", f"[{i * 2}]") for i in range(8 if kind is TaskType.INDUCTION else 1))
    if kind is TaskType.INDUCTION:
        return Task(kind, program, pairs, text or "twice", 4, step)
    return Task(kind, program, pairs, step=step)


def _program(number: int) -> str:
    return PROGRAMS[number % len(PROGRAMS)].format(n=number)


def _answer(task: Task, rng: random.Random, chance: float, text: str) -> AnswerOutcome:
    if rng.random() < chance:
        said = _program(0) if task.type is TaskType.INDUCTION else task.output
        return AnswerOutcome(task, text or said, True, Verdict(True, 1.0, "correct"), Answer(task.type, said))
    reason = rng.choice(["wrong", "wrong", "error", "unparsable"])
    said = text or rng.choice(["[1]", "[0, 2]", "None"])
    parsed = None if reason == "unparsable" else Answer(task.type, said)
    detail = "TypeError: 'int' object is not iterable" if reason == "error" else ""
    return AnswerOutcome(task, said, True, Verdict(False, 0.0, reason, detail), parsed)


def _completion(request: str, rng: random.Random, index: int = 0) -> Completion:
    length = rng.randrange(5, 40)
    return Completion(request, index, (1,), (1,) * length, (0.0,) * length, "", "stop")


if __name__ == "__main__":
    from minizero.report.run_page import write_report

    make_run(Path(sys.argv[1]), steps=60, gain=0.08, tasks=300)
    write_report(Path(sys.argv[1]))
