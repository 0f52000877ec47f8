"""Minutes of a step: what the configs say of them is what `minizero plan` says, and where each minute goes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minizero.config import difference, load_config
from minizero.config.files import find_file
from minizero.config.named import layers
from minizero.planner import make_plan
from minizero.planner.cards import CARDS
from minizero.planner.pace import COMPLETION, KINDS, bounds, seconds, work_done, work_of
from minizero.planner.plan import NIGHT_S, Plan
from minizero.planner.shapes import KNOWN
from minizero.types import Completion, ConfigError
from tests.card_configs import CARD_CONFIGS

ROOT = Path(__file__).parent.parent
OVERLAYS = sorted((ROOT / "configs" / "overlays").glob("*.toml"))
CODER_3B = ("model.name=Qwen/Qwen2.5-Coder-3B", "sampler.max_rows=128")


def planned(model: str, overlay: str = "", *overrides: str) -> Plan:
    """As `minizero plan MODEL --card rtx3090 --config configs/overlays/OVERLAY.toml` reads it."""
    given = (ROOT / "configs" / "overlays" / f"{overlay}.toml",) if overlay else ()
    return make_plan(load_config(*layers(model, given, overrides)), "rtx3090")


def hours(plan: Plan) -> float:
    return plan.minutes * plan.config.selfplay.steps / 60


def sentences(model: str) -> str:
    """What the head of a model's config says of minutes. Where a test finds something else there, it belongs there."""
    paper, lean, hobby = (planned(model, overlay) for overlay in ("", "attempts", "hobby"))
    steps = hobby.config.selfplay.steps
    night = min(steps, int(NIGHT_S / 60 / hobby.minutes))
    return (
        f"Minutes a step there: {paper.minutes:.1f} at the paper's size ({hours(paper):.0f} hours for "
        f"{paper.config.selfplay.steps} steps; the physical floor is {sum(paper.floor.values()) / 60:.1f}), "
        f"{lean.minutes:.1f} with as many trained tokens from the attempts (configs/overlays/attempts.toml: "
        f"{hours(lean):.0f} hours), {hobby.minutes:.1f} at hobby size (configs/overlays/hobby.toml: 8 hours make "
        f"{night} of {steps} steps)."
    )


