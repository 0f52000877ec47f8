"""What a plan says of more cards: nothing is gained or lost but what is exchanged and waited for."""

from __future__ import annotations

import json
import pickle
import random
from itertools import pairwise

import pytest

from minizero.config import load_config
from minizero.config.named import resolve
from minizero.planner import Plan, make_plan
from minizero.planner.pace import chain_seconds
from minizero.planner.scaling import (
    JSON_PROMPT_BYTES,
    JSON_TOKEN_BYTES,
    PROMPT_BYTES,
    TOKEN_BYTES,
    in_words,
    served,
    shared,
)
from minizero.planner.servers import OVERLAP, server_of
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


# -- a trainer and servers --------------------------------------------------------------------------------------------


def by_servers(*more: str) -> Plan:
    given = ("sampler.backend=server", "sampler.url=http://localhost:1,http://localhost:2", *more)
    return make_plan(resolve("Qwen2.5-Coder-3B", (), given), "rtx3090")


def test_a_servers_card_holds_the_engine_alone_and_fills_the_rest_with_cache(plan: Plan) -> None:
    server = server_of(plan.config, plan.shape, plan.budget)
    own = {"weights, of both", "CUDA context", "CUDA graphs", "fragments", "vLLM, a batch"}
    adapters = 2 * plan.parts["adapter in vLLM"]
    assert server.beside_cache == pytest.approx(sum(plan.parts[name] for name in own) + adapters)
    assert server.total <= plan.budget
    assert server.cache > plan.cache
    assert server.weights == plan.weights
    assert server_of(plan.config, plan.shape, 0.0).cache == 0


def test_a_trainer_holds_nothing_of_an_engine(plan: Plan) -> None:
    found = by_servers()
    assert found.cache == 0
    assert {name for name in found.parts if "vLLM" in name or "graphs" in name} == set()
    assert found.total < plan.total
    assert found.fits
    assert "sampled by 2 servers, in turn with learning" in found.text()


def test_one_step_ahead_takes_as_long_as_the_longer_part() -> None:
    turns, ahead = by_servers(), by_servers("selfplay.ahead=1")
    sampling = sum(value for name, value in turns.expected.items() if name not in ("update", "sync"))
    assert sum(turns.expected.values()) == pytest.approx(sampling + turns.expected["update"] + turns.expected["sync"])
    longer = max(sampling, turns.expected["update"])
    assert sum(ahead.expected.values()) == pytest.approx(longer + turns.expected["sync"])
    assert f"{OVERLAP} -" in " ".join(ahead.text().split())


def test_two_servers_sample_in_half_the_time_of_one() -> None:
    one = make_plan(
        resolve("Qwen2.5-Coder-3B", (), ("sampler.backend=server", "sampler.url=http://localhost:1")), "rtx3090"
    )
    two = by_servers()
    for kind in ("propose", "attempts", "solve"):
        assert one.expected[kind] / 2 * 0.99 <= two.expected[kind] < one.expected[kind]
    assert one.expected["update"] == two.expected["update"]


def test_more_servers_help_until_learning_takes_longer(plan: Plan) -> None:
    steps = [served(plan, count) for count in (1, 3, 7, 63)]
    learning = plan.expected["update"]
    assert all(row.seconds >= learning for row in steps)
    assert steps[0].seconds < shared(plan, 1).seconds
    assert steps[-1].seconds == pytest.approx(learning + steps[-1].parts["sync"])
    assert [row.adapters / steps[0].adapters for row in steps] == pytest.approx([1, 3, 7, 63])
    words = "\n".join(in_words(plan, 8))
    assert "one of them learns and the others are servers, one step ahead" in words
    assert f"a server's card takes {server_of(plan.config, plan.shape, plan.budget).beside_cache:.1f} GiB" in words


@pytest.mark.parametrize(("prompt", "answer"), [(400, 600), (1500, 600)])
def test_bytes_of_a_servers_answer_are_those_of_its_json(prompt: int, answer: int) -> None:
    """With the fields that vLLM 0.32 fills for logprobs=0 and return_token_ids."""
    rng = random.Random(0)
    ids, values = [rng.randrange(150_000) for _ in range(answer)], [-rng.random() for _ in range(answer)]
    prompt_ids = [rng.randrange(150_000) for _ in range(prompt)]
    text = ["abcd"] * answer
    logprobs = {
        "text_offset": [4 * place for place in range(answer)], "token_logprobs": values, "tokens": text,
        "top_logprobs": [{token: value} for token, value in zip(text, values, strict=True)],
    }  # fmt: skip
    choice = {"text": "abcd" * answer, "logprobs": logprobs, "token_ids": ids, "prompt_token_ids": prompt_ids}
    size = len(json.dumps({"prompt": prompt_ids})) + len(json.dumps({"choices": [choice]}, separators=(",", ":")))
    assert size == pytest.approx(JSON_TOKEN_BYTES * answer + JSON_PROMPT_BYTES * prompt, rel=0.05)
