"""A second corpus, written against the finished sandbox by reading its code for what it had not thought of.

Reading order: FRESH maps a name to a program whose f must not return "owned"; each runs in the widest mode (stdlib).
"""

# A program in a table reads best on one line.
# ruff: noqa: E501

HEAD = """
import os, sys, ctypes, mmap, signal, socket, threading, time, gc, struct, resource, types, builtins
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
def ok(result):
    assert result != -1, ctypes.get_errno()
    return 'owned'
def call(number, *arguments):
    return ok(libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]))
def own(name):
    frame = sys._getframe()
    while frame:
        if name in frame.f_locals: return frame.f_locals[name]
        frame = frame.f_back
def harness():
    frame = sys._getframe()
    while 'codec' not in frame.f_globals: frame = frame.f_back
    return frame.f_globals['codec'], frame.f_globals['frames']
"""

# Calls that no self-test names, by their x86_64 numbers; on other machines the numbers mean something else, equally denied.
CALLS = {
    "pwrite64": (18, 3, b"x", 1, 0), "pipe": (22, bytes(8)), "select": (23, 0, 0, 0, 0, 0), "shmget": (29, 0, 4096, 0o1777),
    "dup": (32, 0), "dup2": (33, 0, 9), "pause through nanosleep": (35, bytes(16), 0), "alarm": (37, 100),
    "sendfile": (40, 1, 0, 0, 1), "vfork": (58,), "kill itself": (62, 0, 0), "uname": (63, bytes(400)), "fcntl": (72, 3, 3, 0),
    "flock": (73, 0, 2), "ftruncate": (77, 1, 0), "getcwd": (79, bytes(400), 400), "umask": (95, 0), "getuid": (102,),
    "sysinfo": (99, bytes(400)), "setpgid": (109, 0, 0), "getppid": (110,), "setsid": (112,), "getpgid": (121, 0), "capget": (125, bytes(8), 0),
    "rt_sigprocmask": (14, 0, 0, 0, 8), "rt_sigaction": (13, 10, 0, 0, 8), "sigaltstack": (131, 0, 0), "mknod": (133, b"/tmp/x", 0o10666, 0),
    "prctl": (157, 15, b"name", 0, 0, 0), "arch_prctl": (158, 0x1004, bytes(8)), "setrlimit": (160, 7, bytes(16)), "sync": (162,),
    "sethostname": (170, b"x", 1), "tkill": (200, 1, 0), "sched_setaffinity": (203, 0, 8, b"\xff" * 8), "epoll_create": (213, 1),
    "timer_create": (222, 1, 0, bytes(8)), "clock_nanosleep": (230, 0, 0, bytes(16), 0), "tgkill": (234, 1, 1, 0), "mbind": (237, 0, 0, 0, 0, 0, 0),
    "mq_open": (240, b"x", 0o102, 0o666, 0), "add_key": (248, b"user", b"x", b"y", 1, -3), "inotify_init": (253,), "openat": (257, -100, b"/", 0),
    "unlinkat": (263, -100, b"/tmp/x", 0), "unshare": (272, 0), "splice": (275, 0, 0, 1, 0, 1, 0), "tee": (276, 0, 1, 1, 0),
    "vmsplice": (278, 3, 0, 0, 0), "utimensat": (280, -100, b"/tmp", 0, 0), "signalfd": (282, -1, bytes(8), 8), "timerfd_create": (283, 1, 0),
    "eventfd": (284, 0), "fallocate": (285, 1, 0, 0, 1), "pipe2": (293, bytes(8), 0), "perf_event_open": (298, bytes(128), 0, -1, -1, 0),
    "name_to_handle_at": (303, -100, b"/", bytes(400), bytes(8), 0), "open_by_handle_at": (304, -100, bytes(400), 0), "setns": (308, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0), "getrandom": (318, bytes(8), 8, 0), "execveat": (322, -100, b"/bin/true", 0, 0, 0), "membarrier": (324, 0, 0),
    "copy_file_range": (326, 0, 0, 1, 0, 1, 0), "pkey_mprotect": (329, 0, 0, 4, 0), "pkey_alloc": (330, 0, 0), "statx": (332, -100, b"/", 0, 0xFFF, bytes(256)),
    "pidfd_send_signal": (424, 0, 0, 0, 0), "open_tree": (428, -100, b"/", 0), "move_mount": (429, -100, b"/", -100, b"/", 0), "fsopen": (430, b"tmpfs", 0),
    "clone3": (435, bytes(88), 88), "close_range": (436, 9, 20, 0), "pidfd_getfd": (438, 0, 0, 0), "process_madvise": (440, 0, 0, 0, 0, 0),
    "landlock_create_ruleset": (444, 0, 0, 1), "memfd_secret": (447, 0), "futex_waitv": (449, 0, 0, 0, 0, 0), "map_shadow_stack": (453, 0, 4096, 0),
}  # fmt: skip

