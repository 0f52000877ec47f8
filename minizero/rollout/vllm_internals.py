"""All that we use of vLLM beyond its public interface: no other file knows private names (vLLM 0.32).

Reading order: start_engine (in this process, leaving the environment as it was), StackedAdapter (where the adapter's
numbers lie, and how they are overwritten), base_weights (what the trainer may share), reset_prefix_cache, settle,
release_cache. A private name that is not where it was raises InternalsMoved, and vllm.py then goes through a saved
adapter and a second set of weights, which is public and costs time and memory.
"""
# R largest rank of the engine, r rank of the adapter, I inputs and O outputs of a linear layer

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import metadata
from subprocess import CalledProcessError
from typing import Any

import torch
from torch import Tensor

from minizero.formatting import install
from minizero.models.adapter import LowRank
from minizero.types import MissingPackage, OutOfMemory, SamplerError

log = logging.getLogger(__name__)
MOST_BATCHES = 8  # that an engine may have launched before it reads the first; two in one process
VERSION = "0.32.0"  # of vLLM, as in pyproject.toml
# What starts raise: settings and memory (ValueError, RuntimeError), missing files (OSError), a compiler (Triton calls
# one), packages that do not go together (flashinfer with another cuda-python: AttributeError), and a version that does
# not know a setting of ours (TypeError).
START_ERRORS = (
    ValueError, RuntimeError, OSError, NotImplementedError, CalledProcessError, AttributeError, AssertionError,
    ImportError, TypeError,
)  # fmt: skip
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vllm.config.lora accepts as max_lora_rank


class InternalsMoved(Exception):
    """A private attribute of vLLM is missing or has another shape."""


def start_engine(*, device: str, keep_weights: bool = False, **settings: Any) -> Any:
    """vllm.LLM in this process, with the process's environment and torch's thread control as they were.

    `keep_weights`: a CPU, which computes with a packed copy, keeps the plain weights too. Of vLLM's log only errors are
    shown, unless VLLM_LOGGING_LEVEL says otherwise; what takes minutes is said on stderr.

    Raises MissingPackage, or SamplerError with vLLM's own words when it does not start.
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine shares our process, so that buffers can be written
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    is_quiet = os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR") == "ERROR"
    if device == "cuda" and is_quiet:
        log.warning("vLLM starts: at first it compiles for this card, for minutes (VLLM_LOGGING_LEVEL=INFO shows it)")
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        # Without this vLLM's CPU build falls back to a single thread.
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    with _left_as_it_was():
        try:
            from vllm import LLM
        except ImportError as error:
            if error.name != "vllm":
                raise SamplerError(_why_not(error)) from error
            command = "make install-vllm-cpu" if device == "cpu" else install("vllm")
            raise MissingPackage("vllm", 'sampler.backend = "vllm"', command) from None
        except START_ERRORS as error:
            raise SamplerError(_why_not(error)) from error
        try:
            with _plain_weights_kept() if keep_weights and device == "cpu" else nullcontext():
                return LLM(**settings)
        except START_ERRORS as error:
            raise SamplerError(_why_not(error)) from error


def _why_not(error: Exception) -> str:
    """One message for whatever kept vLLM from starting."""
    words = str(error).strip() or type(error).__name__
    other = _other_version()
    if other and isinstance(error, TypeError | AttributeError | AssertionError | ImportError):
        hint = f"Install that one:  {install('vllm')}"
    elif isinstance(error, CalledProcessError):
        hint = "A compiler that it calls failed:  minizero doctor  checks compiler and headers"
    elif isinstance(error, TypeError | AttributeError | AssertionError | ImportError):
        hint = "Its packages do not go together:  minizero doctor  names those that overwrite each other"
    else:
        hint = "Try a smaller sampler.kv_gib or sampler.max_rows"
    return f"vLLM did not start: {words}.{other}\n{hint}, or --set sampler.backend=transformers"


def _other_version() -> str:
    """A sentence where another version is installed than the one that is tested; else ""."""
    version = installed_version()
    return f" It is vLLM {version}; minizero is tested with {VERSION}." if version and version != VERSION else ""


def installed_version() -> str:
    """vLLM's, of either build; "" where there is none."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


