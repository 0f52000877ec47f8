"""What happens in the one process that ever sees a program: run it, and claim a result.

Reading order: Stage, open_request, run_task (functions, then scripts), then how outcomes become claims. By the
time a program runs every protection is in force. Nothing here defends itself against it: a program that rewrites this
code forges its own result and nothing else.
"""

import atexit
import builtins
import io
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sandbox import addresses, codec, frames
from sandbox.task import ELSEWHERE, Task, unpack

MESSAGE_CHARS: Final = 2000
"""How much of an exception's text is reported."""
DIGESTED_BYTES: Final = 1 << 30
"""Cap on a result that is only digested; the memory limit is the real one."""


class DeniedImport(ModuleNotFoundError):
    """The program asked for a module that is not on the sandbox's list, or that is not loaded."""


class _Kept(io.BytesIO):
    """Standard output of a function: what is printed beyond the cap is dropped, since nothing is compared with it."""

    room: int

    def write(self, data: Any) -> int:
        size = len(data)
        if self.room > 0:
            super().write(data[: self.room])
            self.room -= size
        return size

    def close(self) -> None:
        """What has been printed is read after a program that closes its standard output."""


class Stage:
    """What every run needs, made once in the zygote: each object that a child need not make saves it page faults."""

    def __init__(self, importable: frozenset[str], *, more_elsewhere: bool = False) -> None:
        self.more_elsewhere = more_elsewhere
        """Whether other zygotes have the modules that are allowed and missing here."""
        self.leave: Callable[[str], None] = lambda name: None
        """Ends the job here, to be run again where that module is."""
        self.printed = _Kept()
        self.printed.room = 0
        self.stdin = io.StringIO()
        self.stdout = io.TextIOWrapper(self.printed, "utf-8", "surrogatepass", write_through=True)
        self.module: types.ModuleType | None = types.ModuleType("program")
        really = builtins.__import__
        own: Any = builtins
        own.__import__ = _importer(importable, really, self)
        own.exit = own.quit = sys.exit
        own.open = io.open = _opener(open)
        own = os
        own.fstat = _sizer(os.fstat)
        own = sys
        self.unused = own.__stdin__, own.__stdout__  # kept, since letting them go costs a child thirty page faults
        own.__stdin__, own.__stdout__ = self.stdin, self.stdout

    def reset(self, stdout_bytes: int) -> None:
        """Empty standard input and output for the next run."""
        if self.printed.tell():
            self.printed.seek(0)
            self.printed.truncate()
        self.printed.room = stdout_bytes
        sys.stdin, sys.stdout = self.stdin, self.stdout

    def namespace(self, name: str) -> dict[str, Any]:
        """Fresh globals of a real module, which dataclasses, enum and typing look up in sys.modules."""
        module, self.module = self.module or types.ModuleType(name), None
        sys.modules[name] = module
        namespace = vars(module)
        namespace["__name__"] = name
        namespace["__builtins__"] = builtins
        return namespace


def open_request(request: bytes) -> Task:
    """The task that the host has sent; a script's standard input is put where it can be read."""
    task = unpack(request)
    if task.stdin is not None:
        file = os.memfd_create("stdin")
        frames.write_all(file, task.stdin.encode("utf-8", "surrogatepass"))
        os.lseek(file, 0, os.SEEK_SET)
        os.dup2(file, 0)
        os.close(file)
    return task


def run_task(task: Task, channel: int, nonce: bytes, stage: Stage, shift_every: int = 0, chance: bytes = b"") -> None:
    """Run the task, writing one claim per input (or one, for a script). With shift_every objects come to lie elsewhere
    after each so many inputs; `chance` has eight bytes for each time."""

    def leave(name: str) -> None:
        frames.write_all(channel, frames.claim(nonce, codec.encode((ELSEWHERE, "", name, b"", "", ""))))
        os._exit(0)

    stage.leave = leave
    if task.stdin is not None:
        frames.write_all(channel, frames.claim(nonce, _claim(task, _script(task, stage), "")))
        return
    function: Callable[..., Any] | None = None
    code: Any = None
    for place, arguments in enumerate(task.inputs):
        if shift_every and place % shift_every == 0:
            addresses.shift(place // shift_every, chance[8 * place : 8 * place + 8])
        stage.reset(task.stdout_bytes)
        outcome: tuple[str, object]
        try:
            if code is None:
                code = compile(task.program, "<program>", "exec", dont_inherit=True)
            if function is None or task.fresh_globals:
                namespace = stage.namespace("program")
                exec(code, namespace)
                function = namespace[task.entry] if task.entry in namespace else _missing(task.entry)
            args, kwargs = codec.decode(arguments, max_bytes=1 << 32, max_depth=codec.MAX_DEPTH + 2)
            outcome = ("ok", function(*args, **kwargs))
        except BaseException as error:
            outcome = ("raised", error)
        body = _claim(task, outcome, stage.printed.getvalue().decode("utf-8", "replace"))
        frames.write_all(channel, frames.claim(nonce, body))


def _script(task: Task, stage: Stage) -> tuple[str, object]:
    reader: Any = io.FileIO(0, "r", closefd=False)
    writer: Any = io.FileIO(1, "w", closefd=False)
    reader.name, writer.name = "<stdin>", "<stdout>"
    buffer = io.BufferedWriter(writer)
    own: Any = sys
    own.stdin = own.__stdin__ = io.TextIOWrapper(io.BufferedReader(reader), "utf-8", "surrogateescape")
    own.stdout = own.__stdout__ = out = io.TextIOWrapper(buffer, "utf-8", "surrogateescape")
    own.stdin.mode, own.stdout.mode = "r", "w"
    outcome: tuple[str, object] = ("ok", None)
    try:
        exec(compile(task.program, "<program>", "exec", dont_inherit=True), stage.namespace("__main__"))
    except SystemExit as error:
        if error.code not in (None, 0):
            outcome = ("raised", error)
    except BaseException as error:
        outcome = ("raised", error)
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, out, buffer):
            _flush(stream)
    except BaseException as error:
        outcome = ("raised", error) if outcome[0] == "ok" else outcome
    return outcome


