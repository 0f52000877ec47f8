"""Sampler, trainer and model are compared before a run: what differs ends it, with the numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from minizero.config import load_config
from minizero.learn import policy as policies
from minizero.learn.policy import Policy
from minizero.rollout import agreement
from minizero.rollout.agreement import Agreement, Disagreement, check_agreement, evidence
from minizero.rollout.make import make_sampler
from minizero.rollout.transformers import TransformersSampler
from minizero.types import Completion, ConfigError, SamplerError
from tests.architectures import write_model


def make(model: Path, *settings: str) -> tuple[Policy, Any]:
    base = (f"model.name={str(model)!r}", "adapter.rank=4", "model.device=cpu", "run.threads=1", "prompt.style=r1")
    config = load_config(overrides=[*base, *settings])
    policy = Policy(config)
    return policy, make_sampler(config, policy)


@pytest.mark.parametrize("rslora", ["false", "true"])
def test_an_adapter_is_compared_in_three_states_and_all_is_left_as_it_was(random_model: Path, rslora: str) -> None:
    policy, sampler = make(random_model, f"adapter.rslora={rslora}")
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    state = torch.random.get_rng_state()
    found = check_agreement(policy, sampler)
    assert set(found.gaps) == {
        f"{who}, {state}" for who in ("sampler", "trainer", "alone") for state in ("random", "base", "policy")
    }
    assert max(found.gaps.values()) < 1e-4
    assert found.power > 5 * found.tolerance == 5e-3
    assert 0 < found.odds < 100
    assert 24 < found.tokens <= 3 * 4 * 8  # fewer where a completion ended early
    assert sampler.take_usage()["completion_tokens"] == 0
    assert sampler.pending == 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in policy.model.named_parameters())
    assert policy.model.config._attn_implementation == "minizero_attention"
    assert found.as_dict()["tolerance"] == 1e-3


@pytest.mark.parametrize("alpha", [1, 16, 4096])
def test_a_random_adapter_moves_the_model_no_more_than_must_be_seen(random_model: Path, alpha: int) -> None:
    """Rounding grows with it: a rank of 4 with alpha = 32 moved a model in bfloat16 so far that no run started."""
    found = check_agreement(*make(random_model, f"adapter.alpha={alpha}", "adapter.rank=2"))
    assert 5 * found.tolerance <= found.power < 20 * found.tolerance


def test_a_policy_without_an_adapter_is_compared_as_it_is(random_model: Path) -> None:
    found = check_agreement(*make(random_model, "adapter.kind=full"))
    assert set(found.gaps) == {"sampler, policy", "trainer, policy", "alone, policy"}
    assert found.power == 0


class OtherTemperature(TransformersSampler):
    """Samples at a temperature that nobody asked for."""

    def submit(self, request: Any) -> None:
        from dataclasses import replace

        super().submit(replace(request, temperature=1.3))


def test_a_sampler_that_samples_from_something_else_ends_the_run(random_model: Path) -> None:
    policy, sampler = make(random_model)
    sampler.__class__ = OtherTemperature
    with pytest.raises(SamplerError, match=r"what is sampled from is not .*differ by .* nats on average, expected at"):
        check_agreement(policy, sampler)


def test_a_sampler_that_ignores_the_adapter_ends_the_run(random_model: Path) -> None:
    policy, sampler = make(random_model)
    poll = sampler._poll

    def without_adapter() -> list[Completion]:
        with policy.adapter_off():
            done: list[Completion] = poll()
        return done

    sampler._poll = without_adapter
    with pytest.raises(SamplerError, match="with a random adapter, what is sampled from is not the model"):
        check_agreement(policy, sampler)


@pytest.fixture
def leaky_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer whose completions see each other in a shared row."""
    collate = policies.collate_rows

    def leaky(*args: Any) -> Any:
        from dataclasses import replace

        batch = collate(*args)
        width = batch.input_ids.shape[1]
        everything = torch.ones(len(batch.input_ids), 1, width, width, dtype=torch.bool).tril()
        return batch if batch.mask is None else replace(batch, mask=everything)

    monkeypatch.setattr(policies, "collate_rows", leaky)


@pytest.mark.usefixtures("leaky_rows")
def test_a_trainer_whose_shared_rows_leak_ends_the_run(random_model: Path) -> None:
    with pytest.raises(SamplerError, match="the trainer computes other log-probabilities than the"):
        check_agreement(*make(random_model))


def test_the_start_of_a_run_of_the_tiny_model_compares_in_under_two_seconds() -> None:
    policy, sampler = make(Path("tiny"), "prompt.style=compact", "adapter.kind=full")
    began = time.process_time()  # of this process alone, on a machine that does other things too
    found = check_agreement(policy, sampler)
    assert time.process_time() - began < 2
    assert max(found.gaps.values()) < 1e-4


def test_the_tolerance_is_a_setting(random_model: Path) -> None:
    policy, sampler = make(random_model, "sampler.tolerance=1e-12")
    with pytest.raises(SamplerError, match="expected at most 1e-12 in float32"):
        check_agreement(policy, sampler)
    assert check_agreement(*make(random_model, "model.dtype=bfloat16")).tolerance == 0.1


def test_a_gap_that_may_be_rounding_is_told_how_to_pass(random_model: Path) -> None:
    policy, _ = make(random_model, "model.dtype=bfloat16")
    passes = "; if you know it for rounding,  --set sampler.tolerance=0.24  lets it pass"
    assert agreement._if_rounding(policy, "sampler, base", 2.0) == passes
    assert agreement._if_rounding(policy, "trainer, base", 2.0) == ""
    assert agreement._if_rounding(policy, "sampler, base", 5.0) == ""
    exact, _ = make(random_model)
    assert agreement._if_rounding(exact, "sampler, base", 2.0) == ""


