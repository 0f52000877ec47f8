"""The report: whole for every run, true to the run directory, and safe to open whatever a model wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from minizero.formatting import number, percent
from minizero.metrics import METRICS, binned
from minizero.report.charts import Series, bins, line_chart
from minizero.report.claims import in_points
from minizero.report.pages import TEMPLATES, Section, page
from minizero.report.run_page import write_report
from minizero.report.runs_page import told_apart, write_runs
from minizero.report.verdict import judge
from minizero.selfplay.run_data import read_run, spread
from minizero.types import RunError
from tests.made_run import make_run


class Page(HTMLParser):
    """The elements of a page; an unclosed or misnested one is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen[name] += 1
        self.attributes += attributes
        if name not in ("meta", "br"):
            self._open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen[name] += 1
        self.attributes += attributes

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report_of(path: Path) -> Page:
    return Page(write_report(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Page]:
    run = make_run(tmp_path_factory.mktemp("runs") / "run", steps=6, gain=0.25, tasks=150)
    return run, report_of(run.path)


def test_the_report_begins_with_the_verdict_in_words(finished: tuple[Any, Page]) -> None:
    text = finished[1].text
    assert text.index("The model got better at tasks it never trained on.") < text.index("Held-out skill")


def test_it_fetches_nothing_and_runs_nothing_but_its_own_script(finished: tuple[Any, Page]) -> None:
    run, seen = finished
    (script,) = re.findall(r"<script>(.*?)</script>", (run.path / "report.html").read_text(), flags=re.DOTALL)
    assert script == (TEMPLATES / "report.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert ("content", policy) in seen.attributes
    assert seen.seen["script"] == 1
    assert not {"img", "iframe", "link", "object"} & set(seen.seen)
    assert not [value for name, value in seen.attributes if name == "src" or name.startswith("on")]
    links = [value or "" for name, value in seen.attributes if name == "href"]
    assert all(link.startswith("#") for link in links)


def test_every_link_on_the_page_leads_somewhere(finished: tuple[Any, Page]) -> None:
    anchors = {value for name, value in finished[1].attributes if name == "id"}
    assert {(value or "")[1:] for name, value in finished[1].attributes if name == "href"} <= anchors


def test_every_metric_of_the_run_stands_there_with_its_sentence_and_its_last_value(finished: tuple[Any, Page]) -> None:
    run, seen = finished
    last: dict[str, float] = {}
    for row in run.metrics():
        last |= row
    for name, metric in METRICS.items():
        if name in last:
            assert metric.sentence in seen.text
            assert percent(last[name]) in seen.text or number(last[name]) in seen.text or last[name] in (0, 1), name


def test_rejected_proposals_are_counted_as_the_rollouts_have_them(finished: tuple[Any, Page]) -> None:
    run, seen = finished
    rows = [row for step in run.rollout_steps() for row in run.rollouts(step) if row["role"] == "propose"]
    counts = Counter(row["reason"] for row in rows if row["reason"])
    lost = sum(counts.values())
    assert f"From all 6 steps: {lost} of {len(rows)} proposals did not become tasks" in seen.text
    for reason, count in counts.items():
        assert f"{reason} {count} {percent(count / len(rows))}" in seen.text


def test_tasks_answers_settings_cost_and_manifest_are_there(finished: tuple[Any, Page]) -> None:
    for title in ("Tasks it gave itself", "Answers, right and wrong", "How hard its own tasks were"):
        assert title in finished[1].text
    for words in (
        "optim.lr",
        "generated tokens",
        "torch 2.13.0",
        "seccomp in force",
        "open a socket",
        "attempts right",
        "term by term",
    ):
        assert words in finished[1].text, words


def test_rollouts_can_be_searched_by_role_type_and_outcome(finished: tuple[Any, Page]) -> None:
    run, seen = finished
    values = [dict(pairs) for pairs in _items(run.path / "report.html")]
    assert len(values) == 6 * 8  # eight of each of six steps
    assert {value["role"] for value in values} == {"propose", "solve", "attempt"}
    assert {value["type"] for value in values} == {"deduction", "abduction", "induction"}
    assert {"admitted", "correct", "wrong"} <= {value["outcome"] for value in values}
    assert ("data-list", "role type outcome") in seen.attributes


def _items(path: Path) -> list[list[tuple[str, str]]]:
    tags = re.findall(r"<details data-item ([^>]*)>", path.read_text())
    return [re.findall(r'data-(\w+)="([^"]*)"', text) for text in tags]


def test_a_legend_names_only_task_types_that_are_drawn(tmp_path: Path) -> None:
    settings = {"selfplay": {"task_types": ["deduction", "abduction"]}}
    run = make_run(tmp_path / "run", steps=3, tasks=30, settings=settings)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in row.items() if not name.endswith("/induction")} for row in rows]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    legends = re.findall(r'<ul class="legend">(.*?)</ul>', write_report(run.path).read_text(), flags=re.DOTALL)
    assert any("deduction" in legend for legend in legends)
    assert not any("induction" in legend or ("error</span>" in legend and "deduction" in legend) for legend in legends)


