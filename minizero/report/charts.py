"""Drawings as inline SVG: small, sharp at any size, and coloured by the page's own light or dark palette.

Reading order: line_chart, stacked_chart; a comparison's: pass@k with bands, differences, accuracies; what they share.
Drawn here rather than with a plotting library because forty of its figures would weigh megabytes and know no dark mode.
A pointer that rests on a shape reads its numbers. Simple bars and legends are macros of templates/common.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minizero.formatting import number, percent, points, visible
from minizero.metrics import binned
from minizero.statistics import Interval

MOST_POINTS = 300  # longer curves are drawn as means of equal bins (the caller says so beside the chart)
CALM_POINTS = 24  # longer curves are drawn as running means over their own values
MOST_BARS = 40
Point = tuple[float, float]
Curve = Mapping[int, Interval]  # by k
Show = Callable[[float], str]
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class ChartBox:
    """The size of a drawing and its margins for the axis labels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def across(self, low: float, high: float) -> Scale:
        return _scale(low, high, self.left, self.width - self.right)

    def up(self, low: float, high: float) -> Scale:
        return _scale(low, high, self.height - self.bottom, self.top)


SMALL, WIDE, BROAD = (
    ChartBox(360, 170, 46, 8, 10, 22),
    ChartBox(760, 170, 46, 8, 10, 22),
    ChartBox(680, 300, 52, 12, 12, 26),
)


@dataclass(frozen=True, slots=True)
class Series:
    """One line. `style` is a class of the style sheet: all, a task type, c0 ... c7."""

    label: str
    style: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """One layer of stacked bars: a value per column."""

    label: str
    style: str
    values: tuple[float, ...]


def line_chart(series: Sequence[Series], *, show: Show = number, is_fraction: bool = False) -> Markup:
    """Lines over steps. Alarms, legends and words are the caller's."""
    drawn = [Series(s.label, s.style, binned(s.points, MOST_POINTS)) for s in series]
    values = [y for s in drawn for _, y in s.points]
    steps = [x for s in drawn for x, _ in s.points]
    if not values:
        return Markup('<p class="empty">no values</p>')
    ticks = _ticks(min(values), max(values), is_fraction)
    across, up = SMALL.across(min(steps), max(steps)), SMALL.up(ticks[0], ticks[-1])
    shapes = grid(SMALL, ticks, up, show) + _ends(SMALL, f"{min(steps):.0f}", f"{max(steps):.0f}")
    half = window(max(len(s.points) for s in drawn)) // 2
    for s in reversed(drawn):  # the first line lies on top
        places = [(across(x), up(y)) for x, y in s.points]
        if half and (s.style == "all" or len(drawn) == 1):
            shapes.append(_line(places, f"line raw {s.style}"))
        calm = [(x, _mean([y for _, y in places[max(0, i - half) : i + half + 1]])) for i, (x, _) in enumerate(places)]
        shapes.append(_line(calm, f"line {s.style}"))
        shapes += [_dot(x, y, s.style, 2.6) for x, y in places if len(places) <= 12]
    shapes += _readings(drawn, across, show)
    return svg(SMALL, shapes, "; ".join(f"{s.label}: {show(s.points[-1][1])} at the end" for s in drawn if s.points))


