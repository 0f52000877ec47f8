"""Which sampler a config gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minizero.config.schema import Config
from minizero.rollout.protocol import Sampler
from minizero.types import ConfigError

if TYPE_CHECKING:
    from minizero.policy import Policy


def make_sampler(config: Config, policy: Policy) -> Sampler:
    """The sampler that sampler.backend names, on this policy."""
    if config.sampler.backend == "vllm":
        raise ConfigError('sampler.backend = "vllm": not built yet. Try --set sampler.backend=transformers')
    from minizero.rollout.transformers import TransformersSampler

    return TransformersSampler(
        policy.model,
        policy.tokens,
        max_rows=config.sampler.max_rows,
        max_cache_tokens=config.sampler.max_cache_tokens,
        adapter_off=policy.adapter_off if policy.has_adapter else None,
    )
