"""The comparison as one self-contained page: conclusions in words, a table, curves with bands, coverage, examples.

Reading order: page, then one function per section; comparison_charts.py draws. Built of the run report's pieces
(report/tags).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from minizero.evaluation.compare import Entry
from minizero.evaluation.problems import PASS
from minizero.formatting import percent, points
from minizero.report import frame
from minizero.report.charts import change_bar
from minizero.report.comparison_charts import (
    CSS,
    coverage_figure,
    coverage_legend,
    curve_figure,
    difference_figure,
    histogram_figure,
    legend,
)
from minizero.report.tags import Html, Section, code, details, join, section, table, tag

EXAMPLES = 6


def page(title: str, words: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole HTML text."""
    lead = tag("div", *(tag("p", sentence) for sentence in words), class_="lead")
    return frame.page(title, tag("header", tag("h1", title), lead), sections, css=CSS)


def comparison_sections(numbers: Mapping[str, Any], entries: Sequence[Entry]) -> list[Section]:
    """A section per level, then formats, perplexity and examples."""
    found = [_level(level, part) for level, part in numbers["levels"].items()]
    found.append(_formats(numbers))
    if numbers["perplexity"]:
        found.append(_perplexity(numbers))
    if len(entries) > 1:
        found.append(_examples(list(numbers["levels"]), entries[0], entries[-1]))
    return found


