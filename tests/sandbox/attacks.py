"""The hostile programs, one attack each, by category; test_attacks.py runs them with and without the sandbox.

Reading order: Attack, then one table per category of what a program may try. `acts` return "owned" when the attack has
succeeded (an exception means it was refused); `hangs` run until somebody ends them; `deaths` kill the process they run in.
Words in @CAPITALS@ are filled in by the tests: a canary file that must not appear, a secret file, ports and sockets
of the host that listen, the process that must survive.
"""

# A program in a table reads best on one line.
# ruff: noqa: E501

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile program; `kind` says how an unprotected executor shows that it bites."""

    category: str
    name: str
    kind: str
    program: str

    @property
    def id(self) -> str:
        return f"{self.category}-{self.name}".replace(" ", "_")


def _table(category: str, kind: str, programs: dict[str, str], before: str = "") -> list[Attack]:
    return [Attack(category, name, kind, before + program) for name, program in programs.items()]


OS = "import os, sys, signal, socket, subprocess, ctypes, threading, mmap, resource, time\n"
LIBC = (
    OS
    + "libc = ctypes.CDLL(None, use_errno=True)\ndef ok(r):\n    assert r != -1, ctypes.get_errno()\n    return 'owned'\n"
)

CPU = _table(
    "cpu",
    "hang",
    {
        "an endless loop": "def f():\n    while True: pass",
        "a loop inside one call to C": "def f():\n    return 3 ** (10 ** 9)",
        "a regex that backtracks": "import re\ndef f():\n    return re.match(r'(a+)+$', 'a' * 40 + 'b')",
        "a sum that never leaves C": "import itertools\ndef f():\n    return sum(itertools.repeat(0))",
        "a loop in repr": "class A:\n    def __repr__(self):\n        while True: pass\ndef f():\n    raise ValueError(A())",
        "a loop in an exception's text": (
            "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f():\n    raise E"
        ),
        "a loop in del": "class A:\n    def __del__(self):\n        while True: pass\ndef f():\n    A()\n    return 1",
        "a loop at module level": "while True: pass\ndef f():\n    return 1",
        "a swallowed exception, again and again": (
            "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
        ),
        "a loop in a comparison": (
            "class A(int):\n    def __lt__(self, o):\n        while True: pass\ndef f():\n    return sorted([A(1), A(2)])"
        ),
        "a loop in a metaclass": (
            "class M(type):\n    def __call__(c, *a):\n        while True: pass\nclass A(metaclass=M): pass\ndef f():\n    return A()"
        ),
        "twenty megabytes of source": "def f():\n    return 1\n" + "x = [1, 2]\n" * 2_000_000,
        "an endless generator": "def f():\n    return list(iter(int, 1))[0:0] if max(iter(int, 1)) else 0",
    },
) + _table(
    "cpu",
    "hang",
    {
        "ignored signals": (
            "def f():\n    for s in range(1, 65):\n        try: signal.signal(s, signal.SIG_IGN)\n        except Exception: pass\n"
            "    while True: pass"
        ),
        "a thread left behind": "def f():\n    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n    return 1",
        "a sleep in C": "def f():\n    ctypes.CDLL(None).sleep(60)\n    while True: pass",
        "a loop at exit": (
            "import atexit\ndef f():\n    def g():\n        while True: pass\n    atexit.register(g)\n    sys.exit(g())"
        ),
        "a wait for a lock": "def f():\n    l = threading.Lock(); l.acquire(); l.acquire()",
        "a raised processor limit": (
            "def f():\n    try: resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))\n    except Exception: pass\n    while True: pass"
        ),
    },
    OS,
)

MEMORY = _table(
    "memory",
    "act",
    {
        "a long list": "def f():\n    a = [0] * (20 << 20)\n    return 'owned'",
        "a long string": "def f():\n    a = 'x' * (150 << 20)\n    return 'owned'",
        "many small objects": "def f():\n    a = []\n    while len(a) < 1_200_000: a.append([len(a)])\n    return 'owned'",
        "an integer's digits": "def f():\n    a = 1 << (8 * (150 << 20))\n    return 'owned'",
        "a caught memory error, then more": (
            "def f():\n    a = []\n    for i in range(150):\n        try: a.append(bytearray(1 << 20))\n        except MemoryError: pass\n"
            "    return 'owned' if len(a) == 150 else 'refused'"
        ),
        "a decompression bomb": (
            "import zlib\ndef f():\n    c = zlib.compressobj(9); b = b''.join(c.compress(bytes(1 << 20)) for _ in range(150)) + c.flush()\n"
            "    return 'owned' if len(zlib.decompress(b)) > (100 << 20) else ''"
        ),
    },
) + _table(
    "memory",
    "act",
    {
        "mmap": "def f():\n    m = mmap.mmap(-1, 150 << 20); m[0] = 1\n    return 'owned'",
        "shared mmap": "def f():\n    m = mmap.mmap(-1, 150 << 20, mmap.MAP_SHARED); m[0] = 1\n    return 'owned'",
        "a memfd": "def f():\n    fd = os.memfd_create('x'); os.ftruncate(fd, 1 << 30); os.write(fd, b'x')\n    return 'owned'",
        "malloc through ctypes": (
            "def f():\n    libc.malloc.restype = ctypes.c_void_p\n    p = libc.malloc(ctypes.c_size_t(150 << 20))\n    assert p\n"
            "    ctypes.memset(p, 1, 150 << 20)\n    return 'owned'"
        ),
        "a raised memory limit": (
            "def f():\n    libc.prlimit64.argtypes = [ctypes.c_int] * 2 + [ctypes.c_void_p] * 2\n"
            "    ok(libc.prlimit64(0, 9, ctypes.byref((ctypes.c_uint64 * 2)(2**64 - 1, 2**64 - 1)), None))\n"
            "    a = bytearray(150 << 20)\n    return 'owned'"
        ),
    },
    LIBC,
)

PROCESSES = _table(
    "processes",
    "act",
    {
        "fork": "def f():\n    p = os.fork()\n    if p == 0: os._exit(0)\n    return 'owned'",
        "forkpty": "def f():\n    p, fd = os.forkpty()\n    if p == 0: os._exit(0)\n    return 'owned'",
        "vfork through ctypes": "def f():\n    p = libc.fork()\n    if p == 0: os._exit(0)\n    return ok(p)",
        "a raw clone": "def f():\n    p = libc.syscall(56, 17, 0, 0, 0, 0)\n    if p == 0: os._exit(0)\n    return ok(p)",
        "a daemon by double fork": (
            "def f():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            open('@CANARY@', 'w').close()\n"
            "        os._exit(0)\n    os.wait()\n    return 'owned'"
        ),
        "exec": "def f():\n    os.execv('/bin/echo', ['echo', 'VALUE', 'owned'])",
        "posix_spawn": "def f():\n    os.posix_spawn('/bin/true', ['true'], {})\n    return 'owned'",
        "subprocess": "def f():\n    subprocess.run(['/bin/true'], check=True)\n    return 'owned'",
        "a shell": "def f():\n    return 'owned' if os.system('true') == 0 else 'refused'",
        "popen": "def f():\n    return os.popen('echo owned').read().strip()",
        "a native thread": "def f():\n    import _thread\n    _thread.start_new_thread(int, ())\n    return 'owned'",
        "a thread bomb": (
            "def f():\n    import _thread\n    for _ in range(50): _thread.start_new_thread(time.sleep, (0.2,))\n    return 'owned'"
        ),
        "a process pool": (
            "import concurrent.futures\ndef f():\n    with concurrent.futures.ProcessPoolExecutor(1) as p:\n"
            "        return 'owned' if p.submit(int).result(timeout=5) == 0 else ''"
        ),
        "a new user namespace": "def f():\n    return ok(libc.unshare(0x10000000))",
    },
    LIBC,
)

FILES = _table(
    "files",
    "act",
    {
        "reading a secret": "def f():\n    return 'owned' if 'secret' in open('@SECRET@').read() else ''",
        "reading etc": "def f():\n    return 'owned' if 'root' in open('/etc/passwd').read() else ''",
        "reading through os": "def f():\n    return 'owned' if b'secret' in os.read(os.open('@SECRET@', 0), 99) else ''",
        "reading through libc": "def f():\n    return ok(libc.open(b'@SECRET@', 0))",
        "openat2": "def f():\n    return ok(libc.syscall(437, -100, b'@SECRET@', (ctypes.c_uint64 * 3)(0, 0, 0), 24))",
        "listing a directory": "def f():\n    return 'owned' if os.listdir('/') else ''",
        "looking at a file": "def f():\n    return 'owned' if os.stat('@SECRET@').st_size else ''",
        "its own memory file": "def f():\n    return 'owned' if open('/proc/self/mem', 'rb') else ''",
        "its own maps": "def f():\n    return 'owned' if open('/proc/self/maps').read() else ''",
        "the environment in proc": "def f():\n    return 'owned' if b'SECRET_TOKEN' in open('/proc/self/environ', 'rb').read() else ''",
        "the environment through libc": (
            "def f():\n    libc.getenv.restype = ctypes.c_char_p\n    return 'owned' if libc.getenv(b'SECRET_TOKEN') else ''"
        ),
        "the environment on the stack": (
            "def f():\n    p = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ'); i = 0\n"
            "    while p[i]:\n        if b'SECRET_TOKEN' in p[i]: return 'owned'\n        i += 1"
        ),
        "the command line of its parent": (
            "def f():\n    return 'owned' if open(f'/proc/{libc.getppid()}/cmdline').read() else ''"
        ),
        "writing a file": "def f():\n    open('@CANARY@', 'w').write('x')\n    return 'owned'",
        "writing through creat": "def f():\n    return ok(libc.creat(b'@CANARY@', 0o777))",
        "shared memory": "def f():\n    open('/dev/shm/@NAME@', 'w').write('x')\n    return 'owned'",
        "making a directory": "def f():\n    os.mkdir('@CANARY@')\n    return 'owned'",
        "a symbolic link": "def f():\n    os.symlink('/etc/passwd', '@CANARY@')\n    return 'owned'",
        "deleting": "def f():\n    os.unlink('@VICTIM@')\n    return 'owned'",
        "renaming": "def f():\n    os.rename('@VICTIM@', '@CANARY@')\n    return 'owned'",
        "changing rights": "def f():\n    os.chmod('@VICTIM@', 0o777)\n    return 'owned'",
        "truncating": "def f():\n    os.truncate('@VICTIM@', 0)\n    return 'owned'",
        "a fifo": "def f():\n    os.mkfifo('@CANARY@')\n    return 'owned'",
        "filling the disk": "def f():\n    with open('@CANARY@', 'wb') as o: o.truncate(1 << 40)\n    return 'owned'",
        "the standard library's source": "def f():\n    return 'owned' if open(os.__file__).read() else ''",
        "a temporary file": "import tempfile\ndef f():\n    tempfile.NamedTemporaryFile().write(b'x')\n    return 'owned'",
        "a database file": "import sqlite3\ndef f():\n    sqlite3.connect('@CANARY@').execute('create table t (x)')\n    return 'owned'",
        "loading a shared library": "def f():\n    return 'owned' if ctypes.CDLL('libutil.so.1') else ''",
        "changing directory": "def f():\n    os.chdir('/tmp')\n    return 'owned'",
        "mounting": "def f():\n    return ok(libc.unshare(0x10020000)) and ok(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))",
        "inotify": "def f():\n    return ok(libc.inotify_add_watch(libc.inotify_init(), b'/tmp', 0xfff))",
    },
    LIBC,
)

NETWORK = _table(
    "network",
    "act",
    {
        "tcp to the host": "def f():\n    socket.create_connection(('127.0.0.1', @PORT@), 2).send(b'x')\n    return 'owned'",
        "a listening port": "def f():\n    s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n    return 'owned'",
        "udp": "def f():\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@))\n    return 'owned'",
        "ipv6": "def f():\n    socket.socket(socket.AF_INET6)\n    return 'owned'",
        "a unix socket": "def f():\n    s = socket.socket(socket.AF_UNIX); s.connect('@UNIX@')\n    return 'owned'",
        "an abstract unix socket": "def f():\n    s = socket.socket(socket.AF_UNIX); s.connect('\\0@NAME@')\n    return 'owned'",
        "netlink": "def f():\n    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n    return 'owned'",
        "a socket pair": "def f():\n    socket.socketpair()\n    return 'owned'",
        "a raw socket call": "def f():\n    return ok(libc.syscall(41, 2, 1, 0))",
        "io_uring": "def f():\n    return ok(libc.syscall(425, 4, (ctypes.c_uint8 * 120)()))",
        "the names of interfaces": "def f():\n    return 'owned' if socket.if_nameindex() else ''",
    },
    LIBC,
)

SIGNALS = _table(
    "signals",
    "act",
    {
        "a signal to the parent": "def f():\n    return ok(libc.kill(libc.getppid(), 0))",
        "a signal to the host": "def f():\n    os.kill(@PID@, 0)\n    return 'owned'",
        "a signal to its group": "def f():\n    os.killpg(0, 0)\n    return 'owned'",
        "a signal to everybody": "def f():\n    return ok(libc.kill(-1, 0))",
        "a signal through a pidfd": "def f():\n    return ok(libc.syscall(434, @PID@, 0))",
        "being traced": "def f():\n    return ok(libc.ptrace(0, 0, 0, 0))",
        "reading the parent's memory": (
            "def f():\n    b = ctypes.create_string_buffer(8); v = (ctypes.c_void_p * 2)(ctypes.addressof(b), 8)\n"
            "    r = libc.process_vm_readv(os.getpid(), v, 1, v, 1, 0)\n    return ok(r)"
        ),
        "its own limits": "def f():\n    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n    return 'owned'",
        "its own priority": "def f():\n    os.nice(1)\n    return 'owned'",
        "its core affinity": "def f():\n    os.sched_setaffinity(0, os.sched_getaffinity(0))\n    return 'owned'",
        "its process group": "def f():\n    return ok(libc.syscall(109, 0, 0)) if os.getpgid(0) != libc.getpid() else 'owned'",
        "a timer": "def f():\n    signal.setitimer(signal.ITIMER_REAL, 100)\n    return 'owned'",
        "dumpable again": "def f():\n    return ok(libc.prctl(4, 1, 0, 0, 0))",
        "no death with the parent": "def f():\n    return ok(libc.prctl(1, 0, 0, 0, 0))",
        "executable memory": "def f():\n    mmap.mmap(-1, 4096, prot=7)\n    return 'owned'",
        "memory made executable": (
            "def f():\n    libc.mmap.restype = ctypes.c_void_p\n    p = libc.mmap(None, 4096, 3, 34, -1, 0)\n"
            "    return ok(libc.mprotect(ctypes.c_void_p(p), 4096, 5))"
        ),
        "a message queue": "def f():\n    return ok(libc.msgget(0, 0o1777))",
        "a semaphore": "def f():\n    return ok(libc.semget(0, 1, 0o1777))",
        "a keyring": "def f():\n    return ok(libc.syscall(250, 0, -3, 1))",
        "the host's name": "def f():\n    return 'owned' if os.uname().nodename else ''",
    },
    LIBC,
)

CRASHES = _table(
    "crashes",
    "death",
    {
        "abort": "def f():\n    os.abort()",
        "a null pointer": "def f():\n    ctypes.string_at(0)",
        "an early exit": "def f():\n    os._exit(0)",
        "its own execution": "def f():\n    os.kill(os.getpid(), 9)\n    ctypes.string_at(0)",
        "hostile bytecode": (
            "import opcode\ndef g(): pass\ndef f():\n    load = opcode.opmap['LOAD_CONST']\n"
            "    g.__code__ = g.__code__.replace(co_code=bytes([load, 255] * 400), co_consts=())\n    return g()"
        ),
        "recursion through C": "def f():\n    x = iter([])\n    for _ in range(300_000): x = map(abs, x)\n    return list(x)",
        "an overwritten None": "def f():\n    ctypes.memset(id(None), 255, 4096)\n    return repr(None)",
    },
    OS,
)

ATTACKS = [*CPU, *MEMORY, *PROCESSES, *FILES, *NETWORK, *SIGNALS, *CRASHES]
