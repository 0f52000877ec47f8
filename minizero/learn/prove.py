"""The memory of an update, counted and not guessed: the real code on tensors that have shapes and no numbers.

Reading order: prove, Proof; then the model of fake tensors, what stands for a card's kernels in it, and Ledger, which
counts the bytes that are alive. Nothing is loaded or downloaded, and no card is needed: on torch's
"meta" device every operation of forward, backward and optimiser runs on shapes alone.

What it counts is what torch's tensors take, rounded to the allocator's 512 bytes. What it cannot see: the CUDA context,
the libraries' own workspaces, and gaps between the allocator's blocks.
"""
# h hidden width · L layers · B rows · T tokens

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minizero.config.schema import Config
from minizero.learn.memory_check import largest_rollouts
from minizero.learn.policy import Policy
from minizero.models.architecture import describe
from minizero.models.attention import ATTENTION, register
from minizero.models.names import architecture, locate
from minizero.planner.memory import value_bytes
from minizero.planner.shapes import GIB, Shape
from minizero.types import ModelError

ROUND = 512  # bytes of which the CUDA allocator gives whole multiples


@dataclass(frozen=True, slots=True)
class Proof:
    """GiB of an update, counted. `single` and `shared`: what the largest micro-batch adds while it is learned from, as
    rows of one sequence and as one prompt with many answers (0 where none fit); `state`: adapter, masters, gradients
    and moments; `update`: what the optimiser's step adds; `where`: the operation at which most is alive."""

    single: float
    shared: float
    state: float
    update: float
    where: str
    seconds: float

    @property
    def learning(self) -> float:
        """What the largest micro-batch adds."""
        return max(self.single, self.shared)

    def text(self, learning: float, state: float) -> str:
        """Beside what was planned for them, in GiB."""
        shared = f", and {self.shared:.2f} as one prompt with its answers" if self.shared else ""
        return (
            f"counted on fake tensors in {self.seconds:.0f} s: learning from the largest micro-batch takes "
            f"{self.single:.2f} GiB as rows of one sequence{shared} (planned {learning:.2f}); adapter, masters, sums "
            f"and moments {self.state:.2f} (planned {state:.2f}); the optimiser's step {self.update:.2f}, after that"
        )


def prove(config: Config, shape: Shape) -> Proof:
    """Run one update of a model of this shape on fake tensors. `config` has no setting left open (a plan's has none).

    Raises ModelError for a model whose class transformers cannot build from its sizes.
    """
    started = time.perf_counter()
    register()
    small, whole = (hugging_face(config, shape, small=small) for small in (True, False))
    facts = describe(_built(small, torch.float32))
    if not facts.head.is_matrix:
        raise ModelError(f"{config.model.name}: its head is more than a matrix, which --prove does not count.")
    size = torch.float32 if value_bytes(config, shape, "cuda") == 4 else torch.bfloat16
    with torch.device("meta"):
        model = _built(whole, size)
    if config.model.quantization == "nf4":
        _pack(model)
    head: Any = SimpleNamespace(is_matrix=True, weight=model.get_output_embeddings().weight, parameters=())
    model.__dict__["_minizero_architecture"] = replace(facts, model=model, head=head, layers=shape.layers)
    policy = Policy.of(model, SimpleNamespace(vocabulary=shape.vocabulary, pad_id=0), config)
    if config.optim.adam_bits == 32:
        for optimiser in policy.optimisers.values():
            for group in optimiser.adam.param_groups:
                group["fused"] = True  # as on a card
    batches = [next(policy.micro_batches(rollouts)) for rollouts in largest_rollouts(config, shape.vocabulary)]
    ledger = Ledger([*model.parameters(), *model.buffers()])
    added, where = [], ""
    with ledger, kernels():
        for batch in batches:
            ledger.begin()
            before = ledger.alive
            policy.backward(batch)
            values = (getattr(batch, field.name) for field in fields(batch))
            held = sum(_bytes(value) for value in values if isinstance(value, Tensor))
            added.append((ledger.peak - before + held, ledger.where))
        kept: list[Tensor] = []
        for optimiser in policy.optimisers.values():
            kept += [*optimiser.parameters.values(), *optimiser.masters.values(), *optimiser.means.values()]
            kept += [part for master in optimiser.masters.values() for part in optimiser.moments(master).values()]
        state = ledger.alive + sum(map(_bytes, kept))
        ledger.begin()
        before = ledger.alive
        optimiser = policy.optimisers[policy.members.on]
        sums, optimiser._sums = optimiser._sums, {}
        optimiser.apply(sums, 1.0)
        update = ledger.peak - before
    single, shared = added[0][0], (added[1][0] if len(added) > 1 else 0)
    where = max(added)[1]
    return Proof(single / GIB, shared / GIB, state / GIB, update / GIB, where, time.perf_counter() - started)


