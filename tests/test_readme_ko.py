"""README.ko.md follows README.md: the same headings, commands, pictures, rows and links, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The lines of each fenced block without their comments."""
    return [[re.split(r"\s#\s", line)[0].rstrip() for line in body.splitlines()] for _, body in FENCED.findall(text)]


def headings(text: str) -> list[str]:
    """Their depths: #, ##, ##, ..."""
    return re.findall(r"^(#+) ", FENCED.sub("", text), flags=re.MULTILINE)


def rows(text: str) -> list[int]:
    """The number of cells of each row of a table."""
    return [line.count("|") for line in FENCED.sub("", text).splitlines() if line.startswith("|")]


def links(text: str) -> list[str]:
    """Where links and pictures lead."""
    return re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', text)


def test_headings_are_as_deep() -> None:
    assert len(headings(ENGLISH)) >= 9
    assert headings(KOREAN) == headings(ENGLISH)


def test_commands_and_output_are_the_same() -> None:
    assert len(commands(ENGLISH)) == 4
    assert commands(KOREAN) == commands(ENGLISH)


def test_tables_have_the_same_rows() -> None:
    assert len(rows(ENGLISH)) >= 14
    assert rows(KOREAN) == rows(ENGLISH)


def test_links_lead_to_the_same_places_and_each_page_to_the_other() -> None:
    assert links(ENGLISH)[0] == ("README.ko.md", "")
    assert links(KOREAN)[0] == ("README.md", "")
    assert sorted(links(KOREAN)[1:]) == sorted(links(ENGLISH)[1:])