@contextmanager
def _plain_weights_kept() -> Iterator[None]:
    from vllm.model_executor.layers import utils

    pack = utils.dispatch_cpu_unquantized_gemm
    utils.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: pack(layer, remove_weight=False)
    try:
        yield
    finally:
        utils.dispatch_cpu_unquantized_gemm = pack


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """vLLM writes LD_PRELOAD, thread counts and more into os.environ, which every later child process would inherit,
    and its CPU build replaces torch.set_num_threads by a function that does nothing."""
    before, set_num_threads = dict(os.environ), torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads
        for name in set(os.environ) - set(before):
            if not name.startswith("VLLM_"):  # its own names are read again while it runs
                del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if not name.startswith("VLLM_")})


class StackedAdapter:
    """Where vLLM keeps adapter number `adapter_id`: one slot of stacked A and B buffers in every wrapped layer.

    A fused layer (qkv_proj, gate_up_proj) has a buffer for each of its parts, which bear the trainer's names.
    """

    def __init__(self, llm: Any, adapter_id: int) -> None:
        self._id = adapter_id
        try:
            worker = llm.llm_engine.model_executor.driver_worker.worker
            self._manager = worker.model_runner.lora_manager._adapter_manager
            self._places = dict(self._find())
        except (AttributeError, TypeError, KeyError) as error:
            raise InternalsMoved(f"{type(error).__name__}: {error}") from error
        if not self._places:
            raise InternalsMoved("no layer with an adapter's buffers was found")

    def _find(self) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        """The trainer's name of a layer -> its stacked A [slots, 1, R, I] and B [slots, 1, O, R]."""
        for name, module in self._manager.modules.items():
            if not isinstance(module.lora_a_stacked, tuple):
                continue  # embeddings and heads, which get no adapter from us
            parts = self._manager.packed_modules.get(name) or [name]
            buffers = zip(module.lora_a_stacked, module.lora_b_stacked, strict=True)
            yield from zip(parts, buffers, strict=False)

    def write(self, layers: Mapping[str, LowRank]) -> None:
        """Overwrite the slot with these layers. The trainer's tensors are only read: nothing here keeps or scales them
        (LoRAModel.from_lora_tensors does both). vLLM holds B with the scaling multiplied in."""
        slot = self._slot()
        for name, layer in layers.items():
            if name not in self._places:
                raise InternalsMoved(f"vLLM has no buffer for the adapter of {name}")
            a, b = (stacked[slot, 0] for stacked in self._places[name])
            rank = layer.a.shape[0]
            if a[:rank].shape != layer.a.shape or b[:, :rank].shape != layer.b.shape:
                raise InternalsMoved(f"{name}: buffers {list(a.shape)}, {list(b.shape)} for rank {rank}")
            a[:rank].copy_(layer.a)
            b[:, :rank].copy_(layer.b if layer.scaling == 1.0 else layer.b * layer.scaling)

    def _slot(self) -> int:
        """Looked up at every write: loading an adapter in place may move it."""
        try:
            return int(self._manager.lora_index_to_id.index(self._id))
        except ValueError:
            raise InternalsMoved("the adapter is in no slot any more") from None
        except AttributeError as error:
            raise InternalsMoved(str(error)) from error


def base_weights(llm: Any) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """The engine's weights by name, and which of its layers are several of the trainer's in one."""
    try:
        model = llm.llm_engine.model_executor.driver_worker.worker.model_runner.model
        tensors = {name: p.detach().as_subclass(Tensor) for name, p in model.named_parameters()}
        return tensors, {whole: tuple(parts) for whole, parts in model.packed_modules_mapping.items()}
    except AttributeError as error:
        raise InternalsMoved(str(error)) from error


