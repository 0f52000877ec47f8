"""The few-shot formats: what is asked, how answers are read, when they are chosen, and the share that could be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minizero.evaluation import few_shot, formats
from minizero.evaluation.command import with_format
from minizero.evaluation.evaluate import Options, evaluate
from minizero.evaluation.generate import SamplingSettings
from minizero.evaluation.problems import Problem, Suite
from minizero.evaluation.subject import Subject
from minizero.evaluation.suites import suite
from minizero.rollout.scripted import ScriptedSampler
from minizero.types import EvaluationError, Quiet, Request
from sandbox.values import parse_arguments, parse_value

PROBLEM = Problem(
    "p", "def f(a, b):\n    return a + b", "", "f",
    {"program": "def f(a, b):\n    return a + b", "input": "'x', '=='", "output": "'x=='"},
)  # fmt: skip
OUTPUT, INPUT = suite("cruxeval-o"), suite("cruxeval-i")
STATEMENT = replace(OUTPUT, kind="statement")


class Said(Quiet):
    """Keeps the lines that stay."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("style", [few_shot.DIRECT, few_shot.WITH_THOUGHT])
@pytest.mark.parametrize("chosen", [OUTPUT, INPUT, STATEMENT], ids=lambda chosen: chosen.kind)
def test_the_prompt_has_two_examples_and_ends_where_the_model_goes_on(chosen: Suite, style: str) -> None:
    prompt = formats.ask(chosen, PROBLEM, style)
    text = prompt.messages[0].content
    think = style == few_shot.WITH_THOUGHT
    assert not prompt.chat
    assert text.count("\n[ANSWER]\nassert f(") == 2
    assert text.count("\n[THOUGHT]\n") == (2 if think else 0)
    assert text.count("[TEXT]\n" if chosen.kind == "statement" else "[PYTHON]\n") == 3
    assert text.endswith("[/TEXT]\nassert f('x', '==') == ??\n" if chosen.kind == "statement" else "[/PYTHON]\n")
    begun = {"input": "assert f"}.get(chosen.kind, "assert f('x', '==') ==")
    assert prompt.prefill == ("[THOUGHT]\n" if think else f"[ANSWER]\n{begun}")
    assert ("'x', '=='" in text.rpartition("[PYTHON]")[2]) is (chosen.kind != "input")


def test_no_prompt_ends_with_a_parenthesis_whose_token_may_hold_a_quote_too() -> None:
    """Qwen2.5-Coder-0.5B wrote f(123456789) and f(POO) after "f(", and no text in quotes."""
    for style in (few_shot.DIRECT, "direct"):
        prompt = formats.ask(INPUT, PROBLEM, style)
        assert (prompt.messages[0].content + prompt.prefill).endswith(("assert f", "result = f"))


@pytest.mark.parametrize(
    ("chosen", "style", "text", "answer"),
    [
        (OUTPUT, "few-shot", " 'x=='\n[/ANSWER]\n\n[PYTHON]", "'x=='"),
        (OUTPUT, "few-shot", " 'a == b'", "'a == b'"),
        (OUTPUT, "few-shot", " [1,\n 2]\n[/ANSWER]", "[1,\n 2]"),
        (OUTPUT, "few-shot", " 5\n\nThat is because", "5"),
        (OUTPUT, "few-shot-cot", "It is.\n[/THOUGHT]\n[ANSWER]\nassert f('x', '==') == 'x=='\n[/ANSWER]", "'x=='"),
        (OUTPUT, "few-shot-cot", "It is.\n[/THOUGHT]\n[ANSWER]\nf('x', '=') == 'x='\n", "'x='"),
        (OUTPUT, "few-shot-cot", "It is.\n[/THOUGHT]\n[ANSWER]\n'x=='", "'x=='"),
        (OUTPUT, "few-shot-cot", "It is 5, and it is 5, and", ""),
        (INPUT, "few-shot", "('x', '==') == 'x=='\n[/ANSWER]", "'x', '=='"),
        (INPUT, "few-shot", "('(', ')')", "'(', ')'"),
        (INPUT, "few-shot", "('x', '==", ""),
        (INPUT, "direct", "('x', '==')  # as asked\nresult", "'x', '=='"),
        (INPUT, "direct", "('x', '==", ""),
        (INPUT, "few-shot-cot", "So.\n[/THOUGHT]\n[ANSWER]\nassert f('x', '==') == 'x=='\n[/ANSWER]", "'x', '=='"),
        (STATEMENT, "few-shot", " 'x=='\n[/ANSWER]", "'x=='"),
    ],
)
def test_answers_are_read_from_their_tags(chosen: Suite, style: str, text: str, answer: str) -> None:
    assert formats.read(chosen, PROBLEM, style, text) == answer
    if answer:
        (parse_arguments if chosen is INPUT else parse_value)(answer)


