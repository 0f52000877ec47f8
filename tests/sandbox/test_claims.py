"""What a program may try with its result, with the expected answer, with the next job, and with its own source.

Reading order: the result channel, the hidden answer, answers as code, leaks between jobs, source text. The attacks that
other files run unprotected are not repeated; where a naive judge falls for an answer, the test shows it.
"""

# A program in a table reads best on one line.
# ruff: noqa: E501

import subprocess
import sys

import pytest

from sandbox import Job, Limits, Sandbox, Status, values

EASY = Limits(cpu_s=2, wall_s=20, memory_mib=256, result_bytes=1 << 16)

CHANNEL = {
    "junk on every descriptor": "import os\ndef f():\n    for d in range(0, 64):\n        try: os.write(d, b'junk' * 50)\n        except OSError: pass\n    return 666",
    "every descriptor closed": "import os\ndef f():\n    os.closerange(0, 64)\n    return 666",
    "a closed channel and a loop": "import os\ndef f():\n    os.close(3)\n    while True: pass",
    "an early exit": "import os\ndef f(): os._exit(0)",
    "a flood without a nonce": "import os\ndef f():\n    while True: os.write(3, b'x' * 65536)",
    "half a frame": "import os\ndef f():\n    os.write(3, b'0' * 20); os._exit(0)",
    "a negative length": "import os\ndef f():\n    os.write(3, b'0' * 16 + b'\\xff' * 8); os._exit(0)",
    "a result that is too large": "def f(): return 'x' * 100_000",
    "a result that is too deep": "def f():\n    x = []\n    for _ in range(150): x = [x]\n    return x",
    "a result that holds itself": "def f():\n    x = []; x.append(x)\n    return x",
    "a result that unfolds to terabytes": "def f():\n    x = []\n    for _ in range(60): x = [x, x]\n    return x",
    "a subclass that lies": "class I(int):\n    def __eq__(self, o): return True\n    def __hash__(self): return 1\ndef f(): return I(5)",
    "a subclass inside a value": "class S(str): pass\ndef f(): return {'a': [S('b')]}",
    "a class that says it is int": "class I:\n    __class__ = int\n    def __int__(self): return 5\ndef f(): return I()",
    "a pickle bomb": "class P:\n    def __reduce__(self): return (print, ('x',))\ndef f(): return P()",
    "an exception without a text": "class E(Exception):\n    def __str__(self): raise self\ndef f(): raise E",
    "an exception whose text is no text": "class T(str): pass\nclass E(Exception):\n    def __str__(self): return T('x' * 10**6)\ndef f(): raise E",
    "an exception with a long text": "def f(): raise ValueError('x' * 10**6)",
    "an exception whose class has no name": "class M(type):\n    @property\n    def __name__(c): raise SystemError\nclass E(Exception, metaclass=M): pass\ndef f(): raise E",
    "an exception that is its own cause": "def f():\n    e = ValueError(); e.__cause__ = e; e.__context__ = e\n    raise e",
    "a patched repr, str and type": "import builtins\ndef f():\n    builtins.repr = builtins.str = builtins.type = lambda *a: '5'\n    return object()",
    "a patched write": "import os\ndef f():\n    os.write = lambda *a: 1\n    return 666",
    "a lowered recursion limit": "import sys\ndef f():\n    sys.setrecursionlimit(30)\n    return object()",
    "a tracing function": "import sys\ndef f():\n    def t(*a): raise SystemError\n    sys.settrace(t); sys.setprofile(t)\n    return object()",
    "a full memory at the end": "import sys\ndef f():\n    sys.hold = []\n    try:\n        while True: sys.hold.append(bytearray(1 << 16))\n    except MemoryError: pass\n    return 'x' * 60_000",
    "no streams": "import sys\ndef f():\n    del sys.stdout, sys.stdin\n    return object()",
    "no modules": "import sys\ndef f():\n    sys.modules.clear()\n    return object()",
    "a generator that never ends": "def f():\n    while True: yield 1",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANNEL)
def test_a_spoiled_result_harms_nobody_else(name: str, box: Sandbox) -> None:
    result = box.run(Job(CHANNEL[name], args="", imports="stdlib", limits=EASY))
    assert result.value is None or result.status is Status.OK
    assert result.status is not Status.OK or values.is_value(result.value)
    assert len(result.message) <= 3000
    assert box.run("def f(x): return x", "'next'").value == "next"


def test_a_result_that_claims_another_job_s_nonce_is_none(box: Sandbox) -> None:
    forge = "import os\ndef f():\n    os.write(3, {nonce!r} + (1).to_bytes(8, 'big') + b'N')\n    os._exit(0)"
    for nonce in (bytes(16), b"\xff" * 16, b"sandbox-nonce---"):
        result = box.run(Job(forge.format(nonce=nonce), args="", imports="stdlib"))
        assert (result.status, result.value) == (Status.CRASHED, None)
        assert "nonce" in result.message


def test_lone_surrogates_and_nulls_in_a_result_arrive_as_they_are(box: Sandbox) -> None:
    assert box.run("def f(): return '\\ud800\\0', b'\\0'", "").value == ("\ud800\0", b"\0")


