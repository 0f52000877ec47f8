"""Attributes that lead into the harness are not given by a name in a string; honest names and texts are untouched.

Reading order: ways in, honest uses, the price of a hostile result.
"""

# A program or text in a table reads best on one line.
# ruff: noqa: E501

import time
import tracemalloc

import pytest

from sandbox import Limits, Sandbox, Status

WAYS_IN = {
    "attrgetter": "import operator, random\ndef f(x): return str(operator.attrgetter('seed.__func__.__globals__')(random))",
    "attrgetter's type": "import operator\ndef f(x): return str(type(operator.attrgetter('real'))('f.__globals__')(f))",
    "attrgetter from the C module": "import operator\ndef f(x): return str(operator.__dict__['attrgetter'].__closure__[0].cell_contents('__code__')(f)) if x > 1 else str(operator.attrgetter('__code__')(f))",
    "methodcaller": "import operator\ndef f(x): return str(operator.methodcaller('__getattribute__', '__globals__')(f))",
    "a format": "def f(x): return '{0.__globals__}'.format(f)",
    "a format within a format": "def f(x): return '{1:{0.__globals__}}'.format(f, 3)",
    "a format with an item": "def f(x): return '{0[0].__code__.co_code}'.format([f])",
    "format_map": "def f(x): return '{a.__globals__}'.format_map({'a': f})",
    "the format of str": "def f(x): return str.format('{0.__code__}', f)",
    "a name put together": "def f(x): return ('{0.' + '__glo' + 'bals__}').format(f)",
    "Formatter": "import string\ndef f(x): return string.Formatter().format('{0.__globals__}', f)",
    "update_wrapper": "import functools\nclass W:\n    def __setattr__(self, n, v): object.__setattr__(self, 'got', str(v))\ndef f(x):\n    w = W()\n    functools.update_wrapper(w, f, assigned=['__globals__'], updated=[])\n    return w.got",
    "an annotation": "import typing\ndef g(a: 'f.__globals__'): pass\ndef f(x): return str(typing.get_type_hints(g))",
    "a call in an annotation": "import typing\ndef g(a: \"getattr(f, '__glob' + 'als__')\"): pass\ndef f(x): return str(typing.get_type_hints(g))",
}
HONEST = {
    "text with dots": ("def f(x): return 'see a.__globals__ and {}'.format(x)", "see a.__globals__ and 1"),
    "text in braces": ("def f(x): return '{{0.__code__}} {}'.format(x)", "{0.__code__} 1"),
    "fields": ("class A:\n    n = 3\ndef f(x): return '{0.n} {0.n:>{w}} {d[a.b]} {self}'.format(A(), w=5, d={'a.b': 1}, self=x)", "3     3 1 1"),
    "getters": ("from operator import attrgetter, methodcaller\ndef f(x): return sorted([2j, 3, 2], key=attrgetter('real')), methodcaller('upper')('a'), attrgetter('real', 'imag')(1j), attrgetter('__class__.__name__')(x)", ([2j, 2, 3], "A", (0.0, 1.0), "int")),
    "wraps": ("import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n    return w\n@d\ndef f(x):\n    'doc'\n    return f.__name__, f.__doc__", ("f", "doc")),
    "annotations": ("import typing\ndef g(a: 'list[int] | None', b: 'typing.Optional[\"str\"]'): pass\ndef f(x): return [*typing.get_type_hints(g)]", ["a", "b"]),
    "classes": ("import dataclasses, typing\n@dataclasses.dataclass\nclass A:\n    x: 'int' = 3\nclass N(typing.NamedTuple):\n    a: 'int'\ndef f(x):\n    match A():\n        case A(x=y): return y, N(1).a, '{:.2f}'.format(1.5), str(A())", (3, 1, "1.50", "A(x=3)")),
    "a broken format": ("def f(x):\n    try: return '{0.__globals__'.format(f)\n    except ValueError as e: return str(e)", "expected '}' before end of string"),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS_IN)
def test_no_string_names_an_attribute_that_leads_into_the_harness(name: str, box: Sandbox) -> None:
    for imports in ("training", "stdlib"):
        (result,) = box.run_many(WAYS_IN[name], ["1"], imports=imports)
        assert result.status in (Status.DENIED, Status.ERROR), result
        assert "globals" in result.message or "the sandbox" in result.message
        assert "the sandbox" in result.message or name == "attrgetter's type"


@pytest.mark.parametrize("name", HONEST)
def test_honest_names_and_texts_are_untouched(name: str, box: Sandbox) -> None:
    program, value = HONEST[name]
    result = box.run(program, "1")
    assert (result.status, result.value) == (Status.OK, value), result


NESTED = "def f(x):\n    value = frozenset(range(x, x + 120_000))\n    for _ in range(90): value = frozenset((value,))\n    return value"
TABLES = "def f(x):\n    return [{}] * 30_000"


@pytest.mark.parametrize("program", [NESTED, TABLES, "def f(x): return 'x' * 1_000_000"])
def test_a_hostile_result_costs_the_host_little_when_large_ones_are_of_no_use(box: Sandbox, program: str) -> None:
    limits = Limits(cpu_s=3, wall_s=60, result_bytes=7424)
    inputs = [str(number) for number in range(1, 11)]
    box.submit_deterministic_many(program, inputs[:1], limits=limits).result()
    tracemalloc.start()
    began = time.process_time()
    found = box.submit_deterministic_many(program, inputs, limits=limits).result()
    cost_s, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {each.result.status for each in found} == {Status.OUTPUT_LIMIT}
    assert cost_s < 0.5
    assert peak < 4 << 20


def test_a_value_of_nested_sets_is_written_and_read_in_linear_time() -> None:
    from sandbox.codec import canonical, decode, encode

    def nested(size: int) -> object:
        value: object = frozenset(range(size))
        for _ in range(90):
            value = frozenset((value,))
        return value

    value = nested(60_000)
    began = time.process_time()
    data = encode(value)
    assert decode(data, max_bytes=1 << 22) == value
    assert canonical(value) == canonical(decode(data, max_bytes=1 << 22))
    assert time.process_time() - began < 3
