"""The comparison's drawings as inline SVG: pass@k with bands, differences, accuracies, coverage.

Reading order: Point; curve_figure and difference_figure, which share _curves; histogram_figure, coverage_figure,
legend. Colours are the report's, so the page knows light and dark; a pointer that rests on a shape reads its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from minizero.formatting import percent, points
from minizero.report.tags import Html, tag

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 300, 52, 12, 12, 26
CSS = (
    " .band { opacity: .16; stroke: none; } .unsteady { opacity: .45; }"
    " .greedy { max-width: 18rem; }"
    " svg .inside { fill: var(--card); } svg .dark { fill: var(--ink); }"
)
CELLS = {"both": ("both", "r1"), "only_base": ("only base", "c1"), "only_trained": ("only trained", "c2"),
         "neither": ("neither", "always")}  # fmt: skip
ROW = 34  # height of a row of the coverage figure

Point = tuple[float, float, float, float]
"""(k, value, low, high) of a curve."""


def curve_figure(curves: Mapping[str, Sequence[Point]], *, steady: int = 0) -> Html:
    """pass@k over k on a logarithmic axis, from 0 to 1. Beyond `steady` the curves are faint."""
    return _curves(curves, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: percent(value, 0), steady)


def difference_figure(name: str, found: Sequence[Point], *, steady: int = 0) -> Html:
    """pass@k of one model minus another's over k, in points, around zero."""
    reach = max((abs(end) for _, _, low, high in found for end in (low, high)), default=0.0)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if s * 2 >= reach or s == 0.5)
    return _curves(
        {name: found}, tuple(step * i for i in range(-2, 3)), lambda value: points(100 * value), steady, is_signed=True
    )


def _curves(
    curves: Mapping[str, Sequence[Point]],
    ticks: Sequence[float],
    show: Callable[[float], str],
    steady: int,
    *,
    is_signed: bool = False,
) -> Html:
    most = max((k for found in curves.values() for k, *_ in found), default=1.0)

    def x(k: float) -> float:
        return LEFT + (math.log2(k) / math.log2(most) if most > 1 else 0.5) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (min(max(value, ticks[0]), ticks[-1]) - ticks[0]) / (ticks[-1] - ticks[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for tick in ticks:
        style = "zero" if is_signed and not tick else "grid"
        shapes.append(tag("line", class_=style, x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(tick):.1f}", y2=f"{y(tick):.1f}"))
        shapes.append(_label(LEFT - 5, y(tick) + 3.5, show(tick), "end"))
    for power in range(int(math.log2(most)) + 1):
        shapes.append(_label(x(2**power), HEIGHT - 8, f"k = {2**power}" if not power else str(2**power), "middle"))
    for number, (name, found) in enumerate(curves.items()):
        style = f"c{number % 8}"
        edge = [f"{x(k):.1f},{y(high):.1f}" for k, _, _, high in found]
        edge += [f"{x(k):.1f},{y(low):.1f}" for k, _, low, _ in reversed(found)]
        shapes.append(tag("polygon", class_=f"bar band {style}", points=" ".join(edge)))
        sure = [p for p in found if not steady or p[0] <= max(steady, 1)]
        for part, extra in ((sure, ""), (found[max(len(sure) - 1, 0) :], " unsteady")):
            places = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value, *_ in part)
            shapes.append(tag("polyline", class_=f"line {style}{extra}", points=places))
        for k, value, low, high in found if len(found) <= 64 else []:
            words = f"{name}, k = {k:g}: {show(value)} ({show(low)} to {show(high)})"
            shapes.append(
                tag("circle", tag("title", words), class_=f"dot {style}", cx=f"{x(k):.1f}", cy=f"{y(value):.1f}",
                    r="4" if len(found) == 1 else "2.2")
            )  # fmt: skip
    ends = {name: found[-1] for name, found in curves.items() if found}
    words = "; ".join(f"{name}: {show(value)} at k = {k:g}" for name, (k, value, *_) in ends.items())
    return tag("svg", *shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=words)


def histogram_figure(models: Mapping[str, Mapping[str, int]]) -> Html:
    """Problems by accuracy, one group of bars per bin and one bar per model. The bins are passk.BINS."""
    bins = list(next(iter(models.values())))
    top = max((count for found in models.values() for count in found.values()), default=0) or 1
    group = (WIDTH - LEFT - RIGHT) / len(bins)
    wide = 0.84 * group / len(models)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / top * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for count in sorted({0, top // 2, top}):
        shapes.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(count):.1f}", y2=f"{y(count):.1f}"))
        shapes.append(_label(LEFT - 5, y(count) + 3.5, str(count), "end"))
    for place, name in enumerate(bins):
        left = LEFT + place * group
        shapes.append(_label(left + group / 2, HEIGHT - 8, _bin_name(name), "middle"))
        for number, (model, found) in enumerate(models.items()):
            words = f"{model}: {found[name]} problems with accuracy {name}"
            shapes.append(
                tag("rect", tag("title", words), class_=f"bar c{number % 8}",
                    x=f"{left + 0.08 * group + number * wide:.1f}", y=f"{y(found[name]):.1f}",
                    width=f"{0.92 * wide:.1f}", height=f"{y(0) - y(found[name]):.1f}")
            )  # fmt: skip
    return tag("svg", *shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="problems by accuracy")


def _bin_name(name: str) -> str:
    """A bin in few characters: its upper end.  (0.1, 0.2] -> .2, (0.9, 1) -> <1"""
    if name.startswith("("):
        end = name.rpartition(", ")[2]
        return "<1" if end == "1)" else end.rstrip("]").lstrip("0")
    return name


def coverage_figure(rows: Mapping[str, Mapping[str, float]]) -> Html:
    """Who solved what, one bar of all problems per row: both, only base, only trained, neither."""
    height = ROW * len(rows) + 6
    shapes = []
    for place, (words, cells) in enumerate(rows.items()):
        whole, left, top = sum(cells.values()) or 1.0, 0.0, place * ROW
        shapes.append(_label(0, top + 11, words, "start"))
        for cell, (name, style) in CELLS.items():
            wide = cells[cell] / whole * WIDTH
            count = f"{cells[cell]:.1f}".removesuffix(".0")
            shapes.append(
                tag("rect", tag("title", f"{name}: {count} problems"), class_=f"bar {style}", x=f"{left:.1f}",
                    y=top + 15, width=f"{wide:.1f}", height=15)
            )  # fmt: skip
            if wide > 22:
                inside = "dark" if style == "always" else "inside"
                shapes.append(_label(left + wide / 2, top + 26.5, count, "middle", inside))
            left += wide
    return tag("svg", *shapes, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label="coverage of two models")


def coverage_legend() -> Html:
    """The colours of the cells."""
    return _keys((name, tag("rect", class_=f"bar {style}", width=20, height=10)) for name, style in CELLS.values())


def legend(names: Sequence[str]) -> Html:
    """The colours of curves and bars, in order."""
    return _keys((name, tag("line", class_=f"line c{i % 8}", x1=0, x2=20, y1=5, y2=5)) for i, name in enumerate(names))


def _keys(pairs: Iterable[tuple[str, Html]]) -> Html:
    keys = [tag("li", tag("svg", shape, viewBox="0 0 20 10", class_="key"), name) for name, shape in pairs]
    return tag("ul", *keys, class_="legend")


def _label(x: float, y: float, text: str, anchor: str, class_: str = "") -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_ or None)
