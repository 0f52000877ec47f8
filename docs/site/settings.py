"""All settings as Markdown tables: name, type, default, sentence (minizero/config/describe.py).

`python docs/site/settings.py` prints them; docs/site/pages.py puts them into docs/settings.md.
"""

from __future__ import annotations

from minizero.config.describe import Setting, sections


def tables() -> str:
    """A heading and a table for each section, sections inside sections after their parent."""
    return "\n\n".join(_table(name, sentence, settings) for name, sentence, settings in sections())


def _table(name: str, sentence: str, settings: list[Setting]) -> str:
    rows = []
    for setting in settings:
        key = setting.name.rpartition(".")[2]
        cells = (f"`{key}`", f"`{setting.type}`", f"`{setting.default}`", _text(setting.sentence))
        rows.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    head = ["", "| name | type | default | |", "|---|---|---|---|"] if rows else []
    return "\n".join([f"## {name}", "", _text(sentence), *head, *rows])


def _text(words: str) -> str:
    """A sentence as Markdown: `<think>` is no HTML tag."""
    return words.replace("<", "&lt;")


if __name__ == "__main__":
    print(tables())  # noqa: T201
