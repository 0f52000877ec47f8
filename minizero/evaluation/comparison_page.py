"""The comparison as one self-contained page: conclusions in words, a table, curves with bands, coverage, examples.

Reading order: page, then one function per section; curve_figure draws. Built of the run report's pieces (report/tags).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from minizero.evaluation.compare import Entry
from minizero.evaluation.problems import PASS
from minizero.report.style import style_sheet
from minizero.report.tags import Html, Section, code, details, section, table, tag
from minizero.report.words import percent, points

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 250, 46, 12, 12, 26
BAND = " .band { opacity: .16; stroke: none; } .unsteady { opacity: .45; }"
EXAMPLES = 6


def page(title: str, words: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole HTML text."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style_sheet() + BAND)),
    )
    lead = tag("div", *(tag("p", sentence) for sentence in words), class_="lead")
    links = tag("nav", *(tag("a", part.title, href=f"#{part.name}") for part in sections))
    body = tag("body", tag("header", tag("h1", title), lead), links, *(part.html for part in sections))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def comparison_sections(numbers: Mapping[str, Any], entries: Sequence[Entry]) -> list[Section]:
    """A section per level, then formats, perplexity and examples."""
    found = [_level(level, part) for level, part in numbers["levels"].items()]
    found.append(_formats(numbers))
    if numbers["perplexity"]:
        found.append(_perplexity(numbers))
    if len(entries) > 1:
        found.append(_examples(next(iter(numbers["levels"])), entries[0], entries[-1]))
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
        children.append(
            table(
                ["share of right samples", *names],
                [[b, *(str(models[x]["histogram"][b]) for x in names)] for b in bins],
            )
        )
    for pair in part["pairs"]:
        children += _pair(pair)
    return section(level.replace("+", "-plus"), level, *[c if isinstance(c, Html) else tag("p", c) for c in children])


def _pair(pair: Mapping[str, Any]) -> list[Html]:
    test = pair["mcnemar"]
    shown = [
        tag("h3", f"{pair['trained']} against {pair['base']}"),
        tag("p", f"Greedy: {_gap(pair['greedy_difference'])}; only {pair['base']} {test['only_base']}, only "
            f"{pair['trained']} {test['only_trained']}, exact McNemar p = {test['p_value']:.3g}."),
    ]  # fmt: skip
    if "difference" in pair:
        ks = _chosen_ks([pair["n"]])
        shown.append(table([f"pass@{k}" for k in ks], [[_gap(pair["difference"][k - 1]) for k in ks]]))
        cells = ("both", "only_base", "only_trained", "neither")
        rows = [["all samples", *(_cell(pair, cell) for cell in cells)]]
        for key, words in (("coverage_at_half", "expected, half of the samples"), ("null_split", "null: base halves")):
            if key in pair:
                rows.append([words, *(f"{pair[key][cell]:.1f}" for cell in cells)])
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


def _examples(level: str, base: Entry, other: Entry) -> Section:
    """Greedy answers to tasks on which the two differ, else to the first tasks."""
    ours, theirs = ({r["task"]: r for r in e.rows if r["draw"] == "greedy"} for e in (base, other))
    shared = [task for task in ours if task in theirs]
    differ = [t for t in shared if (ours[t]["verdict"].get(level) == PASS) != (theirs[t]["verdict"].get(level) == PASS)]
    shown = []
    for task in (differ or shared)[:EXAMPLES]:
        answers = []
        for label, row in ((base.label, ours[task]), (other.label, theirs[task])):
            status = row["verdict"].get(level, "")
            mark = tag("span", status, class_="right" if status == PASS else "wrong")
            answers += [tag("p", f"{label}: ", mark), code(row["text"])]
        shown.append(details(task, *answers))
    words = "Tasks on which the greedy answers differ." if differ else "The greedy answers agree on every task."
    return section("examples", "Examples to read", tag("p", words, class_="note"), *shown)


def _chosen_ks(ns: Sequence[int]) -> list[int]:
    n = min((n for n in ns if n), default=0)
    return [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if k <= n]


def _at(model: Mapping[str, Any], k: int) -> str:
    return _interval(model["curve"][k - 1]) + ("" if k <= model["steady_k"] else " *") if "curve" in model else ""


def _interval(found: Mapping[str, float]) -> str:
    return f"{percent(found['value'])} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _gap(found: Mapping[str, float]) -> str:
    return f"{points(100 * found['value'])} ({points(100 * found['low'])} to {points(100 * found['high'])})"


def legend(names: Sequence[str]) -> Html:
    """The colours of curves, in order."""
    keys = [
        tag("li", tag("svg", tag("line", class_=f"line c{i % 8}", x1=0, x2=20, y1=5, y2=5), viewBox="0 0 20 10",
                      class_="key"), name)
        for i, name in enumerate(names)
    ]  # fmt: skip
    return tag("ul", *keys, class_="legend")


def curve_figure(curves: Mapping[str, Sequence[tuple[float, float, float, float]]], *, steady: int = 0) -> Html:
    """pass@k over k on a logarithmic axis, with bands: (k, value, low, high) per point. 0 to 1 upwards."""
    most = max((k for points_ in curves.values() for k, *_ in points_), default=1.0)

    def x(k: float) -> float:
        return LEFT + (math.log2(k) / max(math.log2(most), 1e-9) if most > 1 else 0.5) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        shapes.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(tick):.1f}", y2=f"{y(tick):.1f}"))
        shapes.append(tag("text", percent(tick, 0), x=LEFT - 5, y=f"{y(tick) + 3.5:.1f}", text_anchor="end"))
    for power in range(int(math.log2(most)) + 1):
        shapes.append(tag("text", str(2**power), x=f"{x(2**power):.1f}", y=HEIGHT - 8, text_anchor="middle"))
    for number, (name, found) in enumerate(curves.items()):
        style = f"c{number % 8}"
        edge = [f"{x(k):.1f},{y(high):.1f}" for k, _, _, high in found]
        edge += [f"{x(k):.1f},{y(low):.1f}" for k, _, low, _ in reversed(found)]
        shapes.append(tag("polygon", class_=f"bar band {style}", points=" ".join(edge)))
        sure = [p for p in found if not steady or p[0] <= max(steady, 1)]
        for part, extra in ((sure, ""), (found[max(len(sure) - 1, 0) :], " unsteady")):
            places = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value, *_ in part)
            shapes.append(tag("polyline", tag("title", name), class_=f"line {style}{extra}", points=places))
    words = "; ".join(
        f"{name}: {percent(found[-1][1])} at k = {found[-1][0]:g}" for name, found in curves.items() if found
    )
    return tag("svg", *shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=words)


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
