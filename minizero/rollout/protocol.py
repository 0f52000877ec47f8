"""What self-play asks of a text engine, and the random numbers that every engine of ours draws."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

from minizero.types import Completion, Prompt, Request


class Sampler(Protocol):
    """A text engine. Requests go in, completions come out one by one, in any order.

    `is_reproducible` promises that the same requests in the same order give the same completions, bit for bit;
    self-play then also submits in a fixed order. `usage` counts tokens since the last call of `take_usage`.
    """

    is_reproducible: bool

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids that a prompt is rendered to."""
        ...

    def submit(self, request: Request) -> None:
        """Queue n completions of one prompt."""
        ...

    def poll(self) -> list[Completion]:
        """Decode for a moment; what has finished since. Returns at once with [] when nothing is pending."""
        ...

    @property
    def pending(self) -> int:
        """Completions submitted and not yet returned."""
        ...

    @property
    def generated(self) -> int:
        """Tokens generated since the last call of `take_usage`; of open completions too where the engine tells."""
        ...

    def load(self, adapter: Any) -> None:
        """Sample from this policy from now on."""
        ...

    def release(self) -> None:
        """Nothing is sampled until `resume`: memory that only sampling needs may be used by others."""
        ...

    def resume(self) -> None:
        """Ready to sample again; what was cached may be gone."""
        ...

    def take_usage(self) -> dict[str, float]:
        """Counters since the last call: prompt_tokens, completion_tokens, decode_s, prefill_s."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


def drain(sampler: Sampler) -> Iterator[Completion]:
    """Completions until nothing is pending."""
    while sampler.pending:
        yield from sampler.poll()


def stream_seed(*parts: object) -> int:
    """A 63-bit seed from a path of names and numbers, such as (rng_seed, step, request id).

    >>> stream_seed(0, 1, "propose/deduction/3") == stream_seed(0, 1, "propose/deduction/3")
    True
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big") >> 1
