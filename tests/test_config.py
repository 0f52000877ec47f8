"""Settings: files stack, overrides win, every problem is told at once with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from minizero.config import Config, difference, load_config, to_toml
from minizero.types import ConfigError

ROOT = Path(__file__).parent.parent


def problems(*overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)
    return caught.value.problems


def test_overrides_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[optim]\nlr = 1e-3\ngrad_clip = 2.0\n")
    (tmp_path / "b.toml").write_text("[optim]\nlr = 2e-3\n")
    config = load_config([tmp_path / "a.toml", tmp_path / "b.toml"], ["selfplay.steps=7"])
    assert (config.optim.lr, config.optim.grad_clip, config.selfplay.steps) == (2e-3, 2.0, 7)


def test_a_resolved_config_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(
        overrides=["reward.preset=paper", 'reward.propose.terms."own.py:short"=0.25', "advantage=reinforce++"]
    )
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert load_config([path]) == config


def test_a_mistyped_setting_is_told_with_the_nearest_name() -> None:
    assert problems("optim.lrr=1") == ("optim.lrr is not a setting. Did you mean optim.lr?",)


def test_a_name_from_another_framework_leads_to_ours() -> None:
    assert problems("optim.learning_rate=1") == ("optim.learning_rate is not a setting. Did you mean optim.lr?",)


def test_a_setting_without_its_section_is_found() -> None:
    assert problems("attempts=4") == ("attempts is not a setting. Did you mean selfplay.attempts?",)


def test_contradictions_are_told_all_at_once() -> None:
    found = problems("selfplay.attempts=1", "advantage=grpo", "model.quantization=nf4", "adapter.kind=full")
    assert len(found) == 4
    assert "Try --set selfplay.attempts=8" in found[0]
    assert all("at least 2" in text for text in found[:3])
    assert "4-bit" in found[3]


def test_grouping_by_prompt_with_one_sample_names_what_to_do() -> None:
    found = problems("advantage.solve=grpo")
    assert len(found) == 1
    assert "advantage.solve" in found[0]


def test_an_adapter_has_no_norm_gains_to_give_a_rate() -> None:
    (found,) = problems("optim.norm_lr=1e-3", "adapter.kind=lora")
    assert "Try --set optim.norm_lr=0" in found


def test_induction_alone_has_no_programs_to_be_about() -> None:
    assert "induction alone" in problems('selfplay.task_types=["induction"]')[0]


def test_an_override_without_a_value_is_told() -> None:
    assert "expected  --set section.name=value" in problems("optim.lr")[0]


def test_a_broken_file_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[optim]\nlr = = 3\n")
    with pytest.raises(ConfigError, match=r"broken\.toml.*line 2"):
        load_config([path])


def test_a_missing_file_is_told() -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(["nowhere.toml"])


def test_the_difference_names_only_what_differs() -> None:
    assert difference(load_config(overrides=["optim.lr=0.5"])) == {"optim.lr": (Config().optim.lr, 0.5)}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_on_the_tiny_base(path: Path) -> None:
    base = [] if path.parent.name == "configs" else [ROOT / "configs" / "tiny.toml"]
    # Two overlays are not for the tiny model, one not for a style that always reasons.
    style = ["model.name=other", f"prompt.style={'chat' if path.stem == 'at_once' else 'r1'}"] if base else []
    assert load_config([*base, path], style).selfplay.steps >= 0


def test_every_setting_has_a_sentence() -> None:
    def missing(model: type, above: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                found += missing(field.annotation, f"{above}{name}.")
            elif not (field.description or "").strip():
                found.append(above + name)
        return found

    assert missing(Config) == []


@pytest.mark.parametrize("option", ["use_dora", "dora"])
def test_dora_is_told_why_it_is_not_there(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"adapter\.{option} is not supported: vLLM serves no DoRA"):
        load_config(overrides=[f"adapter.{option}=true"])


def test_rslora_is_found_by_the_name_that_peft_gives_it() -> None:
    assert problems("adapter.use_rslora=true") == ("adapter.use_rslora is not a setting. Did you mean adapter.rslora?",)


@pytest.mark.parametrize("option", ["bias", "modules_to_save", "init_lora_weights"])
def test_a_kind_of_adapter_that_vllm_does_not_serve_is_told(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"adapter\.{option} is not supported: adapters are plain LoRA"):
        load_config(overrides=[f"adapter.{option}=true"])


def test_dropout_in_the_adapter_is_told() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.lora_dropout is not supported: what is sampled from"):
        load_config(overrides=["adapter.lora_dropout=0.1"])


def test_a_word_that_no_list_takes_is_told_with_those_that_it_takes() -> None:
    expected = 'selfplay.task_types = "deducton": expected one or more of deduction, abduction, induction, error. '
    assert problems("selfplay.task_types=deducton") == (f"{expected}Did you mean deduction?",)
    assert problems("selfplay.request_lines=3") == (
        "selfplay.request_lines = 3: expected a list, for example  --set 'selfplay.request_lines=[1, 2]'",
    )


@pytest.mark.parametrize("name", ["my.py:short", "../rewards/v1.2/my.py:short"])
def test_the_name_of_a_files_function_needs_no_quotes(name: str) -> None:
    quoted, bare = (load_config(overrides=[f"reward.propose.terms.{text}=0.2"]) for text in (f'"{name}"', name))
    assert bare == quoted
    assert bare.reward.propose.terms[name].weight == 0.2
    inside = load_config(overrides=[f"reward.propose.terms.{name}.weight=0.2"])
    assert inside == bare


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_number_is_finite(value: str) -> None:
    (problem,) = problems(f"optim.lr={value}")
    assert problem.startswith("optim.lr = ")


@pytest.mark.parametrize("name", ["lr", "norm_lr"])
def test_a_learning_rate_above_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"optim\.{name} = 1e\+300"):
        load_config(overrides=[f"optim.{name}=1e300"])
