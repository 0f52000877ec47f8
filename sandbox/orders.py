"""Whether a program may depend on the order of a set or on addresses, read from its text: it is then run more often.

Reading order: may_depend_on_order, may_depend_on_addresses. The text is hostile, so it is scanned, never parsed; a
wrong yes costs a few runs.
"""

import re
from typing import Final

_WORDS: Final = re.compile(r"set\b|hash|\{[^:{}]*\}|\bkeys\b|\bitems\b")
_TOKEN: Final = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>'''(?:[^\\']|\\.|'(?!''))*(?:''')?|\"\"\"(?:[^\\"]|\\.|"(?!\"\"))*(?:\"\"\")?
        |'(?:[^'\\\n]|\\.)*'?|"(?:[^"\\\n]|\\.)*"?)
    |(?P<mark>[\[\](){}]|:=?|\blambda\b)""",
    re.VERBOSE | re.DOTALL,
)
# A quote without its end takes the rest, so that no other quote looks for one again.
_NESTED: Final = 3
"""Strings within strings that are scanned: the code in an f-string, or in the text for eval."""


def may_depend_on_order(program: str) -> bool:
    """Whether the text names sets or hashes, or has braces without a colon of their own: a set is no dict."""
    return _WORDS.search(program) is not None or _has_set_display(program, _NESTED)


_ADDRESS: Final = re.compile(r"\b(?:id|hash|__hash__|__repr__)\b")
"""What gives an address, or what is made of one, by itself."""
_OBJECTS: Final = re.compile(r"\b(?:class|lambda|object|type|map|filter|zip|iter|reversed|enumerate|yield)\b")
"""What makes objects that are placed in a set, and shown in a text, by their addresses."""
_SHOWN_F: Final = re.compile(r"[({]\s{0,9}f\s{0,9}[)}!:,]|%\s{0,9}f\b")
_TEXT: Final = re.compile(r"\b(?:repr|str|ascii|format|print|vars)\b|%|\b[fF][rR]?['\"]|\b[rR][fF]['\"]")


def may_depend_on_addresses(program: str) -> bool:
    """Whether the text makes objects that are known by their addresses, and puts them in a set or shows them."""
    if _ADDRESS.search(program):
        return True
    if not _OBJECTS.search(program) and program.count("def ") < 2:
        return _SHOWN_F.search(program) is not None
    return _TEXT.search(program) is not None or may_depend_on_order(program)


def _has_set_display(text: str, nested: int) -> bool:
    open_marks: list[str] = []
    """Brackets not yet closed; a brace becomes ':' once it is seen to be a dict. Each lambda takes the next colon."""
    for match in _TOKEN.finditer(text):
        mark = match.group()
        if match.lastgroup == "string" and nested and "{" in mark and _has_set_display(mark.strip("'\""), nested - 1):
            return True
        if match.lastgroup != "mark":
            continue
        if mark in "([{" or mark == "lambda":
            open_marks.append(mark)
        elif mark == ":" and open_marks and open_marks[-1] in ("{", "lambda"):
            brace = open_marks.pop() == "{"
            open_marks += [":"] if brace else []
        elif mark in ")]}":
            while open_marks and open_marks[-1] == "lambda":
                open_marks.pop()
            closed = open_marks.pop() if open_marks else ""
            if mark == "}" and closed != ":":
                return True
    return "{" in open_marks
