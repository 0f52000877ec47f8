"""docs/architectures.md, written from a run of the conformance suite:  python -m tests.architecture_table

It tries every causal language model of the installed transformers (tests/test_architectures.py) and writes what came
out; a model that is neither right nor refused makes it exit 1. With names as arguments only these are tried, and
nothing is written.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import transformers

from minizero.types import MiniZeroError
from tests.architectures import KINDS, NotSmall
from tests.test_architectures import LIMIT, Result, measure

TABLE = Path(__file__).parent.parent / "docs" / "architectures.md"
HEAD = f"""# Architectures

Written by `python -m tests.architecture_table` with transformers {transformers.__version__}. For every causal language
model that transformers has, a small random model (float32, CPU, sliding windows of 8 tokens, prompts of up to 38)
with a random adapter was sampled from, trained on, saved and loaded by plain PEFT. The numbers are the largest
differences from transformers' own forward pass (eager attention) over all completion tokens, in nats; up to
{LIMIT:g} counts as right. Run it again for a new release of transformers.

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
        if result.worst <= LIMIT:
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
        lines[-1] += "| saved adapter | rows | decoding |"
        lines += ["|---|---|---|---|---|---|---|"]
        for kind, r in sorted(self.right.items()):
            numbers = " | ".join(f"{value:.0e}" for value in (r.sampler, r.shared, r.alone, r.saved))
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
    with tempfile.TemporaryDirectory() as directory:
        for kind in names or KINDS:
            say(outcome.add(kind, Path(directory) / kind))
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
