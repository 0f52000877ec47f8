"""One question to both sides of a subject, the base and what was trained of it, with the same dice.

Reading order: Reply, Sides.open, Sides.ask. A LoRA is one model whose adapter is switched off and on; of a run that
trained all parameters both models are loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minizero.config import load_config
from minizero.evaluation.subject import Engine, Subject, engines_of, find_subject, open_engine
from minizero.models.names import architecture, locate
from minizero.models.style import style_of
from minizero.prompts import STYLES
from minizero.prompts.question import ask
from minizero.rollout.protocol import stream_seed
from minizero.types import EvaluationError, MiniZeroError, Progress, Quiet, Request

MAX_TOKENS, TINY_TOKENS = 1024, 224


@dataclass(frozen=True, slots=True)
class Reply:
    """What one side said. `text` begins with what the prompt had begun for it (<think>); it is hostile, as it came."""

    side: str  # base or trained
    text: str
    tokens: int
    seconds: float
    is_cut: bool  # by the token limit


@dataclass(slots=True)
class Sides:
    """A subject's sides, loaded and ready to be asked."""

    subject: Subject
    style: str
    max_tokens: int
    _engines: list[tuple[Engine, tuple[str, ...]]]

    @classmethod
    def open(
        cls,
        what: str,
        *,
        style: str = "auto",
        max_tokens: int = 0,
        settings: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Sides:
        """Load the sides of a run, an adapter or a model. `style`: of the prompts; auto: what the run was trained on,
        or what suits the model. Raises EvaluationError or ModelError for what cannot be loaded."""
        if style not in ("auto", *STYLES):
            raise EvaluationError(f"--style {style}: expected auto or one of {', '.join(STYLES)}.")
        progress, subject = progress or Quiet(), find_subject(what)
        if style == "auto":
            style = _style_of_run(what)
        engines = []
        for part, sides in engines_of(subject):
            progress.phase(f"loading {part.model}")
            engines.append((open_engine(part, settings), sides))
        sampler: Any = engines[0][0].sampler
        if style == "auto":
            tokenizer = sampler.tokenizer
            style = style_of(subject.model, tokenizer.backend, tokenizer.eos_ids).name
        return cls(subject, style, max_tokens or (TINY_TOKENS if style == "compact" else MAX_TOKENS), engines)

    def ask(
        self,
        question: str,
        *,
        temperature: float = 0.0,
        rng_seed: int = 0,
        tick: Callable[[int, str], None] = lambda pending, detail: None,
    ) -> list[Reply]:
        """Each side's reply, the base's first. Temperature 0: the likeliest token each time.

        Raises EvaluationError for a question that leaves no place for an answer; StyleError where the style has no
        words for it.
        """
        prompt = ask(self.style, question)
        seed = stream_seed("chat", rng_seed, question)
        replies = []
        for engine, sides in self._engines:
            length = len(engine.sampler.prompt_ids(prompt))
            room = _positions(self.subject.model) - length
            if room < 1:
                raise EvaluationError(
                    f"the question has {length} tokens, and {self.subject.model} reads {room + length} together with "
                    "its answer. Ask a shorter one."
                )
            for side in sides:
                started = time.monotonic()
                engine.sampler.submit(
                    Request(
                        f"chat/{side}",
                        prompt,
                        min(self.max_tokens, room),
                        seed,
                        temperature=temperature,
                        adapter=side == "trained",
                    )
                )
                done = []
                while engine.sampler.pending:
                    done += engine.sampler.poll()
                    tick(engine.sampler.pending, f"{side}: {engine.sampler.generated} tokens")
                engine.sampler.take_usage()
                (reply,) = done
                text, spent = prompt.prefill + reply.text, time.monotonic() - started
                replies.append(Reply(side, text, len(reply.ids), spent, reply.finish == "length"))
        return replies

    def close(self) -> None:
        """Give back what the engines hold."""
        for engine, _ in self._engines:
            engine.sampler.close()


def _style_of_run(what: str) -> str:
    """prompt.style of a run; auto for what is none, or of another version."""
    file = Path(what).expanduser() / "config.toml"
    try:
        return load_config([file]).prompt.style if file.is_file() else "auto"
    except MiniZeroError:
        return "auto"


def _positions(name: str) -> int:
    """How many tokens a model reads; a large number where its directory does not say."""
    try:
        sizes = architecture(locate(name))
    except (OSError, ValueError):
        return 1 << 20  # a hub name: its files lie in a cache, and the sampler has them
    return int(sizes.get("max_position_embeddings") or sizes.get("n_positions") or 1 << 20)
