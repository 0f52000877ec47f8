"""Several adapters on one base: each learns from what it wrote and from nothing else, and all are sampled, proven,
saved, averaged and continued."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from minizero.config import load_config
from minizero.evaluation.subject import find_subject
from minizero.learn.members import others_beside
from minizero.learn.policy import Policy
from minizero.models.adapter import adapter_layers, adapter_parameters
from minizero.planner.plan import make_plan
from minizero.rollout.agreement import check_agreement, random_adapter
from minizero.rollout.make import make_sampler
from minizero.rollout.protocol import drain
from minizero.selfplay.run_directory import RunDirectory
from minizero.selfplay.run_loop import RunLoop, resume, start
from minizero.types import (
    USUAL_TYPES,
    CheckpointError,
    Completion,
    Message,
    ModelError,
    Prompt,
    Request,
    Role,
    Rollout,
    SamplerError,
)
from tests.test_resume import SMALL, outcome, the_run
from tests.thread_ranks import Threads

ROOT = Path(__file__).parent.parent
SEPARATE = "adapter.roles=separate"
POPULATION = ("adapter.roles=population", "adapter.proposers=2", "adapter.solvers=2")


def make_policy(model: Path, *overrides: str) -> Policy:
    base = ("optim.lr=1e-3", "adapter.rank=4", "model.device=cpu", "run.threads=1", "prompt.style=r1")
    return Policy(load_config(overrides=[f"model.name={str(model)!r}", *base, *overrides]))


def rollouts(policy: Policy, count: int = 12) -> list[Rollout]:
    """Completions of random tokens by each member in turn, with its own log-probabilities."""
    generator, made = torch.Generator().manual_seed(3), []
    for i in range(count):
        role = list(Role)[i % 2]
        own = [name for name in policy.members.names if not name or name.startswith(role)]
        ids = torch.randint(0, 250, (5 + i % 4 + 6,), generator=generator).tolist()
        completion = Completion(f"r{i}", 0, tuple(ids[:5]), tuple(ids[5:]), (0.0,) * (len(ids) - 5), "", "stop")
        completion = replace(completion, member=own[i // 2 % len(own)])
        reward = float(torch.randint(-4, 5, (), generator=generator)) / 4
        made.append(Rollout(role, USUAL_TYPES[i // 2 % 3], f"p{i}", completion, reward, {}))
    return [
        replace(r, completion=replace(r.completion, log_probs=tuple(values.tolist())))
        for r, values in zip(made, policy.log_probs(made), strict=True)
    ]


def weights(policy: Policy, member: str) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in adapter_parameters(policy.model, member).items()}


def moved(policy: Policy, before: dict[str, dict[str, torch.Tensor]]) -> set[str]:
    """Members whose parameters are not what they were."""
    return {
        member
        for member, old in before.items()
        if any(not torch.equal(value, old[name]) for name, value in weights(policy, member).items())
    }


# -- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["propose-0", "propose-1", "solve-0", "solve-1"])
def test_what_one_adapter_wrote_is_learned_by_it_alone(random_model: Path, writer: str) -> None:
    policy = make_policy(random_model, *POPULATION, "advantage=reinforce++")
    assert policy.members.names == ("propose-0", "propose-1", "solve-0", "solve-1")
    batch = rollouts(policy, 32)
    before = {name: weights(policy, name) for name in policy.members.names}
    base = {name: p.detach().clone() for name, p in policy.model.named_parameters() if ".lora_" not in name}
    metrics = policy.update([r for r in batch if r.completion.member == writer])
    assert moved(policy, before) == {writer}
    assert all(torch.equal(p, base[name]) for name, p in policy.model.named_parameters() if name in base)
    assert metrics[f"policy/grad_norm/{writer}"] == pytest.approx(metrics["policy/grad_norm"])
    assert metrics[f"policy/grad_norm/{writer}"] > 0
    assert {name: optimiser.updates for name, optimiser in policy.optimisers.items()} == {
        name: int(name == writer) for name in policy.members.names
    }
    metrics = policy.update(batch)
    assert moved(policy, before) == set(policy.members.names)
    tokens = [metrics[f"policy/trained_tokens/{name}"] for name in policy.members.names]
    assert min(tokens) > 0
    assert sum(tokens) == metrics["policy/trained_tokens"]
    # The writer has moved since its texts were drawn, the others have not: whom the sampler has not got shows.
    gaps = {name: metrics[f"policy/sampler_gap_mean/{name}"] for name in policy.members.names}
    assert max(gaps, key=gaps.__getitem__) == writer
    assert max(gap for name, gap in gaps.items() if name != writer) < 1e-5


def gradients(policy: Policy, batch: list[Rollout]) -> dict[str, torch.Tensor]:
    """The summed gradients of one update by the names of one adapter, those of several members added up."""
    caught: dict[str, torch.Tensor] = {}

    def catch(member: str, optimiser: Any, step: Any) -> dict[str, float]:
        for name, value in optimiser._sums.items():
            plain = name.replace(f".{member or 'default'}.", ".")
            caught[plain] = caught.get(plain, 0) + value.clone()
        return step()  # type: ignore[no-any-return]

    for member, optimiser in policy.optimisers.items():
        given = partial(catch, member, optimiser, optimiser.step)
        optimiser.step = lambda *_, given=given: given()  # type: ignore[method-assign,misc]
    policy.update(batch)
    return caught


def test_the_gradients_of_both_roles_are_those_of_one_adapter_in_two_parts(random_model: Path) -> None:
    """Weights of tokens, advantages and micro-batches are those of the whole batch."""
    one, two = make_policy(random_model, "optim.micro_batch_tokens=40"), make_policy(random_model, SEPARATE)
    with torch.no_grad():
        for member in two.members.names:
            for name, layer in adapter_layers(two.model, member).items():
                mine = adapter_layers(one.model)[name]
                mine.b.normal_(std=0.05, generator=torch.Generator().manual_seed(len(name)))
                layer.a.copy_(mine.a)
                layer.b.copy_(mine.b)
    batch = rollouts(one)
    by_role = [replace(r, completion=replace(r.completion, member=r.role.value)) for r in batch]
    found = [gradients(one, batch), gradients(two, by_role)]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-3, atol=1e-4), name
    assert max(float(value.abs().max()) for value in found[0].values()) > 1


def test_members_of_a_population_are_compared_with_themselves(random_model: Path) -> None:
    """Advantages are of each member over its own rollouts: one that earns less is not pushed away from all it does."""
    policy = make_policy(random_model, *POPULATION)
    batch = [r for r in rollouts(policy, 48) if r.role is Role.SOLVE]
    batch = [replace(r, reward=r.reward + (5.0 if r.completion.member == "solve-1" else 0.0)) for r in batch]
    found = policy._advantages(batch)
    for member in ("solve-0", "solve-1"):
        own = torch.tensor([r.completion.member == member for r in batch])
        assert bool((found[own] > 0).any())
        assert bool((found[own] < 0).any())


def test_a_rollout_of_nobody_here_is_refused(random_model: Path) -> None:
    policy = make_policy(random_model, SEPARATE)
    batch = rollouts(policy)
    stray = replace(batch[0], completion=replace(batch[0].completion, member=""))
    with pytest.raises(ModelError, match="names no adapter by name; this policy has propose, solve"):
        policy.update([*batch, stray])
    with pytest.raises(ModelError, match="names an adapter named critic"):
        policy.members.use("critic")


def test_the_kl_to_the_base_is_each_adapters_own(random_model: Path) -> None:
    policy = make_policy(random_model, SEPARATE, "eval.kl_base_tokens=100000")
    batch = rollouts(policy)
    with random_adapter(policy, 2.0):
        policy.members.use("solve")
        new = torch.cat(policy.log_probs(batch)).double()
        with policy.adapter_off():
            base = torch.cat(policy.log_probs(batch)).double()
        found = policy.kl_base(batch)["policy/kl_base"]
    gap = base - new
    assert found == pytest.approx(float((gap.exp() - gap - 1).mean()), rel=1e-4)
    assert found > 1e-3


def test_validations_see_the_mean_of_every_adapter(random_model: Path) -> None:
    policy = make_policy(random_model, SEPARATE, "optim.ema_decay=0.9", "advantage=reinforce++")
    for _ in range(3):
        policy.update(rollouts(policy))
    now = {name: weights(policy, name) for name in policy.members.names}
    with policy.averaged():
        assert moved(policy, now) == {"propose", "solve"}
        for optimiser in policy.optimisers.values():
            assert all(torch.equal(p, optimiser.means[name]) for name, p in optimiser.parameters.items())
    assert moved(policy, now) == set()


def test_a_replaced_member_is_a_mutated_copy_with_fresh_moments(random_model: Path) -> None:
    policy = make_policy(random_model, *POPULATION, "adapter.mutation=0.1", "advantage=reinforce++")
    policy.update(rollouts(policy, 32))
    before = {name: weights(policy, name) for name in policy.members.names}
    policy.renew("solve-0", "solve-1", seed=5)
    assert moved(policy, before) == {"solve-0"}
    first = weights(policy, "solve-0")
    for name, value in weights(policy, "solve-1").items():
        noise = first[name.replace("solve-1", "solve-0")] - value
        assert float(noise.std() / value.std()) == pytest.approx(0.1, rel=0.25)
    optimiser = policy.optimisers["solve-0"]
    assert all(float(optimiser.moments(master)["first"].abs().max()) == 0 for master in optimiser.masters.values())
    assert optimiser.updates == 1
    policy.renew("solve-0", "solve-1", seed=5)
    assert all(torch.equal(value, first[name]) for name, value in weights(policy, "solve-0").items())
    policy.renew("solve-0", "solve-1", seed=6)
    assert any(not torch.equal(value, first[name]) for name, value in weights(policy, "solve-0").items())


@pytest.mark.parametrize("roles", [(SEPARATE,), POPULATION])
def test_two_processes_learn_what_one_learns(random_model: Path, roles: tuple[str, ...]) -> None:
    alone = make_policy(random_model, *roles)
    batch = rollouts(alone, 48)
    metrics = alone.update(batch)
    threads = Threads(2)
    both = [make_policy(random_model, *roles) for _ in range(2)]
    for policy, ranks in zip(both, threads.ranks(), strict=True):
        policy.ranks = ranks
    found = threads.each(lambda ranks: both[ranks.number].update(batch))
    threads.each(lambda ranks: both[ranks.number].check_ranks())
    for member in alone.members.names:
        assert found[0][f"policy/grad_norm/{member}"] == pytest.approx(metrics[f"policy/grad_norm/{member}"], rel=1e-4)
        left, right = (weights(policy, member) for policy in both)
        assert all(torch.equal(value, right[name]) for name, value in left.items())
        assert all(torch.allclose(v, left[name], atol=2e-4) for name, v in weights(alone, member).items())
    first = next(iter(both[1].optimisers["propose" if roles == (SEPARATE,) else "propose-1"].masters.values()))
    first[0, 0] += 1
    with pytest.raises(ModelError, match="the trained weights of rank 1 are not those of rank 0"):
        threads.each(lambda ranks: both[ranks.number].check_ranks())


# -- sampling ---------------------------------------------------------------------------------------------------------


def completions(sampler: Any, *requests: Request) -> list[Completion]:
    for request in requests:
        sampler.submit(request)
    return sorted(drain(sampler), key=lambda c: (c.request_id, c.index))


def asked(place: int, member: str, *, adapter: bool = True) -> Request:
    return Request(f"r{place}", Prompt((Message("user", f"say {place}"),)), 6, place, 2, adapter=adapter, member=member)


def test_each_request_is_written_by_the_adapter_that_it_names(random_model: Path) -> None:
    policy = make_policy(random_model, SEPARATE)
    sampler = make_sampler(policy.config, policy)
    with random_adapter(policy, 4.0):
        mixed = [asked(i, ("propose", "solve")[i % 2], adapter=i < 4) for i in range(6)]
        done = completions(sampler, *mixed)
        assert [c.member for c in done] == [name for i in range(6) for name in 2 * (("propose", "solve")[i % 2],)]
        made = [Rollout(Role.SOLVE, USUAL_TYPES[0], c.request_id, c, 0.0, {}) for c in done]
        on, base = made[:8], made[8:]
        sampled = [torch.tensor(r.completion.log_probs) for r in made]
        for values, expected in zip(policy.log_probs(on), sampled[:8], strict=True):
            assert torch.allclose(values, expected, atol=1e-4)
        with policy.adapter_off():
            for values, expected in zip(policy.log_probs(base), sampled[8:], strict=True):
                assert torch.allclose(values, expected, atol=1e-4)
        swapped = [
            replace(
                r,
                completion=replace(r.completion, member={"propose": "solve", "solve": "propose"}[r.completion.member]),
            )
            for r in on
        ]
        gaps = [float((v - e).abs().max()) for v, e in zip(policy.log_probs(swapped), sampled[:8], strict=True)]
        assert min(gaps) > 0.01
    sampler.submit(asked(9, "critic"))
    with pytest.raises(ModelError, match="names an adapter named critic; this policy has propose, solve"):
        list(drain(sampler))


def test_requests_of_one_adapter_are_decoded_together(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(random_model, SEPARATE)
    sampler: Any = make_sampler(policy.config, policy)
    entered: list[set[str]] = []
    enter = sampler._enter
    monkeypatch.setattr(sampler, "_enter", lambda group: entered.append({r.member for r, _ in group}) or enter(group))
    completions(sampler, *(asked(i, ("propose", "solve")[i % 2]) for i in range(8)))
    assert entered == [{"propose"}, {"solve"}]


def test_every_adapter_is_proven_at_the_start(random_model: Path) -> None:
    policy = make_policy(random_model, SEPARATE)
    before = {name: weights(policy, name) for name in policy.members.names}
    found = check_agreement(policy, make_sampler(policy.config, policy))
    assert set(found.gaps) == {
        f"{who}, {state}"
        for who in ("sampler", "trainer", "alone")
        for state in ("propose random", "solve random", "base", "propose policy", "solve policy")
    }
    assert max(found.gaps.values()) < 1e-4
    assert found.power > 5 * found.tolerance
    assert moved(policy, before) == set()


@pytest.mark.parametrize("taken", ["propose", "solve"])
def test_a_sampler_that_takes_one_adapter_for_another_ends_the_run(random_model: Path, taken: str) -> None:
    policy = make_policy(random_model, SEPARATE)
    sampler: Any = make_sampler(policy.config, policy)
    sampler._use = lambda name: policy.members.use(taken)
    other = {"propose": "solve", "solve": "propose"}[taken]
    with pytest.raises(
        SamplerError, match=f"of the adapter {other}: with a random adapter, what is sampled from is not"
    ):
        check_agreement(policy, sampler)


# -- files ------------------------------------------------------------------------------------------------------------


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


PLAIN = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}


def test_a_checkpoint_of_one_adapter_has_the_layout_that_it_always_had(random_model: Path, tmp_path: Path) -> None:
    policy = make_policy(random_model)
    policy.save_adapter(tmp_path)
    assert files(tmp_path) == PLAIN
    policy.save_state(tmp_path)
    assert all(".default." in name for name in load_file(tmp_path / "policy.safetensors"))


def test_a_checkpoint_holds_all_adapters_and_the_judged_one_in_the_usual_place(
    random_model: Path, tmp_path: Path
) -> None:
    policy = make_policy(random_model, *POPULATION, "advantage=reinforce++")
    policy.update(rollouts(policy, 32))
    policy.save_adapter(tmp_path, "solve-0")
    others = {
        f"adapters/{name}/{file.partition('/')[2]}" for name in ("propose-0", "propose-1", "solve-1") for file in PLAIN
    }
    assert files(tmp_path) == PLAIN | others | {"adapters/members.json"}
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    mine = weights(policy, "solve-0")
    assert {name.removeprefix("base_model.model.") for name in saved} == {n.replace(".solve-0.", ".") for n in mine}
    for name, value in mine.items():
        assert torch.equal(saved["base_model.model." + name.replace(".solve-0.", ".")], value)
    assert find_subject(str(tmp_path / "adapter")).adapter == tmp_path / "adapter"
    assert others_beside(tmp_path / "adapter") == (
        "this is the adapter solve-0, the one that was validated; propose-0, propose-1, solve-1 stay in "
        f"{tmp_path / 'adapters'}"
    )

    again = make_policy(random_model, *POPULATION, f"model.checkpoint={str(tmp_path)!r}")
    assert moved(again, {name: weights(policy, name) for name in policy.members.names}) == set()
    one = make_policy(random_model, f"model.checkpoint={str(tmp_path)!r}")  # a run with one goes on from the judged one
    for name, value in weights(one, "").items():
        assert torch.equal(value, mine[name.replace(".default.", ".solve-0.")])
    two = make_policy(random_model, SEPARATE, f"model.checkpoint={str(tmp_path / 'adapter')!r}")  # both from this one
    for member in ("propose", "solve"):
        for name, value in weights(two, member).items():
            assert torch.equal(value, mine[name.replace(f".{member}.", ".solve-0.")])
    with pytest.raises(CheckpointError, match=r"holds the adapters propose-0, .*this run has propose, solve.*/adapter"):
        make_policy(random_model, SEPARATE, f"model.checkpoint={str(tmp_path)!r}")


def test_a_saved_state_is_of_these_adapters_alone(random_model: Path, tmp_path: Path) -> None:
    policy = make_policy(random_model, SEPARATE, "advantage=reinforce++")
    policy.update([r for r in rollouts(policy) if r.role is Role.SOLVE])
    policy.save_state(tmp_path)
    again = make_policy(random_model, SEPARATE, "run.rng_seed=3")
    again.load_state(tmp_path)
    assert moved(again, {name: weights(policy, name) for name in policy.members.names}) == set()
    assert [optimiser.updates for optimiser in again.optimisers.values()] == [0, 1]
    left, right = policy.optimisers.tensors(), again.optimisers.tensors()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    with pytest.raises(CheckpointError, match="belongs to another model or adapter"):
        make_policy(random_model).load_state(tmp_path)


RUN = [
    *SMALL, "adapter.kind=lora", "adapter.rank=4", "optim.norm_lr=0", "optim.lr=3e-3", *POPULATION,
    "adapter.replace_every=2",
]  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_of_a_population_ends_where_an_uninterrupted_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def config(name: str) -> Any:
        return load_config([ROOT / "configs" / "tiny.toml"], [*RUN, f"run.dir={str(tmp_path / name)!r}"])

    step = RunLoop.step

    def dying(self: RunLoop) -> None:
        if self.done == 2:
            raise Killed
        step(self)

    start(config("whole"))
    with monkeypatch.context() as patched:
        patched.setattr(RunLoop, "step", dying)
        with pytest.raises(Killed):
            start(config("killed"))
    resume(the_run(tmp_path / "killed"))
    whole, killed = the_run(tmp_path / "whole"), the_run(tmp_path / "killed")
    left, right = outcome(whole), outcome(killed)
    assert [name for name, data in left["files"].items() if right["files"].get(name) != data] == []
    assert left == right
    states = [json.loads((path / "state" / "step-000004" / "state.json").read_text()) for path in (whole, killed)]
    assert states[0]["league"] == states[1]["league"]
    rows = RunDirectory.open(whole).metrics()
    assert sum(row.get("adapter/replaced", 0) for row in rows) > 0
    assert len({row["adapter/rating/solve-0"] for row in rows if "adapter/rating/solve-0" in row}) > 1
    written = {row["adapter"] for row in RunDirectory.open(whole).rollouts(1)}
    assert written == {"propose-0", "propose-1", "solve-0", "solve-1"}
    subject = find_subject(str(whole))
    assert subject.adapter == whole / "checkpoints" / "step-000004" / "adapter"
    who = json.loads((whole / "checkpoints" / "step-000004" / "adapters" / "members.json").read_text())
    ratings = states[0]["league"]["ratings"]
    assert who["judged"] == max(("solve-0", "solve-1"), key=ratings.__getitem__)


# -- the plan ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def qwen() -> list[str]:
    return ["model.name=Qwen/Qwen2.5-Coder-3B", "adapter.rank=32"]


def test_the_plan_says_what_each_further_adapter_costs(qwen: list[str]) -> None:
    one, four = (make_plan(load_config(overrides=[*qwen, *more]), "rtx3090") for more in ((), POPULATION))
    # 59,867,136 parameters: 18 bytes in the trainer, 2 in vLLM.
    assert four.state - one.state == pytest.approx(3 * 18 * 59_867_136 / 2**30)
    assert four.parts["adapter in vLLM"] == pytest.approx(4 * 2 * 59_867_136 / 2**30)
    assert (
        "4 adapters on one base: each beyond the first takes 1.12 GiB, and no time that these formulas see"
        in four.text()
    )
    assert "on one base" not in one.text()
    # With rows too few to hide what is read behind what is computed, and with a smaller cache, it takes time.
    eight = ["adapter.roles=population", "adapter.proposers=4", "adapter.solvers=4", "sampler.max_rows=8"]
    slow = make_plan(load_config(overrides=[*qwen, *eight]), "rtx3090")
    fast = make_plan(load_config(overrides=[*qwen, "sampler.max_rows=8"]), "rtx3090")
    # 7 adapters of 120 MB beside 6.2 GB of weights: at most an eighth more for each of 8 rows' tokens.
    assert 1.05 < slow.expected["attempts"] / fast.expected["attempts"] < 1.15
    said = slow.text().partition("each beyond the first takes 1.12 GiB and ")[2].partition(" s of a step")[0]
    assert float(said) == pytest.approx((sum(slow.expected.values()) - sum(fast.expected.values())) / 7, abs=0.051)
