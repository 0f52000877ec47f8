"""What of an answer is run: EvalPlus's rules, checked by hand, against the slow way, and against EvalPlus itself."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.evaluation.sanitise import longest_program, sanitise

FUNCTION = "def f(x):\n    return g(x) + h.w"
HELPER = "def g(x):\n    return 1"
PIECES = [
    "def f(x):",
    "    return g(x)",
    "    x = [1,",
    "2]",
    '"""',
    "assert f(1) == 2",
    "def g(x): return C(x)",
    "def quiet(x):",
    "    pass",
    "import math",
    "from __future__ import annotations",
    "class C:",
    "    w = 1",
    "@cache",
    "a, b = g",
    "h = C",
    "```",
    "Sure, here it is:",
    "",
]


@pytest.mark.parametrize(
    ("program", "kept"),
    [
        (f"{FUNCTION}\n\nassert f(1) == 2\nprint(f(3))", FUNCTION),
        (f"{FUNCTION}\nassert f([1, 2", FUNCTION),  # cut by the limit
        (f"Sure:\n{FUNCTION}\n", FUNCTION),
        (f"import os\n{HELPER}\n{FUNCTION}\ndef other():\n    return 2", f"import os\n{HELPER}\n{FUNCTION}"),
        (f"h = C\nclass C:\n    w = 1\n{FUNCTION}", f"h = C\nclass C:\n    w = 1\n{FUNCTION}"),
        (f"w: int = 1\n{FUNCTION}", f"w: int = 1\n{FUNCTION}"),  # an attribute's name counts as well
        (f"{FUNCTION}\ndef f(x):\n    return 2", FUNCTION),  # the first one
        (f"def g(x):\n    print(x)\n{FUNCTION}", FUNCTION),  # nothing is returned
        (f"@cache\ndef g(x):\n    return 1\n{FUNCTION}", FUNCTION),
        (f"from __future__ import annotations\n{FUNCTION}", FUNCTION),
        (f"x = 1; import os; g = 2\n{FUNCTION}", f"import os\nx = 1\ng = 2\n{FUNCTION}"),
        ("é = 1; def_ = é\ndef f(): return def_", "é = 1\ndef_ = é\ndef f(): return def_"),
    ],
)
def test_what_the_entry_needs_is_kept(program: str, kept: str) -> None:
    assert sanitise(program, "f") == kept


def test_a_program_without_an_entry_is_whole() -> None:
    program = "n = int(input())\nprint(n)"
    assert sanitise(program, "") == program


# 210 open brackets: the parser gives up at 200.
@pytest.mark.parametrize("text", ["", "no program", "def f(:", "\x00", "(" * 5000, "def f():\n" + "(\n" * 210])
def test_any_text_gives_a_text(text: str) -> None:
    assert isinstance(sanitise(text, "f"), str)


def accepted(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def slowly(text: str) -> int:
    """The most lines that are not blank in a stretch of two lines or more that is a program."""
    lines = text.split("\n")
    stretches = (lines[i : j + 1] for i in range(len(lines)) for j in range(i + 1, len(lines)))
    return max((sum(map(bool, map(str.strip, s))) for s in stretches if accepted("\n".join(s))), default=0)


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_the_longest_program_is_what_trying_all_stretches_finds(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    found, most = longest_program(text), slowly(text)
    if most:
        assert accepted(found)
        assert sum(map(bool, map(str.strip, found.split("\n")))) == most
    else:
        assert found == text.split("\n")[0]


def test_evalplus_keeps_the_same(tmp_path: Path) -> None:
    python = os.environ.get("EVALPLUS_PYTHON", "")
    if not python:
        pytest.skip("set EVALPLUS_PYTHON to an interpreter with evalplus==0.3.1")
    import random

    rng = random.Random(0)
    texts = ["\n".join(rng.choices(PIECES, k=rng.randint(2, 12))) for _ in range(1000)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, sys; from evalplus.sanitize import sanitize; "
        "print(json.dumps([sanitize(text, 'f') for text in json.load(open(sys.argv[1]))]))"
    )
    command = [python, "-c", code, str(tmp_path / "texts.json")]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    differ = [t for t, theirs in zip(texts, told, strict=True) if shape(sanitise(t, "f")) != shape(theirs)]
    assert not differ, differ[0]


def shape(program: str) -> str:
    """Equal for programs that differ in comments and blank lines only."""
    return ast.dump(ast.parse(program)) if accepted(program) else program.strip()
