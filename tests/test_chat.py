"""One question, two answers: both sides are asked the same, hostile text stays text, and 80 columns are enough."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as RichConsole

from minizero.cli.conversation import chat, draw, read_question
from minizero.config import load_config
from minizero.evaluation.ask import Reply, Sides
from minizero.prompts.question import EXAMPLE, ask, task_of
from minizero.report.console import Console
from minizero.types import EvaluationError, StyleError, TaskType
from tests.in_process import command
from tests.test_export import a_run

HOSTILE = "\x1b]0;title\x07\x1b[2J[bold]not bold[/bold] \u202ereversed"


def text_of(replies: list[Reply], width: int) -> str:
    out = io.StringIO()
    RichConsole(file=out, width=width, highlight=False, force_terminal=True, color_system=None).print(
        draw(replies, width)
    )
    return out.getvalue()


def reply(side: str, text: str) -> Reply:
    return Reply(side, text, 3, 1.25, is_cut=False)


def lines(*given: str) -> Callable[[str], str]:
    waiting = list(given)

    def read(prompt: str) -> str:
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    return read


class Scripted(Sides):
    """Sides that say what they were asked."""

    def __init__(self, style: str = "chat") -> None:
        self.subject = type("S", (), {"name": "a-run"})()  # type: ignore[assignment]
        self.style, self.max_tokens, self.asked = style, 9, list[str]()

    def ask(self, question: str, **_: Any) -> list[Reply]:
        ask(self.style, question)
        self.asked.append(question)
        return [reply("base", f"base hears {len(question)}"), reply("trained", f"trained hears {len(question)}")]


def test_answers_stand_side_by_side_on_a_wide_terminal_and_one_under_the_other_at_80_columns() -> None:
    replies = [reply("base", "first"), reply("trained", "second")]
    wide, narrow = text_of(replies, 120).splitlines(), text_of(replies, 80).splitlines()
    assert any("first" in line and "second" in line for line in wide)
    assert [line.strip() for line in narrow if not line.startswith("─")][:2] == ["first", "second"] or (
        narrow[1].strip() == "first" and narrow[3].strip() == "second"
    )
    assert max(map(len, narrow)) <= 80
    assert "base: 3 tokens, 1.2 s" in narrow[0]


def test_long_answers_fold_and_lose_nothing() -> None:
    long = "x" * 300
    for width in (80, 120):
        assert text_of([reply("base", long), reply("trained", "")], width).count("x") == 300


def test_no_escape_of_a_model_reaches_the_terminal() -> None:
    for width in (80, 120):
        shown = text_of([reply("base", HOSTILE), reply("trained", HOSTILE)], width)
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
        assert "[bold]" in "".join(shown.split("\n"))
        assert "\\x1b[2J" in shown


def test_equal_answers_are_called_equal() -> None:
    assert "both said the same" in text_of([reply("base", "a"), reply("trained", "a")], 80)
    assert "both said the same" not in text_of([reply("base", "a"), reply("trained", "b")], 80)


def test_a_question_is_a_line_and_one_in_blocks_ends_with_an_empty_line() -> None:
    assert read_question(lines("what is 2 + 2?", "more")) == "what is 2 + 2?"
    assert read_question(lines(*EXAMPLE.split("\n"), "", "more")) == EXAMPLE
    inside = ["```python", "def f(x):", "", "    return x", "```", "```input", "1", "```", ""]
    assert read_question(lines(*inside)) == "\n".join(inside[:-1])
    assert read_question(lines("")) == ""
    assert read_question(lines()) == ""
    assert read_question(lines("```python", "def f")) == ""  # the input ended inside a block


def test_questions_follow_each_other_until_an_empty_line() -> None:
    sides, out = Scripted(), io.StringIO()
    console = Console(RichConsole(file=out, width=80, highlight=False))
    chat(sides, console, read=lines("one", "three?", "", "never"))
    assert sides.asked == ["one", "three?"]
    assert "a-run, prompt style chat." in out.getvalue()
    assert "trained hears 6" in out.getvalue()


def test_a_question_that_the_tiny_model_cannot_read_is_answered_with_the_form() -> None:
    sides, out = Scripted("compact"), io.StringIO()
    chat(sides, Console(RichConsole(file=out, width=80)), read=lines("what is 2 + 2?", ""))
    assert sides.asked == []
    assert out.getvalue().count("For example:") == 2  # at the start, and as the answer
    with pytest.raises(StyleError, match="reads tasks in blocks and nothing else"):
        chat(sides, Console(RichConsole(file=out)), question="what?")


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (EXAMPLE, TaskType.DEDUCTION),
        ("```python\ndef f(x): return x\n```\n```output\n1\n```", TaskType.ABDUCTION),
        ("```input\n1\n```\n```output\n2\n```\n```input\n2\n```\n```output\n3\n```\n```message\nadd\n```",
         TaskType.INDUCTION),
    ],
)  # fmt: skip
def test_what_is_missing_in_a_task_is_what_is_asked_for(question: str, kind: TaskType) -> None:
    assert task_of(question).type is kind
    asked = ask("compact", question)
    assert asked.prefill == ""  # whether it reasons is the model's choice
    shows = {TaskType.DEDUCTION: "```input\n", TaskType.ABDUCTION: "```output\n", TaskType.INDUCTION: "```message\n"}
    assert asked.messages[0].content.rpartition(shows[kind])[2].count("```") == 1


@pytest.mark.parametrize("question", ["", "x", "```python\ndef f(x): return x\n```", "```input\n1\n```"])
def test_a_text_that_is_no_task_is_refused(question: str) -> None:
    with pytest.raises(StyleError, match="in blocks"):
        task_of(question)


def test_each_style_asks_as_it_was_trained() -> None:
    chatty, r1 = ask("chat", "Why?"), ask("r1", "Why?")
    assert (chatty.chat, chatty.prefill, chatty.messages[0].content) == (True, "", "Why?")
    assert (r1.chat, r1.prefill, r1.stop) == (False, "<think>", ("</answer>",))
    assert "User: Why?\nAssistant: " in r1.messages[0].content


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_both_sides_of_a_run_are_asked_with_the_same_dice(tmp_path: Path, random_model: Path, kind: str) -> None:
    run = a_run(tmp_path / "run", random_model, kind=kind)
    sides = Sides.open(str(run), max_tokens=12, settings=("run.threads=1", "model.device=cpu"))
    assert sides.style == "r1"  # the random model has no chat template
    greedy = sides.ask("Why?")
    assert [each.side for each in greedy] == ["base", "trained"]
    assert greedy[0].text != greedy[1].text
    assert [each.text for each in sides.ask("Why?")] == [each.text for each in greedy]
    sampled = [[each.text for each in sides.ask("Why?", temperature=1.0, rng_seed=seed)] for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert all(each.text.startswith("<think>") and each.tokens <= 12 for each in greedy)
    sides.close()


def test_a_run_that_learned_nothing_says_the_same_on_both_sides(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model, trained=False)
    sides = Sides.open(str(run), max_tokens=8, settings=("run.threads=1", "model.device=cpu"))
    base, trained = sides.ask("Why?")
    assert base.text == trained.text


def test_a_question_that_leaves_no_place_for_an_answer_is_refused() -> None:
    sides = Sides.open("tiny", settings=("run.threads=1", "model.device=cpu"))
    with pytest.raises(EvaluationError, match=r"the question has \d+ tokens, and tiny reads 1024"):
        sides.ask(EXAMPLE.replace("[3, 1, 2]", str(list(range(2000)))))
    assert sides.ask(EXAMPLE)[0].text.startswith("```output\n")


def test_the_run_says_which_style_it_was_trained_on(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model)
    text = (run / "config.toml").read_text().replace('style = "auto"', 'style = "compact"')
    (run / "config.toml").write_text(text)
    assert load_config([run / "config.toml"]).prompt.style == "compact"
    assert Sides.open(str(run), settings=("run.threads=1", "model.device=cpu")).style == "compact"
    with pytest.raises(EvaluationError, match="expected auto or one of r1, chat, few-shot, direct, compact"):
        Sides.open(str(run), style="polite")


def test_a_question_from_standard_input_is_answered_at_once(tmp_path: Path) -> None:
    done = command("chat", "tiny", "--set", "run.threads=1", cwd=tmp_path, stdin=EXAMPLE)
    assert done.returncode == 0, done.stderr
    title, *answer = done.stdout.splitlines()
    assert title.startswith("base: ")
    assert answer[0] == "```output"
    assert "loading" not in done.stdout
