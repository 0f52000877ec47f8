"""The pure-PyTorch sampler: continuous batching over a transformers model, on the policy's own weights.

Reading order: TransformersSampler.submit, poll (admit waiting prompts, one token for every row, drop ended rows), then
_prefill and choose_tokens. How rows are decoded is in decode.py. Rows that have ended leave the batch, and waiting
prompts enter it, when a quarter of the rows has ended: both copy the whole cache. A model whose own cache must be used
decodes prompts of one length at a time. The n completions of a prompt share its prefill, and prompts that begin alike
share their beginning's (beginnings.py). What is sampled depends only on the requests and their order: every completion
draws from its own counter-based stream (its seed, its index, the position), never from a global generator.
"""
# B rows · T prompt tokens · V vocabulary · H hidden width

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minizero.learn.batching import plan_micro_batches
from minizero.models.architecture import describe, text_sizes
from minizero.models.names import positions_change_after
from minizero.models.tokenizer import Tokenizer
from minizero.rollout.beginnings import Beginnings, Group
from minizero.rollout.decode import Decoder, choose_decoder
from minizero.rollout.protocol import stream_seed
from minizero.types import MASK_BIAS, Completion, ModelError, Prompt, Request

POLL_S = 0.3  # seconds of decoding in one poll, so that the caller stays responsive; has no effect on what is sampled
PREFILL_TOKENS = 2048  # positions of one prefill pass: prompts of about one length, so that little is padding
ENDED_SHARE = 4  # one row in so many has ended: the rest is worth a copy of the cache


@dataclass(slots=True)
class _Row:
    """A completion being written."""

    request: Request
    index: int
    prompt_ids: tuple[int, ...]
    stream: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    finish: str = ""


