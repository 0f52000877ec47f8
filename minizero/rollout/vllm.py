"""The vLLM sampler: an engine in this process, and adapters that are overwritten in place after every step.

Reading order: VLLMSampler.submit and poll (requests stream), load (push: copy the adapter, forget cached prompts),
release and resume (the cache's memory while the policy learns), then Push and its two ways (vLLM's buffers, or a saved
adapter). Beside it: vllm_settings.py (how the engine is started), shared_weights.py (weights that exist once),
agreement.py (the proof that the engine samples from the trainer's policy). The adapter is never merged into the base:
what is sampled from is what is trained, to the last digit that two engines share.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from minizero.models.adapter import adapter_layers
from minizero.models.architecture import text_sizes
from minizero.planner import resolve_for_machine, shares_weights
from minizero.rollout.protocol import stream_seed
from minizero.rollout.pushed import PushedSampler
from minizero.rollout.shared_weights import Shared, park, share
from minizero.rollout.vllm_internals import (
    InternalsMoved,
    StackedAdapter,
    base_weights,
    open_tokens,
    release_cache,
    reset_prefix_cache,
    settle,
    start_engine,
    stop_engine,
    take_cache_back,
)
from minizero.rollout.vllm_settings import engine_settings, max_model_len
from minizero.types import MASK_BIAS, Completion, Request, SamplerError

if TYPE_CHECKING:
    from minizero.config.schema import Config
    from minizero.learn.policy import Policy

log = logging.getLogger(__name__)
ADAPTER_ID = 1  # of the first member; the others follow
POLL_S = 0.25  # seconds of decoding in one poll, so that the caller stays responsive


class VLLMSampler(PushedSampler):
    """vLLM in this process."""

    def __init__(self, policy: Policy, config: Config) -> None:
        super().__init__(policy, config)
        self._config = config = resolve_for_machine(config, text_sizes(policy.model).to_dict())
        self.shared: Shared | None = None  # the weights that exist once for trainer and engine
        shares = shares_weights(config, policy.device)
        if shares:
            park(policy.model)
        settings = engine_settings(config, policy)
        self._cache_bytes, self.released, self._peak = int(settings["kv_cache_memory_bytes"]), 0, 0
        self._llm = start_engine(device=policy.device, keep_weights=shares, **settings)
        self._engine = self._llm.llm_engine
        self._running: dict[str, tuple[Request, int, tuple[int, ...]]] = {}
        # vLLM's CPU build applies an adapter to every row of a batch that has it on one: there, the sides take turns.
        self._takes_turns = policy.device == "cpu"
        self._held: deque[tuple[Request, tuple[int, ...]]] = deque()  # with the prompt's ids
        self._side: str | None = ""  # what the rows are written by there: the member's name, None for no adapter
        self._count = 0
        self._limit = max_model_len(config)
        try:
            if shares:
                self._share()
            self._push = Push(self._llm, policy)
            self.release()
            self.resume()  # tried once before anything depends on it
            self.self_test()
        except RuntimeError as error:
            self.close()
            raise SamplerError(
                f"vLLM started but cannot run this model here: {error}. Try --set sampler.backend=transformers"
            ) from error
        except BaseException:
            self.close()
            raise

    # -- the protocol -------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Queue n completions, each a request of its own, so that the first to finish need not wait for the last; the
        prefix cache computes their prompt once."""
        self.check_member(request)
        prompt = tuple(self.prompt_ids(request.prompt))
        if len(prompt) + request.max_tokens > self._limit:
            raise SamplerError(
                f"{request.id}: {len(prompt)} prompt tokens and {request.max_tokens} new ones, but the engine was "
                f"started for {self._limit}. Raise selfplay.max_prompt_tokens or the selfplay.*_max_tokens."
            )
        self._held.append((request, prompt))
        self._enter()

    def _enter(self) -> None:
        """Hand what is held to the engine, as far as it may run beside what runs already."""
        if self._held and not self._running:
            self._side = self._held[0][0].side
        held, self._held = self._held, deque()
        for request, prompt in held:
            if self._takes_turns and request.side != self._side:
                self._held.append((request, prompt))
            else:
                self._add(request, prompt)

    def _add(self, request: Request, prompt: tuple[int, ...]) -> None:
        adapter = self._push.requests[request.member] if request.adapter else None
        for index in range(request.n):
            self._count += 1
            name = f"{self._count}"
            self._running[name] = (request, index, prompt)
            self._engine.add_request(
                name, {"prompt_token_ids": list(prompt)}, self._parameters(request, index), lora_request=adapter
            )

    def poll(self) -> list[Completion]:
        started, done = time.perf_counter(), []
        self._enter()
        while self._running and time.perf_counter() - started < POLL_S:
            for output in self._engine.step():
                if output.finished:
                    done.append(self._completion(output))
            if done:
                break
        self._usage["decode_s"] += time.perf_counter() - started
        return done

    @property
    def pending(self) -> int:
        return len(self._running) + sum(request.n for request, _ in self._held)

    def release(self) -> None:
        """Before the policy learns: the cache's memory is its own, where the plan says so."""
        if self._gives_back:
            self._note_peak()
            release_cache(self._llm)
            self.released = self._cache_bytes

    def resume(self) -> None:
        """After it has learned."""
        if self._gives_back:
            self._note_peak()
            take_cache_back(self._llm)
            self.released = 0

    def _note_peak(self) -> None:
        self._peak = self.peak_bytes
        torch.cuda.reset_peak_memory_stats()

    @property
    def peak_bytes(self) -> int:
        """The most that was in use on the card at once. torch goes on counting a cache that is given back."""
        if self._policy.device != "cuda":
            return 0
        return max(self._peak, torch.cuda.max_memory_allocated() - self.released)

    @property
    def _gives_back(self) -> bool:
        return self._config.sampler.release_kv is True and self._policy.device == "cuda"

    @property
    def generated(self) -> int:
        try:
            still_open = open_tokens(self._llm) if self._running else 0
        except InternalsMoved:
            still_open = 0  # then a completion counts when it has ended
        return int(self._usage["completion_tokens"]) + still_open

    def close(self) -> None:
        self._running.clear()
        self._held.clear()
        push = getattr(self, "_push", None)
        if push is not None:
            push.close()
        stop_engine(self._llm)
        self._llm = self._engine = None

    def _share(self) -> None:
        """Trainer's base = engine's. Where vLLM has moved its weights, the trainer keeps its own."""
        policy = self._policy
        named: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        try:
            named = base_weights(self._llm)
        except InternalsMoved as moved:
            log.warning("vLLM's weights are not where they were (%s): they exist twice", moved)
        self.shared = share(policy.model, *named, policy.device)
        if self.shared.apart:
            log.warning("%d tensors of the base exist twice, such as %s", len(self.shared.apart), self.shared.apart[0])

    # -- the adapter --------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """The policy's adapters as they are now, into the engine."""
        started = time.perf_counter()
        settle(self._llm)  # nothing is computed while the adapter changes
        self._push()
        reset_prefix_cache(self._llm)
        self._usage["push_s"] += time.perf_counter() - started

    # -- requests -----------------------------------------------------------------------------------------------------

    def _parameters(self, request: Request, index: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        stop = list(request.prompt.stop)
        return SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=0,
            min_p=0.0,
            seed=stream_seed(request.seed, index) if self.seeded and self._policy.device != "cpu" else None,
            stop=stop,
            include_stop_str_in_output=True,
            stop_token_ids=list(self.tokenizer.eos_ids),
            detokenize=bool(stop),  # vLLM reads text only to find a stop string; ours is decoded once, at the end
            logprobs=0,  # of the sampled token alone
            flat_logprobs=True,
            logit_bias=dict.fromkeys(request.masked, -MASK_BIAS) or None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, output: Any) -> Completion:
        request, index, prompt = self._running.pop(output.request_id)
        (written,) = output.outputs
        ids, log_probs = tuple(written.token_ids), tuple(written.logprobs.logprobs)
        if len(ids) != len(log_probs):
            raise SamplerError(
                f"vLLM returned {len(ids)} tokens with {len(log_probs)} log-probabilities. This version of vLLM is "
                "not one that minizero knows; install vllm==0.32.0."
            )
        finish = "length" if written.finish_reason == "length" else "stop"
        if written.finish_reason not in ("stop", "length"):
            raise SamplerError(f"{request.id}: vLLM ended a completion with {written.finish_reason!r}.")
        self._usage["prompt_tokens"] += len(prompt)
        self._usage["cached_tokens"] += float(output.num_cached_tokens or 0)
        self._usage["completion_tokens"] += len(ids)
        text = self.tokenizer.decode(ids)
        return Completion(
            request.id, index, prompt, ids, log_probs, text, finish, masked=request.masked, member=request.member
        )


