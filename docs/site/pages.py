"""What mkdocs does beside rendering docs/: it publishes the files of the repository that pages link to, and settings.

A link such as ../minizero/learn/losses.py is right for whoever reads docs/ in the repository. On the site it leads to a
page made of that file. Reading order: on_files (which files), on_page_markdown (links and settings), then the two ways
between places in the repository and on the site.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = "repository"  # folder of the site for what lies outside docs/
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(?=(?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file outside docs/ that a page links to, and for those that such a page links to."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    known = set(waiting)
    while waiting:
        for place in _linked(waiting.pop()):
            if place in known or place.startswith("docs/"):
                continue
            known.add(place)
            files.append(File.generated(config, _on_site(place), content=_content(place)))
            if place.endswith(".md"):
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages of the site; the settings stand in their page."""
    uri = page.file.src_uri
    here = _in_repository(uri)
    if not here.endswith(".md"):
        return markdown

    def moved(match: re.Match[str]) -> str:
        place = _resolve(here, match[1])
        if place is None:
            return match[1]
        return posixpath.relpath(_on_site(place), posixpath.dirname(uri) or ".")

    if uri == "settings.md":
        sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
        from settings import tables

        markdown = markdown.replace("<!-- settings -->", tables())
    return LINK.sub(moved, markdown)


def _linked(place: str) -> Iterator[str]:
    """Files of the repository that a Markdown file links to."""
    for target in LINK.findall((ROOT / place).read_text(encoding="utf-8")):
        found = _resolve(place, target)
        if found is not None and (ROOT / found).is_file():
            yield found


def _resolve(place: str, target: str) -> str | None:
    """The place in the repository that a link means; None for an address, or for what is not there."""
    if "://" in target or target.startswith(("mailto:", "#")):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(place), target.replace("\\", "")))
    return found if os.path.exists(ROOT / found) else None


def _on_site(place: str) -> str:
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return f"{OUTSIDE}/{place}" if place.endswith(".md") else f"{OUTSIDE}/{place}.md"


def _in_repository(uri: str) -> str:
    if not uri.startswith(f"{OUTSIDE}/"):
        return f"docs/{uri}"
    place = uri.removeprefix(f"{OUTSIDE}/")
    return place if (ROOT / place).is_file() else place.removesuffix(".md")


def _content(place: str) -> str:
    text = (ROOT / place).read_text(encoding="utf-8")
    if place.endswith(".md"):
        return text
    fence = "`" * (3 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    kind: Any = {".py": "python", ".toml": "toml"}.get(Path(place).suffix, "text")
    return (
        f"---\nsearch:\n  exclude: true\n---\n# {place.replace('_', chr(92) + '_')}\n\n{fence}{kind}\n{text}{fence}\n"
    )
