"""Pages and texts from templates/: one self-contained file each, in which every text is escaped and nothing is fetched.

Reading order: Section and page; text and words (not escaped but made visible); then what templates may use.
A page of kind "run" is templates/page.html around the macros of templates/run.html: `header`, and one for each section.
"""

from __future__ import annotations

import base64
import hashlib
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from minizero.formatting import duration, number, percent, points, short, signed, visible
from minizero.report import claims
from minizero.report.words import REASONS, VERDICTS, requested_lines, reward_of

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'"  # of our own script and no other


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: `name` is its anchor, `macro` draws it with `data` as arguments."""

    name: str
    title: str
    macro: str
    data: Mapping[str, object]


def page(kind: str, title: str, sections: Sequence[Section | None], **header: object) -> str:
    """The whole HTML text; `header` are the arguments of the macro that draws what stands above the sections."""
    css, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    policy = POLICY.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode())
    shown = [section for section in sections if section]
    template = _environment(is_html=True).get_template("page.html")
    files = {"kind": f"{kind}.html", "css": css, "script": script, "policy": policy}
    return template.render(title=title, sections=shown, header=header, **files)


def text(template: str, **values: object) -> str:
    """A text for a terminal or Markdown."""
    return _environment(is_html=False).get_template(template).render(**values)


def words(template: str, macro: str, **values: object) -> str:
    """One macro of a text: a sentence or a few."""
    return str(getattr(_environment(is_html=False).get_template(template).module, macro)(**values))


@cache
def _environment(*, is_html: bool) -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=is_html, undefined=StrictUndefined, finalize=_visible,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= {
        "short": short, "percent": percent, "points": points, "number": number, "duration": duration, "signed": signed,
        "in_points": claims.in_points, "as_share": claims.as_share, "place": claims.place,
        "with_interval": claims.with_interval, "cell": _cell, "json": _json, "wrapped": _wrapped,
    }  # fmt: skip
    made.globals |= {
        "direction": claims.direction, "REASONS": REASONS, "VERDICTS": VERDICTS,
        "requested_lines": requested_lines, "reward_of": reward_of,
    }  # fmt: skip
    return made


def _visible(value: object) -> object:
    """What a template writes: control characters as escapes (before Jinja escapes the rest), None as nothing."""
    return value if isinstance(value, Markup) else "" if value is None else visible(str(value))


def _cell(value: object) -> str:
    """Text on one line that cannot break a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").split())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _wrapped(text: str, mark: str = "") -> str:
    """Lines for a terminal of 80 columns; words stay whole."""
    hanging = " " * len(mark)
    return textwrap.fill(text, 78, initial_indent=mark, subsequent_indent=hanging, break_long_words=False)