SECRET = 8_675_309_424_242

SEARCHES = {
    "the frames above it": (
        "import sys\ndef f(x):\n    seen, frame = [], sys._getframe()\n    while frame: seen.append(repr(frame.f_locals)); frame = frame.f_back\n    return str(seen)"
    ),
    "everything that is garbage collected": "import gc\ndef f(x): return ''.join(repr(o)[:5000] for o in gc.get_objects() if type(o) in (dict, list, tuple, str))[:900_000]",
    "the modules' globals": "import sys\ndef f(x): return ''.join(repr(vars(m))[:20000] for m in list(sys.modules.values()) if m)[:900_000]",
    "its command line and environment": "import sys, os\ndef f(x): return repr((sys.argv, sys.orig_argv, dict(os.environ), sys.flags))",
    "its standard input": "import os\ndef f(x): return os.read(0, 1000)",
}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_expected_answer_is_nowhere_in_the_process(name: str, box: Sandbox) -> None:
    job = Job(SEARCHES[name], args="1", imports="stdlib", limits=Limits(cpu_s=10, wall_s=60, memory_mib=512))
    result = box.run(job)
    correct = values.equal(result.value, SECRET) if result.ok else False
    assert not correct
    assert str(SECRET) not in str(result.value)
    assert result.ok, f"the search itself must work, or the test shows nothing: {result}"


def test_a_process_does_not_hold_the_inputs_of_other_jobs(box: Sandbox) -> None:
    for _ in range(12):
        box.run(Job("def f(x): return x + ' and its result'", args="'the earlier input'", imports="stdlib"))
    """Every readable byte of the process is searched, freed memory included, by libc's own memmem and by the collector."""
    limits = Limits(cpu_s=20, wall_s=60, memory_mib=512)
    job = Job(HEAP_SEARCH, args="'tupni reilrae eht', 'tupni gnissim eht'", imports="stdlib", limits=limits)
    found = box.run(job)
    assert found.ok, found
    residue, pages, works = found.value
    assert residue == 0, "an input of another job is in this process"
    assert works, "the search must find a text that is there"
    assert pages > 1000


HEAP_SEARCH = """
import ctypes, gc
libc = ctypes.CDLL(None)
libc.sbrk.restype = libc.memmem.restype = ctypes.c_void_p
libc.memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
# MADV_POPULATE_READ says no to a page that is mapped without being readable; before Linux 5.14 there was none.
advice = 22 if libc.madvise(id(gc) & ~4095, 4096, 22) == 0 else 0
def readable(page): return libc.madvise(page, 4096, advice) == 0
def count(pages, needle):
    seen = 0
    for page in filter(readable, pages):  # asked again, since our own search frees memory as it goes
        at, end = page, page + 4096
        while at < end and (at := libc.memmem(at, end - at, needle, len(needle))):
            seen, at = seen + 1, at + 1
    return seen
def f(backwards, unused):
    # Made before the pages are listed, so that each of them counts itself once.
    wanted, never = [bytes(reversed(text.encode())) for text in (backwards, unused)]
    near = {(id(o) >> 20) + step for o in [*gc.get_objects(), wanted, never] for step in (-1, 0, 1)}
    heap = libc.sbrk(0) & ~4095
    pages = {(number << 20) + offset for number in near for offset in range(0, 1 << 20, 4096)} | set(range(heap - (8 << 20), heap, 4096))
    pages = sorted(page for page in pages if readable(page))
    return count(pages, wanted) - count(pages, never), len(pages), count(pages, b'the <program>'[4:]) > 0
"""


