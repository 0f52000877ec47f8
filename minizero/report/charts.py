"""The report's drawings as inline SVG: small, sharp at any size, and coloured by the page's own light or dark palette.

Reading order: Series and line_chart; Band and stacked_chart; change_bar. Coordinates are in a box of WIDTH x HEIGHT.
Drawn here rather than with matplotlib because forty figures of it would weigh megabytes and know no dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minizero.formatting import number
from minizero.report.tags import Html, tag

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 22  # margins for the axis labels
MOST_POINTS = 300  # longer curves are drawn as means of equal bins
CALM_POINTS = 24  # longer curves are drawn as running means over their own values
MOST_BARS = 40
Point = tuple[float, float]


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


def line_chart(series: Sequence[Series], *, show: Callable[[float], str] = number, is_fraction: bool = False) -> Html:
    """Lines over steps. Alarms, legends and words are the caller's."""
    drawn = [Series(s.label, s.style, binned(s.points)) for s in series]
    values = [y for s in drawn for _, y in s.points]
    steps = [x for s in drawn for x, _ in s.points]
    if not values:
        return tag("p", "no values", class_="empty")
    ticks = _ticks(min(values), max(values), is_fraction)
    across = _scale(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    up = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    shapes = [*_grid(ticks, up, show), *_step_axis(min(steps), max(steps), across)]
    half = window(max(len(s.points) for s in drawn)) // 2
    for s in reversed(drawn):  # the first line lies on top
        places = [(across(x), up(y)) for x, y in s.points]
        if half and (s.style == "all" or len(drawn) == 1):
            shapes.append(_path(places, f"line raw {s.style}"))
        calm = [(x, _mean([y for _, y in places[max(0, i - half) : i + half + 1]])) for i, (x, _) in enumerate(places)]
        shapes.append(_path(calm, f"line {s.style}"))
        for x, y in places if len(places) <= 12 else []:
            shapes.append(tag("circle", class_=f"dot {s.style}", cx=f"{x:.1f}", cy=f"{y:.1f}", r="2.6"))
    shapes += _readings(drawn, across, show)
    return _frame(shapes, words="; ".join(f"{s.label}: {show(s.points[-1][1])} at the end" for s in drawn))


def window(count: int) -> int:
    """Steps in the running mean of a curve with so many points; 1 for a short curve, which is drawn as it is.

    >>> window(12), window(60), window(300)
    (1, 5, 21)
    """
    return 1 if count <= CALM_POINTS else 2 * (count // 30) + 1


def stacked_chart(
    columns: Sequence[str],
    bands: Sequence[Band],
    *,
    show: Callable[[float], str] = number,
    top: float | None = None,
    width: int = WIDTH,
) -> Html:
    """Stacked bars, the first band at the bottom. `columns` are the steps that each bar stands for."""
    if not columns:
        return tag("p", "no values", class_="empty")
    height = top or max(sum(band.values[i] for band in bands) for i in range(len(columns))) or 1.0
    ticks = [0.0, height / 2, height] if top else _ticks(0.0, height, is_fraction=height <= 1)
    up = _scale(0.0, ticks[-1], HEIGHT - BOTTOM, TOP)
    wide = (width - LEFT - RIGHT) / len(columns)
    shapes = _grid(ticks, up, show, width)
    for i, name in enumerate(columns):
        below, read = 0.0, []
        bars = []
        for band in bands:
            if not band.values[i]:
                continue
            high, low = up(below + band.values[i]), up(below)
            below += band.values[i]
            read.append(f"{band.label} {show(band.values[i])}")
            bars.append(
                tag("rect", class_=f"bar {band.style}", x=f"{LEFT + i * wide:.1f}", y=f"{high:.1f}",
                    width=f"{wide - min(1.5, 0.1 * wide):.1f}", height=f"{max(0.0, low - high):.1f}")
            )  # fmt: skip
        shapes.append(tag("g", tag("title", f"step {name}: " + ", ".join(reversed(read))), *bars))
    shapes.append(_label(LEFT, HEIGHT - 6, f"step {columns[0]}", "start"))
    if len(columns) > 1:
        shapes.append(_label(width - RIGHT, HEIGHT - 6, columns[-1], "end"))
    return _frame(shapes, width=width, words=f"stacked bars over steps {columns[0]} to {columns[-1]}")


def change_bar(low: float, middle: float, high: float, reach: float, style: str) -> Html:
    """A change with its interval on an axis from -reach to reach, zero in the middle."""
    across = _scale(-reach, reach, 4, 196)
    return tag(
        "svg",
        tag("line", class_="zero", x1="100", x2="100", y1="1", y2="23"),
        tag("line", class_=f"whisker {style}", x1=f"{across(low):.1f}", x2=f"{across(high):.1f}", y1="12", y2="12"),
        tag("circle", class_=f"dot {style}", cx=f"{across(middle):.1f}", cy="12", r="4.5"),
        viewBox="0 0 200 24",
        class_="change",
        aria_hidden="true",
    )


def binned(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """The finite points; where there are too many, means of equal bins (the caller says so beside the chart)."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) <= most:
        return tuple(finite)
    size = -(-len(finite) // most)
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return tuple((g[-1][0], sum(y for _, y in g) / len(g)) for g in groups)


def bins(steps: Sequence[int], most: int = MOST_BARS) -> list[list[int]]:
    """The steps in at most `most` consecutive groups of equal size."""
    size = max(1, -(-len(steps) // most))
    return [list(steps[i : i + size]) for i in range(0, len(steps), size)]


def bin_name(group: Sequence[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]}–{group[-1]}"


# -- the parts of a frame ---------------------------------------------------------------------------------------------


def _frame(shapes: Sequence[Html], *, words: str, width: int = WIDTH) -> Html:
    return tag("svg", *shapes, viewBox=f"0 0 {width} {HEIGHT}", role="img", aria_label=words)


def _path(places: Sequence[Point], style: str) -> Html:
    return tag("polyline", class_=style, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _grid(
    ticks: Sequence[float], up: Callable[[float], float], show: Callable[[float], str], width: int = WIDTH
) -> list[Html]:
    shapes = []
    for tick in ticks:
        y = f"{up(tick):.1f}"
        shapes.append(tag("line", class_="grid", x1=LEFT, x2=width - RIGHT, y1=y, y2=y))
        shapes.append(_label(LEFT - 5, up(tick) + 3.5, show(tick), "end"))
    return shapes


def _step_axis(first: float, last: float, across: Callable[[float], float]) -> list[Html]:
    labels = [_label(LEFT, HEIGHT - 6, f"step {first:.0f}", "start")]
    if last > first:
        labels.append(_label(across(last), HEIGHT - 6, f"{last:.0f}", "end"))
    return labels


def _readings(series: Sequence[Series], across: Callable[[float], float], show: Callable[[float], str]) -> list[Html]:
    """Invisible columns that tell the values of their step to a pointer that rests on them."""
    at: dict[float, list[str]] = {}
    for s in series:
        for x, y in s.points:
            at.setdefault(x, []).append(f"{s.label} {show(y)}" if s.label else show(y))
    steps = sorted(at)
    if len(steps) > 80:
        return []
    wide = (WIDTH - LEFT - RIGHT) / len(steps)
    return [
        tag("rect", tag("title", f"step {x:.0f}: {', '.join(at[x])}"), class_="reading",
            x=f"{across(x) - wide / 2:.1f}", y=TOP, width=f"{wide:.1f}", height=HEIGHT - TOP - BOTTOM)
        for x in steps
    ]  # fmt: skip


def _label(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
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
