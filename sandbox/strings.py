"""String literals: the content of one token, as Python reads it. Nothing here evaluates.

Reading order: read_string, which the grammar calls for each token.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

# No character's name has 100 letters; without the bound every \N{ would be read to the end of the text.
_ESCAPE = re.compile(
    r"\\(\r\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]{0,100}\}|.)", re.DOTALL
)
_PLAIN_ESCAPES: Final = {
    "\n": "", "\r\n": "", "\r": "", "\\": "\\", "'": "'", '"': '"',
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip


def read_string(token: str, fail: Callable[..., Any]) -> str | bytes:
    """The content of one string literal, as Python reads it (an unknown escape stays as written)."""
    prefix = token[: min(token.index(quote) for quote in "'\"" if quote in token)].lower()
    body = token[len(prefix) :]
    width = 3 if body[:3] in ("'''", '"""') and len(body) >= 6 else 1
    body = body[width:-width].replace("\r\n", "\n").replace("\r", "\n")
    is_bytes = "b" in prefix
    if is_bytes and not body.isascii():
        fail("only ASCII characters in a bytes literal", body)
    if "r" not in prefix:

        def unescape(match: re.Match[str]) -> str:
            escape = match[1]
            if escape in _PLAIN_ESCAPES:
                return _PLAIN_ESCAPES[escape]
            if escape[0] in "01234567":
                return chr(int(escape, 8) & 0xFF if is_bytes else int(escape, 8))
            if escape[0] == "x" and len(escape) == 3:
                return chr(int(escape[1:], 16))
            if not is_bytes and escape[0] in "uUN":
                return _unicode_escape(escape, fail)
            if escape == "x":
                fail("two hexadecimal digits after \\x", body)
            return match[0]

        body = _ESCAPE.sub(unescape, body)
    return body.encode("latin-1") if is_bytes else body


def _unicode_escape(escape: str, fail: Callable[..., Any]) -> str:
    try:
        if escape[0] == "N":
            return unicodedata.lookup(escape[2:-1])
        return chr(int(escape[1:], 16))
    except (KeyError, ValueError, OverflowError):
        return str(fail("a Unicode character", "\\" + escape))
