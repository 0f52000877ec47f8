"""Sampling resumes: nothing is drawn twice, a larger n keeps what is there, torn lines are drawn anew."""

from __future__ import annotations

import json
import math
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from minizero.evaluation.evaluate import Options, _sampled, evaluate, load_suites, open_directory
from minizero.evaluation.generate import SamplingSettings, generate, load_samples
from minizero.evaluation.subject import Subject, find_subject
from minizero.evaluation.suites import suite
from minizero.learn.ranks import Ranks
from minizero.models.adapter import adapter_layers
from minizero.report.console import Console
from minizero.rollout.scripted import ScriptedSampler
from minizero.types import Completion, EvaluationError, Request, Rollout
from tests.test_progress import Slow, Told
from tests.thread_ranks import Threads

PLAN = SamplingSettings(("cruxeval-o",), "direct", 3, limit=2)
SUBJECT = Subject("made", "made")


class Dying(ScriptedSampler):
    """Gives one completion a poll and dies after some."""

    def __init__(self, after: int) -> None:
        super().__init__(lambda request, index: " 1\n", per_poll=1)
        self.after, self.asked = after, list[Request]()

    def submit(self, request: Request) -> None:
        self.asked.append(request)
        super().submit(request)

    def poll(self) -> list[Completion]:
        if not self.after:
            raise KeyboardInterrupt
        self.after -= 1
        return super().poll()


def test_an_interrupted_sampling_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    chosen = suite("cruxeval-o")
    loaded = [(chosen, chosen.load(data)[:2])]
    path = tmp_path / "samples.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(PLAN, loaded, ("base",), Dying(5), path)
    assert len(load_samples(path)) == 5
    with path.open("a") as file:
        file.write('{"suite": "cruxeval-o", "task": "samp')
    last = Dying(99)
    assert generate(PLAN, loaded, ("base",), last, path) == 3
    assert len(load_samples(path)) == 2 * (1 + 3)
    assert sum(request.n for request in last.asked) == 3


def test_ranks_share_the_sampling_and_the_first_has_all_of_it(data: Path, tmp_path: Path) -> None:
    chosen = suite("cruxeval-o")
    loaded = [(chosen, chosen.load(data)[:4])]
    alone, shared = tmp_path / "alone.jsonl", tmp_path / "samples.jsonl"
    generate(PLAN, loaded, ("base",), Dying(99), alone)
    samplers = [Dying(99), Dying(99)]
    counts = Threads(2).each(
        lambda ranks: generate(PLAN, loaded, ("base",), samplers[ranks.number], shared, ranks=ranks)
    )
    assert load_samples(shared) == load_samples(alone)
    assert [sum(request.n for request in sampler.asked) for sampler in samplers] == counts == [8, 8]
    assert [path.name for path in tmp_path.iterdir() if path != alone] == ["samples.jsonl"]


def test_what_a_rank_sampled_before_all_were_killed_is_kept(data: Path, tmp_path: Path) -> None:
    class Second(Ranks):
        def given(self, value: Any) -> Any:
            return value

        def gather(self, value: Any) -> list[Any]:
            raise KeyboardInterrupt

    loaded = load_suites(PLAN, data)
    open_directory(tmp_path, SUBJECT, PLAN, loaded)
    with pytest.raises(KeyboardInterrupt):
        generate(PLAN, loaded, ("base",), Dying(99), tmp_path / "samples.jsonl", ranks=Second(1, 2))
    kept = load_samples(tmp_path / "samples.rank-1.jsonl")
    rest = Dying(99)
    evaluate(SUBJECT, PLAN, tmp_path, Console(), Options(data), sampler=rest)
    assert sum(request.n for request in rest.asked) == 2 * (1 + 3) - len(kept)
    assert kept.items() <= load_samples(tmp_path / "samples.jsonl").items()
    assert not list(tmp_path.glob("samples.rank-*"))


def test_more_samples_reuse_those_there_are_with_streams_of_their_own(data: Path, tmp_path: Path) -> None:
    chosen = suite("cruxeval-o")
    loaded = [(chosen, chosen.load(data)[:2])]
    path = tmp_path / "samples.jsonl"
    first, second = Dying(99), Dying(99)
    generate(PLAN, loaded, ("base",), first, path)
    more = SamplingSettings(("cruxeval-o",), "direct", 5, limit=2)
    assert generate(more, loaded, ("base",), second, path) == 4
    assert not {r.seed for r in first.asked} & {r.seed for r in second.asked}