def window(count: int) -> int:
    """Steps in the running mean of a curve with so many points; 1 for a short curve, which is drawn as it is.

    >>> window(12), window(60), window(300)
    (1, 5, 21)
    """
    return 1 if count <= CALM_POINTS else 2 * (count // 30) + 1


def stacked_chart(
    columns: Sequence[str], bands: Sequence[Band], *, show: Show, top: float = 0.0, box: ChartBox = SMALL
) -> Markup:
    """Stacked bars, the first band at the bottom. `columns` are the steps that each bar stands for."""
    if not columns:
        return Markup('<p class="empty">no values</p>')
    height = top or max(sum(band.values[i] for band in bands) for i in range(len(columns))) or 1.0
    ticks = [0.0, height / 2, height] if top else _ticks(0.0, height, is_fraction=height <= 1)
    up, wide = box.up(0.0, ticks[-1]), (box.width - box.left - box.right) / len(columns)
    shapes = grid(box, ticks, up, show)
    for i, name in enumerate(columns):
        below, words, bars = 0.0, [], []
        for band in (band for band in bands if band.values[i]):
            low, high = up(below), up(below + band.values[i])
            below += band.values[i]
            words.append(f"{band.label} {show(band.values[i])}")
            bars.append(_bar(box.left + i * wide, high, wide - min(1.5, 0.1 * wide), low - high, f"bar {band.style}"))
        shapes.append(_shape("g", *bars, words=f"step {name}: {', '.join(reversed(words))}"))
    shapes += _ends(box, columns[0], columns[-1])
    return svg(box, shapes, f"stacked bars over steps {columns[0]} to {columns[-1]}")


def bins(steps: Sequence[int], most: int = MOST_BARS) -> list[list[int]]:
    """The steps in at most `most` consecutive groups of equal size."""
    size = max(1, -(-len(steps) // most))
    return [list(steps[i : i + size]) for i in range(0, len(steps), size)]


def bin_name(group: Sequence[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]}–{group[-1]}"


# -- comparisons ------------------------------------------------------------------------------------------------------


def curve_figure(curves: Mapping[str, Curve], *, steady: int = 0) -> Markup:
    """pass@k over k on a logarithmic axis, from 0 to 1. Beyond `steady` the curves are faint."""
    return _curves(curves, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: percent(value, 0), steady)


def difference_figure(name: str, difference: Curve, *, steady: int = 0) -> Markup:
    """pass@k of one model minus another's over k, in points, around zero."""
    return _curves({name: difference}, difference_ticks(difference.values()), lambda value: points(100 * value), steady)


def _curves(curves: Mapping[str, Curve], ticks: Sequence[float], show: Show, steady: int) -> Markup:
    most = max((k for curve in curves.values() for k in curve), default=1)
    along, up = BROAD.across(0, math.log2(most)), BROAD.up(ticks[0], ticks[-1])

    def x(k: float) -> float:
        return along(math.log2(k))

    def y(value: float) -> float:
        return up(min(max(value, ticks[0]), ticks[-1]))

    shapes = grid(BROAD, ticks, y, show)
    shapes += k_axis(along, most)
    for place, (name, curve) in enumerate(curves.items()):
        places = [(x(k), f"{name}, k = {k:g}", share) for k, share in curve.items()]
        sure = len([k for k in curve if not steady or k <= max(steady, 1)])
        shapes += draw_curve(places, y, f"c{place % 8}", show, sure=sure)
    ends = {name: (k, curve[k]) for name, curve in curves.items() for k in list(curve)[-1:]}
    return svg(BROAD, shapes, "; ".join(f"{name}: {show(end.value)} at k = {k:g}" for name, (k, end) in ends.items()))


def difference_ticks(gaps: Iterable[Interval]) -> tuple[float, ...]:
    """Five ticks around zero, at round steps of 0.01 to 0.5, that hold the intervals' ends (as shares) up to 1."""
    reach = max((abs(end) for gap in gaps for end in (gap.low, gap.high)), default=0.0)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if s * 2 >= reach or s == 0.5)
    return tuple(step * i for i in range(-2, 3))


def k_axis(along: Scale, most: int) -> list[Markup]:
    """The names of k = 1, 2, 4, ... up to `most` under a BROAD drawing; `along`: from log2(k) to pixels."""
    powers = range(int(math.log2(most)) + 1)
    names = (str(2**power) if power else "k = 1" for power in powers)
    return [label(along(power), BROAD.height - 8, name, "middle") for power, name in zip(powers, names, strict=True)]


def draw_curve(
    places: Sequence[tuple[float, str, Interval]], up: Scale, style: str, show: Show, *, sure: int = 0
) -> list[Markup]:
    """One curve with its band: where along, what it is called, and the interval. Faint after the first `sure` places
    (0: nowhere); up to 64 places a dot each, which a pointer can read."""
    sure = sure or len(places)
    edge = [(x, up(gap.high)) for x, _, gap in places] + [(x, up(gap.low)) for x, _, gap in reversed(places)]
    shapes = [_line(edge, f"bar band {style}", "polygon")]
    parts = [(places[:sure], "")] + ([(places[sure - 1 :], " unsteady")] if sure < len(places) else [])
    for part, extra in parts:
        shapes.append(_line([(x, up(gap.value)) for x, _, gap in part], f"line {style}{extra}"))
    for x, name, gap in places if len(places) <= 64 else ():
        words = f"{name}: {show(gap.value)} ({show(gap.low)} to {show(gap.high)})"
        shapes.append(_dot(x, up(gap.value), style, 4 if len(places) == 1 else 2.2, words))
    return shapes


def histogram_figure(models: Mapping[str, Mapping[str, int]]) -> Markup:
    """Problems by accuracy, one group of bars per bin and one bar per model. The bins are statistics.BINS."""
    names = list(next(iter(models.values())))
    most = max((count for counts in models.values() for count in counts.values()), default=0) or 1
    group = (BROAD.width - BROAD.left - BROAD.right) / len(names)
    wide, up = 0.84 * group / len(models), BROAD.up(0, most)
    shapes = grid(BROAD, sorted({0, most // 2, most}), up, lambda count: f"{count:.0f}")
    for place, name in enumerate(names):
        left = BROAD.left + place * group
        shapes.append(label(left + group / 2, BROAD.height - 8, _accuracy(name), "middle"))
        for i, (model, counts) in enumerate(models.items()):
            words, high = f"{model}: {counts[name]} problems with accuracy {name}", up(counts[name])
            shapes.append(_bar(left + 0.08 * group + i * wide, high, 0.92 * wide, up(0) - high, f"bar c{i % 8}", words))
    return svg(BROAD, shapes, "problems by accuracy")


def _accuracy(name: str) -> str:
    """A bin in few characters: its upper end.  (0.1, 0.2] -> .2, (0.9, 1) -> <1"""
    end = name.rpartition(", ")[2]
    return "<1" if end == "1)" else end.rstrip("]").lstrip("0") if name.startswith("(") else name


# -- what they share --------------------------------------------------------------------------------------------------


def _shape(name: str, *inside: Markup, words: str = "", **attributes: object) -> Markup:
    """An element with `words` to read on it. `class_` is class, `text_anchor` text-anchor; every text is escaped."""
    parts = [Markup("<{}").format(name)]
    for key, value in attributes.items():
        written = key if key == "viewBox" else key.rstrip("_").replace("_", "-")
        shown = f"{value:.1f}" if isinstance(value, float) else visible(str(value))
        parts.append(Markup(' {}="{}"').format(written, shown))
    title = Markup("<title>{}</title>").format(visible(words)) if words else Markup()
    return Markup().join([*parts, Markup(">"), title, *inside, Markup("</{}>").format(name)])


def svg(box: ChartBox, shapes: Iterable[Markup], words: str) -> Markup:
    return _shape("svg", *shapes, viewBox=f"0 0 {box.width} {box.height}", role="img", aria_label=words)


def _line(places: Iterable[Point], style: str, name: str = "polyline") -> Markup:
    return _shape(name, class_=style, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places))


def _dot(x: float, y: float, style: str, radius: float, words: str = "") -> Markup:
    return _shape("circle", words=words, class_=f"dot {style}", cx=x, cy=y, r=radius)


def _bar(x: float, y: float, wide: float, high: float, style: str, words: str = "") -> Markup:
    return _shape("rect", words=words, class_=style, x=x, y=y, width=wide, height=max(0.0, high))


def label(x: float, y: float, text: str, anchor: str) -> Markup:
    return _shape("text", Markup("{}").format(visible(text)), x=x, y=y, text_anchor=anchor)


def grid(box: ChartBox, ticks: Sequence[float], up: Scale, show: Show) -> list[Markup]:
    """Lines and labels of the upward axis; zero is dotted where there are values below it."""
    shapes = []
    for tick in ticks:
        style, y = "zero" if min(ticks) < 0 and not tick else "grid", up(tick)
        shapes.append(_shape("line", class_=style, x1=box.left, x2=box.width - box.right, y1=y, y2=y))
        shapes.append(label(box.left - 5, y + 3.5, show(tick), "end"))
    return shapes


def _ends(box: ChartBox, first: str, last: str) -> list[Markup]:
    """The first and the last step under the axis."""
    labels = [label(box.left, box.height - 6, f"step {first}", "start")]
    return labels + ([label(box.width - box.right, box.height - 6, last, "end")] if last != first else [])


def _readings(series: Sequence[Series], across: Scale, show: Show) -> list[Markup]:
    """Invisible columns that say the values of their step to a pointer that rests on them."""
    at: dict[float, list[str]] = {}
    for s in series:
        for x, y in s.points:
            at.setdefault(x, []).append(f"{s.label} {show(y)}" if s.label else show(y))
    if len(at) > 80:
        return []
    wide, high = (SMALL.width - SMALL.left - SMALL.right) / len(at), SMALL.height - SMALL.top - SMALL.bottom
    return [
        _bar(across(x) - wide / 2, SMALL.top, wide, high, "reading", f"step {x:.0f}: {', '.join(at[x])}")
        for x in sorted(at)
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float, is_fraction: bool) -> list[float]:
    """Three to six round numbers that hold both ends. Shares begin at 0; so does what comes near it.

    >>> _ticks(0.02, 0.63, True)
    [0.0, 0.25, 0.5, 0.75]
    """
    if is_fraction:
        low, high = min(0.0, low), high if high > 0 else 1.0
    elif low >= 0 and (low < 0.6 * high or low == high):
        low, high = 0.0, high or 1.0
    if high <= low:
        low, high = low * 1.25, 0.0
    raw = (high - low) / 3
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 12) for i in range(first, last + 1)]
