"""Values: the codec and the grammar read what they wrote, refuse all else, and agree with Python about equality.

Reading order: bytes, then text, then equality; each ends with properties that hypothesis tries to break.
"""

# A program or text in a table reads best on one line.
# ruff: noqa: E501

import contextlib
import math
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import values
from sandbox.values import InvalidValue, decode, digest, encode, equal, is_value, parse_arguments, parse_value, render

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal, of equal types all the way down."""
    return encode(a) == encode(b)


@given(VALUES)
def test_bytes_are_read_back_as_the_same_value(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    with contextlib.suppress(InvalidValue):
        assert is_value(decode(data))


@given(VALUES, st.data())
def test_one_changed_byte_is_never_more_than_another_value(value: Any, data: Any) -> None:
    changed = bytearray(encode(value))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(InvalidValue):
        assert is_value(decode(bytes(changed)))


@pytest.mark.parametrize(
    "foreign", [type("I", (int,), {})(1), object(), range(3), bytearray(b"x"), {1: print}, [1, (2, {3: iter(())})]]
)
def test_what_is_not_exactly_a_value_is_refused_by_its_type(foreign: object) -> None:
    with pytest.raises(InvalidValue, match="is not a value") as refused:
        encode(foreign)
    assert refused.value.reason == "type"


def test_a_list_that_holds_itself_is_too_deep() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(InvalidValue) as refused:
        encode(cycle)
    assert refused.value.reason == "depth"


def test_shared_references_that_unfold_to_terabytes_are_too_large_at_once() -> None:
    for fold in (lambda x: [x, x], lambda x: (x, x), lambda x: {0: x, 1: x}):
        value: Any = []
        for _ in range(60):
            value = fold(value)
        began = time.process_time()
        with pytest.raises(InvalidValue) as refused:
            encode(value)
        assert refused.value.reason == "size"
        assert time.process_time() - began < 10


def test_a_count_of_billions_is_malformed_before_anything_is_made_of_it() -> None:
    for tag in (b"l", b"t", b"e", b"z", b"d", b"s", b"b", b"i"):
        with pytest.raises(InvalidValue):
            decode(tag + b"\xff\xff\xff\xff")


def test_keys_that_all_collide_are_refused_rather_than_put_into_a_table() -> None:
    keys = [i * (2**61 - 1) for i in range(30_000)]  # the hash of each is 0
    members = b"".join(encode(key) for key in keys)
    began = time.process_time()
    with pytest.raises(InvalidValue, match="share one hash"):
        decode(b"e" + len(keys).to_bytes(4, "big") + members)
    with pytest.raises(InvalidValue, match="share one hash"):
        parse_value("{" + ",".join(map(str, keys)) + "}")
    assert time.process_time() - began < 10


@given(VALUES)
def test_rendered_text_is_read_back_as_the_same_value(value: Any) -> None:
    text = render(value)
    assert same(parse_value(text), value)
    text.encode("utf-8")


def nested(inner: Any, wrap: Callable[[Any], Any], times: int) -> Any:
    for _ in range(times):
        inner = wrap(inner)
    return inner


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda x: [x],
    "tuple": lambda x: (x,),
    "frozenset": lambda x: frozenset({x}),
    "set in a tuple": lambda x: (frozenset({x}), 1),
    "dict": lambda x: {1: x},
}
CORES = [None, -1.5, math.nan, -math.inf, 1j, complex(math.nan, -math.inf), -(1 << 20_000), "a", b"", (), frozenset()]


@pytest.mark.parametrize("name", WRAPS)
@pytest.mark.parametrize("core", CORES, ids=lambda core: repr(type(core).__name__ if core else core))
def test_what_is_nested_as_deep_as_a_value_may_be_is_read_back(name: str, core: Any) -> None:
    levels = values.MAX_DEPTH - isinstance(core, tuple | frozenset)
    value = nested(core, WRAPS[name], levels // 2 if name == "set in a tuple" else levels)
    assert same(parse_value(render(value)), value)
    with pytest.raises(InvalidValue):
        render(WRAPS[name](value) if name != "set in a tuple" else nested(value, WRAPS[name], 1))


@given(VALUES, st.sampled_from([*WRAPS.values()]), st.integers(0, 105), st.integers(20, 400))
def test_rendered_text_is_read_under_the_same_caps_or_refused(value: Any, wrap: Any, times: int, cap: int) -> None:
    try:
        deep = nested(value, wrap, times)
    except TypeError:  # a list in a set
        return
    try:
        text = render(deep, max_bytes=cap)
    except InvalidValue:
        return
    assert encode(parse_value(text, max_chars=cap)) == encode(deep)


@pytest.mark.parametrize("value", ["\0" * 300_000, [False] * 200_000, b"\0" * 300_000])
def test_a_value_whose_text_would_not_be_read_is_not_rendered(value: Any) -> None:
    assert is_value(value)
    with pytest.raises(InvalidValue) as refused:
        render(value)
    assert refused.value.reason == "size"
    larger = 1 << 22
    assert parse_value(render(value, max_bytes=larger), max_chars=larger) == value


@pytest.mark.parametrize(
    "text", ["complex(" * 200_000, "float(" * 200_000, "set(" * 200_000, "set([" * 150_000, "list((" * 99 + "1,"]
)
def test_calls_within_calls_are_too_deep_and_no_more(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_value(text)


def test_a_thread_with_little_stack_left_refuses_what_it_cannot_follow() -> None:
    text = "[" * 99 + "]" * 99

    def deeper() -> Any:
        try:
            return deeper()
        except RecursionError:
            return parse_value(text)

    with pytest.raises((InvalidValue, RecursionError)) as refused:
        deeper()
    assert refused.type is InvalidValue


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.binary(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8))  # fmt: skip
def test_python_s_own_repr_is_read_back(value: Any) -> None:
    assert same(parse_value(repr(value)), value)


PIECES = ["1", "-", "+", "2j", "(", ")", "[", "]", "{", "}", ",", ":", "'a'", 'b"x"', "None", "True", "0x1f", "1.5e3", " ", "\n",
          "set()", "'\\x41'", "r'\\n'", "'''a'''", "00", "01", "1_0", "_", "if", "*", "**", "2", ".", "=", "#x", "f'x'", "\\", "'"]  # fmt: skip


def test_sets_within_sets_take_no_longer_to_render_than_their_size_says() -> None:
    value: Any = frozenset(range(1 << 20, (1 << 20) + 60_000))
    for _ in range(97):
        value = frozenset((value,))
    began = time.process_time()
    assert len(render(value, max_bytes=1 << 30)) > 500_000
    assert time.process_time() - began < 4, "each level orders all below it again"


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_where_python_reads_a_literal_the_grammar_reads_the_same_or_refuses(text: str) -> None:
    try:
        ours = parse_value(text)
    except InvalidValue:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash that means nothing, which Python too reads as itself
        # Not ast.literal_eval, which refuses two signs. What is left here names nothing but set.
        theirs = eval(text.strip(), {"__builtins__": {}, "set": set})
    assert same(ours, theirs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inf", math.inf), ("-inf", -math.inf), ("float('-inf')", -math.inf), ("float('1e5')", 1e5), ("set()", set()),
        ("frozenset()", frozenset()), ("frozenset({1})", frozenset({1})), ("dict(a=1, b=[2])", {"a": 1, "b": [2]}),
        ("dict([(1, 2)])", {1: 2}), ("list((1, 2))", [1, 2]), ("tuple([1])", (1,)), ("set([1, 1])", {1}), ("1, 2", (1, 2)),
        ("1,", (1,)), ("()", ()), ("(1)", 1), ("1+2j", 1 + 2j), ("-1-2j", -1 - 2j), ("--1", 1), ("'a' 'b'", "ab"),
        ("'\\u00e9\\x41\\101\\N{BULLET}'", "éAA•"), ("b'\\xff'", b"\xff"), ("'\\ud800'", "\ud800"), ("complex(1, 2)", 1 + 2j),
    ],
)  # fmt: skip
def test_these_texts_are_values(text: str, value: Any) -> None:
    assert same(parse_value(text), value)


@pytest.mark.parametrize(
    "text",
    [
        "a", "a.b", "f(1)", "1 + 'a'", "2 ** 'a'", "'a' * 9.0", "[1] + (2,)", "{1} + {2}", "1 / 2", "3 % 2", "1 -", "2 ***3", "-'a'", "+[1]", "0 ** -1",
        "range(3)", "[range(3)]", "list(range(3, a=1))", "list(range(1.5))", "chr('a')", "chr(-1)", "chr(1, 2)", "max([1])", "[x for x in ()]", "lambda: 1", "__import__('os')", "1 if 1 else 2",
        "{**{}}", "[*()]", "f'{1}'", "not 1", "1 < 2", "x := 1", "eval('1')", "float(a=1)", "open('x')", "print", "...",
        "", " ", "\0", "'\0'", "\ud800", "'\ud800'", "1\n2", "[1", "1]", "[1 2]", "{1: 2, 3}", "{[]}", "{{}}", "[" * 5000,
        "(" * 90000 + ")" * 90000, "-" * 100000 + "1", "1) or (True", "9" * 5000, "list({1})", "dict(1)", "'a' b'b'", "0b2",
        "'\\x4'", "'\\N{NO SUCH}'", "b'\\u1234'é", "1__0", "01", "float('x')", "set(1)", "{1} | {2}", "1;2", "int('1')",
    ],
)  # fmt: skip
def test_these_texts_are_not(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_value(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 1", 2), ("2 + 3 * 4", 14), ("(2 + 3) * 4", 20), ("10 - 2 - 3", 5), ("2 ** 3 ** 2", 512), ("-2 ** 2", -4), ("2 ** -1", 0.5),
        ("2 ** --1", 2), ("True + True", 2), ("+True", 1), ("1j + 1", 1 + 1j), ("1.5 * 2", 3.0), ("[' '] * 3", [" "] * 3), ("3 * 'ab'", "ababab"),
        ("'a' 'b' * 2", "abab"), ("(1,) + (2, 3)", (1, 2, 3)), ("[1] + [2] * 2", [1, 2, 2]), ("b'a' * 2", b"aa"), ("'a' * -1", ""),
        ("{1 + 1: [0] * 2}", {2: [0, 0]}), ("list(range(3))", [0, 1, 2]), ("tuple(range(6, 0, -2))", (6, 4, 2)), ("set(range(1 + 1))", {0, 1}),
        ("chr(97)", "a"), ("chr(60 + 5) * 2", "AA"), ("dict(a=1 + 1)", {"a": 2}), ("float(1 + 1)", 2.0), ("1 + 2, 3", (3, 3)),
    ],
)  # fmt: skip
def test_constants_are_folded(text: str, value: Any) -> None:
    assert same(parse_value(text), value)
    assert parse_arguments(f"0, x={text}" if "," not in text else f"0, x=({text})") == ((0,), {"x": value})


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 9 ** 9", "(2 ** 16000) * (2 ** 16000)", "1 << 9", "'a' * 10 ** 9", "10 ** 9 * [0]", "[[[0] * 999] * 999] * 999",
        "list(range(10 ** 9))", "tuple(range(0, 1, 0))", "list(range(2 ** 99))", "chr(10 ** 9)", "chr(2 ** 16000)", "dict(a=1) * 9",
        "dict(a='b' * 10 ** 6)", "set(range(10 ** 7))", "set() * 3", "float('9' * 10 ** 6)", "10 ** 400 * 1.0", "1e308 ** 2",
        "[" + "2 ** 9999," * 50_000 + "]", "1" + " + 1" * 200_000, "0" + " ** 0" * 70_000, "'a'" + " * 2" * 200_000,
    ],
)  # fmt: skip
def test_constants_that_would_take_time_or_memory_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidValue) as refused:
        parse_value(text)
    assert refused.value.reason in ("size", "syntax")
    assert time.process_time() - began < 2


# Two of each kind that is folded: one that is large at once, one that grows by small steps or hides in another kind.
HOSTILE = {
    "+": ("'a' * 40000 + 'b' * 40000", "+".join(["[0] * 9000"] * 9)),
    "-": ("2 ** 16384 - 1", "-".join(["2 ** 9999"] * 500)),
    "*": ("[[0] * 10 ** 6] * 10 ** 6", "((((('ab' * 99) * 99) * 99) * 99) * 99)"),
    "**": ("9 ** 9 ** 9 ** 9", "(((10 ** 99) ** 99) ** 99) ** 99"),
    "set": ("set(range(10 ** 9))", "set([0] * 10 ** 8)"),
    "frozenset": ("frozenset(range(-10 ** 9, 0))", "frozenset('a' * 10 ** 8)"),
    "dict": ("dict(a=[0] * 10 ** 9)", "dict([(0, 'b' * 10 ** 7)] * 10 ** 3)"),
    "list": ("list(range(10 ** 18))", "list((0,) * 10 ** 9)"),
    "tuple": ("tuple(range(0, 10 ** 9, 1))", "tuple([tuple(range(40000)), tuple(range(40000))])"),
    "range": ("list(range(10 ** 400))", "[list(range(999)), list(range(999))] * 999"),
    "float": ("float(10 ** 400)", "float('1' * 10 ** 7)"),
    "chr": ("chr(10 ** 18) * 2", "chr(97) * 10 ** 9"),
    "complex": ("complex(10 ** 400, 1)", "(9e307 + 1j) ** 10 ** 9"),
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in HOSTILE.items() for text in texts])
def test_each_kind_of_constant_refuses_what_is_hostile_before_it_is_made(kind: str, text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidValue) as refused:
            parse_value(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.reason in ("size", "syntax"), kind
    assert peak < 16 * 2**20  # bytes; none of these values would fit


def test_a_right_answer_in_arithmetic_is_folded_as_published_scorers_read_it() -> None:
    assert parse_arguments("[' '] * 10") == (([" "] * 10,), {})  # CRUXEval's sample_4
    assert parse_arguments("'', 'a' * 3 + 'b'") == (("", "aaab"), {})
    assert parse_arguments("dict(a=1), set(), list('ab'), tuple([1]), float('1.5'), chr(33)") == (
        ({"a": 1}, set(), ["a", "b"], (1,), 1.5, "!"),
        {},
    )


def test_arguments_are_positional_and_named_values() -> None:
    assert parse_arguments("1, [2], key='a=,)'") == ((1, [2]), {"key": "a=,)"})
    assert parse_arguments("") == ((), {})
    assert parse_arguments("(1, 2),") == (((1, 2),), {})


@pytest.mark.parametrize(
    "text", ["a=1, 2", "a=1, a=2", "*[1]", "**{}", "1) or (True", "1=2", "None=1", "x", "1 2", ",", "a==1", "a.b=1"]
)
def test_what_is_no_list_of_arguments_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_arguments(text)


def test_long_text_is_refused_by_its_size() -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_value("[" + "1," * values.MAX_BYTES + "]")
    assert refused.value.reason == "size"


@pytest.mark.parametrize(
    ("a", "b"),
    [(True, 1), (5, 5.0), (0.0, -0.0), (1 + 0j, 1), ({1}, frozenset({1})), ({1: 2, 3: 4}, {3: 4.0, True: 2}),
     (math.nan, math.nan), ([math.nan], [float("nan")]), ({math.nan: 1}, {float("nan"): 1}), (2**60, float(2**60))],
)  # fmt: skip
def test_these_are_equal(a: Any, b: Any) -> None:
    assert equal(a, b)
    assert digest(a) == digest(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1], (1,)),
        ("1", 1),
        (b"a", "a"),
        ({}, []),
        (2**53 + 1, float(2**53)),
        (None, False),
        ({1}, [1]),
        (math.nan, None),
        (1j, 1),
    ],
)
def test_these_are_not(a: Any, b: Any) -> None:
    assert not equal(a, b)


@given(VALUES, VALUES)
def test_equality_is_python_s_where_there_is_no_nan(a: Any, b: Any) -> None:
    if "nan" not in repr(a) + repr(b):
        assert equal(a, b) == (a == b)
    assert equal(a, a)


def test_an_object_that_says_it_equals_everything_is_not_compared() -> None:
    always = type("Always", (int,), {"__eq__": lambda self, other: True})()
    with pytest.raises(InvalidValue):
        equal(always, 5)