def test_both_sides_are_asked_the_same_with_the_same_dice(data: Path, tmp_path: Path) -> None:
    chosen = suite("cruxeval-o")
    sampler = Dying(99)
    generate(PLAN, [(chosen, chosen.load(data)[:1])], ("base", "trained"), sampler, tmp_path / "samples.jsonl")
    base, trained = ([r for r in sampler.asked if r.adapter is on] for on in (False, True))
    assert [(r.prompt, r.seed, r.n) for r in base] == [(r.prompt, r.seed, r.n) for r in trained]
    assert [r.temperature for r in base] == [0.0, 0.6]


def test_right_and_wrong_answers_are_counted_and_a_second_start_samples_nothing(data: Path, tmp_path: Path) -> None:
    problems = suite("cruxeval-o").load(data)[:2]

    def script(request: Request, index: int) -> str:
        return f" {problems[0].solution}\n" if index < 2 else " None\n"

    done = evaluate(SUBJECT, PLAN, tmp_path / "e", Console(), Options(data), sampler=ScriptedSampler(script))
    scores = done.scores["cruxeval-o"]["base"]
    assert (scores.greedy, scores.correct) == ([1, 0], [2, 0])
    again = evaluate(SUBJECT, PLAN, tmp_path / "e", Console(), Options(data), sampler=Dying(0))
    assert again.scores == done.scores


def test_a_directory_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    open_directory(tmp_path / "e", SUBJECT, PLAN)
    with pytest.raises(EvaluationError, match="another style"):
        open_directory(tmp_path / "e", SUBJECT, SamplingSettings(("cruxeval-o",), "chat", 3, limit=2))
    with pytest.raises(EvaluationError, match="another model"):
        open_directory(tmp_path / "e", Subject("b", "b"), PLAN)
    open_directory(tmp_path / "e", SUBJECT, SamplingSettings(("cruxeval-o",), "direct", 64, limit=2))


def test_samples_of_foreign_tasks_are_refused(data: Path, tmp_path: Path) -> None:
    row = {"suite": "cruxeval-o", "task": "foreign", "side": "base", "draw": "greedy", "sample": 0}
    open_directory(tmp_path / "e", SUBJECT, PLAN)
    (tmp_path / "e" / "samples.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(EvaluationError, match=r"cruxeval-o/foreign"):
        evaluate(SUBJECT, PLAN, tmp_path / "e", Console(), Options(data), sampler=Dying(0))


def test_a_line_that_is_no_sample_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"suite": "x"}\n')
    with pytest.raises(EvaluationError, match="line 1: no sample"):
        load_samples(tmp_path / "samples.jsonl")


