"""Making and measuring the tiny model."""

import json
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from minizero.prompts import compact
from minizero.tiny import load
from minizero.tiny.card import model_card, propose_table, solve_table
from minizero.tiny.evaluate import main
from minizero.tiny.generate import generate
from minizero.tiny.measure import Proposed, Solved, propose_tasks, solve_tasks
from minizero.tiny.model import build_model
from minizero.tiny.quick import is_solved
from minizero.tiny.sequences import Curriculum, proposal, render, solution
from minizero.tiny.sets import DIRECTORY
from minizero.tiny.tokenizer import build_tokenizer
from minizero.tiny.train import Settings, _draw_batch, _loss_sum, train
from minizero.types import Pair, Task, TaskType
from sandbox import Sandbox

DOUBLE = Task(TaskType.DEDUCTION, "def f(x):\n    return x * 2", (Pair("3", "6"),))
DOUBLE_BACK = Task(TaskType.ABDUCTION, DOUBLE.program, (Pair("3", "6"),))
DOUBLE_FROM_PAIRS = Task(TaskType.INDUCTION, DOUBLE.program, (Pair("3", "6"), Pair("4", "8")), message="f", shown=1)


@pytest.fixture(scope="module")
def shipped():
    model = AutoModelForCausalLM.from_pretrained(DIRECTORY, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(DIRECTORY)


def test_completions_continue_the_prefill():
    assert solution(DOUBLE) == "6\n```\n"
    assert solution(DOUBLE_BACK) == "3\n```\n"
    assert solution(DOUBLE_FROM_PAIRS) == "def f(x):\n    return x * 2\n```\n"
    assert proposal(DOUBLE) == "def f(x):\n    return x * 2\n```\n```input\n3\n```\n"
    assert proposal(DOUBLE_FROM_PAIRS) == "3\n```\n```input\n4\n```\n```message\nf\n```\n"


def test_the_quick_judge_tells_right_from_wrong():
    assert is_solved(DOUBLE, "6\n```\n")
    assert not is_solved(DOUBLE, "7\n```\n")
    assert not is_solved(DOUBLE, "6")  # the block is not closed
    assert is_solved(DOUBLE_BACK, "3\n```\n")
    assert not is_solved(DOUBLE_BACK, "'a'\n```\n")
    assert is_solved(DOUBLE_FROM_PAIRS, "def f(x):\n    return x * 2\n```\n")
    assert not is_solved(DOUBLE_FROM_PAIRS, "def f(x):\n    return x + 3\n```\n")


def test_early_programs_are_shorter_than_late_ones():
    def mean_length(progress):
        curriculum = Curriculum(random.Random(0))
        return sum(curriculum.draw(progress).prompt.count("\n    x = ") for _ in range(300))

    assert mean_length(0.0) < mean_length(1.0) / 2


def test_loss_falls_on_completions_and_on_outputs_shown_in_induction_prompts():
    tokenizer = build_tokenizer()
    batch = _draw_batch(
        Curriculum(random.Random(0)), tokenizer, Settings(batch=64, prompt_weight=0.5, propose_weight=0.25), 1.0
    )
    learned = set()
    for ids, weights in batch:
        for row, row_weights in zip(ids.tolist(), weights.tolist(), strict=True):
            assert row_weights[0] == 0
            end = row.index(tokenizer.eos_token_id)
            assert row_weights[end] in (1, 0.25)
            assert not any(row_weights[end + 1 :])
            in_prompt = [token for token, weight in zip(row, row_weights, strict=True) if weight == 0.5]
            learned.update(in_prompt)
            if in_prompt:
                assert row[0] == tokenizer.convert_tokens_to_ids(compact.INPUT)
    assert tokenizer.convert_tokens_to_ids(compact.PYTHON) not in learned


def test_the_loss_does_not_depend_on_padding():
    model = build_model(seed=0)
    ids, weights = torch.tensor([[4, 5, 6, 7]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    padded = torch.tensor([[4, 5, 6, 7, 0, 0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
    torch.testing.assert_close(_loss_sum(model, ids, weights), _loss_sum(model, *padded), rtol=1e-2, atol=1e-2)


def test_training_twice_gives_the_same_weights_and_a_model_that_loads(tmp_path):
    settings = Settings(steps=3, batch=8, micro_batches=2, seed=5)
    for name in ("one", "other"):
        train(settings, tmp_path / name)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == AutoTokenizer.from_pretrained(tmp_path / "one").eos_token_id == 1
    assert json.loads((tmp_path / "one" / "training.json").read_text())["sequences"] == 24


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
        solved = solve_tasks(*shipped, load("validation")[:90], box, samples=4)
        proposed = propose_tasks(*shipped, load("seeds"), box, each=20)
    assert sum(row.rate for row in solved) / len(solved) > 0.15
    assert sum(not row.reason for row in proposed) / len(proposed) > 0.6


def test_the_card_is_made_of_measurements():
    solved = [Solved(DOUBLE, True, (True, False)), Solved(DOUBLE_BACK, False, (False, False))]
    proposed = [
        Proposed(TaskType.DEDUCTION, 2, 1, "", 2, "a"),
        Proposed(TaskType.DEDUCTION, 2, 1, "", 1, "b"),
        Proposed(TaskType.DEDUCTION, 1, 0, "error", 1, "c"),
        Proposed(TaskType.DEDUCTION, 1, 0, "error", 1, "d"),
    ]
    scores = solve_table(solved, "heldout") + propose_table(proposed, {"a"})
    assert "| all | all | 2 | 25.0 | 50.0 | 50.0 | 50.0 |" in scores
    assert "| deduction | 1 | 1 | 50.0 | 100.0 | 100.0 | 100.0 |" in scores
    assert "| deduction | 4 | 50.0 | 50.0 | 100.0 | 50.0 | error 2 |" in scores
    record = {"parameters": 2_000_000, "steps": 10, "batch": 64, "seed": 0, "tokens": 1_500_000, "wall_s": 120}
    record |= {
        "cpu_s": 60,
        "threads": 1,
        "machine": "x86_64",
        "bf16": True,
        "torch": "2.13.0",
        "prompt_weight": 0.2,
        "propose_weight": 0.3,
    }
    card = model_card(record, {"heldout": 1200, "validation": 600, "seeds": 384}, scores)
    assert "2.00 million parameters" in card
    assert "the held-out set (1,200 tasks)" in card


def test_the_measuring_command_prints_both_tables(capsys):
    main(["--tasks", "6", "--proposals", "2"])
    out = capsys.readouterr().out
    assert "## Solving: heldout" in out
    assert "## Proposing" in out