@pytest.mark.once
def test_a_long_run_stays_small(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=20, tasks=60)
    values = {name: value for name, value in run.metrics()[-2].items() if name != "step"}
    for step in range(21, 1000):
        run.log(step, values)
    assert write_report(run.path).stat().st_size < 1_500_000


HOSTILE = "</script></style></pre><img src=x onerror=alert(1)><svg/onload=alert(2)>\"' & \x1b[31m\x00\u202e\ud800 {{x}}"


def test_what_a_model_wrote_is_text_and_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, tasks=30, text=HOSTILE)
    seen = report_of(run.path)
    assert "<img src=x onerror=alert(1)>" in seen.text
    assert not seen.seen["img"]
    assert seen.seen["script"] == 1
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    raw = (run.path / "report.html").read_bytes()
    for harmful in (b"\x1b", b"\x00", "\u202e".encode()):
        assert harmful not in raw


def test_hostile_settings_names_and_messages_are_escaped_too(tmp_path: Path) -> None:
    manifest = {"command": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    run = make_run(tmp_path / "a&b<i>", steps=1, tasks=9, manifest=manifest, settings={"model": {"name": "<img>"}})
    run.log(1, {"own/<b>": 1.0})
    seen = report_of(run.path)
    assert not {"img", "i"} & set(seen.seen)
    assert seen.seen["script"] == 1
    assert "own/<b>" in seen.text


@pytest.mark.parametrize(
    "options",
    [
        {"done": 0},
        {"done": 0, "validate_at": []},
        {"done": 1},
        {"done": 3, "validate_at": [0]},
        {"validate_at": [], "settings": {"eval": {"tasks": "none"}}},
        {"steps": 0},
        {"settings": {"selfplay": {"attempts": 0, "train_propose": False}}},
    ],
    ids=[
        "nothing but step 0",
        "nothing at all",
        "one step",
        "no second validation",
        "no held-out",
        "no steps",
        "no attempts",
    ],
)
def test_every_run_has_a_report(tmp_path: Path, options: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", **{"steps": 5, "tasks": 30, **options})
    assert report_of(run.path).seen["h1"] == 1


def test_a_torn_metrics_line_and_a_broken_rollouts_file_are_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4, tasks=30)
    run.append("metrics.jsonl", '{"step": 5, "pro')
    (run.path / "rollouts" / "step-000002.jsonl.gz").write_bytes(b"\x1f\x8b torn")
    assert "4 of 4 steps" in report_of(run.path).text


def test_values_that_are_not_finite_do_not_break_a_curve(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, tasks=30)
    run.log(3, {"policy/grad_norm": float("nan"), "policy/kl_old": float("inf")})
    text = write_report(run.path).read_text()
    assert not re.search(r'(points|cx|cy)="[^"]*(nan|inf)', text)


def test_a_config_of_another_version_still_gives_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, tasks=30)
    with (run.path / "config.toml").open("a") as file:
        file.write("\n[later]\nsetting = 1\n")
    assert "config.toml cannot be read by this version" in report_of(run.path).text


def test_unsafe_is_the_first_thing_on_the_page(tmp_path: Path) -> None:
    text = report_of(make_run(tmp_path / "run", tasks=30, manifest={"unsafe": True}).path).text
    assert text.index("unsafe:") < text.index("of 6 steps")


def test_shuffled_rewards_are_named_where_terms_do_not_add_up(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=30, settings={"selfplay": {"shuffle_rewards": True}})
    assert "Rewards were shuffled in this run." in report_of(run.path).text


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        write_report(tmp_path)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, tasks=30)
    assert write_report(run.path).read_bytes() == write_report(run.path).read_bytes()


# -- several runs -----------------------------------------------------------------------------------------------------


