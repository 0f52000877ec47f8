"""Attention as a model asks for it: the fast path, what it hands over, and masks by position."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from minizero.models import attention
from minizero.models.attention import Rows, attend, layout, masks_for_rows, recording
from minizero.types import ModelError


def states(queries: int, keys: int, *, heads: int = 4, shared: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((heads, queries, 8), (heads // shared, keys, 8), (heads // shared, keys, 6))
    return tuple(torch.randn(2, *shape, generator=generator) for shape in shapes)


def by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """softmax(q k / sqrt(D)) v over the allowed keys, [B, Q, H, D]."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    scores = (query @ key.transpose(2, 3) / 8**0.5).masked_fill(~allowed, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 7)])
def test_the_fast_path_is_attention_with_shared_heads_and_values_of_another_width(queries: int, keys: int) -> None:
    query, key, value = states(queries, keys)
    allowed = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    out, _ = attend(SimpleNamespace(is_causal=True), query, key, value, None)
    assert torch.allclose(out, by_hand(query, key, value, allowed), atol=1e-6)


def test_a_mask_that_differs_by_head_is_kept_while_decoding() -> None:
    query, key, value = states(1, 7)
    allowed = torch.rand(2, 4, 1, 7, generator=torch.Generator().manual_seed(1)) > 0.3
    out, _ = attend(SimpleNamespace(), query, key, value, allowed)
    assert torch.allclose(out, by_hand(query, key, value, allowed), atol=1e-6)


def test_an_image_encoder_is_not_made_causal() -> None:
    query, key, value = states(5, 5)
    everything = torch.ones(5, 5, dtype=torch.bool)
    for module, said in ((SimpleNamespace(is_causal=False), {}), (SimpleNamespace(), {"is_causal": False})):
        out, _ = attend(module, query, key, value, None, **said)
        assert torch.allclose(out, by_hand(query, key, value, everything), atol=1e-6)


def test_what_the_fast_path_does_not_know_goes_to_the_models_own_function(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def own(module: Any, query: Any, key: Any, value: Any, mask: Any, **asked: Any) -> tuple[Any, None]:
        seen.update(mask=mask, **asked)
        return value, None

    class Layer:
        is_causal = True

    query, key, value = states(3, 3)
    with pytest.raises(ModelError, match="Layer asks its attention for softcap, which minizero does not compute"):
        attend(Layer(), query, key, value, None, scaling=0.5, softcap=50.0, sliding_window=4)
    monkeypatch.setitem(globals(), "eager_attention_forward", own)  # of the file that the layer comes from
    attend(Layer(), query, key, value, None, scaling=0.5, softcap=50.0, sliding_window=4)
    assert (seen["softcap"], seen["sliding_window"], seen["scaling"]) == (50.0, 4, 0.5)
    assert (seen["mask"][0, 0] == 0).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def ask(window: int | None, queries: int, keys: int) -> torch.Tensor:
    """The mask that transformers would ask for, of a layer with this window (None: all before)."""
    from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

    function = causal_mask_function if window is None else sliding_window_causal_mask_function(window)
    given = {"batch_size": 1, "q_length": queries, "kv_length": keys, "local_size": window, "device": "cpu"}
    made = masks_for_rows(function, **given, allow_is_causal_skip=False)
    assert made is not None
    return made


def test_a_window_counts_positions_in_a_row_of_two_completions() -> None:
    segment = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4]])
    visible = torch.ones(7, 7, dtype=torch.bool).tril() & ((segment[:, None] == segment[None]) | (segment[None] == 0))
    with layout(Rows(visible[None, None], positions, positions)):
        mask = ask(3, 7, 7)
    # The last token stands in column 6 at position 4: it sees positions 2, 3 and 4 of the prompt and of itself.
    assert mask[0, 0, 6].tolist() == [False, False, True, False, False, True, True]
    assert mask[0, 0, 3].tolist() == [False, True, True, True, False, False, False]


def test_outside_a_layout_masks_are_those_of_transformers() -> None:
    assert ask(2, 3, 3)[0, 0].tolist() == [[True, False, False], [True, True, False], [False, True, True]]


def test_a_model_is_plain_when_every_layer_sees_all_before_it() -> None:
    with recording() as seen:
        everything, window = ask(None, 3, 3), ask(100, 3, 3)
        for mask in (everything, everything):
            attend(SimpleNamespace(), *states(3, 3), mask)
        assert seen.is_plain
        attend(SimpleNamespace(), *states(3, 3), window)  # wider than the row, and still a window
        assert not seen.is_plain
    assert attention._recorder is None
