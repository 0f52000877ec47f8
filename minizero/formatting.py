"""Numbers and model text in a form that is safe and pleasant to show.

Reading order: visible and short (model text is hostile), then percent, points, number, signed, duration; shell
and install; did_you_mean and why, which errors are made of.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

# Control characters move cursors and recolour terminals; bidirectional marks make code read as other code; lone
# surrogates cannot be written as UTF-8; tags and the last planes are invisible. All are shown as the escape that names
# them.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


def visible(text: str) -> str:
    """The text with everything but printable characters, newlines and tabs written as an escape.

    >>> visible("a\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _HOSTILE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short(text: str, limit: int) -> str:
    """The visible text, cut after `limit` characters, saying how much was cut."""
    cut = len(text) - limit
    return visible(text) if cut <= 0 else f"{visible(text[:limit])} … ({cut} more characters)"


def percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def points(value: float) -> str:
    """A difference in percentage points, signed by a true minus sign or plus; zero (below 1e-7) by neither.

    What one decimal would round to zero keeps its first digit, so that the sign of an interval's end stays readable.

    >>> points(-0.04), points(4.61), points(0.0)
    ('−0.04', '+4.6', '0.0')
    """
    size = abs(value)
    if size < 1e-7:
        return "0.0"
    digits = 1 if size >= 0.05 else -math.floor(math.log10(size))
    return f"{'−' if value < 0 else '+'}{size:.{digits}f}"


def times(count: int) -> str:
    """How often, in words.

    >>> [times(count) for count in (1, 2, 1200)]
    ['once', 'twice', '1,200 times']
    """
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def number(value: float) -> str:
    """A number at a length that reads well.

    >>> number(12345.6), number(2.5), number(0.00031)
    ('12,346', '2.5', '0.00031')
    """
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−", 1) if value < 0 else f"{value:.3g}"


def signed(value: float) -> str:
    """A number with its sign: what a reward looks like."""
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def duration(seconds: float) -> str:
    """
    >>> duration(42), duration(130), duration(7320)
    ('42 s', '2 min 10 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 or not seconds else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def is_checkout() -> bool:
    """Whether this code runs where make can mend what is missing: in the repository, not from a wheel."""
    return (Path(__file__).parents[1] / "Makefile").is_file()


def install(extra: str) -> str:
    """The command that adds an extra: make's in a clone of the repository, whose environment is not the shell's."""
    return f"make install EXTRAS={extra}" if is_checkout() else f"pip install 'minizero[{extra}]'"


def shell(*words: object) -> str:
    """A command line that can be pasted: what holds spaces or other signs of the shell stands in quotes.

    >>> shell("minizero", "report", "runs/a run")
    "minizero report 'runs/a run'"
    """
    return shlex.join(map(str, words))


def did_you_mean(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """The allowed name that is nearest to a mistyped one, as a sentence to stand after another; "" where none is near.

    cutoff: how alike they must be, as difflib's ratio in [0, 1].

    >>> did_you_mean("humanevla", ["humaneval", "mbpp"]), did_you_mean("gsm8k", ["humaneval", "mbpp"])
    (' Did you mean humaneval?', '')
    """
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]}?" if near else ""


def why(error: BaseException) -> str:
    """An error in a few words, without the path that the sentence around it names.

    >>> why(KeyError("step")), why(FileNotFoundError(2, "No such file or directory", "a.json")), why(ValueError())
    ("'step' is missing", 'No such file or directory', 'ValueError')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
