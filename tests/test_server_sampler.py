"""The sampler of servers and one step ahead, with a server that computes on the real random model (model_server.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import minizero
from minizero.config import config_from, load_config
from minizero.learn.policy import Policy
from minizero.rollout.agreement import random_adapter
from minizero.rollout.make import make_sampler
from minizero.rollout.protocol import drain
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.ahead import Background
from minizero.selfplay.buffer import entry_line
from minizero.selfplay.scoring import rollout_row
from minizero.selfplay.step import SelfPlay
from minizero.types import ConfigError, Message, Prompt, Request, Role, Rollout, SamplerError, TaskType
from sandbox import Sandbox
from tests.fake_server import FakeServer
from tests.model_server import model_server
from tests.test_selfplay import clever, game


@pytest.fixture(scope="module")
def server(random_model: Path) -> Iterator[FakeServer]:
    made = model_server(random_model, "adapter.rank=4").begin()
    yield made
    made.stop()
    assert not made.errors


def settings(model: Path, server: FakeServer, *more: str) -> list[str]:
    return [
        f"model.name={str(model)!r}", "model.device=cpu", "run.threads=1", "prompt.style=r1", "adapter.rank=4",
        "sampler.backend=server", f"sampler.url={server.url}", "selfplay.max_prompt_tokens=2000",
        "selfplay.propose_max_tokens=16", "selfplay.solve_max_tokens=16", *more,
    ]  # fmt: skip


def made(model: Path, server: FakeServer, *more: str) -> Any:
    config = load_config(overrides=settings(model, server, *more))
    return make_sampler(config, Policy(config))


def test_a_server_is_proven_and_answers_every_request_once(random_model: Path, server: FakeServer) -> None:
    sampler = made(random_model, server)
    try:
        assert set(sampler.agreement.gaps) == {
            f"{who}, {state}" for who in ("sampler", "trainer", "alone") for state in ("random", "base", "policy")
        }
        assert max(sampler.agreement.gaps.values()) < 1e-4
        for i in range(4):
            sampler.submit(Request(f"r{i}", Prompt((Message("user", f"hello {i}"),)), 5, i, 3, adapter=i < 3))
        assert sampler.pending == 12
        done = sorted(drain(sampler), key=lambda c: (c.request_id, c.index))
        assert [(c.request_id, c.index) for c in done] == [(f"r{i}", k) for i in range(4) for k in range(3)]
        assert [c.version for c in done] == [0] * 9 + [None] * 3
        assert all(c.text == sampler.tokenizer.decode(c.ids) and len(c.log_probs) == len(c.ids) for c in done)
        assert sampler.take_usage()["completion_tokens"] == sum(len(c.ids) for c in done)
        with pytest.raises(
            SamplerError, match=r"r: \d+ prompt tokens and 5000 new ones, but a server was started for 4096"
        ):
            sampler.submit(Request("r", Prompt((Message("user", "x"),)), 5000, 0))
    finally:
        sampler.close()
    assert server.adapters == {}
    assert not sampler._directory.exists()


def test_everything_that_a_model_could_add_to_sampling_is_ruled_out(random_model: Path, server: FakeServer) -> None:
    sampler = made(random_model, server)
    try:
        sampler.submit(Request("r", Prompt((Message("user", "a"),), stop=("x",)), 3, 5, top_p=0.9, temperature=0.5))
        (done,) = drain(sampler)
    finally:
        sampler.close()
    body = server.asked[-1]
    assert body["prompt"] == list(done.prompt_ids)
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.5, 0.9, 0, 0.0)
    assert (body["repetition_penalty"], body["presence_penalty"], body["frequency_penalty"]) == (1.0, 0.0, 0.0)
    assert (body["stop"], body["stop_token_ids"], body["seed"]) == (["x"], [256], None)
    assert body["logit_bias"] is None


def test_masked_tokens_go_to_the_server_as_a_bias(random_model: Path, server: FakeServer) -> None:
    sampler = made(random_model, server)
    masked = tuple(range(0, 250, 2))
    try:
        sampler.submit(Request("r", Prompt((Message("user", "a"),)), 8, 5, 3, masked=masked))
        done = list(drain(sampler))
    finally:
        sampler.close()
    assert server.asked[-1]["logit_bias"] == {str(token): -100 for token in masked}
    assert {c.masked for c in done} == {masked}
    assert not {token for c in done for token in c.ids} & set(masked)


def test_a_server_with_other_weights_is_named(random_model: Path, server: FakeServer) -> None:
    def wrong(body: dict[str, Any], adapter: str) -> tuple[list[int], list[float]]:
        ids, values = server.write(body, "")  # it forgets the adapter
        return ids, values

    other = FakeServer(write=wrong, model=str(random_model), tokens=4096).begin()
    both = f"sampler.url={server.url},{other.url}"
    try:
        with pytest.raises(
            SamplerError, match=rf"(?s){other.url}: .*with a random adapter, what is sampled.*minizero serve"
        ):
            made(random_model, server, both)
    finally:
        other.stop()


def test_an_error_in_the_thread_of_the_servers_is_raised_by_the_next_poll(
    random_model: Path, server: FakeServer
) -> None:
    sampler = made(random_model, server)
    server.body = {"choices": []}
    try:
        sampler.submit(Request("r", Prompt((Message("user", "a"),)), 3, 5))
        with pytest.raises(SamplerError, match="without token ids"):
            list(drain(sampler))
    finally:
        server.body = None
        sampler.close()


def test_a_run_samples_from_a_server_one_step_ahead(random_model: Path, server: FakeServer, tmp_path: Path) -> None:
    more = (
        "selfplay.ahead=1", "selfplay.steps=3", "selfplay.proposals=4", "selfplay.solves=4", "selfplay.attempts=2",
        "buffer.seeds=builtin", f"run.dir={str(tmp_path)!r}", "eval.every=0", "sampler.self_test_every=2",
        "loss.entropy_weight=0.01",  # every token teaches, so every step makes an update
    )  # fmt: skip
    run = minizero.train(load_config(overrides=settings(random_model, server, *more)))
    rows = [row for row in run.metrics if row["step"]]
    assert [row["policy/staleness"] for row in rows] == [0.0, 1.0, 1.0]
    assert all("ahead/learner_waits_s" in row for row in rows[:2])
    assert "ahead/learner_waits_s" not in rows[2]
    versions = [{row["version"] for row in run.rollouts(step=step)} for step in (1, 2, 3)]
    assert versions == [{0}, {0}, {1}]
    more_steps = minizero.resume(run.path, steps=4)
    assert more_steps.metrics[-1]["policy/staleness"] == 0.0  # what was sampled ahead is sampled anew


# -- one step ahead, without a model ----------------------------------------------------------------------------------


class Slowly(ScriptedSampler):
    """Not reproducible, as servers are not, and never twice at once."""

    is_reproducible = False
    released = 0

    def poll(self) -> list[Any]:
        time.sleep(0.002)
        return super().poll()


class SlowLearner:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.heard: list[list[Rollout]] = []

    def update(self, rollouts: list[Rollout]) -> dict[str, float]:
        time.sleep(self.seconds)
        self.heard.append(rollouts)
        return {}


def ahead(box: Sandbox, steps: int, *overrides: str, ahead: int = 1, seconds: float = 0.0) -> SelfPlay:
    play = game(box, clever, f"selfplay.steps={steps}", *overrides, sampler=Slowly(clever))
    tree = play.config.model_dump(mode="json")
    tree["selfplay"]["ahead"] = ahead
    tree["sampler"] |= {"backend": "server", "url": ["http://localhost:1"]}
    play.config, play.policy = config_from(tree), SlowLearner(seconds)
    return play


@pytest.mark.parametrize("solve_from", ["previous", "same"])
def test_a_policy_that_never_changes_writes_the_same_run_ahead_or_not(box: Sandbox, solve_from: str) -> None:
    found = []
    for is_ahead in (0, 1):
        play = ahead(box, 4, f"selfplay.solve_from={solve_from}", ahead=is_ahead)
        results = [play.step(number) for number in range(1, 5)]
        found.append([
            ([rollout_row(s) for s in r.scored], [entry_line(*entry) for entry in r.stored], r.metrics["buffer/tasks"])
            for r in results
        ])  # fmt: skip
        assert play._next is None
    assert found[0] == found[1]


def test_a_step_takes_as_long_as_the_longer_of_its_two_parts(box: Sandbox) -> None:
    play = ahead(box, 3, seconds=3.0)
    play.step(1)
    metrics = play.step(2).metrics
    assert metrics["ahead/sampler_waits_s"] > 0  # the next step was sampled before this one was learned from
    assert metrics["ahead/learner_waits_s"] == 0
    assert metrics["time/step_s"] < metrics["time/step_s/update"] + 0.5 * metrics["time/step_s/sample"] + 0.05


def test_a_saved_state_begins_with_the_step_that_is_being_sampled(box: Sandbox) -> None:
    play, plain = ahead(box, 3), ahead(box, 3, ahead=0)
    for number in (1, 2):
        play.step(number)
        plain.step(number)
        assert play.rng_state() == plain.rng_state()
    assert play.rng.getstate() != plain.rng.getstate()


def test_nothing_is_sampled_ahead_by_a_member_that_may_be_replaced(box: Sandbox) -> None:
    population = ("adapter.roles=population", "adapter.proposers=2", "adapter.solvers=2", "adapter.replace_every=2")
    play = ahead(box, 4, *population)
    play.policy.renew = lambda *_: None  # type: ignore[method-assign]
    sampling = []
    for number in range(1, 5):
        play.step(number)
        sampling.append(play._next is not None)
    assert sampling == [True, False, True, False]


def test_an_error_ahead_ends_the_step_that_needs_it(box: Sandbox) -> None:
    play = ahead(box, 3)

    poll = play.sampler.poll

    def broken_ahead() -> list[Any]:
        if threading.current_thread() is not threading.main_thread():
            raise SamplerError("the server is gone")
        return poll()

    play.sampler.poll = broken_ahead  # type: ignore[method-assign]
    play.step(1)
    with pytest.raises(SamplerError, match="the server is gone"):
        play.step(2)
    assert len(play.policy.heard) == 1  # type: ignore[attr-defined]


def test_background_work_returns_raises_and_is_timed() -> None:
    work = Background(lambda: time.sleep(0.05) or 7)
    assert work.result() == 7
    assert work.ended - work.began >= 0.05
    with pytest.raises(ZeroDivisionError):
        Background(lambda: 1 // 0).result()


# -- settings ---------------------------------------------------------------------------------------------------------

ON = ("sampler.backend=server", "sampler.url=http://localhost:1")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no address": (ON[:1], r"without an address: --set sampler.url=http://localhost:8000"),
    "no server": (ON[1:], r"sampler.url with sampler.backend = auto"),
    "no scheme": ((ON[0], "sampler.url=localhost:8000"), r"'localhost:8000' is no address of a server"),
    "a port": ((ON[0], "sampler.url=http://a:99999"), r"is no address \(Port out of range"),
    "a key": ((ON[0], "sampler.url=http://me:sesame@localhost:1"), r"holds a key, which would be written"),
    "twice": ((ON[0], "sampler.url=http://localhost:1,http://localhost:1/v1"), r"names a server twice"),
    "full": (("adapter.kind=full", *ON), r"is given adapters, not whole"),
    "elsewhere": ((ON[0], "sampler.url=http://gpu7:8000"), r"http://gpu7:8000 is another machine, .*adapter_dir"),
    "8 bits": ((*ON, "sampler.kv_dtype=fp8"), r"--kv-cache-dtype fp8"),
    "ahead alone": (("selfplay.ahead=1",), r"selfplay.ahead = 1 without a server"),
    "ahead, uncorrected": (
        (*ON, "selfplay.ahead=1", "loss.correction=none"),
        r"ahead = 1 with loss.correction = .none.*one update before",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_contradict_each_other_are_named(case: str) -> None:
    overrides, words = WRONG[case]
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(overrides=overrides)
    assert "sesame" not in str(refused.value)


def test_addresses_are_read_as_people_paste_them() -> None:
    given = "sampler.url=http://localhost:8000/v1/, http://127.0.0.1:8001"
    config = load_config(overrides=["sampler.backend=server", given])
    assert config.sampler.url == ("http://localhost:8000", "http://127.0.0.1:8001")
    far = ["sampler.backend=server", "sampler.url=http://gpu7:8000", "sampler.adapter_dir=/mnt/adapters"]
    assert load_config(overrides=far).sampler.url == ("http://gpu7:8000",)


def test_each_adapter_has_a_name_of_its_own_at_a_server(random_model: Path, server: FakeServer) -> None:
    sampler = made(random_model, server, "adapter.roles=separate")
    policy = sampler._policy
    try:
        assert {"sampler, propose random", "sampler, solve random"} < set(sampler.agreement.gaps)
        assert max(sampler.agreement.gaps.values()) < 1e-4
        policy.optimisers["solve"].updates = 3
        with random_adapter(policy, 4.0):
            sampler.push()
            for i, member in enumerate(("propose", "solve", "propose")):
                sampler.submit(Request(f"r{i}", Prompt((Message("user", f"hello {i}"),)), 5, i, 2, member=member))
            done = sorted(drain(sampler), key=lambda c: (c.request_id, c.index))
            assert [(c.member, c.version) for c in done] == [("propose", 0)] * 2 + [("solve", 3)] * 2 + [
                ("propose", 0)
            ] * 2
            rollouts = [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in done]
            for values, c in zip(policy.log_probs(rollouts), done, strict=True):
                assert values.tolist() == pytest.approx(c.log_probs, abs=1e-4)
        names = {body["model"] for body in server.asked[-6:]}
        assert {name.rpartition("-")[2] for name in names} == {"propose", "solve"}
        assert len(server.adapters) == 4  # two of each: the newest and the one before it
        with pytest.raises(SamplerError, match="names no adapter by name; this policy has propose, solve"):
            sampler.submit(Request("r", Prompt((Message("user", "x"),)), 5, 0))
    finally:
        sampler.close()
    assert server.adapters == {}