# -- the model --------------------------------------------------------------------------------------------------------


def hugging_face(config: Config, shape: Shape, *, small: bool) -> Any:
    """transformers' config of the model: its own config.json where that is here, else of a class with these sizes."""
    from transformers import AutoConfig, LlamaConfig, Qwen2Config, Qwen3Config

    try:
        sizes = dict(architecture(locate(config.model.name)))
        made = AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    except (OSError, KeyError, ValueError, ModelError):
        is_llama = "llama" in config.model.name.lower()
        kind: Any = Qwen3Config if shape.qk_norm else LlamaConfig if is_llama else Qwen2Config
        made = kind(
            hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim,
            vocab_size=shape.vocabulary, tie_word_embeddings=shape.tied,
        )  # fmt: skip
    if small:
        made.update({
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 256,
        })  # fmt: skip
        made.layer_types = made.layer_types[:2] if getattr(made, "layer_types", None) else None
    made.pad_token_id = made.bos_token_id = made.eos_token_id = None
    return made


def _built(sizes: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(sizes, attn_implementation=ATTENTION, dtype=dtype).eval()


class Packed(nn.Linear):
    """A frozen layer of a 4-bit base: for every pass its weight is unpacked into the compute type, and dropped again,
    as bitsandbytes' MatMul4Bit does."""

    def forward(self, input: Tensor) -> Tensor:
        return _Unpacked.apply(input, self.weight)  # type: ignore[no-any-return, no-untyped-call]


class _Unpacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor) -> Tensor:
        ctx.save_for_backward(packed)
        return x @ torch.empty_like(packed).T

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (packed,) = ctx.saved_tensors
        return grad @ torch.empty_like(packed), None


def _pack(model: Any) -> None:
    head = model.get_output_embeddings()
    for module in model.modules():
        if type(module) is nn.Linear and module is not head:
            module.__class__ = Packed


# -- a card's kernels -------------------------------------------------------------------------------------------------


@contextmanager
def kernels() -> Iterator[None]:
    """Attention as a card computes it: on fake tensors torch would take its plain way, whose scores are T x T. And the
    one question that transformers asks of numbers is answered: these are the positions of one sequence."""
    from transformers import masking_utils

    places: tuple[tuple[Any, str, Any], ...] = (
        (nn.functional, "scaled_dot_product_attention", _attention),
        (masking_utils, "find_packed_sequence_indices", lambda positions: None),
    )
    before = [getattr(place, name) for place, name, _ in places]
    for place, name, stand_in in places:
        setattr(place, name, stand_in)
    try:
        yield
    finally:
        for (place, name, _), own in zip(places, before, strict=True):
            setattr(place, name, own)


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # The kernel adds a number to each score, so a mask of truth values is made into one of numbers first.
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(attn_mask, 0)
    return _Attention.apply(query, key, value, attn_mask)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    """What FlashAttention 2 and the memory-efficient kernel hold: inputs, output and one float32 number per query, and
    in the backward pass a float32 sum for the queries' gradient."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        out = torch.empty_like(q)
        normaliser = q.new_empty(q.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(q, k, v, out, normaliser, mask)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *_ = ctx.saved_tensors
        total, delta = q.new_empty(q.shape, dtype=torch.float32), q.new_empty(q.shape[:3], dtype=torch.float32)
        found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None
        del total, delta
        return found


# -- counting ---------------------------------------------------------------------------------------------------------


def _bytes(tensor: Tensor) -> int:
    return -(-tensor.untyped_storage().nbytes() // ROUND) * ROUND


class Ledger(TorchDispatchMode):
    """Bytes of the storages that operations made and that are alive; `known` ones, such as parameters, count nothing.
    `peak` is the most since `begin`, and `where` the operation that reached it."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}
        self._known = known  # alive, so that no address is used twice
        self.alive, self.peak, self.where = 0, 0, ""

    def begin(self) -> None:
        self.peak, self.where = self.alive, ""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._add(value)
        if self.alive > self.peak:
            self.peak, self.where = self.alive, str(function)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._sizes:
            return
        self._sizes[storage._cdata] = _bytes(tensor)
        self.alive += self._sizes[storage._cdata]
        weakref.finalize(storage, self._drop, storage._cdata)

    def _drop(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)
