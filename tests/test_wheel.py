"""A wheel works away from the repository: in an empty directory it finds its configs, plays and says where it is from.

The wheel is built from a copy of the sources, with the build backend that `pip wheel .` calls, and unpacked to where
PYTHONPATH points. The unpacked files lie inside another git repository, as they do in a project's own .venv.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("minizero", "sandbox", "configs", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
SMALL = (
    "selfplay.steps=1", "selfplay.proposals=4", "selfplay.solves=8", "selfplay.attempts=2", "eval.limit=9",
    "eval.samples=2", "run.threads=1", "sandbox.workers=1", "selfplay.propose_max_tokens=64",
    "selfplay.solve_max_tokens=32",
)  # fmt: skip


def committed(folder: Path) -> str:
    """Make a git repository of a folder; returns its commit as `git describe` writes it."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "--allow-empty", "-m", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    done = subprocess.run([*git, "describe", "--always"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the wheel was unpacked, and the commit that it was built from."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    (source / ".gitignore").write_text("build/\n*.egg-info/\n")
    commit = committed(source)
    stale = source / "build" / "lib" / "minizero" / "moved_since.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    project = tmp_path_factory.mktemp("project")
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(project / "site")
    committed(project)
    return project / "site", commit


@pytest.fixture
def minizero(built: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Installed]:
    monkeypatch.setenv("PYTHONPATH", str(built[0]))
    monkeypatch.chdir(tmp_path)
    return Installed


class Installed:
    """The wheel's command line, called in the working directory, which holds nothing."""

    @staticmethod
    def run(*words: str) -> str:
        done = Installed.python("-m", "minizero", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @staticmethod
    def python(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"COLUMNS": "200"}
        return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=600)


def test_it_holds_the_configs_beside_the_code_and_nothing_that_moved(built: tuple[Path, str]) -> None:
    site, _ = built
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.toml")}
    assert {path.relative_to(site / "minizero").as_posix() for path in site.rglob("configs/**/*.toml")} == ours
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"minizero", "sandbox"}
    assert not (site / "minizero" / "moved_since.py").exists()
    # Code, templates, weights, data: whatever lies in the packages, but for what tells readers of the repository.
    files = [path for name in ("minizero", "sandbox") for path in (ROOT / name).rglob("*") if path.is_file()]
    ours = {path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts} - {Path("sandbox/README.md")}
    theirs = {path.relative_to(site) for name in ("minizero", "sandbox") for path in (site / name).rglob("*.*")}
    assert ours == {path for path in theirs if "configs" not in path.parts} - {Path("minizero/commit.txt")}


def test_it_is_typed_for_those_who_import_it(built: tuple[Path, str]) -> None:
    assert (built[0] / "minizero" / "py.typed").is_file()
    assert (built[0] / "sandbox" / "py.typed").is_file()


@pytest.mark.full
def test_the_version_names_the_commit_that_the_wheel_was_built_from(
    built: tuple[Path, str], minizero: type[Installed]
) -> None:
    assert minizero.run("--version") == f"minizero 0.1.0 ({built[1]})\n"


@pytest.mark.full
def test_a_model_finds_its_config(built: tuple[Path, str], minizero: type[Installed]) -> None:
    first, *rows = minizero.run("selfplay", "Qwen2.5-Coder-3B", "--dry-run").splitlines()
    assert first == f"Settings: {built[0] / 'minizero' / 'configs' / 'Qwen2.5-Coder-3B.toml'}."
    assert ["model.name", "Qwen/Qwen2.5-Coder-3B"] in [row.split() for row in rows]
    assert ["selfplay.max_prompt_tokens", "2048"] in [row.split() for row in rows]


@pytest.mark.full
def test_an_overlay_is_found_by_its_path_in_the_repository(minizero: type[Installed]) -> None:
    text = minizero.run("selfplay", "tiny", "--config", "configs/ablations/estimators/rloo.toml", "--dry-run")
    assert "leave_one_out" in text
    assert "rloo.toml." in text.splitlines()[0]


def test_a_shipped_set_is_found(minizero: type[Installed]) -> None:
    code = (
        "from pathlib import Path; from minizero.ablate.sets import read_set; from minizero.config.named import layers;"
        "files, _ = layers('tiny', (), ()); names = ('rewards', 'configs/ablations/losses');"
        "print([len(read_set(Path(name), files=files).variants) for name in names])"
    )
    done = minizero.python("-c", code)
    assert done.stdout == f"{[shown('rewards'), shown('losses')]}\n", done.stderr


def shown(name: str) -> int:
    """Rows of a set: its overlays, the default and the two controls."""
    overlays = (ROOT / "configs" / "ablations" / name).glob("[!_]*.toml")
    return len(list(overlays)) + 3


@pytest.mark.full
def test_the_tiny_model_plays_with_its_own_settings(minizero: type[Installed], tmp_path: Path) -> None:
    text = minizero.run("selfplay", "tiny", *(f"--set={name}" for name in SMALL))
    (run,) = (tmp_path / "runs").iterdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["settings"].endswith("minizero/configs/tiny.toml.")
    assert manifest["settings"] in text
    assert manifest["difference"]["prompt.style"] == ["auto", "compact"]
    assert "--config configs/ablations/" in text  # what to try next, as it can be typed here
    assert (run / "report.html").is_file()


@pytest.mark.full
@pytest.mark.slow
def test_a_shipped_set_is_played(minizero: type[Installed], tmp_path: Path) -> None:
    settings = (f"--set={name}" for name in SMALL)
    minizero.run("ablate", "rewards", "--seeds", "1", "--only", "paper", *settings)
    table = (tmp_path / "runs" / "ablate-rewards" / "table.md").read_text()
    assert "| paper | 1 |" in table
