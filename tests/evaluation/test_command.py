"""`minizero evaluate` and `compare` from end to end: the tiny model, a run's adapter, a whole checkpoint, a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import minizero as minizero_package
from minizero import cli
from minizero.evaluation import external
from minizero.evaluation.command import choose_format, with_format
from minizero.evaluation.generate import SamplingSettings
from minizero.evaluation.judges.functions import FunctionJudge
from minizero.evaluation.problems import Problem, Suite
from minizero.evaluation.subject import Subject, find_subject
from minizero.models.names import locate
from minizero.types import EvaluationError, MissingPackage
from tests.in_process import command
from tests.made_run import make_run

ROOT = Path(__file__).parents[2]


def minizero(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "minizero", *map(str, arguments)], cwd=cwd, text=True, capture_output=True, timeout=900,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "100"} | environment,
    )  # fmt: skip


def test_the_tiny_model_is_evaluated_continued_and_compared(data: Path, tmp_path: Path) -> None:
    asked = ("evaluate", "tiny", "--suite", "cruxeval-o", "--limit", 3, "--max-tokens", 24, "--data", data)
    first = minizero(*asked, "--n", 2, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    home = tmp_path / "evaluations" / "tiny-cruxeval-o-compact"
    assert f"{3 * (1 + 2)} answers sampled, 0 were there" in first.stdout
    kept = (home / "samples.jsonl").read_text()
    more = command(*asked, "--n", 3, cwd=tmp_path)
    assert "3 answers sampled, 9 were there" in more.stdout
    assert (home / "samples.jsonl").read_text().startswith(kept)
    assert json.loads((home / "manifest.json").read_text())["plan"]["style"] == "compact"
    compared = command("compare", home, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "3 problems are too few for any conclusion" in compared.stdout
    assert "<svg" in (tmp_path / "comparison" / "comparison.html").read_text()
    again = command(*asked, "--n", 3, "--temperature", 1, cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr.startswith("minizero: ")
    assert "another temperature" in again.stderr


@pytest.mark.slow
def test_two_processes_share_an_evaluation_and_give_what_one_gives(data: Path, tmp_path: Path) -> None:
    asked = ("evaluate", "tiny", "--suite", "cruxeval-o", "--limit", 4, "--n", 2, "--max-tokens", 24, "--data", data)
    found = []
    for count in (1, 2):
        done = minizero(*asked, "--processes", count, "--out", tmp_path / str(count), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("12 answers sampled, 0 were there") == 1
        found.append(json.loads((tmp_path / str(count) / "results.json").read_text()))
    assert found[0]["rows"] == found[1]["rows"]


def test_from_python_too(data: Path, tmp_path: Path) -> None:
    asked = {"suite": "cruxeval-o", "limit": 3, "max_tokens": 24, "data": data, "path": tmp_path / "tiny"}
    one = minizero_package.evaluate("tiny", n=1, **asked)
    assert one.path == tmp_path / "tiny"
    assert one.results["n"] == 1
    counts = one.scores["cruxeval-o"]["base"]
    assert asdict(counts) == one.results["scores"]["cruxeval-o"]["base"]
    share = sum(counts.correct) / 3
    assert counts.measures == pytest.approx(
        {"pass@1": share, "cover@0.25": share, "cover@0.5": share, "cover@0.75": share, "cover@1": share}
    )
    said = minizero_package.compare(one, path=tmp_path / "comparison")
    assert any("3 problems are too few for any conclusion" in sentence for sentence in said)
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    with pytest.raises(EvaluationError, match="another temperature"):
        minizero_package.evaluate("tiny", n=1, temperature=1.0, **asked)


def a_run(path: Path, model: Path, kind: str) -> Path:
    """A finished run of the random model; its checkpoint differs from the base."""
    import torch

    from minizero.config import config_from
    from minizero.learn.policy import Policy

    settings = {
        "model": {"name": str(model)}, "adapter": {"kind": kind, "rank": 4, "alpha": 8}, "run": {"threads": 1},
    }  # fmt: skip
    policy = Policy(config_from(settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    make_run(path, steps=2, tasks=3, settings=settings).checkpoint(2, policy.save_adapter)
    return path


@pytest.mark.parametrize(
    ("prompt", "style"),
    [
        ({"style": "direct"}, "direct"),
        ({"style": "few-shot"}, "few-shot-cot"),
        ({"style": "few-shot", "think": "off"}, "few-shot"),
        ({"style": "chat"}, "few-shot"),
    ],
)
def test_a_run_is_asked_for_values_in_the_form_that_it_was_trained_in(
    tmp_path: Path, prompt: dict[str, str], style: str
) -> None:
    settings = {"prompt": prompt, "model": {"name": "x/Coder-0.5B"}, "adapter": {"kind": "full"}}
    run = make_run(tmp_path / "run", steps=1, tasks=1, settings=settings)
    run.checkpoint(1, lambda path: shutil.copytree(locate("tiny"), path / "model"))
    subject = find_subject(str(run.path))
    assert with_format(subject, SamplingSettings(("cruxeval",), "auto", 0)).style == style
    assert with_format(subject, SamplingSettings(("humaneval+",), "auto", 0)).style == "direct"
    assert with_format(subject, SamplingSettings(("cruxeval",), "chat", 0)).style == "chat"


def test_a_run_at_one_of_its_checkpoints_can_be_named(tmp_path: Path) -> None:
    settings = {"prompt": {"style": "direct"}, "model": {"name": "x/Coder-0.5B"}, "adapter": {"kind": "full"}}
    run = make_run(tmp_path / "run", steps=2, tasks=1, settings=settings)
    for step in (1, 2):
        run.checkpoint(step, lambda path: shutil.copytree(locate("tiny"), path / "model"))
    newest, earlier = find_subject(str(run.path)), find_subject(str(run.path / "checkpoints" / "step-000001"))
    assert (newest.name, earlier.name) == ("run", "run-step-000001")
    assert newest.trained == run.path / "checkpoints" / "step-000002" / "model"
    assert earlier == replace(newest, name="run-step-000001", trained=run.path / "checkpoints/step-000001/model")
    assert find_subject(str(run.path / "checkpoints" / "step-3")).sides == ("base",)  # a model's name, like any text


@pytest.mark.parametrize(("kind", "sides"), [("lora", ("base", "trained")), ("full", ("base", "trained"))])
def test_a_run_stands_for_its_newest_checkpoint(
    data: Path,
    random_model: Path,
    tmp_path: Path,
    kind: str,
    sides: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = a_run(tmp_path / "run", random_model, kind)
    assert find_subject(str(run)).sides == sides
    out = tmp_path / "e"
    arguments = {"suite": "cruxeval-o,cruxeval-i", "limit": 2, "n": 1, "max_tokens": 3, "data": data, "out": out}
    cli.evaluate(str(run), **arguments, format="direct")  # type: ignore[arg-type]
    results = json.loads((out / "results.json").read_text())
    assert {row["side"] for row in results["rows"]} == set(sides)
    assert len(results["rows"]) == 2 * 2 * 2 * len(sides)
    assert (out / "perplexity.json").is_file() is (kind == "lora")
    base = tmp_path / "base"
    cli.evaluate(str(random_model), **(arguments | {"out": base}), format="direct")  # type: ignore[arg-type]
    found = json.loads((base / "results.json").read_text())
    texts = [[r["text"] for r in x["rows"] if r["side"] == sides[-1]] for x in (results, found | {"rows": [
        row | {"side": sides[-1]} for row in found["rows"]]})]  # fmt: skip
    assert texts[0] != texts[1]  # the checkpoint speaks, not the model it started from
    cli.compare((base, out), out=tmp_path / "c")
    assert "comparison.html" in capsys.readouterr().out


PROBLEMS = [
    Problem(
        f"HumanEval/{i}", "def f(x):\n", f"def f(x):\n    return x + {i}\n", "f",
        {"tests": {"humaneval": [[1]], "humaneval-mini": [[2], [3]]}, "atol": 0.0, "oracle": "", "is_json": True},
    )
    for i in range(3)
]  # fmt: skip
SMALL = Suite(
    "humaneval-mini", "made", ("humaneval", "humaneval-mini"), "program", lambda where: PROBLEMS, FunctionJudge
)
# An interpreter that finds every sample right, whatever module it is told to run.
EVALPLUS = """#!{python}
import json, sys
path = sys.argv[sys.argv.index("--samples") + 1]
found = {{}}
for line in open(path):
    row = json.loads(line)
    found.setdefault(row["task_id"], []).append({{"base_status": "pass", "plus_status": "pass"}})
