"""The card's driver, seen without a card: each thing that may be wrong with it is one sentence with its fix."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from minizero.config import load_config
from minizero.planner import check_fits, doctor, driver
from minizero.planner.cards import free_at_start, this_card
from minizero.planner.driver import (
    Driver,
    check_driver,
    check_has_card,
    compiler_problem,
    cuda_problem,
    find_driver,
    prepare_allocator,
)
from minizero.planner.installed import installed_files, owned_twice
from minizero.selfplay.build import sandbox_settings
from minizero.types import ConfigError

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025\n"
CODER_3B = ("model.name=Qwen/Qwen2.5-Coder-3B",)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a driver, whose files lie in the path that is returned."""
    monkeypatch.setattr(driver, "VERSION_FILE", tmp_path / "version")
    monkeypatch.setattr(driver, "WSL_LIBRARY", tmp_path / "libcuda.so.1")
    monkeypatch.setattr(driver, "_offered_cuda", lambda: (12, 4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_without_a_driver_a_large_model_does_not_begin_on_the_cpu_unasked(machine: Path) -> None:
    assert find_driver() is None
    assert cuda_problem() is None
    with pytest.raises(ConfigError) as stopped:
        check_has_card(load_config(overrides=CODER_3B))
    assert str(stopped.value) == (
        "there is no NVIDIA driver here, so Qwen/Qwen2.5-Coder-3B would train on the CPU, for hours at each step. With "
        "a card, install the NVIDIA driver 580 or newer; a container needs  --gpus all. To train on the CPU all the "
        "same:  --set model.device=cpu"
    )
    with pytest.raises(ConfigError, match="no NVIDIA driver"):
        check_fits(load_config(overrides=CODER_3B))
    check_has_card(load_config(overrides=[*CODER_3B, "model.device=cpu"]))
    check_has_card(load_config(overrides=["model.name=Qwen/Qwen2.5-Coder-0.5B-Instruct"]))
    check_has_card(load_config(overrides=["model.name=nobody/unknown"]))


def test_a_driver_that_is_too_old_stops_a_large_model_and_says_which_is_needed(machine: Path) -> None:
    (machine / "version").write_text(VERSION)
    assert find_driver() == Driver("550.163.01", (12, 4))
    with pytest.raises(ConfigError) as stopped:
        check_driver(load_config(overrides=CODER_3B))
    assert str(stopped.value) == (
        "the driver is 550.163.01, which offers CUDA 12.4, and this torch needs CUDA 13.0, so Qwen/Qwen2.5-Coder-3B "
        "would train on the CPU. Update the NVIDIA driver to 580 or newer. To train on the CPU all the same:  --set "
        "model.device=cpu"
    )


def test_who_asks_for_the_cpu_or_for_a_small_model_gets_it_with_any_driver(machine: Path) -> None:
    (machine / "version").write_text(VERSION)
    check_driver(load_config(overrides=[*CODER_3B, "model.device=cpu"]))
    check_driver(load_config(overrides=["model.name=tiny"]))


def test_a_torch_without_cuda_beside_a_driver_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "version").write_text(VERSION)
    monkeypatch.setattr(torch.version, "cuda", None)
    problem = cuda_problem()
    assert problem is not None
    assert problem.seen == "there is an NVIDIA driver, but this torch is built without CUDA"
    assert "UV_TORCH_BACKEND" in problem.fix


def test_under_wsl2_the_driver_is_windows_own(machine: Path) -> None:
    (machine / "libcuda.so.1").touch()
    assert find_driver() == Driver("", (12, 4))
    problem = cuda_problem()
    assert problem is not None
    assert problem.fix == "update the NVIDIA driver to 580 or newer, in Windows"


def test_a_new_driver_through_which_torch_sees_no_card_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "version").write_text(VERSION.replace("550.163.01", "580.82.07"))
    monkeypatch.setattr(driver, "_offered_cuda", lambda: (13, 0))
    problem = cuda_problem()
    assert problem is not None
    assert "--gpus all" in problem.fix
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert cuda_problem() is None


def test_the_doctor_calls_a_driver_without_usable_cuda_bad(machine: Path) -> None:
    (check,) = doctor._card()
    assert check.state == "note"  # no card, no driver: nothing is wrong
    assert check.fix.endswith("install the NVIDIA driver 580 or newer; a container needs  --gpus all")
    (machine / "version").write_text(VERSION)
    (check,) = doctor._card()
    assert (check.name, check.state, check.fix) == ("card", "bad", "update the NVIDIA driver to 580 or newer")


