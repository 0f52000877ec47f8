"""What a server of vLLM says: a completion, or why there is none.

Reading order: Written and completion (or NoSuchAdapter, Failed), then words (of a refusal) and why_no_adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

from minizero.types import SamplerError


@dataclass(frozen=True, slots=True)
class Written:
    """What a server wrote: token ids, their log-probabilities in nats, why it ended, and cached tokens of the
    prompt."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish: str
    cached: int


class Failed(Exception):
    """The server answered with an error of its own."""


class NoSuchAdapter(Exception):
    """The server does not know the adapter: it has restarted since."""


def completion(response: httpx2.Response, url: str, adapter: str) -> Written:
    """What was asked for, of the model or of an adapter on it. Raises NoSuchAdapter, Failed, or SamplerError for a
    refusal that another try does not change."""
    if response.status_code == 200:
        return _written(response, url)
    said = words(response)
    if response.status_code == 404 and adapter and adapter in said:
        raise NoSuchAdapter
    if response.status_code >= 500 or response.status_code == 429:
        raise Failed(said)
    raise SamplerError(f"{url} refuses a request: {said}")


def _written(response: httpx2.Response, url: str) -> Written:
    """A completion from the server's answer. Raises SamplerError for an answer without tokens and probabilities."""
    answer = body_of(response)
    try:
        (choice,) = answer["choices"]
        ids, values = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        if len(ids) != len(values):
            raise SamplerError(f"{url} returned {len(ids)} tokens with {len(values)} log-probabilities.")
        details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        found = Written(
            tuple(map(int, ids)), tuple(map(float, values)), str(choice["finish_reason"]),
            int(details.get("cached_tokens") or 0),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise SamplerError(
            f"{url} answers without token ids and their log-probabilities. minizero needs vLLM's own server, "
            "0.32.0 or one that answers as it does"
        ) from None
    if found.finish not in ("stop", "length"):
        raise Failed(f"a completion ended with {found.finish!r}")
    return found


def body_of(response: httpx2.Response) -> Any:
    """The answer's JSON; None where the body is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def words(response: httpx2.Response) -> str:
    """Why the server refused, in its own words, on one line of at most 500 characters."""
    found = body_of(response)
    error = found.get("error", found) if isinstance(found, dict) else None
    said = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    return " ".join(str(said or response.text or response.reason_phrase).split())[:500]


def why_no_adapter(status: int, said: str, path: str) -> str:
    """The reason and the remedy, by what vLLM says in these cases."""
    if status in (404, 405) and said in ("Not Found", "Method Not Allowed"):
        return "it was started without VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.  minizero serve  sets it"
    if "No adapter found" in said:
        return (
            f"it does not see {path}. sampler.adapter_dir has to be a directory that both machines have under "
            "the same path"
        )
    if "rank" in said and "max_lora_rank" in said:
        return f"{said}. Start it with a larger --max-lora-rank, as  minizero serve  does"
    if "enable_lora" in said or "enable-lora" in said or "LoRA is not enabled" in said:
        return f"{said}. Start it with --enable-lora, as  minizero serve  does"
    return said
