"""Which modules a program may import, and what a zygote therefore loads before its first fork.

Reading order: TRAINING, AT_HAND, then allowed_modules, preloaded_modules and needs_more. A child cannot open files, so
only what is loaded here exists for it. The lists are about what is useful and reproducible; protection does not rest on
them.
"""

import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sandbox.types import Imports


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TRAINING: Final = _words(
    """__future__ abc array ast asyncio base64 binascii bisect calendar cmath collections collections.abc colorsys
    contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib enum fnmatch fractions functools
    graphlib hashlib heapq hmac html html.parser io itertools json json.decoder json.encoder keyword math numbers
    operator pprint random re reprlib statistics string struct sys textwrap time traceback types typing unicodedata
    urllib.parse warnings weakref zlib"""
)
"""The harmless standard library: data structures, text, numbers, dates. No processes, files, network, threads."""

AT_HAND: Final = _words(
    """__future__ abc bisect collections collections.abc copy functools heapq io itertools json json.decoder
    json.encoder math operator random re string sys time types typing warnings"""
)
"""What most programs make do with. A zygote with only this is half as large, and a job in it a fifth cheaper."""

_STDLIB_EXTRA: Final = _words(
    """argparse atexit bdb binhex bz2 cmd code codecs codeop concurrent.futures configparser cProfile decimal dis
    doctest email email.message encodings errno filecmp fileinput gc genericpath getopt getpass gettext glob gzip
    html.entities imghdr importlib importlib.util inspect ipaddress linecache locale logging logging.handlers lzma
    marshal mimetypes mmap multiprocessing multiprocessing.pool netrc nturl2path opcode optparse os os.path pathlib
    pickle pickletools pkgutil platform plistlib posixpath profile pstats pyclbr queue quopri resource rlcompleter
    runpy sched secrets select selectors shelve shlex shutil signal site smtplib socket socketserver sqlite3 ssl stat
    string.templatelib stringprep subprocess symtable sysconfig tarfile tempfile test.support threading timeit token
    tokenize tomllib trace traceback tracemalloc types unittest unittest.mock urllib urllib.error urllib.request uuid
    wave xml xml.dom.minidom xml.etree xml.etree.ElementTree zipfile zoneinfo ctypes"""
)

ENCODINGS: Final = _words(
    "ascii base64_codec charmap cp1250 cp1251 cp1252 cp437 cp850 hex_codec idna iso8859_1 iso8859_15 iso8859_2 koi8_r "
    "latin_1 mac_roman punycode quopri_codec raw_unicode_escape rot_13 shift_jis unicode_escape utf_16 utf_16_be "
    "utf_16_le utf_32 utf_32_be utf_32_le utf_7 utf_8 utf_8_sig uu_codec zlib_codec"
)
"""Codecs are modules that str.encode loads on first use; a child could not."""

HIDDEN: Final = ("_strptime", "_pydecimal", "_pydatetime", "stringprep", "unicodedata", "_compat_pickle")
"""Modules that the standard library loads late, some from C in the name of the program (datetime.strptime)."""


LATE: Final = ("concurrent.futures.thread",)
"""Modules that others load when a program first asks for a part of them. No program needs to name them."""


def allowed_modules(imports: "Imports", packages: tuple[str, ...]) -> frozenset[str]:
    """The names that `import` takes under this setting; a submodule of a package in `packages` counts as named."""
    names = TRAINING if imports == "training" else TRAINING | _STDLIB_EXTRA | (sys.stdlib_module_names - _NEVER)
    return names | frozenset(packages) | frozenset(HIDDEN)


def preloaded_modules(imports: "Imports", at_hand: bool = False) -> tuple[str, ...]:
    """What a zygote tries to load at start, in a fixed order; modules that this Python lacks are left out."""
    if at_hand:
        return tuple(sorted(AT_HAND))
    names = sorted(TRAINING if imports == "training" else TRAINING | _STDLIB_EXTRA)
    return (*names, *(f"encodings.{name}" for name in sorted(ENCODINGS)), *HIDDEN, *LATE)


def needs_more(program: str, packages: tuple[str, ...]) -> bool:
    """Whether the text names a module that is not at hand. A no may be wrong: the job then moves on when it asks."""
    return not _MORE.isdisjoint(words := set(_WORD.findall(program))) or not words.isdisjoint(packages)


SUBMODULES: Final = {
    "numpy": ("numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.testing")
}
"""Submodules that a package loads when they are first used, which would be too late."""

_NEVER: Final = frozenset({"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "ensurepip", "lib2to3"})
"""Modules with a screen, a browser or a download behind them."""

_WORD: Final = re.compile(r"\w+")
_MORE: Final = {name.partition(".")[0] for name in TRAINING - AT_HAND} - {name.partition(".")[0] for name in AT_HAND}