def test_programs_are_not_asked_for_by_examples_of_values() -> None:
    with pytest.raises(EvaluationError, match="does not fit humaneval"):
        formats.ask(suite("humaneval"), PROBLEM, "few-shot")


@pytest.mark.parametrize(
    ("model", "suites", "asked", "style", "value_style"),
    [
        ("x/Coder-0.5B-Instruct", ("cruxeval",), "auto", "few-shot", ""),
        ("x/Coder-0.5B", ("cruxeval", "lcb-execution", "lcb-test-output"), "auto", "few-shot", ""),
        ("x/Coder-0.5B-Instruct", ("humaneval+", "cruxeval-o"), "auto", "chat", "few-shot"),
        ("x/Coder-0.5B", ("humaneval+",), "auto", "direct", ""),
        ("x/Coder-0.5B-Instruct", ("cruxeval",), "chat", "chat", ""),
        ("tiny", ("cruxeval",), "auto", "compact", ""),
    ],
)
def test_values_are_asked_for_by_examples_unless_a_format_is_named(
    model: str, suites: tuple[str, ...], asked: str, style: str, value_style: str
) -> None:
    sampling = with_format(Subject("s", model), SamplingSettings(suites, asked, 0))
    assert (sampling.style, sampling.value_style) == (style, value_style)


def test_sampled_answers_take_the_protocols_temperature_unless_one_is_named() -> None:
    few, direct = SamplingSettings((), "few-shot", 1), SamplingSettings((), "direct", 1)
    assert (few.temperature_of(OUTPUT), direct.temperature_of(OUTPUT)) == (0.2, 0.6)
    mixed = SamplingSettings((), "chat", 1, value_style="few-shot")
    assert (mixed.temperature_of(suite("humaneval")), mixed.temperature_of(OUTPUT)) == (0.6, 0.2)
    assert replace(few, temperature=1.0).temperature_of(OUTPUT) == 1.0


def test_the_share_that_could_be_read_stands_beside_each_score_and_a_low_one_is_a_warning(
    data: Path, tmp_path: Path
) -> None:
    problems = OUTPUT.load(data)[:4]
    texts = {problem.data["program"]: problem.solution for problem in problems[:3]}

    def script(request: Request, index: int) -> str:
        asked = request.prompt.messages[0].content
        return next((f" {answer}\n[/ANSWER]" for program, answer in texts.items() if program in asked), " who knows")

    said = Said()
    sampling = SamplingSettings(("cruxeval-o",), "few-shot", 0, limit=4)
    done = evaluate(Subject("m", "m"), sampling, tmp_path / "e", said, Options(data), sampler=ScriptedSampler(script))
    counts = done.scores["cruxeval-o"]["base"]
    assert (sum(counts.greedy), counts.parsed) == (3, 0.75)
    assert any("greedy 3/4" in line and "75% parsed" in line for line in said.lines)
    assert any("only 75% of these answers hold something that can be read" in line for line in said.lines)
    assert done.manifest["suites"]["cruxeval-o"]["format"] == "few-shot"
