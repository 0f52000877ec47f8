"""How long answers are and how many reason: what a step and a validation say of it, by hand."""

from minizero.config import load_config
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.scoring import score, step_metrics
from minizero.selfplay.validation import Validation, validate
from minizero.tasks.blocks import is_reasoned
from minizero.types import AnswerOutcome, Completion, Pair, Role, Task, TaskType, Verdict
from sandbox import Sandbox

ONE_LINE = Task(TaskType.DEDUCTION, "def f(x):\n    return x * 2", (Pair("3", "6"),))
TWO_LINES = Task(TaskType.ABDUCTION, "def f(x):\n    x = x + 1\n    return x * 2", (Pair("3", "8"),))
AT_ONCE = "```output\n6\n```\n"
REASONED = "<think>\nx * 2\n6\n</think>\n```output\n6\n```\n"


def answer(task, text, tokens, is_right):
    completion = Completion(f"{Role.SOLVE}/{task.id}", 0, (1,), (2,) * tokens, (-1.0,) * tokens, text, "stop")
    return AnswerOutcome(
        task, text, True, Verdict(is_right, float(is_right), "correct" if is_right else "wrong")
    ), completion


def test_text_in_think_tags_is_reasoning_and_a_lone_closing_tag_ends_one():
    assert [is_reasoned(text) for text in (AT_ONCE, REASONED, "1 or 2?</think>2", "<think>cut", "")] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_a_step_tells_lengths_shares_and_rates_of_answers_and_attempts():
    answers = [answer(ONE_LINE, AT_ONCE, 4, True), answer(ONE_LINE, REASONED, 10, True)]
    attempts = [answer(TWO_LINES, AT_ONCE, 6, False), answer(TWO_LINES, REASONED, 20, False)]
    values = step_metrics(score([], answers, attempts, {}, load_config(), None))
    told = {
        name: value
        for name, value in values.items()
        if name.startswith(("solve/answer", "solve/reasoned", "solve/at_"))
    }
    assert told == {
        "solve/answer_tokens": 10.0,
        "solve/answer_tokens/deduction": 7.0,
        "solve/answer_tokens/abduction": 13.0,
        "solve/answer_tokens_by_lines/1": 7.0,
        "solve/answer_tokens_by_lines/2": 13.0,
        "solve/reasoned_frac": 0.5,
        "solve/reasoned_frac/deduction": 0.5,
        "solve/reasoned_frac/abduction": 0.5,
        "solve/reasoned_correct_frac": 0.5,
        "solve/reasoned_correct_frac/deduction": 1.0,
        "solve/reasoned_correct_frac/abduction": 0.0,
        "solve/at_once_correct_frac": 0.5,
        "solve/at_once_correct_frac/deduction": 1.0,
        "solve/at_once_correct_frac/abduction": 0.0,
    }


def test_a_validation_counts_what_reasoned_and_what_was_cut(box: Sandbox) -> None:
    config = load_config(["configs/tiny.toml"], ["eval.samples=2", "selfplay.solve_max_tokens=60"])

    def script(request, index):
        if request.temperature == 0:
            return REASONED
        return AT_ONCE if index else "<think>\n" + "x\n" * 40

    found = validate([ONE_LINE], config, step=3, sampler=ScriptedSampler(script), box=box, style="compact")
    (row,) = found.rows
    assert (row["greedy"], row["greedy_reasoned"], row["correct"], row["reasoned"], row["cut"]) == (True, True, 1, 1, 1)
    assert found.metrics()["eval/reasoned_frac"] == 0.5
    assert found.metrics()["eval/answer_tokens"] == row["tokens"] / 2


def test_a_validation_of_an_earlier_version_has_no_reasoning_to_tell_of():
    row = {"id": "a", "type": "deduction", "lines": 1, "greedy": True, "correct": 1, "tokens": 8, "nats": 1.0}
    assert Validation(0, 2, (row,)).metrics()["eval/answer_tokens"] == 4.0
    assert Validation(0, 2, (row,)).metrics()["eval/reasoned_frac"] == 0.0
