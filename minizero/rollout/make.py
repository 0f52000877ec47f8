"""Which sampler a config gets."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from minizero.config.schema import Config
from minizero.models.processor import device_of
from minizero.planner.driver import compiler_problem
from minizero.rollout.protocol import Sampler
from minizero.types import SamplerError

if TYPE_CHECKING:
    from minizero.learn.policy import Policy


def make_sampler(config: Config, policy: Policy, *, any_length: bool = False) -> Sampler:
    """The sampler that sampler.backend names, on this policy. `any_length`: servers need not take prompts and answers
    as long as this config has them, because an evaluation asks other lengths."""
    kind = backend(config, policy.device)
    if kind == "vllm":
        from minizero.rollout.vllm import VLLMSampler

        return VLLMSampler(policy, config)
    if kind == "server":
        from minizero.rollout.server import ServerSampler

        return ServerSampler(policy, config, any_length=any_length)
    from minizero.rollout.transformers import TransformersSampler

    return TransformersSampler(
        policy.model,
        policy.tokenizer,
        max_rows=config.sampler.max_rows,
        max_cache_tokens=config.sampler.max_cache_tokens,
        adapter_off=policy.adapter_off if policy.has_adapter else None,
        use=policy.members.use if policy.has_adapter else None,
    )


def check_sampler(config: Config) -> None:
    """Raise, before weights load, for what would keep the sampler from starting."""
    device = device_of(config.model.device)
    kind = backend(config, device)
    if kind == "server":
        from minizero.rollout.vllm_settings import check_refusals

        check_refusals(config)
    elif kind == "vllm":
        from minizero.rollout.vllm_settings import check_model

        check_model(config)
        missing = compiler_problem() if device == "cuda" else None
        if missing:
            raise SamplerError(f"{missing.seen}, without which vLLM compiles nothing for the card. Run  {missing.fix}")
    else:
        from minizero.rollout.decode import check_has_cache

        check_has_cache(config.model.name)


def backend(config: Config, device: str) -> str:
    """What sampler.backend = auto means: vllm for an adapter on a CUDA card where vLLM is installed."""
    if config.sampler.backend != "auto":
        return config.sampler.backend
    suits = device == "cuda" and config.adapter.kind == "lora" and find_spec("vllm") is not None
    return "vllm" if suits else "transformers"
