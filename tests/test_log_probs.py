"""Chunked log-probabilities: equal to the naive ones in value and gradient, without tokens x vocabulary in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minizero.learn.log_probs import CHUNK_LOGITS, chunked_log_probs, head_log_probs

# T tokens, h hidden size, V vocabulary


def naive(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    log_p = (hidden @ weight.T / temperature).log_softmax(-1)
    return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def case(t: int = 7, h: int = 5, v: int = 11, dtype: torch.dtype = torch.float32, trained: bool = True):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(t, h, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(v, h, generator=generator, dtype=dtype).requires_grad_(trained)
    return hidden, weight, torch.randint(v, (t,), generator=generator)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([0.6, 1.0, 1.7]), st.floats(-1, 1), st.floats(-1, 1))
def test_value_and_gradient_equal_the_naive_ones(t: int, chunk: int, temperature: float, a: float, b: float) -> None:
    hidden, weight, targets = case(t)
    results = []
    for function in (naive, lambda *args: chunked_log_probs(*args, chunk=chunk)):
        log_probs, entropy = function(hidden, weight, targets, temperature)
        weighted = (a * log_probs * torch.arange(1, t + 1)).sum() + (b * entropy).sum()
        results.append((log_probs, entropy, *torch.autograd.grad(weighted, (hidden, weight))))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_masked_tokens_have_no_probability_and_the_others_share_it(temperature: float) -> None:
    hidden, weight, _ = case(6)
    targets, masked = torch.tensor([0, 2, 4, 5, 7, 9]), torch.tensor([1, 3, 10])
    kept = torch.tensor([0, 2, 4, 5, 6, 7, 8, 9])
    theirs = naive(hidden, weight[kept], torch.tensor([0, 1, 2, 3, 5, 7]), temperature)
    matrix = chunked_log_probs(hidden, weight, targets, temperature, 4, masked)
    head = head_log_probs(hidden, lambda x: x @ weight.T, [weight], targets, temperature, 4, masked)
    for ours in (matrix, head):
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.allclose(mine, other, atol=1e-5)
        gradients = [torch.autograd.grad(sum(map(torch.sum, result)), (hidden, weight)) for result in (ours, theirs)]
        for mine, other in zip(*gradients, strict=True):
            assert torch.allclose(mine, other, atol=1e-5)
            assert mine.abs().sum() > 0
        theirs = naive(hidden, weight[kept], torch.tensor([0, 1, 2, 3, 5, 7]), temperature)  # its graph is used up


def test_gradients_are_those_of_finite_differences() -> None:
    hidden, weight, targets = case(3, 2, 4, torch.float64)
    assert torch.autograd.gradcheck(lambda h, w: chunked_log_probs(h, w, targets, 0.8, 2), (hidden, weight))


@pytest.mark.parametrize("use", ["log_probs", "entropy"])
def test_either_output_may_be_used_alone(use: str) -> None:
    hidden, weight, targets = case()
    i = ["log_probs", "entropy"].index(use)
    ours = torch.autograd.grad(chunked_log_probs(hidden, weight, targets, chunk=3)[i].sum(), hidden)[0]
    theirs = torch.autograd.grad(naive(hidden, weight, targets)[i].sum(), hidden)[0]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight, targets = case(trained=False)
    chunked_log_probs(hidden, weight, targets)[0].sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_equal_logits_give_minus_ln_v_and_entropy_ln_v() -> None:
    log_probs, entropy = chunked_log_probs(torch.zeros(1, 1), torch.randn(8, 1), torch.tensor([3]))
    assert float(log_probs[0]) == pytest.approx(-math.log(8))
    assert float(entropy[0]) == pytest.approx(math.log(8))


def test_extreme_logits_stay_finite() -> None:
    hidden = torch.tensor([[1.0]], requires_grad=True)
    weight = torch.tensor([[300.0], [0.0], [-300.0]])
    log_probs, entropy = chunked_log_probs(hidden, weight, torch.tensor([2]))
    (log_probs + entropy).sum().backward()
    assert log_probs.tolist() == [-600.0]
    assert entropy.tolist() == [0.0]
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[-600.0]]  # the weight of the target less the mean weight


def test_no_tokens_give_nothing() -> None:
    log_probs, entropy = chunked_log_probs(torch.zeros(0, 4), torch.zeros(6, 4), torch.zeros(0, dtype=torch.long))
    assert (len(log_probs), len(entropy)) == (0, 0)


def test_bfloat16_states_give_float32_log_probabilities_near_the_exact_ones() -> None:
    hidden, weight, targets = case(64, 32, 100)
    low = chunked_log_probs(hidden.bfloat16(), weight, targets, chunk=10)[0]
    assert low.dtype == torch.float32
    exact = naive(hidden.bfloat16().float(), weight.bfloat16().float(), targets)[0]
    assert float((low - exact).detach().abs().mean()) < 0.02


class LargestTensor(TorchDispatchMode):
    """Records the largest number of elements that any operation returned, and how many are matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.largest, self.products = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        self.products += "mm" in str(func)
        for item in result if isinstance(result, tuple) else (result,):
            if isinstance(item, Tensor):
                self.largest = max(self.largest, item.numel())
        return result


def largest(function: Callable[..., tuple[Tensor, Tensor]], t: int, v: int) -> tuple[int, int, int]:
    """(largest tensor made, elements saved for the backward pass beside the head, matrix products) in a forward and
    backward pass with a frozen head."""
    hidden, weight, targets = case(t, 4, v, trained=False)
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with LargestTensor() as mode, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_probs, entropy = function(hidden, weight, targets)
        (log_probs.sum() + entropy.sum()).backward()
    saved.pop(weight.untyped_storage().data_ptr(), None)
    return mode.largest, sum(saved.values()), mode.products


