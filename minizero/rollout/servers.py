"""vLLM's servers over HTTP: asked, and asked again when they fail, restart or hang. No torch, no model, no policy here.

Reading order: Servers (complete: one completion, however often that takes; give: an adapter for all of them), then
Server (one of them: greeted, lost, found again). What its answers mean is server_answers.py's. Everything runs in one
event loop; server.py is the side that waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from minizero.config.server import KEY
from minizero.rollout.server_answers import Failed, NoSuchAdapter, Written, body_of, completion, why_no_adapter, words
from minizero.types import SamplerError

log = logging.getLogger(__name__)
CONNECT_S, SHORT_S = 5.0, 60.0  # to be connected; for a short answer from a server that may be busy
IDLE_S = 2.0  # a connection that was idle so long is not used again: vLLM closes it after 5, perhaps at that moment
WATCH_S, HEALTH_S = 5.0, 20.0  # between looks at a server that works, and how long one may take
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # between tries to reach one that does not answer; then always the last
TRIES = 5  # of one completion that a server answers with an error of its own, or not at all


@dataclass(frozen=True, slots=True)
class Adapter:
    """A saved adapter under the name of its version. No name is given to two: vLLM caches prompts by it."""

    name: str
    path: str


class Away(Exception):
    """A server does not answer, or has restarted: what it was asked is asked again."""


class _NotAsked(Exception):
    """The server went away before it was this request's turn."""


