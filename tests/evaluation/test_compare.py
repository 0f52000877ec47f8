"""A comparison says what can be concluded, and refuses what does not belong together."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from minizero.evaluation.compare import compare
from minizero.evaluation.entries import read_entries
from minizero.evaluation.overlap import find_overlap, normal_form
from minizero.evaluation.perplexity import perplexity
from minizero.evaluation.results import Results, read_results
from minizero.report.charts import difference_figure, histogram_figure
from minizero.report.comparison import write_comparison, write_published
from minizero.statistics import Interval, accuracy_histogram
from minizero.types import EvaluationError

TASKS = [f"t{i:02d}" for i in range(30)]
PROMPTS = {task: f"Solve {task} & say <why>" for task in TASKS}


def made(path: Path, name: str, right: dict[str, int], *, n: int = 4, style: str = "chat") -> Path:
    """An evaluation in which task t has right[t] of n samples right, and greedy right when half of them are."""
    rows = []
    for task in TASKS:
        for draw, count in (("greedy", 1), ("sampled", n)):
            for i in range(count):
                good = right.get(task, 0) * 2 >= n if draw == "greedy" else i < right.get(task, 0)
                rows.append(
                    {"suite": "made", "task": task, "side": "base", "draw": draw, "sample": i, "answer": "x<y",
                     "verdict": {"made": "pass" if good else "wrong"}, "text": "<b>x</b>",
                     "finish": "stop", "tokens": 3}
                )  # fmt: skip
    greedy = [int(right.get(task, 0) * 2 >= n) for task in TASKS]
    scores = {"made": {"base": {"tasks": TASKS, "n": n, "greedy": greedy, "correct": [right.get(t, 0) for t in TASKS]}}}
    manifest = {"plan": {"style": style, "suites": ["made"]}}
    path.mkdir()
    (path / "results.json").write_text(
        json.dumps({"name": name, "n": n, "scores": scores, "rows": rows, "manifest": manifest, "prompts": PROMPTS})
    )
    return path


def test_a_large_gain_is_concluded_and_written_down(tmp_path: Path) -> None:
    base = made(tmp_path / "a", "base model", dict.fromkeys(TASKS[:8], 2))
    trained = made(tmp_path / "b", "trained model", dict.fromkeys(TASKS[:24], 4))
    words = write_comparison([base, trained], tmp_path / "out")
    assert "greedily trained model solves more (16 problems only by trained model, 0 only by base model" in words[0]
    assert "trained model is better than base model" in words[1]
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "<b>x</b>" not in page
    assert "://" not in page
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    pair = numbers["levels"]["made"]["pairs"][0]
    assert pair["coverage"] == {"both": 8.0, "only_base": 0.0, "only_trained": 16.0, "neither": 6.0}
    assert pair["mcnemar"] == {"only_base": 0, "only_trained": 16, "p_value": pytest.approx(2 / 2**16)}
    assert numbers["levels"]["made"]["models"]["base model"]["curve"][0]["value"] == pytest.approx(8 * 0.5 / 30)


def test_reliability_stands_beside_reach_in_numbers_and_words(tmp_path: Path) -> None:
    base = made(tmp_path / "a", "base model", dict.fromkeys(TASKS[:12], 2))
    trained = made(tmp_path / "b", "trained model", dict.fromkeys(TASKS[:24], 4) | dict.fromkeys(TASKS[24:27], 1))
    words = write_comparison([base, trained], tmp_path / "out")
    assert "cover@0.5): trained model is better than base model (+40.0 points" in words[2]
    assert "Solved in every one of 4: trained model is better than base model (+80.0 points" in words[2]
    level = json.loads((tmp_path / "out" / "comparison.json").read_text())["levels"]["made"]
    shown = {name: [point["value"] for point in model["cover"]] for name, model in level["models"].items()}
    assert shown["base model"] == pytest.approx([0.4, 0.4, 0, 0])
    assert shown["trained model"] == pytest.approx([0.9, 0.8, 0.8, 0.8])
    # 12 problems with two of four right: both of two with 1/6
    assert level["models"]["base model"]["g_pass"]["2"]["1"]["value"] == pytest.approx(0.4 / 6)
    pair = level["pairs"][0]
    assert [gap["value"] for gap in pair["cover_difference"]] == pytest.approx([0.5, 0.4, 0.8, 0.8])
    assert pair["g_pass_difference"]["2"]["mean"]["value"] == pytest.approx(0.8 - 0.4 / 6)
    half = pair["half"]
    assert (half["m"], len(half["cover_null"]), len(half["pass_null"])) == (2, 2, 2)
    assert half["cover_difference"][1]["value"] == pytest.approx(0.8 - 0.4 / 6)  # of two, both: G-Pass@2
    assert 0 < half["cover_null"][1]["high"] < 0.4 < half["cover_difference"][1]["low"]
    assert "Reliability and reach" in (tmp_path / "out" / "comparison.html").read_text()


def test_one_sample_is_enough_for_cover_and_for_no_null(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, name, dict.fromkeys(TASKS[:15], 1), n=1) for name in ("a", "b")]
    words = write_comparison(paths, tmp_path / "out")
    assert "Solved in every one" not in words[2]
    pair = compare(read_entries(paths)).levels["made"].pairs[0]
    assert (pair.half, pair.g_pass_difference) == (None, {})
    assert pair.cover_difference is not None


def test_the_page_draws_every_number_and_shows_a_task_with_both_answers(tmp_path: Path) -> None:
    base = made(tmp_path / "a", "base model", dict.fromkeys(TASKS[:8], 2))
    trained = made(tmp_path / "b", "trained model", dict.fromkeys(TASKS[4:24], 4))
    write_comparison([base, trained], tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count("<script>") == 1  # the page's own
    assert 'name="color-scheme" content="light dark"' in page
    assert "trained model: 67 % at k = 4" in page
    assert "base model: 8 problems with accuracy (0.4, 0.5]" in page
    assert "trained model: 20 problems with accuracy 1" in page
    assert "only trained: 16 problems" in page
    assert page.count("<figure") == 5  # curves, accuracies, differences of pass@k and of cover@tau, coverage
    assert "trained model: 67 % at k = 4, 67 % at tau = 1" in page
    assert "base model, tau = 0.75: 0 % (0 % to 10 %)" in page  # 8 have two of four right, none three
    # Gains and losses in turn, each with its task's text, escaped.
    first, second = (page.index(f"<summary>{task}, made: ") for task in ("t08", "t00"))
    assert first < second
    assert "Solve t08 &amp; say &lt;why&gt;" in page
    assert '<span class="wrong">wrong</span> against <span class="right">pass</span>' in page


def test_bars_and_cells_are_as_long_as_what_they_count(tmp_path: Path) -> None:
    base = made(tmp_path / "a", "base model", dict.fromkeys(TASKS[:8], 2))
    trained = made(tmp_path / "b", "trained model", dict.fromkeys(TASKS[4:24], 4))
    write_comparison([base, trained], tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    cells = re.findall(r'style="flex-grow: ([\d.]+)" title="([a-z ]+): [\d.]+ problems"', page)
    assert [(name, float(wide)) for wide, name in cells[:4]] == [
        ("both", 4), ("only base", 4), ("only trained", 16), ("neither", 6),
    ]  # fmt: skip
    counts = {"a": accuracy_histogram([0, 0, 1], 2), "b": accuracy_histogram([2, 2, 2, 2], 2)}
    heights = [float(h) for h in re.findall(r'<rect class="bar c\d" [^>]*height="([\d.]+)"', histogram_figure(counts))]
    assert len(heights) == 2 * 12
    assert sorted(h / max(heights) for h in heights)[-3:] == pytest.approx([0.25, 0.5, 1], abs=0.01)


def test_a_difference_is_drawn_around_zero_within_its_axis() -> None:
    drawn = difference_figure("b", {1: Interval(0.03, -0.01, 0.07), 2: Interval(-0.02, -0.06, 0.02)}, steady=1)
    assert "+10.0" in drawn
    assert "−10.0" in drawn
    places = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    zero = float(re.findall(r'class="zero"[^>]*y1="([\d.]+)"', drawn)[0])
    assert places[0] < zero < places[1]
    assert drawn.count("unsteady") == 1


def test_equal_models_allow_no_conclusion(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, name, dict.fromkeys(TASKS[:15], 2)) for name in ("a", "b")]
    words = write_comparison(paths, tmp_path / "out")
    assert "no difference can be told from chance" in words[0]
    assert "no difference can be told from noise" in words[1]
    assert "(cover@0.5): no difference can be told from noise" in words[2]
    assert "By chance alone, 2 samples of a against 2 others of it differ in cover@0.5 by up to" in words[2]
    assert "two halves of a's own samples already differ" in words[3]


def test_another_format_is_a_caution_before_everything_else(tmp_path: Path) -> None:
    paths = [made(tmp_path / "a", "a", {}), made(tmp_path / "b", "b", {}, style="direct")]
    assert "prompt formats differ" in write_comparison(paths, tmp_path / "out")[0]


def test_different_numbers_of_samples_are_compared_on_what_both_have(tmp_path: Path) -> None:
    paths = [
        made(tmp_path / "a", "a", dict.fromkeys(TASKS, 2)),
        made(tmp_path / "b", "b", dict.fromkeys(TASKS, 2), n=2),
    ]
    pair = compare(read_entries(paths)).levels["made"].pairs[0]
    assert pair.n == 2
    assert pair.difference is not None
    assert pair.difference[1].value == 0


def test_different_tasks_are_refused(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, name, {}) for name in ("a", "b")]
    text = (paths[1] / "results.json").read_text().replace("t29", "t99")
    (paths[1] / "results.json").write_text(text)
    with pytest.raises(EvaluationError, match="different tasks"):
        compare(read_entries(paths))


def test_an_unfinished_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no finished evaluation"):
        read_entries([tmp_path])


def test_results_of_before_there_were_measures_are_read(tmp_path: Path) -> None:
    results = read_results(made(tmp_path / "a", "a", dict.fromkeys(TASKS[:3], 2)) / "results.json")
    counts = results.scores["made"]["base"]
    assert (counts.correct[:4], counts.greedy[:4], counts.measures) == ([2, 2, 2, 0], [1, 1, 1, 0], {})
    assert math.isnan(counts.parsed)
    assert (results.style, results.sanitiser) == ("chat", "another sanitiser, or none")
    assert (results.rows[1].verdict, results.rows[1].failed_test) == ({"made": "pass"}, None)
    as_written = json.loads(json.dumps(results.to_json()))
    assert Results.from_json(as_written).rows == results.rows


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rows": [{"suite": "made"}]}, "'task' is missing"),
        ({"manifest": {"plan": {}}}, "'style' is missing"),
        ({"scores": {"made": {"base": {"tasks": ["t"]}}}}, "'greedy' is missing"),
    ],
)
def test_results_that_lack_something_say_what(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    path = made(tmp_path / "a", "a", {}) / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EvaluationError, match=rf"no finished evaluation \({problem}\)"):
        read_results(path)


def test_excluded_tasks_leave_a_score_of_their_own(tmp_path: Path) -> None:
    path = made(tmp_path / "a", "a", dict.fromkeys(TASKS[:10], 4))
    model = compare(read_entries([path]), exclude=TASKS[:10]).levels["made"].models["a"]
    assert model.greedy_without_overlap is not None
    assert (model.greedy.value, model.greedy_without_overlap.value) == (pytest.approx(1 / 3), 0.0)
    assert model.curve is not None
    assert model.curve_without_overlap is not None
    assert (model.curve[0].value, model.curve_without_overlap[0]) == (pytest.approx(1 / 3), 0.0)


PUBLISHED = "model,suite,k,score,problems\n" + "".join(
    f"{model},humaneval,{k},{score},164\n"
    for model, scores in {
        "AZR": (137, 148, 154, 157, 159, 158, 160),
        "base": (132, 142, 152, 155, 156, 161, 161),
    }.items()
    for k, score in zip((1, 2, 4, 8, 16, 32, 64), scores, strict=True)
)


def test_a_published_table_is_marked_as_one_shot_and_its_falls_are_named(tmp_path: Path) -> None:
    path = tmp_path / "azr.csv"
    path.write_text(PUBLISHED)
    words = write_published([path], tmp_path / "out")
    assert "one-shot" in words[0]
    assert "AZR (16->32)" in words[1]
    assert "at no k do the 95 % intervals lie apart" in words[2]
    assert "137" in (tmp_path / "out" / "published.html").read_text()


def test_a_score_that_is_no_number_of_problems_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("model,suite,k,score,problems\na,b,1,0.55,10\n")
    with pytest.raises(EvaluationError, match=r"line 2: score 0.55 is no whole"):
        write_published([path], tmp_path / "out")


def test_renamed_programs_are_equal_and_other_ones_are_not() -> None:
    one = 'def f(x):\n    """Adds."""\n    total = 0\n    for i in x:\n        total += i\n    return total\n'
    two = "def g(values: list) -> int:\n    s = 0\n    for v in values:\n        s += v\n    return s\n"
    assert normal_form(one) == normal_form(two)
    assert normal_form(one) != normal_form(two.replace("+=", "-="))
    assert [hit.how for hit in find_overlap([one], {"p": two, "q": "def f(x):\n    return x\n"})] == ["program"]


def test_thirteen_equal_tokens_are_a_hit() -> None:
    shared = "a = [x * 2 for x in range(10) if x % 2]\n"
    assert [h.how for h in find_overlap([shared + "b = 1\n"], {"p": "def f():\n    " + shared})] == ["tokens"]
    assert find_overlap(["not a program ("], {"p": "also not ("}) == []


def test_perplexity_of_fair_coins_is_two() -> None:
    assert perplexity(2 * 0.6931471805599453, 2) == pytest.approx(2)


def test_the_sides_of_one_evaluation_go_by_their_sides_and_beside_others_by_name(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, name, dict.fromkeys(TASKS, 2)) for name in ("a", "b")]
    found = json.loads((paths[0] / "results.json").read_text())
    found["scores"]["made"]["trained"] = found["scores"]["made"]["base"]
    (paths[0] / "results.json").write_text(json.dumps(found))
    assert [entry.label for entry in read_entries(paths[:1])] == ["base", "trained"]
    assert [entry.label for entry in read_entries(paths)] == ["a, base", "a", "b"]
    write_comparison(paths[:1], tmp_path / "out")
    assert "base is base" not in (tmp_path / "out" / "comparison.html").read_text()


def test_answers_read_by_two_sanitisers_are_a_caution(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, name, {}) for name in ("a", "b")]
    found = json.loads((paths[0] / "results.json").read_text())
    (paths[0] / "results.json").write_text(json.dumps(found | {"sanitiser": "rules of today"}))
    assert "different sanitisers" in write_comparison(paths, tmp_path / "out")[0]
