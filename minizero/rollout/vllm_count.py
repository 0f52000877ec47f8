"""What vLLM holds of a model, counted by its own classes on tensors without numbers: no card, no weights, no engine.
The wheel for CUDA and the build for CPUs count alike.

Reading order: EngineCount, count_engine (starts a process, because vLLM changes the one that it is in), then _count,
what that process does. Graphs and what a batch takes cannot be counted so; they stay formulas.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minizero.config.fp8 import fp8_settings
from minizero.config.schema import Config
from minizero.learn.prove import hugging_face
from minizero.planner.memory import kv_token_bytes, longest
from minizero.planner.shapes import GIB, Shape
from minizero.rollout.vllm_internals import installed_version
from minizero.rollout.vllm_settings import engine_rank
from minizero.types import SamplerError

MINUTES_S = 300.0  # it takes ten seconds on a machine that does nothing else
CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


@dataclass(frozen=True, slots=True)
class EngineCount:
    """Bytes: of the weights in 16 bits, of one adapter's buffers, and of a token's keys and values in 16 bits."""

    weights: int
    adapter: int
    token: int
    is_packed: bool = False  # the run's own weights or cache have 4 or 8 bits, which were not counted

    def text(self, shape: Shape, rank: int) -> str:
        """The counts in words, beside the planner's numbers."""
        planned = 2 * shape.parameters / GIB, 2 * shape.lora(rank) / GIB
        return (
            f"counted by vLLM's own classes ({installed_version()}): weights {self.weights / GIB:.2f} GiB (planned "
            f"{planned[0]:.2f}), the adapter's buffers {self.adapter / GIB:.2f} (planned {planned[1]:.2f}), "
            f"{self.token:,} bytes of cache a token (planned {kv_token_bytes(shape):,})"
            + ("; all as they are in 16 bits, what is packed was not counted" if self.is_packed else "")
        )


def count_engine(config: Config, shape: Shape) -> EngineCount | None:
    """Count for a base with an adapter, in 16 bits; None without vLLM or an adapter. Raises SamplerError when vLLM
    does not build the model, or not in five minutes."""
    if not installed_version() or config.adapter.kind != "lora":
        return None
    packed = config.model.quantization != "none" or bool(fp8_settings(config))
    sizes = hugging_face(config, shape, small=False)
    sizes.architectures = sizes.architectures or [CLASSES[sizes.model_type]]
    sizes.max_position_embeddings = max(sizes.max_position_embeddings, longest(config))
    # The wheel for CUDA builds its models without a card too, told that it is on a CPU.
    own = {
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1", "TORCHDYNAMO_DISABLE": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        sizes.save_pretrained(place)
        asked = {"model": place, "max_model_len": longest(config), "max_lora_rank": engine_rank(config.adapter.rank)}
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, json.dumps(asked)],
                env=os.environ | own | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
                timeout=MINUTES_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SamplerError(
                f"vLLM did not build {config.model.name} in {MINUTES_S:.0f} s, so its part was not counted"
            ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if "rror" in line and "http" not in line]
        raise SamplerError(f"vLLM does not build {config.model.name}: {' '.join(lines[-2:])}")
    return replace(EngineCount(**json.loads(done.stdout.strip().splitlines()[-1])), is_packed=packed)


def _count(asked: dict[str, Any]) -> EngineCount:
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.engine.arg_utils import EngineArgs
    from vllm.lora.model_manager import create_lora_manager
    from vllm.model_executor.model_loader.utils import initialize_model

    settings: Any = EngineArgs(
        **asked, skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True, load_format="dummy", enable_lora=True,
        max_loras=1, block_size=32,
    ).create_engine_config()  # fmt: skip
    meta = torch.device("meta")
    with tempfile.TemporaryDirectory() as place, set_current_vllm_config(settings):
        init_distributed_environment(1, 0, (Path(place) / "meet").as_uri(), 0, "gloo")
        initialize_model_parallel(1, 1)
        torch.set_default_dtype(torch.bfloat16)
        with meta:
            model = initialize_model(vllm_config=settings)
        weights = sum(map(_bytes, model.parameters()))
        manager = create_lora_manager(
            model, max_num_seqs=1, max_num_batched_tokens=asked["max_model_len"],
            vocab_size=settings.model_config.get_vocab_size(), lora_config=settings.lora_config, vllm_config=settings,
            device=meta,
        )  # fmt: skip
        buffers = [
            part
            for module in manager.modules.values()
            for stacked in (module.lora_a_stacked, module.lora_b_stacked)
            for part in (stacked if isinstance(stacked, tuple) else (stacked,))
        ]
        layers = settings.compilation_config.static_forward_context.values()
        specs = [spec for layer in layers if (spec := layer.get_kv_cache_spec(settings)) is not None]
    token = sum(spec.page_size_bytes // spec.block_size for spec in specs)
    return EngineCount(weights, sum(map(_bytes, buffers)), token)


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_count(json.loads(sys.argv[1])))))