class Servers:
    """A pool. `model`: the name that they offer it under; `root`: the place that it may also be known by ("": only by
    its name); `tokens`: that a prompt and its answer may have, at least; `rows`: requests at once to each;
    `patience_s`: without any server, before giving up; `fail`: told of an error that nobody waits for."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str,
        root: str,
        tokens: int,
        rows: int,
        patience_s: float,
        fail: Callable[[BaseException], object],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.model, self.root, self.tokens, self.patience_s, self.fail = model, root, tokens, patience_s, fail
        self.all = [Server(url, self, rows, transport) for url in urls]
        self.only: Server | None = None  # all requests go to this one, for as long as it is set
        self.adapters: list[Adapter] = []  # that each server has to know, the newest last
        self.away_since: float | None = None  # the moment when the last server went away
        self._found = asyncio.Condition()

    async def start(self) -> None:
        """Wait until every server has answered and offers what is needed. Raises SamplerError when one does not."""
        for server in self.all:
            server.check_host()
        await asyncio.gather(*(server.start() for server in self.all))

    @property
    def longest(self) -> int:
        """The most tokens of a prompt with its answer that every server takes."""
        return min(server.longest for server in self.all)

    @property
    def _asked(self) -> list[Server]:
        """The servers that may be asked now."""
        return [self.only] if self.only else self.all

    def _has_any(self) -> bool:
        return any(server.is_up for server in self._asked)

    async def close(self) -> None:
        """Leave the servers as they were found."""
        for server in self.all:
            await server.close(self.adapters)

    async def give(self, adapter: Adapter, *, keep: int) -> list[Adapter]:
        """Load the adapter on every server, which keeps the `keep` before it too; returns the older ones (unloaded)."""
        self.adapters.append(adapter)
        forgotten, self.adapters = self.adapters[: -1 - keep], self.adapters[-1 - keep :]
        for server in self.all:
            if server.is_up:
                try:
                    await server.load(adapter)
                    for old in forgotten:
                        await server.unload(old)
                except Away as why:
                    server.lose(why)  # it is given what it needs when it is back
        return forgotten

    def choose(self, completions: int) -> Server:
        """The server with the least to do, for so many completions of one prompt, which it then reads once."""
        chosen = min(self._asked, key=lambda server: (not server.is_up, server.asked))
        chosen.asked += completions
        return chosen

    async def complete(self, body: Mapping[str, Any], adapter: str, chosen: Server) -> Written:
        """One completion, from the chosen server or, where that is away, from another. Raises SamplerError."""
        server, tries = chosen, 0
        try:
            while True:
                if not server.is_up:
                    server.asked -= 1
                    server = await self._any_up()
                try:
                    return await server.complete(body, adapter)
                except _NotAsked:
                    continue
                except NoSuchAdapter:
                    await self._give_again(server, adapter)
                except (Away, Failed) as error:
                    if isinstance(error, Away):
                        server.lose(error)
                    tries += 1
                    if tries == TRIES:  # a request that ends its server every time, or a proxy that ends every long one
                        raise SamplerError(f"{server.url} failed {TRIES} times at one request: {error}") from None
                    await asyncio.sleep(BACK_OFF_S[min(tries, len(BACK_OFF_S)) - 1])
        finally:
            server.asked -= 1

    async def _give_again(self, server: Server, name: str) -> None:
        adapter = next((known for known in self.adapters if known.name == name), None)
        if adapter is None:
            raise SamplerError(f"{server.url} was asked for an adapter that is no longer used, {name}")
        try:
            await server.load(adapter)
        except Away as why:
            server.lose(why)

    async def _any_up(self) -> Server:
        async with self._found:
            await self._found.wait_for(self._has_any)
            return self.choose(1)

    async def found(self) -> None:
        """Let the requests go on that wait for a server: one answers again."""
        self.away_since = None
        async with self._found:
            self._found.notify_all()

    def check_patience(self, why: object) -> None:
        """Raise SamplerError when no server has answered for longer than sampler.patience_s."""
        if self._has_any():
            return
        self.away_since = self.away_since or time.monotonic()
        if time.monotonic() - self.away_since > self.patience_s:
            who = self._asked[0].url if len(self._asked) == 1 else f"none of {len(self._asked)} servers"
            raise SamplerError(
                f"{who} has answered for {self.patience_s:.0f} s ({why}). Start it again with  minizero serve , then "
                "continue the run with --resume; sampler.patience_s says how long to wait"
            )


class Server:
    """One server of the pool."""

    def __init__(self, url: str, pool: Servers, rows: int, transport: httpx2.AsyncBaseTransport | None) -> None:
        self.url, self._pool = url, pool
        self.is_up, self.asked = False, 0  # completions that it has been asked for and not yet given
        self.offered = pool.model  # the name under which it has the model
        self.longest = pool.tokens  # tokens that a prompt and its answer may have
        key = os.environ.get(KEY, "")
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(SHORT_S, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=rows, keepalive_expiry=IDLE_S),
            transport=transport,
        )
        self._rows = asyncio.Semaphore(rows)
        self._running: set[asyncio.Task[httpx2.Response]] = set()
        self._loading = asyncio.Lock()
        self._known: set[str] = set()  # names of adapters that it has
        self._watching: asyncio.Task[None] | None = None
        self._why: Away | None = None

    # -- there, away, and there again ---------------------------------------------------------------------------------

    def check_host(self) -> None:
        """Raise SamplerError for a host name that does not resolve; retrying cannot help."""
        parts = urlsplit(self.url)
        try:
            socket.getaddrinfo(parts.hostname, parts.port or 80)
        except OSError as error:
            raise SamplerError(f"sampler.url: no machine is called {parts.hostname} ({error.strerror})") from None

    async def start(self) -> None:
        """Wait for the server's first answer, then watch it."""
        began, waits = time.monotonic(), False
        for pause in _pauses():
            try:
                await self._greet()
                break
            except Away as why:
                if time.monotonic() - began > self._pool.patience_s:
                    raise SamplerError(
                        f"{self.url} does not answer ({why}). Start it with  minizero serve , or take it out of "
                        "sampler.url"
                    ) from None
                if not waits:
                    log.warning("waiting for %s: %s", self.url, why)
                waits = True
            await asyncio.sleep(pause)
        self._watching = asyncio.create_task(self._watch())

    async def _greet(self) -> None:
        """Check which model the server offers, load the adapters. Raises SamplerError where retrying cannot help."""
        offers = await self._ask("GET", "/v1/models", what="offers no list of models")
        models = [entry for entry in offers.get("data", []) if not entry.get("parent")]
        name, root = self._pool.model, self._pool.root
        match = [entry for entry in models if entry.get("id") == name or (root and entry.get("root") in (name, root))]
        if not match:
            named = ", ".join(str(entry.get("id")) for entry in models) or "none"
            raise SamplerError(
                f"{self.url} serves another model: {named}. Wanted is {self._pool.model}. Start it with that one, or "
                "say with --set sampler.served_name=NAME under which name it is served"
            )
        self.offered = str(match[0]["id"])
        self.longest = int(match[0].get("max_model_len") or self._pool.tokens)
        if self.longest < self._pool.tokens:
            raise SamplerError(
                f"{self.url} was started for {self.longest} tokens, but a prompt and its answer may have "
                f"{self._pool.tokens} here. Start it with  --max-model-len {self._pool.tokens}"
            )
        self._known = set()
        for adapter in self._pool.adapters:
            await self.load(adapter)
        self.is_up, self._why = True, None
        await self._pool.found()

    def lose(self, why: Away) -> None:
        """Mark the server as down; its open requests go to other servers, or to it after it returns."""
        if not self.is_up:
            return
        log.warning("%s is away (%s); what it was asked is asked again", self.url, why)
        self.is_up, self._why = False, why
        for task in self._running:
            task.cancel()

    async def _watch(self) -> None:
        """Check the server from time to time; while it is down, retry until it is back."""
        try:
            while True:
                if self.is_up:
                    await asyncio.sleep(WATCH_S)
                    await self._look()
                else:
                    await self._find_again()
        except Exception as error:  # nobody waits for this task, so the run is told
            self._pool.fail(error)

    async def _look(self) -> None:
        """Ask for its health while requests are open: a server that hangs would never end an answer."""
        if not self._running:
            return
        try:
            await self._ask("GET", "/health", timeout=HEALTH_S, what="is not well")
        except Away as why:
            self.lose(why)

    async def _find_again(self) -> None:
        for pause in _pauses():
            try:
                self._pool.check_patience(self._why)
                await asyncio.sleep(pause)
                await self._ask("GET", "/health", timeout=HEALTH_S, what="is not well")
                await self._greet()
                log.warning("%s is back", self.url)
                return
            except Away as why:
                self._why = why

    async def close(self, adapters: Sequence[Adapter]) -> None:
        if self._watching:
            self._watching.cancel()
        try:
            for adapter in adapters:
                if self.is_up:
                    await self.unload(adapter)
        except (Away, SamplerError):
            pass  # it is not ours any more
        await self._client.aclose()

    # -- adapters -----------------------------------------------------------------------------------------------------

    async def load(self, adapter: Adapter) -> None:
        """Load the adapter on the server. Raises Away, or SamplerError with what to change."""
        async with self._loading:
            if adapter.name in self._known:
                return
            body = {"lora_name": adapter.name, "lora_path": adapter.path}
            response = await self._send("POST", "/v1/load_lora_adapter", json=body, timeout=None)
            said = words(response)
            if response.status_code != 200 and "already been loaded" not in said:
                why = why_no_adapter(response.status_code, said, adapter.path)
                raise SamplerError(f"{self.url} did not take the adapter: {why}")
            self._known.add(adapter.name)

    async def unload(self, adapter: Adapter) -> None:
        """Unload the adapter from the server."""
        if adapter.name in self._known:
            self._known.discard(adapter.name)
            await self._send("POST", "/v1/unload_lora_adapter", json={"lora_name": adapter.name}, timeout=SHORT_S)

    # -- completions --------------------------------------------------------------------------------------------------

    async def complete(self, body: Mapping[str, Any], adapter: str) -> Written:
        """One completion of the model, or of an adapter on it. Raises _NotAsked, NoSuchAdapter, Away, Failed or
        SamplerError."""
        async with self._rows:
            if not self.is_up:
                raise _NotAsked
            asked = {"model": adapter or self.offered, **body}
            response = await self._send("POST", "/v1/completions", json=asked, timeout=None)
        try:
            return completion(response, self.url, adapter)
        except NoSuchAdapter:
            self._known.discard(adapter)
            raise

    async def _send(self, method: str, path: str, *, timeout: float | None, json: Any = None) -> httpx2.Response:
        """The answer, with any status but that of a wrong key (SamplerError). Raises Away when there is none."""
        limit = httpx2.Timeout(timeout, connect=CONNECT_S)
        task = asyncio.ensure_future(self._client.request(method, path, json=json, timeout=limit))
        self._running.add(task)
        try:
            response = await task
        except asyncio.CancelledError:
            if (ours := asyncio.current_task()) is None or ours.cancelling():
                raise
            raise Away(str(self._why)) from None  # lose() gave it up
        except httpx2.TransportError as error:
            raise Away(str(error) or type(error).__name__) from None
        finally:
            self._running.discard(task)
            task.cancel()
        if response.status_code in (401, 403):
            said = f"does not take the key in {KEY}" if os.environ.get(KEY) else f"asks for a key: export {KEY}"
            raise SamplerError(f"{self.url} {said}. It has to be the one that the server was started with.")
        return response

    async def _ask(self, method: str, path: str, *, what: str, timeout: float = SHORT_S) -> dict[str, Any]:
        """A short answer as a dict. Raises Away for an error of the server, SamplerError for one that is no vLLM."""
        response = await self._send(method, path, timeout=timeout)
        if response.status_code >= 500:
            raise Away(f"it answers {response.status_code}")
        if response.status_code != 200:
            raise SamplerError(f"{self.url} {what} ({response.status_code} {path}). Is it a server of vLLM?")
        found = body_of(response)
        return found if isinstance(found, dict) else {}


def _pauses() -> Iterator[float]:
    """Seconds between tries, without end."""
    yield from BACK_OFF_S
    while True:
        yield BACK_OFF_S[-1]
