"""What `time` makes of seconds and dates, without the clock that Python's own functions read when given nothing.

Reading order: localtime, then asctime and strftime. What stands in for those of `time` keeps no real one within it,
which a program could find and call. A zygote's time zone is UTC.
"""

import ctypes
import math
import time
from collections.abc import Sequence
from operator import index
from typing import Any, Final

_DAY_S: Final = 86_400
_DAYS_TO_1970: Final = 719_162
"""From the first of January of the year 1."""
_FIELDS: Final = (
    ("month", 1, 0, 11), ("day of month", 2, 1, 31), ("hour", 3, 0, 23), ("minute", 4, 0, 59), ("seconds", 5, 0, 61),
    ("day of week", 6, 0, 6), ("day of year", 7, 0, 365),
)  # fmt: skip


class _Date(ctypes.Structure):
    """struct tm."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("sec", "min", "hour", "mday", "mon", "year", "wday", "yday", "isdst")),
        ("gmtoff", ctypes.c_long),
        ("zone", ctypes.c_char_p),
    )


_format: Any = ctypes.CDLL(None).wcsftime
_format.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_wchar_p, ctypes.POINTER(_Date))
_format.restype = ctypes.c_size_t


def localtime(seconds: float) -> time.struct_time:
    """The date of that many seconds since 1970."""
    days, rest = divmod(math.floor(seconds), _DAY_S)
    if abs(days) > 1 << 39:
        raise OverflowError("timestamp out of range for platform time_t")
    days += _DAYS_TO_1970
    year = 1 + days * 400 // 146_097  # a guess that is wrong by a day or two
    while days < _days_before(year):
        year -= 1
    while days >= _days_before(year + 1):
        year += 1
    day = at = days - _days_before(year)
    month = 1
    while day >= (length := _length(year, month)):
        day, month = day - length, month + 1
    fields = (year, month, day + 1, rest // 3600, rest // 60 % 60, rest % 60, days % 7, at + 1, 0)
    return time.struct_time(fields, {"tm_zone": "UTC", "tm_gmtoff": 0})


def _days_before(year: int) -> int:
    past = year - 1
    return past * 365 + past // 4 - past // 100 + past // 400


def _length(year: int, month: int) -> int:
    if month == 2:
        return 28 + (_days_before(year + 1) - _days_before(year) - 365)
    return 30 + (month + month // 8) % 2


def asctime(at: Sequence[int]) -> str:
    """A date as `Sun Jun  9 04:26:40 1993`."""
    year, month, day, hour, minute, second, weekday = _checked(at)[:7]
    names = time.struct_time((1900, month + 1, 1, 0, 0, 0, (weekday - 1) % 7, 1, 0))
    return f"{strftime('%a %b', names)}{day:3} {hour:02}:{minute:02}:{second:02} {year}"


def strftime(form: str, at: Sequence[int]) -> str:
    """A date as the format says; the C library does it, in Python's as here."""
    if "\0" in form:
        raise ValueError("embedded null character")
    year, month, day, hour, minute, second, weekday, yearday, summer = _checked(at)
    date = _Date(second, minute, hour, day, month, year - 1900, weekday, yearday, summer)
    if isinstance(at, time.struct_time):
        date.gmtoff, date.zone = at.tm_gmtoff or 0, None if at.tm_zone is None else at.tm_zone.encode()
    size = 1024
    while True:
        text = (ctypes.c_wchar * size)()
        written = _format(text, size, form, ctypes.byref(date))
        if written or size >= 256 * len(form):  # so much room is enough for any format: the text is empty
            return "".join(text[:written])
        size *= 2


def _checked(at: Sequence[int]) -> list[int]:
    """The nine numbers as C counts them (months from 0, weeks from Sunday). Raises what Python's own raise."""
    if not isinstance(at, tuple):
        raise TypeError("Tuple or struct_time argument required")
    if len(at) != 9:
        raise TypeError("illegal time tuple argument")
    numbers = [index(each) for each in at]
    if not -(1 << 31) + 1900 <= numbers[0] < 1 << 31:
        raise OverflowError("year out of range")
    numbers[1] = numbers[1] - 1 if numbers[1] else 0
    numbers[2] = numbers[2] or 1
    numbers[6] = (numbers[6] + 1) % 7 if numbers[6] >= -1 else -1
    numbers[7] = numbers[7] - 1 if numbers[7] else 0
    for name, place, least, most in _FIELDS:
        if not least <= numbers[place] <= most:
            raise ValueError(f"{name} out of range")
    numbers[8] = max(-1, min(1, numbers[8]))
    return numbers
