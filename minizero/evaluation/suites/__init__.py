"""The benchmarks, by name. Reading order: SUITES, suite; humaneval.py is the model of a file here.

To add a benchmark write one file that ends in SUITES = {"name": Suite(...)}, whose fields ../problems.py explains, and
name it in _FILES below; in GROUPS, if one name shall stand for several. It needs
  - a DataFile, unless the package holds the data: file name, number of rows, sha256 of the unzipped content (so that a
    wrong file is an error); ../datafile.py says where it is looked for;
  - load(where) -> list[Problem]: the prompt as the benchmark gives it, and `data` for the judge;
  - a judge from minizero/evaluation/judges: functions (calls compared with a reference solution), programs (cases of
    input and output), values (CRUXEval's questions), mathematics; or one of your own with `judge` and `cost`.
Then `minizero evaluate tiny --suite NAME --data DIRECTORY --limit 3`, and a line in tests/evaluation/test_suites.py.
Formats (formats.py) make prompts of it for each kind of answer: program, input, output, statement, mathematics, task.
"""

from __future__ import annotations

from importlib import import_module

from minizero.evaluation.problems import Suite
from minizero.formatting import did_you_mean
from minizero.types import EvaluationError

_FILES = {
    "humaneval": "humaneval", "humaneval+": "humaneval", "humaneval-mini": "humaneval",
    "mbpp": "mbpp", "mbpp+": "mbpp",
    "cruxeval-i": "cruxeval", "cruxeval-o": "cruxeval",
    "cruxeval-i-validation": "cruxeval", "cruxeval-o-validation": "cruxeval",
    "cruxeval-i-heldout": "cruxeval", "cruxeval-o-heldout": "cruxeval",
    "lcb-generation": "livecodebench", "lcb-execution": "livecodebench", "lcb-test-output": "livecodebench",
    "gsm8k": "mathematics", "math500": "mathematics", "aime24": "mathematics", "aime25": "mathematics",
    "amc23": "mathematics", "minerva": "mathematics", "olympiad": "mathematics", "tiny": "tiny",
}  # fmt: skip
GROUPS = {
    "cruxeval": ("cruxeval-i", "cruxeval-o"),
    "cruxeval-validation": ("cruxeval-i-validation", "cruxeval-o-validation"),
    "cruxeval-heldout": ("cruxeval-i-heldout", "cruxeval-o-heldout"),
    "lcb": ("lcb-generation", "lcb-execution", "lcb-test-output"),
}
NAMES = (*_FILES, *GROUPS)


def suite(name: str) -> Suite:
    """The suite of this name. Raises EvaluationError for an unknown one."""
    if name not in _FILES:
        raise EvaluationError(f"{name} is not a suite.{did_you_mean(name, NAMES)} There are {', '.join(NAMES)}.")
    loaded = import_module(f"minizero.evaluation.suites.{_FILES[name]}").SUITES[name]
    assert isinstance(loaded, Suite)
    return loaded


def named(names: str) -> list[Suite]:
    """The suites of a list such as `humaneval+,cruxeval`; groups are spelled out, each suite once."""
    chosen = [part for name in names.split(",") if name for part in GROUPS.get(name.strip(), (name.strip(),))]
    if not chosen:
        raise EvaluationError(f"no suite is named. There are {', '.join(NAMES)}.")
    return [suite(name) for name in dict.fromkeys(chosen)]
