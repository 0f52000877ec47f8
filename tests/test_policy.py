"""The policy: its gradient does not depend on how the work is split, and it learns in the direction of the reward."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minizero.config import load_config
from minizero.learn.advantages import estimate
from minizero.learn.batching import share_prompts
from minizero.learn.kl_base import to_measure
from minizero.learn.policy import Policy
from minizero.models.adapter import adapter_layers
from minizero.rollout.make import make_sampler
from minizero.rollout.protocol import drain
from minizero.types import (
    USUAL_TYPES,
    CheckpointError,
    Completion,
    ConfigError,
    Message,
    ModelError,
    Prompt,
    Request,
    Role,
    Rollout,
)
from tests.architectures import write_model


def make_policy(model: Path, *overrides: str) -> Policy:
    base = ("optim.lr=1e-3", "adapter.rank=4", "model.device=cpu", "run.threads=1")
    return Policy(load_config(overrides=[f"model.name={str(model)!r}", *base, *overrides]))


def rollouts(policy: Policy, count: int = 12) -> list[Rollout]:
    """Completions of random tokens, of many lengths, with the policy's own log-probabilities."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for i in range(count):
        prompt, length = 3 + i % 5, 2 + (7 * i) % 11
        ids = torch.randint(0, 250, (prompt + length,), generator=generator).tolist()
        completion = Completion(f"r{i}", 0, tuple(ids[:prompt]), tuple(ids[prompt:]), (0.0,) * length, "", "stop")
        reward = [1.0, -0.5, 0.25, -1.0][i % 4]
        kind = USUAL_TYPES[i % 3]
        made.append(Rollout(list(Role)[i % 2], kind, f"p{i // 6}", completion, reward, {}))
    found = policy.log_probs(made)
    return [
        replace(r, completion=replace(r.completion, log_probs=tuple(values.tolist())))
        for r, values in zip(made, found, strict=True)
    ]


def gradients(policy: Policy, batch: list[Rollout]) -> dict[str, torch.Tensor]:
    """The summed gradients of one update, caught before the optimiser uses them."""
    caught: dict[str, torch.Tensor] = {}
    step = policy.optimiser.step

    def catch(*_: object) -> dict[str, float]:
        caught.update({name: g.clone() for name, g in policy.optimiser._sums.items()})
        return step()

    policy.optimiser.step = catch  # type: ignore[method-assign]
    policy.update(batch)
    return caught


