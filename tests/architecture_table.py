"""docs/architectures.md, written from a run of the conformance suite:  python -m tests.architecture_table

It tries every causal language model of the installed transformers (tests/test_architectures.py) and writes what came
out; a model that is neither right nor refused makes it exit 1. With names as arguments only these are tried, and
nothing is written. With  --keep FILE  what came out is kept there, a line for each model, and not tried again by the
next call: the whole takes an hour of one core.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import transformers

from minizero.types import MiniZeroError
from tests.architectures import KINDS, WINDOW, NotSmall
from tests.test_architectures import GRADIENT_LIMIT, LIMIT, PROMPTS, Result, measure

LONGEST = max(map(len, PROMPTS))  # of bytes, which are tokens
TABLE = Path(__file__).parent.parent / "docs" / "architectures.md"
HEAD = f"""# Architectures

Written by `python -m tests.architecture_table` with transformers {transformers.__version__}. For every causal language
model that transformers has, a small random model (float32, CPU, sliding windows of {WINDOW} tokens, prompts of 1 to
{LONGEST}) with a random adapter was sampled from, trained on, saved and loaded by plain PEFT. The numbers are the
largest differences from transformers' own forward pass (eager attention) over all completion tokens, in nats; up to
{LIMIT:g} counts as right. *gradient* is the length of the difference between the trainer's gradient, with recomputed
layers, and that pass's, as a part of the latter's; up to {GRADIENT_LIMIT:g} is right. Run it again for a new release of
transformers.

- *rows*: completions of one prompt are trained in one row, which reads the prompt once; else each in its own.
- *decoding*: `batched` decodes prompts of any length side by side; `own cache` decodes prompts of one length at a time
  in the cache that the model itself makes (recurrent and convolutional states, positions that are counted).

"""


@dataclass
class Outcome:
    """What came out for every architecture, by its name in transformers."""

    right: dict[str, Result] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)  # no small sizes are known to this suite
    wrong: dict[str, str] = field(default_factory=dict)

    def keep(self, kind: str, file: Path) -> None:
        """Append what came out for this one."""
        found = {name: table[kind] for name, table in self._tables() if kind in table}
        row = {name: asdict(value) if isinstance(value, Result) else value for name, value in found.items()}
        with file.open("a") as lines:
            lines.write(json.dumps({"kind": kind, **row}) + "\n")

    def recall(self, file: Path) -> set[str]:
        """Take over what an earlier call kept; returns its kinds."""
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        for row in rows:
            for name, table in self._tables():
                table.pop(row["kind"], None)
                if name in row:
                    table[row["kind"]] = Result(**row[name]) if name == "right" else row[name]
        return {row["kind"] for row in rows}

    def _tables(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, getattr(self, name)) for name in ("right", "refused", "unknown", "wrong")]

    def add(self, kind: str, path: Path) -> str:
        """Try one; returns a line about it."""
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                result = measure(kind, path)
        except NotSmall as error:
            self.unknown[kind] = one_line(str(error).removeprefix(f"{kind}: "))
            return f"{kind}: not built: {self.unknown[kind]}"
        except MiniZeroError as error:
            self.refused[kind] = one_line(str(error).replace(f"{path}: ", ""))
            return f"{kind}: refused: {error}"
        except Exception as error:
            self.wrong[kind] = f"{type(error).__name__}: {error}"
            return f"{kind}: RAISED {self.wrong[kind]}"
        finally:
            shutil.rmtree(path, ignore_errors=True)
        if result.is_right:
            self.right[kind] = result
            return f"{kind}: right {result}"
        self.wrong[kind] = str(result)
        return f"{kind}: WRONG {result}"

    def text(self) -> str:
        """The page."""
        lines = [
            HEAD,
            f"## Right: {len(self.right)}",
            "",
            "| architecture | sampler | trainer, shared | trainer, alone ",
        ]
        lines[-1] += "| saved adapter | gradient | rows | decoding |"
        lines += ["|---|---|---|---|---|---|---|---|"]
        for kind, r in sorted(self.right.items()):
            numbers = " | ".join(f"{value:.0e}" for value in (r.sampler, r.shared, r.alone, r.saved, r.gradient))
            rows, decoding = "shared" if r.shares_rows else "own", "batched" if r.mixes_lengths else "own cache"
            lines.append(f"| {kind} | {numbers} | {rows} | {decoding} |")
        lines += ["", f"## Refused by name: {len(self.refused)}", ""]
        lines += [f"- {kind}: {text}" for kind, text in sorted(self.refused.items())]
        lines += ["", f"## Not tried: {len(self.unknown)}", "", "This suite knows no small sizes that they accept.", ""]
        lines += [f"- {kind}: {text}" for kind, text in sorted(self.unknown.items())]
        return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """The first sentence, short enough for a list, and without what Markdown would read."""
    first = text.strip().splitlines()[0].partition(". ")[0] if text.strip() else ""
    return first[:300].translate({ord(symbol): " " for symbol in "|<>`*_"}).strip()


def main(names: list[str]) -> int:
    """Exit status: 1 when an architecture is neither right nor refused."""
    outcome = Outcome()
    kept = Path(names[1]) if names[:1] == ["--keep"] else None
    names = names[2:] if kept else names
    done = outcome.recall(kept) if kept else set()
    with tempfile.TemporaryDirectory() as directory:
        for kind in names or KINDS:
            if kind in done:
                continue
            say(outcome.add(kind, Path(directory) / kind))
            if kept:
                outcome.keep(kind, kept)
    if not names:
        TABLE.write_text(outcome.text())
    say(f"{len(outcome.right)} right, {len(outcome.refused)} refused, {len(outcome.unknown)} not tried")
    for kind, text in outcome.wrong.items():
        say(f"neither right nor refused: {kind}: {text}")
    return 1 if outcome.wrong else 0


def say(line: str) -> None:
    """Onto the console at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
