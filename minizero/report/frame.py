"""The frame of every page that minizero writes: nothing is fetched, nothing runs, one style, a link to each section."""

from __future__ import annotations

from collections.abc import Sequence

from minizero.report.style import style_sheet
from minizero.report.tags import Html, Section, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, header: Html, sections: Sequence[Section], *, css: str = "") -> str:
    """The whole HTML text; `css` adds to the style sheet."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style_sheet() + css)),
    )
    links = tag("nav", *(tag("a", part.title, href=f"#{part.name}") for part in sections))
    body = tag("body", header, links, *(part.html for part in sections))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