def test_memory_does_not_grow_with_tokens_times_vocabulary() -> None:
    def chunked(h: Tensor, w: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return chunked_log_probs(h, w, t, chunk=8)

    v = 1000
    for t in (64, 512):
        made, saved, _ = largest(chunked, t, v)
        assert made <= max(8 * v, t * 4)  # a chunk of logits, or the hidden states
        assert saved == t * 4 + 3 * t  # hidden states, and targets, normaliser and entropy of each token
    assert largest(naive, 512, v)[0] >= 512 * v  # the measure does see what the naive way allocates


def test_the_default_chunk_keeps_logits_bounded_for_any_vocabulary() -> None:
    assert CHUNK_LOGITS // 151_936 == 441  # Qwen2.5's vocabulary: 441 rows, 256 MiB in float32


# -- a frozen head without an entropy bonus: the gradient is known in the forward pass --


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([0.6, 1.0, 1.7]), st.booleans(), st.booleans())
def test_a_frozen_heads_gradient_is_the_same_without_that_of_the_entropy(
    t: int, chunk: int, temperature: float, capped: bool, some_masked: bool
) -> None:
    hidden, weight, targets = case(t, dtype=torch.float64, trained=False)
    masked = (
        torch.tensor([i for i in (0, 4, 7) if i not in targets.tolist()], dtype=torch.long) if some_masked else None
    )
    head = soft_capped(weight, torch.linspace(-1, 1, 11, dtype=torch.float64))
    rest = (targets, temperature, chunk, masked)
    results = []
    for wanted in (True, False):
        if capped:
            log_probs, entropy = head_log_probs(hidden, head, (), *rest, entropy_gradient=wanted)
        else:
            log_probs, entropy = chunked_log_probs(hidden, weight, *rest, entropy_gradient=wanted)
        assert entropy.requires_grad is wanted
        (gradient,) = torch.autograd.grad((log_probs * torch.linspace(-1, 2, t)).sum(), hidden)
        results.append((log_probs, entropy, gradient))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("wanted", "kept", "products"), [(False, 4, 2), (True, 4 + 3, 3)])
def test_it_computes_each_logit_once_and_keeps_one_hidden_state_a_token(wanted: bool, kept: int, products: int) -> None:
    found = largest(lambda *given: chunked_log_probs(*given, chunk=8, entropy_gradient=wanted), 64, 1000)
    assert found == (8 * 1000, 64 * kept, products * 64 // 8)


def test_a_trained_head_learns_without_the_entropys_gradient_too() -> None:
    hidden, weight, targets = case()
    ours, entropy = chunked_log_probs(hidden, weight, targets, chunk=3, entropy_gradient=False)
    theirs = naive(hidden, weight, targets)[0]
    assert not entropy.requires_grad
    for mine, other in zip(*(torch.autograd.grad(x.sum(), (hidden, weight)) for x in (ours, theirs)), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("entropy_gradient", [True, False])
def test_bfloat16_gradients_are_as_near_the_exact_ones_either_way(entropy_gradient: bool) -> None:
    hidden, weight, targets = case(64, 32, 100, trained=False)
    low = hidden.detach().bfloat16().requires_grad_()
    chunked_log_probs(low, weight.bfloat16(), targets, chunk=10, entropy_gradient=entropy_gradient)[0].sum().backward()
    exact = low.detach().float().requires_grad_()
    naive(exact, weight.bfloat16().float(), targets)[0].sum().backward()
    assert low.grad is not None
    assert exact.grad is not None
    assert float((low.grad.float() - exact.grad).abs().max() / exact.grad.abs().max()) < 0.01


def test_where_nothing_is_differentiated_no_gradient_is_made() -> None:
    hidden, weight, targets = case(trained=False)
    with torch.no_grad(), LargestTensor() as mode:
        chunked_log_probs(hidden.detach(), weight, targets, chunk=7, entropy_gradient=False)
    assert mode.products == 1


# -- heads that are more than a matrix --


def soft_capped(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda hidden: 2 * torch.tanh((hidden @ weight.T + bias) / 3)


@pytest.mark.parametrize("chunk", [1, 3, 20])
def test_any_head_has_the_value_and_gradient_of_the_naive_one(chunk: int) -> None:
    hidden, weight, targets = case(9, dtype=torch.float64)
    bias = torch.linspace(-1, 1, 11, dtype=torch.float64).requires_grad_()
    head = soft_capped(weight, bias)

    def whole(hidden: Tensor) -> tuple[Tensor, Tensor]:
        log_p = (head(hidden) / 0.7).log_softmax(-1)
        return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)

    results = []
    for log_probs, entropy in (whole(hidden), head_log_probs(hidden, head, (weight, bias), targets, 0.7, chunk)):
        weighted = (log_probs * torch.arange(1, 10)).sum() - 0.3 * entropy.sum()
        results.append((log_probs, entropy, *torch.autograd.grad(weighted, (hidden, weight, bias))))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-10)


def test_a_head_that_is_a_matrix_gives_the_same_either_way() -> None:
    hidden, weight, targets = case(7)
    direct = chunked_log_probs(hidden, weight, targets, 1.3, 2)
    for ours, theirs in zip(
        head_log_probs(hidden, lambda h: h @ weight.T, (weight,), targets, 1.3, 2), direct, strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_of_a_frozen_head_the_hidden_states_alone_get_a_gradient() -> None:
    hidden, weight, targets = case(trained=False)
    log_probs, _ = head_log_probs(hidden, lambda h: h @ weight.T + 1, (), targets, 1.0, 4)
    log_probs.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None