@pytest.mark.parametrize("aggregation", ["group_token_mean", "token_mean", "sequence_mean", "constant"])
def test_the_gradient_is_the_same_for_any_micro_batch_split(random_model: Path, aggregation: str) -> None:
    settings = ("adapter.kind=full", f"loss.aggregation={aggregation}")
    found = []
    for tokens in (16, 40, 10_000):
        policy = make_policy(random_model, *settings, f"optim.micro_batch_tokens={tokens}")
        policy.model.double()  # in float32 the order of sums alone, another on each processor, comes near the bounds
        found.append(gradients(policy, rollouts(policy)))
    for other in found[1:]:
        for name, value in found[0].items():
            assert torch.allclose(value, other[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("alike", [15, 12])
def test_reading_once_what_prompts_share_changes_no_gradient(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, alike: int
) -> None:
    """Prompts of 15 tokens, of which the first `alike` are the same."""
    monkeypatch.setattr("minizero.learn.batching.SHORTEST", 8)
    shared, alone = (make_policy(random_model, "adapter.kind=full") for _ in range(2))
    batch = []
    for i, given in enumerate(rollouts(shared, 16)):
        prompt = (*range(40, 40 + alike), *[70 + i // 2] * (15 - alike))
        completion = given.completion if not i % 3 else replace(given.completion, prompt_ids=prompt)
        batch.append(replace(given, completion=completion))
    rows = share_prompts(batch, range(16), shared.config.optim.micro_batch_tokens)
    assert max(len({batch[i].completion.prompt_ids for i in row}) for row in rows) > (1 if alike < 15 else 0)
    left = gradients(shared, batch)
    together = shared.log_probs(batch)
    monkeypatch.setattr("minizero.learn.policy.share_prompts", lambda rollouts, places, budget: [[i] for i in places])
    right = gradients(alone, batch)
    for name, value in left.items():
        assert torch.allclose(value, right[name], rtol=1e-3, atol=1e-6), name
    fresh = make_policy(random_model, "adapter.kind=full", "optim.freeze=true")
    separate = fresh.log_probs(batch)
    monkeypatch.setattr("minizero.learn.policy.share_prompts", share_prompts)
    for a, b in zip(fresh.log_probs(batch), separate, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert len(together) == 16


def test_the_gradient_is_the_same_for_any_order(random_model: Path) -> None:
    first, second = (make_policy(random_model, "adapter.kind=full") for _ in range(2))
    batch = rollouts(first)
    left, right = gradients(first, batch), gradients(second, batch[::-1])
    for name, value in left.items():
        assert torch.allclose(value, right[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_update_makes_rewarded_completions_likelier(random_model: Path, kind: str) -> None:
    policy = make_policy(random_model, f"adapter.kind={kind}", "advantage=reinforce++")
    batch = rollouts(policy)
    before = [values.mean() for values in policy.log_probs(batch)]
    for _ in range(5):
        policy.update(batch)
    change = [float(values.mean() - old) for values, old in zip(policy.log_probs(batch), before, strict=True)]
    good = [c for c, r in zip(change, batch, strict=True) if r.reward == 1.0]
    bad = [c for c, r in zip(change, batch, strict=True) if r.reward == -1.0]
    assert sum(good) / len(good) > sum(bad) / len(bad) + 0.02


def test_sampler_and_trainer_agree_on_their_own_tokens(random_model: Path) -> None:
    policy = make_policy(random_model)
    told = policy.update(rollouts(policy))
    assert told["policy/sampler_gap_max"] < 1e-4
    assert told["policy/kl_sampler"] < 1e-6
    assert told["policy/effective_sample_frac"] == pytest.approx(1, abs=1e-3)


def test_the_sampler_uses_the_adapter_and_can_leave_it_out(random_model: Path) -> None:
    policy = make_policy(random_model, "optim.lr=1e-2")
    batch = rollouts(policy)
    for _ in range(3):
        policy.update(batch)  # a new adapter has B = 0, so that nothing could be told
    sampler = make_sampler(policy.config, policy)
    prompt = Prompt((Message("user", "ab"),))
    for uses in (True, False):
        sampler.submit(Request(f"adapter {uses}", prompt, n=4, max_tokens=12, seed=1, adapter=uses))
    gaps = {True: 0.0, False: 0.0}
    for done in drain(sampler):
        (found,) = policy.log_probs([replace(batch[0], completion=done)])
        uses = done.request_id == "adapter True"
        gaps[uses] = max(gaps[uses], float((found - torch.tensor(done.log_probs)).abs().max()))
    assert gaps[True] < 1e-4 < 1e-2 < gaps[False], "the trainer's forward is with the adapter"


def test_wrong_sampler_log_probs_show_in_the_health_line(random_model: Path) -> None:
    policy = make_policy(random_model)
    batch = [
        replace(r, completion=replace(r.completion, log_probs=tuple(v - 0.5 for v in r.completion.log_probs)))
        for r in rollouts(policy)
    ]
    assert policy.update(batch)["policy/sampler_gap_mean"] == pytest.approx(0.5, abs=1e-3)


def test_a_frozen_run_moves_nothing(random_model: Path) -> None:
    policy = make_policy(random_model, "optim.freeze=true", "adapter.kind=full")
    batch = rollouts(policy)
    before = policy.log_probs(batch)
    told = policy.update(batch)
    assert told["policy/grad_norm"] > 0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.log_probs(batch), strict=True))


def test_several_updates_per_step_use_the_policy_that_sampled_as_the_old_one(random_model: Path) -> None:
    policy = make_policy(random_model, "optim.updates_per_step=3", "adapter.kind=full", "optim.lr=1e-2")
    told = policy.update(rollouts(policy))
    assert policy.optimiser.updates == 3
    assert told["policy/kl_old"] != 0  # the last share was sampled two updates ago


def test_equal_rewards_teach_nothing(random_model: Path) -> None:
    policy = make_policy(random_model)
    told = policy.update([replace(r, reward=1.0) for r in rollouts(policy)])
    assert told["advantage/zero_frac"] == 1
    assert told["policy/grad_norm"] == 0
    assert told["policy/trained_tokens"] == 0


def test_the_adapter_can_be_switched_off_and_on(random_model: Path) -> None:
    policy = make_policy(random_model, "optim.lr=1e-2")
    batch = rollouts(policy)
    base = policy.log_probs(batch)
    for _ in range(3):
        policy.update(batch)
    trained = policy.log_probs(batch)
    assert not torch.allclose(base[0], trained[0], atol=1e-3)
    with policy.adapter_off():
        assert torch.allclose(base[0], policy.log_probs(batch)[0], atol=1e-5)
    assert torch.equal(trained[0], policy.log_probs(batch)[0])


def test_full_parameters_have_no_adapter_to_switch_off(random_model: Path) -> None:
    with pytest.raises(ModelError, match="no adapter"), make_policy(random_model, "adapter.kind=full").adapter_off():
        pass


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_kl_penalty_pulls_back_to_the_reference(random_model: Path, kind: str) -> None:
    weak, strong = (
        make_policy(random_model, f"adapter.kind={kind}", "optim.lr=3e-3", f"loss.kl_weight={w}", "optim.grad_clip=100")
        for w in (0.001, 10.0)
    )
    batch = rollouts(weak)
    for policy in (weak, strong):
        for _ in range(15):
            told = policy.update(batch)
        if policy is weak:
            far = told["policy/kl_ref"]
    assert told["policy/kl_ref"] < 0.5 * far


def test_the_kl_to_the_base_is_measured_and_changes_nothing_else(random_model: Path) -> None:
    off, on = (make_policy(random_model, "optim.lr=1e-2", f"eval.kl_base_tokens={n}") for n in (0, 10_000))
    batch = rollouts(off)
    first = on.update(batch)
    assert first["policy/kl_base"] == pytest.approx(0.0, abs=1e-9)  # before any update the policy is its base
    assert off.update(batch) == {name: value for name, value in first.items() if name != "policy/kl_base"}
    second = on.update(batch)
    off.update(batch)
    for ours, theirs in zip(off.model.parameters(), on.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    new, again = (make_policy(random_model, "optim.lr=1e-2", "eval.kl_base_tokens=0") for _ in range(2))
    new.update(batch)
    apart = torch.cat(again.log_probs(batch)) - torch.cat(new.log_probs(batch))  # base minus policy, token by token
    assert second["policy/kl_base"] == pytest.approx(float((apart.exp() - 1 - apart).mean()), rel=1e-4)
    assert second["policy/kl_base"] > 1e-4


def test_the_kl_of_all_parameters_needs_the_weights_they_began_with(random_model: Path) -> None:
    batch = rollouts(make_policy(random_model))
    with_base = make_policy(random_model, "adapter.kind=full", "loss.kl_weight=0.1", "optim.lr=1e-2")
    with_base.update(batch)
    assert with_base.update(batch)["policy/kl_base"] > 1e-4
    assert "policy/kl_base" not in make_policy(random_model, "adapter.kind=full").update(batch)
    with pytest.raises(ConfigError, match=r"eval\.kl_base_tokens = 512 with adapter\.kind = full"):
        make_policy(random_model, "adapter.kind=full", "eval.kl_base_tokens=512")


def test_what_is_measured_stays_within_the_tokens_given(random_model: Path) -> None:
    batch = rollouts(make_policy(random_model))  # 3 to 7 tokens of prompt and 2 to 12 of completion: 136 in all
    lengths = [len(r.completion.prompt_ids) + len(r.completion.ids) for r in batch]
    assert sum(lengths) == 136
    assert to_measure(batch, 0) == []
    assert sorted(to_measure(batch, 136)) == list(range(12))
    assert sum(lengths[place] for place in to_measure(batch, 50)) <= 50
    assert len(to_measure(batch, 1)) == 1  # one is always taken
    assert len(to_measure(batch, "auto")) == 1  # a twentieth is 6 tokens
    assert to_measure(batch, 50) == to_measure(batch, 50)


def test_proposals_weigh_what_they_are_told_to(random_model: Path) -> None:
    def found(weight: float) -> dict[str, torch.Tensor]:
        policy = make_policy(random_model, "adapter.kind=full", f"loss.propose_weight={weight}")
        return gradients(policy, rollouts(policy))

    whole, none, quarter = found(1), found(0), found(0.25)
    assert any(not torch.allclose(whole[name], none[name], atol=1e-6) for name in whole)
    for name, gradient in quarter.items():
        expected = none[name] + 0.25 * (whole[name] - none[name])
        assert torch.allclose(gradient, expected, atol=1e-6), name


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_entropy_bonus_reaches_the_weights(random_model: Path, kind: str) -> None:
    """A frozen head takes another path without one (learn/log_probs.py)."""
    found = []
    for weight in (0.0, 0.1):
        policy = make_policy(random_model, f"adapter.kind={kind}", f"loss.entropy_weight={weight}")
        found.append(gradients(policy, rollouts(policy)))
    plain, bonus = found
    assert any(float((plain[name] - bonus[name]).abs().max()) > 1e-5 for name in plain)


def cut(batch: list[Rollout], places: set[int]) -> list[Rollout]:
    """The same, with the completions at these places cut by the token limit."""
    return [
        replace(r, completion=replace(r.completion, finish="length")) if i in places else r for i, r in enumerate(batch)
    ]


CUT = {0, 3, 4, 7, 9}


@pytest.mark.parametrize("aggregation", ["group_token_mean", "token_mean", "sequence_mean", "constant"])
@pytest.mark.parametrize("more", ["loss.entropy_weight=0", "loss.entropy_weight=0.1"])
def test_masked_completions_are_as_if_only_the_others_were_learned_from(
    random_model: Path, aggregation: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("adapter.kind=full", f"loss.aggregation={aggregation}", more)
    masking, plain = (make_policy(random_model, *settings, f"loss.mask_cut={v}") for v in ("true", "false"))
    batch = cut(rollouts(masking), CUT)
    estimated = estimate(batch, masking.config.advantage)  # rewards of what is masked count in the baselines
    masked = gradients(masking, batch)
    kept = [i for i in range(len(batch)) if i not in CUT]
    monkeypatch.setattr("minizero.learn.policy.estimate", lambda *_: estimated[kept])
    others = gradients(plain, [batch[i] for i in kept])
    assert any(bool(g.abs().max() > 0) for g in masked.values())
    for name, gradient in masked.items():
        assert torch.allclose(gradient, others[name], rtol=1e-4, atol=1e-7), name


def test_without_the_mask_cut_completions_are_learned_from_like_any_other(random_model: Path) -> None:
    one, two = (make_policy(random_model, "adapter.kind=full") for _ in range(2))
    batch = rollouts(one)
    plain, with_cut = gradients(one, batch), gradients(two, cut(batch, CUT))
    assert all(torch.equal(plain[name], with_cut[name]) for name in plain)
    assert "policy/masked_frac" not in one.update(batch)


def test_a_step_in_which_everything_is_masked_moves_nothing(random_model: Path) -> None:
    policy = make_policy(random_model, "loss.mask_cut=true", "loss.kl_weight=0.1")
    batch = cut(rollouts(policy), set(range(12)))
    before = policy.log_probs(batch)
    told = policy.update(batch)
    assert (told["policy/masked_frac"], told["policy/trained_tokens"], told["policy/grad_norm"]) == (1, 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.log_probs(batch), strict=True))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_saved_state_continues_exactly(random_model: Path, tmp_path: Path, kind: str) -> None:
    one, two = (make_policy(random_model, f"adapter.kind={kind}") for _ in range(2))
    batch = rollouts(one)
    one.update(batch)
    one.save_state(tmp_path)
    two.load_state(tmp_path)
    one.update(batch)
    two.update(batch)
    assert all(torch.equal(a, b) for a, b in zip(one.log_probs(batch), two.log_probs(batch), strict=True))


def test_a_running_baseline_is_kept_from_update_to_update(random_model: Path) -> None:
    policy = make_policy(
        random_model, "advantage.preset=running", "advantage.propose.decay=0", "advantage.solve.decay=0"
    )
    batch = rollouts(policy)
    policy.update([replace(r, reward=2.0) for r in batch])
    assert set(policy.running[""].values()) == {2.0}
    policy.update(batch)
    assert policy.running[""]["solve/deduction"] != 2.0


def test_a_state_of_another_adapter_is_refused(random_model: Path, tmp_path: Path) -> None:
    make_policy(random_model, "adapter.kind=full").save_state(tmp_path)
    with pytest.raises(CheckpointError, match="another model or adapter"):
        make_policy(random_model).load_state(tmp_path)


@pytest.mark.parametrize("rslora", ["false", "true"])
def test_the_adapter_is_plain_peft(random_model: Path, tmp_path: Path, rslora: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    policy = make_policy(random_model, "optim.lr=1e-2", f"adapter.rslora={rslora}")
    batch = rollouts(policy)
    policy.update(batch)
    policy.save_adapter(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path / "adapter")
    completion = batch[0].completion
    ids = torch.tensor([completion.prompt_ids + completion.ids])
    values = torch.log_softmax(loaded(input_ids=ids).logits[0].float(), -1)
    start = len(completion.prompt_ids)
    expected = torch.stack([values[start + i - 1, token] for i, token in enumerate(completion.ids)])
    assert torch.allclose(policy.log_probs(batch)[0], expected, atol=1e-4)


def test_rslora_divides_by_the_root_of_the_rank(random_model: Path) -> None:
    by_rank, by_root = (
        make_policy(random_model, "adapter.alpha=8", f"adapter.rslora={value}") for value in ("false", "true")
    )
    assert {layer.scaling for layer in adapter_layers(by_rank.model).values()} == {2.0}  # rank 4
    assert {layer.scaling for layer in adapter_layers(by_root.model).values()} == {4.0}


def test_an_adapter_that_was_scaled_otherwise_is_no_start(random_model: Path, tmp_path: Path) -> None:
    """The same tensors with another scale are another policy, and nobody would see it."""
    make_policy(random_model, "adapter.rslora=true", "adapter.alpha=8").save_adapter(tmp_path)
    start = f"model.checkpoint={str(tmp_path)!r}"
    make_policy(random_model, start, "adapter.rslora=true", "adapter.alpha=8")
    with pytest.raises(CheckpointError, match=r"--set adapter\.alpha=8 --set adapter\.rslora=true"):
        make_policy(random_model, start, "adapter.alpha=8")
    with pytest.raises(CheckpointError, match=r"trained with adapter\.alpha = 8 and adapter\.rslora = true"):
        make_policy(random_model, start, "adapter.rslora=true", "adapter.alpha=16")


def test_bfloat16_weights_still_learn_from_small_updates(random_model: Path) -> None:
    policy = make_policy(random_model, "model.dtype=bfloat16", "adapter.kind=full", "optim.lr=1e-6")
    batch = rollouts(policy)
    name, parameter = next(iter(policy.optimiser.parameters.items()))
    before = policy.optimiser.masters[name].clone()
    policy.update(batch)
    assert parameter.dtype == torch.bfloat16
    assert not torch.equal(before, policy.optimiser.masters[name])


def test_gradient_checkpointing_changes_nothing_but_memory(random_model: Path) -> None:
    plain, careful = (make_policy(random_model, f"optim.gradient_checkpointing={v}") for v in ("false", "true"))
    batch = rollouts(plain)
    left, right = gradients(plain, batch), gradients(careful, batch)
    assert left.keys() == right.keys()
    assert all(torch.allclose(left[name], right[name], rtol=1e-4, atol=1e-7) for name in left)


@pytest.mark.filterwarnings("ignore")
def test_layers_that_drop_at_random_in_training_drop_nothing_when_they_are_recomputed(tmp_path: Path) -> None:
    write_model("opt", tmp_path, {"dropout": 0.5, "attention_dropout": 0.5, "layerdrop": 0.5})
    settings = ("prompt.style=r1", "adapter.kind=full")
    plain, careful = (make_policy(tmp_path, *settings, f"optim.gradient_checkpointing={v}") for v in ("false", "true"))
    batch = rollouts(plain)
    left, right = gradients(plain, batch), gradients(careful, batch)
    assert any(bool(g.abs().max() > 0) for g in left.values())
    assert all(torch.allclose(left[name], right[name], rtol=1e-4, atol=1e-6) for name in left)


def test_recomputed_layers_keep_next_to_nothing_and_sampling_keeps_its_cache(random_model: Path) -> None:
    def kept(policy: Policy) -> int:
        found: dict[int, torch.Tensor] = {}
        (batch,) = policy.micro_batches(rollouts(policy, 4))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: found.setdefault(t.data_ptr(), t), lambda t: t):
            policy._forward(batch)
        own = {p.data_ptr() for p in policy.model.parameters()}
        return sum(t.nbytes for place, t in found.items() if place not in own)

    plain, careful = (make_policy(random_model, f"optim.gradient_checkpointing={v}") for v in ("false", "true"))
    assert kept(careful) < 0.3 * kept(plain)
    layers = [module for module in careful.model.modules() if getattr(module, "gradient_checkpointing", False)]
    assert layers
    assert not any(layer.training for layer in layers)  # in training mode sampling would lose its cache
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        cached = [policy.model(input_ids=ids, use_cache=True).past_key_values for policy in (plain, careful)]
    assert cached[1].get_seq_length() == cached[0].get_seq_length() == 20


def test_unknown_adapter_targets_name_the_layers_there_are(random_model: Path) -> None:
    with pytest.raises(ConfigError, match="q_proj"):
        make_policy(random_model, 'adapter.targets=["nothing"]')