def test_a_sampler_that_rounds_too_much_passes_with_the_tolerance_that_is_advised(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, sampler = make(random_model, "model.dtype=bfloat16")
    gaps = {f"sampler, {state}": 0.15 for state in ("random", "base", "policy")}

    def rounded(*args: Any, **named: Any) -> tuple[int, float]:
        args[3].update(gaps)
        return 16, 0.0

    monkeypatch.setattr(agreement, "_compare", rounded)
    with pytest.raises(SamplerError, match=r"--set sampler\.tolerance=(0\.18)  lets it pass"):
        check_agreement(policy, sampler)
    check_agreement(*make(random_model, "model.dtype=bfloat16", "sampler.tolerance=0.18"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "is_fast"), [("mistral", True), ("gemma2", False)])
def test_one_text_is_longer_than_the_window_where_prompt_and_answer_may_be(
    kind: str, is_fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(kind, tmp_path, {"sliding_window": 64})
    asked: list[int] = []
    names: set[str] = set()
    submit, own = TransformersSampler.submit, agreement.own_attention

    def noted(self: Any, request: Any) -> None:
        asked.append(len(self.prompt_ids(request.prompt)))
        submit(self, request)

    def named(model: Any, name: str = "") -> Any:
        names.add(name)
        return own(model, name)

    monkeypatch.setattr(TransformersSampler, "submit", noted)
    monkeypatch.setattr(agreement, "own_attention", named)
    monkeypatch.setattr(agreement, "LONG", 70)
    lengths = ("selfplay.max_prompt_tokens=72", "selfplay.propose_max_tokens=16")
    for answer, longer in (("selfplay.solve_max_tokens=24", True), ("selfplay.solve_max_tokens=16", False)):
        asked.clear()
        policy, sampler = make(tmp_path, *lengths, answer, "model.dtype=float32")
        assert max(check_agreement(policy, sampler).gaps.values()) < 1e-4
        assert (72 <= max(asked) <= 96 - 8) is longer, asked
        assert len(asked) == 3 * (3 if longer else 2)
    assert names == ({"", "sdpa"} if is_fast else {""})


def test_a_sampler_that_was_proven_when_it_was_made_is_not_asked_again(random_model: Path) -> None:
    policy, sampler = make(random_model)
    sampler.agreement = Agreement({"sampler, policy": 0.0}, 1.0, 1.0, 1, 0.0)
    assert check_agreement(policy, sampler) is sampler.agreement


@pytest.mark.parametrize("method", ["fp8", "fbgemm_fp8", "compressed-tensors", "bitsandbytes", "gptq", "awq"])
def test_a_quantised_base_in_another_engine_needs_the_importance_correction(random_model: Path, method: str) -> None:
    policy, sampler = make(random_model, "loss.correction=none")
    policy.model.config.quantization_config = {"quant_method": method}
    assert check_agreement(policy, sampler).tolerance == 2e-3  # the trainer's own model: nothing is rounded twice
    sampler.model = None
    with pytest.raises(ConfigError, match=r'loss\.correction = "none" with a quantised base in another engine'):
        check_agreement(policy, sampler)


# -- whether tokens are draws -----------------------------------------------------------------------------------------


def rows_of(generator: torch.Generator, tokens: int, scale: float) -> torch.Tensor:
    return (torch.randn(tokens, 448, generator=generator) * scale).log_softmax(-1)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0, 20.0])
def test_draws_from_the_model_are_never_doubted(scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    odds = []
    for _ in range(400):
        rows = rows_of(generator, 32, scale)
        ids = torch.multinomial(rows.exp(), 1, generator=generator)[:, 0]
        odds.append(evidence([(rows, ids)]))
    assert max(odds) < 1e4
    assert sum(o >= 100 for o in odds) <= 8  # Markov: four expected at most


def test_draws_from_elsewhere_are() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = rows_of(generator, 96, 4.0)
    stray = torch.multinomial(rows.exp(), 1, generator=generator)[:, 0]
    stray[::10] = torch.randint(448, (10,), generator=generator)
    assert evidence([(rows, stray)]) > 1e6
    flat = rows_of(generator, 96, 1.0)
    sharp = torch.multinomial((2 * flat).softmax(-1), 1, generator=generator)[:, 0]
    assert evidence([(flat, sharp)]) > 1e6
    one = torch.full((1, 448), -(2.0**-20)).clone()
    one[0, 7] = -20.0
    assert evidence([(one, torch.tensor([7]))]) == pytest.approx(0.5 * (0.9 + 0.1 / 448 * 2.718281828**20), rel=1e-3)


class Stray(TransformersSampler):
    """Writes a token from anywhere now and then, and says truly how improbable it was."""

    def poll(self) -> list[Completion]:
        from dataclasses import replace

        done = []
        for completion in super().poll():
            ids = (*completion.ids[:-1], 7)
            whole = torch.tensor([completion.prompt_ids + ids])
            rows = self.model(input_ids=whole).logits[0].log_softmax(-1)[len(completion.prompt_ids) - 1 : -1]
            values = rows.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
            done.append(replace(completion, ids=ids, log_probs=tuple(values)))
        return done


def test_a_sampler_whose_tokens_are_no_draws_ends_the_run(random_model: Path) -> None:
    policy, sampler = make(random_model, "adapter.kind=full")
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(6.0)  # sure of itself, so that a stray token is far out
    sampler.__class__ = Stray
    with (
        torch.no_grad(),
        pytest.raises(Disagreement, match=r"tokens are not drawn from them: the odds against are .* to 1"),
    ):
        check_agreement(policy, sampler)
