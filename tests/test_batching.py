"""Micro-batches: what they hold, and that no split, padding or order of rollouts changes the gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from minizero.config.learning import LossConfig
from minizero.learn.batching import collate, collate_rows, plan_micro_batches, row_tokens, share_prompts
from minizero.learn.log_probs import chunked_log_probs
from minizero.learn.losses import aggregation_weights, importance_weights, token_loss
from minizero.types import Completion, Role, Rollout, TaskType


@pytest.fixture(autouse=True)
def _one_thread():  # type: ignore[no-untyped-def]
    """Matrices this small cost more to share than to multiply, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rollout(prompt: tuple[int, ...], ids: tuple[int, ...], log_probs: tuple[float, ...] | None = None) -> Rollout:
    log_probs = tuple(-0.5 - 0.1 * i for i in range(len(ids))) if log_probs is None else log_probs
    completion = Completion("request", 0, prompt, ids, log_probs, "", "stop")
    return Rollout(Role.SOLVE, TaskType.DEDUCTION, "prompt", completion, 0.0, {})


def test_a_batch_by_hand() -> None:
    batch = collate([rollout((5, 6), (7, 8)), rollout((9,), ()), rollout((1,), (2,), (-0.25,))], [2, 0], pad_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 0, 0], [5, 6, 7, 8]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.positions.tolist() == [[0, 1, 0, 0], [0, 1, 2, 3]]
    assert batch.completion_mask.int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    assert batch.sampler_log_probs.flatten().tolist() == pytest.approx([0, -0.25, 0, 0, 0, 0, -0.5, -0.6])
    assert batch.select.tolist() == [0, 5, 6]  # 2 is predicted at (0, 0); 7 and 8 at (1, 1) and (1, 2)
    assert batch.targets.tolist() == [2, 7, 8]
    assert batch.row.tolist() == [0, 1, 1]
    assert batch.index.tolist() == [2, 0]
    assert batch.sampled.tolist() == pytest.approx([-0.25, -0.5, -0.6])
    assert batch.to("cpu").targets.tolist() == [2, 7, 8]


def test_padding_is_not_confused_with_a_completion_token_of_the_same_id() -> None:
    batch = collate([rollout((1,), (0, 0)), rollout((1,), (0,))], [0, 1], pad_id=0)
    assert batch.completion_mask.int().tolist() == [[0, 1, 1], [0, 1, 0]]


def test_an_empty_prompt_and_missing_log_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="empty prompt"):
        collate([rollout((), (1,))], [0], 0)
    with pytest.raises(ValueError, match="2 tokens with 1 log-prob"):
        collate([rollout((1,), (1, 2), (-0.1,))], [0], 0)


def test_the_longest_come_first_and_alone_if_they_must() -> None:
    assert plan_micro_batches([3, 9, 4, 2], 10) == [[1], [2, 0], [3]]
    assert plan_micro_batches([30, 1], 10) == [[0], [1]]
    assert plan_micro_batches([], 10) == []


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_a_plan_holds_every_rollout_once_and_keeps_the_budget(lengths: list[int], budget: int) -> None:
    plan = plan_micro_batches(lengths, budget)
    assert sorted(i for batch in plan for i in batch) == list(range(len(lengths)))
    for batch in plan:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_two_completions_of_one_prompt_share_a_row_by_hand() -> None:
    batch = collate_rows([rollout((5, 6), (7, 8)), rollout((5, 6), (9,)), rollout((1,), (2,))], [[0, 1], [2]], pad_id=0)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [1, 2, 0, 0, 0]]
    assert batch.positions.tolist()[0] == [0, 1, 2, 3, 2]
    assert batch.select.tolist() == [1, 2, 1, 5]  # the prompt's last token predicts both 7 and 9
    assert batch.targets.tolist() == [7, 8, 9, 2]
    assert batch.row.tolist() == [0, 0, 1, 2]
    assert batch.index.tolist() == [0, 1, 2]
    assert batch.lengths == [2, 1, 1]
    assert batch.mask is not None
    assert batch.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],  # 9 sees the prompt and itself, not 7 and 8
    ]


