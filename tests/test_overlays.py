"""Every shipped overlay loads, is played for four steps with a scripted model, and changes what happens there."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from minizero.config import Config, difference, load_config
from minizero.learn.policy import Policy
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.buffer import TaskBuffer
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.seeds import seed_tasks
from minizero.selfplay.step import SelfPlay
from minizero.tasks.rows import task_to_json
from minizero.types import Request
from sandbox import Sandbox

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "configs" / "ablations"
OVERLAYS = sorted(FOLDER.rglob("*.toml"))
NAMES = [str(path.relative_to(FOLDER)) for path in OVERLAYS]
WORDS_NEEDED = {"error_tasks.toml", "composites.toml"}  # not for the tiny model's style
STEPS = 4
SMALL = (
    "selfplay.proposals=4", "selfplay.solves=32", "selfplay.attempts=4", "selfplay.max_prompt_tokens=100000",
    "selfplay.propose_max_tokens=400", "selfplay.solve_max_tokens=400", "buffer.seed_tasks=6", "optim.lr=1e-2",
    "eval.tasks=none", "run.threads=1", "sandbox.workers=1",
)  # fmt: skip


def base_of(path: Path) -> list[Path]:
    """What stands under an overlay: the tiny model's settings, and the base of its set."""
    shared = path.parent / "_base.toml"
    return [ROOT / "configs" / "tiny.toml", *([shared] if shared.is_file() and path != shared else [])]


def settings(path: Path, model: Path | str = "other") -> list[str]:
    style = "r1" if path.name in WORDS_NEEDED else "compact"
    return [*SMALL, f"model.name={json.dumps(str(model))}", f"prompt.style={style}"]


@pytest.mark.parametrize("path", OVERLAYS, ids=NAMES)
def test_every_overlay_loads_says_what_it_is_and_changes_a_setting(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert re.fullmatch(r"# .{20,}\.\)?", first), first
    plain = load_config(base_of(path), settings(path))
    assert difference(load_config([*base_of(path), path], settings(path)), plain)


@pytest.mark.slow
@pytest.mark.parametrize("path", OVERLAYS, ids=NAMES)
def test_every_overlay_is_played_and_changes_what_happens(path: Path, random_model: Path, box: Sandbox) -> None:
    chosen = settings(path, random_model)
    plain = tuple(map(str, base_of(path)))
    assert played(load_config([*plain, path], chosen), box) != default_trace(plain, tuple(chosen), id(box), lambda: box)


@cache
def default_trace(files: tuple[str, ...], overrides: tuple[str, ...], _: int, box: Callable[[], Sandbox]) -> str:
    return played(load_config(files, overrides), box())


def played(config: Config, box: Sandbox) -> str:
    """A digest of all that four steps ask, reward, keep and learn."""
    seeds, _ = seed_tasks(config.buffer.seeds, config.buffer.seed_tasks, config.selfplay.task_types)
    buffer = TaskBuffer.of(config)
    buffer.add((task, None) for task in seeds)
    asked: list[str] = []
    script = Script(config.prompt.style, asked)
    policy = Policy(config)
    game = SelfPlay(
        config, policy=policy, sampler=ScriptedSampler(script), box=box, buffer=buffer, style=config.prompt.style
    )
    seen: list[object] = []
    for number in range(1, STEPS + 1):
        result = game.step(number)
        rows = [rollout_row(s) for s in result.scored]
        assert any(row["role"] == "propose" and not row["reason"] for row in rows)
        assert any(row["role"] == "solve" for row in rows)
        assert all(map(math.isfinite, result.metrics.values()))
        seen.append([sorted(asked), rows, [task_to_json(task) for task, _ in result.stored]])
    digest = hashlib.sha256(json.dumps(seen).encode())
    for parameter in policy.model.parameters():
        digest.update(parameter.detach().float().numpy().tobytes())
    return digest.hexdigest()


class Script:
    """A player that proposes additions, some of them twice or of another length than asked, and solves some of them.
    Some of its answers are cut by the token limit."""

    def __init__(self, style: str, asked: list[str]) -> None:
        self.style, self.asked = style, asked

    def __call__(self, request: Request, index: int) -> str:
        text = request.prompt.messages[-1].content
        self.asked.append(f"{request.id} {index} {text}")
        rng = random.Random(f"{request.seed} {index}")
        role, kind, *_ = request.id.split("/")
        if role == "solve" and rng.random() < 0.1:
            return "1" * 500  # comes to no end before the limit
        parts = self._proposal(kind, text, rng) if role == "propose" else [self._answer(kind, text, rng)]
        if self.style == "r1":
            return f" well </think> <answer>{''.join(f'```{name}{body}' for name, body in parts)}</answer>"
        text = "".join(f"```{name}{body}" for name, body in parts)
        return text.removeprefix(request.prompt.prefill)  # which opens the block of a proposal

    def _proposal(self, kind: str, text: str, rng: random.Random) -> list[tuple[str, str]]:
        if kind == "induction":
            inputs = [("input", f"\n{n}\n```\n") for n in rng.sample(range(40), 8)]
            return [*inputs, ("message", f"\nhint {rng.randrange(9)}\n```\n")]
        wanted = re.search(r"(\d) lines?", text)
        lines = int(wanted[1]) if wanted and rng.random() < 0.8 else rng.choice((1, 2, 5))
        body = [f"    x = x + {rng.randrange(2)}" for _ in range(lines - 1)]
        given = sorted(set(re.findall(r"def (g_\d)\(", text)))
        last = " + ".join(
            [f"[{', '.join(f'{name}(x)' for name in given)}]" if given else "x", *(["[1]"] * bool(given))]
        )
        shape = rng.choice((last, f"({last}, {rng.randrange(3)})", f"[{last}] * {rng.randrange(1, 3)}"))
        if rng.random() < 0.4:
            shape = "x / 0"  # running it is refused
        program = "\n".join(["def f(x):", *body, f"    return {shape}"])
        return [("python", f"\n{program}\n```\n"), ("input", f"\n{rng.randrange(4)}\n```\n")]

    def _answer(self, kind: str, text: str, rng: random.Random) -> tuple[str, str]:
        program = next(iter(re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)), "")
        is_right = rng.random() < (0.9 if "* 1" in program else 0.1 if "* 2" in program else 0.5)
        if kind == "induction":
            pairs = re.findall(r"```input(?:_\d)?\n(.*?)\n```\n```output(?:_\d)?\n(.*?)\n```", text, re.DOTALL)
            shown = ", ".join(f"{given!r}: {answer}" for given, answer in pairs)
            return (
                "python",
                f"\ndef f(x):\n    return {{{shown}}}.get(repr(x), {rng.choice(('x', '(x, 0)', '[x]'))})\n```",
            )
        if kind == "abduction":
            return "input", f"\n{rng.randrange(4)}\n```"
        given = re.findall(r"```input\n(.*?)\n```", text, re.DOTALL)
        answer = _value(program, given[0]) if is_right and given and "/ 0" not in program else "[]"
        return "output", f"\n{'NoError' if kind == 'error' and is_right else answer}\n```"


def _value(program: str, given: str) -> str:
    """What a program of this file gives; the seeds' programs are as harmless."""
    names: dict[str, Callable[..., object]] = {}
    exec(program, names)  # type: ignore[arg-type]
    return repr(names["f"](*eval(f"({given},)")))