def _flush(stream: Any) -> None:
    try:
        if stream is None or getattr(stream, "closed", False):
            return
    except ValueError:  # its buffer has been detached
        return
    stream.flush()


_DEVICES: Final = {
    place + name: number
    for number, names in enumerate((("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")))
    for place, name in (("/dev/", names[0]), ("/dev/", names[1]), ("/proc/self/", names[1]))
}
"""Files that are there without a file system, since they are open already."""


def _opener(really: Callable[..., Any]) -> Callable[..., Any]:
    def open(file: Any, *arguments: Any, **named: Any) -> Any:
        number = None if isinstance(file, int) else _DEVICES.get(os.fspath(file))
        if number is None:
            return really(file, *arguments, **named)
        return really(number, *arguments, **named, closefd=False)

    return open


def _sizer(really: Callable[[int], os.stat_result]) -> Callable[[int], os.stat_result]:
    def fstat(fd: int) -> os.stat_result:
        try:
            return really(fd)
        except PermissionError:  # newer C libraries ask by a system call that also takes a path
            at = os.lseek(fd, 0, os.SEEK_CUR)
            size = os.lseek(fd, 0, os.SEEK_END)
            os.lseek(fd, at, os.SEEK_SET)
            return os.stat_result((0o100600, 0, 0, 1, 0, 0, size, 0, 0, 0))  # a regular file

    return fstat


def _importer(importable: frozenset[str], really: Callable[..., Any], stage: Stage) -> Callable[..., Any]:
    importable |= {"program", "__main__"}  # itself, as pickle looks it up
    tops = frozenset(name.partition(".")[0] for name in importable)

    def guarded(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        listed = name in importable or (name in sys.modules and name.partition(".")[0] in tops)
        if level == 0 and not listed:
            asker = sys._getframe(1).f_globals if globals is None else globals
            # Modules of the standard library import what they like; only programs are held to the list.
            if asker.get("__name__") in ("program", "__main__"):
                raise DeniedImport(f"the sandbox does not allow the module {name!r} here", name=name)
        try:
            return really(name, globals, locals, fromlist, level)  # type: ignore[no-any-return]
        except ModuleNotFoundError as error:
            if stage.more_elsewhere:
                stage.leave(name)
            if type(error) is DeniedImport or str(error.name).partition(".")[0] not in sys.stdlib_module_names:
                raise
            words = f"the module {error.name!r} is not loaded in the sandbox, and nothing can be loaded later"
            raise DeniedImport(words, name=error.name) from None

    return guarded


def _missing(entry: str) -> Callable[..., Any]:
    raise NameError(f"the program defines no {entry!r}", name=entry)


def _claim(task: Task, outcome: tuple[str, object], stdout: str) -> bytes:
    """Encode an outcome as (status, error type, message, encoded value, digest, stdout)."""
    how, what = outcome
    sys.setrecursionlimit(1000)
    try:
        if how == "raised":
            assert isinstance(what, BaseException)
            return codec.encode((*_describe(what), b"", "", stdout), max_bytes=1 << 32)
        largest = task.result_bytes if task.digest_above is None else DIGESTED_BYTES
        body, digest = codec.encode(what, max_bytes=largest), ""
        if task.digest_above is not None and len(body) > task.digest_above:
            body, digest = b"", codec.digest(what, max_bytes=DIGESTED_BYTES)
        elif len(body) > task.result_bytes:
            raise codec.InvalidValue("size", f"the value takes more than {task.result_bytes} bytes")
        return codec.encode(("ok", "", "", body, digest, stdout), max_bytes=1 << 32)
    except codec.InvalidValue as error:
        status = "output-limit" if error.reason == "size" else "not-serialisable"
        return codec.encode((status, "InvalidValue", str(error), b"", "", stdout), max_bytes=1 << 32)
    except MemoryError:
        what = None
        return codec.encode(("memory", "MemoryError", "no memory left to return the result", b"", "", ""))


def _describe(error: BaseException) -> tuple[str, str, str]:
    """Status, type and text of an exception whose class may be the program's own and hostile."""
    kind = type(error)
    name = codec._type_name(kind)
    try:
        text = str(error)
    except BaseException:
        text = "(its text could not be made)"
    text = text[:MESSAGE_CHARS] if type(text) is str else ""
    if kind is MemoryError:
        return "memory", name, text
    if kind is DeniedImport:
        return "denied", "ImportError", text
    if kind is PermissionError:
        return "denied", name, text
    return "error", name, text


def seal_descriptors(channel: int, silent: int, stdout: int | None) -> int:
    """Keep 0, 1, 2 (nothing, or a script's output) and the result channel as 3; close all others."""
    # A zygote holds its socket, /dev/null and statm, so a new pipe is above 3 and nothing here overwrites another.
    assert min(channel, stdout or 9) > 3 <= silent, "a descriptor would be overwritten"
    os.dup2(silent, 0)
    os.dup2(silent if stdout is None else stdout, 1)
    os.dup2(silent, 2)
    os.dup2(channel, 3)
    os.closerange(4, 1 << 16)
    return 3
