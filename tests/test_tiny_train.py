"""Making and measuring the tiny model."""

import ast
import json
import random
import re
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from minizero.prompts import compact
from minizero.tiny import load
from minizero.tiny.card import model_card, propose_table, solve_table
from minizero.tiny.evaluate import main
from minizero.tiny.generate import generate
from minizero.tiny.label_noise import OFTEN, SELDOM, is_tempting, noisy_label
from minizero.tiny.measure import Proposed, Solved, propose_tasks, solve_tasks
from minizero.tiny.model import build_model
from minizero.tiny.quick import is_solved
from minizero.tiny.sequences import AT_ONCE, SKILL, Branch, Curriculum, PromptTree, proposal, render, solution
from minizero.tiny.sets import DIRECTORY
from minizero.tiny.tokenizer import build_tokenizer
from minizero.tiny.train import Muon, Settings, _loss_sum, _pad, _tokens, train
from minizero.tiny.train import main as make_model
from minizero.tiny.world import draw_example, interpret, operations_of, program_of
from minizero.types import Pair, Task, TaskType
from sandbox import Sandbox

DOUBLE = Task(TaskType.DEDUCTION, "def f(x):\n    return x * 2", (Pair("3", "6"),))
DOUBLE_BACK = Task(TaskType.ABDUCTION, DOUBLE.program, (Pair("3", "6"),))
DOUBLE_FROM_PAIRS = Task(TaskType.INDUCTION, DOUBLE.program, (Pair("3", "6"), Pair("4", "8")), message="f", shown=1)


def text_of(branch):
    return "".join(piece.text for piece in branch.completion)


