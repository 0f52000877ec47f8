"""Programs as text and as syntax tree: rename the entry, tidy, count lines, recognise equal ones. Nothing runs.

Reading order: parse, parse_or_error, syntax_tree, literal, parsing, Source; what the parser of proposals needs
(function_names, name_entry_f, rename, split_call, tidy, tests_itself, imports_of); what admission needs
(statement_lines, required_arguments, program_key).
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal

MAX_CHARS = 20_000
DEF_LINE = re.compile(r"^[ \t]*def[ \t]+([A-Za-z_]\w*)[ \t]*\(", re.MULTILINE)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # form feeds end no line of a program
_WORD, _CALL_OF_F = re.compile(r"\w+"), re.compile(r"\bf\(")
_ANNOUNCES = re.compile("input|expected|output|result", re.IGNORECASE)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PARSING = threading.Lock()
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)


def parse(program: str) -> ast.Module | None:
    """The syntax tree, or None for text that Python does not accept (however it says so), or that is beyond any use."""
    tree = parse_or_error(program)
    return None if isinstance(tree, SyntaxError) else tree


def parse_or_error(program: str) -> ast.Module | SyntaxError:
    """As `parse`, but for text that is not accepted the error, whose `lineno` may say where the parser gave up."""
    if len(program) > MAX_CHARS:
        return SyntaxError(f"more than {MAX_CHARS} characters")  # some constructs take the compiler quadratic time
    try:
        return syntax_tree(program)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error))


def syntax_tree(text: str) -> ast.Module:
    """As ast.parse, with its errors, in any thread."""
    tree: ast.Module = _parsed(text, "exec")
    return tree


def literal(text: str) -> object:
    """As ast.literal_eval, with its errors, in any thread."""
    return ast.literal_eval(_parsed(text.lstrip(" \t"), "eval"))


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """One thread at a time reads model text, whose '\\d' is no news to whoever runs us: the filters of warnings are the
    process's, so that two threads could leave them as neither found them."""
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parsed(text: str, mode: Literal["exec", "eval"]) -> Any:
    """Python up to 3.11.7 counts the depth of all trees being built in one place, so that two threads that parse at the
    same time end in a SystemError now and then (its issue 106905). Ours wait for each other; for a library's in another
    thread (Triton's, for one) it is tried again."""
    for _ in range(9):
        with contextlib.suppress(SystemError), parsing():
            return ast.parse(text, mode=mode)
    with parsing():
        return ast.parse(text, mode=mode)


class Source:
    """Calling it gives the text of a node, as ast.get_source_segment does, which would split the program each time."""

    def __init__(self, program: str) -> None:
        self._lines = [line.encode("utf-8", "surrogatepass") for line in _LINE.findall(program)]

    def __call__(self, node: ast.expr | ast.stmt) -> str:
        assert node.end_lineno is not None, "a node of a parsed program"
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"".join(lines).decode("utf-8", "surrogatepass")


def function_names(program: str) -> list[str]:
    """Names of the functions at top level, in order; of all lines that begin with def where the text does not parse."""
    tree = parse(program)
    if tree is None:
        return DEF_LINE.findall(program)
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def name_entry_f(program: str, which: Literal["last", "first"] = "last") -> str | None:
    """The program with its entry function called f; None when it has no function at top level.

    A function that is called f already is the entry; else the last (or first) one is renamed, wherever its name stands.
    """
    names = function_names(program)
    if not names:
        return None
    if "f" in names:
        return program
    old = names[-1 if which == "last" else 0]
    tree = parse(program)
    if tree is None:  # AZR's way, good enough for a text that will be rejected as soon as it is compiled
        return re.sub(rf"\b{old}(?=[ \t]*\()", "f", program)
    # An alias is right where renaming would be guesswork, or mix up two things named f.
    return rename(program, old, "f") or f"{program}\nf = {old}"


def rename(program: str, old: str, new: str) -> str | None:
    """The program with a function called otherwise, wherever its name stands; None where that cannot be done safely:
    the text does not parse, something is called `new` already, or the place of a name is not known."""
    tree = parse(program)
    if tree is None:
        return None
    lines = program.encode("utf-8", "surrogatepass").splitlines(keepends=True)
    names_and_places = _names(tree)
    for line, column in sorted({place for name, place in names_and_places if name == old}, reverse=True):
        text = lines[line - 1]
        if not text[column:].startswith(old.encode()):
            return None  # inside an f-string, Python 3.11 tells the wrong place
        lines[line - 1] = text[:column] + new.encode() + text[column + len(old.encode()) :]
    if any(name == new for name, _ in names_and_places):
        return None
    return b"".join(lines).decode("utf-8", "surrogatepass")


