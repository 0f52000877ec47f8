"""Every command beside every damaged file that it reads: one message that names the file, and never a traceback."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from safetensors.numpy import save_file

from minizero.ablate.sets import Variant
from minizero.ablate.summary import summarise
from minizero.cli import main
from minizero.config import load_config
from minizero.models.files import check_weights
from minizero.models.load import load
from minizero.report import replay
from minizero.selfplay import run_loop
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import ModelError
from tests.evaluation.test_compare import made
from tests.made_run import make_run

ROOT = Path(__file__).parent.parent
ROLLOUTS, VALIDATION = "rollouts/step-000002.jsonl.gz", "eval/step-000002.json"
ADAPTER = "checkpoints/step-000002/adapter/"
STATE = "state/step-000002/"
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) * 2 // 3],
    "binary": lambda data: b"\xff\xfe\x00\x9d" * 50 + b"\n",
    "a list": lambda data: b"[]\n",
    "a number": lambda data: b"3\n",
    "an empty object": lambda data: b"{}\n",
    "a bad first line": lambda data: data[: len(data.partition(b"\n")[0]) // 2] + b"".join(data.partition(b"\n")[1:]),
}
MODEL_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors",
)  # fmt: skip
# Command -> the files of a run that it cannot do without, or whose damage it tells beside what it shows.
READS = {
    "report": ("config.toml", "manifest.json", "metrics.jsonl", "tasks.jsonl", ROLLOUTS, VALIDATION),
    "reports": ("config.toml", "metrics.jsonl", VALIDATION),
    "watch": ("config.toml", "manifest.json", "metrics.jsonl", VALIDATION),
    "replay": ("tasks.jsonl", ROLLOUTS),
    "export": ("config.toml", "metrics.jsonl", f"{ADAPTER}adapter_config.json", f"{ADAPTER}adapter_model.safetensors"),
    "evaluate": ("config.toml", f"{ADAPTER}adapter_config.json", f"{ADAPTER}adapter_model.safetensors"),
    "overlap": ("tasks.jsonl",),
    "resume": ("config.toml", "manifest.json", "metrics.jsonl", "tasks.jsonl", f"{STATE}state.json"),
}
# An empty file that grows is that of a run that has just begun; one whose last line is torn was being written.
NO_DAMAGE = {(name, how) for name in ("metrics.jsonl", "tasks.jsonl") for how in ("empty", "cut off")}
NO_DAMAGE |= {("manifest.json", "an empty object")}  # nothing in it is needed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rollouts, a validation, an adapter and a whole state, whose weights are five numbers."""
    made_here = make_run(tmp_path_factory.mktemp("runs") / "run", steps=2, tasks=20, settings={"adapter": {}})
    adapter = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}

    def save(directory: Path) -> None:
        (directory / "adapter").mkdir()
        (directory / "adapter" / "adapter_config.json").write_text(json.dumps(adapter, indent=1))
        save_file({"weight": numpy.ones(5, numpy.float32)}, directory / "adapter" / "adapter_model.safetensors")

    made_here.checkpoint(2, save)
    made_here.save_state(2, {"rng": []}, lambda directory: None)
    return made_here.path


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit status and everything that a command prints, errors first. Another exception is the test's failure."""
    monkeypatch.setattr(sys, "argv", ["minizero", *map(str, words)])
    status = 0
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    printed = capsys.readouterr()
    return status, printed.err + printed.out


