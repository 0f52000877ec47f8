"""Where a model computes, and what the processor is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from minizero.models.processor import device_of, processor_name


@pytest.mark.full
@pytest.mark.parametrize(
    ("asked", "has_card", "device"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", False, "cpu"),
    ],
)
def test_a_model_computes_on_the_card_where_there_is_one_and_the_cpu_was_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str, has_card: bool, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_card)
    assert device_of(asked) == device


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n", "A CPU @ 2 GHz"),
        ("processor\t: 0\nBogoMIPS\t: 50\n", "aarch64"),  # ARM tells no model
        (None, "aarch64"),
    ],
)
def test_a_processor_has_a_name(monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, name: str) -> None:
    def read_text(self: Path) -> str:
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processor_name() == name