def test_prompts_that_begin_alike_share_a_row_by_hand() -> None:
    rollouts = [
        rollout((5, 6, 1), (7, 8)),
        rollout((5, 6), (9,)),
        rollout((5, 6, 1), (3,)),
        rollout((5, 6, 2, 4), (7,)),
    ]
    batch = collate_rows(rollouts, [[0, 1, 2, 3]], pad_id=0)
    assert batch.input_ids.tolist() == [[5, 6, 1, 7, 8, 3, 9, 2, 4, 7]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 3, 2, 2, 3, 4]]
    assert batch.index.tolist() == [0, 2, 1, 3]
    assert batch.targets.tolist() == [7, 8, 3, 9, 7]
    assert batch.select.tolist() == [2, 3, 2, 1, 8]  # 9 by the last token of the beginning, which is its whole prompt
    assert batch.mask is not None
    assert ["".join("1" if seen else "." for seen in row) for row in batch.mask[0, 0].tolist()] == [
        "1.........",
        "11........",
        "111.......",
        "1111......",
        "11111.....",
        "111..1....",
        "11....1...",
        "11.....1..",
        "11.....11.",
        "11.....111",
    ]


def test_rows_are_joined_where_a_third_of_each_is_saved_and_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minizero.learn.batching.SHORTEST", 4)
    begun = (1,) * 6
    near, far, other = (*begun, 2), (*begun, *[3] * 5), (9, *begun)
    rollouts = [rollout(prompt, (4, 4)) for prompt in (near, far, other, near)]
    assert share_prompts(rollouts, range(4), 100) == [[0, 3, 1], [2]]
    assert row_tokens(rollouts, [0, 3, 1]) == 6 + 1 + 5 + 3 * 2
    assert share_prompts(rollouts, range(4), 17) == [[0, 3], [1], [2]]
    long = [*rollouts[:1], rollout(far, (4,) * 11)]  # 6 of 22 tokens would be saved
    assert share_prompts(long, range(2), 100) == [[0], [1]]
    assert share_prompts([*rollouts[:1], rollout(far, (4,) * 7)], range(2), 100) == [[0, 1]]  # 6 of 18


