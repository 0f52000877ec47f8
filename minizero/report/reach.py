"""Reliability and reach in one picture: pass@k over k on the left, cover@tau over tau on the right, one line per model.

Reading order: reach_figure, reliability_figure, then the axis. The halves share their height, and where they meet they
are one number: pass@n is the share of problems with a right answer among n samples, which is cover@tau at tau = 1/n. To
the left of it less is tried, to the right more is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from minizero.formatting import percent, points
from minizero.report.charts import BROAD, ChartBox, Scale, difference_ticks, draw_curve, grid, k_axis, label, svg
from minizero.statistics import Interval

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEFT = ChartBox(BROAD.width, BROAD.height, BROAD.left, BROAD.width // 2 - 4, BROAD.top, BROAD.bottom)
RIGHT = ChartBox(BROAD.width, BROAD.height, BROAD.width // 2 + 14, BROAD.right, BROAD.top, BROAD.bottom)


def reach_figure(models: Mapping[str, tuple[Sequence[Interval], Sequence[Interval]]], *, steady: int) -> Markup:
    """By model: pass@k for k = 1 to n, and cover@tau for tau = 1/n to 1. Faint beyond k = `steady`."""
    most = max((len(passed) for passed, _ in models.values()), default=1)
    along, over, up = LEFT.across(0, math.log2(most)), RIGHT.across(0, 1), BROAD.up(0, 1)
    shapes = grid(BROAD, SHARES, up, _share)
    shapes += k_axis(along, most) + _tau_axis(over)
    for place, (name, (passed, covered)) in enumerate(models.items()):
        style, n = f"c{place % 8}", len(covered)
        ks = [(along(math.log2(k)), f"{name}, k = {k}", gap) for k, gap in enumerate(passed, 1)]
        shapes += draw_curve(ks, up, style, _share, sure=max(1, steady))
        taus = [(over(j / n), f"{name}, tau = {j / n:.3g}", gap) for j, gap in enumerate(covered, 1)]
        shapes += draw_curve(taus, up, style, _share)
    words = [
        f"{name}: {_share(passed[-1].value)} at k = {len(passed)}, {_share(covered[-1].value)} at tau = 1"
        for name, (passed, covered) in models.items()
    ]
    return svg(BROAD, shapes, "; ".join(words))


def reliability_figure(name: str, gaps: Sequence[Interval], null: Sequence[Interval]) -> Markup:
    """cover@tau of one model minus another's over tau in points, and the range of the base's halves (c7)."""
    ticks = difference_ticks((*gaps, *null))
    over, up = BROAD.across(0, 1), BROAD.up(ticks[0], ticks[-1])
    shapes = grid(BROAD, ticks, up, _points) + _tau_axis(over)
    for words, style, drawn in (("chance alone", "c7", null), (name, "c0", gaps)):
        n = len(drawn)
        taus = [(over(j / n), f"{words}, tau = {j / n:.3g}", gap) for j, gap in enumerate(drawn, 1)]
        shapes += draw_curve(taus, up, style, _points)
    return svg(BROAD, shapes, f"{name}: {_points(gaps[-1].value)} points at tau = 1")


def _tau_axis(over: Scale) -> list[Markup]:
    names = {0.25: "0.25", 0.5: "tau = 0.5", 0.75: "0.75", 1.0: "1"}
    ends = {1.0: "end"}
    return [label(over(tau), BROAD.height - 8, name, ends.get(tau, "middle")) for tau, name in names.items()]


def _share(value: float) -> str:
    return percent(value, 0)


def _points(value: float) -> str:
    return points(100 * value)