def test_a_run_without_checkpoints_has_nothing_to_evaluate(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(EvaluationError, match="without checkpoints"):
        find_subject(str(tmp_path))


@pytest.fixture(scope="module")
def adapter(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the random model whose B is not 0, so that it changes what is said."""
    import torch

    from minizero.config import load_config
    from minizero.learn.policy import Policy

    config = load_config([], [f"model.name={str(random_model)!r}", "adapter.rank=4", "adapter.alpha=8"])
    policy = Policy(config)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    path = tmp_path_factory.mktemp("adapter")
    policy.save_adapter(path)
    return path / "adapter"


def test_an_adapter_is_evaluated_beside_its_base_in_one_engine(data: Path, adapter: Path, tmp_path: Path) -> None:
    plan = SamplingSettings(("cruxeval-o",), "direct", 2, max_tokens=4, limit=2)
    found = find_subject(str(adapter))
    assert found.sides == ("base", "trained")
    done = evaluate(found, plan, tmp_path / "e", Console(), Options(data))
    texts = {side: [row.text for row in done.rows if row.side == side and row.draw == "greedy"] for side in found.sides}
    assert texts["base"] != texts["trained"]
    surprise = json.loads((tmp_path / "e" / "perplexity.json").read_text())
    assert surprise["base"]["base"] < surprise["base"]["trained"]
    assert surprise["trained"]["trained"] < surprise["trained"]["base"]


def test_a_kill_after_sampling_does_not_lose_the_perplexities(
    data: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minizero.evaluation import perplexity

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    plan, found = SamplingSettings(("cruxeval-o",), "direct", 2, max_tokens=4, limit=2), find_subject(str(adapter))
    with monkeypatch.context() as patch:
        patch.setattr(perplexity, "cross_perplexity", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(found, plan, tmp_path / "e", Console(), Options(data))
    sampled = (tmp_path / "e" / "samples.jsonl").read_text()
    evaluate(found, plan, tmp_path / "e", Console(), Options(data))
    assert (tmp_path / "e" / "samples.jsonl").read_text() == sampled
    assert set(json.loads((tmp_path / "e" / "perplexity.json").read_text())) == {"base", "trained"}


def test_perplexities_tell_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from minizero.evaluation import perplexity

    class Coin:
        adapter_off = nullcontext

        def log_probs(self, rollouts: list[Rollout]) -> list[torch.Tensor]:
            return [torch.full((len(rollout.completion.ids),), -math.log(2)) for rollout in rollouts]

    def row(length: int) -> dict[str, object]:
        return {"side": "base", "draw": "sampled", "prompt_ids": [0], "ids": [1] * length}

    monkeypatch.setattr(perplexity, "AT_ONCE", 2)
    ticks: list[tuple[int, int]] = []
    found = perplexity.cross_perplexity(
        Coin(), [row(1), row(2), row(3)], tick=lambda done, total, eta_s: ticks.append((done, total))
    )
    assert found["base"] == pytest.approx({"base": 2.0, "trained": 2.0})
    assert ticks == [(7, 18), (9, 18), (16, 18), (18, 18)]


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    from minizero.evaluation.subject import open_engine

    with pytest.raises(EvaluationError, match="another base model than tiny"):
        open_engine(Subject("a", "tiny", adapter))


def with_settings(adapter: Path, copy: Path, **changed: object) -> Path:
    shutil.copytree(adapter, copy)
    file = copy / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return copy


def test_an_adapter_is_scaled_as_it_says(adapter: Path, random_model: Path, tmp_path: Path) -> None:
    from minizero.evaluation.subject import open_engine

    by_root = with_settings(adapter, tmp_path / "rslora", use_rslora=True)
    scales = []
    for path in (adapter, by_root):
        engine = open_engine(Subject("a", str(random_model), path))
        scales.append({layer.scaling for layer in adapter_layers(engine.policy.model).values()})
    rank = json.loads((adapter / "adapter_config.json").read_text())["r"]
    (plain,), (scaled,) = scales
    assert scaled == pytest.approx(plain * rank**0.5)


def test_dora_is_refused_by_name(adapter: Path, random_model: Path, tmp_path: Path) -> None:
    from minizero.evaluation.subject import open_engine

    with pytest.raises(EvaluationError, match="is a DoRA adapter, which minizero does not load"):
        open_engine(Subject("a", str(random_model), with_settings(adapter, tmp_path / "dora", use_dora=True)))


def test_a_plain_model_is_its_own_base(data: Path, random_model: Path, tmp_path: Path) -> None:
    plan = SamplingSettings(("cruxeval-o",), "direct", 1, max_tokens=3, limit=2)
    done = evaluate(find_subject(str(random_model)), plan, tmp_path / "e", Console(), Options(data))
    assert [row.side for row in done.rows] == ["base"] * 4


def test_an_evaluation_counts_tokens_before_the_first_answer(data: Path, tmp_path: Path) -> None:
    told = Told()
    plan = SamplingSettings(("cruxeval-o",), "direct", 0, limit=3)
    evaluate(Subject("made", "made"), plan, tmp_path / "e", told, Options(data), sampler=Slow(lambda r, i: " 1\n"))
    assert told.phases[0] == "base: sampling answers"
    assert told.details[:3] == [
        "0 of 3 answers, reading prompts",
        "0 of 3 answers, 3 tokens",
        "0 of 3 answers, 6 tokens",
    ]
    assert any(detail.startswith("2 of 3 answers, ") and "left" in detail for detail in told.details)


def test_of_the_last_answers_which_are_the_longest_no_time_is_told() -> None:
    told = Told()
    for done in (0, 50, 95, 100):
        _sampled(told, time.monotonic(), done, 100, 7.0, 10 * done)
    assert [detail.rpartition(", ")[2] for detail in told.details] == [
        "reading prompts", "about 7.0 s left", "the longest are left", "1,000 tokens",
    ]  # fmt: skip