PROGRAMS = {
    "the x32 table": "def f(): return call(0x40000000 + 39)",
    "a negative number": "def f(): return call(-1)",
    "executable memory by mmap's own flags": "def f(): return 'owned' if libc.mmap(None, 4096, 4, 34, -1, 0) not in (None, 2**64 - 1) else ''",
    "executable memory behind junk bits": "def f():\n    p = libc.mmap(None, 4096, 3, 34, -1, 0)\n    return ok(libc.syscall(10, ctypes.c_void_p(p), ctypes.c_long(4096), ctypes.c_long((1 << 33) | 5)))",
    "executable stack by growing down": "def f():\n    p = libc.mmap(None, 8192, 3, 0x122, -1, 0)\n    return ok(libc.mprotect(ctypes.c_void_p(p), 4096, 0x01000005))",
    "memory locked against the limit": "def f():\n    p = libc.mmap(None, 64 << 20, 3, 0x2022, -1, 0)\n    return 'owned' if p not in (None, 2**64 - 1) else ''",
    "memory grown by mremap": "def f():\n    libc.mremap.restype = ctypes.c_void_p\n    p = libc.mmap(None, 4096, 3, 34, -1, 0)\n    q = libc.mremap(ctypes.c_void_p(p), ctypes.c_size_t(4096), ctypes.c_size_t(1 << 30), 1)\n    return 'owned' if q not in (None, 2**64 - 1) else ''",
    "memory grown by brk": "def f():\n    libc.sbrk.restype = ctypes.c_void_p\n    return 'owned' if libc.sbrk(ctypes.c_long(1 << 30)) not in (None, 2**64 - 1) else ''",
    "memory below the stack": "def f():\n    p = libc.mmap(None, 1 << 30, 0, 0x4022, -1, 0)\n    return 'owned' if p not in (None, 2**64 - 1) else ''",
    "huge pages": "def f():\n    p = libc.mmap(None, 1 << 30, 3, 0x40022, -1, 0)\n    return 'owned' if p not in (None, 2**64 - 1) else ''",
    "a mapping of its own standard output": "def f():\n    p = libc.mmap(None, 4096, 3, 1, 1, 0)\n    return 'owned' if p not in (None, 2**64 - 1) else ''",
    "a stolen nonce and a foreign status": "def f():\n    codec, frames = harness()\n    body = codec.encode(('timeout', '', '', b'', '', ''))\n    os.write(3, frames.claim(own('nonce'), body)); os._exit(0)",
    "a stolen nonce and a value beside an error": "def f():\n    codec, frames = harness()\n    body = codec.encode(('error', 'E', '', codec.encode('owned'), '', ''))\n    os.write(3, frames.claim(own('nonce'), body)); os._exit(0)",
    "a stolen nonce and a body that never comes": "def f():\n    os.write(3, own('nonce') + (1 << 16).to_bytes(8, 'big'))\n    while True: pass",
    "a stolen nonce and a body byte by byte": "def f():\n    os.write(3, own('nonce') + (1 << 16).to_bytes(8, 'big'))\n    while True:\n        os.write(3, b'x')\n        for _ in range(300_000): pass",
    "a stolen nonce and half a body": "def f():\n    os.write(3, own('nonce') + (1 << 16).to_bytes(8, 'big') + b'x' * 99); os._exit(0)",
    "a stolen nonce and a thousand claims": "def f():\n    codec, frames = harness()\n    body = codec.encode(('error', 'E', '', b'', '', ''))\n    os.write(3, frames.claim(own('nonce'), body) * 1000)\n    return 'more'",
    "a stolen nonce and a claim full of colliding keys": "def f():\n    codec, frames = harness()\n    keys = [codec.encode(i * (2**61 - 1)) for i in range(50_000)]\n    value = b'e' + len(keys).to_bytes(4, 'big') + b''.join(keys)\n    data = frames.claim(own('nonce'), codec.encode(('ok', '', '', value, '', ''), max_bytes=1 << 30))\n    frames.write_all(3, data); os._exit(0)",
    "a stolen nonce and a claim of deep nothing": "def f():\n    codec, frames = harness()\n    value = b'l\\0\\0\\0\\1' * 100_000 + b'N'\n    frames.write_all(3, frames.claim(own('nonce'), codec.encode(('ok', '', '', value, '', ''), max_bytes=1 << 30))); os._exit(0)",
    "a stolen nonce and surrogates everywhere": "def f():\n    codec, frames = harness()\n    body = codec.encode(('error', '\\ud800', '\\ud800', b'', '\\ud800', '\\ud800'))\n    os.write(3, frames.claim(own('nonce'), body)); os._exit(0)",
    "the zygote's objects": "def f():\n    watch = own('self')\n    os.write(watch.socket, b'x' * 100)\n    return 'owned'",
    "the zygote's socket by number": "def f():\n    for fd in range(4, 4096):\n        try: os.write(fd, b'x'); return 'owned'\n        except OSError: pass",
    "an unending claim by a patched encoder": "def f():\n    codec = harness()[0]\n    codec.encode = lambda *a, **k: b'x' * (1 << 27)\n    return 1",
    "a patched exit": "def f():\n    os._exit = lambda code: None\n    return 1",
    "a finaliser at the end": "class A:\n    def __del__(self):\n        while True: pass\ndef f():\n    global a\n    a = A()\n    return 1",
    "a reference cycle with a hostile finaliser": "class A:\n    def __del__(self):\n        while True: pass\ndef f():\n    a = A(); a.a = a; del a\n    gc.collect()",
    "a collector's callback": "def f():\n    def g(*a):\n        while True: pass\n    gc.callbacks.append(g); gc.collect()",
    "an audit hook": "def f():\n    def g(*a):\n        while True: pass\n    sys.addaudithook(g)\n    return 1",
    "a display of frames that never ends": "def f():\n    sys.excepthook = lambda *a: f()\n    raise ValueError",
    "an unending chain of contexts": "def f():\n    e = ValueError()\n    for _ in range(10**6):\n        n = ValueError(); n.__context__ = e; e = n\n    raise e",
    "an exception group without end": "def f():\n    e = ValueError()\n    for _ in range(10**5): e = ExceptionGroup('g', [e])\n    raise e",
    "a class that is its own metaclass's trap": "class M(type):\n    def __getattribute__(c, n):\n        while True: pass\nclass E(Exception, metaclass=M): pass\ndef f(): raise E",
    "an int subclass with hostile bits": "class I(int):\n    def bit_length(self):\n        while True: pass\ndef f(): return I(4)",
    "a dict that changes while it is written": "class K(str):\n    def __hash__(self):\n        d.clear(); return 1\nd = {}\ndef f():\n    d['x'] = 1\n    return d",
    "a list that frees itself": "def f():\n    a = [0] * 99_999\n    a.sort(key=lambda x: a.append(1) or 0)",
    "a corrupted type object": "def f():\n    ctypes.memset(id(int) + 16, 255, 64)\n    return 1",
    "a corrupted interpreter state": "def f():\n    ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p\n    ctypes.memset(ctypes.pythonapi.PyThreadState_Get(), 255, 64)\n    return 1",
    "a jump to nowhere": "def f(): return ctypes.CFUNCTYPE(ctypes.c_int)(0x1234)()",
    "a callback through libffi": "def f():\n    g = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)\n    return 'callback' if g() == 5 else ''",
    "native code in a bytes object": "def f():\n    code = b'\\xb8\\x05\\x00\\x00\\x00\\xc3'\n    return 'owned' if ctypes.CFUNCTYPE(ctypes.c_int)(id(code) + 32)() == 5 else ''",
    "clearing the audit of imports": "def f():\n    import importlib\n    sys.path.append('/usr/lib/python3.11'); sys.path.append('/usr/lib/python3/dist-packages'); importlib.invalidate_caches()\n    import this_module_is_not_there",
    "an import through the loader": "def f():\n    from importlib.machinery import SourceFileLoader\n    return 'owned' if SourceFileLoader('x', os.__file__).load_module() else ''",
    "a zip file as a path": "def f():\n    import zipimport\n    return 'owned' if zipimport.zipimporter('/usr/lib/python311.zip') else ''",
    "reading source through linecache": "def f():\n    import linecache\n    return 'owned' if linecache.getlines('/etc/passwd') else ''",
    "a font of entropy": "def f():\n    return 'owned' if os.getrandom.__module__ == 'posix' and len(os.getrandom(8)) == 8 else ''",
    "names of users": "def f():\n    import pwd\n    return 'owned' if pwd.getpwall() else ''",
    "the resolver": "def f(): return 'owned' if socket.getaddrinfo('localhost', 80) else ''",
    "the system log": "def f():\n    import syslog\n    fd = libc.socket(1, 2, 0)\n    return ok(fd)",
    "a terminal": "def f():\n    import pty\n    pty.openpty()\n    return 'owned'",
    "a terminal by ioctl": "def f():\n    import fcntl, termios\n    fcntl.ioctl(0, termios.TIOCSTI, b'x')\n    return 'owned'",
    "async io of libc": "def f():\n    class A(ctypes.Structure): _fields_ = [('fd', ctypes.c_int), ('rest', ctypes.c_byte * 160)]\n    a = A(fd=0)\n    return ok(libc.aio_read(ctypes.byref(a)))",
    "a semaphore of posix": "def f():\n    libc.sem_open.restype = ctypes.c_void_p\n    return 'owned' if libc.sem_open(b'/x', 0o102, 0o666, 1) else ''",
    "shared memory of multiprocessing": "def f():\n    from multiprocessing import shared_memory\n    shared_memory.SharedMemory(create=True, size=10)\n    return 'owned'",
    "a manager of multiprocessing": "def f():\n    import multiprocessing\n    multiprocessing.Manager()\n    return 'owned'",
    "a subinterpreter": "def f():\n    try: import _xxsubinterpreters as i\n    except ImportError: import _interpreters as i\n    n = i.create()\n    i.run_string(n, 'import os; os.system(\"true\") or 1/0')\n    return 'refused'",
    "a profile function in the harness": "def f():\n    def p(*a):\n        while True: pass\n    sys.setprofile(p)\n    return 1",
    "a faulthandler that dumps": "def f():\n    import faulthandler\n    faulthandler.dump_traceback_later(1)\n    return 'owned'",
    "tracemalloc without end": "def f():\n    import tracemalloc\n    tracemalloc.start(10_000)\n    a = [[i] for i in range(10**8)]",
    "an xml bomb": "def f():\n    import xml.etree.ElementTree as E\n    entities = ''.join(f'<!ENTITY a{i} \"{(\"&a\" + str(i - 1) + \";\") * 10}\">' for i in range(1, 12))\n    return len(E.fromstring('<!DOCTYPE d [<!ENTITY a0 \"aaaaaaaaaa\">' + entities + ']><d>&a11;</d>').text)",
    "a format width": "def f(): return len('%*d' % (1 << 31, 1)) and 'owned'",
    "a string multiplied in a key": "def f(): return {'x' * (1 << 19): 'x' * (1 << 19), 'y' * (1 << 19): 1}",
    "a decimal of a billion digits": "def f():\n    import decimal\n    decimal.getcontext().prec = decimal.MAX_PREC\n    return str(decimal.Decimal(1) / 3)",
    "a fraction that grows": "def f():\n    from fractions import Fraction\n    x = Fraction(1, 3)\n    while True: x = x * x + 1",
    "an lru cache that grows": "def f():\n    import functools\n    g = functools.lru_cache(None)(lambda n: [n] * 1000)\n    for i in range(10**9): g(i)",
    "a coroutine that waits for itself": "def f():\n    import asyncio\n    async def g():\n        while True: await asyncio.sleep(0)\n    asyncio.run(g())",
    "a thread that starts threads": "def f():\n    def g(): threading.Thread(target=g).start()\n    g()",
    "a barrier": "def f():\n    threading.Barrier(2).wait()",
}  # fmt: skip

FRESH = {name: HEAD + program for name, program in PROGRAMS.items()} | {
    f"the call {name}": HEAD + f"def f(): return call{arguments!r}"
    if len(arguments) > 1
    else HEAD + f"def f(): return call({arguments[0]})"
    for name, arguments in CALLS.items()
}