@pytest.fixture(scope="module")
def shipped():
    model = AutoModelForCausalLM.from_pretrained(DIRECTORY, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(DIRECTORY)


def test_an_answer_opens_its_own_block_and_a_proposal_continues_the_prefill():
    assert solution(DOUBLE) == "```output\n6\n```\n"
    assert solution(DOUBLE_BACK) == "```input\n3\n```\n"
    assert solution(DOUBLE_FROM_PAIRS) == "```python\ndef f(x):\n    return x * 2\n```\n"
    assert proposal(DOUBLE) == "def f(x):\n    return x * 2\n```\n```input\n3\n```\n"
    assert proposal(DOUBLE_FROM_PAIRS) == "3\n```\n```input\n4\n```\n```message\nf\n```\n"


def test_the_quick_judge_tells_right_from_wrong():
    assert is_solved(DOUBLE, "```output\n6\n```\n")
    assert not is_solved(DOUBLE, "```output\n7\n```\n")
    assert is_solved(DOUBLE, "<think>\nx * 2\n7\n</think>\n```output\n6\n```\n")
    assert not is_solved(DOUBLE, "<think>\nx * 2\n6\n</think>\n```output\n7\n```\n")  # the last line is graded
    assert not is_solved(DOUBLE, "<think>\nx * 2\n6\n")  # cut
    assert is_solved(DOUBLE_BACK, "```input\n3\n```\n")
    assert not is_solved(DOUBLE_BACK, "```input\n'a'\n```\n")
    assert is_solved(DOUBLE_FROM_PAIRS, "```python\ndef f(x):\n    return x * 2\n```\n")
    assert not is_solved(DOUBLE_FROM_PAIRS, "```python\ndef f(x):\n    return x + 3\n```\n")


def test_early_programs_are_shorter_than_late_ones():
    def lines(progress):
        curriculum = Curriculum(random.Random(0))
        for _ in range(256):
            curriculum.draw(progress)
        return sum(example.lines for example in curriculum.recent)

    assert lines(0.0) < 0.8 * lines(1.0)


def test_a_row_asks_several_questions_about_one_program_in_the_format_of_self_play():
    curriculum = Curriculum(random.Random(0))
    row = next(row for row in iter(lambda: curriculum.draw(1.0), None) if row.kind == "run")
    assert ["input" if "```input" in branch.prompt else "output" for branch in row.branches] == [
        *["input"] * 2, *["output"] * 2,
    ]  # fmt: skip
    program = row.stem.removeprefix("```python\n")
    for branch in row.branches[:2]:
        given = branch.prompt.split("\n")[3]
        text = text_of(branch)
        task = Task(TaskType.DEDUCTION, program, (Pair(given, text.rpartition("```output\n")[2].split("\n")[0]),))
        assert row.stem + branch.prompt == render(compact.solve(task))
        assert is_solved(task, text)


@pytest.mark.parametrize(("habit", "share"), [(SKILL, 0.6), (AT_ONCE, 0.2)])
def test_the_habit_says_how_many_answers_reason(habit, share):
    curriculum = Curriculum(random.Random(0), habit)
    branches = [b for row in (curriculum.draw(1.0) for _ in range(600)) if row.kind != "propose" for b in row.branches]
    assert sum(text_of(branch).startswith("<think>\n") for branch in branches) / len(branches) == pytest.approx(
        share, abs=0.04
    )


def test_a_row_of_branches_has_the_loss_of_its_prompts_one_by_one(monkeypatch):
    monkeypatch.setattr("minizero.tiny.train._has_bf16", lambda: False)  # so that nothing but the sums' order differs
    tokenizer, settings, curriculum = build_tokenizer(), Settings(), Curriculum(random.Random(3))
    model = build_model(seed=0)
    model.set_attn_implementation("eager")
    row = next(row for row in iter(lambda: curriculum.draw(1.0), None) if row.kind == "run")
    apart = [PromptTree("", (Branch(row.stem + branch.prompt, branch.completion),)) for branch in row.branches]
    together = _loss_sum(model, _pad([_tokens(row, tokenizer, settings)]))
    one_by_one = _loss_sum(model, _pad([_tokens(single, tokenizer, settings) for single in apart]))  # padded, too
    torch.testing.assert_close(together, one_by_one)


def test_loss_falls_on_completions_and_on_outputs_shown_in_induction_prompts():
    tokenizer, curriculum = build_tokenizer(), Curriculum(random.Random(0))
    settings = Settings(induce_weight=2.0, prompt_weight=0.5, propose_weight=0.25)
    for row in (curriculum.draw(1.0) for _ in range(100)):
        tokens = _tokens(row, tokenizer, settings)
        learned = {
            weight: tokenizer.decode([t for t, w, *_ in tokens if w == weight]) for weight in (0.25, 0.5, 1.0, 2.0)
        }
        completions = "".join(
            "".join(piece.text for piece in branch.completion if piece.learned) + "<eos>" for branch in row.branches
        )
        assert learned[{"run": 1.0, "induce": 2.0, "propose": 0.25}[row.kind]] == completions
        outputs = row.branches[0].prompt.split("```output\n")[1:] if row.kind == "induce" else []
        assert learned[0.5].count("\n```\n") == len(outputs)
        assert all(output.split("\n")[0] in learned[0.5] for output in outputs)


def test_training_twice_gives_the_same_weights_and_a_model_that_loads(tmp_path):
    settings = Settings(steps=3, habit_steps=2, batch=8, micro_rows=4, ranks=1, seed=5, validation_tasks=0)
    for name in ("one", "other"):
        train(settings, tmp_path / name)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == AutoTokenizer.from_pretrained(tmp_path / "one").eos_token_id == 1
    assert json.loads((tmp_path / "one" / "training.json").read_text())["rows"] == 40


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_muon_takes_the_steps_of_torch_which_computes_in_bf16(shape):
    torch.manual_seed(0)
    start = torch.randn(2, *shape)
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    settings = {"lr": 0.01, "weight_decay": 0.1}
    optimisers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(shape)
            other.grad = one.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        assert (one - other).norm() < 0.03 * (other - before).norm()


@pytest.mark.slow
def test_two_ranks_take_the_step_of_all_their_rows(tmp_path):
    arguments = ["--steps", "2", "--habit-steps", "1", "--seed", "3", "--validation-tasks", "0"]
    for name in ("one", "other"):
        make_model(["--out", str(tmp_path / name), *arguments])
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    record = json.loads((tmp_path / "one" / "training.json").read_text())
    assert (record["ranks"], record["rows"]) == (2, 3 * 24)


def test_the_habit_trained_in_a_sitting_of_its_own_gives_the_same_weights(tmp_path):
    settings = Settings(batch=8, micro_rows=4, ranks=1, validation_tasks=1)
    train(replace(settings, steps=2, habit_steps=2), tmp_path / "whole")
    train(replace(settings, steps=2, habit_steps=0), tmp_path / "start")
    train(replace(settings, steps=0, habit_steps=2), tmp_path / "end", start_from=tmp_path / "start")
    record = json.loads((tmp_path / "end" / "training.json").read_text())
    assert (record["sittings"], record["steps"], record["rows"]) == (2, 2, 32)
    start, end, whole = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("start", "end", "whole"))
    assert start != end == whole


def test_label_noise_leaves_out_one_line_and_mostly_a_tempting_one():
    rng = random.Random(0)
    labels = []
    for _ in range(2000):
        example = draw_example(rng)
        wrong = noisy_label(rng, example)
        texts = operations_of(example.program)
        tempting = [text for text in texts if is_tempting(text)]
        labels.append((len(texts) > 1, bool(tempting), wrong is not None))
        if wrong is None:
            continue
        left_out = {text for k, text in enumerate(texts) if program_of(texts[:k] + texts[k + 1 :]) == wrong.program}
        assert len(left_out) == 1
        assert not tempting or left_out <= set(tempting)
        assert wrong.outputs == tuple(interpret(wrong.program, value) for value in example.inputs)
    for is_tempted, share in ((True, OFTEN), (False, SELDOM)):
        made = [is_noisy for several, tempted, is_noisy in labels if several and tempted is is_tempted]
        assert sum(made) / len(made) == pytest.approx(share, abs=0.05)
    assert not any(is_noisy for several, _, is_noisy in labels if not several)