ANSWERS = [
    "1) or (True", "type('A', (), {'__eq__': lambda s, o: True})()", "True or 1", "1 if True else 2", "[x for x in [5]][0]",
    "__import__('os').getpid()", "(lambda: 5)()", "5 if __debug__ else 0", "max(5, 1)", "5;", "int('5')", "*[5]", "f'{5}'", "5 # \n or 1\n",
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_code_is_no_answer(answer: str, box: Sandbox) -> None:
    with pytest.raises(values.InvalidValue):
        values.parse_value(answer)
    assert box.run("def f(x): return x", answer).status is Status.ERROR


@pytest.mark.parametrize("answer", ANSWERS[:3])
def test_a_judge_that_evaluates_would_have_fallen_for_it(answer: str) -> None:
    naive = f"print(f(({answer})) == 5 if False else eval({'(5 == ' + answer + ')'!r}))"
    done = subprocess.run([sys.executable, "-c", f"f = lambda x: x\n{naive}"], capture_output=True, text=True)
    assert done.stdout.strip() in ("True", "1") or "SyntaxError" in done.stderr


LEAKS = {
    "builtins": ("import builtins\nbuiltins.ord = lambda x: 666\ndef f(): return ord('a')", "def f(): return ord('a')", 97),
    "a module's function": ("import math\nmath.sqrt = lambda x: 666\ndef f(): return math.sqrt(4)", "import math\ndef f(): return math.sqrt(4)", 2.0),
    "sys.modules": ("import sys, types\nm = types.ModuleType('json'); m.x = 666; sys.modules['json'] = m\ndef f():\n    import json\n    return json.x",
                    "import json\ndef f(): return json.dumps(1)", "1"),
    "the decimal context": ("import decimal\ndecimal.getcontext().prec = 2\ndef f(): return 666", "import decimal\ndef f(): return decimal.getcontext().prec", 28),
    "the recursion limit": ("import sys\nsys.setrecursionlimit(99)\ndef f(): return 666", "import sys\ndef f(): return sys.getrecursionlimit()", 1000),
    "the random state": ("import random\nrandom.seed(1)\ndef f(): return 666", "import random\nrandom.seed(1); a = random.random()\ndef f(): return a == 0.13436424411240122", True),
    "the environment": ("import os\nos.environ['X'] = '666'\ndef f(): return os.environ['X']", "import os\ndef f(): return os.environ.get('X')", None),
    "a class's attribute": ("import collections\ncollections.Counter.most_common = lambda s: 666\ndef f(): return collections.Counter().most_common()",
                            "import collections\ndef f(): return collections.Counter('aab').most_common(1)", [("a", 2)]),
    "the int digits limit": ("import sys\nsys.set_int_max_str_digits(640)\ndef f(): return 666", "import sys\ndef f(): return sys.get_int_max_str_digits()", 4300),
    "main's globals": ("import sys\nvars(sys.modules['__main__'])['x'] = 666\ndef f(): return 666", "import sys\ndef f(): return vars(sys.modules['__main__']).get('x')", None),
    "an import hook": ("import sys\nclass H:\n    def find_spec(self, *a): raise SystemError\nsys.meta_path.insert(0, H())\ndef f(): return 666", "import sys\ndef f(): return len(sys.meta_path)", 3),
    "a warning filter": ("import warnings\nwarnings.simplefilter('error')\ndef f(): return 666", "import warnings\ndef f():\n    warnings.warn('x')\n    return 1", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_leaks_from_one_job_into_the_next(name: str, box: Sandbox) -> None:
    attack, honest, expected = LEAKS[name]
    # Enough pairs for every zygote to meet both.
    spoiled = [box.submit(Job(attack, args="", imports="stdlib")) for _ in range(8)]
    clean = [box.submit(Job(honest, args="", imports="stdlib")) for _ in range(8)]
    assert all(str(each.result().value) == "666" for each in spoiled), "the attack must work within its own job"
    assert [each.result().value for each in clean] == [expected] * 8


@pytest.mark.parametrize("name", LEAKS)
def test_in_one_process_it_would_leak(name: str) -> None:
    attack, honest, expected = LEAKS[name]
    script = "import sys\nfor source in sys.argv[1:]:\n    g = {'__name__': 'p'}\n    try:\n        exec(source, g); r = g['f']()\n    except BaseException as e: r = e\nsys.__stdout__.write(repr(r))"
    done = subprocess.run([sys.executable, "-c", script, attack, honest], capture_output=True, text=True)
    assert done.stdout != repr(expected) or name == "the random state"


SOURCES = {
    "null bytes": ("def f(): return 1\0", ("error", "ok")),
    "an unknown coding": ("# -*- coding: no-such-coding -*-\ndef f(): return 1", ("ok", "error")),
    "a coding that lies": ("# coding: utf-7\ndef f(): return '+AGEA'", ("ok", "error")),
    "lone surrogates": ("def f(): return '\ud800'", ("error",)),
    "a byte order mark": ("\ufeffdef f(): return 1", ("ok", "error")),
    "carriage returns": ("def f():\r    return 1\r", ("ok",)),
    "form feeds and tabs": ("def f():\n\x0c\treturn 1", ("ok",)),
    "nothing": ("", ("error",)),
    "deep parentheses": ("def f(): return " + "(" * 5000 + ")" * 5000, ("error", "crashed", "memory")),
    "a deep tree": ("def f(): return " + "-" * 50_000 + "1", ("error", "crashed", "memory")),
    "a long chain of attributes": ("def f(): return a" + ".a" * 50_000, ("error", "crashed", "memory", "timeout")),
    "deep blocks": ("\n".join(" " * i + "if 1:" for i in range(200)) + "\n" + " " * 200 + "pass", ("error",)),
    "a deep f-string": ("def f(): return " + "f'{" * 100 + "1", ("error", "crashed")),
    "a huge integer": ("def f(): return " + "9" * 100_000, ("error",)),
    "an invalid escape": ("def f(): return '\\d'", ("ok",)),
    "an assertion": ("def f():\n    assert False", ("error",)),
    "a redefined entry": ("def f(): return 1\ndel f", ("error",)),
    "an entry that is no function": ("f = 5", ("error",)),
    "a program that ends its process": ("import sys\nsys.exit(0)", ("error",)),
    "a program that asks for input": ("def f(): return input()", ("error",)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_strange_source_ends_as_expected(name: str, box: Sandbox) -> None:
    program, allowed = SOURCES[name]
    result = box.run(Job(program, args="", limits=Limits(cpu_s=3, wall_s=20, memory_mib=256)))
    assert str(result.status) in allowed, result
    assert box.run("def f(x): return x", "1").value == 1