json.dump({{"eval": found}}, open(path.replace(".jsonl", "_eval_results.json"), "w"))
"""


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A samples file of a made suite: right, wrong on the extra tests, right."""
    monkeypatch.setattr(external, "named", lambda names: [SMALL])
    path = tmp_path / "samples.jsonl"
    bodies = ["    return x\n", "    return 2 if x == 1 else 0\n", "    return x + 2\n"]
    rows = [{"task_id": p.id, "completion": body} for p, body in zip(PROBLEMS, bodies, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_samples_file_is_scored_from_the_command_line(
    data: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.evaluate(samples=samples, suite="humaneval-mini", data=data)
    assert "2 of 3 samples right (66.7%)" in capsys.readouterr().out
    written = json.loads(samples.with_name("samples.eval_results.json").read_text())
    assert len(written["hash"]) == 32
    assert written["eval"]["HumanEval/1"][0]["plus_fail_tests"] == [[2]]


def test_another_scorer_is_asked_and_what_differs_is_named(
    data: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "python"
    fake.write_text(EVALPLUS.format(python=sys.executable))
    fake.chmod(0o755)
    monkeypatch.setenv("EVALPLUS_PYTHON", str(fake))
    cli.evaluate(samples=samples, suite="humaneval-mini", data=data, scorer="evalplus")
    assert "EvalPlus's own scorer differs on 1 tasks: HumanEval/1" in capsys.readouterr().out


def test_without_evalplus_its_scorer_is_a_missing_package(
    data: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVALPLUS_PYTHON", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="EVALPLUS_PYTHON"):
        cli.evaluate(samples=samples, suite="humaneval-mini", data=data, scorer="evalplus")


def test_a_scorer_that_fails_is_told_with_its_last_words(
    data: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho first >&2; echo no such data set >&2; exit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("EVALPLUS_PYTHON", str(fake))
    with pytest.raises(EvaluationError, match="ended with status 3: no such data set"):
        cli.evaluate(samples=samples, suite="humaneval-mini", data=data, scorer="evalplus")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "name what to evaluate"),
        ({"scorer": "other"}, "expected one of minizero, evalplus"),
        ({"samples": Path("nowhere.jsonl")}, "no such file"),
        ({"subject": "tiny", "n": -1}, "n = -1"),
        ({"subject": "tiny", "top_p": 0.0}, "top_p = 0.0"),
        ({"subject": "tiny", "suite": "humanevla"}, "Did you mean humaneval"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = dict(arguments)
    with pytest.raises(EvaluationError, match=words):
        cli.evaluate(str(given.pop("subject", "")), **given)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "style", "chosen"),
    [
        ("tiny", "auto", "compact"),
        ("Qwen/Qwen2.5-Coder-7B", "auto", "direct"),
        ("Qwen/Qwen2.5-Coder-1.5B-Instruct", "auto", "chat"),
        ("google/gemma-2-2b-it", "auto", "chat"),
        ("Qwen/Qwen2.5-Coder-1.5B-Instruct", "azr", "azr"),
    ],
)
def test_the_format_suits_the_model_unless_one_is_named(model: str, style: str, chosen: str) -> None:
    assert choose_format(Subject("x", model), style) == chosen


def test_the_tiny_models_run_is_asked_beside_its_base_on_its_own_tasks_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minizero.models.names import locate

    monkeypatch.chdir(tmp_path)
    run = make_run(Path("runs/tiny"), steps=1, tasks=1, settings={"run": {"threads": 1}})
    run.checkpoint(1, lambda path: shutil.copytree(locate("tiny"), path / "model"))
    cli.evaluate("runs/tiny", limit=6)
    home = tmp_path / "evaluations" / "tiny-tiny-compact"
    results = json.loads((home / "results.json").read_text())
    assert results["manifest"]["suites"]["tiny"]["format"] == "compact"
    assert {row["task"].partition("/")[0] for row in results["rows"]} == {"deduction", "abduction", "induction"}
    texts = [[row["text"] for row in results["rows"] if row["side"] == side] for side in ("base", "trained")]
    assert texts[0] == texts[1]  # what was saved is the base itself
    assert len(texts[0]) == 6
    assert results["scores"]["tiny"]["base"]["parsed"] == 1.0
    assert results["scores"]["tiny"]["base"]["measures"] == {}  # nothing was sampled
    assert "12 answers sampled" in capsys.readouterr().out


def test_make_compares_the_newest_evaluation_that_is_finished(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed").touch()
    for name, finished in (("old", True), ("new", True), ("stopped", False)):
        place = tmp_path / "evaluations" / name
        place.mkdir(parents=True)
        if finished:
            (place / "results.json").write_text("{}")
            os.utime(place / "results.json", (1, 1 if name == "old" else 2))
    shown = subprocess.run(["make", "-n", "compare"], cwd=tmp_path, text=True, capture_output=True)
    assert "compare evaluations/new " in shown.stdout + " "
