"""Ablations: what a set is, what is run and what is kept, the numbers by hand, and what may be said of them."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from minizero.ablate import jobs
from minizero.ablate.compare import compare
from minizero.ablate.effects import plain, spread
from minizero.ablate.jobs import Job, plan_jobs
from minizero.ablate.live_table import LiveTable
from minizero.ablate.plans import plan, read_plans, record_plan
from minizero.ablate.reuse import take_over
from minizero.ablate.sets import AblationSet, read_set
from minizero.ablate.skill import SkillCurve
from minizero.ablate.summary import (
    Measurement,
    RunSummary,
    model_digest,
    read_summary,
    summarise,
    write_summary,
)
from minizero.config import load_config
from minizero.report.ablation import ablate, write_tables
from minizero.report.ablation_page import to_markdown, to_page
from minizero.report.ablation_words import in_words
from minizero.selfplay.manifest import code_digest, versions
from minizero.types import ConfigError, EvaluationError, RunError
from tests.made_run import make_run

ROOT = Path(__file__).parent.parent
BASE = (ROOT / "configs" / "tiny.toml",)
STEPS = ("selfplay.steps=3",)


def a_set(path: Path, text: str = "[variants.gentle.optim]\nlr = 7e-6\n", **options: Any) -> AblationSet:
    path.write_text(text)
    return read_set(path, files=BASE, overrides=STEPS, command="minizero ablate set.toml", **options)


def a_summary(variant: str, seed: int, after: str, *, before: str = "0000", **changes: Any) -> RunSummary:
    """A run on four held-out tasks with two samples each: `after` is the number of right samples per task."""
    kind = {"default": "default", "shuffled": "control", "frozen": "control"}.get(variant, "variant")
    ends = [Measurement(step, 2, "tasks", "ddai", "0000", digits, 0.5) for step, digits in ((0, before), (9, after))]
    curves = {"propose/admitted_frac": [[1.0, 0.25], [2.0, 0.75]], "policy/entropy": [[1.0, 1.0], [2.0, 0.5]]}
    made = RunSummary(
        variant, kind, f"About {variant}.", seed, 9, "tiny", "abc", {}, ends[0], ends[1], curves, {}, 1.0, 60.0,
        {"torch": "2.13.0"}, {"processor": "a processor", "cores": 2}, "c0ffee", "2026",
    )  # fmt: skip
    return replace(made, **changes)


def a_curve(*values: float) -> SkillCurve:
    values = values or (0.0, 0.2, 0.5)
    return SkillCurve([0, 4, 9], [0.0, 30.0, 60.0], [0.0, 4e3, 9e3], values, values, [round(1000 * values[1])] * 4)


# -- sets -------------------------------------------------------------------------------------------------------------


def test_a_set_always_has_the_default_and_both_controls(tmp_path: Path) -> None:
    asked = a_set(tmp_path / "set.toml")
    assert [(v.name, v.kind) for v in asked.variants] == [
        ("default", "default"), ("gentle", "variant"), ("shuffled", "control"), ("frozen", "control"),
    ]  # fmt: skip
    configs = {v.name: asked.config(v, seed=4) for v in asked.variants}
    assert (configs["gentle"].optim.lr, configs["default"].optim.lr) == (7e-6, load_config(BASE).optim.lr)
    assert configs["shuffled"].selfplay.shuffle_rewards
    assert configs["frozen"].optim.freeze
    assert {config.run.rng_seed for config in configs.values()} == {4}


def test_a_directory_is_a_set_whose_base_all_rows_share(tmp_path: Path) -> None:
    (tmp_path / "_base.toml").write_text("# Shared.\n[loss]\npropose_weight = 0.3\n")
    (tmp_path / "one.toml").write_text("# Only one.\n[optim]\nlr = 1e-5\n")
    asked = read_set(tmp_path, files=BASE)
    assert {asked.config(v).loss.propose_weight for v in asked.variants} == {0.3}
    assert load_config(BASE).loss.propose_weight == 1
    assert "Only one." in {v.about for v in asked.variants}
    assert "_base" not in {v.name for v in asked.variants}
    assert read_set(Path("rewards"), files=BASE).variants[1].about.startswith("Only what nobody solves")


@pytest.mark.parametrize("name", [".", "rewards", "estimators", "losses", "curriculum"])
def test_every_shipped_set_is_valid(name: str) -> None:
    assert len(read_set(ROOT / "configs" / "ablations" / name, files=BASE).variants) >= 6


def test_the_default_of_the_set_of_roles_is_one_adapter() -> None:
    asked = read_set(Path("roles"), files=BASE)
    assert {v.name: asked.config(v).adapter.roles for v in asked.variants if v.kind != "control"} == {
        "default": "shared", "population": "population", "separate": "separate",
    }  # fmt: skip
    assert {asked.config(v).adapter.kind for v in asked.variants} == {"lora"}


def test_a_variant_may_stack_overlays_and_settings(tmp_path: Path) -> None:
    (tmp_path / "soft.toml").write_text("[optim]\nlr = 5e-5\ngrad_clip = 2.0\n")
    text = '[variants.two]\nabout = "Both."\nfiles = ["soft.toml"]\noptim.grad_clip = 3.0\n'
    asked = a_set(tmp_path / "set.toml", text)
    assert asked.variants[1].about == "Both."
    config = asked.config(asked.variants[1])
    assert (config.optim.lr, config.optim.grad_clip) == (5e-5, 3.0)


def test_a_wrong_variant_is_named_before_anything_runs(tmp_path: Path) -> None:
    text = "[variants.odd.optim]\nlrr = 1\n[variants.worse.reward.propose]\nbase = 'learnabilty'\n"
    with pytest.raises(ConfigError) as caught:
        a_set(tmp_path / "set.toml", text)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["variant odd", "variant worse"]
    assert "Did you mean optim.lr?" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[variants.default.optim]\nlr = 1\n", "every set has this row already"),
        ("steps = 3\n", "at least one table"),
        ("[variants.a.optim]\nlr = 1\n[optim]\nlr = 2\n", "a set holds base and variants only"),
        ("[variants.a.eval]\ntasks = 'none'\n", "variants are compared by held-out tasks"),
    ],
)
def test_a_set_that_cannot_be_compared_says_why(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        a_set(tmp_path / "set.toml", text)


def test_an_unknown_set_or_variant_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="curriculum, estimators, losses, rewards"):
        read_set(Path("nowhere"), files=BASE)
    with pytest.raises(ConfigError, match="It has: gentle"):
        a_set(tmp_path / "set.toml", only=["gentel"])


def test_runs_of_one_task_type_are_measured_on_all_of_them(tmp_path: Path) -> None:
    from minizero.selfplay.validation import held_out_tasks

    asked = a_set(tmp_path / "set.toml", "[variants.one.selfplay]\ntask_types = ['deduction']\n")
    asked_of = [[task.id for task in held_out_tasks(asked.config(v))] for v in asked.variants]
    assert all(ids == asked_of[0] for ids in asked_of)


# -- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Children that take no time: each copies a finished run under its own settings, unless `crash` holds its name."""
    make_run(tmp_path / "template", steps=3, tasks=30)
    crash = tmp_path / "crash"
    crash.write_text("")
    script = (
        "import shutil, sys, pathlib\n"
        "template, home, crash, name = map(pathlib.Path, sys.argv[1:])\n"
        "if str(name) in crash.read_text().split(): print('minizero: out of ideas'); sys.exit(1)\n"
        "shutil.copytree(template, home / 'run')\n"
        "shutil.copy(home / 'settings.toml', home / 'run' / 'config.toml')\n"
    )
    real = jobs.child_command

    def fake(job: Job) -> list[str]:
        assert "--resume" not in real(job)
        return [sys.executable, "-S", "-c", script, str(tmp_path / "template"), str(job.home), str(crash), job.name]

    monkeypatch.setattr(jobs, "child_command", fake)
    monkeypatch.setattr(jobs, "POLL_S", 0.02)
    return crash