def test_prompts_are_shared_only_where_they_are_longer_than_the_completions_and_fit() -> None:
    long, short = (1,) * 6, (2, 2)
    rollouts = [rollout(long, (3, 3)), rollout(short, (4, 4, 4)), rollout(long, (5,)), rollout(short, (6, 6, 6))]
    assert share_prompts(rollouts, [0, 1, 2, 3], 100) == [[0, 2], [1], [3]]
    assert share_prompts(rollouts, [0, 2], 8) == [[0], [2]]
    assert row_tokens(rollouts, [0, 2]) == 9


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=20), st.integers(1, 30))
def test_every_rollout_stands_in_one_row(shapes: list[tuple[int, int]], budget: int) -> None:
    rollouts = [rollout((9,) * prompt, (1,) * length) for prompt, length in shapes]
    rows = share_prompts(rollouts, range(len(rollouts)), budget)
    assert sorted(i for row in rows for i in row) == list(range(len(rollouts)))
    for row in rows:
        assert len({rollouts[i].completion.prompt_ids for i in row}) == 1
        assert len(row) == 1 or row_tokens(rollouts, row) <= budget


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=9), st.integers(0, 3)), max_size=20), st.integers(1, 60))
def test_every_rollout_stands_in_one_joined_row(shapes: list[tuple[str, int]], budget: int) -> None:
    rollouts = [rollout(tuple(map(ord, prompt)), (1,) * length) for prompt, length in shapes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minizero.learn.batching.SHORTEST", 1)
        rows = share_prompts(rollouts, range(len(rollouts)), budget)
    assert sorted(i for row in rows for i in row) == list(range(len(rollouts)))
    batch = collate_rows(rollouts, rows, 0) if rows else collate([], [], 0)
    assert sorted(batch.index.tolist()) == list(range(len(rollouts)))
    for row in rows:
        assert len(row) == 1 or row_tokens(rollouts, row) <= budget
    if batch.mask is None:
        return
    # What a completion token sees is its own text, in order.
    for place, number in zip(batch.completion_mask.nonzero().tolist(), batch.row.tolist(), strict=True):
        seen = batch.input_ids[place[0]][batch.mask[place[0], 0, place[1]]].tolist()
        completion = rollouts[int(batch.index[number])].completion
        assert [*completion.prompt_ids, *completion.ids][: len(seen)] == seen
        assert len(seen) == int(batch.positions[place[0], place[1]]) + 1


class Tiny(nn.Module):
    """One causal attention layer with positions, in float64: any leak of padding or order would show."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64) / 2)

        self.embed, self.place, self.mix, self.head = weight(13, 6), weight(40, 6), weight(6, 6), weight(13, 6)

    def forward(self, ids: Tensor, positions: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed[ids] + self.place[positions]
        t = ids.shape[1]
        allowed = torch.ones(t, t).tril().bool() & attention_mask[:, None, :].bool()
        scores = (x @ self.mix @ x.transpose(1, 2)).masked_fill(~allowed, -torch.inf)
        return x + torch.nan_to_num(scores.softmax(-1)) @ x  # a padded row has nothing to look at: nan -> 0


def gradient(rollouts: list[Rollout], plan: list[list[int]], config: LossConfig, pad_id: int = 0) -> Tensor:
    """The whole path of an update: weights of the batch, then micro-batches one by one; all gradients in a row."""
    model = Tiny()
    lengths = torch.tensor([len(r.completion.ids) for r in rollouts])
    advantages = torch.tensor([float(sum(r.completion.ids) % 5 - 2) for r in rollouts], dtype=torch.float64)
    groups = torch.tensor([sum(r.completion.prompt_ids) % 2 for r in rollouts])
    weights = aggregation_weights(lengths, groups, config.aggregation, config.constant_tokens).double()
    for indices in plan:
        batch = collate(rollouts, indices, pad_id)
        hidden = model(batch.input_ids, batch.positions, batch.attention_mask)
        log_probs, entropy = chunked_log_probs(hidden.flatten(0, 1)[batch.select], model.head, batch.targets, chunk=3)
        whole = batch.index[batch.row]
        old = log_probs.detach() - 0.3 * torch.sin(batch.targets.double() + 1)
        correction, _ = importance_weights(
            old, batch.sampled.double(), batch.row, config.correction, config.correction_max
        )
        loss, _ = token_loss(log_probs, old, advantages[whole], batch.row, config)
        (weights[whole] * (correction * loss - config.entropy_weight * entropy)).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


ids = st.integers(0, 12)
some_rollouts = st.lists(
    st.builds(rollout, st.tuples(ids) | st.tuples(ids, ids, ids), st.lists(ids, min_size=1, max_size=6).map(tuple)),
    min_size=2,
    max_size=6,
)
configs = st.builds(
    LossConfig,
    ratio=st.sampled_from(["token", "sequence"]),
    clip=st.sampled_from(["ppo", "clip_higher", "dual", "cispo", "none"]),
    aggregation=st.sampled_from(["group_token_mean", "token_mean", "sequence_mean", "constant"]),
    correction=st.sampled_from(["token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "none"]),
    entropy_weight=st.sampled_from([0.0, 0.01]),
)


@settings(max_examples=60, deadline=None)
@given(some_rollouts, configs, st.integers(1, 40), st.randoms(use_true_random=False))
def test_the_gradient_is_the_same_for_any_split_padding_or_order(rollouts, config, budget, random) -> None:
    whole = gradient(rollouts, [list(range(len(rollouts)))], config)
    lengths = [len(r.completion.prompt_ids) + len(r.completion.ids) for r in rollouts]
    assert torch.allclose(gradient(rollouts, plan_micro_batches(lengths, budget), config), whole, atol=1e-7)
    assert torch.allclose(gradient(rollouts, [[i] for i in range(len(rollouts))], config, pad_id=12), whole, atol=1e-7)
    order = random.sample(range(len(rollouts)), len(rollouts))
    assert torch.allclose(gradient([rollouts[i] for i in order], [list(range(len(order)))], config), whole, atol=1e-7)


def test_log_probabilities_are_those_of_the_model_read_token_by_token() -> None:
    rollouts = [rollout((3, 1), (4, 1, 5)), rollout((9,), (2, 6, 5, 3, 5))]
    model, batch = Tiny(), collate(rollouts, [0, 1], 0)
    hidden = model(batch.input_ids, batch.positions, batch.attention_mask)
    ours = chunked_log_probs(hidden.flatten(0, 1)[batch.select], model.head, batch.targets)[0].tolist()
    expected = []
    for r in rollouts:
        for t, token in enumerate(r.completion.ids):
            seen = torch.tensor([[*r.completion.prompt_ids, *r.completion.ids[:t]]])  # exactly what came before
            last = model(seen, torch.arange(seen.shape[1])[None], torch.ones_like(seen))[0, -1]
            expected.append((model.head @ last).log_softmax(0)[token].item())
    assert ours == pytest.approx(expected)
