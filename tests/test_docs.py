"""The documents do what they say: links lead somewhere, named files are there, what is marked as runnable runs, and the
walk-through of docs/rewards.md is extracted and run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minizero.ablate.sets import read_set
from minizero.config import load_config
from minizero.rewards import reward_proposal
from minizero.types import Pair, ProposalOutcome, Task, TaskType

ROOT = Path(__file__).parent.parent
REWARDS = ROOT / "docs" / "rewards.md"
BASE = (ROOT / "configs" / "tiny.toml",)
SMALL = (
    "selfplay.steps=1", "selfplay.proposals=4", "selfplay.solves=8", "selfplay.attempts=2", "eval.limit=9",
    "selfplay.propose_max_tokens=64", "selfplay.solve_max_tokens=32",
    "eval.samples=2", "run.threads=1", "sandbox.workers=1",
)  # fmt: skip


def blocks(language: str) -> Iterator[str]:
    text = REWARDS.read_text(encoding="utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files of the walk-through; the first line of a block names its file."""
    for text in (*blocks("python"), *blocks("toml")):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_reward_of_the_walk_through_gives_what_it_says(workplace: Path) -> None:
    config = load_config(BASE, ['reward.propose.terms."my_rewards.py:uses_input"=0.3']).reward.propose
    program = "def f(x):\n    return x + x + x"  # three reads: (3 - 1) / 3
    task = Task(TaskType.DEDUCTION, program, (Pair("1", "3"),))
    outcome = ProposalOutcome(TaskType.DEDUCTION, program, True, "", task=task, solve_rate=0.25)
    reward = reward_proposal(outcome, config)
    assert reward.terms["my_rewards.py:uses_input"] == pytest.approx(2 / 3)
    assert reward.value == pytest.approx(0.75 + 0.3 * 2 / 3)


def test_the_set_of_the_walk_through_is_valid(workplace: Path) -> None:
    asked = read_set(workplace / "idea.toml", files=BASE)
    assert [v.name for v in asked.variants] == ["default", "bonus", "product", "shuffled", "frozen"]
    assert asked.config(asked.variants[2]).reward.propose.combine == "multiply"


def test_every_path_that_the_walk_through_names_is_there() -> None:
    names = re.findall(r"`((?:minizero|configs|tests)/[\w/.*]+)`", REWARDS.read_text(encoding="utf-8"))
    assert len(names) >= 4
    assert [name for name in names if not list(ROOT.glob(name.rstrip("/")))] == []


@pytest.mark.full
@pytest.mark.slow
def test_the_walk_through_runs_as_printed(workplace: Path) -> None:
    small = " ".join(shlex.quote(f"--set={text}") for text in SMALL)
    python = shlex.quote(sys.executable)
    # The commands as they are printed, but for smaller settings and one seed.
    start = (
        f'minizero() {{ case $1 in selfplay|ablate) {python} -m minizero "$@" {small};; '
        f'*) {python} -m minizero "$@";; esac; }}\n'
    )
    script = start + "\n".join(blocks("bash")).replace("--seeds 3", "--seeds 1")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, env=os.environ | {"COLUMNS": "80"},
        capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    home = workplace / "runs" / "ablate-idea"
    assert {path.stem for path in home.glob("*-0.json")} == {
        "default-0", "bonus-0", "product-0", "shuffled-0", "frozen-0",
    }  # fmt: skip
    assert "| bonus | 1 |" in (home / "table.md").read_text()
    assert "my_rewards.py:uses_input" in (next((workplace / "runs").glob("*-look")) / "report.html").read_text()


# -- links, paths, citations ------------------------------------------------------------------------------------------

DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), ROOT / "sandbox" / "README.md",
     ROOT / "tests" / "README.md"}
)  # fmt: skip
CODE = sorted(
    path
    for folder in ("minizero", "sandbox", "tests", "configs")
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix in (".py", ".toml", ".txt")
)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings: lower case, letters, digits and hyphens."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    broken = []
    for link in links:
        place, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / place) if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"`((?:minizero|sandbox|tests|configs|benchmarks|docs)/[\w/.*+-]*)`", text)
    assert [name for name in names if "NAME" not in name and not list(ROOT.glob(name.rstrip("/")))] == []


def test_every_citation_in_the_code_leads_to_a_section_of_the_documents() -> None:
    sections = set(re.findall(r"^#+ (\d(?:\.\d)?) ", (ROOT / "docs" / "algorithm.md").read_text(), flags=re.MULTILINE))
    assert {"1", "2.1", "3.6", "5.4", "6.3"} <= sections
    cited, wrong = 0, []
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        for page, first, last in re.findall(r"\b(docs/[\w-]+\.md)(?: (\d(?:\.\d)?)\b(?: to (\d\.\d))?)?", text):
            cited += 1
            known = (ROOT / page).is_file() and {first, last} - {""} <= sections
            wrong += [] if known else [f"{name_of(path)}: {page} {first}"]
    assert cited >= 37
    assert wrong == []


def test_nothing_cites_what_lies_outside_the_repository() -> None:
    outside = re.compile(r"azr-spec|\b(?:notes|shared|drafts)/|\bdesign\.md")
    others = [path for path in (*CODE, *DOCUMENTS) if path != Path(__file__)]
    assert [name_of(path) for path in others if outside.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_a_setting_in_the_readme_arrives_through_make_and_shell(page: str) -> None:
    (line,) = re.findall(r"^make (selfplay ARGS=.*)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    # Under another make, as in `make test`, its last line would tell the directory it leaves.
    asked = f"make --no-print-directory -n {line}"
    done = subprocess.run(["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(done.stdout.splitlines()[-1])
    config = load_config(overrides=[words[words.index("--set") + 1]])
    assert config.reward.propose.terms["my_rewards.py:short_program"].weight == 0.2


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_readmes_have_short_lines(page: str) -> None:
    assert max(map(len, (ROOT / page).read_text(encoding="utf-8").splitlines())) <= 120


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(FENCED.sub("", text).split()) <= 650


def test_the_table_of_settings_says_name_type_default_and_source() -> None:
    spec = importlib.util.spec_from_file_location("settings_tables", ROOT / "docs" / "site" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.tables()
    assert "## selfplay" in text
    assert "## composites.scheduler" in text
    assert "| `proposals` | `int` | `64` | Propose completions per task type and step (AZR: 64). |" in text
    assert '| `quantization` | `"none" or "nf4"` | `"none"` |' in text


# -- blocks that are marked runnable ----------------------------------------------------------------------------------

RUNNABLE = [
    pytest.param(language, body, id=f"{name_of(page)}-{number}", marks=[pytest.mark.slow] * (language == "python"))
    for page in DOCUMENTS
    if page.name != "README.ko.md"
    for number, (language, body) in enumerate(
        re.findall(r"^<!-- runnable -->\n```(\w+)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.full
@pytest.mark.parametrize(("language", "body"), RUNNABLE)
def test_a_block_that_is_marked_runnable_runs(language: str, body: str, tmp_path: Path) -> None:
    for folder in ("configs", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    if language == "python":
        (tmp_path / "block.py").write_text(body.replace("steps=20", "steps=3"))
        command = [sys.executable, "block.py"]
    else:
        start = f'minizero() {{ {shlex.quote(sys.executable)} -m minizero "$@"; }}\n'
        command = ["bash", "-euo", "pipefail", "-c", start + body]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path, "COLUMNS": "80"},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_readme_and_the_first_steps_have_runnable_blocks() -> None:
    assert len(RUNNABLE) >= 5