def seen_of(monkeypatch: pytest.MonkeyPatch, *cards: tuple[str, int]) -> dict[str, doctor.Check]:
    """What the doctor says of a machine with these cards, of (name, GiB); 22 GiB of the first are free."""
    properties = [SimpleNamespace(total_memory=gib * 2**30) for _, gib in cards]
    for name, call in {
        "is_available": lambda: True, "device_count": lambda: len(cards),
        "get_device_name": lambda number=0: cards[number][0],
        "get_device_properties": lambda number=0: properties[number],
        "mem_get_info": lambda: (22 * 2**30, cards[0][1] * 2**30), "get_device_capability": lambda: (8, 6),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, call)
    return {check.name: check for check in doctor._card()}


def test_the_doctor_says_what_a_desktop_holds_and_that_there_are_two_cards(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "version").write_text(VERSION)
    found = seen_of(monkeypatch, ("NVIDIA GeForce RTX 3090", 24), ("NVIDIA GeForce RTX 3090", 24))
    assert found["free memory"].seen == "22.0 of 24.0 GiB; other programs, or a desktop, hold the rest"
    assert found["cards"].fix == (
        "GPUS=2 for make, --processes 2 for minizero: both share a run. CUDA_VISIBLE_DEVICES=1 takes the second"
    )
    assert found["driver"].seen == "550.163.01, which offers CUDA 12.4"


