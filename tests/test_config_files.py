"""Config files are found in the working directory first, then among the shipped ones; what is not found is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from minizero.config import files, load_config
from minizero.config.files import find_file, folders, shipped
from minizero.config.named import find_config, origin, resolve
from minizero.types import ConfigError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_checkout_the_shipped_configs_lie_beside_the_package() -> None:
    assert shipped() == ROOT / "configs"


def test_in_a_wheel_they_lie_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "minizero" / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()  # of another package
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "minizero")
    assert shipped() == tmp_path / "minizero" / "configs"


def test_the_repository_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert folders() == (ROOT / "configs",)


def test_a_model_of_the_working_directory_goes_before_a_shipped_one(elsewhere: Path) -> None:
    assert find_config("tiny") == ROOT / "configs" / "tiny.toml"
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "tiny.toml").write_text("[model]\nname = 'tiny'\n[selfplay]\nsteps = 3\n")
    assert resolve("tiny", (), ()).selfplay.steps == 3
    assert origin("tiny") == f"Settings: {elsewhere / 'configs' / 'tiny.toml'}."


def test_a_path_of_the_repository_works_from_every_directory(elsewhere: Path) -> None:
    assert not load_config(["configs/ablations/solver_only.toml"]).selfplay.train_propose
    assert find_file(Path("ablations/azr.toml")) == ROOT / "configs" / "ablations" / "azr.toml"


def test_a_file_that_is_there_goes_before_a_shipped_one(elsewhere: Path) -> None:
    (elsewhere / "tiny.toml").write_text("[selfplay]\nsteps = 4\n")
    assert find_file(Path("tiny.toml")) == Path("tiny.toml")


def test_nothing_outside_the_shipped_folder_is_found(elsewhere: Path) -> None:
    for path in ("configs/../pyproject.toml", "../pyproject.toml"):
        with pytest.raises(ConfigError, match="no such configuration file"):
            find_file(Path(path))


def test_a_mistyped_file_is_told_with_the_nearest_one(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean configs/ablations/estimators/rloo\.toml\?"):
        load_config(["configs/ablations/rlo.toml"])
    with pytest.raises(ConfigError, match=r"unlike-any\.toml: no such configuration file\. Shipped ones are in "):
        load_config(["unlike-any.toml"])


def test_a_folder_where_a_file_is_meant_is_told(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"rewards: cannot be read: Is a directory"):
        load_config(["configs/ablations/rewards"])


def test_a_model_without_a_config_says_so_and_names_the_nearest(elsewhere: Path) -> None:
    assert origin("Qwen/Qwen2.5-Coder-3") == (
        "Settings: Qwen/Qwen2.5-Coder-3 has no config of its own, so the general defaults hold. "
        "The nearest name with one is Qwen2.5-Coder-3B."
    )
    assert origin("other", (Path("configs/ablations/azr.toml"),)) == (
        "Settings: other has no config of its own, so the general defaults hold under "
        f"{ROOT / 'configs/ablations/azr.toml'}. Models with one: Llama-3.1-8B, Qwen2.5-7B, "
        "Qwen2.5-Coder-0.5B-Instruct, Qwen2.5-Coder-1.5B, Qwen2.5-Coder-3B, Qwen2.5-Coder-7B, Qwen3-4B-Base, tiny."
    )


def test_overlays_are_named_after_the_models_own_file() -> None:
    overlay = ROOT / "configs" / "ablations" / "azr.toml"
    assert origin("tiny", (overlay,)) == f"Settings: {ROOT / 'configs' / 'tiny.toml'}, then {overlay}."


@pytest.mark.parametrize("model", ["/models/Qwen2.5-Coder-3B", "somebody/Qwen2.5-Coder-3B"])
def test_a_copy_of_a_known_model_takes_its_settings_and_stays_that_copy(model: str) -> None:
    config = resolve(model, (), ())
    assert (config.model.name, config.adapter.rank) == (model, 32)
    assert resolve("Qwen2.5-Coder-3B", (), ()).model.name == "Qwen/Qwen2.5-Coder-3B"
