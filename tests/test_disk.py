"""What is kept on disk: where the cache is, files that are whole or not there, and which folders are checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minizero.config.disk import cache, checkpoints, read_object, write_json, write_whole
from minizero.models.gguf import directory_of
from minizero.report.first_light.conduct import default_out


@pytest.mark.parametrize(
    ("minizero", "xdg", "folder"),
    [
        (None, None, "home/.cache/minizero"),
        (None, "xdg", "xdg/minizero"),
        ("own", None, "own"),
        ("own", "xdg", "own"),
        ("", "", "home/.cache/minizero"),
    ],
)
def test_everything_that_is_cached_lies_in_one_folder_that_either_variable_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minizero: str | None, xdg: str | None, folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in (("MINIZERO_CACHE", minizero), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(tmp_path / value) if value else "")
    model = tmp_path / "small.gguf"
    model.touch()
    assert cache() == tmp_path / folder
    assert directory_of(model).parent == tmp_path / folder / "gguf"
    assert default_out(quick=True) == tmp_path / folder / "first-light"


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": [1]})
    assert file.read_bytes() == b'{\n "a": [\n  1\n ]\n}\n'
    write_whole(file, "\u00e9\n")
    assert file.read_bytes() == b"\xc3\xa9\n"
    write_whole(file, b"\xff")
    assert file.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "new \ud800")
    (tmp_path / "a.txt.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(file, "new")
    assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"", r"Expecting value: line 1 column 1 \(char 0\)"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[1]", "a list, not an object"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_file_that_holds_no_object_says_why_without_its_path(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_object(file)
    assert str(tmp_path) not in str(caught.value)


def test_an_object_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": [1, None]}))
    assert read_object(tmp_path / "a.json") == {"a": [1, None]}


def test_checkpoints_are_whole_and_ours_and_the_newest_is_last(tmp_path: Path) -> None:
    assert checkpoints(tmp_path) == []
    for name in ("step-000100", "step-000020", "step-000200.partial", "step-best-2", "step-000300-old3"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000020", "step-000100"]
