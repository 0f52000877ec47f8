"""Honest programs give, inside, exactly what they give outside.

Reading order: the programs; each is run plainly here (they are ours) and in the sandbox, and the values compared.
"""

# A program in a table reads best on one line.
# ruff: noqa: E501

import sys
import types

import pytest

from sandbox import Job, Limits, Sandbox, SandboxError, Status, values

PROGRAMS = {
    "math": "import math, cmath\ndef f(): return [math.sqrt(2), math.comb(40, 20), math.inf, -math.inf, cmath.exp(1j), math.gcd(12, 18)]",
    "itertools and functools": (
        "import itertools, functools\n@functools.lru_cache\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "def f(): return [fib(90), list(itertools.permutations('abc')), functools.reduce(int.__mul__, range(1, 20))]"
    ),
    "collections": (
        "from collections import Counter, defaultdict, deque, OrderedDict, namedtuple, ChainMap\nP = namedtuple('P', 'x y')\n"
        "def f():\n    d = defaultdict(list); d['a'].append(1); q = deque([1, 2], maxlen=2); q.append(3)\n"
        "    return [dict(Counter('abca')), dict(d), list(q), tuple(P(1, 2)), list(OrderedDict(a=1)), ChainMap({1: 2})[1]]"
    ),
    "re and string": "import re, string\ndef f(): return re.sub(r'(\\w+) (\\w+)', r'\\2 \\1', 'ab cd'), string.ascii_letters, re.findall(r'\\d+', 'a1b22')",
    "heapq and bisect": "import heapq, bisect\ndef f():\n    h = [3, 1, 2]; heapq.heapify(h)\n    return heapq.heappop(h), bisect.bisect([1, 3], 2), heapq.nlargest(2, h)",
    "fractions and decimal": (
        "from fractions import Fraction\nfrom decimal import Decimal, getcontext\ndef f():\n    getcontext().prec = 50\n"
        "    return str(Fraction(1, 3) + Fraction(1, 6)), str(Decimal(2).sqrt()), float(Fraction('0.125'))"
    ),
    "statistics": "import statistics\ndef f(): return statistics.mean([1, 2, 4]), statistics.stdev([1, 2, 4]), statistics.mode('aab')",
    "dataclasses, enum and typing": (
        "from __future__ import annotations\nfrom dataclasses import dataclass, field, asdict, replace\nimport enum\n"
        "from typing import Optional, List, NamedTuple, Protocol, TypeVar, Generic\nT = TypeVar('T')\n"
        "@dataclass(order=True)\nclass A(Generic[T]):\n    x: int = 1\n    y: Optional[List[int]] = field(default_factory=list)\n"
        "class N(NamedTuple):\n    a: int\nclass C(enum.Enum):\n    RED = enum.auto()\nclass F(enum.Flag):\n    A = 1\n    B = 2\n"
        "def f(): return asdict(replace(A(), x=5)), A(1) < A(2), N(3).a, C.RED.name, (F.A | F.B).value"
    ),
    "abc and copy": (
        "import abc, copy\nclass S(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\nclass Q(S):\n    def area(self): return 4\n"
        "def f():\n    a = [[1], {2: {3}}]; b = copy.deepcopy(a); a[0].append(9)\n    return b, Q().area()"
    ),
    "json, base64, hashlib, zlib, struct": (
        "import json, base64, hashlib, zlib, struct, binascii, hmac\ndef f():\n    return (json.loads(json.dumps({'a': [1, None, 'é']})),\n"
        "        base64.b64encode(b'abc'), hashlib.sha256(b'x').hexdigest(), hashlib.md5(b'x').hexdigest(), hashlib.sha3_256(b'x').hexdigest(),\n"
        "        zlib.decompress(zlib.compress(b'x' * 99)), struct.unpack('>HI', struct.pack('>HI', 1, 2)), binascii.crc32(b'q'))"
    ),
    "datetime and calendar": (
        "from datetime import datetime, date, timedelta, timezone\nimport calendar\ndef f():\n"
        "    d = datetime(2024, 2, 28, 12, tzinfo=timezone.utc) + timedelta(days=1, hours=3)\n    e = datetime.strptime('2020-01-05', '%Y-%m-%d')\n"
        "    return [d.isoformat(), repr(e), str(e - datetime(2019, 1, 1)), e.strftime('%A %j'), calendar.isleap(2000), date(2020, 1, 1).weekday(),\n"
        "        datetime.fromisoformat('2021-03-04T05:06:07').timestamp() > 0, isinstance(e, datetime), isinstance(e, date), e == datetime(2020, 1, 5),\n"
        "        calendar.month(2024, 2), min(datetime.max, e) == e, (e.replace(year=1999)).year, e.date().isoformat()]"
    ),
    "seeded random": "import random\ndef f():\n    r = random.Random(7); random.seed(3)\n    return [r.random(), random.randint(1, 99), random.sample(range(50), 5), random.choice('abc'), r.gauss(0, 1)]",
    "asyncio": (
        "import asyncio\nasync def g(n):\n    await asyncio.sleep(n)\n    return n * n\nasync def main():\n    q = asyncio.Queue(); await q.put(5)\n"
        "    async with asyncio.timeout(50): pass\n    return await asyncio.gather(*map(g, range(4))) + [await q.get()]\ndef f(): return asyncio.run(main())"
    ),
    "generators and closures": (
        "def count(n):\n    while n: n -= 1; x = yield n\ndef adder(a):\n    def g(b):\n        nonlocal a; a += b; return a\n    return g\n"
        "def f():\n    g = adder(1); g(2)\n    return list(count(4)), g(3), [(lambda i=i: i)() for i in range(3)], {k: v for k, v in zip('ab', (1, 2))}"
    ),
    "classes": (
        "class A:\n    n = 0\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x == o.x\n    def __hash__(self): return hash(self.x)\n"
        "    @property\n    def twice(self): return 2 * self.x\n    @classmethod\n    def make(cls): return cls(5)\nclass B(A):\n    def __repr__(self): return super().__repr__()[:2]\n"
        "def f(): return A.make().twice, len({A(1), B(1)}), repr(B(2)), [c.__name__ for c in B.__mro__]"
    ),
    "recursion to depth 900": "def f(n=900): return 0 if n == 0 else 1 + f(n - 1)",
    "big integers": "def f(): return [3 ** 5000, -(2 ** 9999), (1 << 20000) % 997, str(7 ** 500)]",
    "unicode": "import unicodedata\ndef f(): return 'é√🙂' * 3, unicodedata.normalize('NFD', 'é'), 'ß'.upper(), 'abc'.encode('utf-16'), 'é'.encode('cp1252'), 'привет'.encode('koi8_r')",
    "inf, nan and complex": "def f(): return [float('nan'), {float('inf'): -0.0}, 1j ** 2, complex('nan+1j'), 1e308 * 10]",
    "nested containers": "def f(): return {'a': [(1, {2, 3}), frozenset({(4,)}), {None: {True: b'x'}}], (1, 2): []}",
    "exceptions": (
        "class E(Exception): pass\ndef f():\n    try:\n        try: {}['x']\n        except KeyError as k: raise E('a') from k\n        finally: x = 1\n"
        "    except* E as g: y = [str(e) for e in g.exceptions] + [x]\n    return y"
    ),
    "pattern matching": "def f():\n    match {'k': [1, 2, 3]}:\n        case {'k': [a, *rest]}: return a, rest",
    "text": "import textwrap, difflib, html, pprint, urllib.parse, csv, io\ndef f():\n    return (textwrap.fill('a b c d', 3), difflib.get_close_matches('appel', ['ape', 'apple']), html.escape('<'), pprint.pformat([1] * 40),\n        urllib.parse.quote('a b'), list(csv.reader(io.StringIO('a,\"b,c\"'))))",
    "time that passes": "import time\ndef f():\n    a = time.perf_counter(); time.sleep(5); b = time.perf_counter()\n    return 5 <= b - a < 6, time.strftime('%Y', time.gmtime(0))",
    "a wait for the clock": "import time\ndef f():\n    t = time.time()\n    while time.time() - t < 0.5: pass\n    return 1",
    "exec and eval of its own": "def f():\n    n = {}\n    exec('def g(x): return x * 2', n)\n    return n['g'](4), eval('1 + 1')",
    "operator, array, weakref, contextlib": (
        "import operator, array, weakref, contextlib, types, graphlib, numbers, keyword, reprlib, ast\n@contextlib.contextmanager\ndef c(): yield 3\nclass A: pass\n"
        "def f():\n    a = A()\n    with c() as x: pass\n    return (operator.itemgetter(1)([1, 2]), array.array('i', [1, 2]).tolist(), weakref.ref(a)() is a, x,\n"
        "        list(graphlib.TopologicalSorter({2: {1}}).static_order()), isinstance(1, numbers.Number), ast.literal_eval('[1]'))"
    ),
}
WAITING = ("time that passes", "a wait for the clock", "asyncio")
"""These would take their time outside, where clocks are real."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_honest_program_gives_what_it_gives_outside(name: str, box: Sandbox) -> None:
    module = types.ModuleType("program")
    sys.modules["program"] = module
    exec(compile(PROGRAMS[name], name, "exec", dont_inherit=True), vars(module))
    outside = None if name in WAITING else vars(module)["f"]()

    result = box.run(Job(PROGRAMS[name], args="", limits=Limits(cpu_s=10, wall_s=60)))

    assert result.status is Status.OK, result
    if outside is not None:
        assert values.encode(result.value) == values.encode(outside)


def test_waiting_costs_no_time(box: Sandbox) -> None:
    asynchronous = (
        "import asyncio\nasync def g():\n    await asyncio.sleep(3600)\n    return 1\ndef f(): return asyncio.run(g())"
    )
    result = box.run(asynchronous, "")
    assert (result.status, result.value) == (Status.OK, 1)
    assert result.cpu_s < 0.5
    forever = "import asyncio\nasync def g(): await asyncio.Event().wait()\ndef f(): return asyncio.run(g())"
    assert "never happen" in box.run(forever, "").message


def test_numpy_works_when_it_is_asked_for() -> None:
    pytest.importorskip("numpy", reason="pip install numpy")
    with Sandbox(workers=1, packages=["numpy"], limits=Limits(cpu_s=10, wall_s=60, memory_mib=1024)) as own:
        program = (
            "import numpy as np\nfrom numpy.linalg import det\nimport numpy.random\ndef f(n):\n    a = np.arange(n * n, dtype=float).reshape(n, n)\n"
            "    return (a @ a).sum().item(), round(float(det(np.eye(3))), 6), np.fft.fft([1, 0]).tolist(), np.random.default_rng(1).integers(9, size=3).tolist()"
        )
        result = own.run(program, "50")
        assert (result.status, result.value[1]) == (Status.OK, 1.0), result
        assert own.run("def f():\n    import numpy\n    return numpy.float64(1)", "").status is Status.NOT_SERIALISABLE
        assert own.run("import numpy\ndef f(): return numpy.fromfile('/etc/passwd').size", "").status is Status.DENIED


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(SandboxError, match="pip install no_such_package"):
        Sandbox(packages=["no_such_package"])
