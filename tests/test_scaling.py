"""What a plan says of more cards: nothing is gained or lost but what is exchanged and waited for."""

from __future__ import annotations

import pickle
import random
from itertools import pairwise

import pytest

from minizero.config import load_config
from minizero.config.named import resolve
from minizero.planner import Plan, make_plan
from minizero.planner.pace import chain_seconds
from minizero.planner.scaling import PROMPT_BYTES, TOKEN_BYTES, in_words, shared
from minizero.planner.shapes import GIB
from minizero.types import Completion, ConfigError


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(resolve("Qwen2.5-Coder-3B", (), ()), "rtx3090")


def test_one_card_takes_what_the_plan_says_and_sends_nothing(plan: Plan) -> None:
    alone = shared(plan, 1)
    assert alone.seconds == pytest.approx(sum(plan.expected.values()))
    assert (alone.gradients, alone.outcomes) == (0, 0)


def test_twice_the_cards_are_never_more_than_twice_as_fast_and_never_slower(plan: Plan) -> None:
    steps = [shared(plan, 2**power).seconds for power in range(7)]
    for one, doubled in pairwise(steps):
        assert one / 2 * 0.999 <= doubled <= one


def test_no_number_of_cards_is_faster_than_the_longest_proposal_and_the_longest_attempt_at_it(plan: Plan) -> None:
    tokens = plan.config.selfplay.propose_max_tokens + plan.config.selfplay.solve_max_tokens
    assert plan.card is not None
    least = tokens * plan.weights * GIB / (0.7 * plan.card.bandwidth)
    assert chain_seconds(plan.config, plan.card, weights_gib=plan.weights, measured=None) == pytest.approx(least)
    many = shared(plan, 64)
    assert many.seconds > sum(many.parts[kind] for kind in ("propose", "attempts", "solve", "waiting")) >= least


def test_gradients_go_round_a_ring(plan: Plan) -> None:
    adapter = 4 * plan.shape.lora(plan.config.adapter.rank)
    assert shared(plan, 2).gradients == pytest.approx(adapter)
    assert shared(plan, 8).gradients == pytest.approx(2 * 7 / 8 * adapter)


@pytest.mark.parametrize(("prompt", "answer"), [(400, 600), (1500, 600), (0, 600)])
def test_bytes_of_an_outcome_are_those_of_a_pickled_completion(prompt: int, answer: int) -> None:
    rng = random.Random(0)

    def made(number: int) -> Completion:
        prompt_ids, ids = (tuple(rng.randrange(150_000) for _ in range(count)) for count in (prompt, answer))
        probs = tuple(-rng.random() for _ in ids)
        return Completion(f"solve/{number}", 0, prompt_ids, ids, probs, "abcd" * answer, "stop")

    size = len(pickle.dumps([made(number) for number in range(20)])) / 20
    assert TOKEN_BYTES * answer + PROMPT_BYTES * prompt == pytest.approx(size, rel=0.1)


def test_the_table_says_where_more_cards_bring_little(plan: Plan) -> None:
    lines = in_words(plan, 64)
    assert [line.split()[0] for line in lines[1:8]] == ["1", "2", "4", "8", "16", "32", "64"]
    assert "twice as many are less than 1.25 times as fast" in lines[8]
    assert "22.5 GiB, as one alone does" in lines[-1]
    assert [line.split()[0] for line in in_words(plan, 6)[1:5]] == ["1", "2", "4", "6"]


@pytest.mark.full
def test_what_cannot_be_told_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="--cards 65: expected 1 to 64"):
        shared(plan, 65)
    unknown = make_plan(load_config(overrides=["model.name=Qwen/Qwen2.5-Coder-3B", "model.device=cpu"]))
    with pytest.raises(ConfigError, match="nothing is known of the speed here"):
        shared(unknown, 2)
