"""What honest scripts do with their streams, threads and modules: it works, or says clearly that it cannot.

Reading order: scripts that work, the same for functions, then what is refused and in which words.
"""

# A program in a table reads best on one line.
# ruff: noqa: E501

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Job, Sandbox, Status

FAST_IO = """
import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    def __init__(self, file):
        self.fd, self.buffer, self.writable = file.fileno(), BytesIO(), "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def readline(self):
        while not (line := self.buffer.readline()).endswith(b"\\n"):
            more = os.read(self.fd, max(os.fstat(self.fd).st_size, 8192))
            if not more: return line
            self.buffer = BytesIO(line + self.buffer.read() + more)
        return line
    def flush(self):
        if self.writable:
            os.write(self.fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class Wrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush, self.writable = self.buffer.flush, self.buffer.writable
        self.write = lambda text: self.buffer.write(text.encode("ascii"))
        self.readline = lambda: self.buffer.readline().decode("ascii")
sys.stdin, sys.stdout = Wrapper(sys.stdin), Wrapper(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
print(input()[::-1], input())
"""

SCRIPTS = {
    "the streams' modes and names": "import sys\nprint(sys.stdin.mode, sys.stdout.mode, sys.stdin.name, sys.stdout.name, sys.stdin.fileno(), sys.stdout.fileno())",
    "fast input and output of contests": FAST_IO,
    "the original streams": "import sys\nsys.__stdout__.write(sys.__stdin__.readline())\nprint('b', file=sys.__stdout__)",
    "a closed standard output": "import sys\nprint(input())\nsys.stdout.close()",
    "both streams closed": "import sys\nprint(input())\nsys.stdin.close(); sys.stdout.close()",
    "a detached output in a wrapper": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\nprint(input())",
    "a detached output by its bytes": "import sys\nsys.stdout.detach().write(b'bytes')\nsys.stdout = None",
    "a wrapper around the buffer": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer)\nprint(input())",
    "no standard output at all": "import sys\nprint(1)\nsys.stdout = None\nprint(2)",
    "a file by number": "with open(0) as lines: print(*lines)",
    "a file by name": "print(open('/dev/stdin').read()[::-1])",
    "a file by name, twice": "print(open('/dev/stdin').readline(), open('/proc/self/fd/0').read())",
    "a file by path": "from pathlib import Path\nprint(Path('/dev/stdin').read_text())",
    "output by name": "with open('/dev/stdout', 'w') as out: print('x', file=out)\nprint('y')",
    "errors by name": "with open('/dev/stderr', 'w') as out: print('x', file=out)\nprint('y')",
    "a class of its own, pickled": "import pickle\nclass A:\n    def __init__(self): self.x = 5\nprint(pickle.loads(pickle.dumps(A())).x, pickle.loads(pickle.dumps(A)) is A)",
    "itself as a module": "import __main__, sys\nx = 7\nprint(__main__.x, sys.modules[__name__] is __main__)",
    "a pool of threads": "from concurrent.futures import ThreadPoolExecutor, as_completed, wait\nwith ThreadPoolExecutor(max_workers=3) as pool:\n    print(list(pool.map(abs, [-1, 2])), sorted(f.result() for f in as_completed([pool.submit(pow, 2, n) for n in range(3)])))\n    f = pool.submit(int, 'x')\nprint(type(f.exception()).__name__, f.done())\ntry: pool.submit(abs, 1)\nexcept RuntimeError as e: print(e)",
    "a pool with a first task": "from concurrent.futures import ThreadPoolExecutor\nseen = []\nwith ThreadPoolExecutor(initializer=seen.append, initargs=(1,)) as pool: pool.submit(abs, 1); pool.submit(abs, 1)\nprint(seen[:1])",
    "a thread of asyncio": "import asyncio\nasync def main(): print(await asyncio.to_thread(pow, 2, 5))\nasyncio.run(main())",
    "a module that is missing": "try: import numpy_is_not_here\nexcept ModuleNotFoundError: print('none')",
    "files that are not there": "import os\nfor wrong in ('/nowhere', b'/nowhere'):\n    try: open(wrong)\n    except OSError: print('none')\nfor wrong in (1.5, None, []):\n    try: open(wrong)\n    except TypeError: print('type')",
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_what_it_prints_outside(name: str, box: Sandbox, tmp_path: Path) -> None:
    path, text = tmp_path / "script.py", "ab\ncd\n"
    path.write_text(SCRIPTS[name])
    outside = subprocess.run(
        [sys.executable, path], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert outside.returncode == 0
    result = box.run(Job(SCRIPTS[name], stdin=text, imports="stdlib"))
    assert (result.status, result.value) == (Status.OK, outside.stdout), result


FUNCTIONS = {
    "the original stream": ("import sys\ndef f(): sys.__stdout__.write('a\\n'); print('b')", "a\nb\n"),
    "a closed standard output": ("import sys\ndef f(): print('a'); sys.stdout.close()", "a\n"),
    "a detached output": ("import io, sys\ndef f(): print('a'); sys.stdout = io.TextIOWrapper(sys.stdout.detach(), write_through=True); print('b')", "a\nb\n"),
    "no standard output": ("import sys\ndef f(): print('a'); del sys.stdout", "a\n"),
    "an exit with its streams closed": ("import sys\ndef f(): print('a'); sys.stdin.close(); sys.stdout.close(); sys.__stdout__.close()", "a\n"),
    "a class of its own, pickled": ("import pickle\nclass A: pass\ndef f(): print(type(pickle.loads(pickle.dumps(A()))) is A)", "True\n"),
    "a name for what is missing": ("try: import turtle\nexcept ModuleNotFoundError: turtle = 0\ndef f(): print(turtle)", "0\n"),
    "an empty standard input": ("def f(): print(repr(open('/dev/stdin').read()), repr(open(0).read()))", "'' ''\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_prints_as_well(name: str, box: Sandbox) -> None:
    program, printed = FUNCTIONS[name]
    result = box.run(Job(program, args="", imports="stdlib"))
    assert (result.status, result.value, result.stdout) == (Status.OK, None, printed), result


REFUSED = {
    "a pool of processes": ("from concurrent.futures import ProcessPoolExecutor", "'concurrent.futures.process'"),
    "another pool of threads": ("from multiprocessing.pool import ThreadPool\nThreadPool(2)", "'multiprocessing"),
    "a pool that forks": ("import multiprocessing\nmultiprocessing.Pool(2)", "'multiprocessing"),
    "a process": ("from multiprocessing import Process\nProcess(target=print).start()", "'multiprocessing"),
    "a module that is not loaded": ("import wsgiref.simple_server", "'wsgiref"),
    "a module with a screen": ("import turtle", "does not allow the module 'turtle'"),
    "a program that is started": ("import subprocess\nsubprocess.run(['true'])", "not permitted"),
    "a file": ("open('/etc/passwd')", "not permitted"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_denied_in_words_that_name_it(name: str, box: Sandbox) -> None:
    program, words = REFUSED[name]
    result = box.run(Job(program, stdin="", imports="stdlib"))
    assert result.status is Status.DENIED, result
    assert words in result.message
    assert "nothing can be loaded later" in result.message or "not" in result.message
