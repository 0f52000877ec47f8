"""README.ko.md says what README.md says: the same commands, output, tables, links and names in code."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOTH = tuple((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The lines of each fenced block, without comments and the words beside a file's name."""
    return [
        [re.split(r"\s#\s|\s{2,}", line.strip())[0] for line in body.splitlines()] for _, body in FENCED.findall(text)
    ]


def prose(text: str) -> str:
    return FENCED.sub("", text)


def shape(text: str) -> list[tuple[str, int]]:
    """Headings by depth, and the tables' rows with their number of cells."""
    lines = prose(text).splitlines()
    return [
        (line.partition(" ")[0] if line[0] == "#" else "|", line.count("|"))
        for line in lines
        if line[:1] in "#|" and line
    ]


def test_commands_and_output_are_the_same() -> None:
    english, korean = map(commands, BOTH)
    assert len(english) >= 5
    assert korean == english


def test_what_a_command_prints_is_left_as_it_is_printed() -> None:
    english, korean = (
        [body for _, body in FENCED.findall(text) if "interval" in body or "def " in body] for text in BOTH
    )
    assert len(english) == 2
    assert korean == english


def test_headings_and_tables_have_the_same_shape() -> None:
    english, korean = map(shape, BOTH)
    assert korean == english


def test_the_same_names_stand_in_code() -> None:
    english, korean = (
        Counter(" ".join(name.split()) for name in re.findall(r"`([^`]+)`", prose(text))) for text in BOTH
    )
    assert korean == english


def test_links_lead_to_the_same_places_and_each_page_to_the_other() -> None:
    english, korean = (set(re.findall(r"\]\(([^)]+)\)", text)) for text in BOTH)
    assert english - korean == {"README.ko.md"}
    assert korean - english == {"README.md"}


@pytest.mark.parametrize("text", BOTH, ids=["README.md", "README.ko.md"])
def test_every_file_that_is_linked_is_there(text: str) -> None:
    places = [place for place in re.findall(r"\]\(([^)]+)\)", text) if "://" not in place]
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_numbers_are_the_same() -> None:
    numbers = [Counter(re.findall(r"\d+(?:[.,]\d+)+|\d{3,}", prose(text))) for text in BOTH]
    assert numbers[0] == numbers[1]
