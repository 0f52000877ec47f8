"""One table while a set runs: a row per variant, a cell per seed; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from minizero.ablate.summary import RunSummary
from minizero.formatting import points


class LiveTable:
    """Cells: `·` waiting, `12/60` running, `+4.2` done (held-out change in points), `crashed`, `–` not needed."""

    def __init__(
        self, rows: Sequence[str], seeds: Sequence[int], steps: Mapping[str, int], console: Console, at_once: int
    ) -> None:
        """`steps`: by the name of each run, VARIANT-SEED, how many it is to make."""
        self.rows, self.seeds, self.steps = rows, seeds, steps
        self.console, self.at_once = console, at_once
        self.cells = dict.fromkeys(steps, "·")
        self.started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            self._live = Live(self.table(), console=self.console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(self.table())
            self._live.stop()

    def kept(self, name: str, summary: RunSummary) -> None:
        """A summary was there already."""
        self._set(name, _change(summary), f"{name}: done before, {_change(summary)} points")

    def moved(self, name: str, done: int) -> None:
        """A run that goes on. Without a terminal it says nothing: a line per step of every run is too much."""
        self._set(name, f"{done}/{self.steps[name]}", "")

    def finished(self, name: str, summary: RunSummary) -> None:
        """A run that has its summary now."""
        ended = f"({self._ended() + 1} of {len(self.cells)})"
        words = f"{name}: {_change(summary)} points in {summary.run_s:.0f} s {ended}"
        self._set(name, _change(summary), words)

    def crashed(self, name: str, reason: str) -> None:
        """A run that has none and will have none in this sitting."""
        self._set(name, "crashed", f"{name}: crashed: {reason}")

    def not_needed(self, name: str) -> None:
        """A run that is not made: its comparison is decided."""
        self._set(name, "–", "")

    def table(self) -> Table:
        """Held-out change by variant and seed, as far as it is known."""
        passed = time.monotonic() - self.started
        ended = f"{self._ended()} of {len(self.cells)} runs, {self.at_once} at once, {passed / 60:.0f} min"
        caption = f"{ended}; cells: held-out points"
        table = Table(caption=caption, box=None, pad_edge=False, caption_justify="left")
        table.add_column("variant", no_wrap=True, overflow="ellipsis")
        for seed in self.seeds:
            table.add_column(f"seed {seed}", justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(row, *(self.cells.get(f"{row}-{seed}", "") for seed in self.seeds))
        return table

    def _ended(self) -> int:
        """Runs of which nothing more is to come."""
        return sum(cell != "·" and "/" not in cell for cell in self.cells.values())

    def _set(self, name: str, cell: str, line: str) -> None:
        self.cells[name] = cell
        if self._live:
            self._live.update(self.table())
        elif line:
            self.console.print(line, markup=False, soft_wrap=True)


def _change(summary: RunSummary) -> str:
    before, after = summary.before.solve_rates(), summary.after.solve_rates()
    return points(100 * (sum(after) - sum(before)) / len(after))
