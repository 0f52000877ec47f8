"""A sampler without a model: a function from request to text. Ships for tests, docs and for trying a loop by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from minizero.types import Completion, Prompt, Request


class ScriptedSampler:
    """Answers every request with `script(request, index)`; ids are the UTF-8 bytes of the text, EOS is 256.

    >>> sampler = ScriptedSampler(lambda request, index: "42")
    >>> sampler.submit(Request("a", Prompt(()), max_tokens=8, seed=0))
    >>> [completion.text for completion in sampler.poll()]
    ['42']
    """

    is_reproducible = True
    eos_id = 256

    def __init__(self, script: Callable[[Request, int], str], *, per_poll: int = 64) -> None:
        self._script, self._per_poll = script, per_poll
        self._queue: deque[tuple[Request, int]] = deque()
        self._usage = {"prompt_tokens": 0.0, "completion_tokens": 0.0, "prefill_s": 0.0, "decode_s": 0.0}

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The UTF-8 bytes of the messages, one after the other, and of the prefill."""
        return list(("\n".join(m.content for m in prompt.messages) + prompt.prefill).encode("utf-8", "replace"))

    def submit(self, request: Request) -> None:
        """Queue n completions of one prompt."""
        self._queue.extend((request, index) for index in range(request.n))

    def poll(self) -> list[Completion]:
        """The next completions in the order of their requests, at most `per_poll`; [] when nothing is pending."""
        taken = [self._queue.popleft() for _ in range(min(self._per_poll, len(self._queue)))]
        return [self._complete(request, index) for request, index in taken]

    @property
    def pending(self) -> int:
        """Completions submitted and not yet returned."""
        return len(self._queue)

    @property
    def generated(self) -> int:
        """Tokens written since the last call of `take_usage`."""
        return int(self._usage["completion_tokens"])

    def load(self, adapter: Any) -> None:
        """Nothing to load: the script is the policy."""

    def release(self) -> None:
        """Nothing is held between requests."""

    def resume(self) -> None:
        """Nothing was given back."""

    def take_usage(self) -> dict[str, float]:
        """Counters since the last call: prompt_tokens, completion_tokens, prefill_s and decode_s (both 0)."""
        usage, self._usage = self._usage, dict.fromkeys(self._usage, 0.0)
        return usage

    def close(self) -> None:
        """Drop what is pending."""
        self._queue.clear()

    def _complete(self, request: Request, index: int) -> Completion:
        whole = self._script(request, index)
        body = list(whole.encode("utf-8", "replace"))[: request.max_tokens]
        finish = "stop" if len(body) < request.max_tokens else "length"
        ids = (*body, self.eos_id) if finish == "stop" else tuple(body)
        prompt = tuple(self.prompt_ids(request.prompt))
        self._usage["prompt_tokens"] += len(prompt)
        self._usage["completion_tokens"] += len(ids)
        text = bytes(body).decode("utf-8", "replace")
        return Completion(
            request.id, index, prompt, ids, (-1.0,) * len(ids), text, finish, masked=request.masked,
            member=request.member,
        )  # fmt: skip