class TransformersSampler:
    """Samples from `model` (a transformers causal language model, possibly with PEFT layers), in place.

    `adapter_off()` returns a context manager that switches the adapter off; None when there is no adapter. `use(name)`
    puts the adapter of that name on; None where there is only one. Rows that are decoded side by side are of one
    adapter; the requests for another wait until they have ended.
    """

    is_reproducible = True

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        max_rows: int = 256,
        max_cache_tokens: int = 0,
        adapter_off: Any = None,
        use: Callable[[str], None] | None = None,
    ) -> None:
        self.model, self.tokenizer, self._max_rows, self._max_cache = model, tokenizer, max_rows, max_cache_tokens
        self._adapter_off, self._use = adapter_off, use
        self._device = next(model.parameters()).device
        self._side: str | None = ""  # what the rows are written by: the member's name, None for no adapter
        self._queues: dict[str | None, deque[tuple[Request, list[int]]]] = {}  # by side, with the prompt's ids
        self._rows: list[_Row] = []  # those that have ended stay, unread, until _drop_ended
        self._may_enter = False  # there are new prompts or there is new room since the last admission
        self._architecture = describe(model)
        self._longest, self._why = longest_text(text_sizes(model))
        self._decoder_type = choose_decoder(self._architecture)
        self._decoder: Decoder = self._decoder_type(self._architecture)
        self._eos = torch.tensor(tokenizer.eos_ids, device=self._device)
        self._beginnings = Beginnings(self._architecture)
        self._usage: dict[str, float] = {}
        self.take_usage()

    @property
    def mixes_lengths(self) -> bool:
        """Whether prompts of different lengths are decoded side by side."""
        return self._decoder_type.mixes_lengths

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.tokenizer.encode(prompt)

    def submit(self, request: Request) -> None:
        if not request.adapter and self._adapter_off is None:
            raise ModelError("sampling with the adapter off needs an adapter; this policy trains all its parameters.")
        ids = self.tokenizer.encode(request.prompt)
        if self._longest and len(ids) + request.max_tokens > self._longest:
            raise ModelError(
                f"{request.id}: {len(ids)} prompt tokens and {request.max_tokens} new ones, but in texts of more than "
                f"{self._longest} tokens this model {self._why}, so its cache would be wrong. Ask for fewer tokens "
                "(selfplay.max_prompt_tokens, selfplay.*_max_tokens), or take another model."
            )
        self._queues.setdefault(request.side, deque()).append((request, ids))
        self._may_enter = True

    @property
    def pending(self) -> int:
        writing = sum(not row.finish for row in self._rows)
        return writing + sum(request.n for queue in self._queues.values() for request, _ in queue)

    @property
    def _waiting(self) -> deque[tuple[Request, list[int]]]:
        """What may enter beside the rows that are decoded now."""
        return self._queues.setdefault(self._side, deque())

    def load(self, adapter: Any) -> None:
        """Nothing to copy: the policy's own weights are sampled from."""
        self._beginnings.forget()

    def release(self) -> None:
        """Only the beginnings of prompts are held between requests."""
        self._beginnings.forget()

    def resume(self) -> None:
        """Nothing was given back."""

    @property
    def generated(self) -> int:
        return int(self._usage["completion_tokens"])

    def take_usage(self) -> dict[str, float]:
        usage = self._usage
        self._usage = {"prompt_tokens": 0.0, "completion_tokens": 0.0, "prefill_s": 0.0, "decode_s": 0.0}
        return usage

    def close(self) -> None:
        self._queues.clear()
        self._rows, self._decoder = [], self._decoder_type(self._architecture)

    @torch.inference_mode()
    def poll(self) -> list[Completion]:
        if not self._rows and not self._waiting:
            self._side = next((side for side, queue in self._queues.items() if queue), self._side)
        if self._side is None:
            with self._adapter_off():
                return self._poll()
        if self._use and (self._rows or self._waiting):
            self._use(self._side)
        return self._poll()

    def _poll(self) -> list[Completion]:
        done, until = self._admit(), time.perf_counter() + POLL_S
        while self._rows:
            done += self._decode()
            if time.perf_counter() > until:
                break
            done += self._admit()
        return done

    # -- entering ---------------------------------------------------------------------------------------------------

    def _admit(self) -> list[Completion]:
        """Prefill waiting prompts for which there is room; they may finish with their very first token."""
        done: list[Completion] = []
        if self._rows and not self._may_enter:
            return done
        self._drop_ended()
        while group := self._next_group():
            done += self._enter(group)
        self._may_enter = False
        return done

    def _next_group(self) -> list[tuple[Request, list[int]]]:
        if not self._decoder_type.mixes_lengths:
            return self._next_equal_group()
        group: list[tuple[Request, list[int]]] = []
        rows, longest = len(self._rows), self._decoder.length if self._rows else 0
        while self._waiting:
            request, ids = self._waiting[0]
            width = max(longest, len(ids) + request.max_tokens)
            full = rows + request.n > self._max_rows or (
                self._max_cache and (rows + request.n) * width > self._max_cache
            )
            if full and rows:
                break
            self._waiting.popleft()
            group.append((request, ids))
            rows, longest = rows + request.n, width
        return group

    def _next_equal_group(self) -> list[tuple[Request, list[int]]]:
        """Waiting requests with prompts as long as the first one's, when no row is decoded."""
        if self._rows or not self._waiting:
            return []
        length, rows = len(self._waiting[0][1]), 0
        group: list[tuple[Request, list[int]]] = []
        others: deque[tuple[Request, list[int]]] = deque()
        for request, ids in self._waiting:
            fits = not group or (rows + request.n <= self._max_rows and (len(group) + 1) * length <= PREFILL_TOKENS)
            if len(ids) == length and fits:
                group.append((request, ids))
                rows += request.n
            else:
                others.append((request, ids))
        self._queues[self._side] = others
        return group

    def _enter(self, group: list[tuple[Request, list[int]]]) -> list[Completion]:
        started = time.perf_counter()
        prompts = [ids for _, ids in group]
        entering = [
            self._prefill([group[same.places[k]] for k in part], same)
            for same in self._begin_alike(prompts)
            for part in plan_micro_batches([len(prompts[i]) - same.read for i in same.places], PREFILL_TOKENS)
        ]
        self._decoder.join([decoder for _, decoder in entering])
        rows = [row for rows, _ in entering for row in rows]
        self._rows += [row for row in rows if not row.finish]
        self._usage["prompt_tokens"] += sum(len(ids) for _, ids in group)
        self._usage["prefill_s"] += time.perf_counter() - started
        return [self._completion(row) for row in rows if row.finish]

    def _begin_alike(self, prompts: list[list[int]]) -> list[Group]:
        if self.mixes_lengths and self._architecture.is_plain:
            return self._beginnings.of(prompts, self._side)
        return [Group(list(range(len(prompts))), 0, None)]

    def _prefill(self, group: list[tuple[Request, list[int]]], same: Group) -> tuple[list[_Row], Decoder]:
        """The rows of these requests with their first token, and the decoder of those that have not ended with it."""
        decoder: Decoder
        decoder = same.after.beginning(same.read) if same.after else self._decoder_type(self._architecture)
        last = decoder.prefill([ids[same.read :] for _, ids in group], self.tokenizer.pad_id)  # [B, H]
        counts = torch.tensor([request.n for request, _ in group], device=self._device)
        owner = torch.arange(len(group), device=self._device).repeat_interleave(counts)
        logits = self._architecture.logits(last)[owner]
        rows = [
            _Row(request, index, tuple(ids), _signed(stream_seed(request.seed, index)))
            for request, ids in group
            for index in range(request.n)
        ]
        self._extend(rows, logits)
        decoder.select(owner[_writing(rows, self._device)])
        return rows, decoder

    # -- decoding ---------------------------------------------------------------------------------------------------

    def _decode(self) -> list[Completion]:
        started = time.perf_counter()
        tokens = torch.tensor([row.ids[-1] for row in self._rows], device=self._device)
        positions = torch.tensor([len(row.prompt_ids) + len(row.ids) - 1 for row in self._rows], device=self._device)
        hidden = self._decoder.step(tokens, positions)
        writing = [row for row in self._rows if not row.finish]
        self._extend(self._rows, self._architecture.logits(hidden))
        ended = [row for row in writing if row.finish]
        if (len(self._rows) - len(writing) + len(ended)) * ENDED_SHARE >= len(self._rows):
            self._drop_ended()
        self._usage["decode_s"] += time.perf_counter() - started
        return [self._completion(row) for row in ended]

    def _drop_ended(self) -> None:
        """Take the rows that have ended out of the batch."""
        kept = [row for row in self._rows if not row.finish]
        if len(kept) == len(self._rows):
            return
        if kept:
            self._decoder.select(_writing(self._rows, self._device))
        else:
            self._decoder = self._decoder_type(self._architecture)
        self._rows, self._may_enter = kept, True

    def _extend(self, rows: list[_Row], logits: Tensor) -> None:
        """Sample one token for every row that has not ended, and note whether it ends there."""
        streams = torch.tensor([row.stream for row in rows], device=self._device)
        positions = torch.tensor([len(row.ids) for row in rows], device=self._device)
        temperatures = torch.tensor([row.request.temperature for row in rows], device=self._device)
        top_ps = torch.tensor([row.request.top_p for row in rows], device=self._device)
        ids, log_probs = choose_tokens(_masked(rows, logits), temperatures, top_ps, uniform(streams, positions))
        is_eos = torch.isin(ids, self._eos)
        for row, token, log_prob, ended in zip(rows, ids.tolist(), log_probs.tolist(), is_eos.tolist(), strict=True):
            if row.finish:
                continue
            self._usage["completion_tokens"] += 1
            row.ids.append(token)
            row.log_probs.append(log_prob)
            if ended or (row.request.prompt.stop and self._hit_stop(row)):
                row.finish = "stop"
            elif len(row.ids) >= row.request.max_tokens:
                row.finish = "length"

    def _hit_stop(self, row: _Row) -> bool:
        longest = max(map(len, row.request.prompt.stop))
        tail = self.tokenizer.decode(row.ids[-longest - 4 :])
        return any(stop in tail for stop in row.request.prompt.stop)

    def _completion(self, row: _Row) -> Completion:
        return Completion(
            row.request.id,
            row.index,
            row.prompt_ids,
            tuple(row.ids),
            tuple(row.log_probs),
            self.tokenizer.decode(row.ids),
            row.finish,
            masked=row.request.masked,
            member=row.request.member,
        )