def console() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80, force_terminal=False, highlight=False), file


def test_a_crashed_run_is_named_and_the_same_command_runs_only_what_is_missing(tmp_path: Path, children: Path) -> None:
    asked, (out, told) = a_set(tmp_path / "set.toml"), console()
    children.write_text("gentle-1")
    with pytest.raises(RunError, match="1 of the set's runs crashed") as caught:
        ablate(asked, seeds=2, jobs=4, home=tmp_path / "home", console=out)
    assert "gentle-1: out of ideas" in str(caught.value)
    kept = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "home").glob("*-*.json")}
    assert len(kept) == 7
    assert "gentle-1 (out of ideas)" in (tmp_path / "home" / "table.md").read_text()

    children.write_text("")
    page = ablate(asked, seeds=2, jobs=4, home=tmp_path / "home", console=out)
    now = {path.stem: path.stat().st_mtime_ns for path in page.parent.glob("*-*.json")}
    assert len(now) == 8
    assert {name: time for name, time in now.items() if name in kept} == kept
    assert "gentle-0: done before" in told.getvalue()
    assert "out of ideas" not in page.read_text()


@pytest.mark.filterwarnings("ignore:unclosed scandir:ResourceWarning")  # stopped in the middle of a glob
def test_a_set_that_is_stopped_leaves_no_run_behind(
    tmp_path: Path, children: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal
    import threading

    # What is started in the background of a shell is deaf to SIGINT until it listens, as every run does.
    listens = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    forever = f"import signal, time\n{listens}\nwhile True: time.sleep(0.05)\n"
    monkeypatch.setattr(jobs, "child_command", lambda job: [sys.executable, "-S", "-c", forever])
    asked, (out, _) = a_set(tmp_path / "set.toml"), console()
    started: list[Job] = []
    real = jobs._started
    stop = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))

    def noted(job: Job) -> Job:
        started.append(real(job))
        if len(started) == 2:  # by now somebody listens to signals
            stop.start()
        return job

    monkeypatch.setattr(jobs, "_started", noted)
    with pytest.raises(KeyboardInterrupt):
        ablate(asked, seeds=1, jobs=2, home=tmp_path / "home", console=out)
    stop.join()
    assert len(started) == 2
    assert all(job.process is not None and job.process.poll() is not None for job in started)