def test_several_runs_lie_over_each_other_with_what_differs(tmp_path: Path) -> None:
    first = make_run(tmp_path / "one", steps=4, gain=0.3, tasks=60)
    second = make_run(tmp_path / "two", steps=6, gain=0.0, tasks=60, settings={"optim": {"lr": 1e-4}})
    out = write_runs([first.path, second.path], tmp_path / "runs.html")
    seen = Page(out.read_text())
    assert "optim.lr" in seen.text
    assert "0.0003 0.0001" in seen.text
    assert "selfplay.proposals" not in seen.text  # the same in both
    assert seen.text.index("got better") < seen.text.index("can be told from noise")
    for change in (judge(read_run(run.path)).solve_rate[0] for run in (first, second)):
        assert in_points(change.difference) in seen.text
    admitted = next(f for f in out.read_text().split("<figure>") if "<code>propose/admitted_frac" in f)
    assert [len(points.split()) for points in re.findall(r'class="line c\d" points="([^"]*)"', admitted)] == [6, 4]
    write_runs([first.path, second.path], out)  # its own page is written anew


def test_on_a_phone_every_number_of_a_wide_table_names_its_column(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / name, steps=4, tasks=60).path for name in ("one", "two")]
    for written in (write_runs(paths, tmp_path / "runs.html"), write_report(paths[0])):
        tables = re.findall(r'<table class="numbers">.*?</table>', written.read_text(), re.S)
        assert tables
        for row in (row for table in tables for row in re.findall(r"<tr><td.*?</tr>", table, re.S)):
            bare = re.findall(r"<td(?: class=\"(?:bar-cell|says)\")?>", row)
            assert len(set(bare)) == len(bare), row  # the row's name, its bar, and its words


def test_runs_are_called_by_what_tells_them_apart() -> None:
    paths = [Path("runs/first/tiny"), Path("runs/second/tiny")]
    assert told_apart(paths) == ["first/tiny", "second/tiny"]
    assert told_apart([Path("runs/one"), Path("runs/two")]) == ["one", "two"]
    assert told_apart([Path("/one"), Path("/a/one")]) == ["//one", "a/one"]
    assert told_apart([Path("runs/one")] * 2) == ["runs/one"] * 2


def test_a_page_of_several_runs_overwrites_nothing_else_and_holds_two_to_eight(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / name, steps=1, tasks=9).path for name in ("one", "two")]
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(RunError, match="is there already"):
        write_runs(paths, tmp_path / "mine.html")
    with pytest.raises(RunError, match="1 runs on one page: expected 2 to 8"):
        write_runs(paths[:1], tmp_path / "runs.html")


def test_names_of_runs_are_escaped(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / name, steps=2, tasks=9).path for name in ("a&b<i>", "two")]
    seen = Page(write_runs(paths, tmp_path / "runs.html").read_text())
    assert not seen.seen["i"]
    assert "a&b<i>" in seen.text


def test_attributes_titles_and_texts_of_every_kind_of_page_are_escaped() -> None:
    header = {"over": HOSTILE, "headline": HOSTILE, "sentences": [HOSTILE]}
    examples = Section(
        "a", HOSTILE, "examples", {"words": "", "tasks": [(HOSTILE, "x", HOSTILE, [(HOSTILE,) * 3] * 2)]}
    )
    text = page("comparison", HOSTILE, [examples], **header)
    seen = Page(text)
    assert not seen.seen["img"]
    assert seen.seen["script"] == 1
    assert seen.text.count("<img src=x onerror=alert(1)>") == 16
    chart = line_chart([Series(HOSTILE, "all", ((1.0, 2.0), (2.0, 3.0)))])
    assert "<img" not in chart
    assert "\x1b" not in chart
    assert 'aria-label="&lt;/script&gt;' in chart


def test_long_curves_become_means_that_keep_the_overall_mean() -> None:
    points = [(float(i), float(i % 7)) for i in range(2100)]
    drawn = binned(points, 300)
    assert len(drawn) == 300
    assert sum(y for _, y in drawn) / 300 == pytest.approx(sum(y for _, y in points) / 2100)
    short = [(1.0, 1.0), (2.0, math.nan), (3.0, 3.0), (4.0, 8.0)]
    assert binned(short, 3) == ((1.0, 1.0), (3.0, 3.0), (4.0, 8.0))
    assert binned(short, 2) == ((3.0, 2.0), (4.0, 8.0))
    assert binned([], 2) == ()


def test_bins_and_spreads_cover_what_they_are_given() -> None:
    assert [step for group in bins(range(95), 10) for step in group] == list(range(95))
    assert len(bins(range(95), 10)) <= 10
    assert spread(list(range(100)), 7)[0] == 0
    assert spread(list(range(100)), 7)[-1] == 99
