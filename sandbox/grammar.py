"""The grammar of values: tokens, and one method per rule. Nothing here compiles or evaluates.

Reading order: the token pattern, then Reader (value first, then sums, products and powers of constants, then each kind
of value). The reader's depth and size are capped, and it knows fourteen names: five constants and nine calls.
"""

import keyword
import re
import sys
import unicodedata
from typing import Any, Final, NoReturn

from sandbox.codec import InvalidValue, check_hashes
from sandbox.constants import Constants
from sandbox.strings import read_string

MAX_DECIMAL_DIGITS: Final = 4300
"""Longest decimal integer read or written in base ten (quadratic time beyond it); longer ones are hexadecimal."""

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\f\r\n]|\#[^\r\n]*)+)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?|[uU])?(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"
        |'(?!'')(?:[^'\\\n]|\\.)*'|"(?!\"\")(?:[^"\\\n]|\\.)*"))
    |(?P<number>0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+
        |(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9](?:_?[0-9])*)?[jJ]?)
    |(?P<name>[^\W\d]\w*)
    |(?P<mark>\*\*|[()\[\]{},:=+*-])""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS: Final = {"None": None, "True": True, "False": False, "inf": float("inf"), "nan": float("nan")}
_NUMERIC_CALLS: Final = ("float", "complex", "chr")
_MEMBER_CALLS: Final = ("set", "frozenset", "list", "tuple")
_CALLS: Final = (*_NUMERIC_CALLS, *_MEMBER_CALLS, "dict")  # and range, within one of members
_NUMERIC_DEPTH: Final = 3
"""Calls of float, complex and chr within one another, as in complex(float('nan'), 1)."""
_KEYWORDS: Final = frozenset(keyword.kwlist)


