"""The plan of the house: wings in one order, no circles, light words, and files of one idea.

An import counts wherever it stands: at the top, inside a function, or for the type checker alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A wing is a folder or a file of minizero/. It imports what stands before it, and nothing that stands after it.
WINGS = (
    "types", "metrics", "statistics", "formatting",
    "config", "tasks", "rewards", "prompts", "tiny",
    "models", "planner", "learn", "rollout",
    "evaluation", "selfplay", "ablate", "report",
    "api", "__init__", "cli", "__main__",
)  # fmt: skip
ENGINES = {"models", "planner", "learn", "rollout", "tiny"}
ENGINE_PACKAGES = {"transformers", "peft", "bitsandbytes", "vllm", "accelerate", "tokenizers"}
WITHOUT_TORCH = ("types", "metrics", "formatting", "config", "tasks", "rewards", "prompts")
WITHOUT_TORCH_TOO = ("selfplay.buffer", "selfplay.seeds", "selfplay.scoring", "selfplay.step", "selfplay.run_directory")
LANDING = 22
TELLING = 2600  # lines of Python that tell of runs, comparisons and ablations; words and tables stand in templates
# What is read to understand one step; how many lines it may have in all, and without blank ones and imports.
A_STEP = ("selfplay.step", "selfplay.round", "selfplay.scheduler", "selfplay.answers")
LINES_OF_A_STEP = 630
READ_OF_A_STEP = 460


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Every module that the file imports; of a known package, the submodule that is meant."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


FILES = modules("minizero") | modules("sandbox")


def wing(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("minizero")])
def test_a_wing_imports_only_wings_that_stand_before_it(module: str) -> None:
    assert wing(module) in WINGS, f"minizero/{wing(module)} is no wing yet: give it its place in WINGS"
    for name in imports(FILES[module], FILES):
        if name.split(".")[0] == "minizero" and not (wing(module) == "api" and wing(name) == "api"):
            assert WINGS.index(wing(name)) <= WINGS.index(wing(module)), f"{module} imports {name}, which stands later"


@pytest.mark.parametrize("package", ["minizero", "sandbox"])
def test_no_two_files_need_each_other(package: str) -> None:
    graph = {
        name: {other for other in imports(path, FILES) if other in FILES and other != name}
        for name, path in FILES.items()
        if name.startswith(package)
    }
    # A package's own names, re-exported by its __init__, are not asked for by its files.
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("minizero")])
def test_only_the_engines_import_engine_packages(module: str) -> None:
    if wing(module) not in ENGINES:
        assert not ENGINE_PACKAGES & {name.split(".")[0] for name in imports(FILES[module], FILES)}


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("sandbox")])
def test_the_sandbox_imports_the_standard_library_only(module: str) -> None:
    allowed = set(sys.stdlib_module_names) | {"sandbox"}
    assert {name.split(".")[0] for name in imports(FILES[module], FILES)} <= allowed


def test_what_needs_no_torch_loads_without_it() -> None:
    names = [name for name in FILES if name.startswith("minizero.") and wing(name) in WITHOUT_TORCH]
    names += [f"minizero.{name}" for name in WITHOUT_TORCH_TOO]
    code = "import sys; " + "; ".join(f"import {name}" for name in names)
    code += "; print([m for m in ('torch', 'numpy', 'transformers', 'rich', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_loads_no_torch_before_its_sandbox_starts() -> None:
    code = "import sys, minizero.selfplay.run_loop, minizero.selfplay.build; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_landing_is_small() -> None:
    entries = [path.name for path in (ROOT / "minizero").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= LANDING, sorted(entries)


def test_one_step_can_be_read() -> None:
    texts = {name: FILES[f"minizero.{name}"].read_text() for name in A_STEP}
    lines = {name: len(text.splitlines()) for name, text in texts.items()}
    assert sum(lines.values()) <= LINES_OF_A_STEP, lines
    read = {name: lines_to_read(text) for name, text in texts.items()}
    assert sum(read.values()) <= READ_OF_A_STEP, read


def lines_to_read(text: str) -> int:
    """All but blank lines and the imports of a file's head."""
    head = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = {line for node in head for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return sum(bool(line.strip()) and number not in imports for number, line in enumerate(text.splitlines(), 1))


@pytest.mark.parametrize("module", FILES)
def test_a_file_is_one_idea_and_says_what_it_is(module: str) -> None:
    text = FILES[module].read_text()
    assert len(text.splitlines()) <= 380
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"


def test_the_python_that_tells_is_short() -> None:
    """Export and first light, report's folders, are counted apart."""
    files = [
        *(ROOT / "minizero/report").glob("*.py"),
        ROOT / "minizero/tiny/card.py",
        ROOT / "minizero/ablate/live_table.py",
    ]
    assert len(files) > 20
    assert sum(len(path.read_text().splitlines()) for path in files) <= TELLING