def _names(tree: ast.AST) -> list[tuple[str, tuple[int, int]]]:
    """Every name that a variable or function goes by, with its line and byte column; (1, -1) for what has no place."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.append((node.id, (node.lineno, node.col_offset)))
        elif isinstance(node, ast.arg):
            names.append((node.arg, (node.lineno, node.col_offset)))
        elif isinstance(node, ast.FunctionDef):
            names.append((node.name, (node.lineno, node.col_offset + len("def "))))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            names += [(name, (1, -1)) for name in node.names]
    return names


def split_call(program: str) -> tuple[str, str] | None:
    """A program with calls of its own f under it: (the part that defines, argument text of the last call), or None.

    Style chat asks for this form, and small models fall into it anyway (`data = [1, 2]`, `print(f(data, 3))`). Names
    that are assigned down there are replaced by what they were assigned.
    """
    tree = parse(program)
    if tree is None:
        return None
    last_def = max((i for i, node in enumerate(tree.body) if isinstance(node, _DEFINITIONS)), default=-1)
    below = tree.body[last_def + 1 :]
    assigned: dict[str, ast.expr] = {}
    call: ast.Call | None = None
    for statement in below:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "f":
                call = node
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            assigned[statement.targets[0].id] = statement.value
    if call is None:
        return None

    text_of = Source(program)

    def source(node: ast.expr) -> str:
        return text_of(assigned.get(node.id, node) if isinstance(node, ast.Name) else node)

    arguments = [source(node) for node in call.args]
    arguments += [("**" if word.arg is None else f"{word.arg}=") + source(word.value) for word in call.keywords]
    aliases = {
        node: f"f = {node.value.id}"
        for node in below
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and _assigns_f(node)
    }
    first = next(node for node in below if node not in aliases)
    defining = "\n".join(program.split("\n")[: first.lineno - 1]).rstrip()
    return "\n".join([defining, *aliases.values()]), ", ".join(arguments)


def tidy(program: str, *, comments: bool = False, after_return: bool = False, prints: bool = False) -> str:
    """AZR's optional clean-ups, each when asked for: drop comments and docstrings; keep only imports, functions and
    classes at top level; drop calls of print. Text that does not parse, or would be left empty, stays as it is."""
    tree = parse(program)
    if tree is None or not (comments or after_return or prints):
        return program
    if comments:
        _drop_docstrings(tree)
    if after_return:
        keep = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        tree.body = [node for node in tree.body if isinstance(node, keep)]
    try:
        if prints:
            tree = ast.fix_missing_locations(_DropPrints().visit(tree))
        return ast.unparse(tree) or program
    except RecursionError:
        return program


def tests_itself(program: str) -> bool:
    """Whether the program holds a test or an example of itself (AZR's optional check): asserts, calls of f outside of
    functions, comments and variables that announce an input or an output."""
    if re.search(r"#\s*(?:tests?|examples?|input|expected|output)\b", program, re.IGNORECASE):
        return True
    if any(map(_assigns_a_call, program.split("\n"))):
        return True
    tree = parse(program)
    if tree is None:
        return False
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree)) or split_call(program) is not None


def _assigns_a_call(line: str) -> bool:
    """Whether the line gives what f returns to a variable named like an input or an output."""
    name, sign, rest = line.partition("=")
    if not sign or rest[:1] in ("", "=") or not _WORD.fullmatch(name.strip()):
        return False
    return _ANNOUNCES.search(name) is not None and _CALL_OF_F.search(rest, 1) is not None


def imports_of(program: str) -> list[str]:
    """All import statements, wherever they stand, as lines (the `imports` of AZR's files)."""
    tree = parse(program)
    if tree is None:
        return [line.strip() for line in program.split("\n") if re.match(r"\s*(?:import|from)\s+\w", line)]
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def statement_lines(program: str) -> int:
    """The number of lines of f's body on which a statement begins; its docstring, comments and `else:` do not count."""
    tree = parse(program)
    entries = [] if tree is None else [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "f"]
    if not entries:
        return 0
    _drop_docstrings(entries[-1])
    inside = (node for statement in entries[-1].body for node in ast.walk(statement))
    return len({node.lineno for node in inside if isinstance(node, ast.stmt)})


def required_arguments(program: str) -> int:
    """How many positional arguments f cannot do without."""
    tree = parse(program)
    count = 0
    for node in [] if tree is None else tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "f":
            count = len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)
    return count


def program_key(program: str, *, modulo_constants: bool = False) -> str:
    """Sixteen hexadecimal digits, equal for programs that differ only in formatting, comments and docstrings, or
    (modulo_constants) also in the constants they hold. Text that does not parse is its own normal form."""
    tree = parse(program)
    normal = program.strip()
    if tree is not None:
        _drop_docstrings(tree)
        with contextlib.suppress(RecursionError):
            normal = ast.dump(_BlankConstants().visit(tree) if modulo_constants else tree)
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _drop_docstrings(tree: ast.AST) -> None:
    for node in _blocks(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *_FUNCTIONS)) and len(node.body) > 1:
            first = node.body[0].value if isinstance(node.body[0], ast.Expr) else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                del node.body[0]


def _blocks(tree: ast.AST) -> Iterator[ast.AST]:
    """The node and every statement, handler and case under it: whatever holds statements, without the expressions."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def _assigns_f(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "f"


class _DropPrints(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        call = node.value
        is_print = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
        return None if is_print else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node


class _BlankConstants(ast.NodeTransformer):
    """Every constant becomes the name of its type; -5 counts as a constant like 5."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(type(node.value).__name__)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return self.visit_Constant(node.operand)
        return self.generic_visit(node)
