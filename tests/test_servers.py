"""Asking servers over HTTP: each completion comes back once, whatever a server does, and what cannot be is named."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from minizero.rollout import servers as module
from minizero.rollout.server_answers import Written
from minizero.rollout.servers import Adapter, Servers
from minizero.types import SamplerError
from tests.fake_server import FakeServer

Use = Callable[[Servers], Coroutine[Any, Any, Any]]
QUICK = {"BACK_OFF_S": (0.02, 0.05), "WATCH_S": 0.1, "HEALTH_S": 1.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    for name, value in QUICK.items():
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def fake() -> Iterator[Callable[..., FakeServer]]:
    begun: list[FakeServer] = []

    def make(**settings: Any) -> FakeServer:
        begun.append(FakeServer(**settings).begin())
        return begun[-1]

    yield make
    for server in begun:
        server.hangs = False
        server.stop()
        assert not server.errors


def using(use: Use, *fakes: FakeServer, **settings: Any) -> Any:
    """What `use` returns, with a pool of these servers; an error that nobody waits for is raised."""

    async def whole() -> Any:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        given = {"model": "small", "root": "/elsewhere", "tokens": 128, "rows": 64, "patience_s": 20.0} | settings
        pool = Servers([one.url for one in fakes], fail=lambda e: failed.done() or failed.set_exception(e), **given)
        try:
            await pool.start()
            work = asyncio.ensure_future(use(pool))
            await asyncio.wait({work, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                work.cancel()
                failed.result()
            return await work
        finally:
            failed.cancel()
            await pool.close()

    return asyncio.run(asyncio.wait_for(whole(), 60))


def ask(pool: Servers, prompt: int, n: int = 1, adapter: str = "") -> list[Coroutine[Any, Any, Written]]:
    chosen = pool.choose(n)
    return [pool.complete({"prompt": [prompt]}, adapter, chosen) for _ in range(n)]


async def all_of(pool: Servers, prompts: int, n: int, adapter: str = "") -> list[int]:
    """The first token of every completion: the prompt that it belongs to."""
    asked = [one for prompt in range(prompts) for one in ask(pool, prompt, n, adapter)]
    return [written.ids[0] for written in await asyncio.gather(*asked)]


def test_a_completion_carries_tokens_log_probabilities_and_its_end(fake: Callable[..., FakeServer]) -> None:
    async def use(pool: Servers) -> Written:
        (asked,) = ask(pool, 7)
        return await asked

    assert using(use, fake()) == Written((7, 256), (-0.5, -0.25), "stop", 1)


def test_requests_go_to_the_server_with_the_least_to_do_and_a_prompt_to_one(fake: Callable[..., FakeServer]) -> None:
    one, other = fake(), fake()
    assert using(lambda pool: all_of(pool, 10, 8), one, other) == [p for p in range(10) for _ in range(8)]
    seen = [{body["prompt"][0] for body in server.asked} for server in (one, other)]
    assert [len(server.asked) for server in (one, other)] == [40, 40]
    assert not seen[0] & seen[1]


def test_no_more_are_asked_at_once_than_a_server_has_rows(fake: Callable[..., FakeServer]) -> None:
    server = fake(slow_s=0.05)
    using(lambda pool: all_of(pool, 8, 4), server, rows=5)
    assert 1 < server.most <= 5


def test_what_breaks_in_the_middle_is_asked_again_and_comes_back_once(fake: Callable[..., FakeServer]) -> None:
    server = fake(breaking=3)
    assert using(lambda pool: all_of(pool, 6, 2), server) == [p for p in range(6) for _ in range(2)]
    assert len(server.asked) >= 13


def test_a_server_that_restarts_is_given_the_adapters_again(fake: Callable[..., FakeServer]) -> None:
    server = fake(slow_s=0.05)

    async def use(pool: Servers) -> list[int]:
        await pool.give(Adapter("a-1", "/tmp/a/1"), keep=1)
        await pool.give(Adapter("a-2", "/tmp/a/2"), keep=1)
        work = asyncio.ensure_future(all_of(pool, 12, 8, "a-2"))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.begin)
        return await work

    assert using(use, server, rows=4) == [p for p in range(12) for _ in range(8)]
    assert all(body["model"] == "a-2" for body in server.asked)


def test_a_restart_that_nobody_saw_is_noticed_by_its_first_answer(fake: Callable[..., FakeServer]) -> None:
    server = fake()

    async def use(pool: Servers) -> tuple[list[int], dict[str, str]]:
        await pool.give(Adapter("a-1", "/tmp/a/1"), keep=1)
        server.adapters.clear()
        return await all_of(pool, 3, 2, "a-1"), dict(server.adapters)

    assert using(use, server) == ([0, 0, 1, 1, 2, 2], {"a-1": "/tmp/a/1"})


def test_two_adapters_stay_and_older_ones_go(fake: Callable[..., FakeServer]) -> None:
    server = fake()

    async def use(pool: Servers) -> tuple[list[str], list[str]]:
        gone = [old.name for i in range(4) for old in await pool.give(Adapter(f"a-{i}", "/tmp"), keep=1)]
        return gone, list(server.adapters)

    assert using(use, server) == (["a-0", "a-1"], ["a-2", "a-3"])
    assert server.adapters == {}  # closing leaves the server as it was found


def test_a_server_that_hangs_loses_its_requests_to_the_other(fake: Callable[..., FakeServer]) -> None:
    one, other = fake(), fake()

    async def use(pool: Servers) -> list[int]:
        one.hangs = True
        return await all_of(pool, 4, 4)

    assert using(use, one, other) == [p for p in range(4) for _ in range(4)]
    assert len(other.asked) == 16


def test_a_server_that_is_away_is_found_again(
    fake: Callable[..., FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = fake(), fake()

    async def use(pool: Servers) -> None:
        await asyncio.to_thread(one.stop)
        await all_of(pool, 4, 1)
        assert [server.is_up for server in pool.all] == [False, True]
        await asyncio.to_thread(one.begin)
        for _ in range(200):
            if pool.all[0].is_up:
                break
            await asyncio.sleep(0.05)
        await all_of(pool, 4, 1)

    using(use, one, other)
    assert f"{one.url} is back" in caplog.text
    assert len(one.asked) >= 2


def test_an_error_of_the_server_is_tried_again_and_not_for_ever(fake: Callable[..., FakeServer]) -> None:
    server = fake(failing=4)
    assert using(lambda pool: all_of(pool, 1, 1), server) == [0]
    server.failing = 99
    with pytest.raises(SamplerError, match=r"failed 5 times at one request: EngineCore is tired"):
        using(lambda pool: all_of(pool, 1, 1), server)


def test_a_request_that_breaks_its_server_every_time_is_given_up(fake: Callable[..., FakeServer]) -> None:
    with pytest.raises(SamplerError, match=r"failed 5 times at one request: .*disconnected"):
        using(lambda pool: all_of(pool, 1, 1), fake(breaking=99))


def test_patience_ends(fake: Callable[..., FakeServer]) -> None:
    server = fake()

    async def use(pool: Servers) -> None:
        await asyncio.to_thread(server.stop)
        await all_of(pool, 1, 1)

    began = time.monotonic()
    with pytest.raises(SamplerError, match=r"has answered for 0 s .*--resume; sampler.patience_s says how long"):
        using(use, server, patience_s=0.3)
    assert time.monotonic() - began < 10
    server.begin()


def test_patience_ends_for_the_one_that_is_proven_although_another_is_there(fake: Callable[..., FakeServer]) -> None:
    one, other = fake(), fake()

    async def use(pool: Servers) -> None:
        pool.only = pool.all[0]
        await asyncio.to_thread(one.stop)
        await all_of(pool, 1, 1)

    with pytest.raises(SamplerError, match=rf"{one.url} has answered for 0 s"):
        using(use, one, other, patience_s=0.3)
    one.begin()


def test_a_server_that_starts_later_is_waited_for(fake: Callable[..., FakeServer]) -> None:
    server = fake()
    server.stop()
    threading.Timer(0.5, server.begin).start()
    assert using(lambda pool: all_of(pool, 1, 1), server) == [0]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"model": "large"}, r"serves another model: large\. Wanted is small.*sampler.served_name"),
    "too short": ({"tokens": 100}, r"was started for 100 tokens, .* 128 here\. Start it with  --max-model-len 128"),
    "a key": ({"key": "sesame"}, r"asks for a key: export VLLM_API_KEY\. It has to be the one"),
    "no route for adapters": ({"takes_adapters": False}, r"without VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
    "a directory it does not see": (
        {"refuses_adapters": "Loading lora a failed: No adapter found for /tmp/a"},
        r"does not see /tmp/a\. sampler.adapter_dir",
    ),
    "too large a rank": (
        {"refuses_adapters": "LoRA rank 64 is greater than max_lora_rank 32."},
        r"Start it with a larger --max-lora-rank",
    ),
    "no LoRA": ({"refuses_adapters": "LoRA is not enabled. Use --enable-lora."}, r"Start it with --enable-lora"),
    "something else": ({"body": {"content": "hello"}}, r"answers without token ids and their log-probabilities"),
    "numbers that do not match": (
        {"body": {"choices": [{"token_ids": [1, 2], "logprobs": {"token_logprobs": [0.0]}, "finish_reason": "stop"}]}},
        r"returned 2 tokens with 1 log-probabilities",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_waiting_does_not_mend_is_named(fake: Callable[..., FakeServer], case: str) -> None:
    settings, words = REFUSED[case]

    async def use(pool: Servers) -> None:
        await pool.give(Adapter("a", "/tmp/a"), keep=1)
        await all_of(pool, 1, 1)

    with pytest.raises(SamplerError, match=words):
        using(use, fake(**settings))


def test_a_wrong_key_is_named_and_a_right_one_is_written_nowhere(
    fake: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = fake(key="sesame")
    monkeypatch.setenv("VLLM_API_KEY", "mellon")
    with pytest.raises(SamplerError, match=r"does not take the key in VLLM_API_KEY") as refused:
        using(lambda pool: all_of(pool, 1, 1), server)
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    assert using(lambda pool: all_of(pool, 1, 1), server) == [0]
    assert "mellon" not in str(refused.value)
    assert "mellon" not in caplog.text
    assert "sesame" not in caplog.text


def test_nobody_there_is_named(fake: Callable[..., FakeServer]) -> None:
    server = fake()
    server.stop()
    with pytest.raises(SamplerError, match=r"does not answer \(.*\)\. Start it with  minizero serve , or take it out"):
        using(lambda pool: all_of(pool, 1, 1), server, patience_s=0.0)
    server.begin()


def test_a_machine_that_nobody_knows_is_not_waited_for() -> None:
    began = time.monotonic()

    async def use() -> None:
        pool = Servers(["http://nowhere.invalid:1"], model="m", root="m", tokens=1, rows=1, patience_s=99, fail=print)
        await pool.start()

    with pytest.raises(SamplerError, match=r"no machine is called nowhere\.invalid"):
        asyncio.run(use())
    assert time.monotonic() - began < 30


def test_a_page_is_no_server_of_vllm(fake: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch) -> None:
    server = fake()
    monkeypatch.setattr(server, "answer", lambda path, body, key: (404, "<html>not here</html>"))
    with pytest.raises(SamplerError, match=r"offers no list of models \(404 /v1/models\)\. Is it a server of vLLM"):
        using(lambda pool: all_of(pool, 1, 1), server)
