"""The plan of the house holds: imports only go down, the ground floor is light, no file is more than one idea long."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    # ground floor: words. No torch, no numpy.
    {"types", "metrics", "config", "prompts", "programs", "composites", "forbidden", "parsing", "tasks", "buffer",
     "seeds", "rewards", "scoring", "run", "version", "__init__"},
    # first floor: numbers
    {"advantages", "losses", "log_probs", "batching", "optimiser", "evaluation.passk"},
    # second floor: engines
    {"models", "gguf_files", "merge", "policy", "rehearsal", "rollout", "planner", "tiny"},
    # roof: the story and its tellers
    {"exchange", "round", "selfplay", "session", "mirror", "telling", "verdict", "replay", "report", "seeding", "cli",
     "doctor", "ablate", "export", "card", "__main__",
     "evaluation"},
]  # fmt: skip
# The prompts' compact style and the tiny model's sets are data, read lazily by name; rollout/protocol.py is words.
ALLOWED_UP = {("seeds", "tiny"), ("evaluation", "tiny")}
ENGINE_PACKAGES = {"transformers", "peft", "bitsandbytes", "vllm", "accelerate", "tokenizers"}


def modules() -> list[Path]:
    return sorted((ROOT / "minizero").rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "minizero").with_suffix("").parts
    dotted = ".".join(parts)
    return dotted if dotted in {"evaluation.passk"} else parts[0]


def floor(name: str) -> int:
    found = [i for i, rooms in enumerate(FLOORS) if name in rooms]
    assert found, f"minizero/{name} stands on no floor: add it to FLOORS in tests/test_house.py"
    return found[0]


def imports(path: Path) -> list[str]:
    """Every module that the file imports at run time, lazily or not; what only type checkers see does not count."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "minizero"]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if not name.startswith("minizero."):
            continue
        dotted = name.removeprefix("minizero.")
        there = dotted if dotted == "evaluation.passk" else dotted.split(".")[0]
        if there == "rollout" and dotted in {"rollout.protocol", "rollout.scripted"}:
            continue
        if (here, there) in ALLOWED_UP:
            continue
        assert floor(there) <= floor(here), f"{here} imports {name}, which stands on a higher floor"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_engines_import_engine_packages(path: Path) -> None:
    if floor(room(path)) == 2:
        return
    assert not ENGINE_PACKAGES & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "sandbox").rglob("*.py")), ids=lambda p: p.name)
def test_the_sandbox_imports_the_standard_library_only(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"sandbox"}
    assert {name.split(".")[0] for name in imports(path)} <= allowed


def test_the_ground_floor_loads_without_torch_and_numpy() -> None:
    names = sorted(FLOORS[0] - {"__init__"})
    code = "import sys; " + "; ".join(f"import minizero.{name}" for name in names)
    code += "; print([m for m in ('torch', 'numpy', 'transformers', 'rich', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [*modules(), *sorted((ROOT / "sandbox").rglob("*.py"))], ids=lambda p: p.name)
def test_a_file_is_one_idea_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 380
    assert ast.get_docstring(ast.parse(text)), f"{path.name} has no docstring"
