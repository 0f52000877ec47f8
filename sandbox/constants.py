"""Constant expressions: what + - * ** make of values that were read already, as in `[' '] * 10`. Nothing is evaluated.

Reading order: Constants.join, then how much a result weighs. The operands come from hostile text, so all results of one
text together have a cap, which is looked at before anything is computed. What is repeated is one object here and
several ones after it has crossed the sandbox's border: `[[0]] * 2` has two lists there.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from sandbox.codec import InvalidValue

MAX_BITS: Final = 1 << 14
"""Largest integer that arithmetic may give; its decimal text is about as long as one may be that is written out."""
ROOM: Final = 1 << 16
"""What the results of one text may weigh together: a unit for each value, character, and eight bytes of an integer."""
_NUMBERS: Final = (bool, int, float, complex)
_SEQUENCES: Final = (str, bytes, list, tuple)
_NUMERIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "**": operator.pow
}  # fmt: skip


class Constants:
    """Joins constants, within one cap for all of a text."""

    def __init__(self) -> None:
        self.room = ROOM

    def join(self, mark: str, left: Any, right: Any) -> Any:
        """`left mark right`: numbers by + - * **, sequences of one type by +, a sequence and an integer by *.

        Raises InvalidValue: size, or syntax for what Python would not compute either.
        """
        if type(left) in _NUMBERS and type(right) in _NUMBERS:
            self.spend(1 + _bits(mark, left, right) // 64)
            try:
                return _NUMERIC[mark](left, right)
            except ArithmeticError as error:  # 0 ** -1, 10 ** 400 * 1.0
                raise InvalidValue("syntax", f"a constant expression that fails: {error}") from None
        if mark == "*" and type(right) in _SEQUENCES:
            left, right = right, left
        if mark == "*" and type(left) in _SEQUENCES and type(right) in (int, bool):
            self.spend(1 + weight(left, self.room) * max(0, right))
            return left * right
        if mark == "+" and type(left) is type(right) and type(left) in _SEQUENCES:
            self.spend(weight(left, self.room) + weight(right, self.room))
            return left + right
        kinds = f"{type(left).__name__} {mark} {type(right).__name__}"
        raise InvalidValue("syntax", f"no constant expression: {kinds}")

    def signed(self, signs: str, value: Any) -> Any:
        """The number after its signs."""
        if signs and type(value) not in _NUMBERS:
            raise InvalidValue("syntax", f"expected a number after {signs}, saw {type(value).__name__}")
        for sign in reversed(signs):
            value = -value if sign == "-" else +value
        return value

    def range(self, *bounds: int) -> list[int]:
        """The integers of range(*bounds)."""
        try:
            numbers = range(*bounds)
            self.spend(1 + len(numbers))
        except (ValueError, OverflowError) as error:
            raise InvalidValue("size", f"a range that cannot be: {error}") from None
        return list(numbers)

    def spend(self, units: int) -> None:
        """Take from the room that is left, before something is made."""
        self.room -= units
        if self.room < 0:
            raise InvalidValue("size", "a constant expression gives more than an answer may hold")


def weight(value: Any, most: int) -> int:
    """Values, characters and eighths of integers' bytes in a value, or a number above `most`."""
    units, waiting = 0, [value]
    while waiting and units <= most:
        value = waiting.pop()
        units += 1
        if type(value) in (str, bytes):
            units += len(value)
        elif type(value) is int:
            units += value.bit_length() // 64
        elif type(value) is dict:
            waiting += [*value.keys(), *value.values()]
        elif type(value) in (list, tuple, set, frozenset):
            waiting += value
    return units


def _bits(mark: str, left: Any, right: Any) -> int:
    """How many bits an integer result has at most; 0 for other numbers. Raises InvalidValue: size."""
    if type(left) not in (int, bool) or type(right) not in (int, bool) or (mark == "**" and right < 0):
        return 0
    one, other = left.bit_length(), right.bit_length()
    bits = max(one, other) + 1
    if mark == "*":
        bits = one + other
    elif mark == "**":
        bits = one * right if one > 1 else 1
    if bits > MAX_BITS:
        raise InvalidValue("size", f"a constant expression with an integer of more than {MAX_BITS} bits")
    return int(bits)
