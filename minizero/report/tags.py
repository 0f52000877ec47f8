"""HTML and SVG as values: text is escaped unless it is Html already, so that nothing a model wrote can become markup.

Reading order: Html, tag, join; then the few blocks that every section uses.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from minizero.formatting import short, visible

LONGEST = 2400  # characters of one model text; the rest is a replay away
EMPTY = frozenset({"meta", "br", "line", "rect", "circle", "polyline"})


class Html(str):
    """Text that is markup. Made by `tag` and `join` (and from constants of our own); never from data."""

    __slots__ = ()


Child = str | None  # an Html is a str that stays as it is


def escape(text: Child) -> Html:
    """Html stays; other text is made visible (control characters too) and escaped."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(visible(text or ""), quote=True))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. `class_` is class, `stroke_width` stroke-width; None and False leave an attribute out.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
        parts.append(f" {written}" if value is True else f' {written}="{escape(str(value))}"')
    opening = f"<{name}{''.join(parts)}>" if name not in EMPTY or children else f"<{name}{''.join(parts)}/>"
    if name in EMPTY and not children:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Html:
    return Html(escape(between).join(escape(child) for child in children))


def code(text: str, **attributes: object) -> Html:
    """A block of model text, cut where it is very long."""
    return tag("pre", short(text.strip("\n"), LONGEST), **attributes)


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], class_: str = "") -> Html:
    """A table that scrolls sideways by itself on a narrow screen."""
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    cells = [tag("th", cell) for cell in head]
    names = tag("thead", tag("tr", *cells)) if cells else Html()
    return tag("div", tag("table", names, tag("tbody", *body), class_=class_ or None), class_="scroll")


def details(summary: Child, *children: Child) -> Html:
    return tag("details", tag("summary", summary), *children)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: `name` is its anchor."""

    name: str
    title: str
    html: Html


def section(name: str, title: str, *children: Child) -> Section:
    return Section(name, title, tag("section", tag("h2", title), *children, id=name))