@pytest.mark.parametrize("path", CARD_CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_the_minutes_that_the_plan_says(path: Path) -> None:
    head = " ".join(line.removeprefix("#").strip() for line in path.read_text().splitlines() if line[:1] == "#")
    assert sentences(path.stem) in head
    assert f"minizero plan {path.stem} --card rtx3090" in head
    shown = re.search(r"minutes of a step: ([\d.]+) ", planned(path.stem).text())
    assert shown
    assert f"Minutes a step there: {shown[1]} at" in head


@pytest.mark.parametrize(("model", "most"), [("Qwen2.5-Coder-3B", 6.0), ("Qwen2.5-Coder-7B", 14.0), ("Qwen2.5-7B", 14)])
def test_the_attempts_make_a_step_of_the_same_trained_tokens_short_enough_to_wait_for(model: str, most: float) -> None:
    paper, lean = planned(model), planned(model, "attempts")
    assert lean.fits
    assert lean.minutes <= most
    assert lean.work.trained >= paper.work.trained == 595_200


ENGINE_PAGE = (ROOT / "docs" / "engine-and-memory.md").read_text()
EIGHT = ("selfplay.attempts=8", "selfplay.proposals=18", "selfplay.propose_samples=6", "selfplay.solves=12")


def row(begins: str) -> list[str]:
    """The cells of the row of docs/engine-and-memory.md that begins so."""
    (line,) = [line for line in ENGINE_PAGE.splitlines() if line.startswith(f"| {begins}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("begins", "overlay", "settings"),
    [
        ("none: the paper's size", "", ()),
        ("`selfplay.first_attempts=4`", "", ("selfplay.first_attempts=4",)),
        ("`configs/overlays/attempts.toml`", "attempts", ()),
        ("the same with `selfplay.attempts=8", "attempts", EIGHT),
        ("`configs/overlays/hobby.toml`", "hobby", ()),
    ],
)
def test_the_minutes_of_the_documentation_are_the_plans(begins: str, overlay: str, settings: tuple[str, ...]) -> None:
    models = ("Qwen2.5-Coder-3B", "Qwen2.5-Coder-7B")
    assert row(begins)[1:3] == [f"{planned(model, overlay, *settings).minutes:.1f}" for model in models]


@pytest.mark.parametrize(
    ("begins", "settings"),
    [
        ("as it is", ()),
        ("`kv_dtype=fp8`", ("kv_dtype",)),
        ("`weights=fp8`", ("weights",)),
        ("both", ("kv_dtype", "weights")),
    ],
)
def test_what_8_bit_floats_save_by_the_documentation_is_the_plans(begins: str, settings: tuple[str, ...]) -> None:
    given = tuple(f"sampler.{name}=fp8" for name in settings)
    for model, cell in zip(("Qwen2.5-Coder-3B", "Qwen3-4B-Base", "Qwen2.5-Coder-7B"), row(begins)[1:], strict=True):
        if cell.startswith("refused"):
            with pytest.raises(ConfigError, match="4 bits"):
                make_plan(load_config(*layers(model, (), given)), "rtx4090")
            continue
        plan = make_plan(load_config(*layers(model, (), given)), "rtx4090")
        minutes, tokens = re.match(r"([\d.]+), (?:a cache of )?(\d+)k", cell).groups()  # type: ignore[union-attr]
        assert (minutes, tokens) == (f"{plan.minutes:.1f}", f"{plan.cache_tokens / 1000:.0f}")


def test_a_night_is_enough_for_3b_at_hobby_size() -> None:
    plan = planned("Qwen2.5-Coder-3B", "hobby")
    assert plan.fits
    assert hours(plan) < 8
    assert plan.config.optim.gradient_checkpointing is False  # what its shorter texts are for


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_says_what_it_is_and_is_found_by_its_name(path: Path) -> None:
    assert re.fullmatch(r"# .{20,}\.", path.read_text().splitlines()[0])
    assert find_file(Path("configs/overlays") / path.name).read_text() == path.read_text()
    base = ROOT / "configs" / "Qwen2.5-Coder-3B.toml"
    changed = set(difference(load_config([base, path]), load_config([base])))
    assert "selfplay.train_on_attempts" in changed
    assert all(name.startswith(("selfplay.", "prompt.")) for name in changed)  # sizes only, no learning rates


def test_the_minutes_of_the_parts_are_those_of_the_step() -> None:
    plan = planned("Qwen2.5-Coder-3B")
    assert list(plan.expected) == [*KINDS, "update", "sandbox", "sync"]
    text = plan.text()
    parts = "propose 1.3, attempts 2.9, solve 0.6, update 5.7, sandbox and sync under 0.1"
    assert f"minutes of a step: 10.5 ({parts}); " in text
    assert "physical floor 4.9 (arithmetic alone 4.9, memory alone 1.6)" in text


def test_the_floor_is_at_least_each_limit_alone() -> None:
    shape, card = KNOWN["llama-3.1-8b"], CARDS["rtx3090"]
    config = load_config(overrides=[*CODER_3B, "optim.micro_batch_tokens=8192"])
    for kv_gib in (0.2, 2.0, 20.0):
        work = work_of(config)
        floor = seconds(config, shape, card, work, kv_gib=kv_gib, weights_gib=5.6, floor=True)
        alone = bounds(config, shape, card, work, kv_gib=kv_gib, weights_gib=5.6)
        assert sum(floor.values()) >= 0.999 * alone["arithmetic"]
        if kv_gib == 0.2:  # a sequence or two at a time: every token reads all the weights
            assert alone["memory"] > 2 * alone["arithmetic"]
            assert sum(floor.values()) >= sum(floor[name] for name in KINDS) > 0.9 * alone["memory"]


def test_memory_alone_by_hand() -> None:
    """128 rows of 3B: 9,000 decoding steps that read 5.75 GiB and the caches of 128 contexts."""
    config = load_config(overrides=[*CODER_3B, "optim.micro_batch_tokens=16384", "optim.gradient_checkpointing=true"])
    work = work_of(config)
    alone = bounds(config, KNOWN["qwen2.5-3b"], CARDS["rtx3090"], work, kv_gib=8, weights_gib=5.75)
    context = (192 * 1800 + 1728 * 700) / 1920
    steps = 9000 * (5.75 * 2**30 + 128 * context * 36864) / 936e9
    others = (441_600 / 8192 + 3 * 595_200 / 16384) * 5.75 * 2**30 / 936e9
    assert alone["memory"] == pytest.approx(steps + others, rel=1e-3)


def test_stopping_early_makes_thirty_percent_fewer_attempts_in_the_plan() -> None:
    all_of_them, some = (planned("Qwen2.5-Coder-3B", "", f"selfplay.first_attempts={first}") for first in (0, 4))
    assert all_of_them.work.kinds["attempts"].sequences == 1536
    assert some.work.kinds["attempts"].sequences == pytest.approx(0.7 * 1536)
    assert some.work.trained == all_of_them.work.trained
    assert some.expected["attempts"] < 0.73 * all_of_them.expected["attempts"]
    assert "attempts stop where the first 4 differ: 5.6 of 8 a task in the mean" in some.text()


def test_samples_of_a_long_prompt_are_computed_with_it_once() -> None:
    config = load_config(overrides=["selfplay.proposals=32", "selfplay.propose_samples=4", "selfplay.solves=64"])
    work = work_of(config)
    assert work.trained == 96 * 2100 + 192 * 1000
    assert work.computed == work.trained - 72 * 1500  # 24 prompts of 96; answers are longer than their prompts
    assert COMPLETION == 600


def test_a_step_that_was_done_is_counted_by_kind() -> None:
    def wrote(name: str, prompt: int, length: int) -> Completion:
        return Completion(name, 0, (1,) * prompt, (2,) * length, (0.0,) * length, "", "stop")

    texts = [
        wrote("propose/deduction/0000", 9, 5),
        wrote("attempt/deduction/ab", 4, 3),
        wrote("solve/abduction/0", 3, 2),
    ]
    work = work_done([*texts, texts[1]], [texts[0], texts[0], texts[1], texts[1]])
    assert {name: (t.sequences, t.generated, t.prompts) for name, t in work.kinds.items()} == {
        "propose": (1, 5, 9), "attempts": (2, 6, 4), "solve": (1, 2, 3),
    }  # fmt: skip
    assert (work.trained, work.computed) == (2 * 14 + 2 * 7, 9 + 10 + 4 + 6)


def test_a_sandbox_that_is_slower_than_the_engine_is_seen() -> None:
    config = load_config(overrides=[*CODER_3B, "selfplay.solve_max_tokens=1", "selfplay.propose_max_tokens=1"])
    fast = CARDS["h200"]
    parts = seconds(config, KNOWN["qwen2.5-0.5b"], fast, work_of(config), kv_gib=50, weights_gib=1, floor=True)
    # 2 x 192 + 1,536 + 192 programs at 364 a second on each of 4 cores: 1.45 s
    assert sum(parts[name] for name in (*KINDS, "sandbox")) == pytest.approx(1.45, abs=0.01)


def test_giving_the_cache_back_is_part_of_a_step() -> None:
    kept, given = (
        planned("Qwen2.5-Coder-3B", "", f"sampler.release_kv={str(value).lower()}") for value in (False, True)
    )
    assert given.expected["sync"] - kept.expected["sync"] == pytest.approx(1.0)
