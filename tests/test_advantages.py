"""Advantage estimators against the official TRR++, and against numbers worked by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from minizero.config.learning import AdvantageConfig, Estimator, prompt_group_problems
from minizero.learn.advantages import advantages, estimate, load_estimators, pass_rewards
from minizero.types import Completion, EstimatorError, Role, Rollout, TaskType
from tests.azr_vectors import azr_records

# Official behaviour that we leave on purpose. A row that no longer differs fails the test.
DEPARTURES = {
    "gamma_0.9": "minizero has no discount: every token of a completion has its reward",
    "single_token_total": "the official code raises; a group of one token has advantage 0",
}


def preset(name: str, **changes: Any) -> Estimator:
    return Estimator.model_validate({"preset": name, **changes})


def run(
    config: Estimator,
    rewards: list[float],
    lengths: list[int] | None = None,
    prompts: list[int] | None = None,
    types: list[int] | None = None,
    baseline: list[float] | None = None,
    dtype: torch.dtype = torch.float64,
) -> list[float]:
    n = len(rewards)
    groups = {
        "role": torch.zeros(n, dtype=torch.long),
        "task_type": torch.tensor(types or [0] * n),
        "prompt": torch.tensor(prompts if prompts is not None else list(range(n))),
    }
    greedy = None if baseline is None else torch.tensor(baseline, dtype=dtype)
    lengths_ = torch.tensor(lengths or [1] * n)
    return advantages(torch.tensor(rewards, dtype=dtype), lengths_, groups, config, greedy).tolist()


def test_trrpp_equals_the_official_function() -> None:
    departed = set()
    for record in azr_records("trr_advantages.json"):
        if not all(isinstance(group, dict) for group in record["input"].values()):
            departed.add(record["label"])
            continue
        rewards, lengths, types, expected = [], [], [], []
        for i, (name, group) in enumerate(record["input"].items()):
            rewards += group["sequence_rewards"]
            lengths += group["response_lengths"]
            types += [i] * len(group["response_lengths"])
            expected += record["output"][name]["advantage_per_sequence_first_token(verl 0.4.1)"]
        assert run(preset("trrpp"), rewards, lengths, types=types) == pytest.approx(expected, abs=2e-6), record["label"]
    assert departed == set(DEPARTURES)


def test_a_group_of_a_single_token_has_advantage_zero() -> None:
    assert run(preset("trrpp"), [1.0], [1]) == [0.0]


def test_trrpp_weighs_by_tokens_and_its_sequence_form_does_not() -> None:
    # tokens: m = (1 - 4.5) / 10 = -0.35, v = (1 x 1.35^2 + 9 x 0.15^2) / 9 = 0.225; sequences: m = 0.25, v = 1.125
    assert run(preset("trrpp"), [1, -0.5], [1, 9]) == pytest.approx([1.35 / 0.225**0.5, -0.15 / 0.225**0.5], abs=1e-6)
    by_sequence = preset("trrpp", statistics="sequence")
    assert run(by_sequence, [1, -0.5], [1, 9]) == pytest.approx([0.75 / 1.125**0.5, -0.75 / 1.125**0.5], abs=1e-6)


def test_trrpp_keeps_task_types_apart_and_reinforcepp_does_not() -> None:
    rewards, types = [1.0, 0.0, 5.0, 4.0], [0, 0, 1, 1]
    half = 0.5 / math.sqrt(0.5)
    assert run(preset("trrpp"), rewards, types=types) == pytest.approx([half, -half, half, -half], abs=1e-6)
    # all four: m = 2.5, v = (2.25 + 6.25 + 6.25 + 2.25) / 3 = 17 / 3
    sd = math.sqrt(17 / 3)
    expected = [-1.5 / sd, -2.5 / sd, 2.5 / sd, 1.5 / sd]
    assert run(preset("reinforce++"), rewards, types=types) == pytest.approx(expected, abs=1e-6)


# Two prompts: rewards 1, 0, 0 (mean 1/3) and 2, 0 (mean 1).
PROMPTS, REWARDS = [0, 0, 0, 1, 1], [1.0, 0.0, 0.0, 2.0, 0.0]


def test_drgrpo_subtracts_the_mean_of_the_prompt() -> None:
    assert run(preset("drgrpo"), REWARDS, prompts=PROMPTS) == pytest.approx([2 / 3, -1 / 3, -1 / 3, 1, -1])


def test_grpo_also_divides_by_the_deviation_of_the_prompt() -> None:
    # variances: (4/9 + 1/9 + 1/9) / 2 = 1/3 and (1 + 1) / 1 = 2
    a, b = math.sqrt(1 / 3), math.sqrt(2)
    expected = [2 / 3 / a, -1 / 3 / a, -1 / 3 / a, 1 / b, -1 / b]
    assert run(preset("grpo"), REWARDS, prompts=PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_rloo_subtracts_the_mean_of_the_others() -> None:
    # 1 - 0, 0 - 1/2, 0 - 1/2; 2 - 0, 0 - 2: K / (K - 1) times the centred rewards
    assert run(preset("rloo"), REWARDS, prompts=PROMPTS) == pytest.approx([1, -0.5, -0.5, 2, -2])


def test_reinforcepp_baseline_centres_by_prompt_and_scales_by_batch() -> None:
    # centred 2/3, -1/3, -1/3, 1, -1 (mean 0): v = (4/9 + 1/9 + 1/9 + 2) / 4 = 2/3
    sd = math.sqrt(2 / 3)
    expected = [2 / 3 / sd, -1 / 3 / sd, -1 / 3 / sd, 1 / sd, -1 / sd]
    assert run(preset("reinforce++-baseline"), REWARDS, prompts=PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_remax_subtracts_the_greedy_reward() -> None:
    assert run(preset("remax"), [1.0, -0.5], baseline=[0.25, 0.25]) == [0.75, -0.75]


def test_pass_at_k_rewards_an_answer_by_the_sets_that_it_is_in() -> None:
    # One of four right, k = 2: 1, and 1 - C(2, 1) / C(3, 1) = 1/3 for the others; their mean is pass@2 = 1 - 3/6
    assert pass_rewards(torch.tensor([1.0, -0.5, -1, -0.5]), torch.tensor([0] * 4), 2).tolist() == pytest.approx(
        [1, 1 / 3, 1 / 3, 1 / 3]
    )
    # m = 1/2, s = sqrt(1/4): (1 - 1/2) / (1/2) and (1/3 - 1/2) / (1/2)
    expected = [1, -1 / 3, -1 / 3, -1 / 3]
    assert run(preset("pass@k", pass_k=2), [1, -0.5, -1, -0.5], prompts=[0] * 4) == pytest.approx(expected)


def test_pass_at_k_says_nothing_once_any_set_of_k_holds_a_success() -> None:
    # k = 4: with two of five right no set of four fails; with one of five only C(4, 4) = 1 of 5 sets does.
    assert run(preset("pass@k"), [1, 1, -0.5, -0.5, -0.5], prompts=[0] * 5) == [0.0] * 5
    # failures: 1 - C(3, 3) / C(4, 3) = 3/4, m = 4/5, s = 2/5
    expected = [0.2 / 0.4, *[(0.75 - 0.8) / 0.4] * 4]
    assert run(preset("pass@k"), [1, -0.5, -0.5, -0.5, -0.5], prompts=[0] * 5) == pytest.approx(expected)


@given(st.lists(st.booleans(), min_size=2, max_size=9), st.integers(1, 9))
def test_the_mean_of_pass_rewards_is_pass_at_k(right: list[bool], k: int) -> None:
    n, k = len(right), min(k, len(right))
    sets = list(itertools.combinations(right, k))
    shares = pass_rewards(torch.tensor([1.0 if r else -1.0 for r in right]).double(), torch.zeros(n).long(), k)
    assert float(shares.mean()) == pytest.approx(sum(map(any, sets)) / len(sets))


def test_fewer_answers_than_k_teach_nothing() -> None:
    assert run(preset("pass@k"), [1, -0.5, 1, 1, 0, 0], prompts=[0, 0, 1, 1, 1, 1])[:2] == [0.0, 0.0]


def test_maxrl_divides_by_the_share_of_successes() -> None:
    # one of four: (1 - 1/4) / (1/4) = 3 and -1; three of four: (1 - 3/4) / (3/4) = 1/3 and -1; none: 0
    rewards = [1, -0.5, -0.5, -1, 1, 1, 1, -1, -1, -0.5]
    expected = [3, -1, -1, -1, 1 / 3, 1 / 3, 1 / 3, -1, 0, 0]
    assert run(preset("maxrl"), rewards, prompts=[0] * 4 + [1] * 4 + [2] * 2) == pytest.approx(expected)


def test_a_running_baseline_is_the_mean_of_earlier_steps() -> None:
    config = AdvantageConfig.model_validate({"preset": "running", "propose": {"decay": 0.5}, "solve": {"decay": 0.5}})
    running: dict[str, float] = {}
    p, s = Role.PROPOSE, Role.SOLVE
    first = [rollout(p, 1, "x"), rollout(p, 0, "y"), rollout(s, -1, "a")]
    assert estimate(first, config, running).tolist() == [0.5, -0.5, 0]  # nothing earlier: the mean of the step
    assert running == {"propose/deduction": 0.5, "solve/deduction": -1}
    assert estimate([rollout(p, 1, "x"), rollout(s, 1, "a")], config, running).tolist() == [0.5, 2]
    assert running == {"propose/deduction": 0.75, "solve/deduction": 0}  # 0.5 x 0.5 + 0.5 x 1; 0.5 x -1 + 0.5 x 1


def test_running_means_of_two_estimators_stay_apart() -> None:
    table = {"propose": {"preset": "running", "baseline_by": "batch"}, "solve": {"preset": "running", "decay": 0.0}}
    running: dict[str, float] = {}
    estimate(
        [rollout(Role.PROPOSE, 1, "x"), rollout(Role.SOLVE, -1, "a")], AdvantageConfig.model_validate(table), running
    )
    assert running == {"propose:batch": 1, "solve:solve/deduction": -1}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"preset": "running", "baseline_by": "prompt"}, "a prompt seldom comes again"),
        ({"preset": "grpo", "scale": "mean"}, "Try pass_k = 1"),
        ({"preset": "pass@k", "statistics": "token"}, "counts answers"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Estimator.model_validate(table)


def test_pass_at_k_needs_as_many_samples_of_a_prompt() -> None:
    (problem,) = prompt_group_problems(preset("pass@k", pass_k=6), Role.SOLVE, 4)
    assert "sets of 6 answers" in problem
    assert "selfplay.solve_samples=6" in problem
    assert prompt_group_problems(preset("pass@k", pass_k=6), Role.SOLVE, 6) == []


def test_no_baseline_and_no_scale_leave_the_reward() -> None:
    assert run(Estimator(baseline="none", baseline_by="none", scale_by="none"), [1.0, -0.5]) == [1.0, -0.5]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["trrpp", "reinforce++", "reinforce++-baseline", "grpo", "drgrpo", "rloo", "pass@k", "maxrl"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equal_rewards_give_exactly_zero(name: str, dtype: torch.dtype) -> None:
    assert run(preset(name), [0.1] * 6, [3, 1, 4, 1, 5, 9], prompts=[0, 0, 0, 1, 1, 1], dtype=dtype) == [0.0] * 6


@pytest.mark.parametrize("name", ["grpo", "drgrpo", "rloo", "reinforce++-baseline", "maxrl"])
def test_grouping_by_prompt_with_one_sample_a_prompt_is_an_error(name: str) -> None:
    with pytest.raises(EstimatorError, match="needs at least 2"):
        run(preset(name), [1.0, 0.0], prompts=[0, 1])
    (problem,) = prompt_group_problems(preset(name), Role.SOLVE, 1)
    assert "selfplay.solve_samples = 1" in problem
    assert prompt_group_problems(preset(name), Role.SOLVE, 2) == []
    assert prompt_group_problems(preset("trrpp"), Role.SOLVE, 1) == []


def test_a_single_leftover_of_a_prompt_has_advantage_zero() -> None:
    assert run(preset("grpo"), [1.0, 0.0, 1.0], prompts=[0, 0, 1])[2] == 0.0
    assert run(preset("rloo"), [1.0, 0.0, 1.0], prompts=[0, 0, 1])[2] == 0.0


lists = st.lists(st.tuples(st.floats(-2, 2), st.integers(1, 50), st.integers(0, 2)), min_size=2, max_size=20)


@given(lists, st.sampled_from(["trrpp", "reinforce++"]))
def test_a_whitened_batch_has_token_mean_zero_and_deviation_at_most_one(rows: list[Any], name: str) -> None:
    rewards, lengths, types = map(list, zip(*rows, strict=True))
    result = torch.tensor(run(preset(name), rewards, lengths, types=types), dtype=torch.float64)
    weights = torch.tensor(lengths, dtype=torch.float64)
    groups = [0] * len(rows) if name == "reinforce++" else types
    for group in set(groups):
        inside = torch.tensor([g == group for g in groups])
        assert float((weights * result)[inside].sum()) == pytest.approx(0, abs=1e-4)
        assert float((weights * result**2)[inside].sum()) <= max(float(weights[inside].sum()), 1) + 1e-6


@given(lists, st.permutations(range(20)))
def test_order_does_not_matter(rows: list[Any], order: list[int]) -> None:
    order = [i for i in order if i < len(rows)]
    rewards, lengths, types = map(list, zip(*rows, strict=True))
    straight = run(preset("trrpp"), rewards, lengths, types=types)
    mixed = run(preset("trrpp"), *([x[i] for i in order] for x in (rewards, lengths)), types=[types[i] for i in order])
    assert mixed == pytest.approx([straight[i] for i in order], abs=1e-6)


@given(lists, st.floats(-3, 3), st.floats(0.5, 5))
def test_whitening_ignores_shift_and_scale_of_rewards(rows: list[Any], shift: float, scale: float) -> None:
    rewards, lengths, types = map(list, zip(*rows, strict=True))
    rewards = [round(2 * reward) / 2 for reward in rewards]  # a spread near sqrt(eps) would show eps
    straight = run(preset("trrpp"), rewards, lengths, types=types)
    moved = run(preset("trrpp"), [scale * r + shift for r in rewards], lengths, types=types)
    assert moved == pytest.approx(straight, abs=1e-3)


# From rollouts.


def rollout(role: Role, reward: float, prompt: str, tokens: int = 2, baseline: float | None = None) -> Rollout:
    ids = tuple(range(tokens))
    completion = Completion(prompt, 0, (1,), ids, (-0.1,) * tokens, "", "stop")
    return Rollout(role, TaskType.DEDUCTION, prompt, completion, reward, {}, baseline)


def test_each_role_has_its_own_estimator() -> None:
    config = AdvantageConfig.model_validate({"propose": "trrpp", "solve": "drgrpo"})
    p, s = Role.PROPOSE, Role.SOLVE
    rollouts = [rollout(s, 1, "a"), rollout(p, 1, "x"), rollout(s, 0, "a"), rollout(p, -1, "y")]
    # propose: 4 tokens, m = 0, v = 4 / 3
    a = 1 / math.sqrt(4 / 3)
    assert estimate(rollouts, config).tolist() == pytest.approx([0.5, a, -0.5, -a], abs=1e-6)


def test_equal_estimators_see_both_roles_as_one_batch() -> None:
    rollouts = [rollout(Role.PROPOSE, 1, "x"), rollout(Role.SOLVE, -1, "y")]
    assert estimate(rollouts, AdvantageConfig.model_validate("reinforce++")).tolist() != [0.0, 0.0]
    assert estimate(rollouts, AdvantageConfig.model_validate("trrpp")).tolist() == [0.0, 0.0]


def test_a_preset_for_both_roles_can_be_changed_for_one() -> None:
    table = {"preset": "grpo", "solve": {"preset": "rloo"}, "propose": {"scale_by": "none"}}
    config = AdvantageConfig.model_validate(table)
    assert (config.solve.baseline, config.solve.scale_by) == ("leave_one_out", ())
    assert (config.propose.baseline_by, config.propose.scale_by) == (("prompt",), ())
    assert AdvantageConfig.model_validate(config.model_dump()) == config


def test_a_missing_greedy_completion_is_named() -> None:
    with pytest.raises(EstimatorError, match="1 of 2 rollouts have no greedy completion"):
        estimate(
            [rollout(Role.SOLVE, 1, "a", baseline=0.5), rollout(Role.SOLVE, 1, "b")],
            AdvantageConfig.model_validate("remax"),
        )


def test_no_rollouts_give_no_advantages() -> None:
    assert estimate([], AdvantageConfig()).tolist() == []


def test_an_own_estimator_is_called_with_rewards_lengths_groups_and_baseline(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def half(rewards, lengths, groups, baseline):\n    return rewards / 2 + 0 * lengths\n")
    assert run(Estimator.model_validate(f"{file}:half"), [1.0, -0.5]) == [0.5, -0.25]
    assert load_estimators(AdvantageConfig.model_validate(f"{file}:half")) == {"mine.py": file.read_text()}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1.0", "returned float"),
        ("return rewards[:1]", "shape"),
        ("return rewards / 0", "not finite"),
        ("1 / 0", "ZeroDiv"),
    ],
)
def test_a_bad_own_estimator_is_named(tmp_path: Path, body: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def f(rewards, lengths, groups, baseline):\n    {body}\n")
    with pytest.raises(EstimatorError, match=message):
        run(Estimator.model_validate(f"{file}:f"), [1.0, -0.5])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"preset": "gpro"}, "grpo"),
        ({"baseline_by": "promt"}, "prompt"),
        ({"baseline_by": ["batch", "role"]}, "stands alone"),
        ({"baseline_by": "none"}, "needs baseline_by"),
        ({"function": "mine.py"}, "file.py:function"),
    ],
)
def test_a_wrong_estimator_table_says_what_is_wrong(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Estimator.model_validate(table)


def test_results_stay_on_the_type_they_came_in() -> None:
    groups: dict[str, Tensor] = {key: torch.zeros(2, dtype=torch.long) for key in ("role", "task_type", "prompt")}
    result = advantages(torch.tensor([1.0, 0.0]), torch.tensor([3, 4]), groups, Estimator())
    assert result.dtype == torch.float32
