"""The transformers sampler: what it returns is what the model says, whatever the batch looked like."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minizero.config.schema import ModelConfig
from minizero.models.load import LoadedModel, load
from minizero.rollout import transformers
from minizero.rollout.cache import BatchCache
from minizero.rollout.decode import PaddedRows
from minizero.rollout.protocol import drain
from minizero.rollout.scripted import ScriptedSampler
from minizero.rollout.transformers import TransformersSampler, choose_tokens, uniform
from minizero.types import Completion, Message, ModelError, Prompt, Request


@pytest.fixture(scope="module")
def loaded(random_model: Path) -> LoadedModel:
    return load(ModelConfig(name=str(random_model), dtype="float32", device="cpu"))


def request(name: str, text: str, **settings: Any) -> Request:
    return Request(name, Prompt((Message("user", text),)), **({"max_tokens": 12, "seed": len(text)} | settings))


def run(loaded: LoadedModel, requests: list[Request], **settings: Any) -> dict[tuple[str, int], Completion]:
    sampler = TransformersSampler(loaded.model, loaded.tokenizer, **settings)
    for item in requests:
        sampler.submit(item)
    return {(c.request_id, c.index): c for c in drain(sampler)}


MIXED = [request(f"r{i}", "ab" * (1 + 5 * (i % 4)), n=1 + i % 3, max_tokens=6 + 3 * i) for i in range(8)]


def test_log_probs_are_those_of_a_plain_forward_pass(loaded: LoadedModel) -> None:
    long = [request(f"long{i}", "abc" * i, max_tokens=100 + 20 * i) for i in (1, 2, 3)]
    for completion in run(loaded, [*MIXED, *long]).values():
        ids = torch.tensor([completion.prompt_ids + completion.ids])
        expected = torch.log_softmax(loaded.model(input_ids=ids).logits[0].float(), dim=-1)
        start = len(completion.prompt_ids)
        for place, (token, value) in enumerate(zip(completion.ids, completion.log_probs, strict=True)):
            assert value == pytest.approx(expected[start + place - 1, token].item(), abs=2e-4)


def _alike(beginning: str) -> list[Request]:
    """Prompts that begin alike for 70 to 90 tokens, one that is a part of another, and short ones between them."""
    texts = ["x", "x", "yz" * 9, "", "x" * 20]
    alike = [request(f"{beginning[0]}{i}", beginning + text, n=1 + i % 2, max_tokens=9) for i, text in enumerate(texts)]
    return [*alike[:2], request(f"{beginning[0]}-short", beginning[:4]), *alike[2:]]


def test_what_prompts_begin_with_is_read_once_and_changes_no_log_prob(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _alike("ab" * 35), _alike("cd" * 45)
    read: list[int] = []
    forward = loaded.model.model.forward

    def counted(*given: Any, **named: Any) -> Any:
        read.append(named["input_ids"].numel())
        return forward(*given, **named)

    monkeypatch.setattr(loaded.model.model, "forward", counted)
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    read.clear()
    for item in first:
        sampler.submit(item)
    found = list(drain(sampler))
    for item in second:  # these come when the others have ended: what they begin with is new
        sampler.submit(item)
    found += drain(sampler)
    once = sum(read)
    monkeypatch.setattr("minizero.rollout.beginnings.SHORTEST", 10_000)
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    read.clear()
    for item in first + second:
        sampler.submit(item)
    plain = {(c.request_id, c.index): c for c in drain(sampler)}
    assert once < 0.65 * sum(read)
    assert len(found) == len(plain)
    for completion in found:
        expected = plain[completion.request_id, completion.index]
        assert completion.ids == expected.ids
        assert completion.log_probs == pytest.approx(expected.log_probs, abs=2e-4)


def test_prompts_that_begin_each_in_its_own_way_are_read_together_and_not_kept(loaded: LoadedModel) -> None:
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    sizes = []

    def prefilled(self: Any, prompts: Any, pad_id: int) -> Any:
        sizes.append([len(ids) for ids in prompts])
        return prefill(self, prompts, pad_id)

    prefill = PaddedRows.prefill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaddedRows, "prefill", prefilled)
        for i in range(12):
            sampler.submit(request(f"o{i}", chr(97 + i) * 70, max_tokens=2))
        list(drain(sampler))
        assert sizes == [[70] * 12]
        for i in range(12):  # now they come again: the beginnings of the last are kept
            sampler.submit(request(f"o{i}", chr(97 + i) * 70 + "x", max_tokens=2))
        list(drain(sampler))
    assert sum(len(lengths) == 1 and lengths[0] == 70 for lengths in sizes) == 12
    assert len(sampler._beginnings._kept) == 8


def test_what_was_read_is_read_again_when_the_weights_have_changed(loaded: LoadedModel) -> None:
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    head = loaded.model.model.layers[0].self_attn.v_proj.weight
    found = []
    for change in (sampler.release, lambda: sampler.load(None)):
        sampler.submit(request("r", "ab" * 40))
        found += drain(sampler)
        change()
        with torch.no_grad():
            head.neg_()
    sampler.submit(request("r", "ab" * 40))
    found += drain(sampler)
    assert found[0] == found[2]
    assert found[0].ids != found[1].ids
    (plain,) = run(loaded, [request("r", "ab" * 40)]).values()
    assert found[0] == plain


def test_the_same_requests_give_the_same_completions_bit_for_bit(loaded: LoadedModel) -> None:
    assert run(loaded, MIXED) == run(loaded, MIXED)


def test_the_size_of_the_batch_does_not_change_what_is_written(loaded: LoadedModel) -> None:
    wide, narrow = run(loaded, MIXED), run(loaded, MIXED, max_rows=3)
    assert {k: c.ids for k, c in wide.items()} == {k: c.ids for k, c in narrow.items()}


def test_a_limit_on_the_cache_only_makes_the_batch_smaller(loaded: LoadedModel) -> None:
    assert {k: c.ids for k, c in run(loaded, MIXED, max_cache_tokens=60).items()} == {
        k: c.ids for k, c in run(loaded, MIXED).items()
    }


def test_greedy_completions_take_the_likeliest_token(loaded: LoadedModel) -> None:
    (completion,) = run(loaded, [request("g", "abc", temperature=0.0)]).values()
    ids = list(completion.prompt_ids)
    for token in completion.ids:
        assert token == loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item()
        ids.append(token)


def test_generation_ends_at_eos_and_keeps_it(loaded: LoadedModel) -> None:
    found = run(loaded, [request("e", "xyz", n=60, max_tokens=200)])
    ended = [c for c in found.values() if c.finish == "stop"]
    assert ended
    assert all(c.ids[-1] == 256 and 256 not in c.ids[:-1] for c in ended)
    assert all("<eos>" not in c.text for c in ended)


def test_generation_ends_at_each_of_several_eos_tokens(loaded: LoadedModel) -> None:
    many = replace(loaded, tokenizer=replace(loaded.tokenizer, eos_ids=(5, 77, 256)))
    found = list(run(many, [request("a", "xyz", n=64, max_tokens=60)]).values())
    ended = [c for c in found if c.finish == "stop"]
    assert {c.ids[-1] for c in ended} >= {5, 77}
    assert all(set(c.ids[:-1]).isdisjoint((5, 77, 256)) for c in found)
    assert all(c.ids[-1] in (5, 77, 256) for c in ended)


def test_padding_with_the_eos_token_changes_nothing(loaded: LoadedModel) -> None:
    own = replace(loaded, tokenizer=replace(loaded.tokenizer, pad_id=256))
    assert run(own, MIXED) == run(loaded, MIXED)


def test_generation_ends_after_a_stop_string(loaded: LoadedModel) -> None:
    free = run(loaded, [request("s", "abc", n=12, max_tokens=40)])
    stop = next(symbol for c in free.values() for symbol in c.text[2:-2] if symbol.isascii())
    held = run(loaded, [Request("s", Prompt((Message("user", "abc"),), stop=(stop,)), 40, 3, n=12)])
    cut = [place for place in held if stop in free[place].text]
    assert cut
    for place in cut:
        assert held[place].finish == "stop"
        assert held[place].text.index(stop) == len(held[place].text) - 1
        assert held[place].ids == free[place].ids[: len(held[place].ids)]


def test_the_token_limit_is_told(loaded: LoadedModel) -> None:
    found = run(loaded, [request("l", "abc", n=8, max_tokens=1)])
    assert {c.finish for c in found.values()} <= {"length", "stop"}
    assert all(len(c.ids) == 1 for c in found.values())


def test_requests_enter_at_once_while_others_decode(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "POLL_S", 0.0)  # one token a poll
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    sampler.submit(request("first", "ab", max_tokens=60))
    assert sampler.poll() == []
    second = request("second", "abcdefgh" * 9, max_tokens=2)  # one token on entering, one in the poll
    sampler.submit(second)
    (found,) = sampler.poll()
    assert found.ids == run(loaded, [second])["second", 0].ids
    assert [c.request_id for c in drain(sampler)] == ["first"]


def test_rows_leave_and_enter_a_quarter_of_the_batch_at_a_time(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, joined, select, join = [], [], BatchCache.select, BatchCache.join

    def selected(cache: BatchCache, rows: torch.Tensor) -> None:
        if len(rows) < cache.rows:
            dropped.append(1 - len(rows) / cache.rows)
        select(cache, rows)

    def entered(cache: BatchCache, others: list[BatchCache]) -> None:
        joined.append(sum(other.rows for other in others))
        join(cache, others)

    monkeypatch.setattr(BatchCache, "select", selected)
    monkeypatch.setattr(BatchCache, "join", entered)
    requests = [request(f"q{i:02d}", "ab" * (1 + i % 5), max_tokens=3 + 2 * (i % 9)) for i in range(40)]
    assert len(run(loaded, requests, max_rows=16)) == 40
    assert dropped
    assert all(share >= 0.25 for share in dropped)
    assert joined[0] == 16
    assert all(rows >= 4 for rows in joined[:-1])


def test_what_has_ended_is_pending_no_more(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "POLL_S", 0.0)  # one token a poll
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    for item in MIXED:
        sampler.submit(item)
    asked, done = sampler.pending, list[Completion]()
    while sampler.pending:
        done += sampler.poll()
        assert sampler.pending == asked - len(done)
    assert len({(c.request_id, c.index) for c in done}) == len(done) == asked


def test_switching_off_an_adapter_that_is_not_there_is_an_error(loaded: LoadedModel) -> None:
    with pytest.raises(ModelError, match="needs an adapter"):
        TransformersSampler(loaded.model, loaded.tokenizer).submit(request("x", "a", adapter=False))


def test_the_adapter_is_switched_between_batches(loaded: LoadedModel) -> None:
    off = []

    def adapter_off() -> Any:
        off.append(True)
        return nullcontext()

    requests = [request("on", "ab", n=3), request("off", "abc", n=2, adapter=False), request("again", "a")]
    assert len(run(loaded, requests, adapter_off=adapter_off)) == 6
    assert off


def test_usage_counts_tokens(loaded: LoadedModel) -> None:
    sampler = TransformersSampler(loaded.model, loaded.tokenizer)
    for item in MIXED:
        sampler.submit(item)
    found = list(drain(sampler))
    usage = sampler.take_usage()
    assert usage["prompt_tokens"] == sum(len(item.prompt.messages[0].content) for item in MIXED)
    assert usage["completion_tokens"] == sum(len(c.ids) for c in found)
    assert sampler.take_usage()["completion_tokens"] == 0


def test_sampled_frequencies_follow_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -20.0]).expand(40_000, 4)
    u = uniform(torch.arange(40_000), torch.zeros(40_000, dtype=torch.long))
    ids, log_probs = choose_tokens(logits, torch.full((40_000,), 2.0), torch.ones(40_000), u)
    expected = torch.softmax(logits[0] / 2, dim=-1)
    assert torch.allclose(torch.bincount(ids, minlength=4) / 40_000, expected, atol=0.01)
    assert torch.allclose(log_probs, expected.log()[ids], atol=1e-6)


def test_top_p_never_draws_from_the_tail() -> None:
    logits = torch.tensor([3.0, 2.0, 0.0, 0.0]).expand(5_000, 4)  # probabilities 0.67, 0.25, 0.03, 0.03
    u = uniform(torch.arange(5_000), torch.zeros(5_000, dtype=torch.long))
    ids, _ = choose_tokens(logits, torch.ones(5_000), torch.full((5_000,), 0.8), u)
    assert set(ids.tolist()) == {0, 1}


def test_streams_are_uniform_and_differ_by_stream_and_position() -> None:
    values = uniform(torch.arange(200_000) % 1000, torch.arange(200_000) // 1000)
    assert values.unique().numel() == 200_000
    assert abs(values.mean().item() - 0.5) < 0.003
    assert values.min() >= 0
    assert values.max() < 1


def test_the_scripted_sampler_answers_by_its_script() -> None:
    sampler = ScriptedSampler(lambda r, i: f"{r.id}{i}")
    sampler.submit(request("a", "x", n=2))
    assert [c.text for c in drain(sampler)] == ["a0", "a1"]
