"""Presets have one shape wherever they stand: rewards, estimators, one role or both."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from pydantic import ValidationError

from minizero.config import presets
from minizero.config.learning import AdvantageConfig
from minizero.config.reward import RewardConfig

# section, a preset, a setting that it changes for both roles, and its value there
KINDS = ((RewardConfig, "paper", "extremes", 0.0), (AdvantageConfig, "grpo", "scale_by", ("prompt",)))


def test_the_examples_hold() -> None:
    assert doctest.testmod(presets).failed == 0


@pytest.mark.parametrize(("section", "preset", "setting", "value"), KINDS)
def test_a_word_a_table_and_two_tables_say_the_same(section: Any, preset: str, setting: str, value: Any) -> None:
    written = [preset, {"preset": preset}, {"propose": preset, "solve": preset}]
    written += [{"propose": {"preset": preset}, "solve": {"preset": preset}}, {"preset": preset, "solve": preset}]
    found = [section.model_validate(way) for way in written]
    assert all(one == found[0] for one in found)
    assert getattr(found[0].propose, setting) == value


@pytest.mark.parametrize(("section", "preset", "setting", "value"), KINDS)
def test_what_a_role_has_of_its_own_wins(section: Any, preset: str, setting: str, value: Any) -> None:
    default = getattr(section().propose, setting)
    changed = section.model_validate({"preset": preset, "propose": {setting: default}})
    assert getattr(changed.propose, setting) == default
    assert changed.solve == section.model_validate(preset).solve


@pytest.mark.parametrize(("section", "preset", "setting", "value"), KINDS)
def test_an_unknown_preset_lists_the_known_ones(section: Any, preset: str, setting: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=preset):
        section.model_validate("nothing-like-it")


def test_a_file_of_ones_own_stands_for_both_roles_too() -> None:
    config = AdvantageConfig.model_validate("mine.py:estimate")
    assert config.propose.function == config.solve.function == "mine.py:estimate"
    mixed = AdvantageConfig.model_validate({"preset": "grpo", "solve": "mine.py:estimate"})
    assert (mixed.propose.preset, mixed.solve.function) == ("grpo", "mine.py:estimate")