class Push:
    """Calling it writes the policy's adapters into the engine; `requests` has what a completion of each carries.

    The engine registers each adapter once, and keeps its slot. `requests` never say load_inplace: in a request that
    would read the files again at every decoded token.
    """

    def __init__(self, llm: Any, policy: Policy, *, in_place: bool = True) -> None:
        from vllm.lora.request import LoRARequest

        self._llm, self._policy = llm, policy
        shared = Path("/dev/shm")
        self._directory = Path(tempfile.mkdtemp(prefix="minizero-", dir=shared if shared.is_dir() else None))
        members = policy.members.names
        self._ids = {member: ADAPTER_ID + place for place, member in enumerate(members)}
        self._places = {member: self._directory / (member or "adapter") for member in members}
        self._save()
        self.requests = {
            member: LoRARequest(member or "policy", self._ids[member], str(self._places[member])) for member in members
        }
        self._reloads = [
            LoRARequest(member or "policy", self._ids[member], str(self._places[member]), load_inplace=True)
            for member in members
        ]
        engine = llm.llm_engine
        for request in self.requests.values():
            if not engine.add_lora(request):
                raise SamplerError("vLLM did not take the adapter. Try --set sampler.backend=transformers")
            engine.pin_lora(request.lora_int_id)
        self._layers = {member: adapter_layers(policy.model, member) for member in members}
        self._stacked: dict[str, StackedAdapter] = {}
        if in_place:
            try:
                self._stacked = {member: StackedAdapter(llm, number) for member, number in self._ids.items()}
                self._write()
            except InternalsMoved as moved:
                self._fall_back(moved)

    def _save(self) -> None:
        for member, place in self._places.items():
            self._policy.members.save_one(member, place)

    def _write(self) -> None:
        for member, stacked in self._stacked.items():
            stacked.write(self._layers[member])

    @property
    def in_place(self) -> bool:
        """Whether adapters are copied into vLLM's buffers; otherwise they go through saved files."""
        return bool(self._stacked)

    def __call__(self) -> None:
        if self._stacked:
            try:
                self._write()
                return
            except InternalsMoved as moved:
                self._fall_back(moved)
        self._save()
        for request in self._reloads:
            if not self._llm.llm_engine.add_lora(request):
                raise SamplerError("vLLM did not load the saved adapter. Try --set sampler.backend=transformers")

    def _fall_back(self, why: InternalsMoved) -> None:
        log.warning("vLLM's adapter buffers are not where they were (%s): pushing saved adapters instead", why)
        self._stacked = {}

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
