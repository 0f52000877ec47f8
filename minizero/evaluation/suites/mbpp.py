"""MBPP (arXiv 2108.07732), sanitised, with EvalPlus's tests: 378 functions to write from a sentence and an assertion.

Reading order: SUITES; then the inputs' types, which JSON has lost: tuples, sets and complex numbers come back here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minizero.evaluation.datafile import DataFile, read_rows
from minizero.evaluation.judges.functions import FunctionJudge
from minizero.evaluation.problems import Problem, Suite

FILE = DataFile(
    ("MbppPlus-v0.2.0.jsonl", "MbppPlus.jsonl"),
    378,
    "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
    override="MBPP_OVERRIDE_PATH",
    home="the releases of github.com/evalplus/mbppplus_release (v0.2.0)",
)
STOPS = ('\n"""', "\nassert")
# How EvalPlus judges functions whose right answers are more than one (eval/_special_oracle.py): as sets; by whether
# there is a result at all; by the one alternative reading of the question; or not.
ORACLES = {
    **dict.fromkeys(("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly"), "set"),
    **dict.fromkeys(("larg_nnum", "intersection_array", "find_dissimilar", "Diff"), "set"),
    **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), "not-none"),
    "are_equivalent": "any",
    "sum_div": "or-zero",
    "surface_Area": "pyramid",
    "digit_distance_nums": "padded-digits",
}


def problem(row: dict[str, Any], levels: dict[str, str]) -> Problem:
    """`levels`: name of a score -> name of the row's inputs."""
    convert = CONVERSIONS.get(int(row["task_id"].split("/")[1]))
    tests = {level: [convert(i) if convert else i for i in row[field]] for level, field in levels.items()}
    data = {"tests": tests, "atol": float(row["atol"]), "oracle": ORACLES.get(row["entry_point"], "")}
    data["is_json"] = convert is None
    return Problem(row["task_id"], row["prompt"], row["prompt"] + row["canonical_solution"], row["entry_point"], data)


# -- the types that inputs have: one function per shape, from the arguments in JSON to the arguments --


def _each(arguments: list[Any]) -> list[Any]:
    return [tuple(argument) for argument in arguments]


def _rows(arguments: list[Any]) -> list[Any]:
    return [[tuple(row) for row in argument] for argument in arguments]


def _rows_of_first(arguments: list[Any]) -> list[Any]:
    return [[tuple(row) for row in arguments[0]], *arguments[1:]]


def _first(arguments: list[Any]) -> list[Any]:
    return [tuple(arguments[0]), *arguments[1:]]


def _second(arguments: list[Any]) -> list[Any]:
    return [arguments[0], tuple(arguments[1])]


def _tuple_of_rows(arguments: list[Any]) -> list[Any]:
    return [tuple(tuple(row) for row in argument) for argument in arguments]


def _mixed_tuple(arguments: list[Any]) -> list[Any]:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in arguments[0])]


def _sets(arguments: list[Any]) -> list[Any]:
    return [[set(item) if isinstance(item, list) and item else {} for item in arguments[0]]]


def _polar(arguments: list[Any]) -> list[Any]:
    return [float(arguments[0]), complex(arguments[1])]


def _complex(arguments: list[Any]) -> list[Any]:
    return [complex(arguments[0])]


def _tuples_of_dict(arguments: list[Any]) -> list[Any]:
    return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]


def _deep(arguments: Any) -> Any:
    return tuple(_deep(item) for item in arguments) if isinstance(arguments, list) else arguments


_TASKS: dict[Callable[[list[Any]], Any], str] = {
    _each: "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    _rows: "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780",
    _rows_of_first: "75 413 444 753",
    _first: "250 307 405 446 617 720 763 808",
    _second: "106 750",
    _tuple_of_rows: "259 401 445",
    _mixed_tuple: "278",
    _sets: "115",
    _polar: "124",
    _complex: "252",
    _tuples_of_dict: "722",
    _deep: "580 615 791",
}
CONVERSIONS = {int(number): convert for convert, numbers in _TASKS.items() for number in numbers.split()}


def _suite(name: str, title: str, levels: dict[str, str]) -> Suite:
    def load(where: Path | None) -> list[Problem]:
        return [problem(row, levels) for row in read_rows(FILE, where)]

    return Suite(name, title, tuple(levels), "program", load, FunctionJudge, STOPS)


SUITES = {
    "mbpp": _suite("mbpp", "MBPP", {"mbpp": "base_input"}),
    "mbpp+": _suite("mbpp+", "MBPP+", {"mbpp": "base_input", "mbpp+": "plus_input"}),
}