def test_summaries_can_be_kept_elsewhere_and_are_small(tmp_path: Path, children: Path) -> None:
    asked, (out, _) = a_set(tmp_path / "set.toml"), console()
    page = ablate(asked, seeds=1, jobs=4, home=tmp_path / "home", keep=tmp_path / "kept", console=out)
    assert page == tmp_path / "kept" / "report.html"
    assert max(path.stat().st_size for path in (tmp_path / "kept").glob("*-*.json")) < 8000
    assert not list((tmp_path / "home").glob("*.json"))
    assert write_tables(asked, tmp_path / "kept") == page


def test_a_summary_of_other_settings_is_not_taken_for_an_answer(tmp_path: Path, children: Path) -> None:
    asked, (out, _) = a_set(tmp_path / "set.toml"), console()
    ablate(asked, seeds=1, jobs=4, home=tmp_path / "home", console=out)
    later = replace(asked, overrides=("selfplay.steps=5",))
    with pytest.raises(RunError, match=r"selfplay\.steps was 3 and is 5.*") as caught:
        plan_jobs(later, seeds=1, home=tmp_path / "home", keep=tmp_path / "home")
    assert "--out" in str(caught.value)


def test_a_reward_file_that_changed_makes_another_variant(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def short(outcome):\n    return 1.0\n")
    text = f"[variants.mine.reward.propose.terms]\n'{own}:short' = 0.5\n"
    asked = a_set(tmp_path / "set.toml", text)
    job = next(j for j in plan_jobs(asked, seeds=1, home=tmp_path, keep=tmp_path) if j.variant.name == "mine")
    run = make_run(tmp_path / "run", steps=3, tasks=30).path
    (run / "config.toml").write_text(jobs.to_toml(job.config))
    (run / "own.py").write_text(own.read_text())
    write_summary(summarise(run, job.variant), tmp_path)
    assert plan_jobs(asked, seeds=1, home=tmp_path, keep=tmp_path)
    own.write_text("def short(outcome):\n    return 2.0\n")
    with pytest.raises(RunError, match=r"text of own\.py was"):
        plan_jobs(asked, seeds=1, home=tmp_path, keep=tmp_path)


def test_a_run_on_the_cpu_gets_one_thread_and_a_place_of_its_own(tmp_path: Path) -> None:
    planned = plan_jobs(a_set(tmp_path / "set.toml"), seeds=2, home=tmp_path / "home", keep=tmp_path)
    assert len({job.config.run.dir for job in planned}) == len(planned) == 8
    assert {(job.config.run.threads, job.config.sandbox.workers) for job in planned} == {(1, 1)}
    assert [job.seed for job in planned] == [0] * 4 + [1] * 4
    assert jobs.default_jobs(planned) >= 1


def test_on_a_machine_with_cards_every_run_sees_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    planned = plan_jobs(a_set(tmp_path / "set.toml"), seeds=1, home=tmp_path / "home", keep=tmp_path)
    monkeypatch.setattr(jobs, "_wants_card", lambda config: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert jobs.default_jobs(planned) == 3
    first, second, third, fourth = planned
    running = [jobs._on_a_card(job, planned[:place]) for place, job in enumerate(planned[:3])]
    assert [job.card for job in running] == ["0", "1", "2"]
    assert jobs._on_a_card(fourth, [first, third]).card == "1"  # the second has ended
    saw = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(jobs, "child_command", lambda job: [sys.executable, "-S", "-c", saw])
    process = jobs._started(third).process
    assert process is not None
    assert process.wait(60) == 0
    assert third.log.read_text() == "2\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert jobs.default_jobs(planned) == 2
    assert jobs._on_a_card(second, []).card == "5"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fourth.card = ""
    assert jobs._on_a_card(fourth, []).card == ""


def test_a_summary_reads_back_equal_and_an_unfinished_run_has_none(tmp_path: Path) -> None:
    variant = a_set(tmp_path / "set.toml").variants[0]
    summary = summarise(make_run(tmp_path / "run", steps=3, tasks=30).path, variant)
    assert read_summary(write_summary(summary, tmp_path)) == summary
    assert len(summary.after.solve_rates()) == 30
    assert summary.skill is None  # two validations are no curve
    four = summarise(make_run(tmp_path / "four", steps=6, tasks=30, validate_at=[0, 2, 4, 6]).path, variant)
    assert read_summary(write_summary(four, tmp_path)) == four
    assert four.skill is not None
    assert list(four.skill.steps) == [0, 2, 4, 6]
    assert four.skill.tokens[1] == 2 * 9000 + 1 + 2  # what the made run says it generated
    assert four.skill.sampled[-1] == pytest.approx(sum(four.after.solve_rates()) / 30, abs=1e-5)
    assert len(four.skill.area) == 30
    with pytest.raises(RunError, match="step 2 of 3"):
        summarise(make_run(tmp_path / "half", steps=3, done=2, tasks=30).path, variant)
    (tmp_path / "odd-0.json").write_text("{}")
    with pytest.raises(RunError, match="not a summary of this version"):
        read_summary(tmp_path / "odd-0.json")


# -- looks and plans --------------------------------------------------------------------------------------------------


def test_what_is_decided_gets_no_further_seed_and_the_set_ends_when_all_are(tmp_path: Path, children: Path) -> None:
    # Every run is a copy of one: gentle equals the default in every answer, which three seeds are enough to see.
    asked, (out, told) = a_set(tmp_path / "set.toml"), console()
    page = ablate(asked, seeds=5, jobs=4, home=tmp_path / "home", console=out)
    assert page is not None
    assert {path.stem for path in page.parent.glob("*-*.json")} == {
        f"{name}-{seed}" for name in ("default", "gentle", "shuffled", "frozen") for seed in range(3)
    }
    assert "Ended early: gentle 0.0 (0.0 to 0.0), given up, not told apart, after 3 seeds" in told.getvalue()
    first = page.read_text()
    children.write_text("gentle-3 default-3")  # would crash if run
    again = ablate(asked, seeds=5, jobs=4, home=tmp_path / "home", console=console()[0])
    assert again == page
    assert page.read_text() == first


def test_a_variant_that_is_not_decided_goes_on_beside_default_and_controls(tmp_path: Path, children: Path) -> None:
    text = "[variants.gentle.optim]\nlr = 7e-6\n[variants.soft.optim]\nlr = 8e-6\n"
    planned = plan_jobs(a_set(tmp_path / "set.toml", text), seeds=4, home=tmp_path / "home", keep=tmp_path / "kept")
    asked_after: list[int] = []

    def look() -> set[str]:
        done = {path.stem.rpartition("-") for path in (tmp_path / "kept").glob("*-*.json")}
        asked_after.append(max(int(seed) for _, _, seed in done) + 1)
        return {"gentle"}

    assert jobs.run_jobs(planned, jobs_at_once=4, console=console()[0], look=look) == []
    kept = {path.stem for path in (tmp_path / "kept").glob("*-*.json")}
    assert asked_after == [2, 3]
    assert {name for name in kept if name.startswith("gentle")} == {"gentle-0", "gentle-1"}
    assert {name for name in kept if name.endswith("-3")} == {"default-3", "soft-3", "shuffled-3", "frozen-3"}


def test_a_plan_is_written_before_the_first_run_and_another_one_afterwards_is_a_further_chance(tmp_path: Path) -> None:
    assert read_plans(tmp_path) == []
    assert record_plan(plan(3, "end", ["mine"]), tmp_path) == [plan(3, "end", ["mine"])]
    assert record_plan(plan(5, "area", ["mine"]), tmp_path) == [plan(5, "area", ["mine"])]  # nothing was seen yet
    write_summary(a_summary("mine", 0, "1111"), tmp_path)
    assert record_plan(plan(5, "area", ["other"]), tmp_path) == [plan(5, "area", ["mine", "other"])]
    plans = record_plan(plan(8, "area", ["mine"]), tmp_path)
    assert [each.seeds for each in plans] == [5, 8]
    assert read_plans(tmp_path) == plans
    runs = [a_summary(name, seed, "1111", skill=a_curve()) for name in ("default", "mine") for seed in (0, 1)]
    words = " ".join(compare(runs, plans).cautions)
    assert "Planned 2 times, with results seen in between (up to 5 seeds by area; then up to 8 seeds by area)" in words
    assert "up to 10 % instead of 5 %" in words
    (tmp_path / "plan.json").write_text('[{"seeds": 3, "measure": "best"}]')
    with pytest.raises(RunError, match="is no list of plans"):
        read_plans(tmp_path)


def test_what_a_set_can_see_is_said_before_it_runs(tmp_path: Path) -> None:
    asked, (out, told) = a_set(tmp_path / "set.toml"), console()
    assert ablate(asked, seeds=3, home=tmp_path / "runs" / "home", console=out, dry_run=True) is None
    text = told.getvalue()
    assert "1 variants beside the default and two controls, up to 3 seeds of 240 held-out tasks." in text
    assert "(assumed: no earlier set of this model is there)" in text
    assert "<- this plan" in text
    assert not (tmp_path / "runs" / "home").exists()
    digest = model_digest(asked.config(asked.variants[0]))
    other = tmp_path / "runs" / "other"
    other.mkdir(parents=True)
    for seed, after in enumerate(("1111", "2111", "1121")):
        for name, digits in (("default", "1111"), ("mine", after)):
            write_summary(a_summary(name, seed, digits, model_digest=digest), other)
    out, told = console()
    ablate(asked, seeds=3, home=tmp_path / "runs" / "home", console=out, dry_run=True)
    assert f"as in {other}" in told.getvalue().replace("\n", "")


def test_a_mean_over_the_run_needs_validations_in_between(tmp_path: Path) -> None:
    asked = a_set(tmp_path / "set.toml", "[variants.gentle.optim]\nlr = 7e-6\n[base.eval]\nevery = 0\n")
    with pytest.raises(ConfigError, match=r"--measure area: eval\.every = 0 and 3 steps"):
        ablate(asked, seeds=2, measure="area", home=tmp_path / "home", console=console()[0], dry_run=True)


# -- runs of other sets -----------------------------------------------------------------------------------------------


@pytest.fixture
def versioned(tmp_path: Path, children: Path) -> Path:
    """As `children`, but the finished run was made by the code and the packages that are here now."""
    manifest = tmp_path / "template" / "manifest.json"
    told = json.loads(manifest.read_text()) | {"code": code_digest(), "versions": versions()}
    manifest.write_text(json.dumps(told))
    return children


OTHER = "[variants.other.optim]\nlr = 8e-6\n"


def test_what_another_set_has_run_is_not_run_again(tmp_path: Path, versioned: Path) -> None:
    first, (out, _) = a_set(tmp_path / "one.toml"), console()
    ablate(first, seeds=2, jobs=4, home=tmp_path / "runs" / "ablate-one", console=out)
    versioned.write_text("default-0 default-1 shuffled-0 shuffled-1 frozen-0 frozen-1")  # would crash if run
    second, (out, told) = a_set(tmp_path / "two.toml", OTHER), console()
    page = ablate(second, seeds=2, jobs=4, home=tmp_path / "runs" / "ablate-two", console=out)
    assert {path.stem for path in page.parent.glob("*-*.json")} == {
        f"{name}-{seed}" for name in ("default", "other", "shuffled", "frozen") for seed in (0, 1)
    }
    path = tmp_path / "runs" / "ablate-one" / "frozen-1.json"
    assert f"frozen-1: the same run as {path}, not made again" in told.getvalue().replace("\n", "")
    assert read_summary(page.parent / "frozen-1.json") == read_summary(path)


def test_a_variant_is_recognised_by_its_settings_and_not_by_its_name(tmp_path: Path, versioned: Path) -> None:
    asked = a_set(tmp_path / "one.toml")
    ablate(asked, seeds=1, jobs=4, home=tmp_path / "elsewhere" / "one", console=console()[0])
    renamed = a_set(tmp_path / "two.toml", "[variants.soft]\nabout = 'Gently.'\noptim.lr = 7e-6\n")
    jobs_ = plan_jobs(renamed, seeds=2, home=tmp_path / "home", keep=tmp_path / "kept" / "two")
    taken = take_over(jobs_, [tmp_path / "elsewhere"])
    assert set(taken) == {"default-0", "soft-0", "shuffled-0", "frozen-0"}
    summary = read_summary(tmp_path / "kept" / "two" / "soft-0.json")
    assert (summary.variant, summary.about, summary.kind) == ("soft", "Gently.", "variant")


@pytest.mark.parametrize(
    "change",
    [{"code": "older"}, {"versions": {"torch": "2.12"}}, {"seed": 1}, {"steps": 4}, {"model_digest": "other"},
     {"settings": {}}, {"code": ""}],
    ids=str,
)  # fmt: skip
def test_a_run_that_differs_in_anything_is_made_anew(tmp_path: Path, versioned: Path, change: dict[str, Any]) -> None:
    asked = a_set(tmp_path / "one.toml")
    planned = plan_jobs(asked, seeds=1, home=tmp_path / "home", keep=tmp_path / "kept")
    run = make_run(tmp_path / "run", steps=3, tasks=30).path
    (run / "config.toml").write_text(jobs.to_toml(planned[0].config))
    (run / "manifest.json").write_text((tmp_path / "template" / "manifest.json").read_text())
    summary = summarise(run, asked.variants[0])
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "not-a-summary.json").write_text("{}")
    write_summary(replace(summary, **change), tmp_path / "there")
    assert take_over(planned, [tmp_path / "there"]) == {}
    write_summary(summary, tmp_path / "there")
    assert set(take_over(planned, [tmp_path / "there"])) == {"default-0"}


def test_what_the_tiny_model_cannot_play_is_left_out_of_a_directory_and_named(tmp_path: Path) -> None:
    whole = ROOT / "configs" / "ablations"
    asked = read_set(whole, files=BASE)
    names = {variant.name for variant in asked.variants}
    assert not names & {"error_tasks", "composites"}
    assert [text.partition(": ")[2].partition(":")[0] for text in asked.left_out] == [
        "variant composites", "variant error_tasks",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"variant error_tasks: selfplay\.task_types"):
        read_set(whole, files=BASE, only=["error_tasks"])
    other = read_set(whole, files=BASE, overrides=["model.name=other", "prompt.style=chat"])
    assert not other.left_out
    assert {"error_tasks", "composites"} <= {variant.name for variant in other.variants}


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_the_interval_is_students_t_over_seeds() -> None:
    # four tasks, each +1, +2, +3 in three seeds: 2 +- 4.30265 * 1 / sqrt(3)
    found = plain(spread(np.array([[1.0] * 4, [2.0] * 4, [3.0] * 4]))).interval()
    assert (found.value, found.low, found.high) == pytest.approx((2, -0.4841, 4.4841), abs=1e-4)


def test_where_seeds_agree_by_chance_the_spread_over_tasks_stays() -> None:
    # differences 1, 0, 0, 1 in both seeds: s = 0.57735, 3 degrees of freedom: 3.1824 s / 2 = 0.9187
    found = plain(spread(np.array([[1.0, 0.0, 0.0, 1.0]] * 2))).interval()
    assert (found.value, found.low, found.high) == pytest.approx((0.5, -0.4187, 1.4187), abs=1e-4)


def test_variants_are_paired_with_the_default_by_seed() -> None:
    # default 0.25 and 0.5, variant 0.5 and 0.75 of the samples: the difference is 0.25 in either seed
    runs = [a_summary("default", 0, "1100"), a_summary("default", 1, "2200")]
    runs += [a_summary("mine", 0, "2110"), a_summary("mine", 1, "2211"), a_summary("mine", 2, "2222")]
    row = compare(runs).row("mine")
    assert row is not None
    assert (row.seeds, row.paired) == (3, 2)
    cell = row.cells["all"]
    assert cell.by_seed == (0.5, 0.75, 1.0)
    assert cell.against_default is not None
    assert cell.against_default.value == pytest.approx(0.25)
    assert row.cells["abduction"].tasks == 1
    assert row.cells["deduction"].after == pytest.approx((0.75 + 1 + 1) / 3)


def test_the_table_begins_with_the_default_and_ends_with_the_controls() -> None:
    runs = [a_summary(name, 0, "1111") for name in ("shuffled", "zeta", "frozen", "alpha", "default")]
    assert [row.variant for row in compare(runs).rows] == ["default", "alpha", "zeta", "shuffled", "frozen"]


def test_runs_on_other_tasks_cannot_stand_in_one_table() -> None:
    odd = a_summary("odd", 0, "1111")
    odd = replace(odd, after=replace(odd.after, tasks="others"), before=replace(odd.before, tasks="others"))
    with pytest.raises(EvaluationError, match="Unlike default-0: odd-0"):
        compare([a_summary("default", 0, "1111"), odd])


def test_what_a_reader_must_know_is_told() -> None:
    runs = [a_summary("default", 0, "1111"), a_summary("default", 1, "1111", model_digest="other", steps=7)]
    frozen = a_summary("frozen", 0, "1000")
    text = " ".join(compare([*runs, frozen]).cautions)
    for words in ("different weights", "numbers of steps", "fewer: frozen", "shuffled; without them", "A frozen run"):
        assert words in text


# -- words ------------------------------------------------------------------------------------------------------------


def full_set(after: str, shuffled: str = "0000") -> list[RunSummary]:
    runs = []
    for seed in range(3):
        runs += [a_summary("default", seed, "1111"), a_summary("mine", seed, after)]
        runs += [a_summary("shuffled", seed, shuffled), a_summary("frozen", seed, "0000")]
    return runs


def test_a_variant_beyond_the_luck_of_a_seed_is_called_better() -> None:
    words = in_words(compare(full_set("2222")))
    assert words.headline == "1 of 1 variants differs from the default by more than the luck of a seed."
    assert "Better than the default: mine +50.0 (+50.0 to +50.0)." in words.sentences
    assert any("so the rewards, and not only the training" in text for text in words.sentences)
    assert any("answers exactly as before, as it must" in text for text in words.sentences)


def test_an_interval_that_includes_zero_is_called_unclear() -> None:
    words = in_words(compare(full_set("2011", shuffled="1111")))
    assert words.headline == "No variant can be told from the default."
    assert any("nothing here shows yet that the rewards teach" in text for text in words.sentences)


def test_one_seed_is_said_to_be_one_seed() -> None:
    words = in_words(compare([run for run in full_set("2222") if run.seed == 0]))
    assert words.headline.endswith("in one seed.")


def test_markdown_and_page_show_every_row_and_text_stays_text() -> None:
    runs = full_set("2110")
    runs = [replace(run, about="a | b <script>") if run.variant == "mine" else run for run in runs]
    found = compare(runs)
    text = to_markdown(found, "mine", "minizero ablate mine")
    assert "| *shuffled* (control) | 3 |" in text
    assert "a \\| b" in text
    assert "`minizero ablate mine`" in text
    assert "| mine | 25 → 75 %" in text
    page = to_page(found, "mine", "minizero ablate mine")
    assert page.count("<script>") == 1  # the page's own
    assert "a | b &lt;script&gt;" in page
    assert all(f'id="{name}"' in page for name in ("held-out", "types", "proposer", "curves", "variants", "repeat"))


def test_skill_over_time_stands_beside_the_end(tmp_path: Path) -> None:
    fast, slow = a_curve(0.0, 0.4, 0.5), a_curve(0.0, 0.1, 0.2)
    runs = [a_summary("default", seed, "1111", skill=a_curve()) for seed in range(3)]
    runs += [a_summary("fast", seed, "1111", skill=fast) for seed in range(3)]
    runs += [a_summary("slow", seed, "1111", skill=slow) for seed in range(3)]
    found = compare(runs)
    # The default goes from 0 to 50 %, so the level is 25 %: 4 + 5 x 0.05 / 0.3 steps for it, 4 x 0.25 / 0.4 for fast.
    assert found.goal == pytest.approx(0.25)
    assert {row.variant: row.reached["steps"].mean for row in found.rows} == pytest.approx(
        {"default": 4.8333, "fast": 2.5, "slow": 9.0}, abs=1e-3
    )
    text = to_markdown(found, "mine", "minizero ablate mine")
    assert "| fast | 40.0 % | +20.0 (+20.0 to +20.0) | 2 |" in text.replace("| 3 |", "| 2 |")
    assert "| ≥ 9 | +4.17 (+4.17 to +4.17) | 0 of 3 | ≥ 1.0 | ≥ 9 k |" in text
    by_area = compare(runs, [plan(3, "area", ["fast", "slow"])])
    assert "by more than the luck of a seed" in in_words(by_area).headline
    assert in_words(found).headline == "No variant can be told from the default."
    assert 'id="skill"' in to_page(found, "mine", "minizero ablate mine")
    with pytest.raises(EvaluationError, match="expected at least three validations"):
        compare([replace(run, skill=None) for run in runs], [plan(3, "area", ["fast", "slow"])])


def test_the_proposer_is_compared_with_the_defaults_late_in_the_run() -> None:
    runs = [a_summary("default", seed, "1111") for seed in range(2)]
    for seed, lines in enumerate((3.0, 4.0)):
        runs.append(a_summary("mine", seed, "1111", curves={"policy/entropy": [[1.0, 1.0], [2.0, lines]]}))
    row = compare(runs).row("mine")
    assert row is not None
    found = row.late["policy/entropy"]  # 2.5 and 3.5 above the default's 0.5: 3 +- 12.706 x 0.7071 / 1.4142
    assert (found.value, found.low, found.high) == pytest.approx((3.0, -3.353, 9.353), abs=1e-3)
    assert "propose/admitted_frac" not in row.late


def test_the_progress_table_fits_80_columns() -> None:

    asked = read_set(ROOT / "configs" / "ablations" / "rewards", files=BASE)
    planned = plan_jobs(asked, seeds=3, home=Path("nowhere"), keep=Path("nowhere"))
    out, told = console()
    steps = {job.name: job.config.selfplay.steps for job in planned}
    progress = LiveTable([v.name for v in asked.variants], [0, 1, 2], steps, out, 2)
    progress.finished("default-0", a_summary("default", 0, "1111"))
    out.print(progress.table())
    lines = told.getvalue().splitlines()
    assert "default-0: +50.0 points in 60 s (1 of 57)" in lines[0]
    assert max(map(len, lines)) <= 80


# -- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_set_runs_from_the_command_line_and_a_raising_reward_is_named(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "bad.py").write_text("def bad(outcome):\n    raise KeyError('x')\n")
    (tmp_path / "set.toml").write_text("[variants.bad.reward.propose.terms]\n'bad.py:bad' = 0.1\n")
    small = ("selfplay.steps=1", "selfplay.proposals=4", "selfplay.solves=8", "selfplay.attempts=2", "eval.limit=9")
    command = [sys.executable, "-m", "minizero", "ablate", "set.toml", "--seeds", "1", "--jobs", "2"]
    done = subprocess.run(
        [*command, *(f"--set={text}" for text in (*small, "eval.samples=2"))],
        cwd=tmp_path, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 1
    assert "bad-0: reward term bad.py:bad raised KeyError: 'x'" in done.stderr
    home = tmp_path / "runs" / "ablate-set"
    assert {path.stem for path in home.glob("*-*.json")} == {"default-0", "shuffled-0", "frozen-0"}
    frozen = json.loads((home / "frozen-0.json").read_text())
    assert frozen["before"]["correct"] == frozen["after"]["correct"]
    assert "Frozen, the model answers exactly as before" in (home / "table.md").read_text()