def test_the_doctor_names_the_larger_of_two_cards(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen_of(monkeypatch, ("NVIDIA GeForce RTX 3060", 12), ("NVIDIA GeForce RTX 3090", 24))["cards"]
    assert found.seen == (
        "one process uses the first of 2 (0: NVIDIA GeForce RTX 3060, 12.0 GiB, 1: NVIDIA GeForce RTX 3090, 24.0 GiB)"
    )
    assert found.fix.endswith(
        "They differ, so each is planned for itself and a step waits for the slowest. CUDA_VISIBLE_DEVICES=1 takes the "
        "largest alone"
    )


def test_the_doctor_says_that_the_speed_of_a_part_of_a_card_is_unknown(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen_of(monkeypatch, ("NVIDIA A100-SXM4-80GB MIG 2g.20gb", 22))
    assert found["speed"].fix == "make first-light  measures it, and the plan's minutes follow"
    assert "cards" not in found


def test_the_card_of_a_second_process_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks torch without a number asks for the card that the launcher chose."""
    asked: list[Any] = []

    def noted(*number: Any, value: Any) -> Any:
        asked.extend(number)
        return value

    for name, value in {
        "is_available": True, "get_device_name": "NVIDIA GeForce RTX 3090", "get_device_capability": (8, 6),
        "get_device_properties": SimpleNamespace(total_memory=24 * 2**30), "memory_reserved": 0,
        "mem_get_info": (22 * 2**30, 24 * 2**30),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, partial(noted, value=value))
    free_at_start.cache_clear()
    card = this_card()
    free_at_start.cache_clear()
    assert card is not None
    assert (card.name, asked) == ("NVIDIA GeForce RTX 3090", [])


def test_triton_without_compiler_or_headers_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(driver.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(driver.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compiler_problem() is None
    monkeypatch.setattr(driver.shutil, "which", lambda name: None)
    problem = compiler_problem()
    assert problem is not None
    assert problem.seen == "Triton needs a C compiler"
    assert problem.fix.startswith("sudo apt-get install build-essential python3.")
    (tmp_path / "Python.h").unlink()
    problem = compiler_problem()
    assert problem is not None
    assert problem.seen == "Triton needs a C compiler and Python's headers (Python.h)"
    monkeypatch.setattr(driver.shutil, "which", lambda name: f"/usr/bin/{name}")  # as on a stock WSL2
    problem = compiler_problem()
    assert problem is not None
    assert problem.seen == "Triton needs Python's headers (Python.h)"
    assert problem.fix.startswith("sudo apt-get install build-essential python3.")


def test_two_packages_with_one_file_are_found_and_this_environment_has_none() -> None:
    files = {
        "cuda-python 12.6.2": ["cuda/bindings/driver.so", "build_backend.py"],
        "cuda-bindings 13.5.0": ["cuda/bindings/driver.so", "cuda/bindings/nvml.so"],
        "flashinfer-python 0.7.0": ["build_backend.py"],
    }
    assert owned_twice(files) == {("cuda-bindings 13.5.0", "cuda-python 12.6.2"): ["cuda/bindings/driver.so"]}
    here = installed_files()
    assert any(name.startswith("torch ") for name in here)
    assert owned_twice(here) == {}


def test_whoever_installs_vllm_gets_a_cuda_python_that_overwrites_nothing() -> None:
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in ("vllm", "vllm-qlora"):
        assert "cuda-python>=13" in extras[extra]


def made(*arguments: str, **environment: str) -> str:
    """What make would do, with these variables."""
    root = Path(__file__).parent.parent
    command = ["make", "-n", "-s", "CARD=nvidia-smi", "VENV=none", *arguments]
    done = subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_beside_a_card_one_core_is_the_engines(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    config = load_config(overrides=CODER_3B)
    assert sandbox_settings(config)["workers"] == 8
    (machine / "version").write_text(VERSION)
    assert sandbox_settings(config)["workers"] == 7
    assert sandbox_settings(load_config(overrides=["model.device=cpu"]))["workers"] == 8
    assert sandbox_settings(load_config(overrides=["sandbox.workers=8"]))["workers"] == 8
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert sandbox_settings(config)["workers"] == 1


def test_segments_grow_on_a_card_and_nothing_is_set_elsewhere(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepared(*overrides: str) -> str:
        prepare_allocator(load_config(overrides=[*CODER_3B, *overrides]))
        return os.environ.get("PYTORCH_ALLOC_CONF", "")

    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "for the test")  # so that both are put back afterwards
        monkeypatch.delenv(name)
    assert prepared() == ""
    (machine / "version").write_text(VERSION)
    assert prepared("model.device=cpu") == ""
    assert prepared() == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:512")
    assert prepared() == "max_split_size_mb:512"


def test_segments_are_chosen_before_torch_is_imported(tmp_path: Path) -> None:
    """torch reads the variable when it is imported."""
    code = (
        "import sys; import minizero.selfplay.run_loop, minizero.selfplay.build; from minizero.planner import driver;"
        "from pathlib import Path; driver.VERSION_FILE = Path(sys.argv[1]); driver._offered_cuda = lambda: (13, 0);"
        "seen = []; keep = driver.prepare_allocator\n"
        "def noted(config):\n"
        "    keep(config); import os; seen.append(('torch' in sys.modules, os.environ.get('PYTORCH_ALLOC_CONF')))\n"
        "    raise SystemExit(str(seen))\n"
        "driver.prepare_allocator = noted\n"
        "from minizero.config import load_config\n"
        "minizero.selfplay.build.build(load_config(overrides=['model.name=Qwen/Qwen2.5-Coder-3B']), None)\n"
    )
    (tmp_path / "version").write_text(VERSION.replace("550.163.01", "580.82.07"))
    kept = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "version")], env=kept, capture_output=True, text=True
    )
    assert done.stderr.strip().splitlines()[-1] == "[(False, 'expandable_segments:True')]"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_brings_what_4_bits_need_wherever_they_are_asked_for() -> None:
    assert "minizero[vllm] into" in made("selfplay", "MODEL=Qwen2.5-Coder-3B")
    assert "minizero[vllm-qlora] into" in made("selfplay", "MODEL=Qwen2.5-Coder-7B")
    asked = "ARGS=--set model.quantization=nf4"
    assert "minizero[vllm-qlora] into" in made("selfplay", "MODEL=Qwen2.5-Coder-3B", asked)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_first_light_brings_the_engine_where_there_is_a_card_and_makes_a_model_where_none_is_named() -> None:
    on_card = made("first-light", "NVIDIA=nvidia-smi", "ARGS=--quick")
    assert "minizero[vllm] into" in on_card
    assert on_card.split()[-2:] == ["first-light", "--quick"]
    elsewhere = made("first-light", "NVIDIA=", "MODEL=Qwen2.5-Coder-7B", "ARGS=")
    assert "vllm" not in elsewhere
    assert elsewhere.split()[-2:] == ["first-light", "Qwen2.5-Coder-7B"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("variable", "kept"), [("CARD=nvidia-smi", ""), ("EXTRAS=vllm", ""), ("CARD=", "cpu")])
def test_make_takes_torchs_own_cuda_for_a_card_whatever_uv_is_told(variable: str, kept: str) -> None:
    show = 'show: ; @echo "[$$UV_TORCH_BACKEND]"'
    command = ["make", "-s", "--eval", show, "show", "CARD=", variable]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env=os.environ | {"UV_TORCH_BACKEND": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"[{kept}]\n"
