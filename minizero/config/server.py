"""Sampling by servers (sampler.backend = "server") and one step ahead (selfplay.ahead): what goes together.

Reading order: is_local, server_problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minizero.config.fp8 import fp8_settings

if TYPE_CHECKING:
    from minizero.config.schema import Config

KEY = "VLLM_API_KEY"  # the environment variable that `vllm serve` reads too


def is_local(url: str) -> bool:
    """Whether an address is one of this machine, which sees the same files."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def server_problems(config: Config) -> Iterator[str]:
    """What contradicts sampling by servers or one step ahead, one sentence each."""
    sampler, ahead = config.sampler, config.selfplay.ahead
    if sampler.backend != "server":
        if sampler.url:
            yield (
                f"sampler.url with sampler.backend = {sampler.backend}: only servers have addresses. Try --set "
                "sampler.backend=server"
            )
        if ahead:
            yield (
                "selfplay.ahead = 1 without a server: what samples would wait for the processor or the card that "
                "learns. Start  minizero serve  and --set sampler.backend=server --set sampler.url=http://..."
            )
        return
    if not sampler.url:
        yield (
            'sampler.backend = "server" without an address: --set sampler.url=http://localhost:8000 , and  minizero '
            "serve  starts one there"
        )
    for url in sampler.url:
        yield from _address_problems(url)
    if len(set(sampler.url)) < len(sampler.url):
        yield f"sampler.url names a server twice: {', '.join(sampler.url)}."
    if config.adapter.kind != "lora":
        yield (
            f'sampler.backend = "server" with adapter.kind = "{config.adapter.kind}": a server is given adapters, not '
            "whole models. Try --set adapter.kind=lora"
        )
    if own := fp8_settings(config):
        yield (
            f"{' and '.join(own)} with sampler.backend = server: an engine in this process has these. Give the server "
            "vLLM's own flags, --quantization fp8 or --kv-cache-dtype fp8, and set sampler.tolerance"
        )
    if (elsewhere := [url for url in sampler.url if not is_local(url)]) and not sampler.adapter_dir:
        yield (
            f"{elsewhere[0]} is another machine, which reads the adapter from a directory that both see under "
            "the same path. Name it with --set sampler.adapter_dir=/mnt/adapters"
        )
    if ahead and config.loss.correction == "none" and config.loss.old_policy == "trainer":
        yield (
            'selfplay.ahead = 1 with loss.correction = "none": what is learned from was sampled by the policy of one '
            "update before. Try --set loss.correction=token_truncate"
        )


def _address_problems(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield f"sampler.url: {url!r} is no address ({error}). Expected http://HOST:PORT"
        return
    if parts.username or parts.password:
        yield f"sampler.url holds a key, which would be written down with the run. Take it out and export {KEY}=..."
    elif parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        yield f"sampler.url: {url!r} is no address of a server. Expected http://HOST:PORT"