def _level(level: str, part: Mapping[str, Any]) -> Section:
    models = part["models"]
    ks = _chosen_ks([m["n"] for m in models.values()])
    head = ["", "greedy", *(f"pass@{k}" for k in ks)]
    rows = [[name, _interval(m["greedy"]), *(_at(m, k) for k in ks)] for name, m in models.items()]
    children: list[Html] = [
        tag("p", f"{part['problems']} problems; 95 % intervals: greedy Wilson, else problems and samples resampled.",
            class_="note"),
        table(head, rows),
    ]  # fmt: skip
    drawn = {name: [(k + 1, p["value"], p["low"], p["high"]) for k, p in enumerate(m.get("curve", ()))]
             for name, m in models.items()}  # fmt: skip
    if any(drawn.values()):
        n = min(m["n"] for m in models.values() if m["n"])
        children.append(tag("figure", curve_figure(drawn, steady=n // 2), legend(list(drawn)), class_="broad"))
        children.append(tag("p", "Faint beyond half of n: there pass@k rests on about one draw.", class_="note"))
        bins = list(next(m["histogram"] for m in models.values() if "histogram" in m))
        names = [name for name in models if "histogram" in models[name]]
        children.append(tag("h3", "Problems by accuracy"))
        drawing = histogram_figure({name: models[name]["histogram"] for name in names})
        children.append(tag("figure", drawing, legend(names), class_="broad"))
        rows = [[b, *(str(models[x]["histogram"][b]) for x in names)] for b in bins]
        children.append(details("the numbers", table(["share of right samples", *names], rows)))
    for pair in part["pairs"]:
        children += _pair(pair)
    return section(level.replace("+", "-plus"), level, *[c if isinstance(c, Html) else tag("p", c) for c in children])


def _pair(pair: Mapping[str, Any]) -> list[Html]:
    test, gap = pair["mcnemar"], pair["greedy_difference"]
    style = "better" if gap["low"] > 0 else "worse" if gap["high"] < 0 else "unclear"
    reach = max(0.1, -gap["low"], gap["high"])
    shown = [
        tag("h3", f"{pair['trained']} against {pair['base']}"),
        tag("p", f"Greedy: {_gap(gap)}; only {pair['base']} {test['only_base']}, only "
            f"{pair['trained']} {test['only_trained']}, exact McNemar p = {test['p_value']:.3g}."),
        tag("div", change_bar(gap["low"], gap["value"], gap["high"], reach, style), class_="greedy"),
    ]  # fmt: skip
    if "difference" in pair:
        ks = _chosen_ks([pair["n"]])
        found = [(float(k), p["value"], p["low"], p["high"]) for k, p in enumerate(pair["difference"], 1)]
        caption = tag("figcaption", f"pass@k of {pair['trained']} minus {pair['base']}, points, paired 95 % band")
        drawing = difference_figure(pair["trained"], found, steady=pair["n"] // 2)
        shown.append(tag("figure", caption, drawing, class_="broad"))
        shown.append(table([f"pass@{k}" for k in ks], [[_gap(pair["difference"][k - 1]) for k in ks]]))
        cells = ("both", "only_base", "only_trained", "neither")
        rows = [["all samples", *(_cell(pair, cell) for cell in cells)]]
        bars = {f"all {pair['n']} samples": pair["coverage"]}
        for key, words in (
            ("coverage_at_half", "expected, half of the samples"),
            ("null_split", f"null: {pair['base']} against itself, half and half"),
        ):
            if key in pair:
                rows.append([words, *(f"{pair[key][cell]:.1f}" for cell in cells)])
                bars[words] = pair[key]
        named = "" if pair["base"] == "base" else f"; base is {pair['base']}"
        caption = tag("figcaption", "problems solved at least once" + named)
        shown.append(tag("figure", caption, coverage_figure(bars), coverage_legend(), class_="broad"))
        shown.append(table(["solved at least once", "both", "only base", "only trained", "neither"], rows))
    return shown


def _cell(pair: Mapping[str, Any], cell: str) -> str:
    interval = pair["coverage_intervals"][cell]
    return f"{pair['coverage'][cell]:.0f} ({percent(interval['low'], 0)} to {percent(interval['high'], 0)})"


def _formats(numbers: Mapping[str, Any]) -> Section:
    rows = []
    for label, draws in numbers["formats"].items():
        for draw, f in draws.items():
            ends = ", ".join(f"{name} {count}" for name, count in sorted(f["finish"].items()))
            statuses = ", ".join(f"{name} {count}" for name, count in sorted(f["statuses"].items()))
            rows.append(
                [label, draw, str(f["samples"]), ends, f"{f['mean_tokens']:.0f}", str(f["no_answer"]), statuses]
            )
    head = ["", "draw", "samples", "ended by", "mean tokens", "no answer", "verdicts"]
    return section("formats", "Formats and lengths", table(head, rows))


def _perplexity(numbers: Mapping[str, Any]) -> Section:
    rows = [
        [label, f"answers of {side}", *(f"{under[name]:.3f}" if name in under else "" for name in ("base", "trained"))]
        for label, sides in numbers["perplexity"].items()
        for side, under in sides.items()
    ]
    note = "Per token of completions, prompts as context only, temperature 1; the adapter switched off and on."
    return section(
        "perplexity", "Perplexity", tag("p", note, class_="note"), table(["", "", "under base", "under trained"], rows)
    )


def _examples(levels: Sequence[str], base: Entry, other: Entry) -> Section:
    """Greedy answers to tasks on which the two differ, gains and losses in turn, else to the first tasks."""
    ours, theirs = ({r["task"]: r for r in e.rows if r["draw"] == "greedy"} for e in (base, other))
    shown: dict[str, Html] = {}
    words = "The greedy answers agree on every task."
    for level in levels:
        found = [task for task in ours if task in theirs and level in ours[task]["verdict"]]
        marks = {t: tuple(side[t]["verdict"][level] == PASS for side in (ours, theirs)) for t in found}
        gains, losses = ([t for t in found if marks[t] == mark] for mark in ((False, True), (True, False)))
        differ = [t for pair in zip_longest(gains, losses) for t in pair if t is not None]
        if differ:
            words = "Tasks on which the greedy answers differ, gains and losses in turn."
        for task in [t for t in differ or found if t not in shown][:EXAMPLES]:
            shown[task] = _example(task, level, ((base, ours[task]), (other, theirs[task])))
    return section("examples", "Examples to read", tag("p", words, class_="note"), *shown.values())


def _example(task: str, level: str, answers: Sequence[tuple[Entry, Mapping[str, Any]]]) -> Html:
    """A task, and the answer of each side with its verdict."""
    asked = answers[0][0].prompts.get(task, "")
    shown = [tag("p", "task", class_="label"), code(asked)] if asked else []
    marks = []
    for entry, row in answers:
        status = row["verdict"][level]
        marks.append(tag("span", status, class_="right" if status == PASS else "wrong"))
        shown += [tag("p", f"{entry.label}: ", marks[-1], class_="label"), code(row["text"])]
    return details(join([f"{task}, {level}: ", marks[0], " against ", marks[1]]), *shown)


def _chosen_ks(ns: Sequence[int]) -> list[int]:
    n = min((n for n in ns if n), default=0)
    return [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if k <= n]


def _at(model: Mapping[str, Any], k: int) -> str:
    return _interval(model["curve"][k - 1]) + ("" if k <= model["steady_k"] else " *") if "curve" in model else ""


def _interval(found: Mapping[str, float]) -> str:
    return f"{percent(found['value'])} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _gap(found: Mapping[str, float]) -> str:
    return f"{points(100 * found['value'])} ({points(100 * found['low'])} to {points(100 * found['high'])})"


def published_sections(numbers: Mapping[str, Any]) -> list[Section]:
    """Published one-shot curves."""
    found = []
    for name, models in numbers["suites"].items():
        curves = {
            model: [(float(k), p["value"], p["low"], p["high"]) for k, p in m["points"].items()]
            for model, m in models.items()
        }
        rows = [
            [model, k, str(p["solved"]), _interval(p)] for model, m in models.items() for k, p in m["points"].items()
        ]
        found.append(
            section(
                name.replace("+", "-plus"),
                f"{name} (one-shot)",
                tag("figure", curve_figure(curves), legend(list(curves)), class_="broad"),
                table(["model", "k", "solved", "share, Wilson 95 %"], rows),
            )
        )
    return found