class Reader:
    """A cursor over tokens; each method reads one rule of the grammar and fails with what it saw and expected."""

    def __init__(self, text: str, max_chars: int, max_depth: int) -> None:
        if type(text) is not str:
            raise InvalidValue("type", f"source text is a str, not {type(text).__name__}")
        if len(text) > max_chars:
            raise InvalidValue("size", f"the text has {len(text)} characters, more than {max_chars}")
        if "\0" in text:
            raise InvalidValue("syntax", "the text holds a null byte")
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise InvalidValue("syntax", "the text holds a lone surrogate, which no source file can")
        self.text, self.at = text.strip(" \t\f\r\n"), 0
        self.max_depth = max_depth
        self.open = self.numeric_calls = 0
        self.constants = Constants()
        self.kind, self.token = "", ""
        self.step()

    def step(self) -> None:
        """Move to the next token, or to the end, whose kind and token are empty."""
        while self.at < len(self.text):
            match = _TOKEN.match(self.text, self.at)
            if match is None:
                self.fail("a value", self.text[self.at : self.at + 20])
            self.at, self.kind, self.token = match.end(), str(match.lastgroup), match.group()
            if self.kind != "space":
                self.open += (self.token in tuple("([{")) - (self.token in tuple(")]}"))
                return
            if self.open == 0 and "\n" in self.token and self.at < len(self.text):
                self.fail("the end of the value", "a new line")
        self.kind = self.token = ""

    def fail(self, expected: str, saw: str | None = None) -> NoReturn:
        seen = self.token if saw is None else saw
        raise InvalidValue("syntax", f"expected {expected}, saw {seen[:40]!r}" if seen else f"expected {expected}")

    def sees(self, mark: str) -> bool:
        return self.kind == "mark" and self.token == mark

    def take(self, mark: str) -> None:
        if not self.sees(mark):
            self.fail(f"{mark!r}")
        self.step()

    def finish(self) -> None:
        if self.token:
            self.fail("the end of the text")

    def whole(self, depth: int) -> Any:
        """A value alone, or several: `1, 2` is a tuple."""
        value = self.value(depth)
        return (value, *self.members(depth, end="")) if self.sees(",") else value

    def value(self, depth: int) -> Any:
        """Any value, or constants joined by + - * **; `depth` levels of containers are left to it."""
        value = self.operand(depth)
        if self.kind != "mark" or self.token not in ("+", "-", "*"):
            return value
        value = self.product(value, depth)
        while self.sees("+") or self.sees("-"):
            mark = self.token
            self.step()
            value = self.constants.join(mark, value, self.product(self.operand(depth), depth))
        return value

    def product(self, value: Any, depth: int) -> Any:
        """`* operand` again and again, after the first one."""
        while self.sees("*"):
            self.step()
            value = self.constants.join("*", value, self.operand(depth))
        return value

    def operand(self, depth: int) -> Any:
        """A value with its signs, or a power: signs bind less than ** before it, and more behind it."""
        signs = self.signs() if self.kind == "mark" else ""
        value = self.atom(depth)
        if self.sees("**"):
            powers = [("", value)]
            while self.sees("**"):
                self.step()
                powers.append((self.signs(), self.atom(depth)))
            exponent_signs, value = powers.pop()
            for more_signs, base in reversed(powers):
                value = self.constants.join("**", base, self.constants.signed(exponent_signs, value))
                exponent_signs = more_signs
        return self.constants.signed(signs, value) if signs else value

    def signs(self) -> str:
        """Up to two signs: `--1` is a value in Python too, but nobody writes three."""
        signs = ""
        while len(signs) < 2 and (self.sees("+") or self.sees("-")):
            signs += self.token
            self.step()
        return signs

    def atom(self, depth: int) -> Any:
        """A value without signs and operators."""
        if self.kind == "number":
            return self.number()
        if self.kind == "string":
            return self.string()
        if self.kind == "name":
            return self.named(depth)
        for start, read in (("(", self.parenthesis), ("[", self.bracket), ("{", self.brace)):
            if self.sees(start):
                self.step()
                return read(self.deeper(depth))
        return self.fail("a value")

    def deeper(self, depth: int) -> int:
        if depth <= 0:
            raise InvalidValue("depth", f"values are nested deeper than {self.max_depth}")
        return depth - 1

    def number(self) -> Any:
        text = self.token.replace("_", "")
        self.step()
        if text[:2].lower() in ("0x", "0o", "0b"):
            return int(text, 0)
        if text[-1] in "jJ":
            return complex(0, float(text[:-1]))
        if not text.isdigit():
            return float(text)
        if len(text) > MAX_DECIMAL_DIGITS:
            raise InvalidValue("size", f"an integer of {len(text)} digits, more than {MAX_DECIMAL_DIGITS}")
        if text[0] == "0" and text.strip("0"):
            self.fail("a number without leading zeros", text)
        return int(text)

    def string(self) -> Any:
        parts: list[Any] = []
        while self.kind == "string":
            parts.append(read_string(self.token, self.fail))
            self.step()
        if any(type(part) is not type(parts[0]) for part in parts):
            self.fail("all str or all bytes", "a mixture")
        return type(parts[0])().join(parts)

    def members(self, depth: int, end: str) -> list[Any]:
        """`, value` again and again, up to the end mark, which is left; a comma may stand before it."""
        values = []
        while self.sees(","):
            self.step()
            if self.token == end and self.kind != "string":
                break
            values.append(self.value(depth))
        return values

    def parenthesis(self, depth: int) -> Any:
        if self.sees(")"):
            self.step()
            return ()
        first = self.value(depth)
        is_tuple = self.sees(",")
        rest = self.members(depth, ")")
        self.take(")")
        return (first, *rest) if is_tuple else first

    def bracket(self, depth: int) -> list[Any]:
        values = [] if self.sees("]") else [self.value(depth)]
        values += self.members(depth, "]")
        self.take("]")
        return values

    def brace(self, depth: int) -> Any:
        if self.sees("}"):
            self.step()
            return {}
        keys, values = [self.value(depth)], []
        is_dict = self.sees(":")
        while True:
            if is_dict:
                self.take(":")
                values.append(self.value(depth))
            if self.sees(","):
                self.step()
            elif not self.sees("}"):
                self.fail("',' or '}'")
            if self.sees("}"):
                self.step()
                return self.table(keys, values) if is_dict else set(self.table(keys, keys))
            keys.append(self.value(depth))

    def table(self, keys: list[Any], values: list[Any]) -> dict[Any, Any]:
        try:
            check_hashes(keys)
            return dict(zip(keys, values, strict=True))
        except TypeError as error:
            return self.fail("hashable members", str(error))

    def named(self, depth: int) -> Any:
        name = self.token
        self.step()
        if not self.sees("("):
            if name in _CONSTANTS:
                return _CONSTANTS[name]
            self.fail("a value", name)
        if name not in _CALLS:
            self.fail("a value (of calls only " + ", ".join(_CALLS) + ")", name + "(")
        self.step()
        # What a call adds to the depth: a number is no container, and in set([1]) the two are one.
        if name in _NUMERIC_CALLS:
            self.numeric_calls += 1
            inner = 0
            self.deeper(_NUMERIC_DEPTH + 1 - self.numeric_calls)
        else:
            inner = self.deeper(depth)
            if name in _MEMBER_CALLS and self.kind == "mark" and self.token in ("(", "[", "{"):
                inner += 1
        if name in _MEMBER_CALLS and self.kind == "name" and self.token == "range":
            positional, named = (self.range(),), dict[str, Any]()
        else:
            positional, named = self.arguments(inner, ")")
        self.take(")")
        self.numeric_calls -= name in _NUMERIC_CALLS
        return self.call(name, positional, named)

    def range(self) -> list[Any]:
        """`range(...)` of integers, which is no value by itself."""
        self.step()
        self.take("(")
        bounds, named = self.arguments(0, ")")
        self.take(")")
        if named or not 1 <= len(bounds) <= 3 or any(type(bound) is not int for bound in bounds):
            self.fail("one to three integers in range(...)", "something else")
        return self.constants.range(*bounds)

    def arguments(self, depth: int, end: str = "") -> tuple[tuple[Any, ...], dict[str, Any]]:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        while self.token != end or self.kind == "string":
            name = self.keyword()
            value = self.value(depth)
            if name is None and named:
                self.fail("named arguments only, after the first named one")
            if name is None:
                positional.append(value)
            elif name in named:
                self.fail("each name once", name)
            else:
                named[name] = value
            if not self.sees(","):
                break
            self.step()
        return tuple(positional), named

    def keyword(self) -> str | None:
        """The name in `name=`, if that is what comes next."""
        if self.kind != "name" or not re.match(r"\s*=", self.text[self.at : self.at + 20]):
            return None
        name = unicodedata.normalize("NFKC", self.token)
        if name in _KEYWORDS or not name.isidentifier():
            self.fail("an argument name")
        self.step()
        self.take("=")
        return name

    def call(self, name: str, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if name == "dict":
            pairs = positional[0].items() if len(positional) == 1 and type(positional[0]) is dict else None
            if pairs is None and len(positional) == 1 and type(positional[0]) in (list, tuple):
                pairs = positional[0]
                if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
                    self.fail("pairs of key and value in dict(...)", "something else")
            if positional and pairs is None:
                self.fail("dict(pairs, name=value)", "other arguments")
            rows = [*(pairs or ()), *named.items()]
            return self.table([key for key, _ in rows], [member for _, member in rows])
        if named or len(positional) > (2 if name == "complex" else 1):
            self.fail(f"fewer arguments in {name}(...)", "more")
        if name in _NUMERIC_CALLS:
            return self.numeric(name, positional)
        members = positional[0] if positional else ()
        # A set has no order of its own that list() or tuple() could keep, so those take ordered things only.
        ordered = (list, tuple, str, bytes, dict)
        if type(members) not in (ordered if name in ("list", "tuple") else (*ordered, set, frozenset)):
            self.fail(f"a literal sequence in {name}(...)", "something else")
        if name in ("set", "frozenset"):
            members = self.table(list(members), list(members))
        return {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple}[name](members)

    def numeric(self, name: str, parts: tuple[Any, ...]) -> Any:
        if name == "chr":
            if len(parts) != 1 or type(parts[0]) is not int or not 0 <= parts[0] <= sys.maxunicode:
                self.fail("the number of a character in chr(...)", "something else")
            return chr(parts[0])
        allowed = (int, float, bool, str) if name == "float" else (int, float, bool, complex)
        if any(type(part) not in allowed or (type(part) is str and len(part) > 400) for part in parts):
            self.fail(f"numbers in {name}(...)", "something else")
        try:
            return float(*parts) if name == "float" else complex(*parts)
        except (ValueError, OverflowError) as error:
            return self.fail(f"a number in {name}(...)", str(error))