def test_with_label_noise_some_answers_of_a_row_are_those_of_a_shorter_program():
    curriculum = Curriculum(random.Random(0), AT_ONCE)
    right = wrong = 0
    for row in (curriculum.draw(1.0) for _ in range(150)):
        for branch in row.branches if row.kind == "run" else ():
            text = row.stem + branch.prompt + text_of(branch).rpartition("</think>\n")[2]
            program, first, second = re.findall(r"```\w+\n(.*?)\n```", text, re.DOTALL)
            given, answer = (first, second) if "```input" in text.split("\n```output")[0] else (second, first)
            if interpret(program, ast.literal_eval(given)) == ast.literal_eval(answer):
                right += 1
            else:
                wrong += 1
    assert 0.08 < wrong / (right + wrong) < 0.3


def test_the_shipped_model_is_small_and_of_the_size_that_the_script_trains(shipped):
    parameters = sum(p.numel() for p in shipped[0].parameters())
    assert 1e6 < parameters < 6e6
    assert parameters == sum(p.numel() for p in build_model(seed=0).parameters())
    assert (DIRECTORY / "model.safetensors").stat().st_size < 12 * 2**20


def test_greedy_answers_do_not_depend_on_the_batch(shipped):
    prompts = [render(compact.solve(task)) for task in load("validation")[:12]]
    together = generate(*shipped, prompts, samples=1, temperature=0.0, seed=0)
    alone = [generate(*shipped, [prompt], samples=1, temperature=0.0, seed=0)[0] for prompt in prompts]
    assert together == alone


def test_the_shipped_model_solves_and_proposes(shipped):
    """Loose bounds far below the card's numbers: this finds a broken format, not a weaker model."""
    with Sandbox(workers=2) as box:
        solved = solve_tasks(*shipped, load("validation")[:45], box, samples=2)
        proposed = propose_tasks(*shipped, load("seeds"), box, each=10)
    assert sum(row.rate for row in solved) / len(solved) > 0.15
    assert sum(not row.reason for row in proposed) / len(proposed) > 0.6


def test_the_card_is_made_of_measurements():
    free = [Solved(DOUBLE, True, (True, False), 0.5), Solved(DOUBLE_BACK, False, (False, False), 0.0)]
    at_once = [Solved(DOUBLE, False, (False, False), 0.0), Solved(DOUBLE_BACK, False, (False, False), 0.0)]
    reasoned = [Solved(DOUBLE, True, (True, True), 1.0), Solved(DOUBLE_BACK, True, (True, False), 1.0)]
    proposed = [
        Proposed(TaskType.DEDUCTION, 2, 1, "", 2, "a"),
        Proposed(TaskType.DEDUCTION, 2, 1, "", 1, "b"),
        Proposed(TaskType.DEDUCTION, 1, 0, "error", 1, "c"),
        Proposed(TaskType.DEDUCTION, 1, 0, "error", 1, "d"),
    ]
    solved = {"auto": free, "off": at_once, "on": reasoned}
    scores = solve_table(solved, "heldout") + propose_table(proposed, {"a"})
    assert "| all | all | 2 | 25.0 | 50.0 | 25.0 | 50.0 | 50.0 | 0.0 | 0.0 | 75.0 | 100.0 |" in scores
    assert "| deduction | 1 to 3 | 1 | 50.0 | 100.0 | 50.0 | 100.0 | 100.0 | 0.0 | 0.0 | 100.0 | 100.0 |" in scores
    assert "| deduction | 4 | 50.0 | 50.0 | 100.0 | 50.0 | error 2 |" in scores
    record = {"parameters": 2_000_000, "steps": 10, "batch": 64, "seed": 0, "tokens": 1_500_000, "wall_s": 120}
    record |= {
        "cpu_s": 60,
        "ranks": 2,
        "machine": "x86_64",
        "bf16": True,
        "torch": "2.13.0",
        "prompt_weight": 0.2,
        "propose_weight": 0.3,
        "induce_weight": 1.5,
        "habit_steps": 4,
        "sittings": 1,
    }
    card = model_card(record, {"heldout": 1200, "validation": 600, "seeds": 384}, scores)
    assert "2.00 million parameters" in card
    assert "from scratch: 14 steps of 64 rows" in card
    assert "the held-out set (1,200 tasks)" in card


def test_the_measuring_command_prints_both_tables(capsys):
    main(["--tasks", "3", "--proposals", "1"])
    out = capsys.readouterr().out
    assert "## Solving: heldout" in out
    assert "## Proposing" in out
