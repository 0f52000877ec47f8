"""`minizero chat`: the same question to the base and to what was trained of it."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import tyro


def chat(
    subject: Annotated[str, tyro.conf.Positional],
    /,
    *,
    ask: str = "",
    temperature: float = 0.0,
    max_tokens: int = 0,
    style: str = "auto",
    rng_seed: int = 0,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Ask base and trained model the same question, and show both answers.

    Args:
        subject: A run directory or a checkpoint of it (RUN/checkpoints/step-N), an adapter directory, a model
            directory, a hub name, or tiny.
        ask: The question; without it, what standard input holds, or in a terminal one question after the other.
        temperature: 0: the likeliest token each time; above: sampled, both sides with the same dice.
        max_tokens: Longest answer; 0: 1024, and 224 of the tiny model.
        style: r1, chat or compact; auto: as the run was trained, or what suits the model. The tiny model (compact)
            reads tasks in blocks.
        rng_seed: Of the dice.
        set: One engine setting, section.name=value; may be repeated.
    """
    from minizero.cli.conversation import chat as talk
    from minizero.cli.conversation import terminals
    from minizero.evaluation.ask import Sides
    from minizero.types import EvaluationError

    if temperature < 0:
        raise EvaluationError(f"--temperature {temperature}: expected 0 (the likeliest token) or more.")
    if not ask and not sys.stdin.isatty() and not (ask := sys.stdin.read().strip()):
        raise EvaluationError("standard input holds no question. Give one there, or with --ask, or use a terminal.")
    console, out = terminals()
    with console:
        sides = Sides.open(subject, style=style, max_tokens=max_tokens, settings=set, progress=console)
        console.phase("")
    with closing(sides):
        talk(sides, console, question=ask, temperature=temperature, rng_seed=rng_seed, out=out)