def longest_text(sizes: Any) -> tuple[int, str]:
    """The longest text that can be decoded token by token, and what the model does in a longer one; (0, ""): any."""
    limits = [
        (positions_change_after(sizes) or 0, "computes other positions (longrope)"),
        # transformers' caches do not keep what the index of DeepSeek V3.2 and its like chooses by.
        (getattr(sizes, "index_topk", None) or 0, "chooses the tokens that it sees by an index (index_topk)"),
    ]
    return min(((limit, why) for limit, why in limits if limit), default=(0, ""))


def _writing(rows: list[_Row], device: Any) -> Tensor:
    """Places of the rows that have not ended."""
    return torch.tensor([i for i, row in enumerate(rows) if not row.finish], dtype=torch.long, device=device)


def _masked(rows: list[_Row], logits: Tensor) -> Tensor:
    """logits[B, V] with those of each row's masked tokens lowered, in place."""
    by_mask: dict[int, list[int]] = {}  # one mask is one object, shared by the requests of a step
    for place, row in enumerate(rows):
        if row.request.masked:
            by_mask.setdefault(id(row.request.masked), []).append(place)
    for places in by_mask.values():
        tokens = torch.tensor(rows[places[0]].request.masked, device=logits.device)
        logits[torch.tensor(places, device=logits.device)[:, None], tokens] -= MASK_BIAS
    return logits


def choose_tokens(logits: Tensor, temperature: Tensor, top_p: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row by inverse transform sampling, and its log-probability in nats.

    logits [B, V] float, temperature [B] (0: greedy), top_p [B], u [B] uniform in [0, 1). The log-probability is that
    of the distribution at this temperature before top_p, and at temperature 1 for greedy rows.
    """
    greedy = temperature == 0
    log_probs = torch.log_softmax(logits / torch.where(greedy, 1.0, temperature)[:, None], dim=-1)
    mass = log_probs.exp()
    if bool((top_p < 1).any()):
        ordered, order = mass.sort(dim=-1, descending=True)
        beyond = (ordered.cumsum(-1) - ordered) >= top_p[:, None]
        mass = torch.zeros_like(mass).scatter_(1, order, ordered.masked_fill(beyond, 0.0))
    total = mass.cumsum(-1, dtype=torch.float64)  # float32 sums over a large vocabulary lose the tail
    drawn = torch.searchsorted(total, (u * total[:, -1])[:, None], right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    ids = torch.where(greedy, logits.argmax(-1), drawn)
    return ids, log_probs.gather(1, ids[:, None])[:, 0]


def uniform(stream: Tensor, position: Tensor) -> Tensor:
    """Uniform float64 in [0, 1) for (stream, position), both int64 [B]: splitmix64 of stream + position * golden
    ratio."""
    z = stream + (position + 1) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _shift(z, 31)
    return _shift(z, 11).double() / float(1 << 53)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64, which torch only offers as an arithmetic one."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
