"""8-bit floats in vLLM (sampler.kv_dtype, sampler.weights): which other settings they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minizero.config.schema import Config


def fp8_settings(config: Config) -> list[str]:
    """The settings that make vLLM compute with 8-bit floats, as they are written on the command line."""
    sampler = config.sampler
    return [f"sampler.{name}=fp8" for name in ("kv_dtype", "weights") if getattr(sampler, name) == "fp8"]


def fp8_problems(config: Config) -> list[str]:
    """Settings that contradict 8-bit floats, one sentence each. Whether the card has them is planner/plan.py's."""
    chosen, sampler = fp8_settings(config), config.sampler
    if not chosen:
        return []
    given, problems = " and ".join(chosen), []
    if config.loss.correction == "none" and config.loss.old_policy == "trainer":
        problems.append(
            f'{given} with loss.correction = "none": what is sampled from is rounded, so it is not quite the policy '
            "that is trained. Try --set loss.correction=token_truncate"
        )
    if sampler.backend == "transformers":
        problems.append(
            f"{given} with sampler.backend = transformers: it samples from the trainer's own weights and cache. Leave "
            "it out, or --set sampler.backend=vllm"
        )
    if sampler.weights == "fp8" and config.model.quantization != "none":
        problems.append(
            f"sampler.weights = fp8 with model.quantization = {config.model.quantization}: vLLM's weights have 4 bits "
            "then. Leave one out"
        )
    if sampler.weights == "fp8" and sampler.share_weights is True:
        problems.append(
            "sampler.weights = fp8 with sampler.share_weights = true: the trainer computes with 16 bits, so vLLM's "
            "weights are a copy. Try --set sampler.share_weights=auto"
        )
    return problems
