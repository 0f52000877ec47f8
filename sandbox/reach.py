"""Attributes that lead out of a program, into frames, globals and closures of the harness, are not given by their name.

A program's text shows which attributes it reads, and whoever admits programs looks at it; but a name may also stand in
a string: operator.attrgetter("f.__globals__"), "{0.__globals__}".format(f). Here those who read attributes by a string
refuse such names when they act, so no honest text with dots in it is suspected. No protection rests on this: it keeps
programs from clocks and chance that would make them unsteady.

Reading order: NAMES, guard (applied once per zygote), then one function per reader of attributes.
"""

import ast
import ctypes
import gc
import sys
from _string import formatter_field_name_split, formatter_parser
from collections.abc import Callable
from typing import Any, Final, NoReturn

_TEXT: Final = """
    __subclasses__ __globals__ __builtins__ __code__ __closure__ __func__ __self__ __wrapped__ __bases__ __base__
    __mro__ mro __dict__ __getattribute__ __reduce__ __reduce_ex__ __loader__ __spec__ __import__ __traceback__
    __context__ __cause__ cell_contents tb_frame tb_next f_back f_globals f_locals f_builtins f_code gi_frame gi_code
    gi_yieldfrom cr_frame cr_code cr_await ag_frame ag_code ag_await
"""
NAMES: Final = frozenset(_TEXT.split())
"""Attributes of functions, classes, exceptions and generators that lead to what they are made of or called by."""
_IN_A_HINT: Final = (
    ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.BitOr,
    ast.Load, ast.Starred,
)  # fmt: skip
"""What the text of a type may be made of: nothing in it calls."""


def guard(replace: Callable[[dict[int, tuple[Any, Any]]], None]) -> None:
    """Put the guarded readers in the place of the real ones; `replace` does so where modules keep them too."""
    replaced: dict[int, tuple[Any, Any]] = {}
    for name, make in (("operator", _operator), ("functools", _functools)):
        if name in sys.modules:
            module = sys.modules[name]
            for own, guarded in make(module).items():
                replaced[id(getattr(module, own))] = getattr(module, own), guarded
                setattr(module, own, guarded)
    replace(replaced)
    _formats()
    if "string" in sys.modules:
        _formatter(sys.modules["string"])
    if "typing" in sys.modules:
        _hints(sys.modules["typing"])


def _refuse(name: str) -> NoReturn:
    raise PermissionError(f"the sandbox does not give the attribute {name!r} by its name")


def _check(names: Any) -> None:
    """Refuse the dotted names that hold one of NAMES. What is no text is left to the real reader to complain about."""
    for dotted in names:
        if isinstance(dotted, str):
            for name in str.split(dotted, "."):
                if name in NAMES:
                    _refuse(name)


def _operator(module: Any) -> dict[str, Any]:
    really_get, really_call = module.attrgetter, module.methodcaller

    # Functions rather than the real objects: the type of one of those would make others.
    def attrgetter(attr: str, /, *attrs: str) -> Callable[[Any], Any]:
        _check((attr, *attrs))
        getter = really_get(attr, *attrs)
        return lambda obj, /: getter(obj)

    def methodcaller(name: str, /, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        _check((name,))
        caller = really_call(name, *arguments, **named)
        return lambda obj, /: caller(obj)

    return {"attrgetter": attrgetter, "methodcaller": methodcaller}


def _functools(module: Any) -> dict[str, Any]:
    really, usual = module.update_wrapper, (module.WRAPPER_ASSIGNMENTS, module.WRAPPER_UPDATES)

    def update_wrapper(wrapper: Any, wrapped: Any, assigned: Any = usual[0], updated: Any = usual[1]) -> Any:
        assigned, updated = tuple(assigned), tuple(updated)
        _check(name for name in (*assigned, *updated) if name not in usual[0] and name not in usual[1])
        return really(wrapper, wrapped, assigned, updated)

    return {"update_wrapper": update_wrapper}


def _formats() -> None:
    """In str itself, whose methods a subclass would only hide."""
    really_format, really_map = str.format, str.format_map

    def format(self: str, /, *arguments: Any, **named: Any) -> str:
        _check_fields(self)
        return really_format(self, *arguments, **named)

    def format_map(self: str, mapping: Any, /) -> str:
        _check_fields(self)
        return really_map(self, mapping)

    own: Any = gc.get_referents(vars(str))[0]  # a type written in C lets nobody set its attributes, but has a dict
    own.update({"format": format, "format_map": format_map})
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(str))


def _check_fields(text: str, depth: int = 2) -> None:
    """Refuse a format whose fields read one of NAMES; the text around its fields may hold them."""
    if "." not in text or not any(name in text for name in NAMES):
        return
    try:
        for _, field, spec, _ in formatter_parser(text):
            if field:
                _check_field(field)
            if spec and depth:
                _check_fields(spec, depth - 1)
    except ValueError:
        return  # no format: the real method says so


def _check_field(field: str) -> None:
    for is_attribute, name in formatter_field_name_split(field)[1]:
        if is_attribute and name in NAMES:
            _refuse(name)


def _formatter(module: Any) -> None:
    really = module.Formatter.get_field

    def get_field(self: Any, field_name: str, args: Any, kwargs: Any) -> Any:
        _check_field(field_name)
        return really(self, field_name, args, kwargs)

    module.Formatter.get_field = get_field


def _hints(module: Any) -> None:
    """Annotations that are text are evaluated by typing: it must be the text of a type, in which nothing is called."""
    really = module.ForwardRef.__init__

    def init(self: Any, arg: Any, *arguments: Any, **named: Any) -> None:
        if isinstance(arg, str):
            try:
                nodes = list(ast.walk(ast.parse(arg.lstrip("*"), mode="eval")))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                nodes = []
            for node in nodes:
                if not isinstance(node, _IN_A_HINT):
                    raise PermissionError("the sandbox evaluates no annotation but the name of a type")
                if isinstance(node, ast.Attribute):
                    _check((node.attr,))
        really(self, arg, *arguments, **named)

    module.ForwardRef.__init__ = init
