"""The sampler of sampler.backend = "server": vLLM in other processes, on this machine or on others.

Reading order: ServerSampler.submit and poll (requests go to the servers and answers come back, each once), push (the
adapter under the name of its version), _measured (each server samples from the trainer's policy); then _InThread. What
can go wrong between here and a server is servers.py's.
"""

from __future__ import annotations

import asyncio
import queue
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from minizero.config.server import is_local
from minizero.models.names import locate
from minizero.rollout.agreement import Agreement, Disagreement
from minizero.rollout.protocol import stream_seed
from minizero.rollout.pushed import PushedSampler
from minizero.rollout.server_answers import Written
from minizero.rollout.servers import Adapter, Servers
from minizero.rollout.vllm_settings import max_model_len
from minizero.types import MASK_BIAS, Completion, Request, SamplerError

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.learn.policy import Policy

T = TypeVar("T")
POLL_S = 0.25  # seconds that one poll waits for an answer
KEPT = 1  # adapters of each member that a server keeps beside the newest


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, its prompt's ids, and the adapter that it is for with the updates that this has seen."""

    request: Request
    prompt: tuple[int, ...]
    adapter: str
    version: int | None


_Done = tuple[_Asked, int, Written]


class ServerSampler(PushedSampler):
    """vLLM's servers."""

    def __init__(self, policy: Policy, config: Config, *, any_length: bool = False) -> None:
        super().__init__(policy, config)
        self.longest = 0  # tokens of a prompt and its answer that every server takes
        self._directory, self._is_own = _directory(config), not config.sampler.adapter_dir
        self._token, self._version = uuid.uuid4().hex[:8], 0
        self._newest: dict[str, tuple[str, int]] = {}  # member -> its newest adapter's name, its updates until then
        self._done: queue.SimpleQueue[_Done | BaseException] = queue.SimpleQueue()
        self._open = 0
        self._thread = _InThread()
        sampler = config.sampler
        try:
            self._servers = Servers(
                sampler.url,
                model=sampler.served_name or config.model.name,
                root="" if sampler.served_name else locate(config.model.name),
                tokens=0 if any_length else max_model_len(config),
                rows=sampler.max_rows,
                patience_s=sampler.patience_s,
                fail=self._done.put,
            )
            self._thread.result(self._servers.start())
            self.longest = self._servers.longest
            self.self_test()
        except BaseException:
            self.close()
            raise

    # -- the protocol -------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Ask one server for n completions, each by a request of its own, so that the first to finish need not wait for
        the last."""
        self.check_member(request)
        prompt = tuple(self.prompt_ids(request.prompt))
        if len(prompt) + request.max_tokens > self.longest:
            raise SamplerError(
                f"{request.id}: {len(prompt)} prompt tokens and {request.max_tokens} new ones, but a server was "
                f"started for {self.longest}. Start it with a larger --max-model-len"
            )
        self._open += request.n
        asked = _Asked(request, prompt, *(self._newest[request.member] if request.adapter else ("", None)))
        self._thread.call(self._begin, asked)

    def poll(self) -> list[Completion]:
        done: list[Completion] = []
        started = time.perf_counter()
        try:
            while self._open:
                item = self._done.get_nowait() if done else self._done.get(timeout=POLL_S)
                if isinstance(item, BaseException):
                    raise item
                done.append(self._completion(*item))
        except queue.Empty:
            pass
        self._usage["decode_s"] += time.perf_counter() - started
        return done

    @property
    def pending(self) -> int:
        return self._open

    @property
    def generated(self) -> int:
        return int(self._usage["completion_tokens"])

    def release(self) -> None:
        """Nothing to give back: the servers have memory of their own."""

    def resume(self) -> None:
        """See release."""

    def close(self) -> None:
        self._open = 0
        if hasattr(self, "_servers"):
            self._thread.end(self._servers.close())
        shutil.rmtree(self._directory if self._is_own else self._directory / self._token, ignore_errors=True)

    # -- the adapter --------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """The policy's adapters as they are now, each under a new name: vLLM keeps the prompts that it has read by the
        adapter's name, so the same name would mix two policies. Of several ranks the first one writes them for all."""
        started, policy = time.perf_counter(), self._policy
        self._version += policy.ranks.leads
        members = policy.members.names
        for member in members:
            made = Adapter("", "")
            if policy.ranks.leads:
                place = self._directory / self._token / f"{self._version}{'-' * bool(member)}{member}" / "adapter"
                place.mkdir(parents=True)
                policy.members.save_one(member, place)
                made = Adapter(f"minizero-{self._token}-{place.parent.name}", str(place.resolve()))
            made = policy.ranks.given(made)
            for old in self._thread.result(self._servers.give(made, keep=(KEPT + 1) * len(members) - 1)):
                if policy.ranks.leads:
                    shutil.rmtree(Path(old.path).parent, ignore_errors=True)
            self._newest[member] = made.name, policy.optimisers[member].updates
        self._usage["push_s"] += time.perf_counter() - started

    def _measured(self) -> Agreement:
        """Measure the agreement of each server; returns that of the last one."""
        assert self._servers.all
        try:
            for server in self._servers.all:
                self._servers.only = server
                found = super()._measured()
        except Disagreement as error:
            raise SamplerError(
                f"{server.url}: {error}\nDoes it serve the weights of {self._config.model.name} in the trainer's type "
                f"({str(self._policy.model.dtype).removeprefix('torch.')}), with --logprobs-mode processed_logprobs? "
                " minizero serve  starts it so"
            ) from None
        finally:
            self._servers.only = None
        return found

    # -- requests, in the thread of the servers -----------------------------------------------------------------------

    def _begin(self, asked: _Asked) -> None:
        server = self._servers.choose(asked.request.n)
        for index in range(asked.request.n):
            answer = self._servers.complete(self._body(asked, index), asked.adapter, server)
            self._thread.start(self._finish(asked, index, answer))

    async def _finish(self, asked: _Asked, index: int, answer: Coroutine[Any, Any, Written]) -> None:
        try:
            self._done.put((asked, index, await answer))
        except Exception as error:  # raised by the next poll
            self._done.put(error)

    def _body(self, asked: _Asked, index: int) -> dict[str, Any]:
        """Everything is said, because what is not said comes from the model's own generation_config.json."""
        request = asked.request
        return {
            "prompt": list(asked.prompt),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "min_tokens": 0,
            "ignore_eos": False,
            "seed": stream_seed(request.seed, index) if self.seeded else None,
            "stop": list(request.prompt.stop),
            "include_stop_str_in_output": True,
            "stop_token_ids": list(self.tokenizer.eos_ids),
            "skip_special_tokens": False,
            "logprobs": 0,  # of the sampled token alone
            "return_token_ids": True,
            "logit_bias": dict.fromkeys(map(str, request.masked), -MASK_BIAS) or None,
        }

    def _completion(self, asked: _Asked, index: int, written: Written) -> Completion:
        self._open -= 1
        self._usage["prompt_tokens"] += len(asked.prompt)
        self._usage["cached_tokens"] += written.cached
        self._usage["completion_tokens"] += len(written.ids)
        return Completion(
            asked.request.id, index, asked.prompt, written.ids, written.log_probs, self.tokenizer.decode(written.ids),
            written.finish, asked.version, asked.request.masked, asked.request.member,
        )  # fmt: skip


class _InThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in the loop and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, do: Any, *arguments: Any) -> None:
        """Have the loop call `do` soon; calls keep their order."""
        self._loop.call_soon_threadsafe(do, *arguments)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the coroutine from the event loop's own thread, without waiting."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, last: Coroutine[Any, Any, None], patience_s: float = 10.0) -> None:
        """Cancel what runs, run `last`, and stop the loop and its thread."""
        if self._loop.is_closed():
            last.close()
            return

        async def finish() -> None:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.wait_for(last, patience_s)

        with suppress(Exception):  # a server that does not answer may keep the adapter
            self.result(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(patience_s)
        if not self._thread.is_alive():
            self._loop.close()


def _directory(config: Config) -> Path:
    """Where adapters are put for the servers."""
    if config.sampler.adapter_dir:
        return Path(config.sampler.adapter_dir).expanduser()
    assert all(map(is_local, config.sampler.url))
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="minizero-", dir=shared if shared.is_dir() else None))