def words_of(command: str, path: Path, beside: Path) -> list[object]:
    return {
        "report": ["report", path],
        "reports": ["report", path, beside, "--out", path / "runs.html"],
        "watch": ["watch", path],
        "replay": ["replay", path, "--role", "solve", "--limit", "1"],
        "export": ["export", path],
        "evaluate": ["evaluate", path, "--out", path / "evaluation"],
        "overlap": ["compare", made(path / "made", "made", {}), "--out", path / "c", "--tasks-of", path],
        "resume": ["selfplay", "--resume", path],
    }[command]


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded, waited for or downloaded: what is looked for is found before, or it does not matter here."""
    done = SimpleNamespace(sleep=lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt()))
    monkeypatch.setattr(replay, "time", done)
    monkeypatch.setattr(run_loop, "_play", lambda *given: None)
    monkeypatch.setattr(run_loop, "Sandbox", Nothing)
    monkeypatch.setattr("minizero.evaluation.command.evaluate", lambda *given: None)
    monkeypatch.setattr("minizero.evaluation.command.external.export", lambda *given: [])
    monkeypatch.setattr("minizero.report.comparison.benchmark_programs", lambda suites, data: {})


class Nothing:
    """A sandbox that is never asked."""

    def __init__(self, **settings: object) -> None: ...

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.mark.parametrize("how", ["missing", *DAMAGE])
@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in READS.items() for name in names])
def test_a_damaged_file_of_a_run_is_named_whatever_reads_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, name: str, how: str,
) -> None:  # fmt: skip
    path = tmp_path / "run"
    shutil.copytree(run, path)
    harm(path / name, how)
    status, text = said(monkeypatch, capsys, *words_of(command, path, run))
    assert status in (0, 1)
    assert "Traceback" not in text
    if (name, how) == (ROLLOUTS, "missing") or ((name, how) in NO_DAMAGE and status == 0):
        return
    assert Path(name).name in text.replace("\n", ""), text
    if status == 1:
        assert text.startswith("minizero: ")


def harm(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(DAMAGE[how](file.read_bytes()))


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["results.json", "perplexity.json"])
def test_a_damaged_file_of_an_evaluation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    path = made(tmp_path / "made", "made", {})
    (path / "perplexity.json").write_text('{"base":\n {"base": 1.5, "trained": 2.5}}')
    harm(path / name, how)
    status, text = said(monkeypatch, capsys, "compare", path, "--out", tmp_path / "comparison")
    if (name, how) == ("perplexity.json", "an empty object"):
        assert status == 0
    else:
        assert (status, name in text) == (1, True), text


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_summary_of_an_ablation_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    summary = summarise(run, Variant("default", "default", "The base."))
    (tmp_path / "default-0.json").write_text(json.dumps(asdict(summary)).replace(",", ",\n"))
    words = ("ablate", "estimators", "--tables-only", "--out", tmp_path)
    assert said(monkeypatch, capsys, *words)[0] == 0
    harm(tmp_path / "default-0.json", how)
    status, text = said(monkeypatch, capsys, *words)
    assert (status, "default-0.json is not a summary" in text) == (1, True), text


def test_several_damaged_lines_are_named_by_number(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    lines = (path / "metrics.jsonl").read_text().splitlines()
    lines[1:1] = ['{"step": 1,', '{"step": "one"}', '{"step": 1, "time/step_s": "long"}', "[]"]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    _, text = said(monkeypatch, capsys, "report", path)
    assert "line 3: step is 'one'; line 4: time/step_s is 'long', no number; and 1 more" in text
    assert "Expected an object with a step and numbers; such lines are left out." in text
    assert "metrics.jsonl, line 2: not JSON" in (path / "report.html").read_text()
    assert [row["step"] for row in RunDirectory(path).metrics()] == [0, 1, 2, 2]


@pytest.mark.parametrize("how", ["missing", *DAMAGE])
@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_model_whose_files_are_damaged_is_told_before_anything_is_learned(
    random_model: Path, tmp_path: Path, name: str, how: str
) -> None:
    path = tmp_path / "model"
    shutil.copytree(random_model, path)
    harm(path / name, how)
    config = load_config(overrides=[f"model.name={str(path)!r}", "model.device=cpu"])
    if name == "generation_config.json" and how in ("missing", "an empty object"):
        assert load(config.model).tokenizer.eos_ids == (256,)  # nothing in it is needed
        return
    with pytest.raises(ModelError, match=re.escape(str(path))):
        load(config.model)


def test_a_model_without_a_tokenizer_says_which_files_are_missing(random_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(random_model / name, path)
    with pytest.raises(ModelError, match=r"no tokenizer in this directory \(none of tokenizer\.json, "):
        load(load_config(overrides=[f"model.name={str(path)!r}", "model.device=cpu"]).model)


def test_weights_that_are_cut_off_are_found_without_reading_them(random_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(random_model, path)
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=rf"model\.safetensors \({len(whole) - 1:,} bytes\): the weights are damaged"):
        check_weights(path)


def test_weights_of_another_size_are_told_in_words(random_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(random_model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    with pytest.raises(ModelError, match="cannot be loaded as a model"):
        load(load_config(overrides=[f"model.name={str(path)!r}", "model.device=cpu"]).model)


@pytest.mark.parametrize(
    "words",
    [
        ("seed", "tiny", "--out", "FILE/seeds.jsonl"),
        ("selfplay", "tiny", "--set", "run.dir=FILE", "--set", "run.name=x"),
        ("report", "RUN", "BESIDE", "--out", "FILE/runs.html"),
        ("compare", "EVALUATION", "--out", "FILE/comparison"),
        ("export", "RUN", "--out", "FILE/adapter"),
        ("ablate", "estimators", "--tables-only", "--out", "FILE/out"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_anything_is_done(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:  # fmt: skip
    file = tmp_path / "file"
    file.touch()
    places = {"FILE": file, "RUN": run, "BESIDE": run, "EVALUATION": made(tmp_path / "made", "made", {})}
    monkeypatch.setattr("minizero.selfplay.run_loop.try_first", lambda *given: [])
    monkeypatch.setattr("minizero.selfplay.run_loop.make_manifest", lambda *given: {})
    given = [re.sub("FILE|RUN|BESIDE|EVALUATION", lambda found: str(places[found[0]]), word) for word in words]
    status, text = said(monkeypatch, capsys, *given)
    assert status == 1
    assert text.startswith("minizero: ")
    assert str(file) in text


def test_a_hub_that_does_not_answer_leaves_the_export_and_says_how_to_publish_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise ConnectionError("Offline mode is enabled.")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    monkeypatch.setattr("minizero.report.export.log_prob_change", lambda *given: 0.5)
    out = tmp_path / "an export"
    words = ("export", run, "--out", out, "--push", "me/adapter", "--base", "Qwen/Qwen2.5-Coder-3B")
    status, text = said(monkeypatch, capsys, *words)
    assert (status, "ConnectionError: Offline mode is enabled." in text) == (1, True), text
    assert f"hf upload me/adapter '{out}'" in text
    assert (out / "adapter_config.json").is_file()


def test_a_reader_that_has_enough_ends_a_command_quietly() -> None:
    command = f"{sys.executable} -m minizero settings | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.startswith("model.name = ")