def open_tokens(llm: Any) -> int:
    """Tokens written so far of the completions that are not finished. Raises InternalsMoved."""
    try:
        states = llm.llm_engine.output_processor.request_states.values()
        return sum(state.detokenizer.num_output_tokens() for state in states if state.detokenizer is not None)
    except (AttributeError, TypeError) as error:
        raise InternalsMoved(str(error)) from error


def reset_prefix_cache(llm: Any) -> None:
    """Forget cached prompts: vLLM keys them by the adapter's name and path, not by its numbers, so after a push they
    would be those of the policy before it. Raises SamplerError when vLLM refuses, which it does while requests run."""
    settle(llm)
    if not llm.reset_prefix_cache():
        raise SamplerError(
            "vLLM did not reset its prefix cache after the adapter was pushed, so prompts of the policy before it "
            "would be reused. Are requests still running?"
        )


def settle(llm: Any) -> None:
    """Engine steps after the last request, until nothing is left in the engine; none while requests run.

    Without them vLLM refuses to pause, to reset its prefix cache and to release its memory: its scheduler counts
    finished requests until the step after, and on CUDA, where the next batch is launched before the last one is read
    (async scheduling, the default there), one more batch of requests that have ended meanwhile waits in a queue.
    """
    engine = llm.llm_engine
    if engine.has_unfinished_requests():
        return  # their outputs would be lost here
    for _ in range(MOST_BATCHES):
        engine.step()
        if not _is_busy(engine):
            return


def _is_busy(engine: Any) -> bool:
    """Whether the engine still holds a batch or a request; True when that cannot be seen."""
    try:
        core = engine.engine_core.engine_core
        return bool(core.batch_queue) or bool(core.scheduler.has_requests())
    except AttributeError:
        return True  # a step without work does nothing


def release_cache(llm: Any) -> None:
    """The key-value cache's memory back to the card; weights and adapter stay where they are (sleep levels 1 and 2
    would take those too, and the trainer's with them)."""
    settle(llm)
    try:
        llm.sleep(level=0)
        llm.release_kv_cache_memory()
    except (RuntimeError, AttributeError, TypeError) as error:
        raise SamplerError(
            f"vLLM did not give back its key-value cache: {error}.{_other_version()} Try --set "
            "sampler.release_kv=false, with a smaller sampler.kv_gib if need be"
        ) from error


def take_cache_back(llm: Any) -> None:
    """The key-value cache again, empty, from memory that the trainer no longer uses."""
    torch.cuda.empty_cache()
    try:
        awake = llm.wake_up(tags=["kv_cache"])
    except (AttributeError, TypeError) as error:
        raise SamplerError(
            f"vLLM did not take back its key-value cache: {error}.{_other_version()} Try --set sampler.release_kv=false"
        ) from error
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        free = torch.cuda.mem_get_info()[0] / 2**30 if torch.cuda.is_available() else 0.0
        raise OutOfMemory(
            f"the card has no room for vLLM's key-value cache after the update ({free:.1f} GiB are free): another "
            "program took memory, or the trainer keeps more than was planned. Try a smaller run.vram_gib, from which "
            "the cache follows, or --set sampler.kv_gib to less than it was; the run continues with  --resume"
        ) from error
    if not awake:  # half awake it would take requests and never answer
        raise SamplerError("vLLM did not wake up with its key-value cache. Try --set sampler.release_kv=false")


def stop_engine(llm: Any) -> None:
    """Give back the engine's memory. vLLM has no public call for it that works in every version."""
    engine: Any = getattr(llm, "llm_engine", None)
    owners: list[Any] = [getattr(engine, "engine_core", None), getattr(engine, "model_executor", None)]
    for owner in owners:
        if hasattr(owner, "shutdown"):
            owner.shutdown()
            return
