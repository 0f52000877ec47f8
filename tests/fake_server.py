"""A server that speaks like `vllm serve`, as much of it as minizero uses, and fails in the ways that servers fail.

Its refusals are worded as vLLM 0.32 words them (tests/test_server_vllm.py asks the real one).
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Write = Callable[[dict[str, Any], str], tuple[list[int], list[float]]]  # body, adapter's path -> ids, log-probabilities


def same_again(body: dict[str, Any], adapter: str) -> tuple[list[int], list[float]]:
    """The prompt's first token, and the end."""
    return [body["prompt"][0], 256], [-0.5, -0.25]


@dataclass
class FakeServer:
    """Serves until `stop`; `begin` again on the same port is a restart, which forgets adapters."""

    write: Write = same_again
    model: str = "small"
    tokens: int = 256
    key: str = ""
    takes_adapters: bool = True
    refuses_adapters: str = ""  # with these words
    port: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of completions
    failing: int = 0  # so many completions end with status 500
    breaking: int = 0  # and so many in the middle of the connection
    slow_s: float = 0.0
    hangs: bool = False
    body: Any = None  # instead of an answer
    most: int = 0  # completions at once, so far
    is_stopped: bool = False
    errors: list[BaseException | None] = field(default_factory=list)  # of its own: it is wrong
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> FakeServer:
        fake, self.adapters, self.hangs, self.is_stopped = self, {}, False, False

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None: ...

            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                data = self.rfile.read(length)
                if len(data) < length:  # the client left between the head and the body, as a canceled request does
                    self.close_connection = True
                    return
                self.answer(json.loads(data))

            def answer(self, body: dict[str, Any]) -> None:
                while fake.hangs:
                    time.sleep(0.02)
                status, found = fake.answer(self.path, body, self.headers.get("Authorization", ""))
                if status == 0 or fake.is_stopped:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        class Quietly(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(error := sys.exception(), OSError):
                    fake.errors.append(error)

        self.server = Quietly(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.is_stopped = True
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, body: dict[str, Any], authorization: str) -> tuple[int, Any]:
        if path == "/health":
            return 200, ""
        if self.key and authorization != f"Bearer {self.key}":
            return 401, {"error": "Unauthorized"}
        if path == "/v1/models":
            served = {"id": self.model, "root": "/models/small", "parent": None, "max_model_len": self.tokens}
            loaded = [{"id": name, "root": place, "parent": self.model} for name, place in self.adapters.items()]
            return 200, {"data": [served, *loaded]}
        if path.endswith("lora_adapter"):
            return self.adapter(path, body)
        return self.complete(body)

    def adapter(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if not self.takes_adapters:
            return 404, {"detail": "Not Found"}
        if self.refuses_adapters:
            return 500, {"error": {"message": self.refuses_adapters}}
        name = body["lora_name"]
        if "unload" in path:
            return (
                (200, "Success") if self.adapters.pop(name, None) else (404, {"error": {"message": "cannot be found"}})
            )
        if name in self.adapters:
            return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
        self.adapters[name] = body["lora_path"]
        return 200, "Success"

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            self.asked.append(body)
            self._open += 1
            self.most = max(self.most, self._open)
        time.sleep(self.slow_s)
        with self._lock:
            self._open -= 1
        while self.hangs:
            time.sleep(0.02)
        if self.breaking:
            self.breaking -= 1
            return 0, ""
        if self.failing:
            self.failing -= 1
            return 500, {"error": {"message": "EngineCore is tired"}}
        if body["model"] not in (self.model, *self.adapters):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if self.body is not None:
            return 200, self.body
        ids, values = self.write(body, self.adapters.get(body["model"], ""))
        finish = "stop" if ids[-1] == 256 else "length"
        choice = {"token_ids": ids, "logprobs": {"token_logprobs": values}, "finish_reason": finish}
        return 200, {"choices": [choice], "usage": {"prompt_tokens_details": {"cached_tokens": 1}}}
