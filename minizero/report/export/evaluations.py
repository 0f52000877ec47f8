"""What `minizero evaluate` found of the weights that are exported, for their model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minizero.evaluation.compare import Comparison, compare
from minizero.evaluation.entries import read_entries
from minizero.evaluation.subject import weights_id
from minizero.formatting import shell
from minizero.report.conclusions import headline, sentences
from minizero.statistics import Interval
from minizero.types import RunError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the card's table: base against trained on one benchmark. p_value: McNemar's, of greedy answers."""

    benchmark: str
    problems: int
    form: str
    how: str
    base: Interval
    trained: Interval
    difference: Interval
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One finished evaluation of the exported weights beside their base. asked: format and temperature by level."""

    comparison: Comparison
    asked: Mapping[str, tuple[str, float]]

    @property
    def headline(self) -> str:
        return headline(self.comparison)

    @property
    def sentences(self) -> list[str]:
        return sentences(self.comparison)

    @property
    def rows(self) -> list[Measurement]:
        """Greedy answers, and where there are samples pass@1 and pass@n, of each benchmark."""
        return list(self._rows())

    def _rows(self) -> Iterator[Measurement]:
        for name, level in self.comparison.levels.items():
            (pair,) = level.pairs
            base, trained = level.models[pair.base], level.models[pair.trained]
            form, temperature = self.asked[name]
            greedy = (base.greedy, trained.greedy, pair.greedy_difference)
            yield Measurement(name, level.problems, form, "greedy", *greedy, p_value=pair.mcnemar.p_value)
            if pair.difference and base.curve and trained.curve:
                n = len(pair.difference)
                for k in sorted({1, n}):
                    how = f"pass@{k} of {n} at temperature {temperature:g}"
                    reached = (base.curve[k - 1], trained.curve[k - 1], pair.difference[k - 1])
                    yield Measurement(name, level.problems, form, how, *reached)


def evaluations_of(trained: Path, paths: Sequence[Path]) -> list[Evaluated]:
    """The evaluations in these directories. Raises EvaluationError for one that is not finished, RunError for one of
    other weights than `trained`, an adapter's or a whole model's directory."""
    weights = weights_id(trained) if paths else ""  # a whole model is long to read
    return [_read(path, weights, trained) for path in paths]


def _read(path: Path, weights: str, trained: Path) -> Evaluated:
    entries = read_entries([path])
    manifest = entries[0].manifest if entries else {}
    if manifest.get("subject", {}).get("adapter") != weights:
        raise RunError(
            f"--evaluations {path}: an evaluation of other weights than {trained}. Make one with  "
            f"{shell('minizero', 'evaluate', trained)}"
        )
    suites = {level: manifest["suites"][row.suite] for row in entries[0].rows for level in row.verdict}
    asked = {level: (str(suite["format"]), float(suite["temperature"])) for level, suite in suites.items()}
    return Evaluated(compare(entries), asked)
