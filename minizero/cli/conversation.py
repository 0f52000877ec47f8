"""A question and both answers in the terminal, side by side where it is wide enough, else one under the other.

Reading order: chat (one question, or one after the other until the user stops), read_question, draw, terminals. What a
model writes is hostile: it is never read as markup, and control characters are written as escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from minizero.evaluation.ask import Reply, Sides
from minizero.formatting import duration, visible
from minizero.prompts.question import FORMS, FREE
from minizero.report.console import Console
from minizero.types import EvaluationError, StyleError

WIDE = 100  # columns from which two answers stand side by side
HELP = (
    "One line is a question. A line that begins with ``` begins a question of several lines, which ends with an empty "
    "line outside of its blocks. Each question stands alone. Ctrl-D or an empty line ends."
)


def chat(
    sides: Sides,
    console: Console,
    *,
    question: str = "",
    temperature: float = 0.0,
    rng_seed: int = 0,
    read: Callable[[str], str] = input,
    out: RichConsole | None = None,
) -> None:
    """Ask `question` and return; without one, ask what `read` gives, until it gives nothing. Answers go to `out`, by
    default the console too.

    Raises StyleError for a single question that the style has no words for; asked one after the other, that is said.
    """
    out = out or console.rich
    if question:
        _ask(sides, console, out, question, temperature, rng_seed)
        return
    console.say(f"{sides.subject.name}, prompt style {sides.style}. {HELP}")
    if sides.style not in FREE:
        console.say(f"\n{FORMS}")
    while question := read_question(read):
        try:
            _ask(sides, console, out, question, temperature, rng_seed)
        except (StyleError, EvaluationError) as error:
            console.say(str(error))


def read_question(read: Callable[[str], str]) -> str:
    """A question of one line or, where it begins with a block, of several; "" at the end of the input or for an empty
    line."""
    lines: list[str] = []
    try:
        lines.append(read("\n> "))
        while lines[0].startswith("```") and (lines[-1].strip() or _is_open(lines)):
            lines.append(read(". "))
    except (EOFError, KeyboardInterrupt):
        return "\n".join(lines).strip() if lines and not _is_open(lines) else ""
    return "\n".join(lines).strip()


def _is_open(lines: Sequence[str]) -> bool:
    return sum(line.startswith("```") for line in lines) % 2 == 1


def _ask(sides: Sides, console: Console, out: RichConsole, question: str, temperature: float, rng_seed: int) -> None:
    with console:  # a line that moves while the model writes, and none while the user does
        console.phase("asking")
        replies = sides.ask(question, temperature=temperature, rng_seed=rng_seed, tick=console.tick)
        console.phase("")
    out.print(draw(replies, out.width))


def draw(replies: Sequence[Reply], width: int) -> RenderableType:
    """The replies in columns of equal width, or one under the other below WIDE columns."""
    texts = [Text(visible(reply.text.strip("\n")), overflow="fold") for reply in replies]
    if width < WIDE or len(replies) < 2:
        parts: list[Any] = []
        for reply, text in zip(replies, texts, strict=True):
            parts += [Rule(Text(_title(reply)), align="left", style="dim"), text]
        return Group(*parts, *_remark(replies))
    table = Table(expand=True)
    for reply in replies:
        table.add_column(Text(_title(reply)), ratio=1, overflow="fold")
    table.add_row(*texts)
    return Group(table, *_remark(replies))


def _title(reply: Reply) -> str:
    cut = ", cut by the token limit" if reply.is_cut else ""
    return f"{reply.side}: {reply.tokens} token{'' if reply.tokens == 1 else 's'}, {duration(reply.seconds)}{cut}"


def _remark(replies: Sequence[Reply]) -> list[Text]:
    same = len(replies) == 2 and replies[0].text == replies[1].text
    return [Text("both said the same", style="dim")] if same else []


def terminals() -> tuple[Console, RichConsole]:
    """Where progress goes, the standard error, and where answers go, so that a pipe gets these alone."""
    return Console(RichConsole(stderr=True, highlight=False)), RichConsole(highlight=False)
